//! EvolutionX's events: orders, and users who change or subscribe.
//!
//! The vendor publishes neither a list of its events nor a payload in full. The source is its articles on event
//! driven webhooks; every field is optional, and what a model does not name is kept beside it.

use std::ops::Deref;

use contract::event::{Delivery, Dialect, Event, Id};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The fields of every EvolutionX event.
///
/// If the webhook includes the object record, it is a sibling of these fields, under a key that is not documented:
/// [`record`] finds it. Source: the vendor's articles, field by field.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct EvolutionxEvent {
    /// The event's id, the same on every resend. Source: the article on request validation.
    pub event_id: Option<Id>,
    /// The event's name: an object, a dot and what happened to it. Source: the article on request validation.
    pub event_type: Option<Id>,
    /// The application in which the change was made, such as `storefront`. Source: the article on processing.
    pub source_user_type: Option<String>,
    /// The user or customer whom the object belongs to, of no documented shape. Source: the article on setup.
    #[serde(rename = "Event_data")]
    #[schema(value_type = Option<Object>)]
    pub event_data: Option<Value>,
}

/// The object record, if the webhook includes it: the first object among the fields that the model does not name.
pub fn record<T>(delivery: &Delivery<T>) -> Option<&Value> {
    delivery.unknown.values().find(|value| value.is_object())
}

/// An order was placed.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct OrderCreated(pub EvolutionxEvent);

impl Deref for OrderCreated {
    type Target = EvolutionxEvent;

    fn deref(&self) -> &EvolutionxEvent {
        &self.0
    }
}

impl Event for OrderCreated {
    const TYPE: &'static str = "order.created";
    const DIALECT: Dialect = Dialect::EvolutionX;

    fn example() -> &'static str {
        r#"{"event_id":"evt_7301","event_type":"order.created","source_user_type":"storefront","Event_data":{"id":1000}}"#
    }
}

/// A user's data was changed.
///
/// A change of the subscription fires this event and [`UserSubscribed`] or [`UserUnsubscribed`], each with an id of its
/// own. The vendor advises to listen to one of the two sides only.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UserUpdated(pub EvolutionxEvent);

impl Deref for UserUpdated {
    type Target = EvolutionxEvent;

    fn deref(&self) -> &EvolutionxEvent {
        &self.0
    }
}

impl Event for UserUpdated {
    const TYPE: &'static str = "user.updated";
    const DIALECT: Dialect = Dialect::EvolutionX;

    fn example() -> &'static str {
        r#"{"event_id":"evt_7302","event_type":"user.updated","source_user_type":"storefront","Event_data":{"id":2000}}"#
    }
}

/// A user has subscribed, to a newsletter for example.
///
/// [`UserUpdated`] is fired too, under another id.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UserSubscribed(pub EvolutionxEvent);

impl Deref for UserSubscribed {
    type Target = EvolutionxEvent;

    fn deref(&self) -> &EvolutionxEvent {
        &self.0
    }
}

impl Event for UserSubscribed {
    const TYPE: &'static str = "user.subscribed";
    const DIALECT: Dialect = Dialect::EvolutionX;

    fn example() -> &'static str {
        r#"{"event_id":"evt_7303","event_type":"user.subscribed","source_user_type":"storefront","Event_data":{"id":2000}}"#
    }
}

/// A user has unsubscribed.
///
/// [`UserUpdated`] is fired too, under another id.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct UserUnsubscribed(pub EvolutionxEvent);

impl Deref for UserUnsubscribed {
    type Target = EvolutionxEvent;

    fn deref(&self) -> &EvolutionxEvent {
        &self.0
    }
}

impl Event for UserUnsubscribed {
    const TYPE: &'static str = "user.unsubscribed";
    const DIALECT: Dialect = Dialect::EvolutionX;

    fn example() -> &'static str {
        r#"{"event_id":"evt_7304","event_type":"user.unsubscribed","source_user_type":"storefront","Event_data":{"id":2000}}"#
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_found_under_any_key() {
        for key in ["object", "order", "Record"] {
            let json = format!(
                r#"{{"event_id":"evt_1","data":"x","Event_data":{{}},"{key}":{{"id":1}}}}"#
            );
            let order = Delivery::<OrderCreated>::sample(&json).unwrap();
            assert_eq!(record(&order), Some(&serde_json::json!({"id": 1})), "{key}");
        }
        assert_eq!(record(&Delivery::<OrderCreated>::example().unwrap()), None);
    }

    #[test]
    fn nothing_is_required() {
        let order = Delivery::<OrderCreated>::sample("{}").unwrap();
        assert_eq!(order.event_id, None);
    }
}
