/* rows.c - runs as rows: writing and reading them. Uses: store, fields, texts, live. */
#include "run/rows.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/live.h"
#include "run/texts.h"

bool keel_run_is_text(enum keel_field_type type)
{
	return type == KEEL_TYPE_ID || type == KEEL_TYPE_TEXT || type == KEEL_TYPE_JSON || type == KEEL_TYPE_VALUE ||
		   type == KEEL_TYPE_IDS || type == KEEL_TYPE_WORD;
}

/* Prepares the statement for the given fields and binds them; *next is the parameter after the last. */
static enum keel_code prepare_for(struct keel_store *store, bool update, const struct keel_run *run,
								  struct keel_statement **statement, int *next, struct keel_error *err)
{
	const char *text = NULL;
	enum keel_run_field field;
	int parameter = 1;
	enum keel_code code = keel_run_text_for(store, update, run->given, &text, err);
	if (code == KEEL_OK)
		code = keel_store_prepare(store, text, statement, err);
	for (keel_run_set left = run->given; code == KEEL_OK && keel_run_set_take(&left, &field); parameter++) {
		struct keel_run *readable = (struct keel_run *)(uintptr_t)run; /* only read: the accessors serve both */
		if (!keel_run_set_has(run->valued, field))
			code = keel_bind_null(*statement, parameter, err);
		else if (keel_run_is_text(keel_run_field_type(field)))
			code = keel_bind_text(*statement, parameter, *keel_run_text(readable, field), err);
		else
			code = keel_bind_int(*statement, parameter, *keel_run_number(readable, field), err);
	}
	*next = parameter;
	return code;
}

enum keel_code keel_run_insert(struct keel_store *store, const struct keel_run *run, bool *inserted,
							   struct keel_error *err)
{
	struct keel_statement *insert;
	int next;
	enum keel_code code = prepare_for(store, false, run, &insert, &next, err);
	if (code == KEEL_OK)
		code = keel_run_statement(insert, err);
	*inserted = code == KEEL_OK && store->sql->driver->changes(store->sql) == 1;
	if (!*inserted)
		return code;
	struct keel_run_core core = keel_run_core_with(&(struct keel_run_core){.found = false}, run);
	core.seq = store->sql->driver->inserted(store->sql);
	code = keel_extras_add(store, core.seq, run, err);
	return code == KEEL_OK ? keel_live_change(store, run->run_id, NULL, &core, err) : code;
}

enum keel_code keel_run_update(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   const struct keel_run *run, struct keel_error *err)
{
	struct keel_statement *update;
	int next;
	enum keel_code code = keel_extras_remove(store, core->seq, run, err);
	if (code == KEEL_OK)
		code = prepare_for(store, true, run, &update, &next, err);
	if (code == KEEL_OK)
		code = keel_bind_int(update, next, core->seq, err);
	if (code == KEEL_OK)
		code = keel_run_statement(update, err);
	if (code == KEEL_OK)
		code = keel_extras_add(store, core->seq, run, err);
	if (code != KEEL_OK || !keel_live_concerns(run))
		return code;
	struct keel_run_core after = keel_run_core_with(core, run);
	return keel_live_change(store, run_id, core, &after, err);
}

