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

#endif
