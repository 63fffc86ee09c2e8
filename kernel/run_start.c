/* run_start.c - the gate that starts runs, and claiming. Uses: run_change, event.
 *
 * What the gate counts is counted in the transaction that starts the run; there are no counters to go wrong.
 */
#include <keel/run.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run_change.h"

/* As the partial indexes spell it. */
#define IS_PENDING "coalesce(status, 0) = 0"
#define IS_ACTIVE "(status = 1 OR finalizing = 1)"
#define IS_CLAIMABLE "claimable = 1 AND " IS_PENDING
#define BEST_FIRST "coalesce(priority, 0) DESC, seq"

const char *keel_gate_name(enum keel_gate gate)
{
	static const char *const names[KEEL_GATE_COUNT] = {"open", "delay", "after", "queue", "concurrency"};
	return (unsigned)gate < KEEL_GATE_COUNT ? names[gate] : NULL;
}

/* --- The gate ---------------------------------------------------------------------------------------------------- */

static bool has_come(int64_t time, int64_t now)
{
	return time == INT64_MIN || time <= now;
}

static void in_the_way(struct keel_gate_state *state, enum keel_gate gate, struct keel_text run_id)
{
	state->gate = gate;
	size_t size = run_id.size < KEEL_ID_MAX ? run_id.size : KEEL_ID_MAX;
	if (size)
		memcpy(state->run_id, run_id.data, size);
	state->run_id[size] = '\0';
}

/* The first row of a query, as a text and a number. *row is false when there is none. */
static enum keel_code first_row(struct keel_statement *select, char text[KEEL_ID_MAX + 1], int64_t *number, bool *row,
								struct keel_error *err)
{
	enum keel_code code = keel_step(select, row, err);
	if (code == KEEL_OK && *row) {
		struct keel_text found = keel_column_text(select, 0);
		size_t size = found.size < KEEL_ID_MAX ? found.size : KEEL_ID_MAX;
		if (!found.data)
			code = keel_fail_memory(err);
		else
			memcpy(text, found.data, size);
		text[size] = '\0';
		*number = keel_column_int(select, 1);
	}
	keel_reset(select);
	return code;
}

static enum keel_code look_after(struct keel_store *store, const struct keel_run_core *core,
								 struct keel_gate_state *state, struct keel_error *err)
{
	static const char unsettled[] =
		"SELECT run_id, seq FROM runs WHERE run_id = ?1 AND (coalesce(status, 0) < 2 OR finalizing = 1)";
	struct keel_text left = core->waits_for, id;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && state->gate == KEEL_GATE_OPEN && keel_text_line(&left, &id)) {
		struct keel_statement *select;
		int64_t seq;
		bool row = false;
		code = keel_query(store, unsettled, &select, err, keel_text(id));
		if (code == KEEL_OK)
			code = first_row(select, state->run_id, &seq, &row, err);
		if (code == KEEL_OK && row && seq != core->seq)
			in_the_way(state, KEEL_GATE_AFTER, id);
	}
	return code;
}

static enum keel_code look_at_thread(struct keel_store *store, const struct keel_run_core *core,
									 struct keel_gate_state *state, struct keel_error *err)
{
	static const char head[] =
		"SELECT run_id, seq FROM runs WHERE thread_id = ?1 AND " IS_PENDING " ORDER BY " BEST_FIRST " LIMIT 1";
	static const char count[] =
		"SELECT count(*) FROM (SELECT 1 FROM runs WHERE thread_id = ?1 AND " IS_ACTIVE " LIMIT ?2)";
	static const char oldest[] =
		"SELECT run_id, seq FROM runs WHERE thread_id = ?1 AND " IS_ACTIVE " ORDER BY seq LIMIT 1";
	struct keel_statement *select;
	int64_t seq = 0, active = 0;
	bool row;
	enum keel_code code = keel_query(store, head, &select, err, keel_text(core->thread_id));
	if (code == KEEL_OK)
		code = first_row(select, state->run_id, &seq, &row, err);
	if (code != KEEL_OK)
		return code;
	if (row && seq != core->seq) {
		state->gate = KEEL_GATE_QUEUE;
		return KEEL_OK;
	}
	code = keel_query(store, count, &select, err, keel_text(core->thread_id), keel_int(core->concurrency));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row)
		active = keel_column_int(select, 0);
	keel_reset(select);
	if (code != KEEL_OK || active < core->concurrency)
		return code;
	state->gate = KEEL_GATE_CONCURRENCY;
	code = keel_query(store, oldest, &select, err, keel_text(core->thread_id));
	return code == KEEL_OK ? first_row(select, state->run_id, &seq, &row, err) : code;
}