enum keel_code keel_run_remove(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   struct keel_error *err)
{
	enum keel_code code = keel_extras_remove(store, core->seq, NULL, err);
	if (code == KEEL_OK)
		code = keel_execute(store, "DELETE FROM runs WHERE seq = ?1", err, keel_int(core->seq));
	return code == KEEL_OK ? keel_live_change(store, run_id, core, NULL, err) : code;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

void keel_run_hydrate(struct keel_run *run)
{
	static const enum keel_run_field zeros[] = {KEEL_RUN_FIELD_STATUS,
												KEEL_RUN_FIELD_CLAIMABLE,
												KEEL_RUN_FIELD_SHARED,
												KEEL_RUN_FIELD_FINALIZING,
												KEEL_RUN_FIELD_PRIORITY,
												KEEL_RUN_FIELD_ATTEMPT,
												KEEL_RUN_FIELD_LOSSES,
												KEEL_RUN_FIELD_SNOOZES,
												KEEL_RUN_FIELD_TOTAL_INPUT_TOKENS,
												KEEL_RUN_FIELD_TOTAL_OUTPUT_TOKENS,
												KEEL_RUN_FIELD_TOTAL_TOKENS,
												KEEL_RUN_FIELD_LLM_CALL_COUNT,
												KEEL_RUN_FIELD_LEAD_AGENT_TOKENS,
												KEEL_RUN_FIELD_SUBAGENT_TOKENS,
												KEEL_RUN_FIELD_MIDDLEWARE_TOKENS,
												KEEL_RUN_FIELD_MESSAGE_COUNT};
	for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
		if (!keel_run_set_has(run->valued, zeros[i]))
			*keel_run_number(run, zeros[i]) = 0;
		keel_run_set_add(&run->given, zeros[i]);
		keel_run_set_add(&run->valued, zeros[i]);
	}
	if (!KEEL_RUN_HAS(run, ON_DISCONNECT))
		KEEL_RUN_SET(run, ON_DISCONNECT, on_disconnect, keel_text_of("cancel"));
	if (!KEEL_RUN_HAS(run, MULTITASK_STRATEGY))
		KEEL_RUN_SET(run, MULTITASK_STRATEGY, multitask_strategy, keel_text_of("reject"));
	if (!KEEL_RUN_HAS(run, OPERATION_KIND))
		KEEL_RUN_SET(run, OPERATION_KIND, operation_kind, keel_text_of("run"));
	if (!KEEL_RUN_HAS(run, METADATA))
		KEEL_RUN_SET(run, METADATA, metadata, keel_text_of("{}"));
	if (!KEEL_RUN_HAS(run, KWARGS))
		KEEL_RUN_SET(run, KWARGS, kwargs, keel_text_of("{}"));
}

/* Reads the wanted fields of a row; *bytes grows by its texts. A field that is not looked at is not read off the file
 * either. */
static enum keel_code read_row(struct keel_statement *select, keel_run_set wanted, struct keel_run *run,
							   struct keel_arena **arena, size_t *bytes, struct keel_error *err)
{
	memset(run, 0, sizeof *run);
	run->given = wanted;
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		enum keel_run_field field = (enum keel_run_field)i;
		if (!keel_run_set_has(wanted, field))
			continue;
		if (keel_column_null(select, i)) {
			/* The schema lets neither be null: a damaged page does. */
			if (field == KEEL_RUN_FIELD_RUN_ID || field == KEEL_RUN_FIELD_THREAD_ID)
				return keel_fail(err, KEEL_STORE_CORRUPT, "the row of a run is damaged: it has no %s",
								 keel_run_field_name(field));
			continue;
		}
		keel_run_set_add(&run->valued, field);
		if (keel_run_is_text(keel_run_field_type(field))) {
			struct keel_text text = keel_column_text(select, i);
			if (!text.data || !keel_arena_text(arena, text, keel_run_text(run, field)))
				return keel_fail_memory(err);
			*bytes += text.size;
		} else {
			*keel_run_number(run, field) = keel_column_int(select, i);
		}
	}
	if (KEEL_RUN_HAS(run, STATUS) && !keel_run_status_name((enum keel_run_status)run->status))
		return keel_fail(err, KEEL_STORE_CORRUPT, "run %s has the unknown status %lld", run->run_id.data,
						 (long long)run->status);
	keel_run_hydrate(run);
	run->given = keel_run_set_without(run->given, keel_run_set_without(keel_run_set_all(), wanted));
	run->valued = keel_run_set_without(run->valued, keel_run_set_without(keel_run_set_all(), wanted));
	return KEEL_OK;
}

enum keel_code keel_run_read_fields(struct keel_store *store, struct keel_statement *select, keel_run_set wanted,
									struct keel_runs *list, struct keel_error *err)
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
		struct keel_run *items = keel_make_room(list->items, list->count, &list->capacity, sizeof *items);
		if (!items) {
			code = keel_fail_memory(err);
			break;
		}
		list->items = items;
		code = read_row(select, wanted, &list->items[list->count], &arena, &bytes, err);
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

