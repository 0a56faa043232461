//! The databases of one-effect handlers. Each adapter writes marks and deferred events beside the handler's own tables, and
//! its transaction dereferences to the driver's own.
//!
//! It depends on the contract and on `text`. An adapter for another driver implements
//! [`EffectDb`](contract::effect::EffectDb) in the same way.

#[cfg(feature = "tokio-postgres")]
pub mod postgres;
#[cfg(feature = "rusqlite")]
pub mod sqlite;
pub mod statements;

/// The tables on PostgreSQL.
pub const POSTGRES_MIGRATION: &str = include_str!("postgres.sql");

/// The tables on SQLite.
pub const SQLITE_MIGRATION: &str = include_str!("sqlite.sql");

/// The message of a check that finds no tables.
pub const NO_TABLES: &str = "the handlers' database lacks the tables `webhook_effect` and `webhook_deferred`; make them with what \
    `webhook-receiver effects` prints";

/// Names of an event's dialect and of its source's environment, read back from the outbox.
pub fn names(
    dialect: &str,
    environment: &str,
) -> anyhow::Result<(contract::event::Dialect, contract::event::Environment)> {
    use anyhow::Context as _;
    use contract::event::{Dialect, Environment};
    let why = || {
        format!("a deferred event has the dialect {dialect:?} and the environment {environment:?}")
    };
    Ok((
        Dialect::from_name(dialect).with_context(why)?,
        Environment::from_name(environment).with_context(why)?,
    ))
}
