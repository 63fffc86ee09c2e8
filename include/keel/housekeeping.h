/* keel/housekeeping.h - backups, copies, pruning, and how much there is. */
#ifndef KEEL_HOUSEKEEPING_H
#define KEEL_HOUSEKEEPING_H

#include <keel/run.h>
#include <keel/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the store as it is now into a new file, while others go on reading and writing. The copy is a store of its
 * own: it has another epoch and no sessions, so that in it whatever was in flight has lost its owner. The file gets its
 * name when it is whole and on the disk; a backup that fails, or whose process dies, leaves none of that name. Takes
 * time in proportion to the store.
 * Fails with KEEL_INVALID_REQUEST (path: empty, ":memory:", or the name of a file), KEEL_STORE_MISSING (no such
 * directory), and KEEL_BUSY while this handle has a transaction open. */
KEEL_API enum keel_code keel_store_backup(struct keel_store *store, const char *path, struct keel_error *err);

/* Copies the store as it is now into another place: a file that is not there yet, or a schema on a server that is not
 * there or is empty (`path` is a uri then). It may be of another kind. The copy is a store of its own: it has another
 * epoch and no sessions; rows and events keep their keys. Others go on with the original, and what they write from now
 * on is not in the copy. So nothing may be in flight, unless `anyway`: then what somebody has there is an orphan in the
 * copy, although he may be at work. A copy that fails, or whose process dies, leaves no store in its place. Takes time
 * in proportion to the store, and little memory.
 * Fails with KEEL_CONFLICT (runs are in flight), KEEL_INVALID_REQUEST (path: empty, ":memory:", a file or a store that
 * is there), KEEL_NOT_SUPPORTED (no driver), what opening a store on a server fails with, and KEEL_BUSY while this
 * handle has a transaction open. */
KEEL_API enum keel_code keel_store_copy(struct keel_store *store, const char *path, bool anyway,
										struct keel_error *err);

/* Puts a backup in the place of the store at `path`, which may be missing, damaged, or left with a log that is another
 * store's. It gets an epoch of its own, no sessions, and the owner, group and mode of the old file; the old log and the
 * files beside it go. The backup stays as it is. `options` NULL: the defaults; of these, the ids, and for
 * how long and how to wait for those who are just opening the store. Takes time in proportion to the backup.
 * Fails with KEEL_BUSY while a live session has the store open, KEEL_INVALID_REQUEST (backup: it is the store itself;
 * path), KEEL_STORE_MISSING (no backup, no such directory), KEEL_STORE_CORRUPT (no backup of a store, a damaged one;
 * what is in its place is another application's database), KEEL_STORE_VERSION, KEEL_STORE_READONLY, KEEL_STORE_FULL,
 * KEEL_IO, KEEL_NO_MEMORY. Unless the message says that the backup is in place, the old store is as it was. */
KEEL_API enum keel_code keel_store_restore(const char *backup, const char *path,
										   const struct keel_store_options *options, struct keel_error *err);

/* Makes the store's file as small as its content: what was deleted leaves room that only new rows of the store use.
 * *freed is how many bytes smaller it becomes; on the disk, as soon as no reader needs the old pages. Nobody else can
 * write meanwhile; takes time in proportion to the store, and for as long the room of a second one.
 * Fails with KEEL_BUSY also while this handle has a transaction open. */
KEEL_API enum keel_code keel_store_compact(struct keel_store *store, int64_t *freed, struct keel_error *err);

/* Writes the log beside the file back into it, as far as nobody reads the file as it was before, and cuts the log if
 * nobody uses it at this moment. *left is how many bytes of it had to stay: somebody who reads for long keeps them.
 * Happens by itself as the store is used. Fails with KEEL_BUSY while this handle has a transaction open. */
KEEL_API enum keel_code keel_store_write_back(struct keel_store *store, int64_t *left, struct keel_error *err);

enum { KEEL_PRUNE_MAX = 1000 }; /* rows of each sort that one call looks at: it keeps others from writing meanwhile */

/* What may go. The place is where to go on: starts as {0}, and is moved by each call. */
struct keel_prune {
	int64_t before;    /* only what ended, or events that happened, before this time; an event from a clock that was
	                      ahead is as old as the first after it whose time has come */
	int64_t keep_last; /* the newest so many runs of each thread, workers of each runtime, and events stay */
	uint32_t runs;     /* which runs: a bit for each final enum keel_run_status */
	uint32_t workers;  /* which workers: a bit for each final enum keel_worker_status */
	int64_t limit;     /* rows of each sort that a step looks at, up to KEEL_PRUNE_MAX; 0: so many */
	bool dry;          /* count what would go, and delete nothing */
	int64_t next_run;  /* the place */
	int64_t next_worker;
	int64_t next_event; /* in the log, when it stays as it is */
};

/* What went. */
struct keel_pruned {
	int64_t runs;
	int64_t workers;
	int64_t entries; /* of transcripts */
	int64_t diagnostics;
	int64_t events;
	int64_t unused_bytes; /* what keel_store_compact would give back by now */
	bool more;            /* not everything was looked at: call again with the place moved */
};

/* Takes one step: deletes old events from the beginning of the log, and runs and workers that have ended, as far as
 * they are among the next `limit`. A worker goes with its whole transcript and its diagnostics, and only when
 * all its events have gone. A run that is finalizing stays. *pruned is of this step. A dry step reads only, and so may
 * a store that is open for reading take one; it has no unused_bytes.
 * Fails with KEEL_INVALID_REQUEST (keep_last, limit, statuses). */
