-- The format of the body, as BodyFormat names it. Until now all were JSON.
ALTER TABLE delivery ADD COLUMN format TEXT NOT NULL DEFAULT 'json';

-- How many resends were recognised by a digest alone, because the sender gave no id.
ALTER TABLE work ADD COLUMN recognised INTEGER NOT NULL DEFAULT 0;
CREATE INDEX work_recognised ON work (id) WHERE recognised > 0;

-- The lease of a running delivery: a number that no other lease of it has, and the process that holds it.
ALTER TABLE work ADD COLUMN token INTEGER;
ALTER TABLE work ADD COLUMN owner TEXT;
