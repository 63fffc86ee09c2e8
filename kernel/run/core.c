/* core.c - what every change of a run has to know of its row. Uses: fields, wants. */
#include "run/core.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/fields.h"
#include "run/predicates.h"
#include "run/wants.h"
#include "store/transaction.h"

/* What is read of a row for a change of it: one list makes the text and the numbers. */
#define CORE_COLUMNS(X)                           \
	X(SEQ, "r.seq")                               \
	X(STATUS, "status")                           \
	X(SESSION_ID, "session_id")                   \
	X(FENCE, "fence")                             \
	X(CLAIMABLE, "claimable")                     \
	X(STARTED, "started_at IS NOT NULL")          \
	X(CANCEL_ACTION, "cancel_action")             \
	X(REVISION, "revision")                       \
	X(LOSSES, "losses")                           \
	X(THREAD_ID, "r.thread_id")                   \
	X(FINALIZING, "finalizing")                   \
	X(ATTEMPT, "attempt")                         \
	X(MAX_ATTEMPTS, "max_attempts")               \
	X(PRIORITY, "priority")                       \
	X(CONCURRENCY, "concurrency")                 \
	X(SCHEDULED_AT, "scheduled_at")               \
	X(DEADLINE, "deadline")                       \
	X(LEASE_EXPIRES_AT, "lease_expires_at")       \
	X(CANCEL_REQUESTED_AT, "cancel_requested_at") \
	X(ENDED_AT, "ended_at")                       \
	X(WAITS_FOR, "waits_for")                     \
	X(WORKER_REF, "worker_ref")                   \
	X(HANDLER, "handler")                         \
	X(LEASE_US, "lease_us")                       \
	X(STRICT, "strict")                           \
	X(SNOOZES, "snoozes")                         \
	X(CREATED_AT, "r.created_at")                 \
	X(SLOTS, "slots")                             \
	X(RATES, "rates")                             \
	X(USER_ID, "user_id")                         \
	X(BATCH_ID, "batch_id")                       \
	X(PARENT_RUN_ID, "r.parent_run_id")

/* What others have to do with it, while it is in flight: whether they wait for it; for a pending run, whether anything
 * is paused; whether there are lines (1), and one is parked at it or at its thread (2). */
#define CORE_LIVE_COLUMNS(X)                                                                                          \
	X(DEPENDED, "depended")                                                                                           \
	X(PAUSES, "CASE WHEN status < 1 THEN EXISTS (SELECT 1 FROM limits WHERE " KEEL_LIMIT_PAUSED ") END")              \
	X(LINES, "CASE WHEN EXISTS (SELECT 1 FROM lines WHERE line > 0) THEN CASE WHEN EXISTS (SELECT 1 FROM lines"       \
			 " WHERE parked_name = 'thread:' || r.thread_id AND " KEEL_LINE_PARKED ") OR EXISTS (SELECT 1 FROM lines" \
			 " WHERE parked_name = 'run:' || ?1 AND " KEEL_LINE_PARKED ") THEN 2 ELSE 1 END END")
enum core_column {
#define CORE_NUMBER(NAME, sql) CORE_##NAME,
	CORE_COLUMNS(CORE_NUMBER) CORE_LIVE_COLUMNS(CORE_NUMBER)
#undef CORE_NUMBER
		CORE_COUNT
};
#define CORE_SQL(NAME, sql) sql ", "
#define CORE_NONE(NAME, sql) "0, "

static int64_t time_column(struct keel_statement *select, int column)
{
	return keel_column_null(select, column) ? INT64_MIN : keel_column_int(select, column);
}

/* Most that are asked for are in flight. A row without a state is damage, as what is read of it then shows. Who stops
 * a run asks for its children, too: on a server a question of their own would take a trip of its own. */
#define CORE_CHILDREN "EXISTS (SELECT 1 FROM children WHERE parent_run_id = ?1) "
#define CORE_LIVE "FROM runs AS r JOIN live AS s ON s.thread_id = r.thread_id AND s.seq = r.seq WHERE r.run_id = ?1"
#define CORE_ENDED "FROM runs AS r LEFT JOIN outcomes AS s ON s.seq = r.seq WHERE r.run_id = ?1"
static const char alone[] = "SELECT " CORE_COLUMNS(CORE_SQL) CORE_LIVE_COLUMNS(CORE_SQL) "r.run_id " CORE_LIVE;
static const char family[] = "SELECT " CORE_COLUMNS(CORE_SQL) CORE_LIVE_COLUMNS(CORE_SQL) CORE_CHILDREN CORE_LIVE;
static const char ended[] = "SELECT " CORE_COLUMNS(CORE_SQL) CORE_LIVE_COLUMNS(CORE_NONE) CORE_CHILDREN CORE_ENDED;

