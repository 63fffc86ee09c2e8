/* owner.c - what an owner does with its run besides finishing it: giving it back, settling it, renewing its lease.
 * Uses: change. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "run/change.h"

/* --- Requeue ------------------------------------------------------------------------------------------------------ */

static enum keel_code decide_requeue(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	const struct keel_requeue *requeue = change->context;
	struct keel_run *delta = change->delta;
	struct keel_buffer *data = change->draft;
	bool had_started = core->status == KEEL_RUN_RUNNING, spends = had_started && !requeue->keep_attempt;
	enum keel_run_effect effect = keel_run_effect(core, change->action = KEEL_ACTION_REQUEUE);
	if (effect == KEEL_EFFECT_REFUSED)
		return keel_run_refuse(core, change->run_id, KEEL_RUN_PENDING, err);
	if (effect == KEEL_EFFECT_STOPS) {
		KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_INTERRUPTED);
		KEEL_RUN_SET(delta, STOP_REASON, stop_reason, keel_text_of("cancelled"));
		return KEEL_OK;
	}
	if (spends && core->max_attempts > 0 && core->attempt >= core->max_attempts) {
		KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_ERROR);
		KEEL_RUN_SET(delta, STOP_REASON, stop_reason, keel_text_of("attempts_exhausted"));
		if (requeue->error.data)
			KEEL_RUN_SET(delta, ERROR, error, requeue->error);
		return KEEL_OK;
	}
	KEEL_ASSERT(effect == KEEL_EFFECT_FREES && requeue->delay_us >= 0);
	if (spends)
		KEEL_RUN_SET(delta, ATTEMPT, attempt, core->attempt < INT64_MAX ? core->attempt + 1 : INT64_MAX);
	else if (had_started)
		KEEL_RUN_SET(delta, SNOOZES, snoozes, core->snoozes < INT64_MAX ? core->snoozes + 1 : INT64_MAX);
	keel_run_make_claimable(change->store, delta, requeue->delay_us);
	enum keel_code code = keel_run_change_owner(core, change->run_id, delta, err);
	if (code != KEEL_OK)
		return code;
	keel_buffer_format(data, "{\"attempt\":%lld",
					   (long long)(spends && core->attempt < INT64_MAX ? core->attempt + 1 : core->attempt));
	keel_buffer_json(data, "error", requeue->error);
	if (requeue->delay_us > 0)
		keel_buffer_format(data, ",\"delay\":%lld.%06lld", (long long)(requeue->delay_us / 1000000),
						   (long long)(requeue->delay_us % 1000000));
	keel_buffer_put(data, "}");
	change->kind = "run_requeued";
	change->data = keel_buffer_text(data);
	return KEEL_OK;
}

enum keel_code keel_run_requeue(struct keel_store *store, struct keel_text run_id, const struct keel_requeue *requeue,
								bool *found, struct keel_run *written, struct keel_error *err)
{
	struct keel_run delta = {0};
	struct keel_requeue asked = *requeue;
	*found = false;
	enum keel_code code = keel_check_text(requeue->error, "error", err);
	if (code == KEEL_OK && requeue->delay_us < 0)
		code = keel_fail_field(err, "delay", "delay must not be negative");
	return code != KEEL_OK ? code
						   : keel_run_change_row(store, run_id, &delta, requeue->fence, decide_requeue, &asked, found,
												 written, err);
}

/* --- Settle ------------------------------------------------------------------------------------------------------- */

struct settle {
	const struct keel_settle *asked;
	bool settled;
};

static enum keel_code decide_settle(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct settle *settle = change->context;
	bool alive = true;
	if (keel_run_effect(core, change->action = KEEL_ACTION_SETTLE) == KEEL_EFFECT_NOTHING)
		return KEEL_OK;
	if (settle->asked->abandoned) {
		enum keel_code code = KEEL_OK;
		struct keel_watched_state state = {core->fence, core->ended_at, 0};
		int64_t waited_us = keel_store_watched(change->store, KEEL_WATCHED_ENDED, core->seq, state);
		bool late = waited_us >= settle->asked->settle_timeout_us;
		if (!late)
			code = keel_store_session_alive(change->store, core->session_id, &alive, err);
		if (code != KEEL_OK || (!late && alive))
			return code;
		code = keel_run_change_owner(core, change->run_id, change->delta, err);
		if (code != KEEL_OK)
			return code;
		change->data = keel_text_of("{\"abandoned\":true}");
	}
	KEEL_ASSERT(core->finalizing && core->gated);
	settle->settled = true;
	KEEL_RUN_SET(change->delta, FINALIZING, finalizing, 0);
	change->kind = "run_settled";
	return KEEL_OK;
}

enum keel_code keel_run_settle(struct keel_store *store, struct keel_text run_id, const struct keel_settle *settle,
							   bool *settled, struct keel_error *err)
{
	struct keel_run delta = {0};
	struct settle context = {settle, false};
	bool found;
	*settled = false;
	enum keel_code code =
		keel_run_change_row(store, run_id, &delta, settle->fence, decide_settle, &context, &found, NULL, err);
	KEEL_ASSERT(code != KEEL_OK || found || !context.settled);
	*settled = code == KEEL_OK && context.settled;
	return code;
}

/* --- Leases ------------------------------------------------------------------------------------------------------- */

/* A renewal is no change of state: no revision, no event. */
static enum keel_code renew_all(struct keel_store *store, int64_t lease_us, struct keel_error *err)
{
	static const char text[] =
		"UPDATE live SET lease_expires_at = ?1, lease_us = ?3 WHERE session_id = ?2 AND status < 2"
		" AND lease_expires_at IS NOT NULL";
	return keel_execute(store, text, err, keel_value_int(keel_store_after(store, lease_us)),
						keel_value_int(store->session), keel_value_int(lease_us));
}

/* The same, each for as long as its own lease lasts. */
static enum keel_code renew_each(struct keel_store *store, struct keel_error *err)
{
	static const char text[] = "UPDATE live SET lease_expires_at = ?1 + CASE WHEN lease_us > ?3 THEN ?3 ELSE lease_us "
							   "END WHERE session_id = ?2"
							   " AND status < 2 AND lease_expires_at IS NOT NULL AND lease_us > 0";
	int64_t now = keel_store_now(store), longest = keel_store_after(store, INT64_MAX) - now;
	return keel_execute(store, text, err, keel_value_int(now), keel_value_int(store->session), keel_value_int(longest));
}

enum keel_code keel_run_renew(struct keel_store *store, int64_t lease_us, int64_t *renewed, struct keel_error *err)
{
	/* Whoever watches sees a renewal by the beat of the session, also when the clock stands still. */
	static const char beat[] = "UPDATE sessions SET beat = beat + 1 WHERE id = ?1";
	*renewed = 0;
	if (lease_us < 0)
		return keel_fail_field(err, "lease_ttl", "lease_ttl must be greater than 0");
	enum keel_code code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = lease_us ? renew_all(store, lease_us, err) : renew_each(store, err);
	int64_t count = 0;
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	if (code == KEEL_OK && count > 0)
		code = keel_execute(store, beat, err, keel_value_int(store->session));
	KEEL_ASSERT(count >= 0 && store->session > 0);
	code = keel_write_end(store, code, count > 0, err);
	if (code == KEEL_OK)
		*renewed = count;
	return code;
}
