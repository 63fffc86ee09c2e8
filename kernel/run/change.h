/* change.h - the one way a row of a run changes. For the domain only. */
#ifndef KEEL_KERNEL_RUN_CHANGE_H
#define KEEL_KERNEL_RUN_CHANGE_H

#include "run/fields.h"
#include "run/state.h"

enum keel_transition {
	KEEL_TRANSITION_ALLOWED,
	KEEL_TRANSITION_NONE, /* the run has that status: nothing to do */
	KEEL_TRANSITION_REFUSED
};

/* Whether the run may go to a status, and by which action that is; `fence` is the asker's, 0 for somebody who is not
 * the owner. */
enum keel_transition keel_run_transition(const struct keel_run_core *core, enum keel_run_status to, int64_t fence,
										 enum keel_run_action *action);

/* KEEL_INVALID_TRANSITION, in words. */
enum keel_code keel_run_refuse(const struct keel_run_core *core, struct keel_text run_id, enum keel_run_status to,
							   struct keel_error *err);

/* KEEL_STALE_OWNER if `fence` is given (not 0) and not the row's. */
enum keel_code keel_run_check_fence(const struct keel_run_core *core, struct keel_text run_id, int64_t fence,
									struct keel_error *err);

/* Writes the fields of `delta` into the row, stamps times and revision, and appends the event of the change: one of
 * `kind` with `data`, or with kind NULL the one that goes with a new status, if there is a new one, and `data` the JSON
 * members that one has besides. In the open transaction; what may be changed was checked before. What was written comes
 * back in *written (NULL: not wanted). */
enum keel_code keel_run_apply(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							  struct keel_run *delta, const char *kind, struct keel_text data, struct keel_run *written,
							  struct keel_error *err);

/* What an operation on one row decides on: what the row has, and what is to become of it. */
struct keel_run_change {
	struct keel_store *store;
	struct keel_text run_id;
	const struct keel_run_core *core; /* found, and with the right fence */
	enum keel_run_action action;      /* what is done, for decide to say; until then KEEL_ACTION_COUNT */
	struct keel_run *delta;           /* what to write; empty: nothing */
	int64_t fence;                    /* the asker's; 0: somebody who is not the owner */
	const char *kind;                 /* of the event; NULL: the one that goes with a new status, if there is one */
	struct keel_text data;            /* of the event; without a kind members for it, not in the draft */
	struct keel_buffer *draft;        /* empty: for the data */
	void *context;                    /* the operation's own */
	bool wrote;                       /* the decision itself has written something */
};
typedef enum keel_code (*keel_run_decision)(struct keel_run_change *change, struct keel_error *err);

/* The frame of every operation on one row: checks what is given, begins, reads the row, checks the fence, lets `decide`
 * make up its mind in the transaction, writes row and event, ends. *found is false when there is no such row. */
enum keel_code keel_run_change_row(struct keel_store *store, struct keel_text run_id, struct keel_run *delta,
								   int64_t fence, keel_run_decision decide, void *context, bool *found,
								   struct keel_run *written, struct keel_error *err);

/* Gives a run the fence after its own, for it gets another owner. Fails with KEEL_STORE_FULL when there is none. */
enum keel_code keel_run_change_owner(const struct keel_run_core *core, struct keel_text run_id, struct keel_run *delta,
									 struct keel_error *err);

/* Makes a run that was in flight pending, owned by nobody and free to be claimed after a while, as if it had not
 * started. How the last try ended is told by the event, and is nothing the next one should carry. */
void keel_run_make_claimable(struct keel_store *store, struct keel_run *delta, int64_t delay_us);

/* Takes fields out of a delta; sets them to null. */
static inline void keel_run_leave_out(struct keel_run *delta, keel_run_set set)
{
	delta->given = keel_run_set_without(delta->given, set);
	delta->valued = keel_run_set_without(delta->valued, set);
}
static inline void keel_run_clear(struct keel_run *delta, keel_run_set set)
{
	delta->given = keel_run_set_union(delta->given, set);
	delta->valued = keel_run_set_without(delta->valued, set);
}

#endif
