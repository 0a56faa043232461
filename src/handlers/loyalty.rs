//! A custom event from model to test: what a fork copies for its own.
//!
//! Copy the file, rename it, change the model, and add two lines to `handlers/mod.rs`: `pub mod …;` and `.merge(…)`.
//! The endpoint, the documentation, the emitter's sample and the loop tests follow from that.

use anyhow::Context as _;
use serde::Deserialize;
use tracing::info;
use utoipa::ToSchema;
use webhook_receiver::{Catalog, Delivery, Event, Failure, Id, NetDateTime, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(granted)
}

// The model's doc comments are its documentation in Swagger. A field is spelled in PascalCase on the wire; one that is
// not gets `#[serde(rename = "…")]`. Only what the handler cannot do without is required: an `Option` may be null or
// missing.

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

    // Two deliveries for one member are never handled at once, and the earlier goes first.
    const ENTITY: Option<&'static str> = Some("MemberId");

    fn example() -> &'static str {
        r#"{"MemberId":2,"Points":120,"OrderNumber":1,"EventDateUtc":"2021-10-12T18:07:27.8181496Z","EventType":"LoyaltyPointsEvent"}"#
    }
}

/// The parameter's type says which event the handler is for; the delivery dereferences to the model.
async fn granted(cx: Context, grant: Delivery<LoyaltyPointsEvent>) -> Outcome {
    if grant.points == 0 {
        // No further attempt can cure this: to the dead letters at once.
        return Err(Failure::reject("0 points are neither granted nor lost"));
    }
    // Through `?` any error means: again later, on the retry schedule.
    let balance = book(&cx, &grant).await?;
    // Ids are fit for a log; names and addresses are not.
    info!(member.id = %grant.member_id, member.balance = balance, "loyalty points booked");
    Ok(())
}

/// Books the points and returns the new balance. Stands where the fork's database call goes.
///
/// A delivery may be handled more than once, after a crash or a replay, so what is written is keyed by
/// `grant.meta.message_id`: `INSERT … ON CONFLICT (message_id) DO NOTHING`.
async fn book(_: &Context, grant: &Delivery<LoyaltyPointsEvent>) -> anyhow::Result<i64> {
    const OPENING_BALANCE: i64 = 1000;
    OPENING_BALANCE.checked_add(grant.points).context("the balance does not fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(json: &str) -> Outcome {
        granted(Context::default(), Delivery::sample(json).unwrap()).await
    }

    #[tokio::test]
    async fn the_example_is_booked() {
        assert!(outcome(LoyaltyPointsEvent::example()).await.is_ok());
    }

    #[tokio::test]
    async fn zero_points_are_rejected() {
        let failure = outcome(r#"{"MemberId":2,"Points":0}"#).await.unwrap_err();
        assert!(matches!(failure, Failure::Reject { .. }), "{failure:?}");
    }

    #[tokio::test]
    async fn a_failed_booking_is_tried_again() {
        let json = format!(r#"{{"MemberId":2,"Points":{}}}"#, i64::MAX);
        let failure = outcome(&json).await.unwrap_err();
        assert!(matches!(failure, Failure::Retry { .. }), "{failure:?}");
    }
}
