/* start.c - starting a run through the gate. Uses: gate, line, live, change. */
#include "run/start.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/change.h"
#include "run/gate.h"
#include "run/line.h"
#include "run/live.h"

struct start {
	const struct keel_start *asked;
	struct keel_gate_state *state;
};

void keel_run_begin(struct keel_store *store, struct keel_run *delta, int64_t lease_us)
{
	KEEL_ASSERT(keel_run_set_is_empty(delta->given));
	KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_RUNNING);
	KEEL_RUN_SET(delta, FINALIZING, finalizing, 0);
	if (lease_us > 0) {
		KEEL_RUN_SET(delta, LEASE_EXPIRES_AT, lease_expires_at, keel_store_after(store, lease_us));
		KEEL_RUN_SET(delta, LEASE_US, lease_us, lease_us);
	}
}

static enum keel_code decide_start(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct start *start = change->context;
	enum keel_run_effect effect = keel_run_effect(core, change->action = KEEL_ACTION_START);
	if (effect == KEEL_EFFECT_REFUSED)
		return keel_run_refuse(core, change->run_id, KEEL_RUN_RUNNING, err);
	if (effect == KEEL_EFFECT_UNOWNED) /* it would run with nobody to answer for it */
		return keel_fail(err, KEEL_STALE_OWNER, "run %.*s has to be claimed before it can start",
						 (int)change->run_id.size, change->run_id.data);
	if (effect == KEEL_EFFECT_STOPS) {
		KEEL_RUN_SET(change->delta, STATUS, status, KEEL_RUN_INTERRUPTED);
		KEEL_RUN_SET(change->delta, CANCEL_ACTION, cancel_action,
					 keel_text_of(core->rollback ? "rollback" : "interrupt"));
		return KEEL_OK;
	}
	if (keel_is_due(core->deadline, keel_store_now(change->store))) {
		KEEL_RUN_SET(change->delta, STATUS, status, KEEL_RUN_TIMEOUT);
		KEEL_RUN_SET(change->delta, STOP_REASON, stop_reason, keel_text_of("deadline"));
		return KEEL_OK;
	}
	enum keel_code code = keel_run_look_at_gate(change->store, core, start->state, err);
	KEEL_ASSERT(effect == KEEL_EFFECT_RUNS && keel_run_set_is_empty(change->delta->given));
	if (code == KEEL_OK && start->state->gate == KEEL_GATE_DELAY)
		code = keel_live_put_off(change->store, change->run_id, core, &change->wrote, err);
	if (code == KEEL_OK && start->state->gate == KEEL_GATE_RATE)
		code = keel_line_meet(change->store, keel_text_of(start->state->name), &change->wrote, err);
	if (code == KEEL_OK && start->state->gate == KEEL_GATE_OPEN) {
		start->state->tells = core->waited_for;
		keel_run_begin(change->store, change->delta, start->asked->lease_us);
	}
	return code;
}

enum keel_code keel_run_start(struct keel_store *store, struct keel_text run_id, const struct keel_start *start,
							  bool *found, struct keel_gate_state *state, struct keel_run *written,
							  struct keel_error *err)
{
	struct keel_run delta = {0};
	struct start context = {start, state};
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	return keel_run_change_row(store, run_id, &delta, start->fence, decide_start, &context, found, written, err);
}
