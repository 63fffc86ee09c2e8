/* run_recovery.c - acting on somebody else's run: taking over an orphan, asking an owner to stop. Uses: run_change,
 * session. */
#include <keel/run.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run_change.h"

/* An orphan: in flight, and its session is dead; or it has none, and was not left free to be claimed. */
static enum keel_code is_orphan(struct keel_store *store, const struct keel_run_core *core, bool *orphan,
								struct keel_error *err)
{
	bool alive = false;
	*orphan = false;
	if (!core->found || keel_run_status_is_final(core->status))
		return KEEL_OK;
	if (!core->session_id) {
		*orphan = !core->claimable;
		return KEEL_OK;
	}
	enum keel_code code = keel_store_session_alive(store, core->session_id, &alive, err);
	*orphan = code == KEEL_OK && !alive;
	return code;
}

/* Makes a lost run one that anybody may claim, as if it had not started. Returns the data of the event. */
static struct keel_text give_back(struct keel_store *store, const struct keel_run_core *core, struct keel_run *delta,
								  struct keel_text reason)
{
	KEEL_RUN_SET(delta, LOSSES, losses, core->losses < INT64_MAX ? core->losses + 1 : INT64_MAX);
	KEEL_RUN_SET(delta, CLAIMABLE, claimable, 1);
	keel_buffer_format(&store->scratch, "{\"losses\":%lld", (long long)delta->losses);
	keel_buffer_json(&store->scratch, "error", delta->error);
	keel_buffer_json(&store->scratch, "stop_reason", reason);
	keel_buffer_put(&store->scratch, "}");
	/* To null: how the lost try ended is told by the event, and is nothing the next one should carry. */
	const keel_run_set cleared = KEEL_RUN_BIT(SESSION_ID) | KEEL_RUN_BIT(STARTED_AT) | KEEL_RUN_BIT(ERROR) |
								 KEEL_RUN_BIT(ERROR_CODE) | KEEL_RUN_BIT(STOP_REASON);
	delta->given |= cleared;
	delta->valued &= ~cleared;
	return keel_buffer_text(&store->scratch);
}

enum keel_code keel_run_claim_for_takeover(struct keel_store *store, struct keel_text run_id,
										   const struct keel_takeover *takeover, bool *taken, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	struct keel_run delta = {0};
	bool orphan = false, wrote = false;
	*taken = false;
	keel_buffer_clear(&store->scratch);
	struct keel_text reason = takeover->stop_reason.data ? takeover->stop_reason : keel_text_of("orphan_recovered");
	const char *kind = NULL;
	struct keel_text data = {NULL, 0};
	KEEL_RUN_SET(&delta, STATUS, status, takeover->status);
	KEEL_RUN_SET(&delta, STOP_REASON, stop_reason, reason);
	if (takeover->error.data)
		KEEL_RUN_SET(&delta, ERROR, error, takeover->error);
	if (takeover->error_code.data)
		KEEL_RUN_SET(&delta, ERROR_CODE, error_code, takeover->error_code);
	if (takeover->cancel_action.data)
		KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, takeover->cancel_action);
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK && takeover->status == KEEL_RUN_RUNNING)
		code = keel_fail_field(err, "status", "an orphan can only end, or become pending again");
	if (code == KEEL_OK)
		code = keel_run_check(&delta, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK)
		code = is_orphan(store, &core, &orphan, err);
	if (code == KEEL_OK && orphan) {
		if (core.cancel_requested) { /* the first one holds */
			delta.given &= ~KEEL_RUN_BIT(CANCEL_ACTION);
			delta.valued &= delta.given;
		}
		KEEL_RUN_SET(&delta, FENCE, fence, core.fence + 1);
		if (takeover->status == KEEL_RUN_PENDING) {
			kind = "run_requeued";
			data = give_back(store, &core, &delta, reason);
		}
		wrote = true;
		code = store->scratch.failed ? keel_fail_memory(err)
									 : keel_run_apply(store, run_id, &core, &delta, kind, data, NULL, err);
	}
	keel_arena_free(&arena);
	code = keel_write_end(store, code, wrote, err);
	*taken = code == KEEL_OK && orphan;
	return code;
}

enum keel_code keel_run_request_cancel(struct keel_store *store, struct keel_text run_id, struct keel_text action,
									   const char **winner, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	struct keel_run delta = {0};
	bool wrote = false;
	*winner = NULL;
	bool rollback = keel_text_is(action, "rollback");
	KEEL_RUN_SET(&delta, CANCEL_ACTION, cancel_action, action);
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK && !rollback && !keel_text_is(action, "interrupt"))
		code = keel_fail_field(err, "action", "action must be one of: interrupt, rollback");
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && !core.found)
		code = keel_fail(err, KEEL_NOT_FOUND, "there is no run %.*s", (int)run_id.size, run_id.data);
	if (code == KEEL_OK && keel_run_status_is_final(core.status))
		code = keel_run_refuse(&core, run_id, KEEL_RUN_INTERRUPTED, err);
	if (code == KEEL_OK && core.cancel_requested)
		rollback = core.rollback;
	else if (code == KEEL_OK) {
		wrote = true;
		code = keel_run_apply(store, run_id, &core, &delta, "run_cancel_requested",
							  keel_text_of(rollback ? "{\"action\":\"rollback\"}" : "{\"action\":\"interrupt\"}"), NULL,
							  err);
	}
	keel_arena_free(&arena);
	code = keel_write_end(store, code, wrote, err);
	if (code == KEEL_OK)
		*winner = rollback ? "rollback" : "interrupt";
	return code;
}
