-- Ends deliveries that are ready, dead or unrouted without handling them; returns their number.
CREATE FUNCTION discard(ids bigint[], reason text, given_time bigint) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    fresh bigint[];
    held bigint[];
    ended bigint[];
    turns bigint[];
    one bigint;
BEGIN
    -- No replay meanwhile; and no source is claimed from, so that its position stays.
    PERFORM pg_advisory_xact_lock(2003333120, 2);
    PERFORM pg_advisory_xact_lock_shared(2003333122, s) FROM (
        SELECT DISTINCT d.source_id AS s FROM delivery d WHERE d.id = ANY (ids) ORDER BY 1) locked;
    PERFORM pg_advisory_xact_lock(2003333124, e) FROM (
        SELECT DISTINCT hashint8(d.entity) AS e FROM delivery d WHERE d.id = ANY (ids) AND d.entity IS NOT NULL ORDER BY 1
    ) locked;
    -- Those that no claim has reached are taken out of the queue.
    SELECT array_agg(d.id) INTO fresh FROM delivery d
        WHERE d.id = ANY (ids) AND d.state = 0 AND d.id > claimed_up_to(d.source_id);
    -- Those that wait are held, so that nobody claims them.
    SELECT array_agg(w.id) INTO held FROM (
        SELECT w.id FROM waiting w WHERE w.id = ANY (ids) AND w.state = 0 ORDER BY w.id FOR UPDATE) w;
    SELECT array_agg(k.id) INTO ended FROM kept k WHERE k.id = ANY (ids) AND k.now IN (3, 4);
    -- The entities of which one of them has the turn.
    SELECT array_agg(DISTINCT w.entity) INTO turns FROM waiting w
        WHERE w.id = ANY (held) AND w.entity IS NOT NULL AND w.due_at IS NOT NULL AND has_turn(w.id, w.state, w.entity);
    INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error)
    SELECT i.id, 1 + greatest(i.attempts, coalesce((SELECT max(a.attempt) FROM attempt a WHERE a.delivery = i.id), 0)),
        i.replays, at, at, 2, 'discarded', reason
    FROM (
        SELECT f AS id, 0 AS attempts, 0 AS replays FROM unnest(fresh) f
        UNION ALL SELECT w.id, w.attempts, w.replays FROM waiting w WHERE w.id = ANY (held)
        UNION ALL SELECT k.id, k.attempts, k.replays FROM kept k WHERE k.id = ANY (ended)
    ) i;
    -- They have had no turn of their entity: an older one of it may be at its first attempt.
    UPDATE delivery d SET state = 2 WHERE d.id = ANY (fresh) OR d.id = ANY (held);
    DELETE FROM waiting w WHERE w.id = ANY (held);
    IF turns IS NOT NULL THEN
        FOREACH one IN ARRAY turns LOOP
            UPDATE waiting w SET due_at = at WHERE w.due_at IS NULL
                AND w.id = (SELECT min(o.id) FROM waiting o WHERE o.entity = one);
        END LOOP;
    END IF;
    RETURN coalesce(cardinality(fresh), 0) + coalesce(cardinality(held), 0) + coalesce(cardinality(ended), 0);
END $$;
