/* claim.c - claiming: the best of the runs that nobody owns. Uses: line, gate, starts, change.
 *
 * What may be claimed stands in lines. The best head of those that may be able to start is looked at, until one starts;
 * what is blocked is parked at what is in its way, so nobody looks at it again before something happens there, and a
 * claim costs the same however much is blocked.
 */
#include <keel/run.h>

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/changed.h"
#include "run/change.h"
#include "run/gate.h"
#include "run/line.h"
#include "run/live.h"
#include "run/predicates.h"
#include "run/resolve.h"
#include "run/start.h"
#include "run/starts.h"

enum {
	DUE_MAX = 1000, /* of those that were put off, taken in by one claim: what is due first goes first */
	LOOKS_MAX = 64  /* in one transaction: others want to write, too */
};

/* A claim while it is being made. */
struct claiming {
	struct keel_store *store;
	const struct keel_claim *asked;
	struct keel_arena *arena;
	struct keel_text run_id; /* what was taken; data NULL: nothing yet */
	int64_t looks;           /* at lines, so far */
	bool looks_first;        /* for anything at all, before it writes */
	bool beside;             /* other writers, with the locks of some threads only */
	bool over;               /* there is nothing else to look at */
};

/* The tables of what waits lead to a row that does not. */
static enum keel_code fail_lines(const struct claiming *claiming, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: what may be claimed is not what there is",
					 keel_store_path(claiming->store));
}

static enum keel_code take(struct claiming *claiming, struct keel_text run_id, const struct keel_run_core *core,
						   struct keel_error *err)
{
	struct keel_run delta = {0};
	KEEL_ASSERT(claiming->store->session > 0 && !claiming->run_id.data);
	if (keel_run_effect(core, KEEL_ACTION_CLAIM) != KEEL_EFFECT_RUNS)
		return fail_lines(claiming, err);
	keel_run_begin(claiming->store, &delta, claiming->asked->lease_us);
	KEEL_RUN_SET(&delta, SESSION_ID, session_id, claiming->store->session);
	KEEL_RUN_SET(&delta, CLAIMABLE, claimable, 0);
	KEEL_RUN_SET(&delta, SHARED, shared, 1);
	enum keel_code code = keel_run_change_owner(core, run_id, &delta, err);
	if (code != KEEL_OK)
		return code;
	claiming->run_id = run_id;
	code = keel_run_apply(claiming->store, run_id, core, &delta, NULL, (struct keel_text){NULL, 0}, NULL, err);
	KEEL_ASSERT(code != KEEL_OK || keel_run_follows(core, KEEL_ACTION_CLAIM, &delta));
	return code;
}

/* The run at a place in the order of insertion. */
static enum keel_code read_at(struct claiming *claiming, int64_t seq, struct keel_text *run_id,
							  struct keel_run_core *core, struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	*run_id = (struct keel_text){NULL, 0};
	enum keel_code code =
		keel_query(claiming->store, "SELECT run_id FROM runs WHERE seq = ?1", &select, err, keel_value_int(seq));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row)
		code = keel_run_read_id(select, 0, run_id, err);
	if (code == KEEL_OK && row && !keel_arena_text(&claiming->arena, *run_id, run_id))
		code = keel_fail_memory(err);
	keel_reset(select);
	if (code == KEEL_OK && !row)
		return fail_lines(claiming, err);
	return code == KEEL_OK ? keel_run_read_core(claiming->store, *run_id, &claiming->arena, core, err) : code;
}

/* --- What was put off --------------------------------------------------------------------------------------------- */

/* Its time has come: it goes into its queue, and into its line; or a line of which a rate lets one start again. */
static enum keel_code take_in(struct claiming *claiming, int64_t at, int64_t seq, struct keel_error *err)
{
	struct keel_run_core core = {.claimable = false};
	struct keel_text run_id;
	enum keel_code code =
		seq < 0 ? keel_line_wake_one(claiming->store, -seq, err) : read_at(claiming, seq, &run_id, &core, err);
	if (code == KEEL_OK && core.status != KEEL_RUN_PENDING)
		code = fail_lines(claiming, err);
	if (code == KEEL_OK)
		code = keel_execute(claiming->store, "DELETE FROM later WHERE at = ?1 AND seq = ?2", err, keel_value_int(at),
							keel_value_int(seq));
	if (code == KEEL_OK && seq > 0)
		code = keel_execute(claiming->store, "UPDATE live SET status = ?3 WHERE thread_id = ?1 AND seq = ?2", err,
							keel_value_text(core.thread_id), keel_value_int(seq),
							keel_value_int(keel_live_status(&core, keel_store_now(claiming->store))));
	return code == KEEL_OK && core.claimable && !core.cancel_requested ? keel_line_join(claiming->store, &core, err)
																	   : code;
}

