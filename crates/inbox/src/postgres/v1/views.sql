-- The database's time, unless a test gives another.
CREATE FUNCTION time_or_now(given bigint) RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- Adds the part of the ids from `part` times a thousand million.
CREATE FUNCTION add_part(part bigint) RETURNS void LANGUAGE plpgsql AS $$
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
