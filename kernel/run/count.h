/* count.h - the rows that runs in flight are counted by. For the domain only. */
#ifndef KEEL_KERNEL_RUN_COUNT_H
#define KEEL_KERNEL_RUN_COUNT_H

#include "run/core.h"

/* Keeps the rows with a run that was written; either may be NULL. */
enum keel_code keel_counted_change(struct keel_store *store, const struct keel_run_core *before,
								   const struct keel_run_core *after, struct keel_error *err);

#endif
