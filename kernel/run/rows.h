/* rows.h - reading the rows of runs, for the domain only. */
#ifndef KEEL_KERNEL_RUN_ROWS_H
#define KEEL_KERNEL_RUN_ROWS_H

#include <keel/run.h>

#include "run/core.h"
#include "run/fields.h"
#include "store/store.h"

#define KEEL_RUN_COLUMN(NAME, member, type, giver) #member ", "

/* Every column of a run, then its place in the order of insertion; the beginning of a SELECT for read_runs. */
#define KEEL_RUN_SELECT "SELECT " KEEL_RUN_FIELD_MAP(KEEL_RUN_COLUMN) "seq FROM runs "

/* Gives a run what null means where a record must have a value. */
void keel_run_hydrate(struct keel_run *run);

/* Reads the rows of a bound statement that begins with KEEL_RUN_SELECT, and resets it. */
enum keel_code keel_run_read(struct keel_store *store, struct keel_statement *select, struct keel_runs *list,
							 struct keel_error *err);

/* The same of some fields only; the others are not `given`. */
enum keel_code keel_run_read_fields(struct keel_store *store, struct keel_statement *select, keel_run_set wanted,
									struct keel_runs *list, struct keel_error *err);

/* Where a run stands in the order of insertion: what a listing goes on behind. Fails with KEEL_NOT_FOUND. */
enum keel_code keel_run_place(struct keel_store *store, struct keel_text run_id, int64_t *seq, struct keel_error *err);

#endif
