//! Deliveries as engines read them back: their facts become the [`Meta`] of a claim.

use bytes::Bytes;
use chrono::SubsecRound as _;
use contract::event::{BodyFormat, Delivery, DeliveryId, Dialect, Environment, Meta};
use contract::time::Timestamp;
use source::Verified;
use tokio::time::Instant;

use super::state::Progress;
use super::{Claim, Lease, Route};

/// The facts of a delivery that never change.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) id: DeliveryId,
    pub(crate) source: String,
    pub(crate) client_id: Option<String>,
    pub(crate) message_id: String,
    pub(crate) message_id_derived: bool,
    pub(crate) dialect: Dialect,
    pub(crate) environment: Environment,
    pub(crate) event_type: String,
    pub(crate) version: u16,
    pub(crate) user: Option<String>,
    pub(crate) event_time: Option<Timestamp>,
    pub(crate) received_at: Timestamp,
    pub(crate) format: BodyFormat,
}

impl Facts {
    /// The facts of a new delivery, equal to what would be read back: times are stored in milliseconds.
    pub(crate) fn of(id: DeliveryId, delivery: &Verified, route: &Route, now: Timestamp) -> Self {
        Facts {
            id,
            source: delivery.source.name.clone(),
            client_id: delivery.client_id.clone(),
            message_id: delivery.message_id.clone(),
            message_id_derived: delivery.message_id_derived,
            dialect: delivery.source.dialect,
            environment: delivery.source.environment,
            event_type: route.event_type.clone(),
            version: route.version,
            user: delivery.user.clone(),
            event_time: delivery.event_time.map(|time| time.trunc_subsecs(3)),
            received_at: now.trunc_subsecs(3),
            format: delivery.format,
        }
    }

    /// The claim of the delivery, whose counters are those [after the claim](Progress::claimed).
    pub(crate) fn claim(
        self,
        body: Bytes,
        progress: Progress,
        was_running: bool,
        token: i64,
        started_at: Timestamp,
    ) -> Claim {
        let attempt = progress.attempts;
        let lease = Lease { id: self.id, attempt, token, started_at, entity: None };
        let meta = Meta {
            id: self.id,
            source: self.source,
            client_id: self.client_id,
            message_id: self.message_id,
            message_id_derived: self.message_id_derived,
            dialect: self.dialect,
            environment: self.environment,
            event_type: self.event_type,
            version: self.version,
            user: self.user,
            event_time: self.event_time,
            received_at: self.received_at,
            format: self.format,
            attempt: progress.attempts,
            replay: progress.replays,
        };
        Claim {
            delivery: Delivery::new(meta, body),
            run_attempt: progress.run_attempts,
            lost: if was_running { progress.lost } else { 0 },
            lease,
            claimed_at: Instant::now(),
        }
    }
}
