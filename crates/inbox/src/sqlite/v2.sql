-- When each key last proved a request of its source. A key stands here as its fingerprint.
CREATE TABLE key_use (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    last_used INTEGER NOT NULL,
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