/* What is in the way of a pending run. */
static enum keel_code look_at_gate(struct keel_store *store, const struct keel_run_core *core,
								   struct keel_gate_state *state, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	if (!has_come(core->scheduled_at, keel_store_now(store))) {
		state->gate = KEEL_GATE_DELAY;
		state->until = core->scheduled_at;
		return KEEL_OK;
	}
	if (core->waits_for.data)
		code = look_after(store, core, state, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_OPEN && core->concurrency > 0)
		code = look_at_thread(store, core, state, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_OPEN)
		state->run_id[0] = '\0';
	return code;
}

static enum keel_code look_at_position(struct keel_store *store, const struct keel_run_core *core, int64_t *position,
									   struct keel_error *err)
{
	static const char ahead[] = "SELECT count(*) FROM runs WHERE thread_id = ?1 AND " IS_PENDING
								" AND (coalesce(priority, 0) > ?2 OR (coalesce(priority, 0) = ?2 AND seq < ?3))";
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_query(store, ahead, &select, err, keel_text(core->thread_id), keel_int(core->priority),
									 keel_int(core->seq));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row)
		*position = keel_column_int(select, 0) + 1;
	keel_reset(select);
	return code;
}

enum keel_code keel_run_gate(struct keel_store *store, struct keel_text run_id, bool *found,
							 struct keel_gate_state *state, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	*found = false;
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found && core.status == KEEL_RUN_PENDING) {
		code = look_at_gate(store, &core, state, err);
		if (code == KEEL_OK)
			code = look_at_position(store, &core, &state->position, err);
	}
	keel_arena_free(&arena);
	keel_read_end(store);
	*found = code == KEEL_OK && core.found;
	return code;
}

/* --- Starting ---------------------------------------------------------------------------------------------------- */

struct start {
	const struct keel_start *asked;
	struct keel_gate_state *state;
};

/* What every run that starts gets. */
static void run_it(struct keel_store *store, struct keel_run *delta, int64_t lease_us)
{
	KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_RUNNING);
	KEEL_RUN_SET(delta, FINALIZING, finalizing, 0);
	if (lease_us > 0)
		KEEL_RUN_SET(delta, LEASE_EXPIRES_AT, lease_expires_at, keel_store_after(store, lease_us));
}

static enum keel_code decide_start(struct keel_run_change *change, struct keel_error *err)
{
	const struct keel_run_core *core = change->core;
	struct start *start = change->context;
	if (core->status != KEEL_RUN_PENDING)
		return keel_run_refuse(core, change->run_id, KEEL_RUN_RUNNING, err);
	if (core->claimable) /* it would run with nobody to answer for it */
		return keel_fail(err, KEEL_STALE_OWNER, "run %.*s has to be claimed before it can start",
						 (int)change->run_id.size, change->run_id.data);
	if (core->cancel_requested) {
		KEEL_RUN_SET(change->delta, STATUS, status, KEEL_RUN_INTERRUPTED);
		return KEEL_OK;
	}
	if (core->deadline != INT64_MIN && has_come(core->deadline, keel_store_now(change->store))) {
		KEEL_RUN_SET(change->delta, STATUS, status, KEEL_RUN_TIMEOUT);
		KEEL_RUN_SET(change->delta, STOP_REASON, stop_reason, keel_text_of("deadline"));
		return KEEL_OK;
	}
	enum keel_code code = look_at_gate(change->store, core, start->state, err);
	if (code == KEEL_OK && start->state->gate == KEEL_GATE_OPEN)
		run_it(change->store, change->delta, start->asked->lease_us);
	return code;
}

enum keel_code keel_run_start(struct keel_store *store, struct keel_text run_id, const struct keel_start *start,
							  bool *found, struct keel_gate_state *state, struct keel_run *written,
							  struct keel_error *err)
{
	struct keel_run delta = {0};
	struct start context = {start, state};
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	return keel_run_change_row(store, run_id, &delta, start->fence, decide_start, &context, found, written, err);
}

/* --- Claiming ---------------------------------------------------------------------------------------------------- */

/* A claimable run that may be the one. */
struct candidate {
	struct keel_text run_id, thread_id;
	int64_t priority, seq;
};

enum { BEST_TRIED = 64 }; /* of all threads together; beyond them the heads of the threads are asked one by one */

