-- Runtimes, workers, transcripts, diagnostics. Times are microseconds since the epoch, UTC.

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

-- What happened to a worker, and to the runs that name it. The text is {"runtime_id":…,"worker_id":…} to the letter.
CREATE INDEX events_by_worker ON events (worker_ref) WHERE worker_ref IS NOT NULL;

-- Events below this id were pruned.
ALTER TABLE store ADD COLUMN event_low_water INTEGER NOT NULL DEFAULT 1;
