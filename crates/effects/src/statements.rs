//! The statements on PostgreSQL, for adapters of every driver: one text, whoever executes it.
//!
//! Texts from outside are bound as `text::nul` stores them.

/// Writes the mark, and limits the waits of this transaction to the attempt: a transaction under way that has written the
/// same mark is waited for, and one of a worker that is gone is ended by the server.
///
/// Parameters: source, client id, message id, time of acceptance, event, run, attempt, and the limit in milliseconds as text. Returns the time
/// in milliseconds since 1970, or no row if the mark is there.
pub const MARK: &str = "WITH limits AS MATERIALIZED (
        SELECT set_config('lock_timeout', $8, true), set_config('statement_timeout', $8, true),
            set_config('idle_in_transaction_session_timeout', $8, true)
    )
    INSERT INTO webhook_effect (source, client_id, message_id, received_at, event, run, attempt)
    SELECT $1, $2, $3, $4, $5, $6, $7 FROM limits
    ON CONFLICT DO NOTHING
    RETURNING (extract(epoch FROM applied_at) * 1000)::bigint";

/// Reads the attempt and the time of a mark. Parameters: source, client id, message id, time of acceptance, event, run.
pub const APPLIED: &str =
    "SELECT attempt, (extract(epoch FROM applied_at) * 1000)::bigint FROM webhook_effect
    WHERE source = $1 AND client_id = $2 AND message_id = $3 AND received_at = $4 AND event = $5 AND run = $6";

/// Fails unless the transaction is under way and none of its statements has failed: PostgreSQL takes COMMIT for ROLLBACK if a
/// handler has swallowed an error, and for nothing if it has ended the transaction by itself, and reports no error.
pub const UNBROKEN: &str = "SAVEPOINT webhook_commit";

/// Writes deferred events. Parameters: their columns, each as an array.
pub const DEFER: &str = "INSERT INTO webhook_deferred
        (cause, number, source, environment, client_id, dialect, event, version, body)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::integer[], $9::bytea[])";

/// Reads the columns of deferred events. Parameter: the cause, or null for those of every cause that are left behind.
pub const OUTBOX: &str =
    "SELECT cause, number, source, environment, client_id, dialect, event, version, body FROM webhook_deferred
    WHERE cause = $1 OR $1 IS NULL AND deferred_at < now() - interval '10 s'
    ORDER BY deferred_at, cause, number LIMIT 1000";

/// Removes deferred events. Parameters: their causes and their numbers, each as an array.
pub const REMOVE: &str =
    "DELETE FROM webhook_deferred d USING unnest($1::text[], $2::integer[]) gone (cause, number)
    WHERE d.cause = gone.cause AND d.number = gone.number";

/// Deletes up to ten thousand marks. Parameter: their smallest age in seconds.
pub const PRUNE: &str = "DELETE FROM webhook_effect WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM webhook_effect WHERE applied_at < now() - make_interval(secs => $1) LIMIT 10000))";

/// Returns true if the tables are there.
pub const CHECK: &str = "SELECT to_regclass('webhook_effect') IS NOT NULL AND to_regclass('webhook_deferred') IS NOT NULL";
