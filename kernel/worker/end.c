/* end.c - ending workers: one, or all of a runtime that stops. Uses: worker, runtime. */
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "run/predicates.h"
#include "worker/runtime.h"
#include "worker/worker.h"

static enum keel_code end(struct keel_store *store, struct keel_text runtime_id, int64_t runtime,
						  struct keel_text worker_id, const struct keel_worker_core *core,
						  enum keel_worker_status status, struct keel_text reason, int64_t *event_id,
						  struct keel_error *err)
{
	static const char text[] = "UPDATE workers SET status = ?2, last_event_id = ?3, ended_at = ?4 WHERE seq = ?1";
	bool stop = status == KEEL_WORKER_STOPPED;
	struct keel_runtime_event event = {
		.kind = stop ? "worker_stopped" : "worker_cancelled",
		.at = keel_store_now(store),
		.worker_id = worker_id,
		.message = reason.data ? reason : keel_text_of(stop ? "worker stopped" : "worker cancelled")};
	enum keel_code code = keel_runtime_write_event(store, runtime_id, &event, event_id, err);
	if (code == KEEL_OK)
		code = keel_execute(store, text, err, keel_value_int(core->seq), keel_value_int(status),
							keel_value_int(*event_id), keel_value_int(event.at));
	return code == KEEL_OK ? keel_runtime_count_worker(store, runtime, KEEL_WORKER_RUNNING, status, err) : code;
}

enum keel_code keel_worker_end(struct keel_store *store, struct keel_text runtime_id, struct keel_worker_ref ref,
							   enum keel_worker_status status, struct keel_text reason, struct keel_worker_ack *ack,
							   struct keel_error *err)
{
	struct keel_runtime_row row;
	struct keel_worker_core core;
	bool wrote = false;
	memset(ack, 0, sizeof *ack);
	enum keel_code code = keel_worker_check_ref(runtime_id, ref, err);
	if (code == KEEL_OK && status != KEEL_WORKER_STOPPED && status != KEEL_WORKER_CANCELLED)
		code = keel_fail_field(err, "status", "a worker ends as stopped or cancelled");
	if (code == KEEL_OK && keel_check_text(reason, "reason", NULL) != KEEL_OK) {
		code = keel_worker_exists(store, ref, err);
		return code == KEEL_OK ? keel_check_text(reason, "reason", err) : code;
	}
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_worker_find_running(store, ref, &row, &core, err);
	if (code == KEEL_OK && core.status == KEEL_WORKER_RUNNING) {
		wrote = true;
		code = end(store, runtime_id, row.seq, ref.worker_id, &core, status, reason, &ack->event_id, err);
		ack->status = status;
	} else if (code == KEEL_OK) {
		ack->status = core.status;
		ack->event_id = core.last_event_id; /* nothing happens to a worker that has ended */
	}
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		memset(ack, 0, sizeof *ack);
	return code;
}

/* The first active worker. *found is false when there is none. */
static enum keel_code first_active(struct keel_store *store, int64_t runtime, struct keel_worker_core *core,
								   char worker_id[KEEL_WORKER_ID_MAX + 1], bool *found, struct keel_error *err)
{
	static const char text[] =
		"SELECT seq, worker_id FROM workers WHERE runtime = ?1 AND " KEEL_WORKER_ACTIVE " ORDER BY seq LIMIT 1";
	struct keel_statement *select;
	memset(core, 0, sizeof *core);
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(runtime));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, found, err);
	if (code == KEEL_OK && *found) {
		core->seq = keel_column_int(select, 0);
		code = keel_column_copy(select, 1, worker_id, KEEL_WORKER_ID_MAX + 1, err);
		if (code == KEEL_OK)
			code = keel_check_stored_id(keel_text_of(worker_id), "worker_id", err);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_worker_stop_all(struct keel_store *store, struct keel_text runtime_id, int64_t runtime,
									struct keel_error *err)
{
	struct keel_text none = {NULL, 0};
	char worker_id[KEEL_WORKER_ID_MAX + 1];
	struct keel_worker_core core;
	int64_t event_id;
	bool found = false;
	enum keel_code code;
	while ((code = first_active(store, runtime, &core, worker_id, &found, err)) == KEEL_OK && found) {
		code =
			end(store, runtime_id, runtime, keel_text_of(worker_id), &core, KEEL_WORKER_STOPPED, none, &event_id, err);
		if (code != KEEL_OK)
			break;
	}
	return code;
}
