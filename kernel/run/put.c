/* put.c - runs as rows: put, get, delete and the listings. Uses: change, children, resolve, session, telling. */
#include <keel/run.h>

#include <string.h>

#include "base/document.h"
#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"
#include "run/change.h"
#include "run/changed.h"
#include "run/children.h"
#include "run/resolve.h"
#include "run/rows.h"
#include "run/telling.h"
#include "run/wants.h"
#include "run/write.h"
#include "store/session.h"

/* --- Writing ----------------------------------------------------------------------------------------------------- */

#define FENCE_MAX (INT64_MAX / 2) /* a fence must be able to grow, as often as anybody likes */

/* A machine never shares its thread with runs of another kind, whatever name the caller has for either. */
static enum keel_code check_space(struct keel_text operation_kind, struct keel_text thread_id, struct keel_error *err)
{
	const size_t size = sizeof KEEL_MACHINE_PREFIX - 1;
	bool machine = thread_id.size > size && memcmp(thread_id.data, KEEL_MACHINE_PREFIX, size) == 0;
	if (machine == keel_text_is(operation_kind, "dispatch"))
		return KEEL_OK;
	if (machine)
		return keel_fail_field(err, "thread_id", "threads that begin with " KEEL_MACHINE_PREFIX " are for machines");
	return keel_fail_field(err, "operation_kind",
						   "a run of the kind dispatch is on a thread that begins with " KEEL_MACHINE_PREFIX);
}

static struct keel_text kind_of(const struct keel_run *run)
{
	return KEEL_RUN_HAS(run, OPERATION_KIND) ? run->operation_kind : keel_text_of("run");
}

static enum keel_code find_row(struct keel_store *store, struct keel_text run_id, bool *there, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	enum keel_code code = keel_run_read_core(store, run_id, &arena, &core, err);
	keel_arena_free(&arena);
	*there = code == KEEL_OK && core.found;
	return code;
}

/* The same for a row that may be there already: then it is in its space, and nothing is to be said. *there says so. */
static enum keel_code check_new_space(struct keel_store *store, const struct keel_run *run, bool *there,
									  struct keel_error *err)
{
	struct keel_error why, failure;
	*there = false;
	enum keel_code code = check_space(kind_of(run), run->thread_id, &why);
	if (code == KEEL_OK)
		return KEEL_OK;
	enum keel_code read = find_row(store, run->run_id, there, &failure);
	if (read != KEEL_OK)
		return keel_fail_as(err, read, &failure);
	return *there ? KEEL_OK : keel_fail_as(err, code, &why);
}

/* A pending run has an owner, or it is free to be claimed. Whoever makes it claimable takes it from its owner and, as
 * with every change of owner, shuts that one out by the fence; whoever gives it an owner makes it claimable no more. */
static enum keel_code keep_one_owner(const struct keel_store *store, const struct keel_run_core *core,
									 struct keel_run *delta, struct keel_error *err)
{
	/* Who gave it asked before the transaction began, which may have found the connection lost. */
	if (KEEL_RUN_HAS(delta, SESSION_ID))
		delta->session_id = keel_session_now(store, delta->session_id);
	int64_t status = KEEL_RUN_HAS(delta, STATUS) ? delta->status : (int64_t)core->status;
	bool frees = KEEL_RUN_HAS(delta, CLAIMABLE) && delta->claimable, owns = KEEL_RUN_HAS(delta, SESSION_ID);
	if (status != KEEL_RUN_PENDING || (!frees && !owns))
		return KEEL_OK;
	if (!frees && core->claimable)
		KEEL_RUN_SET(delta, CLAIMABLE, claimable, 0);
	if (!frees)
		return KEEL_OK;
	if (owns || core->session_id)
		keel_run_clear(delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_LEASE_EXPIRES_AT));
	return core->session_id && !KEEL_RUN_GIVES(delta, FENCE) ? keel_run_change_owner(core, delta->run_id, delta, err)
															 : KEEL_OK;
}

