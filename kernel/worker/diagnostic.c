/* diagnostic.c - diagnostics: one row a code and subject, which counts. Uses: worker. */
#include <keel/diagnostic.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/predicates.h"
#include "worker/worker.h"

/* --- Recording --------------------------------------------------------------------------------------------------- */

static enum keel_code check(const struct keel_diagnostic *about, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	if (!keel_text_is(about->severity, "info") && !keel_text_is(about->severity, "warning") &&
		!keel_text_is(about->severity, "error"))
		return keel_fail_field(err, "severity", "severity must be one of: info, warning, error");
	code = keel_check_id(about->code, "code", err);
	if (code == KEEL_OK && !about->message.data)
		code = keel_fail_field(err, "message", "message must be given");
	if (code == KEEL_OK)
		code = keel_check_text(about->message, "message", err);
	if (code == KEEL_OK && about->worker_id.data)
		code = keel_check_id(about->worker_id, "subject", err);
	if (code == KEEL_OK && about->run_id.data)
		code = keel_check_id(about->run_id, "subject", err);
	if (code == KEEL_OK && about->worker_id.data && about->run_id.data)
		code = keel_fail_field(err, "subject", "a diagnostic is about a worker or a run");
	return code;
}

/* The id of the diagnostic with this code and subject; 0: there is none. */
static enum keel_code find(struct keel_store *store, int64_t runtime, int64_t worker,
						   const struct keel_diagnostic *about, int64_t *id, struct keel_error *err)
{
	static const char of_worker[] = "SELECT id FROM diagnostics WHERE worker = ?1 AND code = ?2";
	static const char of_run[] = "SELECT id FROM diagnostics WHERE runtime = ?1 AND code = ?2 AND run_id = ?3";
	static const char of_runtime[] =
		"SELECT id FROM diagnostics WHERE runtime = ?1 AND code = ?2 AND " KEEL_DIAGNOSTIC_OF_RUNTIME;
	struct keel_statement *select;
	bool row;
	enum keel_code code;
	if (worker)
		code = keel_query(store, of_worker, &select, err, keel_value_int(worker), keel_value_text(about->code));
	else if (about->run_id.data)
		code = keel_query(store, of_run, &select, err, keel_value_int(runtime), keel_value_text(about->code),
						  keel_value_text(about->run_id));
	else
		code = keel_query(store, of_runtime, &select, err, keel_value_int(runtime), keel_value_text(about->code));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	*id = code == KEEL_OK && row ? keel_column_int(select, 0) : 0;
	keel_reset(select);
	return code;
}

static enum keel_code write(struct keel_store *store, const struct keel_runtime_row *row, int64_t worker,
							const struct keel_diagnostic *about, int64_t *id, struct keel_error *err)
{
	static const char again[] = "UPDATE diagnostics SET count = count + 1, severity = ?3, message = ?4"
								" WHERE runtime = ?1 AND id = ?2";
	static const char insert[] = "INSERT INTO diagnostics (runtime, id, severity, code, message, worker, run_id, count)"
								 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)";
	static const char counted[] = "UPDATE runtimes SET diagnostic_count = diagnostic_count + 1, diagnostic_last = ?2"
								  " WHERE seq = ?1";
	if (*id)
		return keel_execute(store, again, err, keel_value_int(row->seq), keel_value_int(*id),
							keel_value_text(about->severity), keel_value_text(about->message));
	enum keel_code code = keel_next_number(row->diagnostic_last, id, err, "ids of diagnostics of a runtime");
	if (code != KEEL_OK)
		return code;
	code = keel_execute(store, insert, err, keel_value_int(row->seq), keel_value_int(*id),
						keel_value_text(about->severity), keel_value_text(about->code), keel_value_text(about->message),
						worker ? keel_value_int(worker) : keel_value_null(), keel_value_text(about->run_id));
	return code == KEEL_OK ? keel_execute(store, counted, err, keel_value_int(row->seq), keel_value_int(*id)) : code;
}

