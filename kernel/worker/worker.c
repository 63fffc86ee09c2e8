/* worker.c - workers: creating, reading, listing and ending them. Uses: runtime. */
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/document.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

const char *keel_worker_status_name(enum keel_worker_status status)
{
	static const char *const names[] = {
#define KEEL_WORKER_STATUS_NAME(name, number, text) text,
		KEEL_WORKER_STATUS_MAP(KEEL_WORKER_STATUS_NAME)
#undef KEEL_WORKER_STATUS_NAME
	};
	return (unsigned)status < KEEL_WORKER_STATUS_COUNT ? names[status] : NULL;
}

enum keel_code keel_worker_check_ref(struct keel_text runtime_id, struct keel_worker_ref ref, struct keel_error *err)
{
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = keel_check_worker_id(ref.runtime_id, "worker_ref.runtime_id", err);
	if (code == KEEL_OK)
		code = keel_check_id(ref.worker_id, "worker_ref.worker_id", err);
	if (code != KEEL_OK || keel_text_same(ref.runtime_id, runtime_id))
		return code;
	keel_fail(err, KEEL_WRONG_RUNTIME, "the worker belongs to runtime %.*s, not to %.*s", (int)ref.runtime_id.size,
			  ref.runtime_id.data, (int)runtime_id.size, runtime_id.data);
	if (err) {
		snprintf(err->expected, sizeof err->expected, "%.*s", (int)runtime_id.size, runtime_id.data);
		snprintf(err->actual, sizeof err->actual, "%.*s", (int)ref.runtime_id.size, ref.runtime_id.data);
	}
	return KEEL_WRONG_RUNTIME;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

#define WORKER_COLUMNS                                                                                       \
	"worker_id, intent, profile, requested_capabilities, workspace_refs, mount_refs, config_bundle, status," \
	" capability_count, transcript_len, last_event_id, created_at, seq"

static enum keel_code damaged(const struct keel_store *store, struct keel_text worker_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the row of worker %.*s is damaged", keel_store_path(store),
					 (int)worker_id.size, worker_id.data ? worker_id.data : "");
}

static enum keel_code read_row(struct keel_store *store, struct keel_statement *select, struct keel_worker *worker,
							   struct keel_arena **arena, size_t *bytes, struct keel_error *err)
{
	struct keel_text *texts[] = {
		&worker->worker_id,      &worker->intent,     &worker->profile,      &worker->requested_capabilities,
		&worker->workspace_refs, &worker->mount_refs, &worker->config_bundle};
	enum { TEXTS = 7, BUNDLE = 6 };
	for (int i = 0; i < TEXTS; i++) {
		struct keel_text text;
		if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, texts[i]))
			return keel_fail_memory(err);
		if (!text.data && i != BUNDLE)
			return damaged(store, keel_text_of("?"), err);
		*bytes += text.size;
	}
	worker->status = (enum keel_worker_status)keel_column_int(select, 7);
	worker->requested_capability_count = keel_column_int(select, 8);
	worker->transcript_len = keel_column_int(select, 9);
	worker->last_event_id = keel_column_int(select, 10);
	worker->created_at = keel_column_int(select, 11);
	if (!keel_worker_status_name(worker->status) || worker->transcript_len < 0 || worker->last_event_id < 1 ||
		worker->requested_capability_count < 0)
		return damaged(store, worker->worker_id, err);
	return KEEL_OK;
}

/* Reads the rows of a statement with WORKER_COLUMNS, and resets it. */
static enum keel_code read_rows(struct keel_store *store, struct keel_statement *select, struct keel_workers *list,
								struct keel_error *err)
{
	struct keel_arena *arena = list->memory;
	enum keel_code code;
	size_t bytes = 0;
	bool row;
	list->count = 0;
	list->cut = false;
	keel_arena_reset(&arena);
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;
		 code = keel_step(select, &row, err)) {
		list->cut = bytes >= KEEL_PAGE_BYTES;
		if (list->cut)
			break;
		struct keel_worker *items = keel_make_room(list->items, list->count, &list->capacity, sizeof *items);
		if (!items) {
			code = keel_fail_memory(err);
			break;
		}
		list->items = items;
		code = read_row(store, select, &list->items[list->count], &arena, &bytes, err);
		if (code != KEEL_OK)
			break;
		list->count++;
	}
	keel_reset(select);
	list->memory = arena;
	if (code != KEEL_OK)
		list->count = 0;
	return code;
}

static enum keel_code not_found(struct keel_text worker_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_NOT_FOUND, "there is no worker %.*s", (int)worker_id.size, worker_id.data);
}

static enum keel_code read_worker(struct keel_store *store, int64_t runtime, struct keel_text worker_id,
								  struct keel_workers *list, struct keel_error *err)
{
	static const char text[] = "SELECT " WORKER_COLUMNS " FROM workers WHERE worker_id = ?1 AND runtime = ?2";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, text, &select, err, keel_text(worker_id), keel_int(runtime));
	if (code == KEEL_OK)
		code = read_rows(store, select, list, err);
	return code == KEEL_OK && list->count == 0 ? not_found(worker_id, err) : code;
}

