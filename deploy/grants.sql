-- The rights of an inbox's users, granted by its owner: once after the first `webhook-receiver migrate`, and again after each
-- one that changes the schema. Receivers connect as inbox_receive, workers as inbox_work, the commands as inbox_operate.

GRANT USAGE ON SCHEMA webhook_inbox TO inbox_receive, inbox_work, inbox_operate;

-- Every process reads the schema's version and the state of deliveries. Any of them may have to do the upkeep of all.
GRANT SELECT ON
    webhook_inbox.act, webhook_inbox.attempt, webhook_inbox.claimed, webhook_inbox.closed, webhook_inbox.control,
    webhook_inbox.delivery, webhook_inbox.hook_call, webhook_inbox.kept, webhook_inbox.key_use, webhook_inbox.pruned,
    webhook_inbox.resend, webhook_inbox.source, webhook_inbox.tally, webhook_inbox.waiting
    TO inbox_receive, inbox_work, inbox_operate;
GRANT UPDATE (before) ON webhook_inbox.pruned TO inbox_receive, inbox_work, inbox_operate;
GRANT UPDATE (leader, leader_until) ON webhook_inbox.control TO inbox_receive, inbox_work;
GRANT EXECUTE ON FUNCTION webhook_inbox.tidy, webhook_inbox.empty_parts TO inbox_receive, inbox_work;

-- Operators' consoles are those of receivers and workers; what they do, and what the commands do, is recorded. Either may pause
-- the dispatch, replay, and discard.
GRANT INSERT, UPDATE, DELETE ON webhook_inbox.act, webhook_inbox.tally TO inbox_receive, inbox_work;
GRANT INSERT, UPDATE, DELETE ON webhook_inbox.act TO inbox_operate;
GRANT UPDATE (paused_at, paused_by, pause_reason) ON webhook_inbox.control TO inbox_receive, inbox_work, inbox_operate;
GRANT UPDATE (state) ON webhook_inbox.delivery TO inbox_receive, inbox_work, inbox_operate;
GRANT INSERT ON webhook_inbox.attempt TO inbox_receive, inbox_operate;
GRANT INSERT, UPDATE, DELETE ON webhook_inbox.waiting TO inbox_receive, inbox_operate;

-- Receivers add deliveries, calls of hooks, last uses of keys, and rejected requests.
GRANT INSERT ON webhook_inbox.delivery, webhook_inbox.hook_call, webhook_inbox.source TO inbox_receive;
GRANT SELECT, INSERT, DELETE ON webhook_inbox.seen TO inbox_receive;
GRANT SELECT, INSERT, UPDATE ON webhook_inbox.resend TO inbox_receive;
GRANT INSERT, UPDATE ON webhook_inbox.key_use TO inbox_receive;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_inbox.rejection TO inbox_receive;
GRANT USAGE ON SEQUENCE webhook_inbox.delivery_id, webhook_inbox.hook_call_id TO inbox_receive;

-- Workers claim deliveries and record attempts.
GRANT INSERT ON webhook_inbox.attempt, webhook_inbox.claimed, webhook_inbox.closed TO inbox_work;
GRANT INSERT, UPDATE, DELETE ON webhook_inbox.waiting TO inbox_work;

-- What their handlers defer with `Tx::defer` becomes deliveries.
GRANT INSERT ON webhook_inbox.delivery, webhook_inbox.source TO inbox_work;
GRANT SELECT, INSERT, DELETE ON webhook_inbox.seen TO inbox_work;
GRANT SELECT, INSERT, UPDATE ON webhook_inbox.resend TO inbox_work;
GRANT USAGE ON SEQUENCE webhook_inbox.delivery_id TO inbox_work;

-- Commands look at the rejection log, too.
GRANT SELECT ON webhook_inbox.rejection TO inbox_operate;
