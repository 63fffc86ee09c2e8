/* rows.c - reading the rows of runs. Uses: fields, live. */
#include "run/rows.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/core.h"
#include "run/live.h"
#include "store/page.h"

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
static enum keel_code read_row(struct keel_store *store, struct keel_statement *select, void *item,
							   struct keel_arena **arena, size_t *bytes, const void *context, struct keel_error *err)
{
	const keel_run_set wanted = *(const keel_run_set *)context;
	struct keel_run *run = item;
	(void)store;
	memset(run, 0, sizeof *run);
	run->given = wanted;
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		enum keel_run_field field = (enum keel_run_field)i;
		if (!keel_run_set_has(wanted, field))
			continue;
		if (keel_column_null(select, i))
			continue;
		keel_run_set_add(&run->valued, field);
		if (keel_run_is_text(keel_run_field_type(field))) {
			struct keel_text text;
			if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, keel_run_text(run, field)))
				return keel_fail_memory(err);
			*bytes += text.size;
		} else {
			*keel_run_number(run, field) = keel_column_int(select, i);
		}
		if (field == KEEL_RUN_FIELD_STATUS && keel_live_is_pending(run->status))
			run->status = KEEL_RUN_PENDING;
		if (field == KEEL_RUN_FIELD_SESSION_ID && run->session_id == 0) /* nobody */
			keel_run_set_remove(&run->valued, field);
	}
	enum keel_code code = keel_run_check_stored(run, err);
	if (code != KEEL_OK)
		return code;
	if (KEEL_RUN_HAS(run, STATUS) && !keel_run_status_name((enum keel_run_status)run->status))
		return keel_fail(err, KEEL_STORE_CORRUPT, "run %s has the unknown status %lld", run->run_id.data,
						 (long long)run->status);
	keel_run_hydrate(run);
	if (!keel_run_record_invariant(run))
		return keel_fail(err, KEEL_STORE_CORRUPT, "the row of run %s is damaged", run->run_id.data);
	run->given = keel_run_set_without(run->given, keel_run_set_without(keel_run_set_all(), wanted));
	run->valued = keel_run_set_without(run->valued, keel_run_set_without(keel_run_set_all(), wanted));
	KEEL_ASSERT(keel_run_is_whole(run) && keel_run_set_equal(run->given, wanted));
	return KEEL_OK;
}

enum keel_code keel_run_read_fields(struct keel_store *store, struct keel_statement *select, keel_run_set wanted,
									struct keel_runs *list, struct keel_error *err)
{
	KEEL_ASSERT(keel_run_set_has(wanted, KEEL_RUN_FIELD_RUN_ID)); /* what is damaged is told by it */
	struct keel_page page = {.items = list->items, .capacity = list->capacity, .memory = list->memory};
	enum keel_code code = keel_page_read(store, select, &page, sizeof *list->items, read_row, &wanted, err);
	*list = (struct keel_runs){page.items, page.count, page.cut, page.capacity, page.memory};
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

enum keel_code keel_run_place(struct keel_store *store, struct keel_text run_id, int64_t *seq, struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_check_id(run_id, "after", err);
	if (code == KEEL_OK)
		code = keel_query(store, "SELECT seq FROM runs WHERE run_id = ?1", &select, err, keel_value_text(run_id));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, &row, seq, err);
	if (code == KEEL_OK && !row)
		code = keel_fail(err, KEEL_NOT_FOUND, "there is no run %.*s to go on behind", (int)run_id.size, run_id.data);
	return code;
}
