-- Which key proved a delivery, as its fingerprint; null if none was asked for, or if it came before this was kept.
ALTER TABLE delivery ADD COLUMN key TEXT;

-- The latest requests that brought nothing new, so that another process can say why. Old ones make room for new ones.
CREATE TABLE sighting (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,              -- milliseconds since 1970, UTC
    source TEXT,                      -- null: the path is no source's
    target TEXT,                      -- the method and the path, if it is no source's
    event_type TEXT,
    message_id TEXT,
    delivery INTEGER,                 -- the one that was there before
    status INTEGER NOT NULL,
    reason TEXT,
    findings TEXT                     -- what would have matched
) STRICT;
