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

-- The database's time, unless a test gives another.
CREATE FUNCTION time_or_now(given bigint) RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- Adds the part of the ids from `part` times a thousand million.
CREATE FUNCTION add_part(part bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['delivery', 'attempt', 'hook_call'] LOOP
        CONTINUE WHEN to_regclass(format('webhook_inbox.%I', parent || '_' || part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE webhook_inbox.%I (LIKE webhook_inbox.%I INCLUDING ALL)', parent || '_' || part, parent);
        EXECUTE format('ALTER TABLE webhook_inbox.%I ATTACH PARTITION webhook_inbox.%I FOR VALUES FROM (%s) TO (%s)',
            parent, parent || '_' || part, part * 1000000000, (part + 1) * 1000000000);
    END LOOP;
END $$;
SELECT add_part(0), add_part(1);

-- The deliveries of each source up to this id have been claimed.
CREATE FUNCTION claimed_up_to(of_source integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest(s.position, (SELECT max(c.last_id) FROM webhook_inbox.claimed c WHERE c.source_id = s.id))
    FROM webhook_inbox.source s WHERE s.id = of_source
$$;

-- Every delivery with its state.
CREATE VIEW entry AS
SELECT d.*, s.name AS source,
    coalesce(w.state, a.state, CASE WHEN d.state > 0 THEN d.state WHEN c.token IS NOT NULL THEN 1 ELSE 0 END)::smallint AS now,
    coalesce(w.attempts, a.attempt, CASE WHEN c.token IS NOT NULL THEN 1 ELSE 0 END) AS attempts,
    coalesce(w.run_attempts, 0) AS run_attempts,
    coalesce(w.replays, a.replay, 0) AS replays,
    coalesce(w.lost, 0) AS lost,
    coalesce(w.owner, CASE WHEN w.id IS NULL AND a.delivery IS NULL THEN c.owner END) AS owner,
    CASE WHEN w.id IS NOT NULL THEN w.due_at
         WHEN a.delivery IS NULL AND d.state = 0 THEN coalesce(c.until, d.received_at) END AS due_at,
    CASE WHEN w.id IS NULL THEN coalesce(a.ended_at, CASE WHEN d.state > 0 THEN d.received_at END) END AS ended_at,
    coalesce(w.last_error, CASE WHEN w.id IS NULL THEN a.error END) AS last_error,
    coalesce(r.conflicts, 0) AS conflicts,
    coalesce(r.recognised, 0) AS recognised
FROM webhook_inbox.delivery d
JOIN webhook_inbox.source s ON s.id = d.source_id
LEFT JOIN webhook_inbox.waiting w ON w.id = d.id
LEFT JOIN LATERAL (
    SELECT a.* FROM webhook_inbox.attempt a WHERE a.delivery = d.id ORDER BY a.attempt DESC LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    SELECT c.* FROM webhook_inbox.claimed c
    WHERE w.id IS NULL AND a.delivery IS NULL AND d.state = 0
        AND c.source_id = d.source_id AND c.last_id >= d.id AND c.after_id < d.id
    ORDER BY c.last_id LIMIT 1
) c ON true
LEFT JOIN webhook_inbox.resend r ON r.id = d.id;

-- Every delivery that is not pruned.
CREATE VIEW kept AS
SELECT e.* FROM entry e LEFT JOIN pruned p ON p.state = e.now AND e.ended_at < p.before WHERE p.state IS NULL;

-- Stores a batch of deliveries with distinct identities; says for each which delivery it is, and whether it is new (0), known
-- (1) or a conflict (2). The deliveries of one source are committed in the order of their ids: its lock is held until the
-- commit.
CREATE FUNCTION accept(
    sources text[], client_ids text[], message_ids text[], derived boolean[], dialects text[], environments text[],
    event_types text[], versions integer[], usernames text[], event_times bigint[], digests bytea[], keys text[],
    formats text[], ordering_keys text[], entities bigint[], states smallint[], headers text[], bodies bytea[],
    identities uuid[], given_time bigint, OUT ids bigint[], OUT outcomes smallint[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint;
    source_ids integer[];
    present smallint;
    known record;
    place integer;
BEGIN
    SELECT array_agg(s.id ORDER BY n) INTO source_ids
        FROM unnest(sources) WITH ORDINALITY i (name, n) JOIN source s ON s.name = i.name;
    IF cardinality(source_ids) IS DISTINCT FROM cardinality(sources) THEN
        INSERT INTO source (name) SELECT DISTINCT name FROM unnest(sources) name ORDER BY 1 ON CONFLICT DO NOTHING;
        SELECT array_agg(s.id ORDER BY n) INTO source_ids
            FROM unnest(sources) WITH ORDINALITY i (name, n) JOIN source s ON s.name = i.name;
    END IF;
    PERFORM pg_advisory_xact_lock(2003333121, one) FROM (SELECT DISTINCT unnest(source_ids) AS one ORDER BY 1) locked;
    at := time_or_now(given_time);
    SELECT c.seen_generation INTO present FROM control c;
    outcomes := array_fill(0::smallint, ARRAY[cardinality(sources)]);
    ids := array_fill(NULL::bigint, ARRAY[cardinality(sources)]);
    FOR known IN SELECT s.identity, s.id, s.generation FROM seen s WHERE s.identity = ANY (identities) LOOP
        place := array_position(identities, known.identity);
        IF NOT EXISTS (SELECT FROM kept k WHERE k.id = known.id) THEN
            -- Its delivery has been pruned, so that it is new again.
            DELETE FROM seen s WHERE s.identity = known.identity AND s.generation = known.generation;
            CONTINUE;
        END IF;
        ids[place] := known.id;
        outcomes[place] := CASE (SELECT d.digest FROM delivery d WHERE d.id = known.id) WHEN digests[place] THEN 1 ELSE 2 END;
        IF outcomes[place] = 2 OR derived[place] THEN
            INSERT INTO resend AS r (id, conflicts, recognised)
            VALUES (known.id, (outcomes[place] = 2)::integer, (outcomes[place] = 1)::integer)
            ON CONFLICT (id) DO UPDATE SET
                conflicts = r.conflicts + excluded.conflicts, recognised = r.recognised + excluded.recognised;
        END IF;
    END LOOP;
    FOR place IN 1 .. cardinality(sources) LOOP
        IF ids[place] IS NULL THEN
            ids[place] := nextval('webhook_inbox.delivery_id');
        END IF;
    END LOOP;
    INSERT INTO seen (identity, generation, id)
        SELECT i.identity, present, i.id FROM unnest(identities, ids, outcomes) i (identity, id, outcome) WHERE i.outcome = 0;
    INSERT INTO delivery (id, source_id, client_id, message_id, message_id_derived, dialect, environment, event_type,
        version, username, event_time, received_at, digest, key, format, ordering_key, entity, state, headers, body)
    SELECT i.id, i.source_id, i.client_id, i.message_id, i.derived, i.dialect, i.environment, i.event_type,
        i.version, i.username, i.event_time, at, i.digest, i.key, i.format, i.ordering_key, i.entity, i.state,
        i.headers, i.body
    FROM unnest(ids, outcomes, source_ids, client_ids, message_ids, derived, dialects, environments, event_types, versions,
        usernames, event_times, digests, keys, formats, ordering_keys, entities, states, headers, bodies)
        i (id, outcome, source_id, client_id, message_id, derived, dialect, environment, event_type, version,
        username, event_time, digest, key, format, ordering_key, entity, state, headers, body)
    WHERE i.outcome = 0;
END $$;

-- True unless another delivery of the entity runs, or an older one that was replayed goes first.
CREATE FUNCTION has_turn(of_id bigint, of_entity bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM webhook_inbox.waiting o WHERE o.entity = of_entity AND o.id <> of_id
        AND (o.state = 1 OR o.id < of_id AND o.due_at IS NOT NULL))
$$;

-- Claims up to `wanted` deliveries whose due time in `waiting` has come, and records the attempts that were lost.
CREATE FUNCTION claim_late(wanted integer, for_token bigint, by_owner text, until bigint, at bigint)
RETURNS TABLE (id bigint, due_at bigint, was_lost boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    candidates bigint[];
BEGIN
    SELECT array_agg(c.id) INTO candidates FROM (
        SELECT w.id FROM waiting w
        WHERE w.due_at <= at AND (w.entity IS NULL OR
            has_turn(w.id, w.entity) AND pg_try_advisory_xact_lock(2003333124, hashint8(w.entity)))
        ORDER BY w.due_at, w.id LIMIT wanted FOR UPDATE SKIP LOCKED) c;
    IF candidates IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT w.id, w.due_at, w.state = 1 AS was_lost FROM waiting w WHERE w.id = ANY (candidates)
            -- Again, now that others of the entity cannot change.
            AND (w.entity IS NULL OR has_turn(w.id, w.entity))
    ), recorded AS (
        INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error)
        SELECT w.id, w.attempts, w.replays, w.started_at, at, 0, 'lost', 'its worker stopped'
        FROM waiting w JOIN due ON due.id = w.id WHERE due.was_lost
    )
    UPDATE waiting w SET state = 1, due_at = until, attempts = w.attempts + 1,
        run_attempts = w.run_attempts + (NOT due.was_lost)::integer, lost = w.lost + due.was_lost::integer,
        started_at = at, token = for_token, owner = by_owner
    FROM due WHERE w.id = due.id RETURNING w.id, due.due_at, due.was_lost;
END $$;

-- Claims up to `wanted` due deliveries. First attempts of every source get an equal share, and late attempts a half, as far
-- as there are so many.
CREATE FUNCTION claim(
    wanted integer, for_token bigint, by_owner text, lease bigint, checked_until bigint, given_time bigint
) RETURNS TABLE (
    id bigint, source text, client_id text, message_id text, message_id_derived boolean, dialect text, environment text,
    event_type text, version integer, username text, event_time bigint, received_at bigint, format text, body bytea,
    entity bigint, attempts integer, run_attempts integer, replays integer, lost integer, was_lost boolean,
    started_at bigint, block bigint, due_at bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    until bigint := at + lease;
    free integer := wanted;
    active integer[];
    one integer;
    share integer;
    up_to bigint;
    found bigint[];
    entities bigint[];
    behind bigint[];
    block bigint;
    all_claimed claim_row[];
BEGIN
    PERFORM expire(checked_until, at);
    -- Sources with deliveries that no claim has reached.
    SELECT array_agg(s.id ORDER BY random()) INTO active FROM source s
        WHERE (SELECT d.id FROM delivery d WHERE d.source_id = s.id AND d.state = 0 AND d.id > claimed_up_to(s.id)
            ORDER BY d.id LIMIT 1) IS NOT NULL;
    SELECT array_agg((l.id, l.due_at, l.was_lost, NULL)::claim_row) INTO all_claimed
        FROM claim_late(CASE WHEN active IS NULL THEN free ELSE (free + 1) / 2 END, for_token, by_owner, until, at) l;
    free := free - coalesce(cardinality(all_claimed), 0);
    WHILE free > 0 AND array_length(active, 1) > 0 LOOP
        share := greatest(1, free / array_length(active, 1));
        one := active[1];
        active := active[2:];
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(2003333122, one);
        -- From here on nobody else claims first attempts of this source.
        up_to := claimed_up_to(one);
        SELECT array_agg(d.id), max(d.id), array_agg(DISTINCT d.entity) FILTER (WHERE d.entity IS NOT NULL)
            INTO found, block, entities
            FROM (SELECT d.id, d.entity FROM delivery d
                WHERE d.source_id = one AND d.state = 0 AND d.id > up_to ORDER BY d.id LIMIT share) d;
        CONTINUE WHEN found IS NULL;
        INSERT INTO claimed (generation, source_id, after_id, last_id, token, owner, started_at, until)
            SELECT c.claimed_generation, one, up_to, block, for_token, by_owner, at, until FROM control c;
        behind := '{}';
        IF entities IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(2003333124, hashint8(e)) FROM (SELECT unnest(entities) AS e ORDER BY 1) locked;
            SELECT coalesce(array_agg(d.id), '{}') INTO behind FROM delivery d
                WHERE d.id = ANY (found) AND d.entity IS NOT NULL AND (
                    (SELECT b.id FROM delivery b WHERE b.entity = d.entity AND b.id > up_to AND b.id < d.id LIMIT 1)
                        IS NOT NULL
                    OR (SELECT w.id FROM waiting w WHERE w.entity = d.entity LIMIT 1) IS NOT NULL
                    OR is_running_before(d.entity, up_to));
            INSERT INTO waiting (id, source_id, entity, state, attempts, run_attempts, replays, lost)
                SELECT d.id, d.source_id, d.entity, 0, 0, 0, 0, 0 FROM delivery d WHERE d.id = ANY (behind);
        END IF;
        IF cardinality(behind) = cardinality(found) THEN
            INSERT INTO closed (generation, token, last_id) SELECT c.claimed_generation, for_token, block FROM control c;
        END IF;
        all_claimed := all_claimed || ARRAY(
            SELECT (f, NULL, false, block)::claim_row FROM unnest(found) f WHERE f <> ALL (behind));
        free := free - cardinality(found) + cardinality(behind);
        IF cardinality(found) = share THEN
            active := active || one;
        END IF;
    END LOOP;
    IF free > 0 THEN
        all_claimed := all_claimed || ARRAY(
            SELECT (l.id, l.due_at, l.was_lost, NULL)::claim_row FROM claim_late(free, for_token, by_owner, until, at) l);
    END IF;
    RETURN QUERY
    SELECT d.id, s.name, d.client_id, d.message_id, d.message_id_derived, d.dialect, d.environment, d.event_type,
        d.version, d.username, d.event_time, d.received_at, d.format, d.body, d.entity,
        coalesce(w.attempts, 1), coalesce(w.run_attempts, 1), coalesce(w.replays, 0), coalesce(w.lost, 0),
        c.was_lost, at, c.block, coalesce(c.due_at, d.received_at)
    FROM unnest(all_claimed) c
    JOIN delivery d ON d.id = c.id JOIN source s ON s.id = d.source_id
    LEFT JOIN waiting w ON w.id = d.id;
END $$;

-- True if the last delivery of an entity up to `position`, which is not waiting, is at its first attempt.
CREATE FUNCTION is_running_before(of_entity bigint, up_to bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT (SELECT a.attempt FROM webhook_inbox.attempt a WHERE a.delivery = d.id LIMIT 1) IS NULL
            AND (SELECT w.id FROM webhook_inbox.waiting w WHERE w.id = d.id) IS NULL
        FROM webhook_inbox.delivery d WHERE d.entity = of_entity AND d.id <= up_to AND d.state = 0
        ORDER BY d.id DESC LIMIT 1), false)
$$;

-- Moves the deliveries of expired claims to `waiting`, where the next claim finds them.
CREATE FUNCTION expire(since bigint, given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    expired claimed;
BEGIN
    FOR expired IN SELECT c.* FROM claimed c WHERE c.until >= since AND c.until <= at
        AND NOT EXISTS (SELECT FROM closed x WHERE x.token = c.token AND x.last_id = c.last_id)
    LOOP
        PERFORM pg_advisory_xact_lock(2003333123, hashint8(expired.token));
        WITH x AS (
            INSERT INTO closed (generation, token, last_id)
            SELECT c.claimed_generation, expired.token, expired.last_id FROM control c
            WHERE NOT EXISTS (SELECT FROM closed x WHERE x.token = expired.token AND x.last_id = expired.last_id)
            RETURNING 1
        )
        INSERT INTO waiting (id, source_id, entity, state, due_at, attempts, run_attempts, replays, lost, started_at,
            token, owner)
        SELECT d.id, d.source_id, d.entity, 1, expired.until, 1, 1, 0, 0, expired.started_at, expired.token, expired.owner
        FROM delivery d
        WHERE EXISTS (SELECT FROM x) AND d.source_id = expired.source_id AND d.state = 0
            AND d.id > expired.after_id AND d.id <= expired.last_id
            AND NOT EXISTS (SELECT FROM attempt a WHERE a.delivery = d.id)
            AND NOT EXISTS (SELECT FROM waiting w WHERE w.id = d.id);
    END LOOP;
    RETURN at;
END $$;

-- Writes the verdicts of a batch; says for each whether its lease was held. `delays` is null for what has ended, `outcomes`
-- for what does not count as an attempt. `done_tokens` and `done_blocks` name the rows in `claimed` of which nothing is left.
CREATE FUNCTION finish(
    ids bigint[], numbers integer[], tokens bigint[], entities bigint[], starts bigint[], new_states smallint[],
    delays bigint[], outcomes text[], errors text[], done_tokens bigint[], done_blocks bigint[], given_time bigint
) RETURNS TABLE (number bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    held bigint[];
    ended bigint[];
    one bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(2003333123, hashint8(t))
        FROM (SELECT DISTINCT unnest(tokens) AS t ORDER BY 1) locked;
    SELECT array_agg(DISTINCT e) INTO ended FROM unnest(entities, delays) i (e, delay)
        WHERE e IS NOT NULL AND delay IS NULL;
    PERFORM pg_advisory_xact_lock(2003333124, hashint8(e)) FROM (SELECT unnest(ended) AS e ORDER BY 1) locked;
    WITH input AS MATERIALIZED (
        SELECT DISTINCT ON (i.id) i.*, w.id IS NOT NULL AS waits, coalesce(w.replays, 0) AS replays,
            coalesce(w.started_at, i.start) AS started
        FROM unnest(ids, numbers, tokens, entities, starts, new_states, delays, outcomes, errors)
            WITH ORDINALITY i (id, attempt, token, entity, start, state, delay, outcome, error, number)
        LEFT JOIN waiting w ON w.id = i.id
        WHERE CASE WHEN w.id IS NOT NULL THEN w.state = 1 AND w.token = i.token
            ELSE i.attempt = 1 AND (SELECT a.attempt FROM attempt a WHERE a.delivery = i.id LIMIT 1) IS NULL END
        ORDER BY i.id, i.number
    ), recorded AS (
        INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error)
        SELECT i.id, i.attempt, i.replays, i.started, at, i.state, i.outcome, i.error FROM input i
        WHERE i.outcome IS NOT NULL ORDER BY i.id
    ), gone AS (
        DELETE FROM waiting w USING input i WHERE i.waits AND i.delay IS NULL AND w.id = i.id
    ), moved AS (
        UPDATE waiting w SET state = 0, due_at = at + i.delay, token = NULL, owner = NULL,
            attempts = w.attempts - (i.outcome IS NULL)::integer,
            run_attempts = w.run_attempts - (i.outcome IS NULL)::integer,
            lost = CASE WHEN i.outcome IS NULL THEN w.lost ELSE 0 END,
            last_error = coalesce(i.error, w.last_error)
        FROM input i WHERE i.waits AND i.delay IS NOT NULL AND w.id = i.id
    ), added AS (
        INSERT INTO waiting (id, source_id, entity, state, due_at, attempts, run_attempts, replays, lost, last_error)
        SELECT i.id, d.source_id, i.entity, 0, at + i.delay, (i.outcome IS NOT NULL)::integer,
            (i.outcome IS NOT NULL)::integer, 0, 0, i.error
        FROM input i JOIN delivery d ON d.id = i.id WHERE NOT i.waits AND i.delay IS NOT NULL
    )
    SELECT array_agg(i.number), array_agg(DISTINCT i.entity) FILTER (WHERE i.entity IS NOT NULL AND i.delay IS NULL)
        INTO held, ended FROM input i;
    IF ended IS NOT NULL THEN
        FOREACH one IN ARRAY ended LOOP
            UPDATE waiting w SET due_at = at WHERE w.due_at IS NULL
                AND w.id = (SELECT min(o.id) FROM waiting o WHERE o.entity = one);
        END LOOP;
    END IF;
    IF array_length(done_tokens, 1) > 0 THEN
        INSERT INTO closed (generation, token, last_id)
            SELECT c.claimed_generation, d.token, d.last_id FROM control c, unnest(done_tokens, done_blocks) d (token, last_id)
            WHERE NOT EXISTS (SELECT FROM closed x WHERE x.token = d.token AND x.last_id = d.last_id);
    END IF;
    RETURN QUERY SELECT h FROM unnest(held) h;
END $$;

-- Makes ended deliveries due again as a new run; returns their number.
CREATE FUNCTION replay(ids bigint[], given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    one record;
    turn bigint;
    is_due boolean;
    count bigint := 0;
BEGIN
    -- Meanwhile no source is claimed from, so that its position stays.
    PERFORM pg_advisory_xact_lock_shared(2003333122, s) FROM (
        SELECT DISTINCT d.source_id AS s FROM delivery d WHERE d.id = ANY (ids) AND d.entity IS NOT NULL ORDER BY 1) locked;
    PERFORM pg_advisory_xact_lock(2003333124, hashint8(e)) FROM (
        SELECT DISTINCT d.entity AS e FROM delivery d WHERE d.id = ANY (ids) AND d.entity IS NOT NULL ORDER BY 1) locked;
    FOR one IN SELECT k.id, k.source_id, k.entity, k.attempts, k.replays, k.last_error FROM kept k
        WHERE k.id = ANY (ids) AND k.now BETWEEN 2 AND 4 ORDER BY k.id
    LOOP
        is_due := true;
        IF one.entity IS NOT NULL THEN
            -- No claim decides meanwhile.
            PERFORM FROM waiting w WHERE w.entity = one.entity FOR UPDATE;
            SELECT min(w.id) INTO turn FROM waiting w WHERE w.entity = one.entity AND w.state = 0;
            is_due := NOT EXISTS (SELECT FROM waiting w WHERE w.entity = one.entity AND w.state = 1)
                AND (turn IS NULL OR one.id < turn)
                AND NOT is_running_before(one.entity, claimed_up_to(one.source_id));
        END IF;
        INSERT INTO waiting (id, source_id, entity, state, due_at, attempts, run_attempts, replays, lost, last_error)
        VALUES (one.id, one.source_id, one.entity, 0, CASE WHEN is_due THEN at END, one.attempts, 0, one.replays + 1, 0,
            one.last_error)
        ON CONFLICT (id) DO NOTHING;
        IF FOUND THEN
            count := count + 1;
        END IF;
    END LOOP;
    RETURN count;
END $$;

-- The times at which deliveries in an ended state ended, within these bounds.
CREATE FUNCTION ended_between(of_state smallint, since bigint, before bigint) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT a.ended_at FROM webhook_inbox.attempt a
    WHERE a.ended_at >= since AND a.ended_at < before AND a.state = of_state
        AND NOT EXISTS (SELECT FROM webhook_inbox.waiting w WHERE w.id = a.delivery)
        AND NOT EXISTS (SELECT FROM webhook_inbox.attempt o WHERE o.delivery = a.delivery AND o.attempt > a.attempt)
    UNION ALL
    SELECT d.received_at FROM webhook_inbox.delivery d
    WHERE d.state > 0 AND d.state = of_state AND d.received_at >= since AND d.received_at < before
        AND NOT EXISTS (SELECT FROM webhook_inbox.waiting w WHERE w.id = d.id)
        AND NOT EXISTS (SELECT FROM webhook_inbox.attempt a WHERE a.delivery = d.id)
$$;

-- Deletes about `most` deliveries in an ended state that ended before a time, the oldest first: from now on they are in no
-- listing, and their ids are new. Returns their number.
CREATE FUNCTION prune(of_state smallint, age bigint, most bigint, given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    old_before bigint;
    new_before bigint := time_or_now(given_time) - age;
    count bigint;
BEGIN
    SELECT p.before INTO old_before FROM pruned p WHERE p.state = of_state FOR UPDATE;
    SELECT least(new_before, max(e.ended_at) + 1) INTO new_before FROM (
        SELECT e.ended_at FROM ended_between(of_state, old_before, new_before) e (ended_at) ORDER BY 1 LIMIT most) e;
    IF new_before IS NULL OR old_before IS NULL OR new_before <= old_before THEN
        RETURN 0;
    END IF;
    -- As many again may have ended in the same millisecond.
    SELECT count(*) INTO count FROM ended_between(of_state, old_before, new_before);
    IF count > 0 THEN
        UPDATE pruned p SET before = new_before WHERE p.state = of_state;
    END IF;
    RETURN count;
END $$;

-- Deletes hook calls received before a time.
CREATE FUNCTION prune_hooks(age bigint, most bigint, given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    old_before bigint;
    new_before bigint := time_or_now(given_time) - age;
    count bigint;
BEGIN
    SELECT p.before INTO old_before FROM pruned p WHERE p.state = -1 FOR UPDATE;
    SELECT least(new_before, max(h.received_at) + 1) INTO new_before FROM (
        SELECT h.received_at FROM hook_call h WHERE h.received_at >= old_before AND h.received_at < new_before
        ORDER BY h.received_at LIMIT most
    ) h;
    SELECT count(*) INTO count FROM hook_call h WHERE h.received_at >= old_before AND h.received_at < new_before;
    IF count > 0 THEN
        UPDATE pruned p SET before = new_before WHERE p.state = -1;
    END IF;
    RETURN count;
END $$;

-- True if this process does the upkeep of all for the next time: it did until now, or whoever did has not come again.
CREATE FUNCTION lead(by_owner text, term bigint, given_time bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    at bigint := time_or_now(given_time);
BEGIN
    UPDATE control SET leader = by_owner, leader_until = at + term WHERE leader = by_owner OR leader_until < at;
    RETURN FOUND;
END $$;

-- Begins a new part of ids when the present one has lasted for `part_age`, and a new generation of identities when the
-- present one has lasted for `seen_age`, or of claims after a minute; empties those whose rows are not needed any more.
-- Returns what it has done, for the log. To be called by one process at a time.
CREATE FUNCTION tidy(part_age bigint, seen_age bigint, given_time bigint) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at bigint := time_or_now(given_time);
    now control;
    next integer;
    part bigint;
    first_at bigint;
    done text[] := '{}';
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    SELECT * INTO now FROM control;
    SELECT last_value / 1000000000 INTO part FROM delivery_id;
    PERFORM add_part(part + 1);
    SELECT received_at INTO first_at FROM delivery WHERE id >= part * 1000000000 ORDER BY id LIMIT 1;
    IF at - first_at > part_age THEN
        PERFORM add_part(part + 2);
        PERFORM setval('delivery_id', (part + 1) * 1000000000), setval('hook_call_id', (part + 1) * 1000000000);
        done := done || format('part %s begins', part + 1);
    END IF;
    IF at - now.seen_since > seen_age THEN
        next := (now.seen_generation + 1) % 4;
        EXECUTE format('TRUNCATE seen_%s', next);
        UPDATE control SET seen_generation = next, seen_since = at;
        done := done || format('identities of generation %s', next);
    END IF;
    IF at - now.claimed_since > 60000 THEN
        next := (now.claimed_generation + 1) % 3;
        -- Nobody claims first attempts meanwhile: positions move from the rows that go to the sources.
        PERFORM pg_advisory_xact_lock(2003333122, s.id) FROM (SELECT id FROM source ORDER BY id) s;
        IF NOT EXISTS (SELECT FROM claimed c WHERE c.generation = next
            AND NOT EXISTS (SELECT FROM closed x WHERE x.token = c.token AND x.last_id = c.last_id))
        THEN
            UPDATE source s SET position = c.last_id
                FROM (SELECT source_id, max(last_id) AS last_id FROM claimed WHERE generation = next GROUP BY 1) c
                WHERE s.id = c.source_id AND s.position < c.last_id;
            EXECUTE format('TRUNCATE claimed_%s, closed_%s', next, next);
            UPDATE control SET claimed_generation = next, claimed_since = at;
        END IF;
    END IF;
    RETURN done;
EXCEPTION WHEN lock_not_available THEN
    -- Another transaction reads a table that was to be emptied: the next call tries again.
    RETURN '{}';
END $$;

-- Empties the oldest part of ids, if nothing of it is kept but at most a tenth, which is written to it again.
CREATE FUNCTION empty_part() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    part bigint;
    total bigint;
    keeps bigint;
BEGIN
    PERFORM set_config('lock_timeout', '200ms', true);
    SELECT d.id / 1000000000 INTO part FROM delivery d ORDER BY d.id LIMIT 1;
    IF part IS NULL OR part >= (SELECT last_value / 1000000000 FROM delivery_id) THEN
        RETURN NULL;
    END IF;
    SELECT count(*) INTO total FROM delivery d WHERE d.id / 1000000000 = part
        AND d.id >= part * 1000000000 AND d.id < (part + 1) * 1000000000;
    CREATE TEMPORARY TABLE left_over ON COMMIT DROP AS
        SELECT k.id FROM kept k WHERE k.id >= part * 1000000000 AND k.id < (part + 1) * 1000000000 LIMIT total / 10 + 1;
    SELECT count(*) INTO keeps FROM left_over;
    IF keeps > total / 10 THEN
        DROP TABLE left_over;
        RETURN NULL;
    END IF;
    CREATE TEMPORARY TABLE left_delivery ON COMMIT DROP AS SELECT d.* FROM delivery d JOIN left_over USING (id);
    CREATE TEMPORARY TABLE left_attempt ON COMMIT DROP AS
        SELECT a.* FROM attempt a JOIN left_over l ON l.id = a.delivery;
    CREATE TEMPORARY TABLE left_call ON COMMIT DROP AS
        SELECT h.* FROM hook_call h, pruned p WHERE p.state = -1 AND h.received_at >= p.before
            AND h.id >= part * 1000000000 AND h.id < (part + 1) * 1000000000;
    EXECUTE format('TRUNCATE delivery_%s, attempt_%s, hook_call_%s', part, part, part);
    INSERT INTO delivery SELECT * FROM left_delivery;
    INSERT INTO attempt SELECT * FROM left_attempt;
    INSERT INTO hook_call SELECT * FROM left_call;
    DROP TABLE left_over, left_delivery, left_attempt, left_call;
    RETURN format('part %s: %s of %s deliveries are left', part, keeps, total);
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;
