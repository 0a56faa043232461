-- Subscriptions.
CREATE TABLE subscription (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    definition TEXT,                  -- JSON, secrets included; null: it stands in the settings, or was removed
    standing INTEGER NOT NULL,        -- 0 active, 1 paused by hand, 2 paused for failures, 3 ended by its target, 4 removed
    why TEXT,
    since INTEGER NOT NULL,           -- times are milliseconds since 1970, UTC
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    made_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX subscription_name ON subscription (name) WHERE standing <> 4;

-- Published events. Written once, never changed.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    environment TEXT,
    object_type TEXT,
    object_id TEXT,
    source_user TEXT,
    happened_at INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    record BLOB                       -- the object record, JSON
) STRICT;

CREATE INDEX event_published ON event (published_at);

-- One event on its way to one target. Small rows, so that a change of state does not rewrite the body.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    state INTEGER NOT NULL,           -- 0 waiting, 1 delivered, 2 given up, 3 cancelled
    is_retry INTEGER NOT NULL,        -- whether it has been tried before, or is sent again by hand
    due_at INTEGER,                   -- null: ended, or behind another of its entity
    entity TEXT,                      -- deliveries with the same one go one after the other
    attempts INTEGER NOT NULL DEFAULT 0,
    run_attempts INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER
) STRICT;

CREATE INDEX delivery_due ON delivery (subscription, is_retry, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_order ON delivery (subscription, entity, id) WHERE entity IS NOT NULL AND state = 0;
CREATE INDEX delivery_event ON delivery (event);
CREATE INDEX delivery_given_up ON delivery (ended_at) WHERE state = 2;

-- Attempts: every request that was made, and its result.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    event INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    took INTEGER NOT NULL,            -- microseconds
    uri TEXT NOT NULL,                -- without its query
    status INTEGER,
    outcome INTEGER NOT NULL,         -- 0 delivered, 1 again, 2 given up, 3 gone, 4 a copy made on purpose
    error TEXT,
    fault TEXT                        -- what went wrong on purpose
) STRICT;

CREATE INDEX attempt_event ON attempt (event);
CREATE INDEX attempt_subscription ON attempt (subscription);

-- The request and response of an attempt. Kept for a shorter time.
CREATE TABLE payload (
    attempt INTEGER PRIMARY KEY,
    request_headers TEXT NOT NULL,    -- JSON pairs, secrets left out
    request_body BLOB,                -- null: the event's own
    response_headers TEXT NOT NULL,
    response_body BLOB NOT NULL,
    is_cut INTEGER NOT NULL           -- whether the response was longer
) STRICT;