static enum keel_code claim_one(struct keel_store *store, struct keel_text run_id, const struct keel_claim *claim,
								struct keel_arena **arena, bool *taken, struct keel_error *err)
{
	struct keel_run_core core;
	struct keel_gate_state state;
	struct keel_run delta = {0};
	*taken = false;
	enum keel_code code = keel_run_read_core(store, run_id, arena, &core, err);
	if (code == KEEL_OK)
		code = look_at_gate(store, &core, &state, err);
	if (code != KEEL_OK || state.gate != KEEL_GATE_OPEN)
		return code;
	run_it(store, &delta, claim->lease_us);
	KEEL_RUN_SET(&delta, SESSION_ID, session_id, store->session);
	KEEL_RUN_SET(&delta, FENCE, fence, core.fence + 1);
	KEEL_RUN_SET(&delta, CLAIMABLE, claimable, 0);
	*taken = true;
	return keel_run_apply(store, run_id, &core, &delta, NULL, (struct keel_text){NULL, 0}, NULL, err);
}

/* Runs that are due at the time ?1, and that nobody wants stopped. */
#define CANDIDATES                                                                              \
	"SELECT run_id, thread_id, coalesce(priority, 0), seq FROM runs WHERE " IS_CLAIMABLE        \
	" AND (scheduled_at IS NULL OR scheduled_at <= ?1) AND (deadline IS NULL OR deadline > ?1)" \
	" AND cancel_action IS NULL "

static enum keel_code read_candidate(struct keel_statement *select, struct keel_arena **arena,
									 struct candidate *candidate, struct keel_error *err)
{
	if (!keel_arena_text(arena, keel_column_text(select, 0), &candidate->run_id) ||
		!keel_arena_text(arena, keel_column_text(select, 1), &candidate->thread_id) || !candidate->run_id.data ||
		!candidate->thread_id.data)
		return keel_fail_memory(err);
	candidate->priority = keel_column_int(select, 2);
	candidate->seq = keel_column_int(select, 3);
	return KEEL_OK;
}

static bool is_same(struct keel_text a, struct keel_text b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Tries the best of all threads in order. *run_id is the one that was written to, also when that failed. *more: there
 * are others behind them. */
static enum keel_code claim_best(struct keel_store *store, const struct keel_claim *claim, struct keel_arena **arena,
								 struct keel_text *run_id, bool *more, struct keel_error *err)
{
	static const char best[] = CANDIDATES "ORDER BY " BEST_FIRST " LIMIT ?2";
	struct candidate tried[BEST_TRIED];
	size_t count = 0;
	struct keel_statement *select;
	bool row, taken = false;
	enum keel_code code = keel_query(store, best, &select, err, keel_int(keel_store_now(store)), keel_int(BEST_TRIED));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row && count < BEST_TRIED) {
		code = read_candidate(select, arena, &tried[count], err);
		if (code != KEEL_OK)
			break;
		count++;
	}
	keel_reset(select);
	*more = count == BEST_TRIED;
	for (size_t i = 0; code == KEEL_OK && !taken && i < count; i++) {
		bool blocked = false; /* by one of the same thread before it */
		for (size_t k = 0; k < i && !blocked; k++)
			blocked = is_same(tried[k].thread_id, tried[i].thread_id);
		if (!blocked)
			code = claim_one(store, tried[i].run_id, claim, arena, &taken, err);
		if (taken)
			*run_id = tried[i].run_id;
	}
	return code;
}

/* The first of a thread that is due, if any: run_id.data NULL when there is none. */
static enum keel_code head_of(struct keel_store *store, struct keel_text thread_id, struct keel_arena **arena,
							  struct candidate *head, struct keel_error *err)
{
	static const char first[] = CANDIDATES "AND thread_id = ?2 ORDER BY " BEST_FIRST " LIMIT 1";
	struct keel_statement *select;
	bool row;
	*head = (struct candidate){{NULL, 0}, {NULL, 0}, 0, 0};
	enum keel_code code = keel_query(store, first, &select, err, keel_int(keel_store_now(store)), keel_text(thread_id));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row)
		code = read_candidate(select, arena, head, err);
	keel_reset(select);
	return code;
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->seq < b->seq;
}

/* Whether a thread's head may start, and is better than the best so far, which it then replaces. */
static enum keel_code consider(struct keel_store *store, struct keel_text thread_id, struct keel_arena **arena,
							   struct candidate *best, struct keel_error *err)
{
	struct candidate head;
	struct keel_run_core core;
	struct keel_gate_state state;
	enum keel_code code = head_of(store, thread_id, arena, &head, err);
	if (code != KEEL_OK || !head.run_id.data || (best->run_id.data && !is_better(&head, best)))
		return code;
	code = keel_run_read_core(store, head.run_id, arena, &core, err);
	if (code == KEEL_OK)
		code = look_at_gate(store, &core, &state, err);
	if (code == KEEL_OK && state.gate == KEEL_GATE_OPEN)
		*best = head;
	return code;
}

