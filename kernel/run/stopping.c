/* stopping.c - stopping a run with its parent. Uses: change, changed, orphan. */
#include "run/stopping.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/change.h"
#include "run/changed.h"
#include "run/orphan.h"
#include "run/state.h"

struct stop {
	struct keel_run delta;
	struct keel_buffer data;
	const char *kind; /* of the event; NULL: that of a new status */
};

/* It ends now. */
static enum keel_code end(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
						  bool orphan, struct stop *stop, struct keel_error *err)
{
	KEEL_ASSERT(!keel_run_status_is_final(core->status) && !core->cancel_requested);
	bool goes_on = core->gated && core->status == KEEL_RUN_RUNNING && core->session_id == store->session;
	KEEL_RUN_SET(&stop->delta, STATUS, status, KEEL_RUN_INTERRUPTED);
	KEEL_RUN_SET(&stop->delta, STOP_REASON, stop_reason, keel_text_of("cancelled"));
	if (goes_on) /* its owner has to settle it */
		KEEL_RUN_SET(&stop->delta, FINALIZING, finalizing, 1);
	return orphan ? keel_run_change_owner(core, run_id, &stop->delta, err) : KEEL_OK;
}

/* Its owner is asked. */
static void ask(struct keel_store *store, bool rollback, struct stop *stop)
{
	KEEL_ASSERT(!KEEL_RUN_GIVES(&stop->delta, STATUS) && !stop->kind);
	KEEL_RUN_SET(&stop->delta, CANCEL_REQUESTED_AT, cancel_requested_at, keel_store_now(store));
	keel_buffer_put(&stop->data, rollback ? "{\"action\":\"rollback\"" : "{\"action\":\"interrupt\"");
	stop->kind = "run_cancel_requested";
}

static enum keel_code stop_at(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							  struct keel_text parent, bool rollback, struct keel_error *err)
{
	static const struct keel_takeover at_once = {0};
	struct stop stop = {.kind = NULL};
	bool orphan = false;
	enum keel_code code = KEEL_OK;
	KEEL_RUN_SET(&stop.delta, CANCEL_ACTION, cancel_action, keel_text_of(rollback ? "rollback" : "interrupt"));
	bool elsewhere = core->status == KEEL_RUN_RUNNING && core->session_id != store->session;
	if (elsewhere)
		code = keel_run_is_orphan(store, core, &at_once, &orphan, err);
	if (code == KEEL_OK && (!elsewhere || orphan))
		code = end(store, run_id, core, orphan, &stop, err);
	else if (code == KEEL_OK)
		ask(store, rollback, &stop);
	keel_buffer_json(&stop.data, "parent_run_id", parent);
	KEEL_ASSERT(code != KEEL_OK || !stop.kind == KEEL_RUN_HAS(&stop.delta, STATUS));
	if (stop.kind)
		keel_buffer_put(&stop.data, "}");
	if (code == KEEL_OK && stop.data.failed)
		code = keel_fail_memory(err);
	if (code == KEEL_OK)
		code = keel_run_apply(store, run_id, core, &stop.delta, stop.kind, keel_buffer_text(&stop.data), NULL, err);
	if (code == KEEL_OK)
		code = keel_changed_add(store, run_id, core, err);
	keel_buffer_free(&stop.data);
	return code;
}

enum keel_code keel_run_stop_child(struct keel_store *store, struct keel_text run_id, struct keel_text parent,
								   bool rollback, bool *stopped, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql) && parent.data);
	enum keel_code code = keel_run_read_family(store, run_id, &arena, &core, err);
	*stopped = code == KEEL_OK && core.found && keel_text_same(core.parent_run_id, parent) &&
			   !keel_run_status_is_final(core.status) && !core.cancel_requested;
	if (*stopped)
		code = stop_at(store, run_id, &core, parent, rollback, err);
	keel_arena_free(&arena);
	return code;
}
