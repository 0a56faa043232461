-- What was received. Written once, never changed.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    client_id TEXT NOT NULL,          -- '' if the sender gave none
    message_id TEXT NOT NULL,
    message_id_derived INTEGER NOT NULL,
    dialect TEXT NOT NULL,
    environment TEXT NOT NULL,
    event_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    user TEXT,
    event_time INTEGER,               -- times are milliseconds since 1970, UTC
    received_at INTEGER NOT NULL,
    digest BLOB NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- The dedup: (source, client_id, message_id) is unique. The writer sees to it; dedup.rs says how and why.
CREATE TABLE run (
    run INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,            -- the newest delivery in it: later ones are in no run yet
    filter BLOB NOT NULL
) STRICT;

CREATE TABLE run_part (
    run INTEGER NOT NULL,
    part INTEGER NOT NULL,
    entries BLOB NOT NULL,            -- a hash of 16 bytes and a delivery's number of 8, again and again
    PRIMARY KEY (run, part)
) STRICT, WITHOUT ROWID;

-- Where each delivery stands. Small rows, so that a change of state does not rewrite the body.
CREATE TABLE work (
    id INTEGER PRIMARY KEY,           -- the delivery's
    state INTEGER NOT NULL,           -- 0 ready, 1 running, 2 done, 3 dead, 4 unrouted
    due_at INTEGER,                   -- ready: not before; running: end of the lease; null: ended, or behind another of its key
    ordering_key TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    run_attempts INTEGER NOT NULL DEFAULT 0,
    replays INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER,
    ended_at INTEGER,
    last_error TEXT
) STRICT;

CREATE INDEX work_due ON work (due_at, state) WHERE due_at IS NOT NULL;
CREATE INDEX work_order ON work (ordering_key, id) WHERE ordering_key IS NOT NULL AND state < 2;
CREATE INDEX work_ended ON work (state, ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE attempt (
    delivery INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    replay INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (delivery, attempt)
) STRICT, WITHOUT ROWID;
