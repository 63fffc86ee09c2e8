/* runtime.h - the row of a runtime, and what its workers change of it. For the domain only. */
#ifndef KEEL_KERNEL_RUNTIME_H
#define KEEL_KERNEL_RUNTIME_H

#include <keel/event.h>
#include <keel/worker.h>

#include "store/store.h"

/* The status in the row. */
enum { KEEL_RUNTIME_RUNNING_ROW, KEEL_RUNTIME_STOPPED_ROW };

struct keel_runtime_row {
	int64_t seq;
	struct keel_runtime about;
	int64_t diagnostic_last;
};

/* Checks an id of at most KEEL_WORKER_ID_MAX bytes. */
enum keel_code keel_check_worker_id(struct keel_text text, const char *field, struct keel_error *err);

/* Reads the row of a runtime; KEEL_NOT_FOUND when there is none. The id was checked. */
enum keel_code keel_runtime_find(struct keel_store *store, struct keel_text runtime_id, struct keel_runtime_row *row,
								 struct keel_error *err);

/* KEEL_RUNTIME_STOPPED when it is stopped: nothing that belongs to it may change. */
enum keel_code keel_runtime_check_running(const struct keel_runtime_row *row, struct keel_text runtime_id,
										  struct keel_error *err);

/* Both. */
enum keel_code keel_runtime_find_running(struct keel_store *store, struct keel_text runtime_id,
										 struct keel_runtime_row *row, struct keel_error *err);

/* In place of a status: the worker is not there yet, or no longer. */
#define KEEL_WORKER_NONE KEEL_WORKER_STATUS_COUNT

/* Counts a worker that came to be (from: none, to: running), ended (from: running), or was pruned (to: none). */
enum keel_code keel_runtime_count_worker(struct keel_store *store, int64_t runtime, enum keel_worker_status from,
										 enum keel_worker_status to, struct keel_error *err);

/* Appends an event of a runtime or, with worker_id.data, of one of its workers, in the open transaction. */
struct keel_runtime_event {
	const char *kind;
	int64_t at;
	struct keel_text worker_id;
	struct keel_text run_id;
	struct keel_text message;
	struct keel_text data;
};
enum keel_code keel_runtime_write_event(struct keel_store *store, struct keel_text runtime_id,
										const struct keel_runtime_event *event, int64_t *id, struct keel_error *err);

#endif
