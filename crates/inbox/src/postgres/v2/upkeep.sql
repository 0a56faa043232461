-- The parts of ids: from `low` up to, but without, `high`.
CREATE VIEW part AS
SELECT p.low, substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''?(\d+)')::bigint AS high
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
    LATERAL (SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''?(\d+)')::bigint AS low) p
WHERE i.inhparent = 'webhook_inbox.delivery'::regclass;

-- True if nothing in a part can change any more but what is in `waiting`, `rarely_kept` says what of it is kept, and all of that
-- was so an hour ago, so that no transaction under way has to do with anything else.
CREATE FUNCTION is_old_part(from_id bigint, to_id bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    done_before bigint;
    calls_before bigint;
BEGIN
    SELECT max(p.before) FILTER (WHERE p.state = 2) - 3600000, max(p.before) FILTER (WHERE p.state = -1) - 3600000
        INTO done_before, calls_before FROM pruned p;
    RETURN to_id <= (SELECT last_value / 1000000000 * 1000000000 FROM delivery_id)
        AND coalesce((SELECT d.received_at FROM delivery d WHERE d.id >= from_id AND d.id < to_id
            ORDER BY d.id DESC LIMIT 1), 0) < done_before
        AND coalesce((SELECT h.received_at FROM hook_call h WHERE h.id >= from_id AND h.id < to_id
            ORDER BY h.received_at DESC, h.id DESC LIMIT 1), 0) < greatest(calls_before, 1)
        AND (SELECT a.ended_at FROM attempt a WHERE a.delivery >= from_id AND a.delivery < to_id AND a.ended_at >= done_before
            AND a.state = 2 LIMIT 1) IS NULL
        -- No first attempt is to come, or under way.
        AND (SELECT s.id FROM source s WHERE (SELECT d.id FROM delivery d WHERE d.source_id = s.id AND d.state = 0
            AND d.id > claimed_up_to(s.id) AND d.id >= from_id AND d.id < to_id ORDER BY d.id LIMIT 1) IS NOT NULL LIMIT 1) IS NULL
        AND (SELECT c.token FROM claimed c WHERE c.after_id < to_id AND c.last_id >= from_id
            AND (SELECT x.token FROM closed x WHERE x.token = c.token AND x.last_id = c.last_id LIMIT 1) IS NULL LIMIT 1) IS NULL;
END $$;

-- The deliveries in a part that are kept though handled ones of their time are not.
CREATE FUNCTION rarely_kept(from_id bigint, to_id bigint, most integer) RETURNS bigint[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(k.id), '{}') FROM (
        SELECT k.id FROM webhook_inbox.kept k WHERE k.id IN (
            SELECT w.id FROM webhook_inbox.waiting w WHERE w.id >= from_id AND w.id < to_id
            UNION SELECT a.delivery FROM webhook_inbox.attempt a
                WHERE a.state > 2 AND a.delivery >= from_id AND a.delivery < to_id
            UNION SELECT d.id FROM webhook_inbox.delivery d WHERE d.state > 0 AND d.id >= from_id AND d.id < to_id
        ) LIMIT most) k
$$;

-- Makes one part of old ones, with what is kept of them, or none if nothing is: a claim locks every part, and a dead letter
-- must not keep a part of handled deliveries on disk. Everyone else waits meanwhile, so that it takes few deliveries at once.
-- Returns what it has done, for the log.
CREATE OR REPLACE FUNCTION empty_parts() RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 10000;
    one part;
    of_one bigint[];
    old part[] := '{}';
    kept_ids bigint[] := '{}';
    first bigint;
    parent text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(2003333120, 1) THEN
        RETURN '{}';
    END IF;
    FOR one IN SELECT p.* FROM part p ORDER BY p.low LOOP
        EXIT WHEN NOT is_old_part(one.low, one.high);
        of_one := rarely_kept(one.low, one.high, most + 1);
        IF cardinality(kept_ids) + cardinality(of_one) > most THEN
            EXIT WHEN is_worth_merging(old, kept_ids);
            old := '{}';
            kept_ids := '{}';
            CONTINUE WHEN cardinality(of_one) > most;
        END IF;
        old := old || one;
        kept_ids := kept_ids || of_one;
    END LOOP;
    IF NOT is_worth_merging(old, kept_ids) THEN
        RETURN '{}';
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);
    LOCK TABLE delivery, attempt, hook_call IN ACCESS EXCLUSIVE MODE;
    CREATE TABLE webhook_inbox.merged_delivery (LIKE webhook_inbox.delivery INCLUDING ALL);
    CREATE TABLE webhook_inbox.merged_attempt (LIKE webhook_inbox.attempt INCLUDING ALL);
    CREATE TABLE webhook_inbox.merged_hook_call (LIKE webhook_inbox.hook_call INCLUDING ALL);
    INSERT INTO merged_delivery SELECT d.* FROM delivery d WHERE d.id = ANY (kept_ids) ORDER BY d.id;
    INSERT INTO merged_attempt SELECT a.* FROM attempt a WHERE a.delivery = ANY (kept_ids) ORDER BY a.delivery;
    FOREACH one IN ARRAY old LOOP
        first := one.low / 1000000000;
        EXECUTE format('DROP TABLE delivery_%s, attempt_%s, hook_call_%s', first, first, first);
        DELETE FROM resend r WHERE r.id >= one.low AND r.id < one.high AND r.id <> ALL (kept_ids);
    END LOOP;
    first := (old[1]).low / 1000000000;
    FOREACH parent IN ARRAY ARRAY['delivery', 'attempt', 'hook_call'] LOOP
        IF kept_ids = '{}' THEN
            EXECUTE format('DROP TABLE %I', 'merged_' || parent);
        ELSE
            EXECUTE format('ALTER TABLE %I RENAME TO %I', 'merged_' || parent, parent || '_' || first);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                parent, parent || '_' || first, (old[1]).low, one.high);
        END IF;
    END LOOP;
    RETURN ARRAY[format('%s old parts are one, with %s deliveries', cardinality(old), cardinality(kept_ids))];
EXCEPTION WHEN lock_not_available THEN
    -- What another transaction reads is left to the next call.
    RETURN '{}';
END $$;

-- True if parts have more rows than those of the deliveries that are kept, or are several.
CREATE FUNCTION is_worth_merging(old part[], kept_ids bigint[]) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN cardinality(old) > 1 OR cardinality(old) = 1 AND (
        (SELECT count(*) FROM (SELECT FROM delivery d WHERE d.id >= (old[1]).low AND d.id < (old[1]).high
            LIMIT cardinality(kept_ids) + 1) d) > cardinality(kept_ids)
        OR (SELECT h.id FROM hook_call h WHERE h.id >= (old[1]).low AND h.id < (old[1]).high LIMIT 1) IS NOT NULL
        OR kept_ids = '{}');
END $$;
