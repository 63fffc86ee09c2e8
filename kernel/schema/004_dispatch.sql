-- Runs of machines, and where what a run leaves behind is.

ALTER TABLE runs ADD COLUMN artifacts_path TEXT;
ALTER TABLE runs ADD COLUMN logs_path TEXT;

-- Every run of a machine, of a batch, with a fingerprint: each in the order of insertion.
CREATE INDEX runs_dispatched ON runs (operation_kind) WHERE operation_kind = 'dispatch';
CREATE INDEX runs_by_batch ON runs (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX runs_by_fingerprint ON runs (fingerprint, thread_id) WHERE fingerprint IS NOT NULL;
