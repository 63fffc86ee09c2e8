/* run_status.c - a run's status, outcome and counters. Uses: run_change. */
#include <keel/run.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run_change.h"

/* The beginning and end that these operations share: `change` decides, in the transaction, what becomes of a row that
 * was found and whose fence is right, by writing into `delta`; an empty delta changes nothing. */
typedef enum keel_code (*decision)(const struct keel_run_core *core, struct keel_text run_id, struct keel_run *delta,
								   int64_t fence, struct keel_error *err);

static enum keel_code change_row(struct keel_store *store, struct keel_text run_id, struct keel_run *delta,
								 int64_t fence, decision decide, bool *found, struct keel_run *written,
								 struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	bool wrote = false;
	*found = false;
	if (written)
		written->given = written->valued = 0;
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_run_check(delta, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found) {
		code = keel_run_check_fence(&core, run_id, fence, err);
		if (code == KEEL_OK)
			code = decide(&core, run_id, delta, fence, err);
		if (code == KEEL_OK && delta->given) {
			wrote = true;
			code = keel_run_apply(store, run_id, &core, delta, NULL, (struct keel_text){NULL, 0}, written, err);
		}
	}
	keel_arena_free(&arena);
	code = keel_write_end(store, code, wrote, err);
	*found = code == KEEL_OK && core.found;
	return code;
}

static void leave_out(struct keel_run *delta, keel_run_set set)
{
	delta->given &= ~set;
	delta->valued &= ~set;
}

static enum keel_code decide_status(const struct keel_run_core *core, struct keel_text run_id, struct keel_run *delta,
									int64_t fence, struct keel_error *err)
{
	enum keel_run_status to = (enum keel_run_status)delta->status;
	switch (keel_run_transition(core, to, fence)) {
	case KEEL_TRANSITION_ALLOWED:
		break;
	case KEEL_TRANSITION_NONE:
		leave_out(delta, delta->given);
		break;
	case KEEL_TRANSITION_REFUSED:
		return keel_run_refuse(core, run_id, to, err);
	}
	if (core->cancel_requested)
		leave_out(delta, KEEL_RUN_BIT(CANCEL_ACTION)); /* the first one holds */
	return KEEL_OK;
}

enum keel_code keel_run_update_status(struct keel_store *store, struct keel_text run_id,
									  const struct keel_status_change *change, bool *found, struct keel_run *written,
									  struct keel_error *err)
{
	struct keel_run delta = {0};
	KEEL_RUN_SET(&delta, STATUS, status, change->status);
	if (change->error.data)
		KEEL_RUN_SET(&delta, ERROR, error, change->error);
	if (change->stop_reason.data)
		KEEL_RUN_SET(&delta, STOP_REASON, stop_reason, change->stop_reason);
	if (change->cancel_action.data)
		KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, change->cancel_action);
	return change_row(store, run_id, &delta, change->fence, decide_status, found, written, err);
}

static enum keel_code decide_completion(const struct keel_run_core *core, struct keel_text run_id,
										struct keel_run *delta, int64_t fence, struct keel_error *err)
{
	if (!(delta->valued & KEEL_RUN_BIT(STATUS))) {
		leave_out(delta, KEEL_RUN_BIT(STATUS));
		if (keel_run_status_is_final(core->status))
			leave_out(delta, KEEL_RUN_OUTCOME);
		return KEEL_OK;
	}
	switch (keel_run_transition(core, (enum keel_run_status)delta->status, fence)) {
	case KEEL_TRANSITION_ALLOWED:
		break;
	case KEEL_TRANSITION_NONE:
		leave_out(delta, keel_run_status_is_final(core->status) ? KEEL_RUN_OUTCOME : KEEL_RUN_BIT(STATUS));
		break;
	case KEEL_TRANSITION_REFUSED:
		/* What is final stays; the counters of a late finisher still count. */
		if (!keel_run_status_is_final(core->status))
			return keel_run_refuse(core, run_id, (enum keel_run_status)delta->status, err);
		leave_out(delta, KEEL_RUN_OUTCOME);
		break;
	}
	return KEEL_OK;
}

static enum keel_code decide_progress(const struct keel_run_core *core, struct keel_text run_id, struct keel_run *delta,
									  int64_t fence, struct keel_error *err)
{
	(void)run_id;
	(void)fence;
	(void)err;
	if (core->status != KEEL_RUN_RUNNING)
		leave_out(delta, delta->given);
	return KEEL_OK;
}

/* Takes the fields in `may`, and the fence apart; anything else is a mistake of the caller's. */
static enum keel_code take(const struct keel_run *fields, keel_run_set may, struct keel_run *delta, int64_t *fence,
						   struct keel_error *err)
{
	*delta = *fields;
	*fence = fields->valued & KEEL_RUN_BIT(FENCE) ? fields->fence : 0;
	leave_out(delta, KEEL_RUN_BIT(FENCE));
	keel_run_set other = delta->given & ~may;
	if (other) {
		const char *name = keel_run_field_name((enum keel_run_field)__builtin_ctzll(other));
		return keel_fail_field(err, name, "%s cannot be written this way", name);
	}
	return KEEL_OK;
}

enum keel_code keel_run_complete(struct keel_store *store, struct keel_text run_id, const struct keel_run *fields,
								 bool *found, struct keel_run *written, struct keel_error *err)
{
	struct keel_run delta;
	int64_t fence;
	*found = false;
	enum keel_code code = take(fields, KEEL_RUN_COUNTERS | KEEL_RUN_OUTCOME, &delta, &fence, err);
	return code == KEEL_OK ? change_row(store, run_id, &delta, fence, decide_completion, found, written, err) : code;
}

enum keel_code keel_run_progress(struct keel_store *store, struct keel_text run_id, const struct keel_run *fields,
								 bool *found, struct keel_run *written, struct keel_error *err)
{
	struct keel_run delta;
	int64_t fence;
	*found = false;
	enum keel_code code = take(fields, KEEL_RUN_COUNTERS, &delta, &fence, err);
	return code == KEEL_OK ? change_row(store, run_id, &delta, fence, decide_progress, found, written, err) : code;
}