static enum keel_code take_in_due(struct claiming *claiming, struct keel_error *err)
{
	static const char first[] = "SELECT at, seq FROM later WHERE at <= ?1 ORDER BY at, seq LIMIT 1";
	int64_t now = keel_store_now(claiming->store);
	enum keel_code code = KEEL_OK;
	bool row = true;
	KEEL_ASSERT(claiming->store->sql->driver->in_transaction(claiming->store->sql));
	for (int i = 0; code == KEEL_OK && row && i < DUE_MAX; i++) {
		struct keel_statement *select;
		int64_t at = 0, seq = 0;
		code = keel_query(claiming->store, first, &select, err, keel_value_int(now));
		if (code != KEEL_OK)
			return code;
		code = keel_step(select, &row, err);
		if (code == KEEL_OK && row) {
			at = keel_column_int(select, 0);
			seq = keel_column_int(select, 1);
		}
		keel_reset(select);
		if (code == KEEL_OK && row)
			code = take_in(claiming, at, seq, err);
	}
	return code;
}

/* --- Of all threads ----------------------------------------------------------------------------------------------- */

/* Looks at the head of a line: takes it, or sees to it that it is not looked at again for nothing. */
static enum keel_code look(struct claiming *claiming, const struct keel_line_head *head, struct keel_error *err)
{
	struct keel_store *store = claiming->store;
	struct keel_gate_state state = {.gate = KEEL_GATE_OPEN};
	struct keel_run_core core;
	struct keel_text run_id;
	bool passed = false;
	enum keel_code code = read_at(claiming, head->seq, &run_id, &core, err);
	if (code != KEEL_OK)
		return code;
	store->reached_far = keel_run_reaches_far(&core);
	if (claiming->beside && store->reached_far)
		return KEEL_OK; /* it is for one who has the whole store */
	if (core.deadline != INT64_MIN && core.deadline <= keel_store_now(store)) {
		/* It will be ended by whoever recovers. */
		keel_gate_set(&state, KEEL_GATE_AFTER, run_id);
		code = keel_line_pass(store, &core, head, keel_store_now(store), &passed, err);
	} else {
		code = keel_run_look_at_gate(store, &core, &state, err);
		if (code == KEEL_OK && state.gate == KEEL_GATE_DELAY)
			code = keel_live_put_off(store, run_id, &core, &passed, err);
	}
	if (code != KEEL_OK || passed)
		return code;
	claiming->over = state.gate == KEEL_GATE_PAUSED && strcmp(state.name, "*") == 0;
	return state.gate == KEEL_GATE_OPEN ? take(claiming, run_id, &core, err)
										: keel_line_park(store, head->line, &core, &state, err);
}

static enum keel_code claim_best(struct claiming *claiming, struct keel_error *err)
{
	const struct keel_claim *asked = claiming->asked;
	enum keel_code code = KEEL_OK;
	for (int i = 0; code == KEEL_OK && i < LOOKS_MAX && !claiming->run_id.data && !claiming->over; i++) {
		struct keel_line_head head;
		code = keel_line_best(claiming->store, asked->handlers, asked->handlers_count, keel_store_now(claiming->store),
							  &head, err);
		if (code != KEEL_OK)
			return code;
		claiming->over = head.line < 0 || claiming->looks++ > asked->limit;
		if (!claiming->over)
			code = look(claiming, &head, err);
	}
	return code;
}

/* --- Of some threads ---------------------------------------------------------------------------------------------- */

/* The best that was found so far. */
struct best {
	int64_t priority, seq; /* seq 0: nothing */
	struct keel_text run_id;
	struct keel_run_core core;
};

static bool asks_for(const struct keel_claim *asked, struct keel_text handler)
{
	for (size_t i = 0; i < asked->handlers_count; i++)
		if (keel_text_same(asked->handlers[i], handler))
			return true;
	return asked->handlers_count == 0;
}

/* The first of a thread in the next line, behind `line`, that one who asks could work on; seq 0: none is left. Lines of
 * others are passed over. */
