-- The tables of one-effect handlers, in the database that the handlers write to.

-- A run of a delivery that has been applied.
CREATE TABLE IF NOT EXISTS webhook_effect (
    source text NOT NULL,
    client_id text NOT NULL,           -- '' if the sender gave none
    message_id text NOT NULL,
    received_at bigint NOT NULL,       -- milliseconds since 1970, UTC
    event text NOT NULL,
    run integer NOT NULL,              -- 0, and one more for each replay
    attempt integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    -- By time, so that new marks are beside one another.
    PRIMARY KEY (received_at, message_id, source, client_id, event, run)
);
CREATE INDEX IF NOT EXISTS webhook_effect_applied ON webhook_effect USING brin (applied_at) WITH (pages_per_range = 32);

-- Events that handlers have deferred, until they are deliveries.
CREATE TABLE IF NOT EXISTS webhook_deferred (
    cause text NOT NULL,               -- names the run
    number integer NOT NULL,
    source text NOT NULL,
    environment text NOT NULL,
    client_id text NOT NULL,
    dialect text NOT NULL,
    event text NOT NULL,
    version integer NOT NULL,
    body bytea NOT NULL,
    deferred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cause, number)
);
