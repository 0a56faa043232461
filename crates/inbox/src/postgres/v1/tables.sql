-- Version 1 of the inbox on PostgreSQL: tables, and the functions that receivers and workers call.
--
-- A subquery that must not read a whole table is written with LIMIT and IS NULL, since the planner may turn EXISTS into a
-- hash of it. Big rows are appended, and whole parts of a thousand million ids are emptied at once. What is claimed for its first
-- attempt is a row in `claimed` for each batch, since the deliveries of a source are claimed in the order of their ids.
-- A delivery has a row of its own in `waiting` only if its first attempt did not end it. Times are milliseconds since
-- 1970, UTC.

CREATE SEQUENCE delivery_id;
CREATE SEQUENCE hook_call_id;

CREATE TABLE source (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    -- Claimed up to this id, if no row in `claimed` says more.
    position bigint NOT NULL DEFAULT 0
);

-- What was received.
CREATE TABLE delivery (
    id bigint NOT NULL,
    source_id integer NOT NULL,
    client_id text NOT NULL,           -- '' if the sender gave none
    message_id text NOT NULL,
    message_id_derived boolean NOT NULL,
    dialect text NOT NULL,
    environment text NOT NULL,
    event_type text NOT NULL,
    version integer NOT NULL,
    username text,
    event_time bigint,
    received_at bigint NOT NULL,
    digest bytea NOT NULL,
    key text,                          -- fingerprint
    format text NOT NULL,
    ordering_key text,
    entity bigint,                     -- hash of the source and the ordering key
    state smallint NOT NULL,           -- at its acceptance: 0 ready, 4 unrouted, 5 canary
    headers text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
ALTER TABLE delivery ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX delivery_queue ON delivery (source_id, id) WHERE state = 0;
CREATE INDEX delivery_entity ON delivery (entity, id) WHERE entity IS NOT NULL;
CREATE INDEX delivery_unhandled ON delivery (id) WHERE state > 0;
CREATE INDEX delivery_received ON delivery USING brin (received_at) WITH (pages_per_range = 32);

-- The identities of deliveries. Generations are emptied in turn.
CREATE TABLE seen (
    identity uuid NOT NULL,
    generation smallint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (identity, generation)
) PARTITION BY LIST (generation);
CREATE TABLE seen_0 PARTITION OF seen FOR VALUES IN (0);
CREATE TABLE seen_1 PARTITION OF seen FOR VALUES IN (1);
CREATE TABLE seen_2 PARTITION OF seen FOR VALUES IN (2);
CREATE TABLE seen_3 PARTITION OF seen FOR VALUES IN (3);

-- Batches of first attempts, and those of them that have ended. Generations are emptied in turn.
CREATE TABLE claimed (
    generation smallint NOT NULL,
    source_id integer NOT NULL,
    after_id bigint NOT NULL,          -- deliveries of the source with greater ids, up to last_id
    last_id bigint NOT NULL,
    token bigint NOT NULL,
    owner text NOT NULL,
    started_at bigint NOT NULL,
    until bigint NOT NULL
) PARTITION BY LIST (generation);
CREATE TABLE claimed_0 PARTITION OF claimed FOR VALUES IN (0);
CREATE TABLE claimed_1 PARTITION OF claimed FOR VALUES IN (1);
CREATE TABLE claimed_2 PARTITION OF claimed FOR VALUES IN (2);
CREATE INDEX claimed_order ON claimed (source_id, last_id);
CREATE INDEX claimed_until ON claimed (until);

CREATE TABLE closed (
    generation smallint NOT NULL,
    token bigint NOT NULL,
    last_id bigint NOT NULL,
    PRIMARY KEY (token, last_id, generation)
) PARTITION BY LIST (generation);
CREATE TABLE closed_0 PARTITION OF closed FOR VALUES IN (0);
CREATE TABLE closed_1 PARTITION OF closed FOR VALUES IN (1);
CREATE TABLE closed_2 PARTITION OF closed FOR VALUES IN (2);

-- Deliveries that wait for an attempt after the first, or behind another of their entity, or whose claim has expired.
CREATE TABLE waiting (
    id bigint PRIMARY KEY,
    source_id integer NOT NULL,
    entity bigint,
    state smallint NOT NULL,           -- 0 ready, 1 running
    due_at bigint,                     -- ready: not before; running: end of the lease; null: behind another of its entity
    attempts integer NOT NULL,
    run_attempts integer NOT NULL,
    replays integer NOT NULL,
    lost integer NOT NULL,
    started_at bigint,
    token bigint,
    owner text,
    last_error text
) WITH (fillfactor = 70);
CREATE INDEX waiting_due ON waiting (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX waiting_entity ON waiting (entity, id) WHERE entity IS NOT NULL;
CREATE INDEX waiting_turn ON waiting (entity, id) WHERE entity IS NOT NULL AND due_at IS NOT NULL;

-- Ended attempts; the last of a delivery that is not waiting says how it ended.
CREATE TABLE attempt (
    delivery bigint NOT NULL,
    attempt integer NOT NULL,
    replay integer NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint NOT NULL,
    state smallint NOT NULL,           -- of the delivery afterwards
    outcome text NOT NULL,
    error text,
    PRIMARY KEY (delivery, attempt)
) PARTITION BY RANGE (delivery);
CREATE INDEX attempt_rare ON attempt (delivery) WHERE state > 2;
CREATE INDEX attempt_ended ON attempt (ended_at);

-- Resends with other bytes, and resends that were recognised by the digest.
CREATE TABLE resend (
    id bigint PRIMARY KEY,
    conflicts integer NOT NULL DEFAULT 0,
    recognised integer NOT NULL DEFAULT 0
);

-- What is older is deleted, though its part may not be emptied yet: by state, and -1 for hook calls.
CREATE TABLE pruned (
    state smallint PRIMARY KEY,
    before bigint NOT NULL
);
INSERT INTO pruned SELECT state, 0 FROM unnest(ARRAY[-1, 2, 3, 4, 5]) state;

CREATE TABLE hook_call (
    id bigint NOT NULL PRIMARY KEY,
    source text NOT NULL,
    environment text NOT NULL,
    hook text NOT NULL,
    username text,
    request_id text NOT NULL,
    received_at bigint NOT NULL,
    took bigint NOT NULL,              -- microseconds
    status integer NOT NULL,
    outcome text NOT NULL,
    error_id text,
    error text,
    callback_took bigint,              -- microseconds; null: the callback was not used
    callback_error text,
    request bytea,                     -- null: the bodies are not kept
    callback_request bytea,
    callback_response bytea,
    response bytea
) PARTITION BY RANGE (id);
CREATE INDEX hook_call_received ON hook_call (received_at, id);

CREATE TABLE key_use (
    source text NOT NULL,
    key text NOT NULL,
    last_used bigint NOT NULL,
    PRIMARY KEY (source, key)
);

CREATE TABLE rejection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id text NOT NULL UNIQUE,
    at bigint NOT NULL,
    source text,
    target text,
    event_type text,
    message_id text,
    delivery bigint,
    status integer NOT NULL,
    reason text,
    findings text
);

-- The one row of what housekeeping changes.
CREATE TABLE control (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version integer NOT NULL,
    seen_generation smallint NOT NULL DEFAULT 0,
    seen_since bigint NOT NULL DEFAULT 0,
    claimed_generation smallint NOT NULL DEFAULT 0,
    claimed_since bigint NOT NULL DEFAULT 0,
    leader text NOT NULL DEFAULT '',
    leader_until bigint NOT NULL DEFAULT 0
);
INSERT INTO control (version, seen_since, claimed_since)
    SELECT 1, t, t FROM (SELECT (extract(epoch FROM now()) * 1000)::bigint AS t) now;

-- A claimed delivery; `block` is the last id of its row in `claimed`, if that holds it.
CREATE TYPE claim_row AS (id bigint, due_at bigint, was_lost boolean, block bigint);
