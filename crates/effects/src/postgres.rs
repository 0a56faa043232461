//! PostgreSQL, through tokio-postgres.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use chrono::DateTime;
use contract::effect::{Applied, Begun, DeferredEvent, EffectDb, EffectStore, Mark};
use contract::time::Timestamp;
pub use deadpool_postgres;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, Runtime,
    Transaction,
};
use futures_util::TryStreamExt as _;
use futures_util::future::ready;
use text::nul::{read, stored};
pub use tokio_postgres;
use tokio_postgres::{NoTls, Row};

use crate::statements::{APPLIED, CHECK, DEFER, MARK, OUTBOX, PRUNE, REMOVE, UNBROKEN};

/// The transaction of a one-effect handler. It dereferences to the pool's [`Transaction`], which prepares statements once for
/// each connection, and that to [`tokio_postgres::Transaction`].
pub type Tx<'t> = contract::effect::Tx<'t, Postgres>;

/// Largest number of connections of a pool that is opened by its URL.
const CONNECTIONS: usize = 16;

/// Time without a word from the server after which it is asked for a sign of life.
const ALIVE: Duration = Duration::from_secs(10);

/// The longest wait for a new connection, and for the check at the start.
const WAIT: Duration = Duration::from_secs(10);

/// A database, with the pool of connections that one-effect handlers take theirs of. Clones share it.
#[derive(Clone)]
pub struct Postgres(Pool);

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// The statements that make the tables of marks and of deferred events, as the command `effects` prints them. They can be
    /// repeated.
    pub const MIGRATION: &'static str = crate::POSTGRES_MIGRATION;

    /// Makes a pool of 16 connections without TLS to the database at a URL, `postgres://USER:PASSWORD@HOST/DATABASE`. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// If the URL is none of PostgreSQL. It is not repeated, since it holds a password.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let config = url.parse::<tokio_postgres::Config>().ok();
        let config = config.filter(|config| !config.get_hosts().is_empty()).with_context(|| {
            anyhow!("the URL of the handlers' database is not one of PostgreSQL; write postgres://USER:PASSWORD@HOST/DATABASE")
        })?;
        // A server that is gone is noticed without waiting for hours.
        let mut config = config;
        config.keepalives_idle(ALIVE).keepalives_interval(ALIVE / 2).keepalives_retries(2);
        config.tcp_user_timeout(2 * ALIVE).connect_timeout(WAIT);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, recycling);
        // The connection that was used last knows the plans.
        let pool = Pool::builder(manager).max_size(CONNECTIONS).queue_mode(QueueMode::Lifo);
        Ok(Postgres(pool.runtime(Runtime::Tokio1).build()?))
    }

    /// Takes a pool of the caller's, with TLS, limits and timeouts of its own.
    pub fn new(pool: Pool) -> Self {
        Postgres(pool)
    }

    /// The pool, for migrations and queries of the fork's own.
    pub fn pool(&self) -> &Pool {
        &self.0
    }
}

#[async_trait]
impl EffectDb for Postgres {
    type Connection = Object;
    type Transaction<'c> = Transaction<'c>;

    const MIGRATION: &'static str = Postgres::MIGRATION;

    async fn connect(&self) -> anyhow::Result<Object> {
        self.0.get().await.map_err(|error| match error {
            // Its text has that of its source.
            PoolError::Backend(error) => {
                anyhow!("the handlers' database cannot be reached: {error}")
            }
            error => anyhow!("the handlers' database has no connection: {error}"),
        })
    }