enum keel_code keel_diagnostic_record(struct keel_store *store, struct keel_text runtime_id,
									  const struct keel_diagnostic *about, int64_t *id, struct keel_error *err)
{
	struct keel_runtime_row row;
	struct keel_worker_core worker = {0};
	bool wrote = false;
	*id = 0;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = check(about, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_runtime_find(store, runtime_id, &row, err);
	if (code == KEEL_OK && about->worker_id.data)
		code = keel_worker_find(store, row.seq, about->worker_id, &worker, err);
	if (code == KEEL_OK)
		code = find(store, row.seq, worker.seq, about, id, err);
	if (code == KEEL_OK) {
		wrote = true;
		code = write(store, &row, worker.seq, about, id, err);
	}
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		*id = 0;
	return code;
}

/* --- Listing ----------------------------------------------------------------------------------------------------- */

static enum keel_code damaged(const struct keel_store *store, int64_t id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: diagnostic %lld is damaged", keel_store_path(store), (long long)id);
}

static enum keel_code read_row(struct keel_store *store, struct keel_statement *select, struct keel_diagnostic *about,
							   struct keel_arena **arena, size_t *bytes, struct keel_error *err)
{
	struct keel_text *texts[] = {&about->severity, &about->code, &about->message, &about->worker_id, &about->run_id};
	enum { NEEDED = 3 };
	about->id = keel_column_int(select, 5);
	about->count = keel_column_int(select, 6);
	for (int i = 0; i < 5; i++) {
		struct keel_text text;
		if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, texts[i]))
			return keel_fail_memory(err);
		if (!text.data && i < NEEDED)
			return damaged(store, about->id, err);
		*bytes += text.size;
	}
	bool lost = !keel_column_null(select, 7) && !about->worker_id.data; /* the row of its worker is gone */
	return lost || about->count < 1 ? damaged(store, about->id, err) : KEEL_OK;
}

static enum keel_code read_rows(struct keel_store *store, struct keel_statement *select, int64_t after,
								struct keel_diagnostics *list, struct keel_error *err)
{
	struct keel_arena *arena = list->memory;
	enum keel_code code;
	size_t bytes = 0;
	bool row;
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;
		 code = keel_step(select, &row, err)) {
		list->cut = bytes >= KEEL_PAGE_BYTES;
		if (list->cut)
			break;
		struct keel_diagnostic *items = keel_make_room(list->items, list->count, &list->capacity, sizeof *items);
		if (!items) {
			code = keel_fail_memory(err);
			break;
		}
		list->items = items;
		code = read_row(store, select, &list->items[list->count], &arena, &bytes, err);
		if (code == KEEL_OK && list->items[list->count].id <= after)
			code = damaged(store, after, err);
		if (code != KEEL_OK)
			break;
		after = list->items[list->count++].id;
	}
	keel_reset(select);
	list->memory = arena;
	return code;
}

enum keel_code keel_diagnostic_list(struct keel_store *store, struct keel_text runtime_id, int64_t after, int64_t limit,
									struct keel_diagnostics *list, struct keel_error *err)
{
	static const char text[] = "SELECT d.severity, d.code, d.message, w.worker_id, d.run_id, d.id, d.count, d.worker"
							   " FROM diagnostics d LEFT JOIN workers w ON w.seq = d.worker"
							   " WHERE d.runtime = ?1 AND d.id > ?2 ORDER BY d.id LIMIT ?3";
	struct keel_runtime_row row;
	struct keel_statement *select;
	struct keel_arena *arena = list->memory;
	keel_arena_reset(&arena);
	list->memory = arena;
	list->count = 0;
	list->cut = false;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = keel_check_limit(limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_runtime_find(store, runtime_id, &row, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_int(row.seq), keel_value_int(after),
						  keel_value_int(limit));
	if (code == KEEL_OK)
		code = read_rows(store, select, after, list, err);
	if (code != KEEL_OK)
		list->count = 0;
	return code;
}

void keel_diagnostics_clear(struct keel_diagnostics *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
