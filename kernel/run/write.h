/* write.h - writing the rows of runs, and what is kept with them. For the domain only. */
#ifndef KEEL_KERNEL_RUN_WRITE_H
#define KEEL_KERNEL_RUN_WRITE_H

#include "run/core.h"

/* Inserts the given fields as a row. *inserted is false when there is one with that run_id already. */
enum keel_code keel_run_insert(struct keel_store *store, const struct keel_run *run, bool *inserted,
							   struct keel_error *err);

/* Writes the given fields into the row of a core that was read in this transaction. */
enum keel_code keel_run_update(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   const struct keel_run *run, struct keel_error *err);

/* Deletes the row. */
enum keel_code keel_run_remove(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   struct keel_error *err);

/* Deletes the row of a run that has ended and is settled. */
enum keel_code keel_run_remove_ended(struct keel_store *store, int64_t seq, struct keel_error *err);

#endif