KEEL_API enum keel_code keel_store_prune(struct keel_store *store, struct keel_prune *prune, struct keel_pruned *pruned,
										 struct keel_error *err);

/* Works off what is left when nobody comes by: dependents of runs that have ended, where there are more than one
 * transaction takes, and the starts of rates that nobody counts any more. Some of it in each call; `place` begins as
 * empty and says where the next call goes on. Writes nothing where there is nothing. KEEL_BUSY in a transaction. */
struct keel_catch_up {
	char name[KEEL_ID_MAX + 1];
};
KEEL_API enum keel_code keel_store_catch_up(struct keel_store *store, struct keel_catch_up *place,
											struct keel_error *err);

/* Whether a transaction of this handle has left dependents or children of runs, which were more than it takes, and the
 * handle has not seen since that they were worked off: then a call of catch_up is worth it. Cannot fail. */
KEEL_API bool keel_store_is_behind(const struct keel_store *store);

struct keel_stats {
	int64_t bytes;        /* of the database, what it may still grow into included; the write-ahead log not */
	int64_t unused_bytes; /* of these, what keel_store_compact would give back */
	int64_t runs;
	int64_t pending_runs;
	int64_t running_runs;
	int64_t delayed_runs; /* of the pending ones: not due when they were last looked at */
	int64_t blocked_runs; /* likewise: wait for other runs */
	int64_t limited_runs; /* likewise: are due, and want slots or rates */
	int64_t limits;       /* names for which something is set */
	int64_t pauses;       /* names that are paused, of these */
	int64_t runtimes;
	int64_t workers;
	int64_t active_workers;
	int64_t entries; /* of transcripts */
	int64_t diagnostics;
	int64_t leases;
	int64_t schedules;
	int64_t sessions; /* rows: those that have died and are not tidied away, too */
	int64_t event_low_water;
	int64_t event_high_water; /* events are what lies between, both included */
	/* The pending run whose time came first of all; "": there is none. It has waited for so long. */
	char oldest_waiting[KEEL_ID_MAX + 1];
	int64_t oldest_waiting_us;
};

/* Counts what there is, in one picture. Takes time in proportion to the rows, of the smallest index of each sort. */
KEEL_API enum keel_code keel_store_stats(struct keel_store *store, struct keel_stats *stats, struct keel_error *err);

/* The runs in flight of a handler. */
struct keel_handler_count {
	struct keel_text handler; /* "default": of those without one, too */
	int64_t waiting;          /* pending */
	int64_t running;
};

/* What goes on: figures for who watches over a store. Starts with {0}. */
struct keel_metrics {
	int64_t runs[KEEL_RUN_STATUS_COUNT];  /* there are, by status */
	int64_t ended[KEEL_RUN_STATUS_COUNT]; /* of those, since `since` */
	int64_t since; /* microseconds since the epoch: what follows is what the log says from then on */
	int64_t created, started, requeued;  /* runs, each time */
	struct keel_handler_count *handlers; /* the ones with the most runs in flight first */
	size_t count;
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_metrics_clear(struct keel_metrics *metrics);

enum { KEEL_HANDLERS_MAX = 1000 };

/* Counts what goes on, with the first `handlers` handlers (0 to KEEL_HANDLERS_MAX), and what has happened in the last
 * `window_us`: less, `since` says how much, where the log does not go back so far, or has more than 100 000 events
 * since. Takes time in proportion to the runs. Reading into metrics clears them first. */
KEEL_API enum keel_code keel_store_metrics(struct keel_store *store, int64_t handlers, int64_t window_us,
										   struct keel_metrics *metrics, struct keel_error *err);

/* What there is to know of the server that has a store, for those who look after it. */
struct keel_server {
	int64_t version;             /* as 150004 */
	bool standby;                /* it can only be read */
	bool fsync;                  /* false: a crash of its machine may damage the store */
	bool autovacuum;             /* false: nobody takes deleted rows away */
	bool has_standbys;           /* it is told to wait for others (synchronous_standby_names) */
	char synchronous_commit[16]; /* what a commit waits for, as it is set for this role and database */
	char lacking[256];           /* rights that a process which writes needs and this role lacks; "": none */
	int64_t clock;               /* what its clock said, microseconds since the epoch */
	int64_t skew_us;             /* so far it is ahead of the store's clock; as good as a trip to it is quick */
	int64_t oldest_us;           /* so long the oldest open transaction has kept deleted rows where they are. Of other
	                                roles' transactions only some roles are told. */
	int64_t oldest_pid;          /* the server's process that has it; 0: it is a prepared one */
	int64_t blocked;             /* connections to its database that wait for the transaction which has kept others
	                                waiting for longest; 0: none do, as far as the role is told */
	int64_t blocking_us;         /* so long that one has been open */
	int64_t blocking_pid;        /* the server's process that has it */
	int64_t rows, dead_rows;     /* of the store's tables, as the server estimates */
	int64_t connections;         /* there are, to all its databases */
	int64_t connections_max;     /* so many may be, for a role like this one */
};

/* Asks the server. Fails with KEEL_NOT_SUPPORTED for a store that is on none. */
KEEL_API enum keel_code keel_store_server(struct keel_store *store, struct keel_server *server, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
