/* edges.h - what a run waits for of other runs. For the domain only.
 *
 * A row of `edges` for each run in flight, the source, that a pending run, the dependent, waits for. A run with edges
 * is neither among the claimable ones nor put off. When a source ends or settles it is noted in `resolving`, and its
 * edges are worked off by resolve.c.
 */
#ifndef KEEL_KERNEL_RUN_EDGES_H
#define KEEL_KERNEL_RUN_EDGES_H

#include "run/core.h"

/* A run has changed; `after` NULL: it was deleted. Notes that there is something to work off, if it has ended or
 * settled and others wait for it; and forgets what it waited for itself, once it is not pending any more. */
enum keel_code keel_edges_change(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *before,
								 const struct keel_run_core *after, struct keel_error *err);

/* Whether a row of `edges` still keeps its dependent waiting: one whose source has come to what is wanted of it, and
 * that nobody has worked off, does not. */
#define KEEL_EDGE_HOLDS                                                                                          \
	"coalesce((SELECT resolving.settled = 1 AND (edges.wanted = 0 OR resolving.status = 2) FROM resolving WHERE" \
	" resolving.source = edges.source), 1 = 0) = (1 = 0)"

/* The first source that a run waits for, behind `source`. *found false: there is none. */
enum keel_code keel_edges_next(struct keel_store *store, const struct keel_run_core *core, int64_t *source,
							   char run_id[KEEL_ID_MAX + 1], bool *found, struct keel_error *err);

#endif