enum keel_code keel_run_read(struct keel_store *store, struct keel_statement *select, struct keel_runs *list,
							 struct keel_error *err)
{
	return keel_run_read_fields(store, select, keel_run_set_all(), list, err);
}

void keel_runs_clear(struct keel_runs *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}

static int64_t time_column(struct keel_statement *select, int column)
{
	return keel_column_null(select, column) ? INT64_MIN : keel_column_int(select, column);
}

enum keel_code keel_run_read_core(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
								  struct keel_run_core *core, struct keel_error *err)
{
	static const char text[] = "SELECT seq, status, session_id, fence, claimable, started_at IS NOT NULL,"
							   " cancel_action, revision, losses, thread_id, finalizing, attempt, max_attempts,"
							   " priority, concurrency, scheduled_at, deadline, lease_expires_at,"
							   " cancel_requested_at, ended_at, waits_for, worker_ref, handler, lease_us, strict,"
							   " snoozes, created_at,"
							   " EXISTS (SELECT 1 FROM lines WHERE parked_name = 'thread:' || thread_id)"
							   " OR EXISTS (SELECT 1 FROM lines WHERE parked_name = 'run:' || ?1)"
							   " FROM runs WHERE run_id = ?1";
	struct keel_statement *select;
	memset(core, 0, sizeof *core);
	enum keel_code code = keel_query(store, text, &select, err, keel_text(run_id));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &core->found, err);
	if (code == KEEL_OK && core->found) {
		core->seq = keel_column_int(select, 0);
		core->status = (enum keel_run_status)keel_column_int(select, 1);
		core->session_id = keel_column_int(select, 2);
		core->fence = keel_column_int(select, 3);
		core->claimable = keel_column_int(select, 4) != 0;
		core->started = keel_column_int(select, 5) != 0;
		core->cancel_requested = !keel_column_null(select, 6);
		struct keel_text action = keel_column_text(select, 6), thread_id = keel_column_text(select, 9);
		core->rollback = keel_text_is(action, "rollback");
		core->revision = keel_column_int(select, 7);
		core->losses = keel_column_int(select, 8);
		core->gated = !keel_column_null(select, 10);
		core->finalizing = keel_column_int(select, 10) == 1;
		core->attempt = keel_column_int(select, 11);
		core->max_attempts = keel_column_int(select, 12);
		core->priority = keel_column_int(select, 13);
		core->concurrency = keel_column_int(select, 14);
		core->scheduled_at = time_column(select, 15);
		core->deadline = time_column(select, 16);
		core->lease_expires_at = time_column(select, 17);
		core->cancel_requested_at = time_column(select, 18);
		core->ended_at = time_column(select, 19);
		core->lease_us = keel_column_int(select, 23);
		core->strict = keel_column_int(select, 24) != 0;
		core->snoozes = keel_column_int(select, 25);
		core->created_at = keel_column_int(select, 26);
		core->waited_for = keel_column_int(select, 27) != 0;
		/* There is no step behind this one to say that memory ran out for a text, so a missing one has to. */
		bool waits = !keel_column_null(select, 20), has_worker = !keel_column_null(select, 21);
		bool has_handler = !keel_column_null(select, 22), has_thread = !keel_column_null(select, 9);
		if ((core->cancel_requested && !action.data) || (has_thread && !thread_id.data) ||
			!keel_arena_text(arena, thread_id, &core->thread_id) ||
			!keel_arena_text(arena, keel_column_text(select, 20), &core->waits_for) ||
			!keel_arena_text(arena, keel_column_text(select, 21), &core->worker_ref) ||
			!keel_arena_text(arena, keel_column_text(select, 22), &core->handler) || (waits && !core->waits_for.data) ||
			(has_worker && !core->worker_ref.data) || (has_handler && !core->handler.data))
			code = keel_fail_memory(err);
		else if (!keel_run_status_name(core->status) || !has_thread)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "the row of run %.*s is damaged", (int)run_id.size, run_id.data);
	}
	keel_reset(select);
	return code;
}