/* A new run that wants slots or rates: the gate alone starts it, and it wants numbers. */
static enum keel_code complete_wants(struct keel_store *store, struct keel_run *run, struct keel_error *err)
{
	struct keel_run_core pending = {.status = KEEL_RUN_PENDING};
	if (KEEL_RUN_HAS(run, STATUS) && run->status == KEEL_RUN_RUNNING)
		return keel_run_refuse(&pending, run->run_id, KEEL_RUN_RUNNING, err);
	if (KEEL_RUN_HAS(run, FINALIZING) && run->finalizing)
		return keel_fail_field(err, "finalizing", "a run that was not started holds no slots: it cannot be finalizing");
	return keel_wants_complete(store, run, err);
}

/* Whether a record says of a run's `after` what its row does. */
static enum keel_code is_after(struct keel_store *store, const struct keel_run_core *core, const struct keel_run *delta,
							   bool *same, struct keel_error *err)
{
	static const char text[] = "SELECT 1 FROM runs WHERE seq = ?1 AND coalesce(after, '') = ?2";
	struct keel_statement *select;
	int64_t one;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(core->seq),
									 keel_value_text(KEEL_RUN_HAS(delta, AFTER) ? delta->after : keel_text_of("")));
	return code == KEEL_OK ? keel_first_number(store, select, same, &one, err) : code;
}

#define text_or_none(run, NAME, member) (KEEL_RUN_HAS(run, NAME) ? (run)->member : (struct keel_text){NULL, 0})

/* What a run wants is what it was made with; and what has given its slots up cannot have them back. */
static enum keel_code keep_wants(struct keel_store *store, const struct keel_run_core *core, struct keel_run *delta,
								 struct keel_error *err)
{
	const keel_run_set wants = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SLOTS, KEEL_RUN_FIELD_RATES, KEEL_RUN_FIELD_AFTER);
	if (KEEL_RUN_GIVES(delta, SLOTS) && !keel_text_same(core->slots, text_or_none(delta, SLOTS, slots)))
		return keel_fail_field(err, "slots", "slots of a run cannot change");
	if (KEEL_RUN_GIVES(delta, RATES) && !keel_text_same(core->rates, text_or_none(delta, RATES, rates)))
		return keel_fail_field(err, "rates", "rates of a run cannot change");
	bool same = true;
	enum keel_code code = KEEL_RUN_GIVES(delta, AFTER) ? is_after(store, core, delta, &same, err) : KEEL_OK;
	if (code != KEEL_OK)
		return code;
	if (!same)
		return keel_fail_field(err, "after", "what a run is after cannot change");
	if (KEEL_RUN_GIVES(delta, WAITS_FOR) && !keel_text_same(core->waits_for, text_or_none(delta, WAITS_FOR, waits_for)))
		return keel_fail_field(err, "waits_for", "what a run waits for cannot change");
	keel_run_leave_out(delta, wants);
	if (KEEL_RUN_HAS(delta, FINALIZING) && delta->finalizing && !core->finalizing && core->slots.data &&
		core->status != KEEL_RUN_RUNNING)
		return keel_fail_field(err, "finalizing", "the run has given its slots up: it cannot be finalizing again");
	return KEEL_OK;
}

/* Nor does a run change its parent, and what was stopped with one does not go on. */
static enum keel_code keep_parent(const struct keel_run_core *core, struct keel_run *delta, struct keel_error *err)
{
	if (KEEL_RUN_GIVES(delta, PARENT_RUN_ID) &&
		!keel_text_same(core->parent_run_id, text_or_none(delta, PARENT_RUN_ID, parent_run_id)))
		return keel_fail_field(err, "parent_run_id", "parent_run_id of a run cannot change");
	if (core->parent_run_id.data && core->cancel_requested && KEEL_RUN_GIVES(delta, CANCEL_ACTION) &&
		!KEEL_RUN_HAS(delta, CANCEL_ACTION))
		return keel_fail_field(err, "cancel_action", "cancel_action of a run that has a parent cannot be taken back");
	keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_PARENT_RUN_ID));
	return KEEL_OK;
}