/* What a run wants is taken apart wherever it may start or end. */
static bool has_sound_wants(const struct keel_run_core *core)
{
	return (!core->slots.data || keel_wants_check(core->slots, false, "slots", NULL) == KEEL_OK) &&
		   (!core->rates.data || keel_wants_check(core->rates, true, "rates", NULL) == KEEL_OK);
}

/* Fills the core from the row that `select` is at. */
static enum keel_code fill(struct keel_statement *select, struct keel_text run_id, struct keel_arena **arena,
						   struct keel_run_core *core, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	core->seq = keel_column_int(select, CORE_SEQ);
	int64_t status = keel_column_int(select, CORE_STATUS);
	core->status = keel_live_is_pending(status) ? KEEL_RUN_PENDING : (enum keel_run_status)status;
	core->session_id = keel_column_int(select, CORE_SESSION_ID);
	core->fence = keel_column_int(select, CORE_FENCE);
	core->claimable = keel_column_int(select, CORE_CLAIMABLE) != 0;
	core->started = keel_column_int(select, CORE_STARTED) != 0;
	/* There is no step behind this one to say that memory ran out for a text, so a missing one has to. */
	struct keel_text action, thread_id, waits_for, worker_ref, handler, slots, rates, user_id, batch_id, parent_run_id;
	bool is_read =
		keel_column_read(select, CORE_CANCEL_ACTION, &action) && keel_column_read(select, CORE_THREAD_ID, &thread_id) &&
		keel_column_read(select, CORE_WAITS_FOR, &waits_for) &&
		keel_column_read(select, CORE_WORKER_REF, &worker_ref) && keel_column_read(select, CORE_HANDLER, &handler) &&
		keel_column_read(select, CORE_SLOTS, &slots) && keel_column_read(select, CORE_RATES, &rates) &&
		keel_column_read(select, CORE_USER_ID, &user_id) && keel_column_read(select, CORE_BATCH_ID, &batch_id) &&
		keel_column_read(select, CORE_PARENT_RUN_ID, &parent_run_id);
	core->cancel_requested = action.data != NULL;
	core->rollback = keel_text_is(action, "rollback");
	core->revision = keel_column_int(select, CORE_REVISION);
	core->losses = keel_column_int(select, CORE_LOSSES);
	core->gated = !keel_column_null(select, CORE_FINALIZING);
	core->finalizing = keel_column_int(select, CORE_FINALIZING) == 1;
	core->attempt = keel_column_int(select, CORE_ATTEMPT);
	core->max_attempts = keel_column_int(select, CORE_MAX_ATTEMPTS);
	core->priority = keel_column_int(select, CORE_PRIORITY);
	core->concurrency = keel_column_int(select, CORE_CONCURRENCY);
	core->scheduled_at = time_column(select, CORE_SCHEDULED_AT);
	core->deadline = time_column(select, CORE_DEADLINE);
	core->lease_expires_at = time_column(select, CORE_LEASE_EXPIRES_AT);
	core->cancel_requested_at = time_column(select, CORE_CANCEL_REQUESTED_AT);
	core->ended_at = time_column(select, CORE_ENDED_AT);
	core->lease_us = keel_column_int(select, CORE_LEASE_US);
	core->strict = keel_column_int(select, CORE_STRICT) != 0;
	core->snoozes = keel_column_int(select, CORE_SNOOZES);
	core->created_at = keel_column_int(select, CORE_CREATED_AT);
	core->blocked = status == KEEL_LIVE_BLOCKED;
	core->depended = keel_column_int(select, CORE_DEPENDED) != 0;
	core->pauses = keel_column_int(select, CORE_PAUSES) != 0;
	core->has_lines = keel_column_int(select, CORE_LINES) > 0;
	core->waited_for = keel_column_int(select, CORE_LINES) == 2;
	if (!is_read || !keel_arena_text(arena, thread_id, &core->thread_id) ||
		!keel_arena_text(arena, waits_for, &core->waits_for) ||
		!keel_arena_text(arena, worker_ref, &core->worker_ref) || !keel_arena_text(arena, handler, &core->handler) ||
		!keel_arena_text(arena, slots, &core->slots) || !keel_arena_text(arena, rates, &core->rates) ||
		!keel_arena_text(arena, user_id, &core->user_id) || !keel_arena_text(arena, batch_id, &core->batch_id) ||
		!keel_arena_text(arena, parent_run_id, &core->parent_run_id))
		code = keel_fail_memory(err);
	else if (!keel_run_invariant(core) || !has_sound_wants(core))
		code = keel_fail(err, KEEL_STORE_CORRUPT, "the row of run %.*s is damaged", (int)run_id.size, run_id.data);
	return code;
}