/* The first thread behind another, by name, that has something to claim. data NULL: none. */
static enum keel_code next_thread(struct keel_store *store, struct keel_text behind, struct keel_arena **arena,
								  struct keel_text *thread_id, struct keel_error *err)
{
	static const char next[] = "SELECT thread_id FROM runs WHERE " IS_CLAIMABLE " AND thread_id > ?1"
							   " ORDER BY thread_id LIMIT 1";
	struct keel_statement *select;
	bool row;
	*thread_id = (struct keel_text){NULL, 0};
	enum keel_code code = keel_query(store, next, &select, err, keel_text(behind));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row && (!keel_arena_text(arena, keel_column_text(select, 0), thread_id) || !thread_id->data))
		code = keel_fail_memory(err);
	keel_reset(select);
	return code;
}

/* Asks the heads of up to `limit` threads, going on where the last call stopped. */
static enum keel_code best_of_heads(struct keel_store *store, const struct keel_claim *claim, struct keel_arena **arena,
									struct candidate *best, struct keel_error *err)
{
	struct keel_text thread_id = keel_buffer_text(&store->claimed_from), from = thread_id;
	bool wrapped = thread_id.size == 0;
	enum keel_code code = KEEL_OK;
	if (!thread_id.data)
		thread_id = from = keel_text_of("");
	for (int64_t i = 0; code == KEEL_OK && i < claim->limit; i++) {
		code = next_thread(store, thread_id, arena, &thread_id, err);
		if (code == KEEL_OK && !thread_id.data && !wrapped) {
			wrapped = true;
			code = next_thread(store, keel_text_of(""), arena, &thread_id, err);
		}
		if (code != KEEL_OK || !thread_id.data)
			break;
		code = consider(store, thread_id, arena, best, err);
		if (wrapped && from.size && is_same(thread_id, from))
			break; /* once around */
	}
	struct keel_buffer *place = &store->claimed_from;
	struct keel_text stopped = thread_id;
	if (code == KEEL_OK) {
		keel_buffer_clear(place);
		if (stopped.data)
			keel_buffer_add(place, stopped.data, stopped.size);
		if (place->failed)
			code = keel_fail_memory(err);
	}
	return code;
}

static enum keel_code check_claim(const struct keel_claim *claim, struct keel_error *err)
{
	enum keel_code code = keel_check_limit(claim->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK && claim->threads_count > KEEL_LIST_MAX)
		code = keel_fail_limit(err, "threads", (int64_t)claim->threads_count, KEEL_LIST_MAX);
	for (size_t i = 0; code == KEEL_OK && i < claim->threads_count; i++)
		code = keel_check_id(claim->threads[i], "threads", err);
	return code;
}

static enum keel_code find_and_claim(struct keel_store *store, const struct keel_claim *claim,
									 struct keel_arena **arena, struct keel_text *run_id, struct keel_error *err)
{
	struct candidate best = {{NULL, 0}, {NULL, 0}, 0, 0};
	enum keel_code code = KEEL_OK;
	bool more = false, taken;
	if (claim->threads_count == 0)
		code = claim_best(store, claim, arena, run_id, &more, err);
	if (code == KEEL_OK && more && !run_id->data)
		code = best_of_heads(store, claim, arena, &best, err);
	for (size_t i = 0; code == KEEL_OK && i < claim->threads_count; i++)
		code = consider(store, claim->threads[i], arena, &best, err);
	if (code == KEEL_OK && best.run_id.data) {
		code = claim_one(store, best.run_id, claim, arena, &taken, err);
		*run_id = best.run_id;
	}
	return code;
}

enum keel_code keel_run_claim_next(struct keel_store *store, const struct keel_claim *claim, struct keel_runs *list,
								   struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_text run_id = {NULL, 0};
	list->count = 0;
	enum keel_code code = check_claim(claim, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = find_and_claim(store, claim, &arena, &run_id, err);
	if (code == KEEL_OK && run_id.data)
		code = keel_run_get(store, run_id, (struct keel_text){NULL, 0}, list, err);
	bool wrote = run_id.data != NULL;
	keel_arena_free(&arena);
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK)
		list->count = 0;
	return code;
}