/* A row that had vanished, and is made again as that of a run that was stopped: its children are stopped with it. */
static enum keel_code stop_children(struct keel_store *store, struct keel_text run_id, bool *more,
									struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	enum keel_code code = keel_run_read_family(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.has_children)
		code = keel_write_cover_all(store, err);
	if (code == KEEL_OK && core.has_children)
		code = keel_children_note(store, run_id, &core, err);
	if (code == KEEL_OK && core.has_children)
		code = keel_run_resolve(store, more, err);
	keel_arena_free(&arena);
	return code;
}

/* Makes a new run wait for others, or ends it, if one of them has ended otherwise than it wants. */
static enum keel_code follow_sources(struct keel_store *store, struct keel_run *run, struct keel_error *err)
{
	char source[KEEL_ID_MAX + 1];
	struct keel_run delta;
	bool failed;
	if (KEEL_RUN_HAS(run, STATUS) && run->status != KEEL_RUN_PENDING)
		return KEEL_OK;
	enum keel_code code = keel_run_add_edges(store, run, &failed, source, err);
	if (code != KEEL_OK || !failed)
		return code;
	code = keel_run_fail_dependent(store, run->run_id, true, source, &delta, err);
	if (code != KEEL_OK)
		return code;
	KEEL_RUN_SET(run, STATUS, status, KEEL_RUN_ERROR);
	KEEL_RUN_SET(run, ERROR, error, delta.error);
	KEEL_RUN_SET(run, ERROR_CODE, error_code, delta.error_code);
	KEEL_RUN_SET(run, ENDED_AT, ended_at, delta.ended_at);
	KEEL_RUN_SET(run, UPDATED_AT, updated_at, delta.updated_at);
	KEEL_RUN_SET(run, REVISION, revision, delta.revision);
	return code;
}

static enum keel_code write_new(struct keel_store *store, struct keel_run *run, struct keel_text note,
								struct keel_run *written, bool *inserted, bool *more, struct keel_error *err)
{
	bool there;
	KEEL_ASSERT(KEEL_RUN_HAS(run, RUN_ID) && KEEL_RUN_HAS(run, THREAD_ID));
	enum keel_code code = check_new_space(store, run, &there, err);
	bool wants = KEEL_RUN_HAS(run, SLOTS) || KEEL_RUN_HAS(run, RATES);
	bool looks = wants || KEEL_RUN_HAS(run, PARENT_RUN_ID);
	if (code == KEEL_OK && !there && looks) /* what a new row may not have, one that is there may have had for long */
		code = find_row(store, run->run_id, &there, err);
	if (code != KEEL_OK || there)
		return code;
	int64_t now = keel_store_now(store);
	bool has_status = KEEL_RUN_HAS(run, STATUS);
	if (!KEEL_RUN_HAS(run, CREATED_AT))
		KEEL_RUN_SET(run, CREATED_AT, created_at, now);
	if (!KEEL_RUN_HAS(run, UPDATED_AT))
		KEEL_RUN_SET(run, UPDATED_AT, updated_at, now);
	if (!KEEL_RUN_HAS(run, FENCE))
		KEEL_RUN_SET(run, FENCE, fence, 1);
	KEEL_RUN_SET(run, REVISION, revision, 1);
	code =
		keep_one_owner(store, &(struct keel_run_core){.status = KEEL_RUN_PENDING}, run, err); /* of nobody's so far */
	if (code == KEEL_OK && wants)
		code = complete_wants(store, run, err);
	if (code == KEEL_OK && KEEL_RUN_HAS(run, PARENT_RUN_ID))
		code = keel_children_check(store, run, err);
	if (code == KEEL_OK)
		code = keel_run_insert(store, run, inserted, err);
	if (code != KEEL_OK || !*inserted)
		return code;
	if (!note.data && has_status && run->status != KEEL_RUN_PENDING) {
		struct keel_buffer *data;
		code = keel_event_draft(store, &data, err);
		if (code != KEEL_OK)
			return code;
		keel_buffer_format(data, "{\"status\":\"%s\"}", keel_run_status_name((enum keel_run_status)run->status));
		if (data->failed)
			return keel_fail_memory(err);
		note = keel_buffer_text(data);
	}
	struct keel_event event = {.kind = keel_text_of("run_created"),
							   .at = now,
							   .thread_id = run->thread_id,
							   .run_id = run->run_id,
							   .worker_ref = keel_run_worker_ref(run),
							   .data = note};
	code = keel_event_write(store, &event, NULL, err);
	if (code == KEEL_OK && (KEEL_RUN_HAS(run, AFTER) || KEEL_RUN_HAS(run, WAITS_FOR)))
		code = follow_sources(store, run, err);
	if (code == KEEL_OK && KEEL_RUN_HAS(run, CANCEL_ACTION))
		code = stop_children(store, run->run_id, more, err);
	if (code == KEEL_OK && written) {
		*written = *run;
		keel_run_hydrate(written);
		KEEL_ASSERT(keel_run_record_invariant(written));
	}
	return code;
}

