-- The schema. Times are microseconds since the epoch, UTC. What is said of a table in kernel/README.md is not repeated.

-- One row: which store this is.
CREATE TABLE store (
	epoch           TEXT NOT NULL,     -- made with the store; another epoch is another history
	created_at      INTEGER NOT NULL,
	event_low_water INTEGER NOT NULL DEFAULT 1, -- events below this id were pruned
	reconciler      TEXT -- what becomes of orphans that name none, whoever recovers them; null: the manager decides
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
	token      TEXT NOT NULL,    -- in the side file that holds the lock
	beat       INTEGER NOT NULL DEFAULT 0 -- heartbeats, counted: all its leases are renewed together
) STRICT;

-- --- Runs ------------------------------------------------------------------------------------------------------------

-- One row a run: who it is, and what is wanted of it. `seq` is the order of insertion. What becomes of it is in `live`
-- while it is in flight, and then in `outcomes`.
CREATE TABLE runs (
	seq                  INTEGER PRIMARY KEY,
	run_id               TEXT NOT NULL UNIQUE,
	thread_id            TEXT NOT NULL,
	created_at           INTEGER NOT NULL,
	operation_kind       TEXT,
	max_attempts         INTEGER,
	deadline             INTEGER,
	concurrency          INTEGER,
	strict               INTEGER,
	waits_for            TEXT,
	handler              TEXT,
	worker_ref           TEXT,
	user_id              TEXT,
	assistant_id         TEXT,
	on_disconnect        TEXT,
	multitask_strategy   TEXT,
	metadata             TEXT,
	kwargs               TEXT,
	max_losses           INTEGER,
	batch_id             TEXT,
	plan_entry           TEXT,
	fingerprint          TEXT,
	idempotency_key      TEXT,
	idempotency_hash     TEXT,
	idempotency_expires_at INTEGER,
	reconciler           TEXT,
	start_by             INTEGER,
	artifacts_path       TEXT,
	logs_path            TEXT,
	parent_run_id        TEXT,
	retry_of             TEXT,
	schedule             TEXT,
	timeout              INTEGER,
	slots                TEXT,
	rates                TEXT,
	after                TEXT
) STRICT;

-- Listing a thread, newest first, equal times in order of insertion.
CREATE INDEX runs_by_thread ON runs (thread_id, created_at DESC);

-- The state of what is in flight, and of what has ended and is not settled, in the order of admission. A status is a
-- number (include/keel/run.h has the names); that of a run that is pending and not due is -1, or -2 if it had started
-- before; of one that waits for other runs -3; of one that is due and wants slots or rates -4. `session_id` is 0 for
-- what is nobody's, and null for what waits to be claimed. `created_at` is the run's.
CREATE TABLE live (
	thread_id           TEXT NOT NULL,
	seq                 INTEGER NOT NULL, -- runs.seq
	status              INTEGER NOT NULL,
	priority            INTEGER NOT NULL,
	session_id          INTEGER,
	created_at          INTEGER NOT NULL,
	fence               INTEGER NOT NULL,
	revision            INTEGER NOT NULL,
	updated_at          INTEGER NOT NULL,
	claimable           INTEGER,
	started_at          INTEGER,
	ended_at            INTEGER,
	finalizing          INTEGER,
	attempt             INTEGER,
	losses              INTEGER,
	snoozes             INTEGER,
	scheduled_at        INTEGER,
	lease_expires_at    INTEGER,
	lease_us            INTEGER, -- how long a lease lasts: judged by who saw it unrenewed for that long, by no clock
	cancel_action       TEXT,
	cancel_requested_at INTEGER,
	shared              INTEGER, -- it was claimed: others can run it, too
	depended            INTEGER, -- 1: others wait for it, or have
	PRIMARY KEY (thread_id, seq)
) STRICT, WITHOUT ROWID;

-- The queue of a thread, its head first; and what runs on it, or ended and is not done yet.
CREATE INDEX live_queue ON live (thread_id, status, priority DESC, seq);

-- What a session has in flight: heartbeats, and what a dead session left. What is nobody's.
CREATE INDEX live_of_session ON live (session_id, seq) WHERE session_id IS NOT NULL;

