-- Claiming: of each thread the runs that need no turn, whatever waits for one before them.
CREATE INDEX runs_claimable_unqueued ON runs (thread_id, coalesce(priority, 0) DESC)
	WHERE claimable = 1 AND coalesce(status, 0) = 0 AND coalesce(concurrency, 0) = 0;