/* Merges into the row that is there. *wrote: something may have been written. */
static enum keel_code merge(struct keel_store *store, const struct keel_run *run, struct keel_run *written, bool *wrote,
							bool *more, struct keel_error *err)
{
	/* What decides who may run it and when; a change of these is an event of its own. */
	const keel_run_set place =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_FENCE, KEEL_RUN_FIELD_CLAIMABLE,
						KEEL_RUN_FIELD_PRIORITY, KEEL_RUN_FIELD_SCHEDULED_AT);
	/* Never null in the schema: given as null they are left alone. */
	const keel_run_set required =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_CREATED_AT, KEEL_RUN_FIELD_UPDATED_AT, KEEL_RUN_FIELD_FENCE);
	const keel_run_set fixed =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID, KEEL_RUN_FIELD_THREAD_ID, KEEL_RUN_FIELD_REVISION);
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	struct keel_run delta = *run;
	enum keel_code code = KEEL_RUN_HAS(run, CANCEL_ACTION)
							  ? keel_run_read_family(store, run->run_id, &arena, &core, err)
							  : keel_run_read_core(store, run->run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found) {
		code = keel_run_cover(store, run->run_id, &arena, &core, err);
		if (code == KEEL_OK && !core.found)
			code = keel_fail(err, KEEL_BUSY, "run %.*s was deleted meanwhile", (int)run->run_id.size, run->run_id.data);
	}
	keel_run_leave_out(&delta, keel_run_set_union(fixed, keel_run_set_without(required, run->valued)));
	if (code == KEEL_OK && !core.found)
		code = keel_fail_field(err, "thread_id", "thread_id must be given for a new run");
	if (code == KEEL_OK && KEEL_RUN_HAS(run, THREAD_ID) &&
		(run->thread_id.size != core.thread_id.size ||
		 memcmp(run->thread_id.data, core.thread_id.data, core.thread_id.size) != 0))
		code = keel_fail_field(err, "thread_id", "run %.*s belongs to another thread, which cannot change",
							   (int)run->run_id.size, run->run_id.data);
	if (code == KEEL_OK && KEEL_RUN_GIVES(&delta, OPERATION_KIND))
		code = check_space(kind_of(&delta), core.thread_id, err);
	if (code == KEEL_OK && KEEL_RUN_GIVES(&delta, FENCE) && delta.fence < core.fence)
		code = keel_run_check_fence(&core, run->run_id, delta.fence, err);
	if (code == KEEL_OK && delta.fence == core.fence) /* says who writes, and changes nothing */
		keel_run_leave_out(&delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_FENCE));
	if (code == KEEL_OK && KEEL_RUN_GIVES(&delta, STATUS)) {
		enum keel_run_status to = KEEL_RUN_HAS(&delta, STATUS) ? (enum keel_run_status)delta.status : KEEL_RUN_PENDING;
		enum keel_run_action action;
		enum keel_transition transition = keel_run_transition(&core, to, 0, &action);
		if (transition == KEEL_TRANSITION_REFUSED)
			code = keel_run_refuse(&core, run->run_id, to, err);
		if (transition == KEEL_TRANSITION_NONE)
			keel_run_leave_out(&delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_STATUS));
	}
	if (code == KEEL_OK)
		code = keep_wants(store, &core, &delta, err);
	if (code == KEEL_OK)
		code = keep_parent(&core, &delta, err);
	if (code == KEEL_OK)
		code = keep_one_owner(store, &core, &delta, err);
	if (code == KEEL_OK && !keel_run_set_is_empty(delta.given)) {
		bool moved = keel_run_set_meet(delta.given, place) && !KEEL_RUN_GIVES(&delta, STATUS);
		KEEL_ASSERT(!keel_run_set_meet(delta.given, fixed));
		KEEL_ASSERT(!KEEL_RUN_GIVES(&delta, FENCE) || delta.fence > core.fence);
		*wrote = true;
		code = keel_run_apply(store, run->run_id, &core, &delta, moved ? "run_rescheduled" : NULL,
							  (struct keel_text){NULL, 0}, written, err);
		if (code == KEEL_OK && (core.depended || core.has_children))
			code = keel_run_resolve(store, more, err);
	}
	keel_arena_free(&arena);
	return code;
}

