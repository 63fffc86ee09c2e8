/* core.h - what every change of a run has to know of its row. For the domain only. */
#ifndef KEEL_KERNEL_RUN_CORE_H
#define KEEL_KERNEL_RUN_CORE_H

#include <keel/run.h>

#include "store/store.h"

/* The status of a run in `live` while it is pending and not due: it never started, or it did; while it waits for
 * other runs, due or not; and while it is due and wants slots or rates. So what is pending with the status 0 is due and
 * waits for its thread at most. */
enum { KEEL_LIVE_LATER = -1, KEEL_LIVE_RETRY = -2, KEEL_LIVE_BLOCKED = -3, KEEL_LIVE_LIMITED = -4 };

static inline bool keel_live_is_pending(int64_t status)
{
	return status <= KEEL_RUN_PENDING && status >= KEEL_LIVE_LIMITED;
}

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
	bool has_lines;    /* there are lines, whose ever */
	bool waited_for;   /* one is parked at it or at its thread */
	bool pauses;       /* something is paused, whatever it is */
	bool blocked;      /* it is pending and waits for other runs */
	bool depended;     /* others wait for it, or have */
	bool is_family;    /* it was read with what is asked of its children */
	bool has_children; /* there are some to be stopped with it; only with is_family */
	int64_t created_at;
	int64_t revision;
	int64_t losses;
	int64_t snoozes;
	int64_t attempt;
	int64_t max_attempts; /* 0: no end */
	int64_t priority;
	int64_t concurrency;  /* 0: any */
	int64_t scheduled_at; /* these times: INT64_MIN for none */
	int64_t deadline;
	int64_t lease_expires_at;
	int64_t lease_us; /* how long the lease lasts */
	int64_t cancel_requested_at;
	int64_t ended_at;
	struct keel_text thread_id;     /* in the arena given to the read */
	struct keel_text waits_for;     /* likewise; data NULL: none */
	struct keel_text worker_ref;    /* likewise */
	struct keel_text handler;       /* likewise */
	struct keel_text slots;         /* likewise */
	struct keel_text rates;         /* likewise */
	struct keel_text user_id;       /* likewise */
	struct keel_text batch_id;      /* likewise */
	struct keel_text parent_run_id; /* likewise */
};

struct keel_arena;
enum keel_code keel_run_read_core(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
								  struct keel_run_core *core, struct keel_error *err);

/* The same with what a stop has to know besides: whether the run has children. */
enum keel_code keel_run_read_family(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
									struct keel_run_core *core, struct keel_error *err);

/* Whether a change of a run may concern those of other threads: by what it waits for, by what waits for it, or by the
 * line that it shares. Whoever makes it needs the whole store. */
bool keel_run_reaches_far(const struct keel_run_core *core);

/* Sees to it that the open write may change a run whose core was read in it, and reads that again if others may have
 * changed it meanwhile. Nothing is written yet: it may begin again, with the whole store. */
enum keel_code keel_run_cover(struct keel_store *store, struct keel_text run_id, struct keel_arena **arena,
							  struct keel_run_core *core, struct keel_error *err);

/* Begins the write of a change to one run, and reads its core; `is_family`: as keel_run_read_family does. On failure
 * nothing is begun. */
enum keel_code keel_run_write_begin(struct keel_store *store, struct keel_text run_id, bool is_family,
									struct keel_arena **arena, struct keel_run_core *core, struct keel_error *err);

/* The id of a run in a column, borrowed from the statement. KEEL_STORE_CORRUPT: it is none. */
enum keel_code keel_run_read_id(struct keel_statement *select, int column, struct keel_text *run_id,
								struct keel_error *err);

/* The first row of a bound query, a place and a run's id ("": the run is not there); resets the query. */
enum keel_code keel_run_first(struct keel_statement *select, int64_t *seq, char run_id[KEEL_ID_MAX + 1], bool *found,
							  struct keel_error *err);

/* What becomes of a run when a record is written into its row; without a row (core->found false), what it begins as.
 * Texts are borrowed from both. */
struct keel_run_core keel_run_core_with(const struct keel_run_core *core, const struct keel_run *delta);

/* Whether a row, or a record that was read, is one that could have been written. What is not is damage where it is
 * read, and a bug where it is written. */
bool keel_run_invariant(const struct keel_run_core *core);
bool keel_run_record_invariant(const struct keel_run *run);

/* Whether a run wants slots or rates. */
static inline bool keel_run_is_limited(const struct keel_run_core *core)
{
	return core->slots.data || core->rates.data;
}

/* Whether there is such a time, and it has come. */
static inline bool keel_is_due(int64_t time, int64_t now)
{
	return time != INT64_MIN && time <= now;
}

#endif
