/* rows.h - runs as rows: SQL made from the list of fields, for the domain only. */
#ifndef KEEL_KERNEL_RUN_ROWS_H
#define KEEL_KERNEL_RUN_ROWS_H

#include <keel/run.h>

#include "store/store.h"

#define KEEL_RUN_COLUMN(NAME, member, type) #member ", "

/* Every column of a run, then its place in the order of insertion; the beginning of a SELECT for read_runs. */
#define KEEL_RUN_SELECT "SELECT " KEEL_RUN_FIELD_MAP(KEEL_RUN_COLUMN) "seq FROM runs "

struct keel_run_core;

/* Checks every field that is given: ids, texts, numbers, words. Cuts what is to be cut. */
enum keel_code keel_run_check(struct keel_run *run, struct keel_error *err);

/* Whether a field of the type is a text, else it is a number. */
bool keel_run_is_text(enum keel_field_type type);

/* Inserts the given fields as a row. *inserted is false when there is one with that run_id already. */
enum keel_code keel_run_insert(struct keel_store *store, const struct keel_run *run, bool *inserted,
                               struct keel_error *err);

/* Writes the given fields into the row of a core that was read in this transaction. */
enum keel_code keel_run_update(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
                               const struct keel_run *run, struct keel_error *err);

/* Deletes the row. */
enum keel_code keel_run_remove(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
                               struct keel_error *err);

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

/* What every change of a row has to know of it. */
struct keel_run_core {
	bool found;
	int64_t seq;
	enum keel_run_status status;
	int64_t session_id; /* 0: none */
	int64_t fence;
	bool claimable;
	bool started;
	bool rollback;         /* a cancel with the action rollback holds */
	bool cancel_requested; /* a cancel holds */
	bool gated;            /* it was started through the gate, and has to be settled when it is interrupted */
	bool finalizing;       /* it ended, and is not settled */
	bool strict;
	bool waited_for;       /* a line is parked at it or at its thread */
	int64_t created_at;
	int64_t revision;
	int64_t losses;
	int64_t snoozes;
	int64_t attempt;
	int64_t max_attempts;        /* 0: no end */
	int64_t priority;
	int64_t concurrency;         /* 0: any */
	int64_t scheduled_at;        /* these times: INT64_MIN for none */
	int64_t deadline;
	int64_t lease_expires_at;
	int64_t lease_us;            /* how long the lease lasts */
	int64_t cancel_requested_at;
	int64_t ended_at;
	struct keel_text thread_id;  /* in the arena given to the read */
	struct keel_text waits_for;  /* likewise; data NULL: none */
	struct keel_text worker_ref; /* likewise */
	struct keel_text handler;    /* likewise */
};
struct keel_arena;
enum keel_code keel_run_read_core(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
                                  struct keel_run_core *core, struct keel_error *err);

/* The worker a record names; data NULL: none. */
static inline struct keel_text keel_run_worker_ref(const struct keel_run *run)
{
	return KEEL_RUN_HAS(run, WORKER_REF) ? run->worker_ref : (struct keel_text){NULL, 0};
}

/* Gives a field a value. */
#define KEEL_RUN_SET(run, NAME, member_, value)                                              \
	((run)->member_ = (value), keel_run_set_add(&(run)->given, KEEL_RUN_FIELD_##NAME),        \
	 keel_run_set_add(&(run)->valued, KEEL_RUN_FIELD_##NAME))

#endif