enum keel_code keel_worker_find(struct keel_store *store, int64_t runtime, struct keel_text worker_id,
								struct keel_worker_core *core, struct keel_error *err)
{
	static const char text[] =
		"SELECT seq, status, transcript_len, last_event_id FROM workers WHERE worker_id = ?1 AND runtime = ?2";
	struct keel_statement *select;
	bool row;
	memset(core, 0, sizeof *core);
	enum keel_code code = keel_query(store, text, &select, err, keel_text(worker_id), keel_int(runtime));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && !row)
		code = not_found(worker_id, err);
	if (code == KEEL_OK) {
		core->seq = keel_column_int(select, 0);
		core->status = (enum keel_worker_status)keel_column_int(select, 1);
		core->transcript_len = keel_column_int(select, 2);
		core->last_event_id = keel_column_int(select, 3);
		if (!keel_worker_status_name(core->status) || core->transcript_len < 0 || core->last_event_id < 1)
			code = damaged(store, worker_id, err);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_worker_find_running(struct keel_store *store, struct keel_worker_ref ref,
										struct keel_runtime_row *row, struct keel_worker_core *core,
										struct keel_error *err)
{
	enum keel_code code = keel_runtime_find(store, ref.runtime_id, row, err);
	if (code == KEEL_OK)
		code = keel_worker_find(store, row->seq, ref.worker_id, core, err);
	return code == KEEL_OK ? keel_runtime_check_running(row, ref.runtime_id, err) : code;
}

enum keel_code keel_worker_exists(struct keel_store *store, struct keel_worker_ref ref, struct keel_error *err)
{
	struct keel_runtime_row row;
	struct keel_worker_core core;
	enum keel_code code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_runtime_find(store, ref.runtime_id, &row, err);
	if (code == KEEL_OK)
		code = keel_worker_find(store, row.seq, ref.worker_id, &core, err);
	keel_read_end(store);
	return code;
}

enum keel_code keel_worker_get(struct keel_store *store, struct keel_text runtime_id, struct keel_worker_ref ref,
							   struct keel_workers *list, struct keel_error *err)
{
	struct keel_runtime_row row;
	list->count = 0;
	enum keel_code code = keel_worker_check_ref(runtime_id, ref, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_runtime_find(store, runtime_id, &row, err);
	return code == KEEL_OK ? read_worker(store, row.seq, ref.worker_id, list, err) : code;
}

enum keel_code keel_worker_list(struct keel_store *store, struct keel_text runtime_id,
								const struct keel_worker_query *query, struct keel_workers *list,
								struct keel_error *err)
{
	static const char all[] =
		"SELECT " WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
	static const char active[] =
		"SELECT " WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND status = 0 AND seq > ?2 ORDER BY seq LIMIT ?3";
	struct keel_worker_core after = {0};
	struct keel_runtime_row row;
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK && query->after.data)
		code = keel_check_id(query->after, "after", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_runtime_find(store, runtime_id, &row, err);
	if (code == KEEL_OK && query->after.data)
		code = keel_worker_find(store, row.seq, query->after, &after, err);
	if (code == KEEL_OK)
		code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_query(store, query->active ? active : all, &select, err, keel_int(row.seq), keel_int(after.seq),
						  keel_int(query->limit));
	return code == KEEL_OK ? read_rows(store, select, list, err) : code;
}

void keel_workers_clear(struct keel_workers *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}

/* --- Creating ---------------------------------------------------------------------------------------------------- */

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
	static const char text[] = "SELECT " WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND idempotency_key = ?2";
	struct keel_statement *select;
	struct keel_text key = request->idempotency_key;
	enum keel_code code = keel_query(store, text, &select, err, keel_int(runtime), keel_text(key));
	if (code == KEEL_OK)
		code = read_rows(store, select, list, err);
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
		code = keel_execute(store, text, err, keel_int(runtime), keel_text(worker_id), keel_text(request->intent),
							keel_text(request->profile), keel_text(request->config_bundle),
							keel_text(request->requested_capabilities), keel_int(request->requested_capability_count),
							keel_text(request->workspace_refs), keel_text(request->mount_refs), keel_int(event_id),
							keel_int(event.at), keel_text(request->idempotency_key));
	if (code == KEEL_OK)
		code = keel_runtime_count_worker(store, runtime, KEEL_WORKER_STATUS_COUNT, KEEL_WORKER_RUNNING, err);
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
		code = keel_query(store, text, &select, err, keel_text(worker_id));
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
	return code == KEEL_OK ? read_worker(store, row.seq, worker_id, list, err) : code;
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

/* --- Ending ------------------------------------------------------------------------------------------------------ */

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
		code = keel_execute(store, text, err, keel_int(core->seq), keel_int(status), keel_int(*event_id),
							keel_int(event.at));
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
		"SELECT seq, worker_id FROM workers WHERE runtime = ?1 AND status = 0 ORDER BY seq LIMIT 1";
	struct keel_statement *select;
	memset(core, 0, sizeof *core);
	enum keel_code code = keel_query(store, text, &select, err, keel_int(runtime));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, found, err);
	if (code == KEEL_OK && *found) {
		struct keel_text id;
		bool is_read = keel_column_read(select, 1, &id);
		core->seq = keel_column_int(select, 0);
		if (!is_read)
			code = keel_fail_memory(err);
		else if (!id.data || id.size > KEEL_WORKER_ID_MAX)
			code = damaged(store, (struct keel_text){NULL, 0}, err);
		else
			memcpy(worker_id, id.data, id.size + 1);
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
