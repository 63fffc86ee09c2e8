-- Claiming: past what is put off, of which there may be much at the front; it is found when its time has come.
CREATE INDEX runs_claimable_at_once ON runs (coalesce(priority, 0) DESC)
	WHERE claimable = 1 AND coalesce(status, 0) = 0 AND scheduled_at IS NULL;
CREATE INDEX runs_claimable_later ON runs (scheduled_at)
	WHERE claimable = 1 AND coalesce(status, 0) = 0 AND scheduled_at IS NOT NULL;

-- Of each thread the runs that need no turn, whatever waits for one before them.
CREATE INDEX runs_claimable_unqueued ON runs (thread_id, coalesce(priority, 0) DESC)
	WHERE claimable = 1 AND coalesce(status, 0) = 0 AND coalesce(concurrency, 0) = 0;