static enum keel_code next_in_line(struct claiming *claiming, struct keel_text thread_id, struct keel_line_head *head,
								   bool *asked, struct keel_error *err)
{
	static const char text[] = "SELECT line, priority, seq, handler FROM claims WHERE thread_id = ?1 AND line > ?2"
							   " AND (deadline IS NULL OR deadline > ?3) ORDER BY line, priority DESC, seq LIMIT 1";
	struct keel_statement *select;
	struct keel_text handler;
	bool row;
	enum keel_code code = keel_query(claiming->store, text, &select, err, keel_value_text(thread_id),
									 keel_value_int(head->line), keel_value_int(keel_store_now(claiming->store)));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	head->seq = 0;
	if (code == KEEL_OK && row) {
		head->line = keel_column_int(select, 0);
		head->priority = keel_column_int(select, 1);
		head->seq = keel_column_int(select, 2);
		if (!keel_column_read(select, 3, &handler))
			code = keel_fail_memory(err);
		*asked = code == KEEL_OK && asks_for(claiming->asked, handler);
	}
	keel_reset(select);
	return code;
}

/* Looks at the first of a thread in a line: it replaces the best so far if it is better and can start. *put_off: it was
 * early, and another one is the first now. */
static enum keel_code consider(struct claiming *claiming, const struct keel_line_head *head, struct best *best,
							   bool *put_off, struct keel_error *err)
{
	struct keel_run_core core;
	struct keel_gate_state state;
	struct keel_text run_id;
	*put_off = false;
	KEEL_ASSERT(head->line >= 0 && head->seq > 0);
	if (best->seq && (head->priority != best->priority ? head->priority < best->priority : head->seq > best->seq))
		return KEEL_OK;
	enum keel_code code = read_at(claiming, head->seq, &run_id, &core, err);
	if (code == KEEL_OK)
		code = keel_run_look_at_gate(claiming->store, &core, &state, err);
	if (code == KEEL_OK && state.gate == KEEL_GATE_DELAY)
		code = keel_live_put_off(claiming->store, run_id, &core, put_off, err);
	if (code == KEEL_OK && state.gate == KEEL_GATE_OPEN)
		*best = (struct best){core.priority, core.seq, run_id, core};
	return code;
}

/* All that wait in a line are blocked alike: one look at each line of the thread is enough, parked or not. */
static enum keel_code consider_thread(struct claiming *claiming, struct keel_text thread_id, struct best *best,
									  struct keel_error *err)
{
	struct keel_line_head head = {-1, 0, 1};
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && head.seq && claiming->looks <= claiming->asked->limit) {
		int64_t before = head.line;
		bool asked = false, put_off = false;
		code = next_in_line(claiming, thread_id, &head, &asked, err);
		if (code == KEEL_OK && head.seq && asked) {
			claiming->looks++;
			code = consider(claiming, &head, best, &put_off, err);
		}
		if (put_off)
			head.line = before;
	}
	return code;
}

static enum keel_code claim_of_threads(struct claiming *claiming, struct keel_error *err)
{
	const struct keel_claim *asked = claiming->asked;
	struct best best = {.seq = 0};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < asked->threads_count; i++) {
		claiming->looks = 0;
		code = consider_thread(claiming, asked->threads[i], &best, err);
	}
	claiming->over = true;
	return code == KEEL_OK && best.seq ? take(claiming, best.run_id, &best.core, err) : code;
}

/* --- Claiming ----------------------------------------------------------------------------------------------------- */

static enum keel_code check_claim(const struct keel_claim *claim, struct keel_error *err)
{
	enum keel_code code = keel_check_limit(claim->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK && claim->threads_count > KEEL_LIST_MAX)
		code = keel_fail_limit(err, "threads", (int64_t)claim->threads_count, KEEL_LIST_MAX);
	if (code == KEEL_OK && claim->handlers_count > KEEL_CLAIM_HANDLERS_MAX)
		code = keel_fail_limit(err, "handlers", (int64_t)claim->handlers_count, KEEL_CLAIM_HANDLERS_MAX);
	for (size_t i = 0; code == KEEL_OK && i < claim->threads_count; i++)
		code = keel_check_id(claim->threads[i], "threads", err);
	for (size_t i = 0; code == KEEL_OK && i < claim->handlers_count; i++)
		code = keel_check_id(claim->handlers[i], "handlers", err);
	return code;
}

