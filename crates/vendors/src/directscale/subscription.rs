//! Subscriptions of associates that are created or changed.

use std::ops::Deref;

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// An associate's subscription, as both subscription events carry it.
///
/// Source: the vendor's Event Bus page and its sample receiver (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Subscription {
    /// The number of the associate who subscribes.
    pub associate_id: Option<Id>,
    /// The associate's id as shown to people; only in the vendor's posting example, not in its field list.
    pub back_office_id: Option<Id>,
    /// The number of the subscription.
    pub subscription_id: Id,
    /// The name of what is subscribed to.
    pub subscription_name: Option<String>,
    /// The end of the subscription, in UTC; in the sample receiver and the posting example, not in the field list.
    pub expiration_date_utc: Option<NetDateTime>,
    /// True if the subscription has been cancelled.
    pub is_void: Option<bool>,
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name or number; the 2018 generation may lack it.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; not in the 2018 field lists.
    pub event_category: Option<String>,
}

/// An associate has a new subscription.
///
/// The vendor's id for it is `4`.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct CreateSubscriptionEvent(pub Subscription);

impl Deref for CreateSubscriptionEvent {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.0
    }
}

impl Event for CreateSubscriptionEvent {
    const TYPE: &'static str = "CreateSubscriptionEvent";
    const ALIASES: &'static [&'static str] = &["4"];

    fn example() -> &'static str {
        r#"{"AssociateId":2,"BackOfficeId":"A2F","SubscriptionId":31,"SubscriptionName":"Back Office","ExpirationDateUtc":"2021-11-12T18:01:39.5127343Z","IsVoid":false,"EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventType":"CreateSubscriptionEvent"}"#
    }
}

/// An associate's subscription was updated.
///
/// The id `5` is inferred from the gap in the vendor's numbering; no source states it.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UpdateSubscriptionEvent(pub Subscription);

impl Deref for UpdateSubscriptionEvent {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.0
    }
}

impl Event for UpdateSubscriptionEvent {
    const TYPE: &'static str = "UpdateSubscriptionEvent";
    const ALIASES: &'static [&'static str] = &["5"];

    fn example() -> &'static str {
        r#"{"AssociateId":2,"BackOfficeId":"A2F","SubscriptionId":31,"SubscriptionName":"Back Office","ExpirationDateUtc":"2021-12-12T18:01:39.5127343Z","IsVoid":false,"EventDateUtc":"2021-11-12T18:01:40.1180432Z","EventType":"UpdateSubscriptionEvent"}"#
    }
}
