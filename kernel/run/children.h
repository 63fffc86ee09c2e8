/* children.h - runs and the runs that they have made. For the domain only.
 *
 * A row of `children` for each run in flight that has a parent and was not asked to stop. When the parent is asked or
 * stopped it is noted in `resolving`, and its children are worked off by resolve.c.
 */
#ifndef KEEL_KERNEL_RUN_CHILDREN_H
#define KEEL_KERNEL_RUN_CHILDREN_H

#include "run/core.h"

/* Whether a new run may have the parent that it names: KEEL_NOT_FOUND when there is no such run, KEEL_CONFLICT when it
 * was asked to stop, or was stopped. What has ended may have had any. */
enum keel_code keel_children_check(struct keel_store *store, const struct keel_run *run, struct keel_error *err);

/* A run has changed; `before` NULL: it is new; `after` NULL: it was deleted. Keeps its own row, and notes that its
 * children are to be stopped, if it has any (keel_run_read_family looks for them) and was asked to stop, or stopped. */
enum keel_code keel_children_change(struct keel_store *store, struct keel_text run_id,
									const struct keel_run_core *before, const struct keel_run_core *after,
									struct keel_error *err);

/* Notes that the children of a run are to be stopped. */
enum keel_code keel_children_note(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								  struct keel_error *err);

/* The first child of a run that is to be stopped with it. *found false: there is none. */
enum keel_code keel_children_next(struct keel_store *store, struct keel_text parent, int64_t *seq,
								  char run_id[KEEL_ID_MAX + 1], bool *found, struct keel_error *err);

/* It is seen to. */
enum keel_code keel_children_done(struct keel_store *store, struct keel_text parent, int64_t seq,
								  struct keel_error *err);

#endif
