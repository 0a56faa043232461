//! Shipments, as the warehouse announces them.

use std::time::Duration;

use serde::Deserialize;
use tracing::info;
use utoipa::ToSchema;
use webhook_receiver::{Catalog, Delivery, Event, Failure, Id, NetDateTime, Outcome};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(sent)
}

/// A parcel has left the warehouse.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ShipmentEvent {
    /// The number of the order that was shipped.
    pub order_number: Id,
    /// The carrier's number of the parcel.
    pub tracking_number: Option<Id>,
    /// When the event happened, in UTC.
    pub event_date_utc: Option<NetDateTime>,
    /// The event's name.
    pub event_type: Option<Id>,
}

impl Event for ShipmentEvent {
    const TYPE: &'static str = "ShipmentEvent";
    const ENTITY: Option<&'static str> = Some("OrderNumber");

    fn example() -> &'static str {
        r#"{"OrderNumber":1,"TrackingNumber":"1Z999","EventDateUtc":"2026-01-31T12:00:00Z","EventType":"ShipmentEvent"}"#
    }
}

async fn sent(_: Context, parcel: Delivery<ShipmentEvent>) -> Outcome {
    let Some(tracking) = &parcel.tracking_number else {
        return Err(Failure::reject("no tracking number: nothing to tell the customer"));
    };
    if tracking.as_str() == "pending" {
        return Err(Failure::retry_after(Duration::from_secs(600), "no number yet"));
    }
    info!(order.number = %parcel.order_number, parcel.tracking = %tracking, "parcel sent");
    Ok(())
}
