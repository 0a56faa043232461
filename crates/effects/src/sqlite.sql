-- The tables of one-effect handlers, in the database that the handlers write to.

-- A run of a delivery that has been applied. Times are milliseconds since 1970, UTC.
CREATE TABLE IF NOT EXISTS webhook_effect (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    client_id TEXT NOT NULL,          -- '' if the sender gave none
    message_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    event TEXT NOT NULL,
    run INTEGER NOT NULL,             -- 0, and one more for each replay
    attempt INTEGER NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    -- By time, so that new marks are beside one another.
    UNIQUE (received_at, message_id, source, client_id, event, run)
) STRICT;

-- Events that handlers have deferred, until they are deliveries.
CREATE TABLE IF NOT EXISTS webhook_deferred (
    cause TEXT NOT NULL,              -- names the run
    number INTEGER NOT NULL,
    source TEXT NOT NULL,
    environment TEXT NOT NULL,
    client_id TEXT NOT NULL,
    dialect TEXT NOT NULL,
    event TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    deferred_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (cause, number)
) STRICT;
