//! Enrolments.
use tracing::info;
use webhook_receiver::vendors::directscale::enrollment::EnrollmentEvent;
use webhook_receiver::{Catalog, Delivery, Id, Outcome};

use super::Context;

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
