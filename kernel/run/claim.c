/* claim.c - claiming: the best of the runs that nobody owns. Uses: gate, change.
 *
 * First the best of all threads are tried, which finds one at once when runs are free to start; when all of those are
 * blocked, the threads are asked one by one: for their head, and then for the runs that need no turn (those without a
 * concurrency). What waits for its turn behind a head is never read.
 */
#include <keel/run.h>

#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/gate.h"

/* A claimable run that may be the one. */
struct candidate {
	struct keel_text run_id, thread_id;
	int64_t priority, seq;
	bool queued; /* it needs its turn */
};

enum {
	BEST_TRIED = 64,    /* of all threads together; beyond them the threads are asked one by one */
	LATER_TRIED = 64,   /* of those that were put off and are due; beyond them these are no exception any more */
	UNQUEUED_TRIED = 64 /* of one thread */
};

static enum keel_code claim_one(struct keel_store *store, struct keel_text run_id, const struct keel_claim *claim,
								struct keel_arena **arena, bool *taken, struct keel_error *err)
{
	struct keel_run_core core;
	struct keel_gate_state state;
	struct keel_run delta = {0};
	*taken = false;
	enum keel_code code = keel_run_read_core(store, run_id, arena, &core, err);
	if (code == KEEL_OK)
		code = keel_run_look_at_gate(store, &core, &state, err);
	if (code != KEEL_OK || state.gate != KEEL_GATE_OPEN)
		return code;
	keel_run_begin(store, &delta, claim->lease_us);
	KEEL_RUN_SET(&delta, SESSION_ID, session_id, store->session);
	KEEL_RUN_SET(&delta, CLAIMABLE, claimable, 0);
	KEEL_RUN_SET(&delta, SHARED, shared, 1);
	code = keel_run_change_owner(&core, run_id, &delta, err);
	if (code != KEEL_OK)
		return code;
	*taken = true;
	return keel_run_apply(store, run_id, &core, &delta, NULL, (struct keel_text){NULL, 0}, NULL, err);
}

/* Runs that are due at the time ?1, and that nobody wants stopped. */
#define CANDIDATES                                                                                                   \
	"SELECT run_id, thread_id, coalesce(priority, 0), seq, coalesce(concurrency, 0) FROM runs WHERE " KEEL_CLAIMABLE \
	" AND (scheduled_at IS NULL OR scheduled_at <= ?1) AND (deadline IS NULL OR deadline > ?1)"                      \
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
	candidate->queued = keel_column_int(select, 4) > 0;
	return KEEL_OK;
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->seq < b->seq;
}

static int in_order(const void *a, const void *b)
{
	return is_better(a, b) ? -1 : 1;
}

/* Adds up to `most` candidates of a query to the list; of a thread, when the query asks for one. */
static enum keel_code read_candidates(struct keel_store *store, const char *text, int most, struct keel_text thread_id,
									  struct keel_arena **arena, struct candidate *list, size_t *count,
									  struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	const struct keel_value values[] = {keel_int(keel_store_now(store)), keel_int(most), keel_text(thread_id)};
	enum keel_code code = keel_query_values(store, text, &select, err, values, thread_id.data ? 3 : 2);
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row && most-- > 0) {
		code = read_candidate(select, arena, &list[*count], err);
		if (code != KEEL_OK)
			break;
		++*count;
	}
	keel_reset(select);
	return code;
}

/* The best of all threads, in order. Those that were put off are asked for apart, by when they are due: there may be
 * any number that are not, and they would stand at the front. *more: there are others behind them. */
static enum keel_code read_best(struct keel_store *store, struct keel_arena **arena, struct candidate *list,
								size_t *count, bool *more, struct keel_error *err)
{
	static const char all[] = CANDIDATES "ORDER BY " KEEL_BEST_FIRST " LIMIT ?2";
	static const char at_once[] = CANDIDATES "AND scheduled_at IS NULL ORDER BY " KEEL_BEST_FIRST " LIMIT ?2";
	static const char later[] =
		CANDIDATES "AND scheduled_at IS NOT NULL AND scheduled_at <= ?1 ORDER BY scheduled_at LIMIT ?2";
	static const struct keel_text all_threads = {NULL, 0};
	*count = 0;
	enum keel_code code = read_candidates(store, later, LATER_TRIED, all_threads, arena, list, count, err);
	if (code != KEEL_OK)
		return code;
	size_t due = *count;
	const char *rest = at_once;
	if (due == LATER_TRIED) { /* so many are due that the best of them need not be among these */
		*count = due = 0;
		rest = all;
	}
	code = read_candidates(store, rest, BEST_TRIED, all_threads, arena, list, count, err);
	*more = *count - due == BEST_TRIED;
	if (code == KEEL_OK && due > 0) {
		struct candidate last = list[*count - 1];
		qsort(list, *count, sizeof *list, in_order);
		while (*more && is_better(&last, &list[*count - 1]))
			--*count; /* among those behind the last may be better ones */
	}
	return code;
}

