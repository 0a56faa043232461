-- The attempt of a one-effect handler that applied the effect of this one's run, and when; null for other attempts.
ALTER TABLE attempt ADD COLUMN applied_by INTEGER;
ALTER TABLE attempt ADD COLUMN applied_at INTEGER;
