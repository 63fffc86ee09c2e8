/* run_change.h - the state machine of runs, and the one way a row changes. For the domain only. */
#ifndef KEEL_KERNEL_RUN_CHANGE_H
#define KEEL_KERNEL_RUN_CHANGE_H

#include "run_rows.h"

enum keel_transition {
	KEEL_TRANSITION_ALLOWED,
	KEEL_TRANSITION_NONE, /* the run has that status: nothing to do */
	KEEL_TRANSITION_REFUSED
};

/* Whether the run may go to a status; `fence` is the asker's, 0 for somebody who is not the owner. */
enum keel_transition keel_run_transition(const struct keel_run_core *core, enum keel_run_status to, int64_t fence);

/* KEEL_INVALID_TRANSITION, in words. */
enum keel_code keel_run_refuse(const struct keel_run_core *core, struct keel_text run_id, enum keel_run_status to,
                               struct keel_error *err);

/* KEEL_STALE_OWNER if `fence` is given (not 0) and not the row's. */
enum keel_code keel_run_check_fence(const struct keel_run_core *core, struct keel_text run_id, int64_t fence,
                                    struct keel_error *err);

/* Writes the fields of `delta` into the row, stamps times and revision, and appends the event of the change: one of
 * `kind` with `data`, or with kind NULL the one that goes with a new status, if there is a new one. In the open
 * transaction; what may be changed was checked before. What was written comes back in *written (NULL: not wanted). */
enum keel_code keel_run_apply(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
                              struct keel_run *delta, const char *kind, struct keel_text data, struct keel_run *written,
                              struct keel_error *err);

#endif