/* Whoever ended a run may not have come to the end of what waited for it: then there may be something to claim. */
static enum keel_code resolve_left(struct claiming *claiming, struct keel_error *err)
{
	bool left, more;
	enum keel_code code = keel_run_has_rest(claiming->store, &left, err);
	if (code != KEEL_OK || !left)
		return code;
	claiming->over = false;
	return keel_run_resolve(claiming->store, &more, err);
}

/* What a clock that was put back has left in the future counts from now on: then a rate has room sooner. */
static enum keel_code meet_ahead(struct claiming *claiming, struct keel_error *err)
{
	struct keel_text name;
	bool met = true;
	enum keel_code code = KEEL_OK;
	for (int i = 0; code == KEEL_OK && met && i < LOOKS_MAX; i++) {
		code = keel_starts_ahead(claiming->store, &claiming->arena, &name, err);
		met = code == KEEL_OK && name.data;
		if (met)
			code = keel_line_meet(claiming->store, name, &met, err);
	}
	return code;
}

/* --- Looking from afar -------------------------------------------------------------------------------------------- */

enum { NAMED = 4 }; /* handlers that are asked for by name; with more it is asked whether there is anything of any */
#define OF_SOME "handler IN (?2, ?3, ?4, ?5)"
#define PLAIN_OF_SOME "'" KEEL_HANDLER_DEFAULT "' IN (?2, ?3, ?4, ?5)"

/* What somebody has to see to before the best is known. */
#define LEFT_OVER                                                                                \
	"EXISTS (SELECT 1 FROM later WHERE at <= ?1) OR EXISTS (SELECT 1 FROM starts WHERE at > ?1)" \
	" OR EXISTS (SELECT 1 FROM resolving)"

static bool names_some(const struct keel_claim *asked)
{
	return asked->handlers_count > 0 && asked->handlers_count <= NAMED;
}

/* Binds what a claim asks for: everything, or what is for some handlers. */
static enum keel_code ask(const struct claiming *claiming, const char *of_all, const char *of_some,
						  struct keel_statement **select, struct keel_error *err)
{
	struct keel_store *store = claiming->store;
	const struct keel_claim *asked = claiming->asked;
	struct keel_value values[1 + NAMED];
	bool some = names_some(asked);
	const char *text = some ? of_some : of_all;
	enum keel_code code = keel_store_prepare(store, text, select, err);
	if (code != KEEL_OK)
		return code;
	/* Its own question that is under way has its time: with another it would be asked anew, behind all others. */
	if (!store->sql->driver->asks(store->sql, *select))
		store->claims_look_us = keel_store_now(store);
	values[0] = keel_value_int(store->claims_look_us);
	for (size_t i = 0; some && i < NAMED; i++)
		values[1 + i] = keel_value_text(asked->handlers[i < asked->handlers_count ? i : 0]);
	return keel_query_values(store, text, select, err, values, some ? 1 + NAMED : 1);
}

/* Whether there is anything for a claim of all threads to look at; it may say so for nothing. */
static enum keel_code ask_for_any(const struct claiming *claiming, struct keel_statement **select,
								  struct keel_error *err)
{
#define PLAIN " OR EXISTS (SELECT 1 FROM claims WHERE line = 0 AND (deadline IS NULL OR deadline > ?1)"
	static const char of_all[] =
		"SELECT EXISTS (SELECT 1 FROM lines WHERE " KEEL_LINE_READY ")" PLAIN ") OR " LEFT_OVER;
	static const char of_some[] = "SELECT EXISTS (SELECT 1 FROM lines WHERE " KEEL_LINE_READY " AND " OF_SOME ")" PLAIN
								  " AND " PLAIN_OF_SOME ") OR " LEFT_OVER;
	return ask(claiming, of_all, of_some, select, err);
}

/* Whoever writes on a server keeps others waiting. Who found nothing looks first, in one trip, and writes nothing when
 * there is nothing again; what comes a moment later is told by the log. Whose question for the lock is under way does
 * not look: that would take it back. */
static enum keel_code look_from_afar(struct claiming *claiming, struct keel_error *err)
{
	struct keel_store *store = claiming->store;
	struct keel_statement *select;
	int64_t any = 1;
	if (!claiming->looks_first || !store->claims_in_vain || store->sql->driver->asks(store->sql, NULL))
		return KEEL_OK;
	enum keel_code code = ask_for_any(claiming, &select, err);
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &any, err);
	claiming->over = any == 0;
	return code;
}

