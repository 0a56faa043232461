-- The format of the body, as BodyFormat names it. Until now all were JSON.
ALTER TABLE delivery ADD COLUMN format TEXT NOT NULL DEFAULT 'json';

-- How many resends were recognised by a digest alone, because the sender gave no id.
ALTER TABLE work ADD COLUMN recognised INTEGER NOT NULL DEFAULT 0;
CREATE INDEX work_recognised ON work (id) WHERE recognised > 0;
