/* telling.h - what an event says of whom else it concerns. For the domain only. */
#ifndef KEEL_KERNEL_RUN_TELLING_H
#define KEEL_KERNEL_RUN_TELLING_H

#include "run/core.h"

struct keel_buffer;

/* Adds to the data of an event, a JSON object or none, what follows from it for others: `freed`, the names of the slots
 * that a run has given up; `ready`, who may find something to start now: { handlers, sessions }, or { all } where those
 * are too many to be counted. `after` NULL: it was deleted. Called when the row has changed and before what waited for
 * it is worked off. What is added is in `told`, which `data` then points into. */
enum keel_code keel_run_tell(struct keel_store *store, const struct keel_run_core *before,
							 const struct keel_run_core *after, struct keel_text *data, struct keel_buffer *told,
							 struct keel_error *err);

/* Whether there may be something to tell. */
static inline bool keel_run_may_tell(const struct keel_run_core *before)
{
	return before->slots.data || before->has_lines || before->depended;
}

#endif