/* Begins the transaction. Where looking is cheaper than writing, the look comes with the lock: of many who waited for
 * it, for one run, all but the first are gone at once. Sets `over` when there is nothing. */
static enum keel_code begin_claim(struct claiming *claiming, struct keel_error *err)
{
	struct keel_statement *select = NULL;
	bool row = true;
	enum keel_code code = claiming->looks_first ? ask_for_any(claiming, &select, err) : KEEL_OK;
	if (code == KEEL_OK)
		code = keel_write_begin_on(claiming->store, NULL, select, err);
	if (code != KEEL_OK || !select)
		return code;
	code = keel_step(select, &row, err);
	claiming->over = code == KEEL_OK && (!row || keel_column_int(select, 0) == 0);
	keel_reset(select);
	return code;
}

/* One transaction of it. */
static enum keel_code claim_once(struct claiming *claiming, struct keel_runs *list, struct keel_error *err)
{
	enum keel_code code = begin_claim(claiming, err);
	if (code == KEEL_OK && claiming->over) {
		keel_write_end(claiming->store, KEEL_NOT_FOUND, false, NULL); /* what wrote nothing has nothing to commit */
		return KEEL_OK;
	}
	if (code != KEEL_OK)
		return code;
	code = take_in_due(claiming, err);
	if (code == KEEL_OK)
		code = claiming->asked->threads_count ? claim_of_threads(claiming, err) : claim_best(claiming, err);
	if (code == KEEL_OK && claiming->over && !claiming->run_id.data)
		code = resolve_left(claiming, err);
	if (code == KEEL_OK && claiming->over && !claiming->run_id.data)
		code = meet_ahead(claiming, err);
	if (code == KEEL_OK && claiming->run_id.data)
		code = keel_run_get(claiming->store, claiming->run_id, (struct keel_text){NULL, 0}, list, err);
	KEEL_ASSERT(code != KEEL_OK || list->count == (claiming->run_id.data ? 1 : 0));
	return keel_write_end(claiming->store, code, true, err);
}

/* --- Beside others ------------------------------------------------------------------------------------------------ */

enum { CANDIDATES = 16 };

/* What may be claimed, as it was before anybody's lock. */
struct candidates {
	struct keel_line_head heads[CANDIDATES];
	struct keel_text threads[CANDIDATES];
	int count;
	bool left_over; /* there is something to see to first */
};

static enum keel_code ask_for_candidates(const struct claiming *claiming, struct keel_statement **select,
										 struct keel_error *err)
{
#define BEST(SOME, PLAIN_SOME)                                                                                      \
	"SELECT f.left_over, c.line, c.priority, c.seq, (SELECT thread_id FROM runs WHERE seq = c.seq) FROM"            \
	" (SELECT CASE WHEN " LEFT_OVER " THEN 1 ELSE 0 END AS left_over) AS f LEFT JOIN"                               \
	" (SELECT line, priority, seq FROM (SELECT line, priority, seq FROM lines WHERE " KEEL_LINE_READY SOME          \
	" ORDER BY priority DESC, seq LIMIT 16) AS a UNION ALL SELECT line, priority, seq FROM (SELECT line, priority," \
	" seq FROM claims WHERE line = 0 AND (deadline IS NULL OR deadline > ?1)" PLAIN_SOME                            \
	" ORDER BY priority DESC, seq LIMIT 16) AS b) AS c ON 1 = 1 ORDER BY c.priority DESC, c.seq LIMIT 16"
	static const char of_all[] = BEST("", "");
	static const char of_some[] = BEST(" AND " OF_SOME, " AND " PLAIN_OF_SOME);
	return ask(claiming, of_all, of_some, select, err);
}

static enum keel_code read_candidates(struct claiming *claiming, struct keel_statement *select,
									  struct candidates *found, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	bool row = true;
	found->count = 0;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		struct keel_text thread_id;
		found->left_over = keel_column_int(select, 0) != 0;
		if (keel_column_null(select, 1))
			continue;
		KEEL_ASSERT(found->count < CANDIDATES);
		found->heads[found->count] = (struct keel_line_head){.line = keel_column_int(select, 1),
															 .priority = keel_column_int(select, 2),
															 .seq = keel_column_int(select, 3)};
		if (!keel_column_read(select, 4, &thread_id) ||
			!keel_arena_text(&claiming->arena, thread_id, &found->threads[found->count++])) {
			code = keel_fail_memory(err);
			break;
		}
	}
	keel_reset(select);
	return code;
}

