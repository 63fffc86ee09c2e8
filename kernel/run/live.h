/* live.h - the tables of what is in flight, kept with the rows of runs. For the domain only. */
#ifndef KEEL_KERNEL_RUN_LIVE_H
#define KEEL_KERNEL_RUN_LIVE_H

#include "run/rows.h"

/* The status of a run in `live` while it is pending and not due: it never started, or it did. */
enum { KEEL_LIVE_LATER = -1, KEEL_LIVE_RETRY = -2 };

/* What becomes of a run when a record is written into its row; without a row (core->found false), what it begins as.
 * Texts are borrowed from both. */
struct keel_run_core keel_run_core_with(const struct keel_run_core *core, const struct keel_run *delta);

/* Keeps the tables with a row that was written, in the same transaction: `before` NULL for a new one, `after` NULL for
 * one that was deleted. */
enum keel_code keel_live_change(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *before,
								const struct keel_run_core *after, struct keel_error *err);

/* Whether a record that is written can concern the tables. */
bool keel_live_concerns(const struct keel_run *delta);

/* --- extras.c: what few runs have --------------------------------------------------------------------------------- */

/* Before a record is written into a row: takes what it changes out of the tables of keys, batches, fingerprints and
 * machines. Everything, when `delta` is NULL. */
enum keel_code keel_extras_remove(struct keel_store *store, int64_t seq, const struct keel_run *delta,
								  struct keel_error *err);

/* After a record was written into a row: puts in what it changed. */
enum keel_code keel_extras_add(struct keel_store *store, int64_t seq, const struct keel_run *delta,
							   struct keel_error *err);

#endif