/* Only a run that has ended has an end, and can be settled. */
static enum keel_code check_end(struct keel_store *store, const struct keel_run *run, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	bool finalizing = KEEL_RUN_HAS(run, FINALIZING) && run->finalizing;
	if (!KEEL_RUN_HAS(run, ENDED_AT) && !finalizing)
		return KEEL_OK;
	enum keel_code code = keel_run_read_core(store, run->run_id, &arena, &core, err);
	keel_arena_free(&arena);
	enum keel_run_status status = core.found ? core.status : KEEL_RUN_PENDING;
	if (KEEL_RUN_HAS(run, STATUS))
		status = (enum keel_run_status)run->status;
	if (code == KEEL_OK && !keel_run_status_is_final(status))
		code = finalizing ? keel_fail_field(err, "finalizing", "finalizing is for runs that have ended")
						  : keel_fail_field(err, "ended_at", "ended_at is for runs that have ended");
	return code;
}

/* Whether a newcomer may concern runs of other threads: by what it waits for, or by the line that it shares. */
static bool may_reach_far(const struct keel_run *fresh)
{
	return KEEL_RUN_HAS(fresh, SLOTS) || KEEL_RUN_HAS(fresh, RATES) || KEEL_RUN_HAS(fresh, AFTER) ||
		   KEEL_RUN_HAS(fresh, WAITS_FOR) || KEEL_RUN_HAS(fresh, PARENT_RUN_ID) ||
		   (KEEL_RUN_HAS(fresh, CLAIMABLE) && KEEL_RUN_HAS(fresh, HANDLER) && !KEEL_RUN_HAS(fresh, CONCURRENCY));
}