/* Whether the first of a line is that still. */
static enum keel_code is_head(struct keel_store *store, const struct keel_line_head *head, bool *is,
							  struct keel_error *err)
{
	static const char text[] = "SELECT EXISTS (SELECT 1 FROM claims WHERE line = ?1 AND seq = ?2) AND (?1 = 0 OR EXISTS"
							   " (SELECT 1 FROM lines WHERE line = ?1 AND seq = ?2 AND " KEEL_LINE_READY "))";
	struct keel_statement *select;
	int64_t found = 0;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(head->line), keel_value_int(head->seq));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &found, err);
	*is = found != 0;
	return code;
}

/* Takes the best that nobody else works on. `over`: nothing may be claimed at all. */
static enum keel_code claim_candidate(struct claiming *claiming, const struct candidates *found, struct keel_error *err)
{
	struct keel_store *store = claiming->store;
	enum keel_code code = KEEL_OK;
	claiming->over = found->count == 0 && !found->left_over;
	if (found->left_over)
		return code;
	for (int i = 0; code == KEEL_OK && i < found->count && !claiming->run_id.data && !store->reached_far; i++) {
		bool mine = false, is = false;
		if (!found->threads[i].data)
			return fail_lines(claiming, err);
		code = keel_write_try(store, found->threads[i], &mine, err);
		if (code == KEEL_OK && mine)
			code = is_head(store, &found->heads[i], &is, err);
		if (code == KEEL_OK && is)
			code = look(claiming, &found->heads[i], err);
	}
	return code;
}

/* On a server one who has the whole store keeps all others waiting. What waits for nothing but its own thread is
 * claimed with the lock of that thread: what may be claimed is looked at without one, the best first; one whose thread
 * somebody else has is passed over. When that finds nothing to take, it is for claim_once. */
static enum keel_code claim_beside(struct claiming *claiming, struct keel_runs *list, struct keel_error *err)
{
	static const struct keel_sql_scope nothing = {.kind = KEEL_SCOPE_NONE};
	struct keel_store *store = claiming->store;
	struct keel_statement *select;
	struct candidates found = {.count = 0};
	claiming->beside = true;
	enum keel_code code = ask_for_candidates(claiming, &select, err);
	if (code == KEEL_OK)
		code = keel_write_begin_on(store, &nothing, select, err);
	if (code != KEEL_OK)
		return code;
	code = read_candidates(claiming, select, &found, err);
	if (code == KEEL_OK)
		code = claim_candidate(claiming, &found, err);
	if (code == KEEL_OK && claiming->run_id.data)
		code = keel_run_get(store, claiming->run_id, (struct keel_text){NULL, 0}, list, err);
	claiming->beside = false;
	if (code == KEEL_OK && found.count == 0 && claiming->over) {
		keel_write_end(store, KEEL_NOT_FOUND, false, NULL); /* what wrote nothing has nothing to commit */
		return KEEL_OK;
	}
	if (code == KEEL_OK && !claiming->run_id.data && !claiming->over)
		store->wants_all = true; /* also when this is tried again */
	return keel_write_end(store, code, true, err);
}

enum keel_code keel_run_claim_next(struct keel_store *store, const struct keel_claim *claim, struct keel_runs *list,
								   struct keel_error *err)
{
	struct claiming claiming = {.store = store, .asked = claim};
	size_t noted = 0; /* of what was done */
	list->count = 0;
	keel_changed_begin(store);
	enum keel_code code = check_claim(claim, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	claiming.looks_first = code == KEEL_OK && store->sql->driver->asks && !store->open && claim->threads_count == 0;
	if (code == KEEL_OK)
		code = look_from_afar(&claiming, err);
	bool beside = claiming.looks_first && (claim->handlers_count == 0 || names_some(claim));
	if (code == KEEL_OK && beside && !claiming.over && !store->wants_all && !store->reached_far)
		code = claim_beside(&claiming, list, err);
	/* What was parked stays parked: the next transaction goes on. */
	while (code == KEEL_OK && !claiming.run_id.data && !claiming.over) {
		noted = store->changed.size;
		code = claim_once(&claiming, list, err);
		keel_arena_free(&claiming.arena);
	}
	keel_arena_free(&claiming.arena);
	if (code == KEEL_OK) {
		store->claims_in_vain = list->count == 0;
		return code;
	}
	list->count = 0;
	if (!store->open)
		store->changed.size = noted; /* what was undone is told of to nobody */
	return code;
}
