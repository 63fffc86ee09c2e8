/* status.c - a run's status, outcome and counters. Uses: change. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/change.h"

/* Whoever writes a final status again has done with the run. */
static void settle(const struct keel_run_core *core, struct keel_run *delta)
{
	if (core->finalizing)
		KEEL_RUN_SET(delta, FINALIZING, finalizing, 0);
}

static enum keel_code decide_status(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct keel_run *delta = change->delta;
	const struct keel_status_change *asked = change->context;
	enum keel_run_status to = (enum keel_run_status)delta->status;
	KEEL_ASSERT(KEEL_RUN_HAS(delta, STATUS) && keel_run_status_name(to));
	switch (keel_run_transition(core, to, change->fence, &change->action)) {
	case KEEL_TRANSITION_ALLOWED:
		break;
	case KEEL_TRANSITION_NONE:
		change->action = KEEL_ACTION_SETTLE;
		keel_run_leave_out(delta, delta->given);
		if (!asked->finalizing)
			settle(core, delta);
		return KEEL_OK;
	case KEEL_TRANSITION_REFUSED:
		return keel_run_refuse(core, change->run_id, to, err);
	}
	if (core->cancel_requested && KEEL_RUN_GIVES(delta, CANCEL_ACTION)) /* the first one holds; say which */
		KEEL_RUN_SET(delta, CANCEL_ACTION, cancel_action, keel_text_of(core->rollback ? "rollback" : "interrupt"));
	if (asked->finalizing && core->gated)
		KEEL_RUN_SET(delta, FINALIZING, finalizing, 1);
	else
		settle(core, delta);
	return KEEL_OK;
}

enum keel_code keel_run_update_status(struct keel_store *store, struct keel_text run_id,
									  const struct keel_status_change *change, bool *found, struct keel_run *written,
									  struct keel_error *err)
{
	struct keel_run delta = {0};
	*found = false;
	if (change->cancel_action.data && !keel_run_status_is_final(change->status)) /* it would be a request unasked */
		return keel_fail_field(err, "cancel_action", "cancel_action is for a run that ends");
	KEEL_RUN_SET(&delta, STATUS, status, change->status);
	if (change->error.data)
		KEEL_RUN_SET(&delta, ERROR, error, change->error);
	if (change->stop_reason.data)
		KEEL_RUN_SET(&delta, STOP_REASON, stop_reason, change->stop_reason);
	if (change->cancel_action.data)
		KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, change->cancel_action);
	struct keel_status_change asked = *change;
	return keel_run_change_row(store, run_id, &delta, change->fence, decide_status, &asked, found, written, err);
}

static enum keel_code decide_completion(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct keel_run *delta = change->delta;
	KEEL_ASSERT(change->action == KEEL_ACTION_COUNT && !KEEL_RUN_GIVES(delta, FENCE));
	if (!KEEL_RUN_HAS(delta, STATUS)) {
		keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_STATUS));
		if (keel_run_status_is_final(core->status))
			keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_OUTCOME));
		return KEEL_OK;
	}
	enum keel_run_action action;
	switch (keel_run_transition(core, (enum keel_run_status)delta->status, change->fence, &action)) {
	case KEEL_TRANSITION_ALLOWED:
		change->action = action;
		break;
	case KEEL_TRANSITION_NONE:
		keel_run_leave_out(delta, keel_run_status_is_final(core->status) ? KEEL_RUN_FIELDS(KEEL_RUN_OUTCOME)
																		 : KEEL_RUN_FIELDS(KEEL_RUN_FIELD_STATUS));
		break;
	case KEEL_TRANSITION_REFUSED:
		/* What is final stays; the counters of a late finisher still count. */
		if (!keel_run_status_is_final(core->status))
			return keel_run_refuse(core, change->run_id, (enum keel_run_status)delta->status, err);
		keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_OUTCOME));
		break;
	}
	settle(core, delta);
	return KEEL_OK;
}

static enum keel_code decide_progress(struct keel_run_change *change, struct keel_error *err)
{
	(void)err;
	KEEL_ASSERT(!keel_run_set_meet(change->delta->given, KEEL_RUN_FIELDS(KEEL_RUN_OUTCOME)));
	change->action = KEEL_ACTION_PROGRESS;
	if (keel_run_effect(change->core, change->action) == KEEL_EFFECT_NOTHING)
		keel_run_leave_out(change->delta, change->delta->given);
	return KEEL_OK;
}

/* Takes the fields in `may`, and the fence apart; anything else is a mistake of the caller's. */
static enum keel_code take(const struct keel_run *fields, keel_run_set may, struct keel_run *delta, int64_t *fence,
						   struct keel_error *err)
{
	*delta = *fields;
	*fence = KEEL_RUN_HAS(fields, FENCE) ? fields->fence : 0;
	keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_FENCE));
	keel_run_set other = keel_run_set_without(delta->given, may);
	enum keel_run_field first;
	if (keel_run_set_take(&other, &first)) {
		const char *name = keel_run_field_name(first);
		return keel_fail_field(err, name, "%s cannot be written this way", name);
	}
	KEEL_ASSERT(keel_run_is_whole(delta) && !KEEL_RUN_GIVES(delta, FENCE));
	return KEEL_OK;
}

enum keel_code keel_run_complete(struct keel_store *store, struct keel_text run_id, const struct keel_run *fields,
								 bool *found, struct keel_run *written, struct keel_error *err)
{
	struct keel_run delta;
	int64_t fence;
	*found = false;
	enum keel_code code = take(fields, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS, KEEL_RUN_OUTCOME), &delta, &fence, err);
	return code == KEEL_OK
			   ? keel_run_change_row(store, run_id, &delta, fence, decide_completion, NULL, found, written, err)
			   : code;
}

enum keel_code keel_run_progress(struct keel_store *store, struct keel_text run_id, const struct keel_run *fields,
								 bool *found, struct keel_run *written, struct keel_error *err)
{
	struct keel_run delta;
	int64_t fence;
	*found = false;
	enum keel_code code = take(fields, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS), &delta, &fence, err);
	return code == KEEL_OK
			   ? keel_run_change_row(store, run_id, &delta, fence, decide_progress, NULL, found, written, err)
			   : code;
}
