-- The rarer ends of deliveries and those with conflicts, by number. A handled one without conflicts is in neither.
CREATE INDEX work_rare ON work (state) WHERE state > 2;
CREATE INDEX work_conflicts ON work (id) WHERE conflicts > 0;

-- When stretches of deliveries were accepted, so that those of other times need not be read. Each goes from the one
-- before it up to `last`. A clock that was set only makes them wider.
CREATE TABLE span (
    last INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL,        -- milliseconds since 1970, UTC
    latest INTEGER NOT NULL
) STRICT;

INSERT INTO span SELECT max(id), min(received_at), max(received_at) FROM delivery GROUP BY id / 4096;

-- How many attempts in a row ended with their worker, without a verdict.
ALTER TABLE work ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
