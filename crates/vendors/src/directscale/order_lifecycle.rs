//! An order from its creation over its payments to its end.

use std::ops::Deref;

use contract::event::{Event, Id, Money, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

use super::order_type::OrderType;

/// An order's state, as the events of its lifecycle carry it.
///
/// Source: the vendor's event model pages (2021).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderState {
    /// The number of the order.
    pub order_number: Id,
    /// The number of the associate who orders; elsewhere called AssociateId.
    pub customer_id: Option<Id>,
    /// The time at which the order was placed, in UTC.
    pub order_date_utc: Option<NetDateTime>,
    /// `Pending processing`, `Paid` and others; an open set in mixed case.
    pub order_status: Option<String>,
    /// The kind of order.
    pub order_type: Option<OrderType>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; its samples put inventory under `OrderEvents`, so dispatch ignores it.
    pub event_category: Option<String>,
}

/// An order was created but not finalized: it is void as yet and hidden in Corporate Admin.
///
/// For a time in 2022 the vendor's own code called the event `OrderCreated`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct CreateOrderEvent(pub OrderState);

impl Deref for CreateOrderEvent {
    type Target = OrderState;

    fn deref(&self) -> &OrderState {
        &self.0
    }
}

impl Event for CreateOrderEvent {
    const TYPE: &'static str = "CreateOrderEvent";
    const ALIASES: &'static [&'static str] = &["OrderCreated"];

    fn example() -> &'static str {
        r#"{"OrderNumber":1,"CustomerId":2,"OrderDateUtc":"2021-10-12T18:07:26.557768Z","OrderStatus":"Pending processing","OrderType":"Standard","EventDateUtc":"2021-10-12T18:07:26.557768Z","EventCategory":"OrderEvents","EventType":"CreateOrderEvent"}"#
    }
}

/// An order went through processing.
///
/// It may come several times for one order: after each payment attempt, without payment, after a fraud review.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct FinalizeOrderEvent(pub OrderState);

impl Deref for FinalizeOrderEvent {
    type Target = OrderState;

    fn deref(&self) -> &OrderState {
        &self.0
    }
}

impl Event for FinalizeOrderEvent {
    const TYPE: &'static str = "FinalizeOrderEvent";

    fn example() -> &'static str {
        r#"{"OrderNumber":1,"CustomerId":2,"OrderDateUtc":"2021-10-12T18:07:26.497Z","OrderStatus":"Paid","OrderType":"Standard","EventDateUtc":"2021-10-12T18:07:27.8181496Z","EventCategory":"OrderEvents","EventType":"FinalizeOrderEvent"}"#
    }
}

/// A payment for an order was recorded, whether or not it succeeded.
///
/// Source: the vendor's event model pages (2021).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreateOrderPaymentEvent {
    /// The number of the order.
    pub order_number: Id,
    /// The number of the payment.
    pub order_payment_id: Id,
    /// `Pending`, `Paid` or `Rejected`.
    pub payment_status: Option<String>,
    /// The means of payment, e.g. `Charge`.
    pub payment_type: Option<String>,
    /// The amount, in the currency beside it.
    pub amount: Option<Money>,
    /// The currency's code, e.g. `USD`.
    pub currency_code: Option<String>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; its samples put inventory under `OrderEvents`, so dispatch ignores it.
    pub event_category: Option<String>,
}

impl Event for CreateOrderPaymentEvent {
    const TYPE: &'static str = "CreateOrderPaymentEvent";

    fn example() -> &'static str {
        r#"{"OrderNumber":1,"OrderPaymentId":1,"PaymentStatus":"Paid","PaymentType":"Charge","Amount":20.0,"CurrencyCode":"USD","EventDateUtc":"2021-10-12T18:07:27.8181496Z","EventCategory":"OrderEvents","EventType":"CreateOrderPaymentEvent"}"#
    }
}
