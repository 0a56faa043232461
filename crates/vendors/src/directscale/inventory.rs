//! Inventory items that are created and deleted.

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// An inventory item was created.
///
/// The vendor does not document the fields; those of DeleteInventoryItemEvent are presumed, and none is required.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreateInventoryItemEvent {
    /// The number of the item.
    pub item_id: Option<Id>,
    /// The stock keeping unit: the item's code.
    pub sku: Option<String>,
    /// True if the item's stock is tracked.
    pub track_stock: Option<bool>,
    /// True if the item comes in options, such as sizes.
    pub has_options: Option<bool>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; its samples put inventory under `OrderEvents`, so dispatch ignores it.
    pub event_category: Option<String>,
}

impl Event for CreateInventoryItemEvent {
    const TYPE: &'static str = "CreateInventoryItemEvent";

    fn example() -> &'static str {
        r#"{"ItemId":4,"Sku":"TST_EVT","TrackStock":true,"HasOptions":true,"EventDateUtc":"2021-10-12T17:58:02.1180432Z","EventCategory":"OrderEvents","EventType":"CreateInventoryItemEvent"}"#
    }
}

/// An inventory item was deleted, in Corporate Admin or through the Public API.
///
/// Source: the vendor's event model pages (2021).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteInventoryItemEvent {
    /// The number of the item.
    pub item_id: Id,
    /// The stock keeping unit: the item's code.
    pub sku: Option<String>,
    /// True if the item's stock is tracked.
    pub track_stock: Option<bool>,
    /// True if the item comes in options, such as sizes.
    pub has_options: Option<bool>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; its samples put inventory under `OrderEvents`, so dispatch ignores it.
    pub event_category: Option<String>,
}

impl Event for DeleteInventoryItemEvent {
    const TYPE: &'static str = "DeleteInventoryItemEvent";

    fn example() -> &'static str {
        r#"{"ItemId":4,"Sku":"TST_EVT","TrackStock":true,"HasOptions":true,"EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventCategory":"OrderEvents","EventType":"DeleteInventoryItemEvent"}"#
    }
}
