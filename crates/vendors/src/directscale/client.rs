//! Custom events: anything that a client posts to the vendor's bus.

use contract::event::Event;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A custom event that has no model of its own: any JSON value, not necessarily an object.
///
/// A client derives its event from the vendor's `ClientEvent`; its properties are siblings of `EventDateUtc` and
/// `EventType`. The value of `EventType` is not documented: an event under a name of its own needs its own model.
/// Source: the vendor's Event Bus page (2018).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ClientEvent(pub Value);

impl Event for ClientEvent {
    const TYPE: &'static str = "ClientEvent";

    fn example() -> &'static str {
        r#"{"EventProperty1":"The first thing","EventProperty2":42,"EventProperty3":true,"EventProperty4":{"CoolData":"Hello"},"EventDateUtc":"2021-10-12T18:01:39.5127343Z","EventType":"ClientEvent"}"#
    }
}
