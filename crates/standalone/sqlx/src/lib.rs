#![doc = include_str!("../README.md")]

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chrono::DateTime;
use contract::effect::{Applied, Begun, DeferredEvent, EffectDb, EffectStore, Mark};
use contract::time::Timestamp;
pub use effects::POSTGRES_MIGRATION;
use effects::statements::{APPLIED, CHECK, DEFER, MARK, OUTBOX, PRUNE, REMOVE, UNBROKEN};
pub use sqlx;
use sqlx::{PgPool, Transaction};
use text::nul::{read, stored};

/// The transaction of a one-effect handler. It dereferences to [`sqlx::Transaction`], and that to
/// [`sqlx::PgConnection`]:
///
/// ```ignore
/// sqlx::query("INSERT INTO bookings VALUES ($1)").bind(number).execute(tx.as_mut()).await?;
/// ```
///
/// What may fail without failing the delivery is done in a savepoint: `let mut savepoint = tx.begin().await?;`, with
/// [`sqlx::Connection`] in scope. Put no time limit around that line: in sqlx 0.9.0 a savepoint that is dropped while it begins
/// ends the transaction. The attempt then fails, but what the handler has written since is not undone.
pub type Tx<'t> = contract::effect::Tx<'t, Postgres>;

/// The longest that the check at the start waits.
const WAIT: Duration = Duration::from_secs(10);

/// A database, with the pool of connections that one-effect handlers take theirs of. Clones share it.
#[derive(Debug, Clone)]
pub struct Postgres(PgPool);

impl Postgres {
    /// Takes a pool of the caller's, with TLS, limits and timeouts of its own.
    pub fn new(pool: PgPool) -> Self {
        Postgres(pool)
    }

    /// The pool, for migrations and queries of the fork's own.
    pub fn pool(&self) -> &PgPool {
        &self.0
    }
}

#[async_trait]
impl EffectDb for Postgres {
    /// With BEGIN already sent, see `connect`; none once it is in use.
    type Connection = Option<Transaction<'static, sqlx::Postgres>>;
    type Transaction<'c> = Transaction<'static, sqlx::Postgres>;

    const MIGRATION: &'static str = POSTGRES_MIGRATION;

    /// Sends BEGIN too. If it is dropped before the answer, sqlx 0.9.0 would give the connection back to the pool with the
    /// transaction open, and whoever takes it next would write to a transaction that nobody commits. A task is not dropped.
    async fn connect(&self) -> anyhow::Result<Self::Connection> {
        let pool = self.0.clone();
        let begun = tokio::spawn(async move { pool.begin().await }).await?;
        Ok(Some(begun.context("the handlers' database cannot be reached")?))
    }

    async fn begin<'c>(
        connection: &'c mut Self::Connection,
        mark: &Mark,
        time_left: Duration,
    ) -> anyhow::Result<Begun<Self::Transaction<'c>>> {
        let mut transaction = connection.take().context("the connection is in use")?;
        let [source, client_id] = [stored(&mark.source), stored(&mark.client_id)];
        let [message_id, event] = [stored(&mark.message_id), stored(&mark.event)];
        let (run, received_at) = (i32::try_from(mark.run)?, mark.received_at.timestamp_millis());
        let limit = time_left.as_millis().clamp(1, i32::MAX as u128).to_string();
        let marked = sqlx::query_scalar(MARK)
            .bind(&source)
            .bind(&client_id)
            .bind(&message_id)
            .bind(received_at)
            .bind(&event)
            .bind(run)
            .bind(i32::try_from(mark.attempt)?)
            .bind(limit)
            .fetch_optional(transaction.as_mut())
            .await?;
        if let Some(millis) = marked {
            return Ok(Begun::Marked(transaction, time(millis)));
        }
        let (attempt, millis): (i32, i64) = sqlx::query_as(APPLIED)
            .bind(source)
            .bind(client_id)
            .bind(message_id)
            .bind(received_at)
            .bind(event)
            .bind(run)
            .fetch_one(transaction.as_mut())
            .await?;
        Ok(Begun::AppliedBefore(Applied { attempt: attempt.unsigned_abs(), at: time(millis) }))
    }

    async fn commit(
        mut transaction: Self::Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()> {
        // Sqlx commits nothing, too, if a savepoint that was dropped while it began has taken the transaction with it.
        sqlx::raw_sql(UNBROKEN).execute(transaction.as_mut()).await?;
        if !deferred.is_empty() {
            add(&mut transaction, deferred).await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn add(
    transaction: &mut Transaction<'_, sqlx::Postgres>,
    deferred: &[DeferredEvent],
) -> sqlx::Result<()> {
    macro_rules! column {
        (|$event:ident| $value:expr) => {
            deferred.iter().map(|$event| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query(DEFER)
        .bind(column!(|event| &*event.cause))
        .bind(column!(|event| number(event)))
        .bind(column!(|event| stored(&event.source)))
        .bind(column!(|event| event.environment.as_str()))
        .bind(column!(|event| stored(&event.client_id)))
        .bind(column!(|event| event.dialect.as_str()))
        .bind(column!(|event| stored(&event.event_type)))
        .bind(column!(|event| i32::from(event.version)))
        .bind(column!(|event| event.body.as_ref()))
        .execute(transaction.as_mut())
        .await?;
    Ok(())
}

#[async_trait]
impl EffectStore for Postgres {
    async fn check(&self) -> anyhow::Result<()> {
        let found = sqlx::query_scalar(CHECK).fetch_one(&self.0);
        let found: bool = tokio::time::timeout(WAIT, found)
            .await
            .context("the handlers' database does not answer")?
            .context("the handlers' database cannot be reached")?;
        anyhow::ensure!(found, effects::NO_TABLES);
        Ok(())
    }

    async fn outbox(&self, cause: Option<&str>) -> anyhow::Result<Vec<DeferredEvent>> {
        let rows: Vec<Row> = sqlx::query_as(OUTBOX).bind(cause).fetch_all(&self.0).await?;
        rows.into_iter().map(event).collect()
    }

    async fn remove(&self, events: &[DeferredEvent]) -> anyhow::Result<()> {
        let causes: Vec<&str> = events.iter().map(|event| &*event.cause).collect();
        let numbers: Vec<i32> = events.iter().map(number).collect();
        sqlx::query(REMOVE).bind(causes).bind(numbers).execute(&self.0).await?;
        Ok(())
    }

    async fn prune(&self, age: Duration) -> anyhow::Result<u64> {
        let pruned = sqlx::query(PRUNE).bind(age.as_secs_f64()).execute(&self.0).await?;
        Ok(pruned.rows_affected())
    }
}

/// The columns of the outbox.
type Row = (String, i32, String, String, String, String, String, i32, Vec<u8>);

fn event(row: Row) -> anyhow::Result<DeferredEvent> {
    let (cause, number, source, environment, client_id, dialect, event_type, version, body) = row;
    let (dialect, environment) = effects::names(&dialect, &environment)?;
    Ok(DeferredEvent {
        cause,
        number: number.unsigned_abs(),
        source: read(source),
        environment,
        client_id: read(client_id),
        dialect,
        event_type: read(event_type),
        version: u16::try_from(version)?,
        body: body.into(),
    })
}

fn number(event: &DeferredEvent) -> i32 {
    i32::try_from(event.number).unwrap_or(i32::MAX)
}

fn time(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
