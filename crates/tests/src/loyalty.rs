//! A custom event of the fixture's own: one whose handler can fail.

use contract::catalog::Catalog;
use contract::event::{Delivery, Event, Failure, Id, NetDateTime, Outcome};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(granted)
}

/// A member was granted loyalty points, or lost some.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LoyaltyPointsEvent {
    /// The number of the member.
    pub member_id: Id,
    /// The points: positive if granted, negative if lost.
    pub points: i64,
    /// The number of the order that earned the points.
    pub order_number: Option<Id>,
    /// When the event happened, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
}

impl Event for LoyaltyPointsEvent {
    const TYPE: &'static str = "LoyaltyPointsEvent";
    const ENTITY: Option<&'static str> = Some("MemberId");

    fn example() -> &'static str {
        r#"{"MemberId":2,"Points":120,"OrderNumber":1,"EventDateUtc":"2021-10-12T18:07:27.8181496Z","EventType":"LoyaltyPointsEvent"}"#
    }
}

async fn granted(_: Context, grant: Delivery<LoyaltyPointsEvent>) -> Outcome {
    if grant.points == 0 {
        return Err(Failure::reject("0 points are neither granted nor lost"));
    }
    if grant.points == i64::MAX {
        return Err(Failure::retry("the balance does not fit"));
    }
    Ok(())
}
