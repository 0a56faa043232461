//! Enrolments.

use tracing::info;

use super::Context;
use crate::catalog::Catalog;
use crate::event::{Delivery, Id, Outcome};
use crate::events::directscale::enrollment::EnrollmentEvent;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().on(enrolled)
}

async fn enrolled(_: Context, enrollment: Delivery<EnrollmentEvent>) -> Outcome {
    info!(
        distributor.id = %enrollment.distributor_id,
        sponsor.id = enrollment.sponsor_id.as_ref().map(Id::as_str),
        "distributor enrolled"
    );
    Ok(())
}
