/* orphan.h - whether a run has lost its owner. For the domain only. */
#ifndef KEEL_KERNEL_RUN_ORPHAN_H
#define KEEL_KERNEL_RUN_ORPHAN_H

#include "run/core.h"

/* Whether a run in flight is an orphan: its deadline has passed, its lease was not renewed for as long as it lasts, or
 * its session is dead; or it has none, and was not left free to be claimed; or, if `takeover` says so, its owner, asked
 * to stop, has not done so in time. */
enum keel_code keel_run_is_orphan(struct keel_store *store, const struct keel_run_core *core,
								  const struct keel_takeover *takeover, bool *orphan, struct keel_error *err);

#endif
