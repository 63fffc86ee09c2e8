/* change.c - the one way a row of a run changes. Uses: state, write, telling, event. */
#include "run/change.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/trace.h"
#include "event/event.h"
#include "run/telling.h"
#include "run/write.h"

enum keel_transition keel_run_transition(const struct keel_run_core *core, enum keel_run_status to, int64_t fence,
										 enum keel_run_action *action)
{
	bool owner = fence != 0 && fence == core->fence;
	*action = to == KEEL_RUN_PENDING          ? KEEL_ACTION_RESET
			  : to == KEEL_RUN_RUNNING        ? KEEL_ACTION_RUN
			  : to == KEEL_RUN_ERROR && owner ? KEEL_ACTION_FAIL
											  : KEEL_ACTION_END;
	if (core->status == to)
		return KEEL_TRANSITION_NONE;
	if (to == KEEL_RUN_RUNNING && keel_run_is_limited(core)) /* the gate alone starts it */
		return KEEL_TRANSITION_REFUSED;
	return keel_run_effect(core, *action) == KEEL_EFFECT_REFUSED ? KEEL_TRANSITION_REFUSED : KEEL_TRANSITION_ALLOWED;
}

enum keel_code keel_run_refuse(const struct keel_run_core *core, struct keel_text run_id, enum keel_run_status to,
							   struct keel_error *err)
{
	const char *from_name = keel_run_status_name(core->status), *to_name = keel_run_status_name(to);
	KEEL_ASSERT(from_name && to_name);
	keel_fail(err, KEEL_INVALID_TRANSITION, "run %.*s is %s and cannot become %s", (int)run_id.size, run_id.data,
			  from_name, to_name);
	if (err) {
		err->from = from_name;
		err->to = to_name;
	}
	return KEEL_INVALID_TRANSITION;
}

enum keel_code keel_run_check_fence(const struct keel_run_core *core, struct keel_text run_id, int64_t fence,
									struct keel_error *err)
{
	KEEL_ASSERT(core->found && core->fence > 0);
	if (fence == 0 || fence == core->fence)
		return KEEL_OK;
	return keel_fail(err, KEEL_STALE_OWNER, "run %.*s has fence %lld by now, not %lld", (int)run_id.size, run_id.data,
					 (long long)core->fence, (long long)fence);
}

/* The event that goes with a change of status, and its data. */
static const char *status_event(struct keel_buffer *data, const struct keel_run_core *core,
								const struct keel_run *delta, struct keel_text members)
{
	int64_t fence = KEEL_RUN_GIVES(delta, FENCE) ? delta->fence : core->fence;
	int64_t session = KEEL_RUN_GIVES(delta, SESSION_ID) ? delta->session_id : core->session_id;
	KEEL_ASSERT(KEEL_RUN_HAS(delta, STATUS) && delta->status != (int64_t)core->status);
	KEEL_ASSERT(members.size == 0 || members.data != data->data);
	keel_buffer_put(data, "{");
	if (delta->status == KEEL_RUN_RUNNING) {
		keel_buffer_format(data, "\"fence\":%lld", (long long)fence);
		if (session)
			keel_buffer_format(data, ",\"session_id\":%lld", (long long)session);
		keel_buffer_put(data, "}");
		return "run_started";
	}
	keel_buffer_json(data, "status", keel_text_of(keel_run_status_name((enum keel_run_status)delta->status)));
	if (KEEL_RUN_HAS(delta, ERROR))
		keel_buffer_json(data, "error", delta->error);
	if (KEEL_RUN_HAS(delta, STOP_REASON))
		keel_buffer_json(data, "stop_reason", delta->stop_reason);
	if (KEEL_RUN_HAS(delta, SUCCESSOR))
		keel_buffer_json(data, "successor", delta->successor);
	if (KEEL_RUN_HAS(delta, FINALIZING) && delta->finalizing)
		keel_buffer_put(data, ",\"finalizing\":true");
	if (members.size)
		keel_buffer_put(data, ",");
	keel_buffer_add(data, members.data, members.size);
	keel_buffer_put(data, "}");
	return "run_finished";
}

