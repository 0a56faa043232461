//! An attempt of a one-effect handler: mark, handler, commit, and the deferred events' way to the inbox.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::deferred::Recorder;
use super::{
    Acceptor, Applied, Begun, DeferredEvent, EffectDb, Handled, Mark, Once, OnceHandler, Origin, Tx,
};
use crate::event::{Delivery, Event, Failure};

/// The conditions of an attempt.
#[derive(Clone)]
pub struct Attempt {
    /// The end of the lease: what is not committed by then is rolled back.
    pub lease_until: Instant,
    /// The longest wait for a connection, after which the attempt does not count.
    pub patience: Duration,
    /// The inbox, for deferred events.
    pub acceptor: Arc<dyn Acceptor>,
}

impl Attempt {
    /// An attempt of a test, whose deferred events go nowhere.
    pub fn sample() -> Self {
        let acceptor = Arc::<Recorder>::default();
        let length = Duration::from_secs(60);
        Attempt { lease_until: Instant::now() + length, patience: length, acceptor }
    }
}

/// Runs the handler once, whatever this and other attempts meet.
pub(crate) async fn apply<C, E, F>(
    context: C,
    handler: &F,
    delivery: Delivery<E>,
    attempt: Attempt,
) -> Result<Handled, Failure>
where
    C: Once,
    E: Event,
    F: OnceHandler<C, E>,
{
    let db = context.db().clone();
    let Ok(connection) = timeout(attempt.patience, db.connect()).await else {
        return Ok(Handled::Postponed(
            "the handlers' database had no connection in time: other handlers hold them, or it does not answer".into(),
        ));
    };
    let mark = Mark::of(&delivery.meta);
    let written =
        write(connection?, &mark, context, handler, delivery, attempt.lease_until).await?;
    let (applied, deferred) = match written {
        Written::Before(applied) => (applied, None),
        Written::Now(applied, deferred) => (applied, Some(deferred)),
        Written::InDoubt(error, own, deferred) => {
            match committed_after_all(&db, &mark, &attempt).await {
                Some(applied) if applied == own => (applied, Some(deferred)),
                Some(other) => (other, None),
                None => return Err(error.context("the transaction was not committed").into()),
            }
        }
    };
    // What is applied must not end as dead.
    match hand_over(&db, &mark.cause, deferred, &*attempt.acceptor).await {
        Ok(()) => Ok(Handled::Applied(applied)),
        Err(error) => Ok(Handled::Postponed(format!(
            "the effect is applied, and the inbox does not take the events that it defers: {error:#}"
        ))),
    }
}

/// The end of a transaction.
enum Written {
    /// Another attempt had applied the run.
    Before(Applied),
    /// This attempt has, and has deferred these events.
    Now(Applied, Vec<DeferredEvent>),
    /// The commit failed, and may have succeeded.
    InDoubt(anyhow::Error, Applied, Vec<DeferredEvent>),
}

async fn write<C, E, F>(
    mut connection: <C::Db as EffectDb>::Connection,
    mark: &Mark,
    context: C,
    handler: &F,
    delivery: Delivery<E>,
    lease_until: Instant,
) -> Result<Written, Failure>
where
    C: Once,
    E: Event,
    F: OnceHandler<C, E>,
{
    let begun = C::Db::begin(&mut connection, mark, time_left(lease_until)).await?;
    let (transaction, at) = match begun {
        Begun::AppliedBefore(applied) => return Ok(Written::Before(applied)),
        Begun::Marked(transaction, at) => (transaction, at),
    };
    let origin = Origin::of(&delivery.meta);
    let mut tx = Tx { transaction, origin, deferred: Vec::new() };
    handler.call(context, &mut tx, delivery).await?;
    if time_left(lease_until).is_zero() {
        return Err(Failure::retry("the lease was lost; what was written is rolled back"));
    }
    let Tx { transaction, deferred, .. } = tx;
    let own = Applied { attempt: mark.attempt, at };
    Ok(match C::Db::commit(transaction, &deferred).await {
        Ok(()) => Written::Now(own, deferred),
        Err(error) => Written::InDoubt(error, own, deferred),
    })
}

fn time_left(lease_until: Instant) -> Duration {
    lease_until.saturating_duration_since(Instant::now())
}

/// The mark, if a commit that seemed to fail has succeeded: to write it again waits for a commit that is under way.
async fn committed_after_all<D: EffectDb>(
    db: &D,
    mark: &Mark,
    attempt: &Attempt,
) -> Option<Applied> {
    let mut connection = db.connect().await.ok()?;
    match D::begin(&mut connection, mark, time_left(attempt.lease_until)).await.ok()? {
        Begun::AppliedBefore(applied) => Some(applied),
        Begun::Marked(..) => None,
    }
}

/// Makes deferred events deliveries, before the verdict: so those of one entity keep their order, and a crash before it
/// leaves them to the next attempt. Without events, those of the cause are in the outbox, if there are any.
async fn hand_over<D: EffectDb>(
    db: &D,
    cause: &str,
    deferred: Option<Vec<DeferredEvent>>,
    acceptor: &dyn Acceptor,
) -> anyhow::Result<()> {
    let deferred = match deferred {
        Some(deferred) => deferred,
        None => db.outbox(Some(cause)).await?,
    };
    if deferred.is_empty() {
        return Ok(());
    }
    for event in &deferred {
        acceptor.accept(event.clone()).await?;
    }
    // What cannot be removed is accepted again later, and recognised.
    let db = db.clone();
    tokio::spawn(async move { db.remove(&deferred).await });
    Ok(())
}
