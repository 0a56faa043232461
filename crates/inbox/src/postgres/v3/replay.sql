-- Makes ended deliveries due again, as a new run or in the one that ended; returns their number. What another replay has made
-- due since it had this number of replays is left alone; without numbers, all are replayed.
CREATE FUNCTION replay(ids bigint[], runs integer[], is_new_run boolean, given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    one record;
    turn bigint;
    is_due boolean;
    count bigint := 0;
BEGIN
    -- One replay at a time: what a statement has read of a delivery must not be older than a run that another has begun.
    PERFORM pg_advisory_xact_lock(2003333120, 2);
    -- Meanwhile no source is claimed from, so that its position stays.
    PERFORM pg_advisory_xact_lock_shared(2003333122, s) FROM (
        SELECT DISTINCT d.source_id AS s FROM delivery d WHERE d.id = ANY (ids) AND d.entity IS NOT NULL ORDER BY 1) locked;
    PERFORM pg_advisory_xact_lock(2003333124, e) FROM (
        SELECT DISTINCT hashint8(d.entity) AS e FROM delivery d WHERE d.id = ANY (ids) AND d.entity IS NOT NULL ORDER BY 1
    ) locked;
    FOR one IN SELECT k.id, k.source_id, k.entity, k.attempts, k.replays, k.last_error FROM kept k
        WHERE k.id = ANY (ids) AND k.now BETWEEN 2 AND 4 ORDER BY k.id
    LOOP
        -- Another replay may have come first.
        CONTINUE WHEN NOT EXISTS (SELECT FROM kept k WHERE k.id = one.id AND k.now BETWEEN 2 AND 4
            AND k.replays = coalesce(runs[array_position(ids, one.id)], k.replays));
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
        VALUES (one.id, one.source_id, one.entity, 0, CASE WHEN is_due THEN at END,
            greatest(one.attempts, (SELECT max(a.attempt) FROM attempt a WHERE a.delivery = one.id)), 0,
            one.replays + is_new_run::integer, 0,
            one.last_error)
        ON CONFLICT (id) DO NOTHING;
        IF FOUND THEN
            count := count + 1;
        END IF;
    END LOOP;
    RETURN count;
END $$;

-- As the version before calls it.
CREATE OR REPLACE FUNCTION replay(ids bigint[], runs integer[], given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN replay(ids, runs, true, given_time);
END $$;
