/* create.c - creating workers. Uses: worker, runtime. */
#include "base/document.h"
#include "base/error.h"
#include "base/text.h"
#include "worker/runtime.h"
#include "worker/worker.h"

static enum keel_code check_request(const struct keel_worker_request *request, struct keel_error *err)
{
	const struct {
		struct keel_text text;
		const char *name;
	} documents[] = {{request->intent, "intent"},
					 {request->profile, "profile"},
					 {request->requested_capabilities, "requested_capabilities"},
					 {request->workspace_refs, "workspace_refs"},
					 {request->mount_refs, "mount_refs"},
					 {request->config_bundle, "config_bundle"}};
	enum keel_code code = KEEL_OK;
	if (request->worker_id.data)
		code = keel_check_worker_id(request->worker_id, "worker_id", err);
	if (code == KEEL_OK && request->idempotency_key.data)
		code = keel_check_worker_id(request->idempotency_key, "idempotency_key", err);
	if (code == KEEL_OK && request->requested_capability_count < 0)
		code = keel_fail_field(err, "requested_capabilities", "a count must be at least 0");
	for (size_t i = 0; code == KEEL_OK && i < sizeof documents / sizeof documents[0]; i++) {
		if (!documents[i].text.data && i < 5)
			code = keel_fail_field(err, documents[i].name, "%s must be given", documents[i].name);
		else
			code = keel_check_document(documents[i].text, documents[i].name, err);
	}
	return code;
}

/* Finds the worker of a client key; it must have been made from the same request. */
static enum keel_code find_by_key(struct keel_store *store, int64_t runtime, const struct keel_worker_request *request,
								  struct keel_workers *list, struct keel_error *err)
{
	static const char text[] =
		"SELECT " KEEL_WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND idempotency_key = ?2";
	struct keel_statement *select;
	struct keel_text key = request->idempotency_key;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(runtime), keel_value_text(key));
	if (code == KEEL_OK)
		code = keel_worker_read_rows(store, select, list, err);
	if (code != KEEL_OK || list->count == 0)
		return code;
	const struct keel_worker *known = &list->items[0];
	if (keel_text_same(known->intent, request->intent) && keel_text_same(known->profile, request->profile) &&
		keel_text_same(known->config_bundle, request->config_bundle) &&
		keel_text_same(known->requested_capabilities, request->requested_capabilities) &&
		keel_text_same(known->workspace_refs, request->workspace_refs) &&
		keel_text_same(known->mount_refs, request->mount_refs))
		return KEEL_OK;
	list->count = 0;
	return keel_fail(err, KEEL_IDEMPOTENCY_MISMATCH, "the idempotency key %.*s was used for another request",
					 (int)key.size, key.data);
}

static enum keel_code insert(struct keel_store *store, struct keel_text runtime_id, int64_t runtime,
							 struct keel_text worker_id, const struct keel_worker_request *request,
							 struct keel_error *err)
{
	static const char text[] =
		"INSERT INTO workers (runtime, worker_id, status, intent, profile, config_bundle, requested_capabilities,"
		" capability_count, workspace_refs, mount_refs, transcript_len, last_event_id, created_at, idempotency_key)"
		" VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12)";
	struct keel_runtime_event event = {.kind = "worker_created",
									   .at = keel_store_now(store),
									   .worker_id = worker_id,
									   .message = keel_text_of("worker created")};
	int64_t event_id = 0;
	enum keel_code code = keel_runtime_write_event(store, runtime_id, &event, &event_id, err);
	if (code == KEEL_OK)
		code = keel_execute(
			store, text, err, keel_value_int(runtime), keel_value_text(worker_id), keel_value_text(request->intent),
			keel_value_text(request->profile), keel_value_text(request->config_bundle),
			keel_value_text(request->requested_capabilities), keel_value_int(request->requested_capability_count),
			keel_value_text(request->workspace_refs), keel_value_text(request->mount_refs), keel_value_int(event_id),
			keel_value_int(event.at), keel_value_text(request->idempotency_key));
	if (code == KEEL_OK)
		code = keel_runtime_count_worker(store, runtime, KEEL_WORKER_NONE, KEEL_WORKER_RUNNING, err);
	return code;
}

/* *wrote: something may have been written. */
static enum keel_code create(struct keel_store *store, struct keel_text runtime_id,
							 const struct keel_worker_request *request, struct keel_workers *list, bool *reused,
							 bool *wrote, struct keel_error *err)
{
	char made[KEEL_UUID_SIZE];
	struct keel_runtime_row row;
	struct keel_text worker_id = request->worker_id;
	enum keel_code code = keel_runtime_find_running(store, runtime_id, &row, err);
	if (code == KEEL_OK && request->idempotency_key.data) {
		code = find_by_key(store, row.seq, request, list, err);
		*reused = code == KEEL_OK && list->count > 0;
	}
	if (code != KEEL_OK || *reused)
		return code;
	if (worker_id.data) {
		static const char text[] = "SELECT seq FROM workers WHERE worker_id = ?1";
		struct keel_statement *select;
		bool found = false;
		code = keel_query(store, text, &select, err, keel_value_text(worker_id));
		if (code == KEEL_OK) {
			code = keel_step(select, &found, err);
			keel_reset(select);
		}
		if (code == KEEL_OK && found)
			code = keel_fail(err, KEEL_CONFLICT, "the worker id %.*s is taken", (int)worker_id.size, worker_id.data);
	} else {
		code = keel_store_new_id(store, made, err);
		worker_id = keel_text_of(made);
	}
	if (code == KEEL_OK) {
		*wrote = true;
		code = insert(store, runtime_id, row.seq, worker_id, request, err);
	}
	return code == KEEL_OK ? keel_worker_read(store, row.seq, worker_id, list, err) : code;
}

enum keel_code keel_worker_create(struct keel_store *store, struct keel_text runtime_id,
								  const struct keel_worker_request *request, struct keel_workers *list, bool *reused,
								  struct keel_error *err)
{
	bool wrote = false;
	*reused = false;
	list->count = 0;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = check_request(request, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = create(store, runtime_id, request, list, reused, &wrote, err);
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK) {
		list->count = 0;
		*reused = false;
	}
	return code;
}
