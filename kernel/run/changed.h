/* changed.h - which runs of this session an operation has changed besides the one that it was about. For the domain
 * only: keel_run_take_changed tells who keeps records of runs. */
#ifndef KEEL_KERNEL_RUN_CHANGED_H
#define KEEL_KERNEL_RUN_CHANGED_H

#include "run/core.h"

/* An operation begins, or has failed: unless it is part of the caller's transaction, what was noted is forgotten. */
static inline void keel_changed_begin(struct keel_store *store)
{
	if (!store->open)
		keel_buffer_clear(&store->changed);
}

/* Notes a run, if it is this session's. */
enum keel_code keel_changed_add(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								struct keel_error *err);

#endif