-- What a run has come to; from when it has come to anything. Its last state is here when its row of `live` is gone, and
-- null until then.
CREATE TABLE outcomes (
	seq                  INTEGER PRIMARY KEY, -- runs.seq
	status               INTEGER,
	priority             INTEGER,
	session_id           INTEGER,
	fence                INTEGER,
	revision             INTEGER,
	updated_at           INTEGER,
	claimable            INTEGER,
	started_at           INTEGER,
	ended_at             INTEGER,
	finalizing           INTEGER,
	attempt              INTEGER,
	losses               INTEGER,
	snoozes              INTEGER,
	scheduled_at         INTEGER,
	lease_expires_at     INTEGER,
	lease_us             INTEGER,
	cancel_action        TEXT,
	cancel_requested_at  INTEGER,
	shared               INTEGER,
	exit_code            INTEGER,
	error_code           TEXT,
	stop_reason          TEXT,
	successor            TEXT,
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
	error                TEXT,
	result               TEXT,
	progress             TEXT,
	last_ai_message      TEXT,
	first_human_message  TEXT
) STRICT;

-- Pending, and not due when it was last looked at. Below 0: a line whose rate is full until then.
CREATE TABLE later (
	at  INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	PRIMARY KEY (at, seq)
) STRICT, WITHOUT ROWID;

-- The deadlines of what is in flight.
CREATE TABLE due (
	at  INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	PRIMARY KEY (at, seq)
) STRICT, WITHOUT ROWID;

-- What is in flight and has a lease.
CREATE TABLE leased (
	seq INTEGER PRIMARY KEY
) STRICT;

-- What was asked to stop and has not, and what has ended and is not settled.
CREATE TABLE stopping (
	thread_id TEXT NOT NULL,
	seq       INTEGER NOT NULL,
	PRIMARY KEY (thread_id, seq)
) STRICT, WITHOUT ROWID;

-- --- Claiming --------------------------------------------------------------------------------------------------------

