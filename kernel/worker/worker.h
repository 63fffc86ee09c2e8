/* worker.h - the row of a worker, as far as its changes must know it. For the domain only. */
#ifndef KEEL_KERNEL_WORKER_H
#define KEEL_KERNEL_WORKER_H

#include <keel/run.h>

#include "worker/runtime.h"

struct keel_worker_core {
	int64_t seq;
	enum keel_worker_status status;
	int64_t transcript_len;
	int64_t last_event_id;
};

/* Whether a ref is one of a runtime: KEEL_WRONG_RUNTIME when it is another's. Looks at nothing but the ref. */
enum keel_code keel_worker_check_ref(struct keel_text runtime_id, struct keel_worker_ref ref, struct keel_error *err);

/* Reads what changes must know; KEEL_NOT_FOUND when the runtime has no such worker. */
enum keel_code keel_worker_find(struct keel_store *store, int64_t runtime, struct keel_text worker_id,
								struct keel_worker_core *core, struct keel_error *err);

/* The same for a change, in its transaction: KEEL_NOT_FOUND goes before KEEL_RUNTIME_STOPPED. The ref was checked. */
enum keel_code keel_worker_find_running(struct keel_store *store, struct keel_worker_ref ref,
										struct keel_runtime_row *row, struct keel_worker_core *core,
										struct keel_error *err);

/* Whether there is such a worker, for a call that is refused for what else it was given: who it is about goes first.
 * The ref was checked. */
enum keel_code keel_worker_exists(struct keel_store *store, struct keel_worker_ref ref, struct keel_error *err);

/* Stops every active worker of a runtime, in the open transaction. */
enum keel_code keel_worker_stop_all(struct keel_store *store, struct keel_text runtime_id, int64_t runtime,
									struct keel_error *err);

/* --- Rows -------------------------------------------------------------------------------------------------------- */

#define KEEL_WORKER_COLUMNS                                                                                  \
	"worker_id, intent, profile, requested_capabilities, workspace_refs, mount_refs, config_bundle, status," \
	" capability_count, transcript_len, last_event_id, created_at, seq"

/* Reads the rows of a statement with KEEL_WORKER_COLUMNS, and resets it. */
enum keel_code keel_worker_read_rows(struct keel_store *store, struct keel_statement *select, struct keel_workers *list,
									 struct keel_error *err);

/* Reads one worker; KEEL_NOT_FOUND. */
enum keel_code keel_worker_read(struct keel_store *store, int64_t runtime, struct keel_text worker_id,
								struct keel_workers *list, struct keel_error *err);

/* KEEL_STORE_CORRUPT, in words. */
enum keel_code keel_worker_damaged(const struct keel_store *store, struct keel_text worker_id, struct keel_error *err);

#endif
