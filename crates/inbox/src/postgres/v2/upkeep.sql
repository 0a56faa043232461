-- Empties parts of ids of which nothing is kept, and nothing was kept an hour ago, so that no transaction under way can have
-- to do with them; and drops those that were empty before. Returns what it has done, for the log.
CREATE OR REPLACE FUNCTION empty_parts() RETURNS text[] LANGUAGE plpgsql SECURITY DEFINER AS $$
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
        CONTINUE WHEN to_regclass(format('webhook_inbox.delivery_%s', part)) IS NULL;
        IF (SELECT id FROM delivery WHERE id >= low AND id < high ORDER BY id LIMIT 1) IS NULL
            AND (SELECT id FROM hook_call WHERE id >= low AND id < high ORDER BY id LIMIT 1) IS NULL
        THEN
            BEGIN
                EXECUTE format('DROP TABLE delivery_%s, attempt_%s, hook_call_%s', part, part, part);
                done := done || format('part %s is dropped', part);
            EXCEPTION WHEN lock_not_available THEN
                NULL;
            END;
            CONTINUE;
        END IF;
        CONTINUE WHEN (SELECT received_at FROM delivery WHERE id >= low AND id < high ORDER BY id DESC LIMIT 1) >= done_before
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
            DELETE FROM resend r WHERE r.id >= low AND r.id < high;
            done := done || format('part %s is empty', part);
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN done;
END $$;
