/* extras.h - the tables of what few runs have. For the domain only. */
#ifndef KEEL_KERNEL_RUN_EXTRAS_H
#define KEEL_KERNEL_RUN_EXTRAS_H

#include <keel/run.h>

#include "store/store.h"

/* Before a record is written into a row: takes what it changes out of the tables of keys, batches, retries,
 * fingerprints and machines. Everything, when `delta` is NULL. */
enum keel_code keel_extras_remove(struct keel_store *store, int64_t seq, const struct keel_run *delta,
								  struct keel_error *err);

/* After a record was written into a row: puts in what it changed. */
enum keel_code keel_extras_add(struct keel_store *store, int64_t seq, const struct keel_run *delta,
							   struct keel_error *err);

/* The same of a row that is new and has no more than the record says: most have nothing to put in. */
enum keel_code keel_extras_insert(struct keel_store *store, int64_t seq, const struct keel_run *run,
								  struct keel_error *err);

#endif
