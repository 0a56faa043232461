//! `effects`: prints the tables of one-effect handlers.

use std::process::ExitCode;

use anyhow::Context as _;
use effects::{POSTGRES_MIGRATION, SQLITE_MIGRATION};

use crate::app::Program;

/// The flags of `effects`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver effects | psql \"$DATABASE_URL\"\n  \
    webhook-receiver effects --database sqlite > migrations/0002_webhook_effects.sql\n\n\
    The statements can be repeated. `Sqlite::open` runs them by itself.")]
pub(crate) struct Args {
    /// Kind of the database [default: that of the handlers that the catalog has with `.once`]
    #[arg(long, value_enum, value_name = "KIND")]
    database: Option<Database>,
}

/// Kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Database {
    /// PostgreSQL
    Postgres,
    /// SQLite
    Sqlite,
}

pub(crate) fn run(args: &Args, program: &Program) -> anyhow::Result<ExitCode> {
    let migration = match args.database {
        Some(Database::Postgres) => Some(POSTGRES_MIGRATION),
        Some(Database::Sqlite) => Some(SQLITE_MIGRATION),
        None => program.migration,
    };
    let migration = migration.context(
        "the catalog has no one-effect handler: register one with `.once`, or name the kind with --database",
    )?;
    super::print(migration.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
