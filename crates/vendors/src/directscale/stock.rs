//! Stock levels.

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// The stock status of an item has changed.
///
/// The text mentions changes between in and out of stock only; the examples include low stock. The vendor's number for
/// the event is not known. Source: the vendor's Event Bus page (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct StockLevelEvent {
    /// The number of the item.
    #[serde(rename = "ItemID")]
    pub item_id: Id,
    /// The number of the warehouse.
    #[serde(rename = "WarehouseID")]
    pub warehouse_id: Option<Id>,
    /// The quantity on hand, in units of the item.
    pub available: Option<f64>,
    /// `Out of Stock`, `Low on Stock` or `In Stock`.
    pub status: Option<String>,
    /// The status as a number: 1 out of stock, 2 low on stock, 3 in stock.
    pub status_index: Option<Id>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name or number; the 2018 generation may lack it.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; not in the 2018 field lists.
    pub event_category: Option<String>,
}

impl Event for StockLevelEvent {
    const TYPE: &'static str = "StockLevelEvent";

    fn example() -> &'static str {
        r#"{"ItemID":7901,"WarehouseID":2,"Available":188,"Status":"In Stock","StatusIndex":3,"EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventType":"StockLevelEvent"}"#
    }
}