/* Tries the best of all threads in order. *run_id is the one that was written to, also when that failed. *more: there
 * are others behind them. */
static enum keel_code claim_best(struct keel_store *store, const struct keel_claim *claim, struct keel_arena **arena,
								 struct keel_text *run_id, bool *more, struct keel_error *err)
{
	struct candidate tried[LATER_TRIED + BEST_TRIED];
	size_t count = 0;
	bool taken = false;
	enum keel_code code = read_best(store, arena, tried, &count, more, err);
	for (size_t i = 0; code == KEEL_OK && !taken && i < count; i++) {
		bool blocked = false; /* by one of the same thread before it: it is not its turn */
		for (size_t k = 0; k < i && tried[i].queued && !blocked; k++)
			blocked = keel_text_same(tried[k].thread_id, tried[i].thread_id);
		if (!blocked)
			code = claim_one(store, tried[i].run_id, claim, arena, &taken, err);
		if (taken)
			*run_id = tried[i].run_id;
	}
	return code;
}

/* Puts a run in the place of the best so far when it is better and may start. *worse: it is not better, and nor is what
 * comes behind it. */
static enum keel_code try_one(struct keel_store *store, const struct candidate *candidate, struct keel_arena **arena,
							  struct candidate *best, bool *worse, struct keel_error *err)
{
	struct keel_run_core core;
	struct keel_gate_state state;
	*worse = best->run_id.data && !is_better(candidate, best);
	if (*worse)
		return KEEL_OK;
	enum keel_code code = keel_run_read_core(store, candidate->run_id, arena, &core, err);
	if (code == KEEL_OK)
		code = keel_run_look_at_gate(store, &core, &state, err);
	if (code == KEEL_OK && state.gate == KEEL_GATE_OPEN) {
		*best = *candidate;
		*worse = true;
	}
	return code;
}

/* The best of a thread: its head, or behind a blocked one the first that needs no turn and may start. It replaces the
 * best so far if it is better. */
static enum keel_code consider(struct keel_store *store, struct keel_text thread_id, struct keel_arena **arena,
							   struct candidate *best, struct keel_error *err)
{
	static const char first[] = CANDIDATES "AND thread_id = ?3 ORDER BY " KEEL_BEST_FIRST " LIMIT ?2";
	static const char unqueued[] =
		CANDIDATES "AND coalesce(concurrency, 0) = 0 AND thread_id = ?3 ORDER BY " KEEL_BEST_FIRST " LIMIT ?2";
	struct candidate tried[UNQUEUED_TRIED];
	size_t count = 0;
	bool done = true;
	enum keel_code code = read_candidates(store, first, 1, thread_id, arena, tried, &count, err);
	if (code == KEEL_OK && count > 0)
		code = try_one(store, &tried[0], arena, best, &done, err);
	if (code != KEEL_OK || done)
		return code;
	count = 0;
	code = read_candidates(store, unqueued, UNQUEUED_TRIED, thread_id, arena, tried, &count, err);
	for (size_t i = 0; code == KEEL_OK && !done && i < count; i++)
		code = try_one(store, &tried[i], arena, best, &done, err);
	return code;
}

/* The first thread behind another, by name, that has something to claim. data NULL: none. */
static enum keel_code next_thread(struct keel_store *store, struct keel_text behind, struct keel_arena **arena,
								  struct keel_text *thread_id, struct keel_error *err)
{
	static const char next[] = "SELECT thread_id FROM runs WHERE " KEEL_CLAIMABLE " AND thread_id > ?1"
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

/* Asks up to `limit` threads, going on where the last call stopped. */
static enum keel_code best_of_threads(struct keel_store *store, const struct keel_claim *claim,
									  struct keel_arena **arena, struct candidate *best, struct keel_error *err)
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
		if (wrapped && from.size && keel_text_same(thread_id, from))
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
	struct candidate best = {{NULL, 0}, {NULL, 0}, 0, 0, false};
	enum keel_code code = KEEL_OK;
	bool more = false, taken;
	if (claim->threads_count == 0)
		code = claim_best(store, claim, arena, run_id, &more, err);
	if (code == KEEL_OK && more && !run_id->data)
		code = best_of_threads(store, claim, arena, &best, err);
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