/* Checks what is put, and begins the write. */
static enum keel_code begin_put(struct keel_store *store, struct keel_run *fresh, struct keel_text note,
								struct keel_statement *first, struct keel_run *written, struct keel_error *err)
{
	struct keel_sql_scope scope = {.kind = KEEL_SCOPE_RUN, .id = fresh->run_id};
	bool late;
	keel_changed_begin(store);
	if (written)
		written->given = written->valued = (keel_run_set){{0}};
	if (!KEEL_RUN_HAS(fresh, RUN_ID))
		return keel_fail_field(err, "run_id", "run_id must be given");
	if (KEEL_RUN_HAS(fresh, FENCE) && (fresh->fence < 1 || fresh->fence > FENCE_MAX))
		return keel_fail_field(err, "fence", "fence must be from 1 to %lld", (long long)FENCE_MAX);
	enum keel_code code = keel_run_check(fresh, err);
	if (code == KEEL_OK)
		code = keel_check_document(note, "note", err);
	bool far = may_reach_far(fresh);
	if (far)
		scope = (struct keel_sql_scope){.kind = KEEL_SCOPE_STORE};
	else if (KEEL_RUN_HAS(fresh, THREAD_ID))
		scope = (struct keel_sql_scope){KEEL_SCOPE_THREAD, fresh->thread_id, fresh->idempotency_key, fresh->user_id};
	if (code == KEEL_OK)
		code = keel_write_begin_on(store, &scope, first, err);
	if (code != KEEL_OK)
		return code;
	if (far)
		code = keel_write_cover_all(store, err);
	else if (KEEL_RUN_HAS(fresh, THREAD_ID))
		code = keel_write_cover(store, fresh->thread_id, &late, err);
	if (code != KEEL_OK)
		return keel_write_end(store, code, false, err);
	KEEL_ASSERT(keel_run_is_whole(fresh));
	if (KEEL_RUN_HAS(fresh, LEASE_EXPIRES_AT) && !KEEL_RUN_GIVES(fresh, LEASE_US)) {
		int64_t now = keel_store_now(store);
		KEEL_RUN_SET(fresh, LEASE_US, lease_us, fresh->lease_expires_at > now ? fresh->lease_expires_at - now : 0);
	}
	return KEEL_OK;
}

enum keel_code keel_run_put(struct keel_store *store, const struct keel_run *run, struct keel_text note,
							struct keel_run *written, struct keel_error *err)
{
	struct keel_run fresh = *run;
	struct keel_run checked;
	bool inserted = false, wrote = false, more = false;
	enum keel_code code = begin_put(store, &fresh, note, NULL, written, err);
	if (code != KEEL_OK)
		return code;
	checked = fresh;
	code = check_end(store, &fresh, err);
	if (code == KEEL_OK && KEEL_RUN_HAS(&fresh, THREAD_ID)) {
		code = write_new(store, &fresh, note, written, &inserted, &more, err);
		wrote = inserted;
	}
	if (code == KEEL_OK && !inserted)
		code = merge(store, &checked, written, &wrote, &more, err);
	KEEL_ASSERT(!inserted || wrote);
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		keel_changed_begin(store);
	if (code == KEEL_OK && more)
		(void)keel_run_resolve_rest(store, NULL);
	return code;
}

enum keel_code keel_run_admit(struct keel_store *store, const struct keel_run *run, struct keel_text note,
							  bool *admitted, struct keel_run *written, struct keel_error *err)
{
	static const char any[] = "SELECT 1 FROM live WHERE thread_id = ?1 LIMIT 1";
	struct keel_run fresh = *run;
	struct keel_statement *select;
	bool idle = false, inserted = false, row = true, more = false;
	*admitted = false;
	if (!KEEL_RUN_HAS(run, THREAD_ID))
		return keel_fail_field(err, "thread_id", "thread_id must be given for a new run");
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, any, &select, err, keel_value_text(run->thread_id));
	if (code != KEEL_OK)
		return code;
	code = begin_put(store, &fresh, note, select, written, err);
	if (code != KEEL_OK) {
		keel_reset(select);
		return code;
	}
	code = keel_step(select, &row, err);
	keel_reset(select);
	idle = code == KEEL_OK && !row;
	if (code == KEEL_OK && idle)
		code = check_end(store, &fresh, err);
	if (code == KEEL_OK && idle)
		code = write_new(store, &fresh, note, written, &inserted, &more, err);
	KEEL_ASSERT(!inserted || idle);
	code = keel_write_end(store, code, inserted, err);
	if (code != KEEL_OK)
		keel_changed_begin(store);
	*admitted = code == KEEL_OK && inserted;
	if (*admitted && more)
		(void)keel_run_resolve_rest(store, NULL);
	return code;
}

