//! The schema, and its version.

use anyhow::{Context, bail};

use super::super::Opener;
use super::connect::Database;

/// Migration steps, one for each version. A step is never edited once it has shipped; a change is a new step, with which the
/// program of the version before still works.
const STEPS: [&str; 4] = [
    concat!(
        include_str!("v1/tables.sql"),
        include_str!("v1/views.sql"),
        include_str!("v1/accept.sql"),
        include_str!("v1/claim.sql"),
        include_str!("v1/finish.sql"),
        include_str!("v1/upkeep.sql"),
    ),
    concat!(
        include_str!("v2/replay.sql"),
        include_str!("v2/accept.sql"),
        include_str!("v2/upkeep.sql"),
    ),
    concat!(include_str!("v3/finish.sql"), include_str!("v3/replay.sql")),
    concat!(include_str!("v4/operate.sql"), include_str!("v4/discard.sql")),
];

/// The longest that a step waits for a lock: other programs wait behind it.
const LOCK_TIMEOUT: &str = "2s";

/// A migration, done or to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Version of the schema before; 0 if there was none.
    pub from: usize,
    /// Version of this program.
    pub to: usize,
    /// The statements between the two.
    pub statements: Vec<String>,
}

/// Brings the schema up to the version of this program, unless `dry_run`.
///
/// # Errors
/// If the database cannot be reached, has a newer schema, or refuses a statement. Then nothing has been changed.
pub(crate) async fn migrate(url: &str, dry_run: bool) -> anyhow::Result<Migration> {
    let database = Database::connect(url, Opener::Command, 1, None)?;
    let from = version(&database).await?;
    let to = STEPS.len();
    if from > to {
        bail!(
            "the inbox's schema is of version {from}, and this program's is {to}; update the program"
        );
    }
    let statements = STEPS[from..].iter().map(|step| (*step).to_owned()).collect();
    let migration = Migration { from, to, statements };
    if dry_run || from == to {
        return Ok(migration);
    }
    let mut connection = database.connection().await?;
    let transaction = connection.transaction().await?;
    let begin = format!(
        "SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';
         SELECT pg_advisory_xact_lock(2003333120, 0);
         CREATE SCHEMA IF NOT EXISTS webhook_inbox;
         SET LOCAL search_path = webhook_inbox;
         SET LOCAL check_function_bodies = off;"
    );
    transaction.batch_execute(&begin).await.context("cannot begin to migrate")?;
    for (step, number) in migration.statements.iter().zip(from + 1..) {
        let step = transaction.batch_execute(step).await;
        step.with_context(|| format!("cannot migrate the inbox to version {number}"))?;
    }
    let number = i32::try_from(to)?;
    transaction.execute("UPDATE webhook_inbox.control SET version = $1", &[&number]).await?;
    // Names in functions are those of the schema, whatever the caller's path; and their plans use the indexes, whatever a batch
    // or a table held when they were made.
    let functions = "DO $$ DECLARE f regprocedure; BEGIN
        FOR f IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'webhook_inbox'::regnamespace
            AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql') LOOP
            EXECUTE format('ALTER FUNCTION %s SET search_path = webhook_inbox, pg_temp', f);
            EXECUTE format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', f);
            EXECUTE format('ALTER FUNCTION %s SET jit = off', f);
            EXECUTE format('ALTER FUNCTION %s SET enable_seqscan = off', f);
            EXECUTE format('ALTER FUNCTION %s SET enable_hashjoin = off', f);
            EXECUTE format('ALTER FUNCTION %s SET enable_mergejoin = off', f);
        END LOOP; END $$";
    transaction.batch_execute(functions).await?;
    transaction.commit().await.context("cannot commit the migration")?;
    Ok(migration)
}

/// Version of the schema; 0 if there is none.
async fn version(database: &Database) -> anyhow::Result<usize> {
    let query = "SELECT to_regclass('webhook_inbox.control') IS NOT NULL";
    let rows = database.rows(query, &[]).await?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let rows = database.rows("SELECT version FROM webhook_inbox.control", &[]).await?;
    Ok(usize::try_from(rows.first().map_or(0, |row| row.get::<_, i32>(0)))?)
}

/// Checks that the schema is the one of this program, or one step newer.
pub(super) async fn check(database: &Database) -> anyhow::Result<()> {
    let (found, wanted) = (version(database).await?, STEPS.len());
    match found {
        0 => bail!("there is no inbox in this database yet; run `webhook-receiver migrate`"),
        found if found < wanted => bail!(
            "the inbox's schema is of version {found}, and this program needs {wanted}; run `webhook-receiver migrate`"
        ),
        found if found > wanted + 1 => bail!(
            "the inbox's schema is of version {found}, and this program knows {wanted}; update the program"
        ),
        _ => Ok(()),
    }
}
