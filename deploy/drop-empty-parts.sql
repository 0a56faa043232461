-- Drops the parts of ids that are empty and behind the present one. Run it with psql as the owner, once in a while: a part that
-- was emptied stays, and costs each claim time and locks. If it is interrupted, run it again.
\set ON_ERROR_STOP 1

CREATE TEMPORARY TABLE empty AS
SELECT part FROM generate_series(0, (SELECT last_value / 1000000000 - 2 FROM webhook_inbox.delivery_id)) part
WHERE coalesce(pg_relation_size(to_regclass(format('webhook_inbox.delivery_%s', part))), 0)
    + coalesce(pg_relation_size(to_regclass(format('webhook_inbox.attempt_%s', part))), 0)
    + coalesce(pg_relation_size(to_regclass(format('webhook_inbox.hook_call_%s', part))), 0) = 0;

-- Detached concurrently: deliveries are accepted and claimed meanwhile.
SELECT format('ALTER TABLE %s DETACH PARTITION %s %s', i.inhparent::regclass, i.inhrelid::regclass,
    CASE WHEN i.inhdetachpending THEN 'FINALIZE' ELSE 'CONCURRENTLY' END)
FROM empty, unnest(ARRAY['delivery', 'attempt', 'hook_call']) parent, pg_inherits i
WHERE i.inhparent = format('webhook_inbox.%s', parent)::regclass
    AND i.inhrelid = to_regclass(format('webhook_inbox.%s_%s', parent, part))
ORDER BY part, parent \gexec

SELECT format('DROP TABLE IF EXISTS webhook_inbox.delivery_%1$s, webhook_inbox.attempt_%1$s, webhook_inbox.hook_call_%1$s', part)
FROM empty WHERE to_regclass(format('webhook_inbox.delivery_%s', part)) IS NOT NULL
    OR to_regclass(format('webhook_inbox.attempt_%s', part)) IS NOT NULL
    OR to_regclass(format('webhook_inbox.hook_call_%s', part)) IS NOT NULL
ORDER BY part \gexec