    async fn begin<'c>(
        connection: &'c mut Object,
        mark: &Mark,
        time_left: Duration,
    ) -> anyhow::Result<Begun<Transaction<'c>>> {
        let transaction = connection.transaction().await?;
        let statement = transaction.prepare_cached(MARK).await?;
        let [source, client_id] = [stored(&mark.source), stored(&mark.client_id)];
        let [message_id, event] = [stored(&mark.message_id), stored(&mark.event)];
        let (run, attempt) = (i32::try_from(mark.run)?, i32::try_from(mark.attempt)?);
        let received_at = mark.received_at.timestamp_millis();
        let limit = time_left.as_millis().clamp(1, i32::MAX as u128).to_string();
        let marked = transaction
            .query_opt(
                &statement,
                &[&source, &client_id, &message_id, &received_at, &event, &run, &attempt, &limit],
            )
            .await?;
        if let Some(row) = marked {
            return Ok(Begun::Marked(transaction, time(row.get(0))));
        }
        let key: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&source, &client_id, &message_id, &received_at, &event, &run];
        let row = transaction.query_one(APPLIED, &key).await?;
        let attempt = row.get::<_, i32>(0).unsigned_abs();
        Ok(Begun::AppliedBefore(Applied { attempt, at: time(row.get(1)) }))
    }

    async fn commit(
        transaction: Transaction<'_>,
        deferred: &[DeferredEvent],
    ) -> anyhow::Result<()> {
        if !deferred.is_empty() {
            // Outside of the transaction they would be committed by themselves.
            transaction.batch_execute(UNBROKEN).await?;
            add(&transaction, deferred).await?;
        }
        // Sent together with the commit, whose answer says less.
        let unbroken = transaction.client().simple_query_raw(UNBROKEN).await?;
        transaction.commit().await?;
        Ok(unbroken.try_for_each(|_| ready(Ok(()))).await?)
    }
}

async fn add(transaction: &Transaction<'_>, deferred: &[DeferredEvent]) -> anyhow::Result<()> {
    macro_rules! column {
        (|$event:ident| $value:expr) => {
            &deferred.iter().map(|$event| $value).collect::<Vec<_>>()
        };
    }
    transaction
        .execute(
            DEFER,
            &[
                column!(|event| &*event.cause),
                column!(|event| i32::try_from(event.number).unwrap_or(i32::MAX)),
                column!(|event| stored(&event.source)),
                column!(|event| event.environment.as_str()),
                column!(|event| stored(&event.client_id)),
                column!(|event| event.dialect.as_str()),
                column!(|event| stored(&event.event_type)),
                column!(|event| i32::from(event.version)),
                column!(|event| event.body.as_ref()),
            ],
        )
        .await?;
    Ok(())
}

#[async_trait]
impl EffectStore for Postgres {
    async fn check(&self) -> anyhow::Result<()> {
        let found = async { anyhow::Ok(self.connect().await?.query_one(CHECK, &[]).await?.get(0)) };
        let found: bool = tokio::time::timeout(WAIT, found)
            .await
            .context("the handlers' database does not answer")??;
        anyhow::ensure!(found, crate::NO_TABLES);
        Ok(())
    }

    async fn outbox(&self, cause: Option<&str>) -> anyhow::Result<Vec<DeferredEvent>> {
        let rows = self.connect().await?.query(OUTBOX, &[&cause]).await?;
        rows.iter().map(event).collect()
    }

    async fn remove(&self, events: &[DeferredEvent]) -> anyhow::Result<()> {
        let causes: Vec<&str> = events.iter().map(|event| &*event.cause).collect();
        let number = |event: &DeferredEvent| i32::try_from(event.number).unwrap_or(i32::MAX);
        let numbers: Vec<i32> = events.iter().map(number).collect();
        self.connect().await?.execute(REMOVE, &[&causes, &numbers]).await?;
        Ok(())
    }

    async fn prune(&self, age: Duration) -> anyhow::Result<u64> {
        Ok(self.connect().await?.execute(PRUNE, &[&age.as_secs_f64()]).await?)
    }
}

fn event(row: &Row) -> anyhow::Result<DeferredEvent> {
    let (dialect, environment) = crate::names(row.get(5), row.get(3))?;
    Ok(DeferredEvent {
        cause: row.get(0),
        number: row.get::<_, i32>(1).unsigned_abs(),
        source: read(row.get(2)),
        environment,
        client_id: read(row.get(4)),
        dialect,
        event_type: read(row.get(6)),
        version: u16::try_from(row.get::<_, i32>(7))?,
        body: row.get::<_, Vec<u8>>(8).into(),
    })
}

fn time(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
