-- The times at which handled deliveries ended, within these bounds.
CREATE FUNCTION done_between(since bigint, before bigint) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT a.ended_at FROM webhook_inbox.attempt a
    WHERE a.ended_at >= since AND a.ended_at < before AND a.state = 2
        AND NOT EXISTS (SELECT FROM webhook_inbox.waiting w WHERE w.id = a.delivery)
        AND NOT EXISTS (SELECT FROM webhook_inbox.attempt o WHERE o.delivery = a.delivery AND o.attempt > a.attempt)
$$;

-- The same for states that are rare.
CREATE FUNCTION rarely_ended_between(of_state smallint, since bigint, before bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE AS $$
    SELECT a.ended_at FROM webhook_inbox.attempt a
    WHERE a.state > 2 AND a.state = of_state AND a.ended_at >= since AND a.ended_at < before
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
    IF of_state = 2 THEN
        SELECT CASE WHEN count(*) = most THEN max(e.ended_at) + 1 WHEN count(*) > 0 THEN new_before END INTO new_before
            FROM (SELECT e.ended_at FROM done_between(old_before, new_before) e (ended_at) ORDER BY 1 LIMIT most) e;
        -- As many again may have ended in the same millisecond.
        SELECT count(*) INTO count FROM done_between(old_before, new_before);
    ELSE
        SELECT CASE WHEN count(*) = most THEN max(e.ended_at) + 1 WHEN count(*) > 0 THEN new_before END INTO new_before
            FROM (SELECT e.ended_at FROM rarely_ended_between(of_state, old_before, new_before) e (ended_at) ORDER BY 1 LIMIT most) e;
        SELECT count(*) INTO count FROM rarely_ended_between(of_state, old_before, new_before);
    END IF;
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
-- present one has lasted for `seen_age`, or of claims after a minute. Returns what it has done, for the log. What another
-- transaction reads meanwhile is left to the next call.
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
    -- One at a time, which sees what the one before has done.
    IF NOT pg_try_advisory_xact_lock(2003333120, 1) THEN
        RETURN done;
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);
    SELECT * INTO now FROM control;
    SELECT last_value / 1000000000 INTO part FROM delivery_id;
    PERFORM add_part(part), add_part(part + 1);
    SELECT least(
        (SELECT received_at FROM delivery WHERE id >= part * 1000000000 ORDER BY id LIMIT 1),
        (SELECT received_at FROM hook_call WHERE id >= part * 1000000000 ORDER BY id LIMIT 1)) INTO first_at;
    IF at - first_at > part_age THEN
        PERFORM setval('delivery_id', (part + 1) * 1000000000), setval('hook_call_id', (part + 1) * 1000000000);
        done := done || format('part %s begins', part + 1);
    END IF;
    IF at - now.seen_since > seen_age THEN
        BEGIN
            next := (now.seen_generation + 1) % 4;
            EXECUTE format('TRUNCATE seen_%s', next);
            UPDATE control SET seen_generation = next, seen_since = at;
            done := done || format('identities of generation %s', next);
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END IF;
    IF at - now.claimed_since > 60000 THEN
        BEGIN
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
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END IF;
    RETURN done;
END $$;

-- Empties parts of ids of which nothing is kept, and nothing was kept an hour ago, so that no transaction under way can have
-- to do with them. Returns what it has done, for the log.
CREATE FUNCTION empty_parts() RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    part bigint;
    low bigint;
    high bigint;
    done_before bigint;
    calls_before bigint;
    done text[] := '{}';
BEGIN
    IF NOT pg_try_advisory_xact_lock(2003333120, 1) THEN
        RETURN done;
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);
    SELECT max(p.before) FILTER (WHERE p.state = 2) - 3600000, max(p.before) FILTER (WHERE p.state = -1) - 3600000
        INTO done_before, calls_before FROM pruned p;
    FOR part IN SELECT generate_series(0, last_value / 1000000000 - 1) FROM delivery_id LOOP
        low := part * 1000000000;
        high := low + 1000000000;
        CONTINUE WHEN to_regclass(format('webhook_inbox.delivery_%s', part)) IS NULL
            OR (SELECT id FROM delivery WHERE id >= low AND id < high ORDER BY id LIMIT 1) IS NULL
                AND (SELECT id FROM hook_call WHERE id >= low AND id < high ORDER BY id LIMIT 1) IS NULL
            OR (SELECT received_at FROM delivery WHERE id >= low AND id < high ORDER BY id DESC LIMIT 1) >= done_before
            OR (SELECT max(received_at) FROM hook_call WHERE id >= low AND id < high) >= calls_before
            OR (SELECT id FROM waiting WHERE id >= low AND id < high LIMIT 1) IS NOT NULL
            OR (SELECT k.id FROM kept k WHERE k.id >= low AND k.id < high AND k.id IN (
                SELECT a.delivery FROM attempt a WHERE a.state > 2
                UNION ALL SELECT d.id FROM delivery d WHERE d.state > 0) LIMIT 1) IS NOT NULL
            OR (SELECT a.delivery FROM attempt a
                WHERE a.delivery >= low AND a.delivery < high AND a.ended_at >= done_before LIMIT 1) IS NOT NULL
            OR (SELECT k.id FROM kept k WHERE k.id >= low AND k.id < high LIMIT 1) IS NOT NULL;
        BEGIN
            EXECUTE format('TRUNCATE delivery_%s, attempt_%s, hook_call_%s', part, part, part);
            done := done || format('part %s is empty', part);
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN done;
END $$;

-- What acts with the owner's rights is for those whom the owner names.
REVOKE EXECUTE ON FUNCTION tidy(bigint, bigint, bigint), empty_parts() FROM PUBLIC;
