-- Queues, ownership in time, idempotency. Times are microseconds since the epoch, UTC.

ALTER TABLE runs ADD COLUMN concurrency INTEGER;
ALTER TABLE runs ADD COLUMN start_by INTEGER;
ALTER TABLE runs ADD COLUMN finalizing INTEGER;
ALTER TABLE runs ADD COLUMN lease_expires_at INTEGER;
ALTER TABLE runs ADD COLUMN cancel_requested_at INTEGER;
ALTER TABLE runs ADD COLUMN successor TEXT;
ALTER TABLE runs ADD COLUMN idempotency_hash TEXT;
ALTER TABLE runs ADD COLUMN idempotency_expires_at INTEGER;

-- The start gate: what runs on a thread, or ended and is not done yet; and the queue, its head first.
CREATE INDEX runs_active ON runs (thread_id) WHERE status = 1 OR finalizing = 1;
CREATE INDEX runs_waiting ON runs (thread_id, coalesce(priority, 0) DESC) WHERE coalesce(status, 0) = 0;

-- Claiming: the best of all that may be claimed, and the best of each thread, whatever waits behind it.
CREATE INDEX runs_claimable ON runs (coalesce(priority, 0) DESC) WHERE claimable = 1 AND coalesce(status, 0) = 0;
CREATE INDEX runs_claimable_by_thread ON runs (thread_id, coalesce(priority, 0) DESC)
	WHERE claimable = 1 AND coalesce(status, 0) = 0;

-- What a session has in flight: heartbeats, and what a dead session left.
CREATE INDEX runs_of_session ON runs (session_id) WHERE coalesce(status, 0) < 2;

-- The runs of a user's key; newest last. Many users may use the same.
CREATE INDEX runs_by_key ON runs (idempotency_key, coalesce(user_id, '')) WHERE idempotency_key IS NOT NULL;
