//! Batches of deliveries and of verdicts.

use std::collections::HashSet;
use std::sync::Arc;

use source::Verified;
use text::nul::stored;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::identity::{self, DeliveryIdentity};
use super::super::{AcceptOutcome, InboxError, Lease, Receipt, Result, Route, State, Verdict};
use super::batch::{Call, Pending};
use super::claim::Claims;
use super::connect::Database;
use super::{Parameter, millis, number, whole_millis};

/// A delivery to be stored.
pub(super) struct Accept {
    delivery: Verified,
    route: Route,
    headers: String,
    identity: Uuid,
    entity: Option<i64>,
}

impl Call for Accept {
    type Output = Receipt;
}

impl Accept {
    pub(super) fn new(delivery: Verified, route: Route) -> Self {
        let identity = Uuid::from_bytes(DeliveryIdentity::of(&delivery).hash.0);
        let key = route.ordering_key.as_deref();
        let entity = key.map(|key| entity(&delivery.source.name, key));
        let headers = delivery.headers_json();
        Accept { delivery, route, headers, identity, entity }
    }

    /// State at the acceptance.
    fn state(&self) -> State {
        match &self.route {
            Route { handled: true, .. } => State::Ready,
            route if route.is_canary() => State::Canary,
            _ => State::Unrouted,
        }
    }
}

/// Hash of an ordering key of a source.
pub(super) fn entity(source: &str, key: &str) -> i64 {
    i64::from_le_bytes(identity::hash([source, key]))
}

type Accepts = Vec<Pending<Accept>>;

