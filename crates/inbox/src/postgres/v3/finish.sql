-- Version 3: attempts say what has applied the effect of a one-effect handler, and a run that has ended can be resumed.

-- Null for attempts of other handlers.
ALTER TABLE attempt ADD COLUMN applied_by integer, ADD COLUMN applied_at bigint;

-- Writes the verdicts of a batch; says for each whether its lease was held. `delays` is null for what has ended, `outcomes`
-- for what does not count as an attempt; `appliers` and `applied_times` are of the attempt that applied a one-effect handler's
-- effect. `done_tokens` and `done_blocks` name the rows in `claimed` of which nothing is left.
CREATE FUNCTION finish(
    ids bigint[], numbers integer[], tokens bigint[], entities bigint[], starts bigint[], new_states smallint[],
    delays bigint[], outcomes text[], errors text[], appliers integer[],
    applied_times bigint[], done_tokens bigint[], done_blocks bigint[], given_time bigint
) RETURNS TABLE (number bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint := time_or_now(given_time);
    held bigint[];
    ended bigint[];
    one bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(2003333123, t)
        FROM (SELECT DISTINCT hashint8(unnest(tokens)) AS t ORDER BY 1) locked;
    SELECT array_agg(DISTINCT e) INTO ended FROM unnest(entities, delays) i (e, delay)
        WHERE e IS NOT NULL AND delay IS NULL;
    PERFORM pg_advisory_xact_lock(2003333124, e) FROM (SELECT DISTINCT hashint8(unnest(ended)) AS e ORDER BY 1) locked;
    -- Nobody else claims them from here on.
    PERFORM FROM (SELECT w.id FROM waiting w WHERE w.id = ANY (ids) ORDER BY w.id FOR UPDATE) locked;
    WITH input AS MATERIALIZED (
        SELECT DISTINCT ON (i.id) i.*, w.id IS NOT NULL AS waits, coalesce(w.replays, 0) AS replays,
            coalesce(w.started_at, i.start) AS started
        FROM unnest(ids, numbers, tokens, entities, starts, new_states, delays, outcomes, errors, appliers, applied_times)
            WITH ORDINALITY i (id, attempt, token, entity, start, state, delay, outcome, error, applied_by, applied_at, number)
        LEFT JOIN waiting w ON w.id = i.id
        WHERE CASE WHEN w.id IS NOT NULL THEN w.state = 1 AND w.token = i.token
            ELSE i.attempt = 1 AND (SELECT a.attempt FROM attempt a WHERE a.delivery = i.id LIMIT 1) IS NULL END
        ORDER BY i.id, i.number
    ), recorded AS (
        INSERT INTO attempt (delivery, attempt, replay, started_at, ended_at, state, outcome, error,
            applied_by, applied_at)
        SELECT i.id, i.attempt, i.replays, i.started, at, i.state, i.outcome, i.error, i.applied_by, i.applied_at FROM input i
        WHERE i.outcome IS NOT NULL ORDER BY i.id
        ON CONFLICT (delivery, attempt) DO NOTHING
    ), gone AS (
        DELETE FROM waiting w USING input i
        WHERE i.waits AND i.delay IS NULL AND w.id = i.id AND w.state = 1 AND w.token = i.token
    ), moved AS (
        UPDATE waiting w SET state = 0, due_at = at + i.delay, token = NULL, owner = NULL,
            attempts = w.attempts - (i.outcome IS NULL)::integer,
            run_attempts = w.run_attempts - (i.outcome IS NULL)::integer,
            lost = CASE WHEN i.outcome IS NULL THEN w.lost ELSE 0 END,
            last_error = coalesce(i.error, w.last_error)
        FROM input i
        WHERE i.waits AND i.delay IS NOT NULL AND w.id = i.id AND w.state = 1 AND w.token = i.token
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

-- As the version before calls it.
CREATE OR REPLACE FUNCTION finish(
    ids bigint[], numbers integer[], tokens bigint[], entities bigint[], starts bigint[], new_states smallint[],
    delays bigint[], outcomes text[], errors text[], done_tokens bigint[], done_blocks bigint[], given_time bigint
) RETURNS TABLE (number bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT f.number FROM finish(ids, numbers, tokens, entities, starts, new_states, delays, outcomes, errors,
        array_fill(NULL::integer, ARRAY[cardinality(ids)]), array_fill(NULL::bigint, ARRAY[cardinality(ids)]),
        done_tokens, done_blocks, given_time) f;
END $$;
