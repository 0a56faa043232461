//! Orders as the event bus of 2018 announces them.

use contract::event::{Event, Id, Money, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

use super::order_type::OrderType;

/// A customer or an associate has created an order; AutoShip and incidental orders are included.
///
/// It differs from CreateOrderEvent and has other fields. The id `1` is inferred from the gap in the vendor's
/// numbering; no source states it. Source: the vendor's Event Bus page and its sample receiver (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderEvent {
    /// The number of the order; elsewhere called OrderNumber.
    pub order_id: Id,
    /// The time at which the order was placed, in UTC.
    pub order_date_utc: Option<NetDateTime>,
    /// The number of the associate who orders; elsewhere called AssociateId.
    pub distributor_id: Option<Id>,
    /// The company's id in the address of its administration; only in the vendor's posting example.
    pub client_id: Option<Id>,
    /// The kind of order.
    pub order_type: Option<OrderType>,
    /// The order's total in its currency; the vendor's posting example sets it to the amount paid.
    pub order_total: Option<Money>,
    /// The country code of the shipping address.
    pub order_country: Option<String>,
    /// The currency's code, e.g. `USD`.
    pub order_currency: Option<String>,
    /// `Paid`, `Pending Payment` and others; an open set in mixed case.
    pub order_status: Option<String>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name or number; the 2018 generation may lack it.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; not in the 2018 field lists.
    pub event_category: Option<String>,
}

impl Event for OrderEvent {
    const TYPE: &'static str = "OrderEvent";
    const ALIASES: &'static [&'static str] = &["1"];

    fn example() -> &'static str {
        r#"{"OrderId":"1","OrderDateUtc":"2021-10-12T18:07:26.497Z","DistributorId":"2","ClientId":"example","OrderType":"Standard","OrderTotal":49.95,"OrderCountry":"US","OrderCurrency":"USD","OrderStatus":"Paid","EventDateUtc":"2021-10-12T18:07:27.8181496Z","EventType":"OrderEvent"}"#
    }
}