-- Pending, due, and nobody's on purpose. Those of a line are all blocked or none is.
CREATE TABLE claims (
	line      INTEGER NOT NULL, -- 0: those without a handler that wait for nothing
	priority  INTEGER NOT NULL,
	seq       INTEGER NOT NULL,
	thread_id TEXT NOT NULL,
	handler   TEXT NOT NULL,
	deadline  INTEGER,
	PRIMARY KEY (line, priority DESC, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_of_thread ON claims (thread_id, line, priority DESC, seq);

-- What the runs of a line wait for, who can work on them, and their head. A line is parked at what was in its way when
-- it was last looked at, and ready when it is to be looked at again: then it still says where it comes from.
CREATE TABLE lines (
	line        INTEGER PRIMARY KEY,
	places      TEXT NOT NULL,
	handler     TEXT NOT NULL,
	ready       INTEGER NOT NULL,
	parked_name TEXT,             -- thread:ID, run:ID, or at:NAME of a slot or rate; null: nowhere yet
	parked_key  TEXT,             -- all that are parked at the name with this key are blocked alike
	priority    INTEGER NOT NULL, -- of its head
	seq         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX lines_of ON lines (places, handler);
CREATE INDEX lines_ready ON lines (priority DESC, seq) WHERE ready = 1;
CREATE INDEX lines_ready_of ON lines (handler, priority DESC, seq) WHERE ready = 1;
CREATE INDEX lines_parked ON lines (parked_name, parked_key, handler, priority DESC, seq) WHERE ready = 0;

-- --- Dependencies and children ---------------------------------------------------------------------------------------

-- What a pending run waits for of runs that have not settled. wanted: 0: that they do; 2: that they succeed, too.
CREATE TABLE edges (
	source    INTEGER NOT NULL, -- runs.seq
	dependent INTEGER NOT NULL, -- likewise
	wanted    INTEGER NOT NULL,
	batch_id  TEXT,             -- whose member the source was named as
	PRIMARY KEY (source, dependent, wanted)
) STRICT, WITHOUT ROWID;
CREATE INDEX edges_of_dependent ON edges (dependent, source);
CREATE INDEX edges_of_batch ON edges (batch_id, dependent, source) WHERE batch_id IS NOT NULL;

-- The runs in flight that have a parent and were not asked to stop, by the parent: who is to be stopped with it.
CREATE TABLE children (
	parent_run_id TEXT NOT NULL,
	seq           INTEGER NOT NULL, -- runs.seq
	PRIMARY KEY (parent_run_id, seq)
) STRICT, WITHOUT ROWID;

-- What is to be worked off. Sources whose edges are: status: what they came to; settled: 1: their edges go. Parents
-- whose children are to be stopped: cancelled: how, interrupt or rollback.
CREATE TABLE resolving (
	source    INTEGER PRIMARY KEY,
	status    INTEGER NOT NULL,
	settled   INTEGER NOT NULL,
	run_id    TEXT NOT NULL,
	cancelled TEXT
) STRICT;

-- --- Limits by name --------------------------------------------------------------------------------------------------

-- What was set for a name: of slots, of a rate (then it has a `per`), thread:ID, or * for everything.
CREATE TABLE limits (
	name   TEXT PRIMARY KEY,
	max    INTEGER,
	per    INTEGER,
	paused INTEGER NOT NULL,
	reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX limits_paused ON limits (name) WHERE paused = 1;

-- The names that runs in flight have to do with: 0: waits for a slot, 1: holds it, 2: waits for a rate.
CREATE TABLE holds (
	name  TEXT NOT NULL,
	state INTEGER NOT NULL,
	max   INTEGER NOT NULL, -- the run's own
	seq   INTEGER NOT NULL,
	PRIMARY KEY (name, state, max, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_of_run ON holds (seq);

-- The starts of a rate, and the longest window that runs were admitted with: what is older goes.
CREATE TABLE starts (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	at   INTEGER NOT NULL
) STRICT;
CREATE INDEX starts_of ON starts (name, at, id);
CREATE INDEX starts_by_time ON starts (at, id);
CREATE TABLE windows (
	name TEXT PRIMARY KEY,
	per  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- --- Counting --------------------------------------------------------------------------------------------------------

-- Whom runs in flight are counted for, when strategies ask; those of machines are not. what: 1: a user, 2: a handler,
-- 3: a batch. running: 0: it is pending.
CREATE TABLE counted (
	what    INTEGER NOT NULL,
	id      TEXT NOT NULL,
	running INTEGER NOT NULL,
	seq     INTEGER NOT NULL,
	PRIMARY KEY (what, id, running, seq)
) STRICT, WITHOUT ROWID;

-- --- What few runs have ----------------------------------------------------------------------------------------------

-- Idempotency keys, by user ('': none); the newest run last.
CREATE TABLE keys (
	idempotency_key TEXT NOT NULL,
	user_id         TEXT NOT NULL,
	seq             INTEGER NOT NULL,
	expires_at      INTEGER,
	PRIMARY KEY (idempotency_key, user_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
	batch_id TEXT NOT NULL,
	dispatch INTEGER NOT NULL, -- 1: runs of machines
	seq      INTEGER NOT NULL,
	PRIMARY KEY (batch_id, dispatch, seq)
) STRICT, WITHOUT ROWID;

-- The runs that are another try of one, by that one.
CREATE TABLE retries (
	retry_of TEXT NOT NULL,
	seq      INTEGER NOT NULL,
	PRIMARY KEY (retry_of, seq)
) STRICT, WITHOUT ROWID;

-- Of the runs of machines.
CREATE TABLE fingerprints (
	fingerprint TEXT NOT NULL,
	thread_id   TEXT NOT NULL,
	seq         INTEGER NOT NULL,
	PRIMARY KEY (fingerprint, thread_id, seq)
) STRICT, WITHOUT ROWID;

-- The runs of machines.
CREATE TABLE dispatched (
	seq INTEGER PRIMARY KEY
) STRICT;

-- --- The log ---------------------------------------------------------------------------------------------------------

-- Rows are only ever appended. A plain INSERT gives the newest id and one more, and a rollback gives it back; pruning
-- leaves the newest row, below the low-water mark if need be, so that no id is used again.
CREATE TABLE events (
	id         INTEGER PRIMARY KEY,
	kind       TEXT NOT NULL,
	at         INTEGER NOT NULL,
	runtime_id TEXT,
	thread_id  TEXT,
	run_id     TEXT,
	worker_ref TEXT,
	message    TEXT,
	data       TEXT
) STRICT;

-- Where events of a run, of a thread, are: block b is the ids from 64 b - 63 to 64 b. Written with the first
-- id after the block; what comes after the last block that is written is read through.
CREATE TABLE events_of_run (
	run_id TEXT NOT NULL,
	block  INTEGER NOT NULL,
	PRIMARY KEY (run_id, block)
) STRICT, WITHOUT ROWID;
CREATE TABLE events_of_thread (
	thread_id TEXT NOT NULL,
	block     INTEGER NOT NULL,
	PRIMARY KEY (thread_id, block)
) STRICT, WITHOUT ROWID;

-- What happened to a runtime; to a worker, and to the runs that name it. The text of a worker is
-- {"runtime_id":…,"worker_id":…} to the letter.
CREATE TABLE events_of_runtime (
	runtime_id TEXT NOT NULL,
	id         INTEGER NOT NULL,
	PRIMARY KEY (runtime_id, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE events_of_worker (
	worker_ref TEXT NOT NULL,
	id         INTEGER NOT NULL,
	PRIMARY KEY (worker_ref, id)
) STRICT, WITHOUT ROWID;

-- --- Schedules -------------------------------------------------------------------------------------------------------

-- One row a schedule; the revision makes sure that each occurrence is made once, whoever ticks.
CREATE TABLE schedules (
	name       TEXT PRIMARY KEY,
	definition TEXT NOT NULL,    -- JSON, read by whoever ticks
	next_at    INTEGER NOT NULL, -- when it happens next; with a problem, when that is asked again
	last_at    INTEGER NOT NULL, -- when it happened last; before that, when it was made
	period_us  INTEGER NOT NULL, -- between the last two
	problem    TEXT,             -- why it is not known when it happens next
	revision   INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at, name);

-- --- Leases ----------------------------------------------------------------------------------------------------------

-- One row a name, for ever: it is what makes the tokens of a name only grow.
CREATE TABLE leases (
	name       TEXT PRIMARY KEY,
	token      INTEGER NOT NULL, -- of the newest grant
	session_id INTEGER NOT NULL, -- whom it was granted to; a session that is gone holds nothing
	owner      TEXT NOT NULL,    -- a name for people
	expires_at INTEGER,          -- null: released
	lease_us   INTEGER NOT NULL DEFAULT 0,
	renewals   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- --- Workers ---------------------------------------------------------------------------------------------------------

-- One row a runtime. The counts change in the transaction that changes what they count, so that a summary costs the
-- same at ten workers and at ten million; verify compares them with the rows.
CREATE TABLE runtimes (
	seq              INTEGER PRIMARY KEY,
	runtime_id       TEXT NOT NULL UNIQUE,
	display_name     TEXT NOT NULL,
	status           INTEGER NOT NULL, -- include/keel/worker.h has the names
	event_id         INTEGER NOT NULL, -- of the event that gave it this status
	projection_max   INTEGER NOT NULL,
	batch_max        INTEGER NOT NULL,
	active_count     INTEGER NOT NULL,
	stopped_count    INTEGER NOT NULL,
	cancelled_count  INTEGER NOT NULL,
	diagnostic_count INTEGER NOT NULL,
	diagnostic_last  INTEGER NOT NULL, -- the newest id of a diagnostic: none is used again
	created_at       INTEGER NOT NULL
) STRICT;

-- One row a worker; `seq` is the order of creation. The documents are what the request said, names in byte order.
CREATE TABLE workers (
	seq                    INTEGER PRIMARY KEY,
	runtime                INTEGER NOT NULL, -- runtimes.seq
	worker_id              TEXT NOT NULL UNIQUE,
	status                 INTEGER NOT NULL,
	intent                 TEXT NOT NULL,
	profile                TEXT NOT NULL,
	config_bundle          TEXT,
	requested_capabilities TEXT NOT NULL,
	capability_count       INTEGER NOT NULL,
	workspace_refs         TEXT NOT NULL,
	mount_refs             TEXT NOT NULL,
	transcript_len         INTEGER NOT NULL, -- its entries have the sequences 1 to this
	last_event_id          INTEGER NOT NULL,
	created_at             INTEGER NOT NULL,
	ended_at               INTEGER,          -- null while it is running
	idempotency_key        TEXT
) STRICT;
CREATE INDEX workers_by_runtime ON workers (runtime);
CREATE INDEX workers_active ON workers (runtime) WHERE status = 0;
CREATE UNIQUE INDEX workers_by_key ON workers (runtime, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- One row an entry. Each has its event, whose id is the key: entries are only ever appended.
CREATE TABLE transcripts (
	event_id        INTEGER PRIMARY KEY,
	worker          INTEGER NOT NULL, -- workers.seq
	sequence        INTEGER NOT NULL,
	role            TEXT NOT NULL,
	content         TEXT NOT NULL,
	run_id          TEXT,             -- the run that caused it
	idempotency_key TEXT
) STRICT;
CREATE UNIQUE INDEX transcripts_by_worker ON transcripts (worker, sequence);
CREATE UNIQUE INDEX transcripts_by_key ON transcripts (worker, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- One row a code and subject: a worker, a run, or the runtime itself.
CREATE TABLE diagnostics (
	runtime  INTEGER NOT NULL, -- runtimes.seq
	id       INTEGER NOT NULL,
	severity TEXT NOT NULL,
	code     TEXT NOT NULL,
	message  TEXT NOT NULL,    -- the newest
	worker   INTEGER,          -- workers.seq
	run_id   TEXT,
	count    INTEGER NOT NULL,
	PRIMARY KEY (runtime, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX diagnostics_of_worker ON diagnostics (worker, code) WHERE worker IS NOT NULL;
CREATE UNIQUE INDEX diagnostics_of_run ON diagnostics (runtime, run_id, code) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX diagnostics_of_runtime ON diagnostics (runtime, code) WHERE worker IS NULL AND run_id IS NULL;
