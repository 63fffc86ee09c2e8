/* core.c - what every change of a run has to know of its row. Uses: store, fields. */
#include "run/core.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

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
		/* There is no step behind this one to say that memory ran out for a text, so a missing one has to. */
		struct keel_text action, thread_id, waits_for, worker_ref, handler;
		bool is_read = keel_column_read(select, 6, &action) && keel_column_read(select, 9, &thread_id) &&
					   keel_column_read(select, 20, &waits_for) && keel_column_read(select, 21, &worker_ref) &&
					   keel_column_read(select, 22, &handler);
		core->cancel_requested = action.data != NULL;
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
		if (!is_read || !keel_arena_text(arena, thread_id, &core->thread_id) ||
			!keel_arena_text(arena, waits_for, &core->waits_for) ||
			!keel_arena_text(arena, worker_ref, &core->worker_ref) || !keel_arena_text(arena, handler, &core->handler))
			code = keel_fail_memory(err);
		else if (!keel_run_status_name(core->status) || !thread_id.data)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "the row of run %.*s is damaged", (int)run_id.size, run_id.data);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_run_read_id(struct keel_statement *select, int column, struct keel_text *run_id,
								struct keel_error *err)
{
	if (!keel_column_read(select, column, run_id))
		return keel_fail_memory(err);
	return run_id->data ? KEEL_OK : keel_fail(err, KEEL_STORE_CORRUPT, "the row of a run is damaged: it has no run_id");
}

/* --- What a row comes to ------------------------------------------------------------------------------------------ */

static int64_t number_or(const struct keel_run *delta, enum keel_run_field field, int64_t value, int64_t when_null,
						 int64_t otherwise)
{
	if (!keel_run_set_has(delta->given, field))
		return otherwise;
	return keel_run_set_has(delta->valued, field) ? value : when_null;
}

/* What a record makes of a number of the core, or of a flag; `none` is what null means. */
#define TAKE(NAME, member, none) \
	core.member = number_or(delta, KEEL_RUN_FIELD_##NAME, delta->member, (none), core.member)
#define TAKE_FLAG(NAME, member, flag) \
	core.flag = number_or(delta, KEEL_RUN_FIELD_##NAME, delta->member, 0, core.flag) != 0
#define TAKE_TEXT(NAME, member)                                                      \
	if (KEEL_RUN_GIVES(delta, NAME))                                                 \
		core.member = KEEL_RUN_HAS(delta, NAME) ? delta->member : (struct keel_text) \
		{                                                                            \
			NULL, 0                                                                  \
		}

struct keel_run_core keel_run_core_with(const struct keel_run_core *before, const struct keel_run *delta)
{
	struct keel_run_core core = *before;
	if (!core.found) {
		core.found = true;
		core.thread_id = delta->thread_id;
		core.scheduled_at = core.deadline = core.lease_expires_at = core.cancel_requested_at = INT64_MIN;
	}
	int64_t finalizing = number_or(delta, KEEL_RUN_FIELD_FINALIZING, delta->finalizing, 0, core.finalizing);
	core.status = (enum keel_run_status)number_or(delta, KEEL_RUN_FIELD_STATUS, delta->status, KEEL_RUN_PENDING,
												  (int64_t)core.status);
	core.finalizing = finalizing == 1;
	TAKE(SESSION_ID, session_id, 0);
	TAKE(CREATED_AT, created_at, 0);
	TAKE(PRIORITY, priority, 0);
	TAKE(CONCURRENCY, concurrency, 0);
	TAKE(ATTEMPT, attempt, 0);
	TAKE(LOSSES, losses, 0);
	TAKE(SNOOZES, snoozes, 0);
	TAKE(SCHEDULED_AT, scheduled_at, INT64_MIN);
	TAKE(DEADLINE, deadline, INT64_MIN);
	TAKE(LEASE_EXPIRES_AT, lease_expires_at, INT64_MIN);
	TAKE(CANCEL_REQUESTED_AT, cancel_requested_at, INT64_MIN);
	TAKE_FLAG(CLAIMABLE, claimable, claimable);
	TAKE_FLAG(STRICT, strict, strict);
	TAKE_TEXT(WAITS_FOR, waits_for);
	TAKE_TEXT(HANDLER, handler);
	if (KEEL_RUN_GIVES(delta, CANCEL_ACTION))
		core.cancel_requested = KEEL_RUN_HAS(delta, CANCEL_ACTION);
	return core;
}
