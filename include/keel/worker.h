/* keel/worker.h - runtimes, their workers and transcripts.
 *
 *   runtime:  running ──stop──► stopped ──start──► running
 *   worker:   running ──stop──► stopped      (final)
 *                └────cancel──► cancelled    (final)
 *
 * A worker is known by its ref, the runtime's id and its own: a ref used with another runtime is KEEL_WRONG_RUNTIME, an
 * id that is not there KEEL_NOT_FOUND. Identity is checked before limits. Every change of status and every input
 * appends its event in the same transaction: runtime_started, runtime_stopped, worker_created, worker_input_accepted,
 * worker_stopped, worker_cancelled.
 *
 * Any number of handles and processes may use one runtime at once. While it is stopped nothing of it changes
 * (KEEL_RUNTIME_STOPPED), and everything can be read. Every function may fail with KEEL_NOT_FOUND for a runtime that is
 * not there; those that take a ref, as above.
 */
#ifndef KEEL_WORKER_H
#define KEEL_WORKER_H

#include <keel/store.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	KEEL_WORKER_ID_MAX = 128,      /* bytes of a runtime's id or a client key: two of them fit the key of an index */
	KEEL_PROJECTION_DEFAULT = 256, /* transcript entries of one projection, unless the runtime says otherwise */
	KEEL_PROJECTION_MAX = 1000,    /* the most that a runtime may say */
	KEEL_LIMIT_OF_RUNTIME = -1     /* as a limit: the runtime's own */
};

/* --- Runtimes ----------------------------------------------------------------------------------------------------- */

struct keel_runtime {
	char runtime_id[KEEL_WORKER_ID_MAX + 1];
	char display_name[KEEL_ID_MAX + 1]; /* a name shown to people */
	bool stopped;
	int64_t event_id; /* of the event that started or stopped it last */
	int64_t max_transcript_projection_items;
	int64_t max_event_batch_items;
	int64_t active_worker_count;
	int64_t stopped_worker_count;
	int64_t cancelled_worker_count;
	int64_t diagnostic_count;
};

/* What may be said of a runtime when it is opened. */
struct keel_runtime_options {
	struct keel_text display_name;           /* an id; data NULL: as it was, and of a new one its runtime_id */
	int64_t max_transcript_projection_items; /* 0: as it was, and of a new one KEEL_PROJECTION_DEFAULT */
	int64_t max_event_batch_items;           /* 0: as it was, and of a new one KEEL_EVENTS_DEFAULT */
};

/* Makes a runtime, running, or finds it and stores what is said of it now. Writes nothing when there is nothing to
 * change. `options` NULL: nothing is said. Fails with KEEL_INVALID_REQUEST (runtime_id, display_name, limits below 1)
 * and KEEL_LIMIT_TOO_LARGE (a limit beyond KEEL_PROJECTION_MAX or KEEL_EVENTS_MAX). */
KEEL_API enum keel_code keel_runtime_open(struct keel_store *store, struct keel_text runtime_id,
										  const struct keel_runtime_options *options, struct keel_runtime *runtime,
										  struct keel_error *err);

/* Looks at a runtime. */
KEEL_API enum keel_code keel_runtime_get(struct keel_store *store, struct keel_text runtime_id,
										 struct keel_runtime *runtime, struct keel_error *err);

/* Looks at the runtime whose id follows `after` in byte order; data NULL: the first. *found is false when there is
 * none. */
KEEL_API enum keel_code keel_runtime_next(struct keel_store *store, struct keel_text after,
										  struct keel_runtime *runtime, bool *found, struct keel_error *err);

/* Stops a runtime: every active worker becomes stopped, each with its event, then the runtime. Takes time in proportion
 * to its active workers. Start makes it run again; its workers stay as they are. *event_id is the event that gave it
 * the status, which of one that has it already is an old one. */
KEEL_API enum keel_code keel_runtime_stop(struct keel_store *store, struct keel_text runtime_id, int64_t *event_id,
										  struct keel_error *err);
KEEL_API enum keel_code keel_runtime_start(struct keel_store *store, struct keel_text runtime_id, int64_t *event_id,
										   struct keel_error *err);

/* --- Workers ------------------------------------------------------------------------------------------------------ */

#define KEEL_WORKER_STATUS_MAP(X) \
	X(RUNNING, 0, "running")      \
	X(STOPPED, 1, "stopped")      \
	X(CANCELLED, 2, "cancelled")

enum keel_worker_status {
#define KEEL_WORKER_STATUS_ENUM(name, number, text) KEEL_WORKER_##name = number,
	KEEL_WORKER_STATUS_MAP(KEEL_WORKER_STATUS_ENUM)
#undef KEEL_WORKER_STATUS_ENUM
		KEEL_WORKER_STATUS_COUNT
};

/* The name of a status; NULL for a number that is none. Static text. */
KEEL_API const char *keel_worker_status_name(enum keel_worker_status status);

struct keel_worker_ref {
	struct keel_text runtime_id;
	struct keel_text worker_id;
};

/* What a worker is made from. The documents are JSON that the kernel keeps, compares and does not look into; write
 * equal ones alike. */
struct keel_worker_request {
	struct keel_text worker_id; /* an id, unique in the store; data NULL: a new one */
	struct keel_text intent;    /* these: JSON */
	struct keel_text profile;
	struct keel_text config_bundle; /* data NULL: none */
	struct keel_text requested_capabilities;
	int64_t requested_capability_count; /* how many there are in it */
	struct keel_text workspace_refs;
	struct keel_text mount_refs;
	struct keel_text idempotency_key; /* the same key gives the same worker; data NULL: none */
};

