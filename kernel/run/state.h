/* state.h - the states of a run: what may be done in each, and what that comes to. For the domain only. */
#ifndef KEEL_KERNEL_RUN_STATE_H
#define KEEL_KERNEL_RUN_STATE_H

#include "run/core.h"

/* The states, as far as what may be done depends on them, in pairs: as it is, and after it was asked to stop; when it
 * has ended, before its owner has settled it, and after. */
enum keel_run_state {
	KEEL_STATE_FREE, /* pending, and nobody's on purpose: whoever claims it has it */
	KEEL_STATE_FREE_STOPPING,
	KEEL_STATE_OWNED, /* pending otherwise */
	KEEL_STATE_OWNED_STOPPING,
	KEEL_STATE_RUNNING,
	KEEL_STATE_RUNNING_STOPPING,
	KEEL_STATE_FINALIZING, /* ended, and its owner has not settled it */
	KEEL_STATE_ENDED,
	KEEL_STATE_UNDOING, /* the same two of a run that was interrupted to be rolled back */
	KEEL_STATE_UNDONE,
	KEEL_STATE_COUNT
};

/* What somebody wants of a run. */
enum keel_run_action {
	KEEL_ACTION_RUN,       /* that its status is running */
	KEEL_ACTION_END,       /* that its status is a final one, which it is not yet */
	KEEL_ACTION_RESET,     /* that its status is pending again */
	KEEL_ACTION_FAIL,      /* its owner, that its status is error */
	KEEL_ACTION_START,     /* to start it through the gate */
	KEEL_ACTION_CLAIM,     /* to own it, and start it */
	KEEL_ACTION_REQUEUE,   /* to give it back */
	KEEL_ACTION_TAKE_OVER, /* to end it, as an orphan */
	KEEL_ACTION_RECOVER,   /* to make it free, as an orphan */
	KEEL_ACTION_ASK,       /* that it stops */
	KEEL_ACTION_SETTLE,    /* to say that its work has come to rest */
	KEEL_ACTION_PROGRESS,  /* to note how far it is */
	KEEL_ACTION_COUNT,     /* to note what it has used, however late */
	KEEL_ACTIONS
};

/* What an action comes to, if nothing else is in its way: the gate, a deadline, attempts, whether it is an orphan. */
enum keel_run_effect {
	KEEL_EFFECT_REFUSED = 'n', /* KEEL_INVALID_TRANSITION */
	KEEL_EFFECT_UNOWNED = 'u', /* KEEL_STALE_OWNER: it has to be claimed first */
	KEEL_EFFECT_NOTHING = '.', /* success, and nothing has changed */
	KEEL_EFFECT_NOTES = 'w',   /* its status stays, other columns are written */
	KEEL_EFFECT_RUNS = 'r',    /* it is running */
	KEEL_EFFECT_ENDS = 'e',    /* it has the final status that is asked for */
	KEEL_EFFECT_STOPS = 's',   /* it is interrupted, as it was asked to stop */
	KEEL_EFFECT_FREES = 'f'    /* it is free, as if it had not started */
};

enum keel_run_state keel_run_state(const struct keel_run_core *core);
enum keel_run_effect keel_run_effect(const struct keel_run_core *core, enum keel_run_action action);

/* Whether a row stays one when a record is written into it; and whether an action can have made that record. */
bool keel_run_keeps(const struct keel_run_core *before, const struct keel_run *delta);
bool keel_run_follows(const struct keel_run_core *before, enum keel_run_action action, const struct keel_run *delta);

#endif