enum keel_code keel_run_apply(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							  struct keel_run *delta, const char *kind, struct keel_text data, struct keel_run *written,
							  struct keel_error *err)
{
	int64_t now = keel_store_now(store);
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT(!KEEL_RUN_GIVES(delta, RUN_ID) && !KEEL_RUN_GIVES(delta, THREAD_ID));
	KEEL_ASSERT(!KEEL_RUN_GIVES(delta, REVISION));
	bool changes_status = KEEL_RUN_HAS(delta, STATUS) && delta->status != (int64_t)core->status;
	if (!KEEL_RUN_GIVES(delta, UPDATED_AT))
		KEEL_RUN_SET(delta, UPDATED_AT, updated_at, now);
	int64_t revision;
	enum keel_code code =
		keel_next_number(core->revision, &revision, err, "revisions of run %.*s", (int)run_id.size, run_id.data);
	if (code != KEEL_OK)
		return code;
	KEEL_RUN_SET(delta, REVISION, revision, revision);
	if (changes_status && !kind) {
		bool final = keel_run_status_is_final((enum keel_run_status)delta->status);
		if (delta->status == KEEL_RUN_RUNNING && !core->started && !KEEL_RUN_GIVES(delta, STARTED_AT))
			KEEL_RUN_SET(delta, STARTED_AT, started_at, now);
		if (final && !KEEL_RUN_GIVES(delta, ENDED_AT))
			KEEL_RUN_SET(delta, ENDED_AT, ended_at, now);
		struct keel_buffer *draft;
		code = keel_event_draft(store, &draft, err);
		if (code != KEEL_OK)
			return code;
		kind = status_event(draft, core, delta, data);
		if (draft->failed)
			return keel_fail_memory(err);
		data = keel_buffer_text(draft);
	}
	if (!kind && core->finalizing && KEEL_RUN_GIVES(delta, FINALIZING) && !delta->finalizing) {
		kind = "run_settled";
		data = (struct keel_text){NULL, 0};
	}
	KEEL_TRACE("transition", "%.*s %s -> %s: %s", (int)run_id.size, run_id.data, keel_run_status_name(core->status),
			   changes_status ? keel_run_status_name((enum keel_run_status)delta->status) : "the same",
			   kind ? kind : "no event");
	KEEL_ASSERT(keel_run_keeps(core, delta));
	KEEL_ASSERT(kind || !changes_status);
	struct keel_buffer told = {0};
	code = keel_run_update(store, run_id, core, delta, err);
	bool starts = changes_status && delta->status == KEEL_RUN_RUNNING; /* that makes a turn free, and no place */
	if (code == KEEL_OK && kind && keel_run_may_tell(core) && (!starts || core->waited_for)) {
		struct keel_run_core after = keel_run_core_with(core, delta);
		code = keel_run_tell(store, core, &after, &data, &told, err);
	}
	if (code == KEEL_OK && kind) {
		bool assigned = KEEL_RUN_GIVES(delta, WORKER_REF);
		struct keel_event event = {.kind = keel_text_of(kind),
								   .at = now,
								   .thread_id = core->thread_id,
								   .run_id = run_id,
								   .worker_ref = assigned ? keel_run_worker_ref(delta) : core->worker_ref,
								   .data = data};
		code = keel_event_write(store, &event, NULL, err);
	}
	keel_buffer_free(&told);
	if (code == KEEL_OK && written)
		*written = *delta;
	return code;
}

enum keel_code keel_run_change_owner(const struct keel_run_core *core, struct keel_text run_id, struct keel_run *delta,
									 struct keel_error *err)
{
	int64_t fence;
	enum keel_code code =
		keel_next_number(core->fence, &fence, err, "fences of run %.*s", (int)run_id.size, run_id.data);
	KEEL_ASSERT(!KEEL_RUN_GIVES(delta, FENCE));
	if (code == KEEL_OK)
		KEEL_RUN_SET(delta, FENCE, fence, fence);
	return code;
}

void keel_run_make_claimable(struct keel_store *store, struct keel_run *delta, int64_t delay_us)
{
	KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_PENDING);
	KEEL_RUN_SET(delta, CLAIMABLE, claimable, 1);
	keel_run_clear(delta,
				   KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_STARTED_AT, KEEL_RUN_FIELD_ERROR,
								   KEEL_RUN_FIELD_ERROR_CODE, KEEL_RUN_FIELD_STOP_REASON, KEEL_RUN_FIELD_SCHEDULED_AT,
								   KEEL_RUN_FIELD_LEASE_EXPIRES_AT, KEEL_RUN_FIELD_FINALIZING));
	if (delay_us > 0)
		KEEL_RUN_SET(delta, SCHEDULED_AT, scheduled_at, keel_store_after(store, delay_us));
}
