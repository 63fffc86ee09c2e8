/* resolve.h - making what a run waits for of other runs, and working it off. For the domain only. */
#ifndef KEEL_KERNEL_RUN_RESOLVE_H
#define KEEL_KERNEL_RUN_RESOLVE_H

#include "run/core.h"

/* Makes the edges of a pending run that was inserted just now. *failed: a source has ended otherwise than it was
 * wanted, and `source` says which: then it has none. Fails with KEEL_NOT_FOUND for a source of `after` that is not
 * there, and with KEEL_INVALID_REQUEST for a run that would wait for itself, or for its own batch. */
enum keel_code keel_run_add_edges(struct keel_store *store, const struct keel_run *run, bool *failed,
								  char source[KEEL_ID_MAX + 1], struct keel_error *err);

/* Ends a run for what has become of a source, in the open transaction; `is_new`: the operation is about it. What *delta
 * then says of it is good until the next one is ended so. */
enum keel_code keel_run_fail_dependent(struct keel_store *store, struct keel_text run_id, bool is_new,
									   const char *source, struct keel_run *delta, struct keel_error *err);

/* Works off what waits for runs that have ended or settled, in the open transaction: at most so much of it that others
 * need not wait long. *more: there is something left; keel_run_resolve_rest does that in transactions of its own,
 * unless one of the caller's is open. */
enum keel_code keel_run_resolve(struct keel_store *store, bool *more, struct keel_error *err);
enum keel_code keel_run_resolve_rest(struct keel_store *store, struct keel_error *err);

/* Whether somebody has left something of it. */
enum keel_code keel_run_has_rest(struct keel_store *store, bool *has, struct keel_error *err);

#endif
