-- What a run is worked on by, what came of it, and where it comes from.

ALTER TABLE runs ADD COLUMN handler TEXT;
ALTER TABLE runs ADD COLUMN result TEXT;
ALTER TABLE runs ADD COLUMN progress TEXT;
ALTER TABLE runs ADD COLUMN parent_run_id TEXT;
ALTER TABLE runs ADD COLUMN retry_of TEXT;
ALTER TABLE runs ADD COLUMN schedule TEXT;
ALTER TABLE runs ADD COLUMN timeout INTEGER;
ALTER TABLE runs ADD COLUMN snoozes INTEGER;
