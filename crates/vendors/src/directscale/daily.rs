//! The daily tick.

use contract::event::{Event, Id, NetDateTime};
use serde::Deserialize;
use utoipa::ToSchema;

/// The vendor's Daily Run was triggered: a tick for the client's own daily jobs.
///
/// No fields of its own are known. Source: the vendor's event model pages (2021).
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DailyEvent {
    /// The time of the event, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
    /// The vendor's grouping of events; its samples put inventory under `OrderEvents`, so dispatch ignores it.
    pub event_category: Option<String>,
}

impl Event for DailyEvent {
    const TYPE: &'static str = "DailyEvent";

    fn example() -> &'static str {
        r#"{"EventDateUtc":"2021-10-12T06:00:00.0310277Z","EventType":"DailyEvent"}"#
    }
}