static enum keel_code read_begun(struct keel_store *store, struct keel_text run_id, bool is_family,
								 struct keel_statement *select, struct keel_arena **arena, struct keel_run_core *core,
								 struct keel_error *err)
{
	memset(core, 0, sizeof *core);
	core->is_family = is_family;
	enum keel_code code = keel_step(select, &core->found, err);
	if (code == KEEL_OK && !core->found) {
		keel_reset(select);
		code = keel_query(store, ended, &select, err, keel_value_text(run_id));
		if (code != KEEL_OK)
			return code;
		code = keel_step(select, &core->found, err);
	}
	if (code == KEEL_OK && core->found)
		code = fill(select, run_id, arena, core, err);
	core->has_children = code == KEEL_OK && core->found && is_family && keel_column_int(select, CORE_COUNT) != 0;
	keel_reset(select);
	return code;
}

static enum keel_code read(struct keel_store *store, struct keel_text run_id, bool is_family, struct keel_arena **arena,
						   struct keel_run_core *core, struct keel_error *err)
{
	struct keel_statement *select;
	memset(core, 0, sizeof *core);
	enum keel_code code = keel_query(store, is_family ? family : alone, &select, err, keel_value_text(run_id));
	return code == KEEL_OK ? read_begun(store, run_id, is_family, select, arena, core, err) : code;
}

enum keel_code keel_run_read_core(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
								  struct keel_run_core *core, struct keel_error *err)
{
	return read(store, run_id, false, arena, core, err);
}

enum keel_code keel_run_read_family(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
									struct keel_run_core *core, struct keel_error *err)
{
	return read(store, run_id, true, arena, core, err);
}

bool keel_run_reaches_far(const struct keel_run_core *core)
{
	return keel_run_is_limited(core) || core->waits_for.data || core->depended || core->blocked || core->has_children ||
		   (core->claimable && core->handler.data && core->concurrency == 0);
}

/* Begins again with the whole store, unless the transaction is the caller's. It asks what keel_run_write_begin asks
 * when it is tried again: another question would lose its place in the queue. */
static enum keel_code begin_whole(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
								  struct keel_run_core *core, struct keel_error *err)
{
	struct keel_error why;
	struct keel_statement *select;
	bool is_family = core->is_family;
	enum keel_code code = keel_write_cover_all(store, &why);
	if (code != KEEL_BUSY || keel_store_in_transaction(store))
		return keel_fail_as(err, code, &why);
	keel_write_end(store, code, false, NULL);
	code = keel_query(store, is_family ? family : alone, &select, err, keel_value_text(run_id));
	if (code == KEEL_OK)
		code = keel_write_begin_on(store, NULL, select, err);
	return code == KEEL_OK ? read_begun(store, run_id, is_family, select, arena, core, err) : code;
}

enum keel_code keel_run_cover(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
							  struct keel_run_core *core, struct keel_error *err)
{
	bool late = false;
	KEEL_ASSERT(core->found);
	enum keel_code code = keel_write_cover(store, core->thread_id, &late, err);
	if (code == KEEL_OK && late)
		code = read(store, run_id, core->is_family, arena, core, err);
	return code == KEEL_OK && keel_run_reaches_far(core) ? begin_whole(store, run_id, arena, core, err) : code;
}

enum keel_code keel_run_write_begin(struct keel_store *store, struct keel_text run_id, bool is_family,
									struct keel_arena **arena, struct keel_run_core *core, struct keel_error *err)
{
	/* Whose last run concerned others mostly has such a run again, and would have to wait for the locks twice. */
	bool far = store->reached_far && !keel_store_in_transaction(store);
	const struct keel_sql_scope scope = {.kind = far ? KEEL_SCOPE_STORE : KEEL_SCOPE_RUN, .id = run_id};
	struct keel_statement *select;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, is_family ? family : alone, &select, err, keel_value_text(run_id));
	if (code == KEEL_OK)
		code = keel_write_begin_on(store, &scope, select, err);
	if (code != KEEL_OK)
		return code;
	code = read_begun(store, run_id, is_family, select, arena, core, err);
	store->reached_far = code == KEEL_OK && core->found && keel_run_reaches_far(core);
	if (code == KEEL_OK && core->found)
		code = keel_run_cover(store, run_id, arena, core, err);
	return code == KEEL_OK ? code : keel_write_end(store, code, false, err);
}

