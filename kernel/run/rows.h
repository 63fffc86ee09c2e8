/* rows.h - reading the rows of runs, for the domain only. */
#ifndef KEEL_KERNEL_RUN_ROWS_H
#define KEEL_KERNEL_RUN_ROWS_H

#include <keel/run.h>

#include "run/core.h"
#include "run/fields.h"
#include "store/store.h"

/* Where a field of each part is read. A run has a state in one of the two tables. */
#define KEEL_RUN_FIXED(member) "r." #member
#define KEEL_RUN_STATE(member) "coalesce(l." #member ", o." #member ")"
#define KEEL_RUN_WORK(member) "o." #member
#define KEEL_RUN_COLUMN(NAME, member, type, giver, part) KEEL_RUN_##part(member) ", "
#define KEEL_RUN_LIVE_FIXED(member) KEEL_RUN_FIXED(member)
#define KEEL_RUN_LIVE_STATE(member) "l." #member
#define KEEL_RUN_LIVE_WORK(member) KEEL_RUN_WORK(member)
#define KEEL_RUN_LIVE_COLUMN(NAME, member, type, giver, part) KEEL_RUN_LIVE_##part(member) ", "

/* The tables that runs are in: r, l and o. */
#define KEEL_RUN_FROM                                                                   \
	"FROM runs AS r LEFT JOIN live AS l ON l.thread_id = r.thread_id AND l.seq = r.seq" \
	" LEFT JOIN outcomes AS o ON o.seq = r.seq "

/* Every column of a run, then its place in the order of insertion; the beginning of a SELECT for read_runs. */
#define KEEL_RUN_SELECT "SELECT " KEEL_RUN_FIELD_MAP(KEEL_RUN_COLUMN) "r.seq " KEEL_RUN_FROM

/* The same of what is in flight or finalizing, and of nothing else. */
#define KEEL_RUN_LIVE_FROM "FROM runs AS r JOIN live AS l ON l.thread_id = r.thread_id AND l.seq = r.seq "
#define KEEL_RUN_LIVE_SELECT                                                       \
	"SELECT " KEEL_RUN_FIELD_MAP(KEEL_RUN_LIVE_COLUMN) "r.seq " KEEL_RUN_LIVE_FROM \
													   "LEFT JOIN outcomes AS o ON o.seq = r.seq "

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
