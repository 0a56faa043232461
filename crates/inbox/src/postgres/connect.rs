//! The connections to the database.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::time::Clock;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, TimeoutType,
    Timeouts,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{InboxError, Opener, Result};
use super::{Parameter, given};

/// Name of the sessions of receivers and workers.
pub(super) const SERVING: &str = "webhook-receiver";

/// The longest that a call waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// Time without a word from the database after which it is asked for a sign of life.
const ALIVE: Duration = Duration::from_secs(10);

/// The longest that a statement may take; then its connection is given up.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// The same for a statement that accepts, claims or finishes deliveries.
const LONGEST_URGENT_CALL: Duration = Duration::from_secs(8);

/// Largest number of tries of a call that the database has undone to resolve a conflict.
const TRIES: usize = 5;

/// The database, with a pool of connections that are made anew when they break.
#[derive(Clone)]
pub(super) struct Database {
    pool: Pool,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    clock: Option<Clock>,
}

/// A connection outside of the pool, which has to be driven by its owner.
pub(super) type Driven = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Database {
    /// Makes the pool; nothing is connected yet.
    pub(super) fn connect(
        url: &str,
        opener: Opener,
        connections: usize,
        clock: Option<Clock>,
    ) -> anyhow::Result<Self> {
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
            anyhow::anyhow!("the inbox's URL is not one of PostgreSQL; write postgres://USER:PASSWORD@HOST/DATABASE")
        })?;
        if config.get_application_name().is_none() {
            config.application_name(match opener {
                Opener::Receiver => SERVING,
                Opener::Command => "webhook-receiver command",
                Opener::Copy => "webhook-receiver copy",
            });
        }
        // A machine that is gone is noticed without waiting for hours.
        config.keepalives_idle(ALIVE).keepalives_interval(ALIVE / 2).keepalives_retries(2);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(2 * ALIVE);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(WAIT);
        }
        if !url.contains("sslmode=") {
            let is_here = config.get_hosts().iter().all(is_on_this_machine);
            config.ssl_mode(if is_here { SslMode::Disable } else { SslMode::Require });
        }
        let tls = tls()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
        let timeouts = Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: Some(WAIT) };
        let pool = Pool::builder(manager)
            .max_size(connections)
            // The connection that was used last knows the plans.
            .queue_mode(QueueMode::Lifo)
            .timeouts(timeouts)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()?;
        Ok(Database { pool, config, tls, clock })
    }

    /// A connection of the pool.
    pub(super) async fn connection(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match &error {
            PoolError::Backend(error) => failure(error),
            PoolError::Timeout(TimeoutType::Wait) => InboxError::Unavailable(format!(
                "none of its connections became free within {} s",
                WAIT.as_secs()
            )),
            PoolError::Timeout(_) => InboxError::Unavailable(format!(
                "its database does not answer within {} s",
                WAIT.as_secs()
            )),
            _ => InboxError::Unavailable(cause(&error)),
        })
    }

    /// A connection of its own, outside of the pool.
    pub(super) async fn separate(&self) -> Result<(Client, Driven)> {
        let connecting = self.config.connect(self.tls.clone());
        connecting.await.map_err(|error| failure(&error))
    }

    /// Runs a statement. One that the database has undone because of another is tried again.
    pub(super) async fn rows(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.rows_within(LONGEST_CALL, query, parameters).await
    }

    /// Runs a statement for which deliveries wait: a connection that died without a word is given up soon.
    pub(super) async fn urgent_rows(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        self.rows_within(LONGEST_URGENT_CALL, query, parameters).await
    }

    async fn rows_within(
        &self,
        limit: Duration,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let parameters: Vec<_> =
                parameters.iter().map(|(value, kind)| (*value, kind.clone())).collect();
            let connection = self.connection().await?;
            let rows = connection.query_typed(query, &parameters);
            match tokio::time::timeout(limit, rows).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if tries < TRIES && is_conflict(&error) => {}
                Ok(Err(error)) => return Err(failure(&error)),
                Err(_) => {
                    // It is closed, not given back to the pool.
                    drop(Object::take(connection));
                    return Err(InboxError::Unavailable("the database does not answer".into()));
                }
            }
        }
    }

    /// Runs a statement that returns one number.
    pub(super) async fn number(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        let rows = self.rows(query, parameters).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }

    /// True if the database answers, so that a failure was the statement's own.
    pub(super) async fn is_there(&self) -> bool {
        self.rows("SELECT 1", &[]).await.is_ok()
    }

    /// The time that a test gives, in milliseconds; none for the database's own.
    pub(super) fn given_time(&self) -> Option<i64> {
        given(self.clock.as_ref())
    }
}

/// True if nobody else can read what is sent to the host.
fn is_on_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// TLS with the certificates that this machine trusts. It is used unless the database is on this machine, or the URL has
/// another `sslmode`.
fn tls() -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// True if the database has undone the statement because of another, so that it can be tried again.
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::UNIQUE_VIOLATION,
    ]
    .iter()
    .any(|conflict| code == Some(conflict))
}

fn failure(error: &tokio_postgres::Error) -> InboxError {
    match error.code() {
        Some(code) if *code == SqlState::DISK_FULL => InboxError::Full,
        _ => InboxError::Unavailable(cause(error)),
    }
}

/// The message of an error with those of its causes. The messages of the driver have no secrets in them.
fn cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        cause = error.source();
    }
    if let Some((_, remedy)) = REMEDIES.iter().find(|(sign, _)| text.contains(sign)) {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}

/// What to do about a failure, by what its message says.
const REMEDIES: [(&str, &str); 4] = [
    (
        "peer certificate",
        "name the certificate of its authority with SSL_CERT_FILE, or end the URL with ?sslmode=disable",
    ),
    ("does not support TLS", "configure TLS there, or end the URL with ?sslmode=disable"),
    ("permission denied", "the owner of the schema grants the right, as docs/postgres.md says"),
    ("schema \"webhook_inbox\" does not exist", "run `webhook-receiver migrate`"),
];
