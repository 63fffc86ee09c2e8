/* runtime_stop.c - stopping a runtime, with its workers, and starting it again. Uses: runtime, worker. */
#include "base/error.h"
#include "base/text.h"
#include "worker/runtime.h"
#include "worker/worker.h"

/* *wrote: something may have been written. */
static enum keel_code change(struct keel_store *store, struct keel_text runtime_id, bool stop, int64_t *event_id,
							 bool *wrote, struct keel_error *err)
{
	static const char update[] = "UPDATE runtimes SET status = ?2, event_id = ?3 WHERE seq = ?1";
	struct keel_runtime_row row;
	struct keel_runtime_event event = {.kind = stop ? "runtime_stopped" : "runtime_started",
									   .message = keel_text_of(stop ? "runtime stopped" : "runtime started")};
	enum keel_code code = keel_runtime_find(store, runtime_id, &row, err);
	if (code != KEEL_OK || row.about.stopped == stop) {
		*event_id = row.about.event_id;
		return code;
	}
	*wrote = true;
	if (stop)
		code = keel_worker_stop_all(store, runtime_id, row.seq, err);
	event.at = keel_store_now(store);
	if (code == KEEL_OK)
		code = keel_runtime_write_event(store, runtime_id, &event, event_id, err);
	if (code == KEEL_OK)
		code = keel_execute(store, update, err, keel_value_int(row.seq),
							keel_value_int(stop ? KEEL_RUNTIME_STOPPED_ROW : KEEL_RUNTIME_RUNNING_ROW),
							keel_value_int(*event_id));
	return code;
}

static enum keel_code set_status(struct keel_store *store, struct keel_text runtime_id, bool stop, int64_t *event_id,
								 struct keel_error *err)
{
	bool wrote = false;
	*event_id = 0;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = change(store, runtime_id, stop, event_id, &wrote, err);
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		*event_id = 0;
	return code;
}

enum keel_code keel_runtime_stop(struct keel_store *store, struct keel_text runtime_id, int64_t *event_id,
								 struct keel_error *err)
{
	return set_status(store, runtime_id, true, event_id, err);
}

enum keel_code keel_runtime_start(struct keel_store *store, struct keel_text runtime_id, int64_t *event_id,
								  struct keel_error *err)
{
	return set_status(store, runtime_id, false, event_id, err);
}