enum keel_code keel_run_delete(struct keel_store *store, struct keel_text run_id, bool *deleted, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	bool wrote = false, more = false;
	*deleted = false;
	keel_changed_begin(store);
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_run_write_begin(store, run_id, false, &arena, &core, err);
	if (code != KEEL_OK) {
		keel_arena_free(&arena);
		return code;
	}
	if (core.found) {
		wrote = true;
		KEEL_ASSERT(keel_run_invariant(&core));
		struct keel_buffer told = {0};
		struct keel_event event = {.kind = keel_text_of("run_deleted"),
								   .at = keel_store_now(store),
								   .thread_id = core.thread_id,
								   .run_id = run_id,
								   .worker_ref = core.worker_ref};
		code = keel_run_remove(store, run_id, &core, err);
		if (code == KEEL_OK)
			code = keel_run_tell(store, &core, NULL, &event.data, &told, err);
		if (code == KEEL_OK)
			code = keel_event_write(store, &event, NULL, err);
		keel_buffer_free(&told);
		if (code == KEEL_OK && core.depended)
			code = keel_run_resolve(store, &more, err);
	}
	keel_arena_free(&arena);
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		keel_changed_begin(store);
	*deleted = code == KEEL_OK && core.found;
	if (*deleted && more)
		(void)keel_run_resolve_rest(store, NULL);
	return code;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

enum keel_code keel_run_get(struct keel_store *store, struct keel_text run_id, struct keel_text user_id,
							struct keel_runs *list, struct keel_error *err)
{
	static const char text[] = KEEL_RUN_SELECT "WHERE r.run_id = ?1 AND (user_id = ?2 OR ?2 IS NULL)";
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK && user_id.data)
		code = keel_check_id(user_id, "user_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(run_id), keel_value_text(user_id));
	return code == KEEL_OK ? keel_run_read(store, select, list, err) : code;
}

enum keel_code keel_run_find_by_key(struct keel_store *store, struct keel_text key, struct keel_text user_id,
									struct keel_runs *list, struct keel_error *err)
{
	/* An id is never empty, so the empty text can stand for none. */
	static const char text[] =
		KEEL_RUN_SELECT "WHERE r.seq = (SELECT seq FROM keys WHERE idempotency_key = ?1 AND user_id = coalesce(?2, '')"
						" AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq DESC LIMIT 1)";
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = keel_check_id(key, "idempotency_key", err);
	if (code == KEEL_OK && user_id.data)
		code = keel_check_id(user_id, "user_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(key), keel_value_text(user_id),
						  keel_value_int(keel_store_now(store)));
	return code == KEEL_OK ? keel_run_read(store, select, list, err) : code;
}

enum keel_code keel_run_list_by_thread(struct keel_store *store, struct keel_text thread_id, struct keel_text user_id,
									   int64_t limit, struct keel_runs *list, struct keel_error *err)
{
	static const char text[] = KEEL_RUN_SELECT "WHERE r.thread_id = ?1 AND (user_id = ?2 OR ?2 IS NULL)"
											   " AND coalesce(operation_kind, 'run') = 'run'"
											   " ORDER BY r.created_at DESC, r.seq LIMIT ?3";
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = keel_check_id(thread_id, "thread_id", err);
	if (code == KEEL_OK && user_id.data)
		code = keel_check_id(user_id, "user_id", err);
	if (code == KEEL_OK)
		code = keel_check_limit(limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(thread_id), keel_value_text(user_id),
						  keel_value_int(limit));
	return code == KEEL_OK ? keel_run_read(store, select, list, err) : code;
}
