-- Leases. Times are microseconds since the epoch, UTC.

-- One row a name, for ever: it is what makes the tokens of a name only grow.
CREATE TABLE leases (
	name       TEXT PRIMARY KEY,
	token      INTEGER NOT NULL, -- of the newest grant
	session_id INTEGER NOT NULL, -- whom it was granted to; a session that is gone holds nothing
	owner      TEXT NOT NULL,    -- a name for people
	expires_at INTEGER           -- null: released
) STRICT, WITHOUT ROWID;
