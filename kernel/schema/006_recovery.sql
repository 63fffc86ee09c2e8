-- Recovery: straight to what may be an orphan, however many runs wait. What belongs to a session is found by
-- runs_of_session.
CREATE INDEX runs_by_deadline ON runs (deadline) WHERE coalesce(status, 0) < 2 AND deadline IS NOT NULL;
CREATE INDEX runs_by_lease ON runs (lease_expires_at) WHERE coalesce(status, 0) < 2 AND lease_expires_at IS NOT NULL;
CREATE INDEX runs_of_nobody ON runs (thread_id)
	WHERE coalesce(status, 0) < 2 AND session_id IS NULL AND coalesce(claimable, 0) = 0;
CREATE INDEX runs_stopping ON runs (thread_id)
	WHERE finalizing = 1 OR (coalesce(status, 0) < 2 AND cancel_requested_at IS NOT NULL);
