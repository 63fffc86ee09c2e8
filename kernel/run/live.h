/* live.h - what is in flight, and the tables that are kept with it. For the domain only. */
#ifndef KEEL_KERNEL_RUN_LIVE_H
#define KEEL_KERNEL_RUN_LIVE_H

#include "run/core.h"

/* Whether a run is in flight, or has ended and is not settled: it has a row of `live`. NULL is not. */
bool keel_live_is(const struct keel_run_core *core);

/* Its status there. */
int64_t keel_live_status(const struct keel_run_core *core, int64_t now);

/* Keeps the other tables with a run that was written, in the same transaction: `before` NULL for a new one, `after`
 * NULL for one that was deleted. */
enum keel_code keel_live_change(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *before,
								const struct keel_run_core *after, struct keel_error *err);

/* Puts a pending run off again that is early, for the clock was set back after it had been taken in; what is parked
 * behind it is looked at. *put_off false: it had not been taken in. */
enum keel_code keel_live_put_off(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								 bool *put_off, struct keel_error *err);

/* Whether a record that is written can concern the tables. */
bool keel_live_concerns(const struct keel_run *delta);

#endif
