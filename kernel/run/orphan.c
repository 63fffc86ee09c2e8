/* orphan.c - whether a run has lost its owner. Uses: core, session. */
#include "run/orphan.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/session.h"

/* Whether this handle has seen the run unrenewed for as long as its lease lasts. */
static enum keel_code has_lost_lease(struct keel_store *store, const struct keel_run_core *core, int64_t *left_us,
									 struct keel_error *err)
{
	struct keel_watched_state state = {core->fence, core->lease_expires_at, 0};
	KEEL_ASSERT(core->lease_expires_at != INT64_MIN);
	enum keel_code code = keel_session_beat(store, core->session_id, &state.beat, err);
	*left_us = core->lease_us - (code == KEEL_OK ? keel_store_watched(store, KEEL_WATCHED_LEASE, core->seq, state) : 0);
	return code;
}

enum keel_code keel_run_is_orphan(struct keel_store *store, const struct keel_run_core *core,
								  const struct keel_takeover *takeover, bool *orphan, struct keel_error *err)
{
	bool alive = false;
	int64_t left_us = INT64_MAX;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(core->found && !keel_run_status_is_final(core->status));
	*orphan = false;
	if (core->lease_expires_at != INT64_MIN)
		code = has_lost_lease(store, core, &left_us, err);
	if (code != KEEL_OK)
		return code;
	bool late = takeover->unanswered && core->cancel_requested_at != INT64_MIN;
	struct keel_watched_state request = {core->fence, core->cancel_requested_at, 0};
	if (left_us <= 0 || keel_is_due(core->deadline, keel_store_now(store)) ||
		(late && keel_store_watched(store, KEEL_WATCHED_REQUEST, core->seq, request) >= takeover->settle_timeout_us)) {
		*orphan = true;
		return KEEL_OK;
	}
	if (!core->session_id) {
		*orphan = !core->claimable;
		return KEEL_OK;
	}
	code = keel_store_session_alive(store, core->session_id, &alive, err);
	*orphan = code == KEEL_OK && !alive;
	return code;
}

enum keel_code keel_run_lease_left(struct keel_store *store, struct keel_text run_id, int64_t *left_us,
								   struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	*left_us = INT64_MAX;
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found && !keel_run_status_is_final(core.status) && core.lease_expires_at != INT64_MIN)
		code = has_lost_lease(store, &core, left_us, err);
	keel_arena_free(&arena);
	keel_read_end(store);
	return code;
}
