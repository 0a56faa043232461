-- Deliveries that were replayed, by number.
CREATE INDEX work_replayed ON work (id) WHERE replays > 0;

-- What operators did. The latest are kept.
CREATE TABLE act (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,              -- milliseconds since 1970, UTC
    updated_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    state TEXT NOT NULL,
    error TEXT
) STRICT;

-- The pause of the dispatch, if there is one.
CREATE TABLE pause (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL,
    paused_by TEXT NOT NULL,
    reason TEXT
) STRICT;

-- Counts by quarter of an hour.
CREATE TABLE tally (
    at INTEGER NOT NULL,              -- its begin
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (at, source, kind)
) STRICT, WITHOUT ROWID;
