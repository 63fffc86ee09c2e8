-- Runs, events and sessions. Times are microseconds since the epoch, UTC.

-- One row: which store this is.
CREATE TABLE store (
	epoch      TEXT NOT NULL,    -- made with the store; another epoch is another history
	created_at INTEGER NOT NULL
) STRICT;

-- Who is there. A live session holds a lock on byte `id` of the side file; the rest is for people, and for judging a
-- session whose side file is another than the one found now.
CREATE TABLE sessions (
	id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
	owner      TEXT NOT NULL,
	pid        INTEGER NOT NULL,
	started_at INTEGER NOT NULL,
	boot       TEXT NOT NULL,
	space      INTEGER NOT NULL,
	start      INTEGER NOT NULL,
	clock      INTEGER NOT NULL, -- the name space of time that start is counted in
	token      TEXT NOT NULL     -- in the side file that holds the lock
) STRICT;

-- One row a run. `seq` is the order of insertion. A status is a number (include/keel/run.h has the names), null means
-- pending; so "in flight" is written coalesce(status, 0) < 2, everywhere to the letter, or the indexes do not apply.
CREATE TABLE runs (
	seq                  INTEGER PRIMARY KEY,
	run_id               TEXT NOT NULL UNIQUE,
	thread_id            TEXT NOT NULL,
	status               INTEGER,
	operation_kind       TEXT,
	session_id           INTEGER,
	fence                INTEGER NOT NULL,
	claimable            INTEGER,
	created_at           INTEGER NOT NULL,
	updated_at           INTEGER NOT NULL,
	started_at           INTEGER,
	ended_at             INTEGER,
	revision             INTEGER NOT NULL,
	assistant_id         TEXT,
	user_id              TEXT,
	on_disconnect        TEXT,
	multitask_strategy   TEXT,
	metadata             TEXT,
	kwargs               TEXT,
	priority             INTEGER,
	attempt              INTEGER,
	max_attempts         INTEGER,
	losses               INTEGER,
	max_losses           INTEGER,
	scheduled_at         INTEGER,
	deadline             INTEGER,
	waits_for            TEXT,
	batch_id             TEXT,
	plan_entry           TEXT,
	fingerprint          TEXT,
	idempotency_key      TEXT,
	reconciler           TEXT,
	cancel_action        TEXT,
	worker_ref           TEXT,
	error                TEXT,
	error_code           TEXT,
	exit_code            INTEGER,
	stop_reason          TEXT,
	model_name           TEXT,
	total_input_tokens   INTEGER,
	total_output_tokens  INTEGER,
	total_tokens         INTEGER,
	llm_call_count       INTEGER,
	lead_agent_tokens    INTEGER,
	subagent_tokens      INTEGER,
	middleware_tokens    INTEGER,
	message_count        INTEGER,
	token_usage_by_model TEXT,
	last_ai_message      TEXT,
	first_human_message  TEXT
) STRICT;

-- Listing a thread, newest first, equal times in order of insertion.
CREATE INDEX runs_by_thread ON runs (thread_id, created_at DESC);

-- Admission: what is in flight on a thread, whatever lies behind it. Recovery: what is in flight at all, oldest first.
CREATE INDEX runs_inflight ON runs (thread_id) WHERE coalesce(status, 0) < 2;
CREATE INDEX runs_inflight_by_age ON runs (created_at) WHERE coalesce(status, 0) < 2;

-- The log. Rows are only ever appended. AUTOINCREMENT and plain INSERT: ids grow by one, a rollback gives them back,
-- and none is used again (UPSERT or OR IGNORE would burn some).
CREATE TABLE events (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	kind       TEXT NOT NULL,
	at         INTEGER NOT NULL,
	runtime_id TEXT,
	thread_id  TEXT,
	run_id     TEXT,
	worker_ref TEXT,
	message    TEXT,
	data       TEXT
) STRICT;
CREATE INDEX events_by_run ON events (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX events_by_thread ON events (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX events_by_runtime ON events (runtime_id) WHERE runtime_id IS NOT NULL;