struct keel_worker {
	struct keel_text worker_id;
	enum keel_worker_status status;
	struct keel_text intent; /* as in the request */
	struct keel_text profile;
	struct keel_text config_bundle;
	struct keel_text requested_capabilities;
	int64_t requested_capability_count;
	struct keel_text workspace_refs;
	struct keel_text mount_refs;
	int64_t transcript_len;
	int64_t last_event_id;
	int64_t created_at; /* microseconds since the epoch */
};

/* A list of workers with the memory of their texts. Starts as {0}; reading into it clears it first. */
struct keel_workers {
	struct keel_worker *items;
	size_t count;
	bool cut;        /* it ended at KEEL_PAGE_BYTES, before its limit: more follows */
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_workers_clear(struct keel_workers *list);

/* Makes a worker, running, and gives it in `list`. With a key that was used in this runtime before, gives the worker of
 * then; *reused says so. Fails with KEEL_INVALID_REQUEST, KEEL_LIMIT_TOO_LARGE, KEEL_RUNTIME_STOPPED,
 * KEEL_IDEMPOTENCY_MISMATCH (the key was used for another request), KEEL_CONFLICT (the worker_id is taken). */
KEEL_API enum keel_code keel_worker_create(struct keel_store *store, struct keel_text runtime_id,
										   const struct keel_worker_request *request, struct keel_workers *list,
										   bool *reused, struct keel_error *err);

/* Reads a worker into `list`. */
KEEL_API enum keel_code keel_worker_get(struct keel_store *store, struct keel_text runtime_id,
										struct keel_worker_ref ref, struct keel_workers *list, struct keel_error *err);

struct keel_worker_query {
	struct keel_text after; /* go on behind the worker with this id; data NULL: from the first */
	int64_t limit;          /* 1 to KEEL_LIST_MAX */
	bool active;            /* only those that are running */
};

/* The workers of a runtime in order of creation. Fails with KEEL_NOT_FOUND when there is no worker `after`. */
KEEL_API enum keel_code keel_worker_list(struct keel_store *store, struct keel_text runtime_id,
										 const struct keel_worker_query *query, struct keel_workers *list,
										 struct keel_error *err);

struct keel_worker_ack {
	enum keel_worker_status status;
	int64_t event_id; /* of the event that gave it this status */
};

/* Ends a worker as KEEL_WORKER_STOPPED or KEEL_WORKER_CANCELLED. One that has ended stays as it is: *ack says how, with
 * the event of then. `reason` becomes the event's message; data NULL: "worker stopped" or "worker cancelled".
 * Fails with KEEL_INVALID_REQUEST, KEEL_RUNTIME_STOPPED. */
KEEL_API enum keel_code keel_worker_end(struct keel_store *store, struct keel_text runtime_id,
										struct keel_worker_ref ref, enum keel_worker_status status,
										struct keel_text reason, struct keel_worker_ack *ack, struct keel_error *err);

/* --- Transcripts -------------------------------------------------------------------------------------------------- */

struct keel_input {
	struct keel_text role;            /* "user" or "system" */
	struct keel_text content;         /* kept byte for byte; not only white space */
	struct keel_text run_id;          /* the run that caused it: an id, not looked up; data NULL: none */
	struct keel_text idempotency_key; /* the same key gives the same entry of the worker; data NULL: none */
};

struct keel_input_ack {
	enum keel_worker_status status;
	int64_t transcript_sequence; /* from 1 */
	int64_t event_id;
	bool reused; /* the key was used before: the entry is that of then */
};

/* Appends an input to a worker's transcript. Fails with KEEL_INVALID_REQUEST (role, content, run_id, idempotency_key;
 * the worker is not running), KEEL_LIMIT_TOO_LARGE, KEEL_RUNTIME_STOPPED, KEEL_IDEMPOTENCY_MISMATCH. */
KEEL_API enum keel_code keel_worker_send(struct keel_store *store, struct keel_text runtime_id,
										 struct keel_worker_ref ref, const struct keel_input *input,
										 struct keel_input_ack *ack, struct keel_error *err);

struct keel_entry {
	int64_t sequence; /* from 1 */
	struct keel_text role;
	struct keel_text content;
	struct keel_text run_id; /* data NULL: none */
	int64_t event_id;
};

/* A part of a transcript with the memory of its texts. Starts as {0}; reading into it clears it first. */
struct keel_transcript {
	struct keel_entry *items;
	size_t count;
	int64_t start;       /* as asked for */
	int64_t limit;       /* as asked for; or the runtime's */
	int64_t total_items; /* that the transcript has */
	size_t capacity;     /* private */
	void *memory;        /* private */
};
KEEL_API void keel_transcript_clear(struct keel_transcript *list);

/* Reads entries from number `start` (from 0) on. `limit` is 1 to the runtime's max_transcript_projection_items, or
 * KEEL_LIMIT_OF_RUNTIME; a page ends at KEEL_PAGE_BYTES, too. A start past the end gives none.
 * Fails with KEEL_INVALID_REQUEST (start, limit) and KEEL_LIMIT_TOO_LARGE. */
KEEL_API enum keel_code keel_transcript_read(struct keel_store *store, struct keel_text runtime_id,
											 struct keel_worker_ref ref, int64_t start, int64_t limit,
											 struct keel_transcript *list, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
