/* state.c - the states of a run: what may be done in each, and what that leaves of it. Uses: core. */
#include "run/state.h"

#include "base/assert.h"

/* The whole state machine. The letters are those of enum keel_run_effect. */
/* clang-format off */
static const char effects[KEEL_STATE_COUNT][KEEL_ACTIONS + 1] = {
	/*                                RUN, END, RESET, FAIL; START, CLAIM, REQUEUE; TAKE_OVER, RECOVER;
	 *                                ASK, SETTLE, PROGRESS, COUNT */
	[KEEL_STATE_FREE] =               "re.e" "urf" "ef" "s..w",
	[KEEL_STATE_FREE_STOPPING] =      "re.e" "uns" "es" "...w",
	[KEEL_STATE_OWNED] =              "re.e" "rnf" "ef" "w..w",
	[KEEL_STATE_OWNED_STOPPING] =     "re.e" "sns" "es" "...w",
	[KEEL_STATE_RUNNING] =            ".ene" "nnf" "ef" "w.ww",
	[KEEL_STATE_RUNNING_STOPPING] =   ".ene" "nns" "es" "..ww",
	[KEEL_STATE_FINALIZING] =         "nnnn" "nnn" ".." "nw.w",
	[KEEL_STATE_ENDED] =              "nnnn" "nnn" ".." "n..w",
	[KEEL_STATE_UNDOING] =            "nnne" "nnn" ".." "nw.w",
	[KEEL_STATE_UNDONE] =             "nnne" "nnn" ".." "n..w",
};
/* clang-format on */

_Static_assert(KEEL_ACTIONS == 4 + 3 + 2 + 4, "a row has a letter for each action");
_Static_assert(KEEL_STATE_OWNED % 2 == 0 && KEEL_STATE_RUNNING % 2 == 0 && KEEL_STATE_UNDOING % 2 == 0 &&
				   KEEL_STATE_FINALIZING % 2 == 0,
			   "states are in pairs");

/* How an action may end a run instead: its time was over, or it had no attempts left. */
static const enum keel_run_status instead[KEEL_ACTIONS] = {
	[KEEL_ACTION_START] = KEEL_RUN_TIMEOUT,
	[KEEL_ACTION_REQUEUE] = KEEL_RUN_ERROR,
	[KEEL_ACTION_RECOVER] = KEEL_RUN_TIMEOUT,
};
_Static_assert(KEEL_RUN_PENDING == 0, "where nothing else may come of it, instead is zero");

enum keel_run_state keel_run_state(const struct keel_run_core *core)
{
	if (!keel_run_status_is_final(core->status)) {
		enum keel_run_state state = core->status == KEEL_RUN_RUNNING ? KEEL_STATE_RUNNING
									: core->claimable                ? KEEL_STATE_FREE
																	 : KEEL_STATE_OWNED;
		return core->cancel_requested ? state + 1 : state;
	}
	bool undone = core->status == KEEL_RUN_INTERRUPTED && core->rollback;
	enum keel_run_state state = undone ? KEEL_STATE_UNDOING : KEEL_STATE_FINALIZING;
	return core->finalizing ? state : state + 1;
}

enum keel_run_effect keel_run_effect(const struct keel_run_core *core, enum keel_run_action action)
{
	KEEL_ASSERT(core->found);
	char effect = effects[keel_run_state(core)][action];
	KEEL_ASSERT(effect != '\0');
	return (enum keel_run_effect)effect;
}

/* --- What an action leaves ---------------------------------------------------------------------------------------- */

static bool is_free(const struct keel_run_core *core)
{
	return core->status == KEEL_RUN_PENDING && core->claimable && !core->cancel_requested && !core->session_id &&
		   !core->started && !core->gated && core->lease_expires_at == INT64_MIN;
}

static bool is_running(const struct keel_run_core *core, enum keel_run_action action)
{
	bool gated = action == KEEL_ACTION_START || action == KEEL_ACTION_CLAIM;
	return core->status == KEEL_RUN_RUNNING && core->started && (!gated || (core->gated && !core->claimable)) &&
		   (action != KEEL_ACTION_CLAIM || core->session_id);
}

static bool is_noted(const struct keel_run_core *core, enum keel_run_action action)
{
	if (action == KEEL_ACTION_ASK)
		return core->cancel_requested && core->cancel_requested_at != INT64_MIN;
	return action != KEEL_ACTION_SETTLE || !core->finalizing;
}

/* Whoever owned it so far is shut out. */
static bool has_new_fence(const struct keel_run_core *before, enum keel_run_action action, enum keel_run_effect effect,
						  const struct keel_run_core *after)
{
	bool new = action == KEEL_ACTION_CLAIM || action == KEEL_ACTION_TAKE_OVER || action == KEEL_ACTION_RECOVER ||
			   (effect == KEEL_EFFECT_FREES && after->status == KEEL_RUN_PENDING);
	if (action == KEEL_ACTION_SETTLE) /* by its owner, or over the head of one that has left it */
		return after->fence == before->fence || after->fence == before->fence + 1;
	return after->fence == before->fence + new;
}

bool keel_run_keeps(const struct keel_run_core *before, const struct keel_run *delta)
{
	struct keel_run_core after = keel_run_core_with(before, delta);
	return keel_run_invariant(&after) && after.revision == before->revision + 1 && after.fence >= before->fence;
}

bool keel_run_follows(const struct keel_run_core *before, enum keel_run_action action, const struct keel_run *delta)
{
	struct keel_run_core after = keel_run_core_with(before, delta);
	enum keel_run_effect effect = keel_run_effect(before, action);
	bool has_ended = keel_run_status_is_final(after.status) && after.ended_at != INT64_MIN;
	bool has_instead = has_ended && instead[action] && after.status == instead[action];
	if (!has_new_fence(before, action, effect, &after))
		return false;
	switch (effect) {
	case KEEL_EFFECT_REFUSED:
	case KEEL_EFFECT_UNOWNED:
	case KEEL_EFFECT_NOTHING:
		return false;
	case KEEL_EFFECT_NOTES:
		return after.status == before->status && is_noted(&after, action);
	case KEEL_EFFECT_RUNS:
		return is_running(&after, action) || has_instead;
	case KEEL_EFFECT_FREES:
		return is_free(&after) || has_instead;
	case KEEL_EFFECT_ENDS:
		return has_ended && after.status != before->status;
	case KEEL_EFFECT_STOPS:
		return has_ended && after.status == KEEL_RUN_INTERRUPTED;
	}
	return false;
}