/// Stores a batch and answers its callers. If it fails because of one delivery, each is stored alone.
pub(super) async fn accept(database: Database, claims: Arc<Claims>, batch: Accepts) {
    let mut batches = distinct(batch);
    while let Some(batch) = batches.pop() {
        match store(&database, &batch).await {
            Ok(receipts) => {
                let is_due = |(receipt, pending): (&Receipt, &Pending<Accept>)| {
                    receipt.outcome == AcceptOutcome::New && pending.call.route.handled
                };
                if receipts.iter().zip(&batch).any(is_due) {
                    claims.wake();
                }
                for (receipt, pending) in receipts.into_iter().zip(batch) {
                    let _ = pending.reply.send(Ok(receipt));
                }
            }
            Err(InboxError::Unavailable(_)) if batch.len() > 1 && database.is_there().await => {
                batches.extend(batch.into_iter().map(|one| vec![one]));
            }
            Err(error) => {
                for pending in batch {
                    let _ = pending.reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Batches of distinct identities, the last one first: of equal deliveries each needs to know of the one before.
fn distinct(batch: Accepts) -> Vec<Accepts> {
    let mut batches = vec![Vec::new()];
    let mut seen = HashSet::new();
    for pending in batch {
        if !seen.insert(pending.call.identity) {
            seen = HashSet::from([pending.call.identity]);
            batches.push(Vec::new());
        }
        batches.last_mut().expect("there is one").push(pending);
    }
    batches.reverse();
    batches
}

const ACCEPT: &str = "SELECT ids, outcomes FROM webhook_inbox.accept(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

async fn store(database: &Database, batch: &Accepts) -> Result<Vec<Receipt>> {
    let calls = || batch.iter().map(|pending| &pending.call);
    macro_rules! column {
        (|$call:ident| $value:expr) => {
            &calls().map(|$call| $value).collect::<Vec<_>>()
        };
    }
    let parameters: [Parameter<'_>; 20] = [
        (column!(|c| stored(&c.delivery.source.name)), Type::TEXT_ARRAY),
        (
            column!(|c| stored(c.delivery.client_id.as_deref().unwrap_or_default())),
            Type::TEXT_ARRAY,
        ),
        (column!(|c| stored(&c.delivery.message_id)), Type::TEXT_ARRAY),
        (column!(|c| c.delivery.message_id_derived), Type::BOOL_ARRAY),
        (column!(|c| c.delivery.source.dialect.as_str()), Type::TEXT_ARRAY),
        (column!(|c| c.delivery.source.environment.as_str()), Type::TEXT_ARRAY),
        (column!(|c| stored(&c.route.event_type)), Type::TEXT_ARRAY),
        (column!(|c| i32::from(c.route.version)), Type::INT4_ARRAY),
        (column!(|c| c.delivery.user.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|c| c.delivery.event_time.map(millis)), Type::INT8_ARRAY),
        (column!(|c| c.delivery.digest.as_slice()), Type::BYTEA_ARRAY),
        (column!(|c| c.delivery.key.map(|key| key.to_string())), Type::TEXT_ARRAY),
        (column!(|c| c.delivery.format.as_str()), Type::TEXT_ARRAY),
        (column!(|c| c.route.ordering_key.as_deref().map(stored)), Type::TEXT_ARRAY),
        (column!(|c| c.entity), Type::INT8_ARRAY),
        (column!(|c| number(c.state())), Type::INT2_ARRAY),
        (column!(|c| stored(&c.headers)), Type::TEXT_ARRAY),
        (column!(|c| c.delivery.body.as_ref()), Type::BYTEA_ARRAY),
        (column!(|c| c.identity), Type::UUID_ARRAY),
        (&database.given_time(), Type::INT8),
    ];
    let rows = database.urgent_rows(ACCEPT, &parameters).await?;
    let row = rows.first().ok_or_else(no_answer)?;
    let (ids, outcomes): (Vec<i64>, Vec<i16>) = (row.get(0), row.get(1));
    if ids.len() != batch.len() || outcomes.len() != batch.len() {
        return Err(no_answer());
    }
    let receipt = |((id, outcome), call): ((i64, i16), &Accept)| {
        let outcome = match outcome {
            0 => AcceptOutcome::New,
            1 => AcceptOutcome::Duplicate,
            _ => AcceptOutcome::Conflict,
        };
        Receipt { id, message_id: call.delivery.message_id.clone(), outcome }
    };
    Ok(ids.into_iter().zip(outcomes).zip(calls()).map(receipt).collect())
}

fn no_answer() -> InboxError {
    InboxError::Unavailable("the database has not answered for each delivery".into())
}

/// A verdict to be written.
pub(super) struct Finish {
    pub(super) lease: Lease,
    pub(super) verdict: Verdict,
}

impl Call for Finish {
    type Output = bool;
}

const FINISH: &str = "SELECT number FROM webhook_inbox.finish(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// Writes a batch of verdicts and answers its callers. If it fails because of one, each is written alone.
pub(super) async fn finish(database: Database, claims: Arc<Claims>, batch: Vec<Pending<Finish>>) {
    let mut batches = vec![batch];
    while let Some(batch) = batches.pop() {
        let calls: Vec<&Finish> = batch.iter().map(|pending| &pending.call).collect();
        match write(&database, &claims, &calls).await {
            Ok(held) => {
                for (number, pending) in (1..).zip(batch) {
                    let _ = pending.reply.send(Ok(held.contains(&number)));
                }
            }
            Err(InboxError::Unavailable(_)) if batch.len() > 1 && database.is_there().await => {
                batches.extend(batch.into_iter().map(|one| vec![one]));
            }
            Err(error) => {
                for pending in batch {
                    let _ = pending.reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Writes verdicts; returns the numbers, from 1, of those whose lease was held.
async fn write(database: &Database, claims: &Claims, calls: &[&Finish]) -> Result<HashSet<i64>> {
    let leases: Vec<&Lease> = calls.iter().map(|call| &call.lease).collect();
    let closed = claims.closed_by(&leases);
    macro_rules! column {
        (|$call:ident| $value:expr) => {
            &calls.iter().map(|$call| $value).collect::<Vec<_>>()
        };
    }
    let applied = |call: &Finish| call.verdict.transition().applied;
    let parameters: [Parameter<'_>; 14] = [
        (column!(|c| c.lease.id), Type::INT8_ARRAY),
        (column!(|c| i32::try_from(c.lease.attempt).unwrap_or(i32::MAX)), Type::INT4_ARRAY),
        (column!(|c| c.lease.token), Type::INT8_ARRAY),
        (column!(|c| c.lease.entity), Type::INT8_ARRAY),
        (column!(|c| millis(c.lease.started_at)), Type::INT8_ARRAY),
        (column!(|c| number(c.verdict.transition().state)), Type::INT2_ARRAY),
        (column!(|c| c.verdict.transition().due_in.map(whole_millis)), Type::INT8_ARRAY),
        (column!(|c| c.verdict.transition().outcome), Type::TEXT_ARRAY),
        (column!(|c| c.verdict.transition().error.map(stored)), Type::TEXT_ARRAY),
        (
            column!(|c| applied(c).map(|by| i32::try_from(by.attempt).unwrap_or(i32::MAX))),
            Type::INT4_ARRAY,
        ),
        (column!(|c| applied(c).map(|by| millis(by.at))), Type::INT8_ARRAY),
        (&closed.iter().map(|(token, _)| *token).collect::<Vec<i64>>(), Type::INT8_ARRAY),
        (&closed.iter().map(|(_, block)| *block).collect::<Vec<i64>>(), Type::INT8_ARRAY),
        (&database.given_time(), Type::INT8),
    ];
    let rows = database.urgent_rows(FINISH, &parameters).await?;
    claims.ended(&leases);
    if calls.iter().any(|call| makes_due(call)) {
        claims.wake();
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// True if a verdict may make a delivery due at once: this one, or the next of its entity.
fn makes_due(call: &Finish) -> bool {
    let due_in = call.verdict.transition().due_in;
    due_in.is_none_or(|delay| delay.is_zero()) && (due_in.is_some() || call.lease.entity.is_some())
}

/// Gives back claims that nobody works on. If the database cannot be reached, their leases expire.
pub(super) async fn give_back(
    database: &Database,
    claims: &Claims,
    unused: Vec<Lease>,
    verdict: Verdict,
) {
    let given_back = |lease| Finish { lease, verdict: verdict.clone() };
    let calls: Vec<Finish> = unused.into_iter().map(given_back).collect();
    let _ = write(database, claims, &calls.iter().collect::<Vec<_>>()).await;
}
