/* worker.c - workers: reading and listing them. Uses: runtime. */
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/predicates.h"
#include "store/page.h"

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

enum keel_code keel_worker_damaged(const struct keel_store *store, struct keel_text worker_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the row of worker %.*s is damaged", keel_store_path(store),
					 (int)worker_id.size, worker_id.data ? worker_id.data : "");
}

static enum keel_code read_row(struct keel_store *store, struct keel_statement *select, void *item,
							   struct keel_arena **arena, size_t *bytes, const void *context, struct keel_error *err)
{
	struct keel_worker *worker = item;
	(void)context;
	struct keel_text *texts[] = {
		&worker->worker_id,      &worker->intent,     &worker->profile,      &worker->requested_capabilities,
		&worker->workspace_refs, &worker->mount_refs, &worker->config_bundle};
	enum { TEXTS = 7, BUNDLE = 6 };
	for (int i = 0; i < TEXTS; i++) {
		struct keel_text text;
		if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, texts[i]))
			return keel_fail_memory(err);
		if (!text.data && i != BUNDLE)
			return keel_worker_damaged(store, keel_text_of("?"), err);
		*bytes += text.size;
	}
	enum keel_code code = keel_check_stored_id(worker->worker_id, "worker_id", err);
	if (code != KEEL_OK)
		return code;
	worker->status = (enum keel_worker_status)keel_column_int(select, 7);
	worker->requested_capability_count = keel_column_int(select, 8);
	worker->transcript_len = keel_column_int(select, 9);
	worker->last_event_id = keel_column_int(select, 10);
	worker->created_at = keel_column_int(select, 11);
	if (!keel_worker_status_name(worker->status) || worker->transcript_len < 0 || worker->last_event_id < 1 ||
		worker->requested_capability_count < 0)
		return keel_worker_damaged(store, worker->worker_id, err);
	return KEEL_OK;
}

enum keel_code keel_worker_read_rows(struct keel_store *store, struct keel_statement *select, struct keel_workers *list,
									 struct keel_error *err)
{
	struct keel_page page = {.items = list->items, .capacity = list->capacity, .memory = list->memory};
	enum keel_code code = keel_page_read(store, select, &page, sizeof *list->items, read_row, NULL, err);
	*list = (struct keel_workers){page.items, page.count, page.cut, page.capacity, page.memory};
	return code;
}

static enum keel_code not_found(struct keel_text worker_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_NOT_FOUND, "there is no worker %.*s", (int)worker_id.size, worker_id.data);
}

enum keel_code keel_worker_read(struct keel_store *store, int64_t runtime, struct keel_text worker_id,
								struct keel_workers *list, struct keel_error *err)
{
	static const char text[] = "SELECT " KEEL_WORKER_COLUMNS " FROM workers WHERE worker_id = ?1 AND runtime = ?2";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(worker_id), keel_value_int(runtime));
	if (code == KEEL_OK)
		code = keel_worker_read_rows(store, select, list, err);
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
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(worker_id), keel_value_int(runtime));
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
			code = keel_worker_damaged(store, worker_id, err);
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
	return code == KEEL_OK ? keel_worker_read(store, row.seq, ref.worker_id, list, err) : code;
}

enum keel_code keel_worker_list(struct keel_store *store, struct keel_text runtime_id,
								const struct keel_worker_query *query, struct keel_workers *list,
								struct keel_error *err)
{
	static const char all[] =
		"SELECT " KEEL_WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
	static const char active[] =
		"SELECT " KEEL_WORKER_COLUMNS " FROM workers WHERE runtime = ?1 AND " KEEL_WORKER_ACTIVE
		" AND seq > ?2 ORDER BY seq LIMIT ?3";
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
		code = keel_query(store, query->active ? active : all, &select, err, keel_value_int(row.seq),
						  keel_value_int(after.seq), keel_value_int(query->limit));
	return code == KEEL_OK ? keel_worker_read_rows(store, select, list, err) : code;
}

void keel_workers_clear(struct keel_workers *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