enum keel_code keel_run_read_id(struct keel_statement *select, int column, struct keel_text *run_id,
								struct keel_error *err)
{
	if (!keel_column_read(select, column, run_id))
		return keel_fail_memory(err);
	return keel_check_stored_id(*run_id, "run_id", err);
}

enum keel_code keel_run_first(struct keel_statement *select, int64_t *seq, char run_id[KEEL_ID_MAX + 1], bool *found,
							  struct keel_error *err)
{
	enum keel_code code = keel_step(select, found, err);
	if (code == KEEL_OK && *found) {
		*seq = keel_column_int(select, 0);
		code = keel_column_copy(select, 1, run_id, KEEL_ID_MAX + 1, err);
	}
	keel_reset(select);
	return code;
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
	KEEL_ASSERT(keel_run_is_whole(delta));
	KEEL_ASSERT(core.found || KEEL_RUN_HAS(delta, THREAD_ID));
	if (!core.found) {
		core.found = true;
		core.thread_id = delta->thread_id;
		core.scheduled_at = core.deadline = core.lease_expires_at = INT64_MIN;
		core.cancel_requested_at = core.ended_at = INT64_MIN;
	}
	int64_t finalizing = number_or(delta, KEEL_RUN_FIELD_FINALIZING, delta->finalizing, 0, core.finalizing);
	core.status = (enum keel_run_status)number_or(delta, KEEL_RUN_FIELD_STATUS, delta->status, KEEL_RUN_PENDING,
												  (int64_t)core.status);
	core.blocked = core.blocked && core.status == KEEL_RUN_PENDING;
	core.finalizing = finalizing == 1;
	if (KEEL_RUN_GIVES(delta, FINALIZING))
		core.gated = KEEL_RUN_HAS(delta, FINALIZING);
	if (KEEL_RUN_GIVES(delta, STARTED_AT))
		core.started = KEEL_RUN_HAS(delta, STARTED_AT);
	TAKE(FENCE, fence, 0);
	TAKE(REVISION, revision, 0);
	TAKE(ENDED_AT, ended_at, INT64_MIN);
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
	TAKE_TEXT(SLOTS, slots);
	TAKE_TEXT(RATES, rates);
	TAKE_TEXT(USER_ID, user_id);
	TAKE_TEXT(BATCH_ID, batch_id);
	TAKE_TEXT(PARENT_RUN_ID, parent_run_id);
	if (KEEL_RUN_GIVES(delta, CANCEL_ACTION)) {
		core.cancel_requested = KEEL_RUN_HAS(delta, CANCEL_ACTION);
		core.rollback = core.cancel_requested && keel_text_is(delta->cancel_action, "rollback");
	}
	return core;
}

/* --- What a row has ----------------------------------------------------------------------------------------------- */

/* Callers of put may fill in most columns as they like; what they may not is checked there. */
static bool is_sound(enum keel_run_status status, bool has_end, bool finalizing)
{
	return keel_run_status_is_final(status) || (!has_end && !finalizing);
}

bool keel_run_invariant(const struct keel_run_core *core)
{
	return core->found && core->seq > 0 && core->fence > 0 && core->revision > 0 && core->thread_id.data &&
		   keel_run_status_name(core->status) && (core->gated || !core->finalizing) &&
		   (core->cancel_requested || !core->rollback) &&
		   is_sound(core->status, core->ended_at != INT64_MIN, core->finalizing);
}

bool keel_run_record_invariant(const struct keel_run *run)
{
	if ((KEEL_RUN_GIVES(run, FENCE) && run->fence < 1) || (KEEL_RUN_GIVES(run, REVISION) && run->revision < 1))
		return false;
	return !KEEL_RUN_GIVES(run, STATUS) || is_sound((enum keel_run_status)run->status, KEEL_RUN_HAS(run, ENDED_AT),
													KEEL_RUN_HAS(run, FINALIZING) && run->finalizing == 1);
}
