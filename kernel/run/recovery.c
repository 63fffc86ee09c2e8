/* recovery.c - acting on somebody else's run: taking over an orphan, asking an owner to stop. Uses: change, orphan. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/change.h"
#include "run/orphan.h"

/* Makes a lost run one that anybody may claim, as if it had not started. */
static void give_back(struct keel_run_change *change, const struct keel_takeover *takeover, struct keel_text reason,
					  struct keel_text members)
{
	const struct keel_run_core *core = change->core;
	struct keel_run *delta = change->delta;
	struct keel_buffer *data = change->draft;
	KEEL_ASSERT(delta->fence == core->fence + 1 && !core->cancel_requested);
	KEEL_RUN_SET(delta, LOSSES, losses, core->losses < INT64_MAX ? core->losses + 1 : INT64_MAX);
	keel_buffer_format(data, "{\"losses\":%lld", (long long)delta->losses);
	keel_buffer_json(data, "error", takeover->error);
	keel_buffer_json(data, "stop_reason", reason);
	if (members.size)
		keel_buffer_put(data, ",");
	keel_buffer_add(data, members.data, members.size);
	keel_buffer_put(data, "}");
	keel_run_make_claimable(change->store, delta, takeover->delay_us);
	change->kind = "run_requeued";
	change->data = keel_buffer_text(data);
}

struct takeover {
	const struct keel_takeover *asked;
	struct keel_text members; /* who decided it, for the event */
	bool orphan;
};

static enum keel_code decide_takeover(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct keel_run *delta = change->delta;
	struct takeover *takeover = change->context;
	struct keel_text reason = delta->stop_reason;
	change->action = delta->status == KEEL_RUN_PENDING ? KEEL_ACTION_RECOVER : KEEL_ACTION_TAKE_OVER;
	enum keel_run_effect effect = keel_run_effect(core, change->action);
	enum keel_code code = KEEL_OK;
	if (effect != KEEL_EFFECT_NOTHING)
		code = keel_run_is_orphan(change->store, core, takeover->asked, &takeover->orphan, err);
	if (code != KEEL_OK || !takeover->orphan) {
		keel_run_leave_out(delta, delta->given);
		return code;
	}
	if (core->cancel_requested)
		keel_run_leave_out(delta, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_CANCEL_ACTION)); /* the first one holds */
	code = keel_run_change_owner(core, change->run_id, delta, err);
	if (code != KEEL_OK)
		return code;
	if (effect == KEEL_EFFECT_STOPS)
		delta->status = KEEL_RUN_INTERRUPTED; /* nobody wants it any more */
	else if (effect == KEEL_EFFECT_FREES && keel_is_due(core->deadline, keel_store_now(change->store)))
		delta->status = KEEL_RUN_TIMEOUT; /* it could never start again */
	KEEL_ASSERT(delta->status != KEEL_RUN_RUNNING);
	if (delta->status == KEEL_RUN_PENDING)
		give_back(change, takeover->asked, reason, takeover->members);
	else
		change->data = takeover->members;
	return KEEL_OK;
}

/* Who decided it, as members of the event. */
static enum keel_code note_reconciler(const struct keel_takeover *takeover, struct keel_buffer *members,
									  struct keel_error *err)
{
	enum keel_code code = keel_check_text(takeover->reconciler, "reconciler", err);
	if (code == KEEL_OK)
		code = keel_check_text(takeover->reconciler_version, "reconciler_version", err);
	if (code != KEEL_OK)
		return code;
	keel_buffer_json(members, "reconciler", takeover->reconciler);
	keel_buffer_json(members, "reconciler_version", takeover->reconciler_version);
	return members->failed ? keel_fail_memory(err) : KEEL_OK;
}

enum keel_code keel_run_claim_for_takeover(struct keel_store *store, struct keel_text run_id,
										   const struct keel_takeover *takeover, bool *taken, struct keel_error *err)
{
	struct keel_run delta = {0};
	struct takeover context = {.asked = takeover};
	struct keel_buffer members = {0};
	bool found;
	*taken = false;
	struct keel_text reason = takeover->stop_reason.data ? takeover->stop_reason : keel_text_of("orphan_recovered");
	KEEL_RUN_SET(&delta, STATUS, status, takeover->status);
	KEEL_RUN_SET(&delta, STOP_REASON, stop_reason, reason);
	if (takeover->error.data)
		KEEL_RUN_SET(&delta, ERROR, error, takeover->error);
	if (takeover->error_code.data)
		KEEL_RUN_SET(&delta, ERROR_CODE, error_code, takeover->error_code);
	if (takeover->cancel_action.data)
		KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, takeover->cancel_action);
	if (takeover->status == KEEL_RUN_RUNNING)
		return keel_fail_field(err, "status", "an orphan can only end, or become pending again");
	if (takeover->status == KEEL_RUN_PENDING && takeover->cancel_action.data) /* nobody could claim it any more */
		return keel_fail_field(err, "cancel_action", "cancel_action is for a run that ends, not for one given back");
	enum keel_code code = note_reconciler(takeover, &members, err);
	context.members = keel_buffer_text(&members);
	if (code == KEEL_OK)
		code = keel_run_change_row(store, run_id, &delta, 0, decide_takeover, &context, &found, NULL, err);
	keel_buffer_free(&members);
	KEEL_ASSERT(code != KEEL_OK || found || !context.orphan);
	*taken = code == KEEL_OK && context.orphan;
	return code;
}

struct request {
	bool rollback; /* what was asked for; then what holds */
};

static enum keel_code decide_request(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct request *request = change->context;
	enum keel_run_effect effect = keel_run_effect(core, change->action = KEEL_ACTION_ASK);
	if (effect == KEEL_EFFECT_REFUSED)
		return keel_run_refuse(core, change->run_id, KEEL_RUN_INTERRUPTED, err);
	if (effect == KEEL_EFFECT_NOTHING) {
		request->rollback = core->rollback;
		keel_run_leave_out(change->delta, change->delta->given);
		return KEEL_OK;
	}
	if (effect == KEEL_EFFECT_STOPS) { /* nobody owns it: there is nobody to ask */
		KEEL_RUN_SET(change->delta, STATUS, status, KEEL_RUN_INTERRUPTED);
		return KEEL_OK;
	}
	KEEL_ASSERT(effect == KEEL_EFFECT_NOTES && KEEL_RUN_HAS(change->delta, CANCEL_ACTION));
	KEEL_RUN_SET(change->delta, CANCEL_REQUESTED_AT, cancel_requested_at, keel_store_now(change->store));
	change->kind = "run_cancel_requested";
	change->data = keel_text_of(request->rollback ? "{\"action\":\"rollback\"}" : "{\"action\":\"interrupt\"}");
	return KEEL_OK;
}

enum keel_code keel_run_request_cancel(struct keel_store *store, struct keel_text run_id, struct keel_text action,
									   const char **winner, struct keel_error *err)
{
	struct keel_run delta = {0};
	struct request request = {keel_text_is(action, "rollback")};
	bool found;
	*winner = NULL;
	if (!request.rollback && !keel_text_is(action, "interrupt"))
		return keel_fail_field(err, "action", "action must be one of: interrupt, rollback");
	KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, action);
	enum keel_code code = keel_run_change_row(store, run_id, &delta, 0, decide_request, &request, &found, NULL, err);
	if (code == KEEL_OK && !found)
		code = keel_fail(err, KEEL_NOT_FOUND, "there is no run %.*s", (int)run_id.size, run_id.data);
	if (code == KEEL_OK)
		*winner = request.rollback ? "rollback" : "interrupt";
	return code;
}
