-- True unless another delivery of the entity runs, or an older one that was replayed goes first. One whose lease has expired
-- goes before those, and of several such the oldest.
CREATE FUNCTION has_turn(of_id bigint, of_state smallint, of_entity bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM webhook_inbox.waiting o
        WHERE o.entity = of_entity AND o.due_at IS NOT NULL AND o.id <> of_id
            AND CASE of_state WHEN 1 THEN o.state = 1 AND o.id < of_id ELSE o.state = 1 OR o.id < of_id END)
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
            has_turn(w.id, w.state, w.entity) AND pg_try_advisory_xact_lock(2003333124, hashint8(w.entity)))
        ORDER BY w.due_at, w.id LIMIT wanted FOR UPDATE SKIP LOCKED) c;
    IF candidates IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT w.id, w.due_at, w.state = 1 AS was_lost FROM waiting w WHERE w.id = ANY (candidates)
            -- Again, now that others of the entity cannot change.
            AND (w.entity IS NULL OR has_turn(w.id, w.state, w.entity))
    ), recorded AS (
        INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error)
        SELECT w.id, w.attempts, w.replays, w.started_at, at, 0, 'lost', 'its worker stopped'
        FROM waiting w JOIN due ON due.id = w.id WHERE due.was_lost
        ON CONFLICT (delivery, attempt) DO NOTHING
    )
    UPDATE waiting w SET state = 1, due_at = until, attempts = w.attempts + 1,
        run_attempts = w.run_attempts + (NOT due.was_lost)::integer, lost = w.lost + due.was_lost::integer,
        started_at = at, token = for_token, owner = by_owner
    FROM due WHERE w.id = due.id RETURNING w.id, due.due_at, due.was_lost;
END $$;

-- Claims up to `wanted` due deliveries. First attempts of every source get an equal share, and late attempts a half, as far
-- as there are so many.
CREATE FUNCTION claim(
    wanted integer, for_token bigint, by_owner text, lease bigint, look_back bigint, given_time bigint
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
    examined integer := 0;
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
    IF look_back IS NOT NULL THEN
        PERFORM expire(look_back, at);
    END IF;
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
        -- Whoever ends a delivery of an entity holds its lock; then this source has its turn at the next claim.
        CONTINUE WHEN NOT coalesce((
            SELECT bool_and(pg_try_advisory_xact_lock(2003333124, hashint8(e))) FROM unnest(entities) e), true);
        INSERT INTO claimed (generation, source_id, after_id, last_id, token, owner, started_at, until)
            SELECT c.claimed_generation, one, up_to, block, for_token, by_owner, at, until FROM control c;
        behind := '{}';
        IF entities IS NOT NULL THEN
            SELECT coalesce(array_agg(d.id), '{}') INTO behind FROM delivery d
                WHERE d.id = ANY (found) AND d.entity IS NOT NULL AND (
                    (SELECT b.id FROM delivery b WHERE b.entity = d.entity AND b.state = 0 AND b.id > up_to
                        AND b.id < d.id LIMIT 1)
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
        -- A long row of deliveries behind one another is walked a part at a time.
        examined := examined + cardinality(found);
        EXIT WHEN examined >= greatest(4 * wanted, 256);
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

-- True if the last delivery of an entity up to `position` that is not waiting is at its first attempt.
CREATE FUNCTION is_running_before(of_entity bigint, up_to bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT (SELECT a.attempt FROM webhook_inbox.attempt a WHERE a.delivery = d.id LIMIT 1) IS NULL
        FROM webhook_inbox.delivery d WHERE d.entity = of_entity AND d.id <= up_to AND d.state = 0
            AND (SELECT w.id FROM webhook_inbox.waiting w WHERE w.id = d.id) IS NULL
        ORDER BY d.id DESC LIMIT 1), false)
$$;

-- Moves the deliveries of claims that have expired in the time before to `waiting`, where the next claim finds them.
CREATE FUNCTION expire(look_back bigint, at bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    expired claimed;
BEGIN
    FOR expired IN SELECT c.* FROM claimed c WHERE c.until >= at - look_back AND c.until <= at
        AND NOT EXISTS (SELECT FROM closed x WHERE x.token = c.token AND x.last_id = c.last_id)
    LOOP
        -- If it is being finished, the next look finds what is left.
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(2003333123, hashint8(expired.token));
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
END $$;
