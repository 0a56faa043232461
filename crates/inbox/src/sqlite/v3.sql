-- How calls of hooks ended. Written once, never changed. The bodies stand last, where a listing does not read them.
CREATE TABLE hook_call (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    environment TEXT NOT NULL,
    hook TEXT NOT NULL,
    user TEXT,
    request_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,     -- milliseconds since 1970, UTC
    took INTEGER NOT NULL,            -- microseconds
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error_id TEXT,
    error TEXT,
    callback_took INTEGER,            -- microseconds; null: the callback was not used
    callback_error TEXT,
    request BLOB,                     -- null: the bodies are not kept
    callback_request BLOB,
    callback_response BLOB,
    response BLOB
) STRICT;

-- For pruning and for times in a listing. Calls come nearly in its order, so an insert appends to it.
CREATE INDEX hook_call_received ON hook_call (received_at);
