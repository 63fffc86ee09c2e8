/* claim.c - claiming: who is taken, in which order, by whom, and what that costs. */
#include "support.h"

#include <sqlite3.h>

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

static struct keel_run claimable(const char *run_id, const char *thread_id)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, CLAIMABLE, claimable, 1);
	return run;
}

static void put_claimable(const char *run_id, const char *thread_id, int64_t priority)
{
	struct keel_run run = claimable(run_id, thread_id);
	SET(&run, PRIORITY, priority, priority);
	put(&run);
}

/* One that waits for its turn. */
static void put_queued(const char *run_id, const char *thread_id)
{
	struct keel_run run = claimable(run_id, thread_id);
	SET(&run, CONCURRENCY, concurrency, 1);
	put(&run);
}

/* How many wait in the way; under the sanitizers fewer, as nobody counts there. */
static int a_lot(void)
{
	const char *wanted = getenv("KEEL_FAULTS");
	return wanted && strcmp(wanted, "few") == 0 ? 5000 : 100000;
}

static struct keel_runs claimed;

/* The id of the run that is taken; "" for none. */
static const char *claim(const struct keel_claim *asked)
{
	static char id[KEEL_ID_MAX + 1];
	succeed(keel_run_claim_next(world.store, asked, &claimed, &why));
	must(claimed.count <= 1);
	snprintf(id, sizeof id, "%s", claimed.count ? claimed.items[0].run_id.data : "");
	return id;
}

static const struct keel_claim anything = {.limit = KEEL_LIST_MAX};

/* "r1 r2": what is taken one after the other until there is nothing left. */
static const char *claims(const struct keel_claim *asked)
{
	static char ids[1024];
	const char *id;
	ids[0] = '\0';
	while (*(id = claim(asked)))
		snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s%s", ids[0] ? " " : "", id);
	keel_runs_clear(&claimed);
	return ids;
}

/* The runs `from` to `to` - 1 of a long queue, dealt out to ten threads. */
static void put_queues(int from, int to)
{
	char sql[2048], id[16], thread[16];
	for (; from < 100; from++) { /* so that the lines are there */
		snprintf(id, sizeof id, "q%d", from);
		snprintf(thread, sizeof thread, "t%d", from % 10);
		put_queued(id, thread);
	}
	if (from >= to)
		return;
	snprintf(
		sql, sizeof sql,
		"WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		" INSERT INTO runs (run_id, thread_id, concurrency, created_at) SELECT 'q' || i, 't' || (i %% 10), 1, i FROM n;"
		"WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		" INSERT INTO events (kind, at, thread_id, run_id) SELECT 'run_created', i, 't' || (i %% 10), 'q' || i"
		" FROM n;"
		"INSERT INTO live (thread_id, seq, status, priority, created_at, fence, revision, updated_at, claimable)"
		" SELECT thread_id, seq, 0, 0, created_at, 1, 1, created_at, 1 FROM runs"
		" WHERE seq > (SELECT max(seq) FROM claims) AND run_id LIKE 'q%%';"
		"INSERT INTO claims (line, priority, seq, thread_id, handler) SELECT line, 0, l.seq, thread_id,"
		" 'default' FROM live AS l JOIN lines ON places = 'thread 1 ' || thread_id WHERE l.status = 0"
		" AND claimable = 1 AND l.seq > (SELECT max(seq) FROM claims)",
		from, to - 1, from, to - 1);
	raw(sql);
	index_log();
}

/* On each of the ten threads one run runs. */
static void make_threads_busy(void)
{
	char id[32], thread[32];
	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof id, "running%d", i);
		snprintf(thread, sizeof thread, "t%d", i);
		put_with_status(id, thread, KEEL_RUN_RUNNING);
	}
}

/* --- Who is taken ------------------------------------------------------------------------------------------------ */

/* What is taken is running, this session's, with a new fence, and the log says so. */
TEST(a_claim_is_written)
{
	int64_t session;
	succeed(keel_store_session(world.store, &session, &why));
	put_claimable("r", "t", 0);
	world.time += 10;
	assert_string_equal(claim(&anything), "r");
	assert_true(claimed.items[0].status == KEEL_RUN_RUNNING && claimed.items[0].session_id == session);
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_RUNNING && run->session_id == session && run->fence == 2);
	assert_true(run->claimable == 0 && run->started_at == world.time && run->revision == 2);
	assert_string_equal(kinds_of("r"), "run_created run_started");
	assert_string_equal(claims(&anything), "");
}

/* Nothing to take is no failure, and nothing is written. */
TEST(nothing_to_claim)
{
	put_pending("unowned", "t");
	put_owned("owned", "t");
	int64_t events = newest_event();
	assert_string_equal(claims(&anything), "");
	assert_int_equal(newest_event(), events);
}

/* Of a thread on which very many wait, and none is queued, the best are tried, and the rest after them. */
TEST(more_than_are_tried)
{
	const struct keel_text thread = text("t");
	const struct keel_claim of_thread = {.limit = 1, .threads = &thread, .threads_count = 1};
	char id[16];
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "r%02d", i);
		put_claimable(id, "t", i == 70);
	}
	assert_string_equal(claim(&of_thread), "r70");
	for (int i = 0; i < 99; i++) {
		snprintf(id, sizeof id, "r%02d", i < 70 ? i : i + 1);
		assert_string_equal(claim(i % 2 ? &of_thread : &anything), id);
	}
	assert_string_equal(claims(&anything), "");
}

/* The highest priority first; of equal ones the one that has been there longest. */
TEST(order)
{
	put_claimable("a", "t", 0);
	put_claimable("b", "u", 7);
	put_claimable("c", "t", -7);
	put_claimable("d", "v", 7);
	put_pending("e", "w");
	assert_string_equal(claims(&anything), "b d a c");
}

/* Whatever was put off, by chance, and however much of it is due: what may start is taken by priority, then age. Some
 * wait for a run that does not end. */
TEST(order_of_what_was_put_off)
{
	enum { RUNS = 200, PRIORITIES = 5 };
	uint64_t chance = chance_start("claims");
	put_owned("endless", "endless");
	for (int share = 0; share < 5; share++) { /* of those that were put off: none, a quarter, … all */
		int64_t priorities[RUNS];
		bool free[RUNS];
		char id[32], thread[32];
		for (int i = 0; i < RUNS; i++) {
			snprintf(id, sizeof id, "%d-%d", share, i);
			snprintf(thread, sizeof thread, "thread %d", (int)chance_below(&chance, 50));
			struct keel_run run = claimable(id, thread);
			priorities[i] = chance_below(&chance, PRIORITIES) - PRIORITIES / 2;
			SET(&run, PRIORITY, priority, priorities[i]);
			free[i] = true;
			if ((int)chance_below(&chance, 4) < share) {
				free[i] = chance_below(&chance, 3) > 0;
				SET(&run, SCHEDULED_AT, scheduled_at, world.time + (free[i] ? -5 : 5));
			}
			if (chance_below(&chance, 4) == 0) {
				free[i] = false;
				SET(&run, WAITS_FOR, waits_for, text("endless"));
			}
			put(&run);
		}
		for (int64_t priority = PRIORITIES / 2; priority >= -PRIORITIES / 2; priority--)
			for (int i = 0; i < RUNS; i++)
				if (free[i] && priorities[i] == priority) {
					snprintf(id, sizeof id, "%d-%d", share, i);
					assert_string_equal(claim(&anything), id);
				}
		assert_string_equal(claim(&anything), "");
	}
	keel_runs_clear(&claimed);
}

/* The extremes of priority are priorities like others. */
TEST(extreme_priorities)
{
	put_claimable("low", "t", INT64_MIN);
	put_claimable("high", "u", INT64_MAX);
	put_claimable("middle", "v", 0);
	assert_string_equal(claims(&anything), "high middle low");
}

/* A thread filter takes of these threads only, whatever is better elsewhere, in the same order. */
TEST(threads)
{
	const struct keel_text two[] = {text("u"), text("t")};
	struct keel_claim asked = {.threads = two, .threads_count = 2, .limit = 1};
	put_claimable("a", "t", 0);
	put_claimable("b", "u", 1);
	put_claimable("c", "t", 2);
	put_claimable("d", "v", 9);
	assert_string_equal(claims(&asked), "c b a");
	assert_string_equal(claims(&anything), "d");
}

/* Delayed, expired and cancelled ones are passed over; the delayed one is taken when its time has come. */
TEST(passed_over)
{
	const char *winner;
	struct keel_run delayed = claimable("delayed", "t"), expired = claimable("expired", "u");
	SET(&delayed, SCHEDULED_AT, scheduled_at, world.time + 5);
	SET(&expired, DEADLINE, deadline, world.time);
	put(&delayed);
	put(&expired);
	put_claimable("cancelled", "v", 9);
	put_claimable("free", "w", -1);
	succeed(keel_run_request_cancel(world.store, text("cancelled"), text("interrupt"), &winner, &why));
	assert_string_equal(claims(&anything), "free");
	world.time += 5;
	assert_string_equal(claims(&anything), "delayed");
}

/* The gate holds for claims as for starts, and a blocked thread does not keep others from being served. */
TEST(gate)
{
	struct keel_run after = claimable("after", "v");
	put_owned("running", "t");
	put_queued("first", "t");
	put_queued("second", "t");
	SET(&after, WAITS_FOR, waits_for, text("running"));
	put(&after);
	put_queued("elsewhere", "u");
	assert_string_equal(claims(&anything), "elsewhere");
	change_status("running", KEEL_RUN_SUCCESS);
	assert_string_equal(claims(&anything), "first after");
	change_status("first", KEEL_RUN_ERROR);
	assert_string_equal(claims(&anything), "second");
}

/* POLICY-6 */
/* Two sessions take each run once, and no more of a thread than may run. */
TEST(two_claimers)
{
	struct keel_store *first = world.store, *second = open_another();
	int64_t sessions[2];
	char id[32];
	for (int i = 0; i < 20; i++) {
		snprintf(id, sizeof id, "r%d", i);
		put_queued(id, i % 2 ? "odd" : "even");
	}
	succeed(keel_store_session(first, &sessions[0], &why));
	succeed(keel_store_session(second, &sessions[1], &why));
	for (int i = 0; i < 20; i += 2) {
		for (int k = 0; k < 2; k++) {
			world.store = k ? second : first;
			snprintf(id, sizeof id, "r%d", i + k);
			assert_string_equal(claim(&anything), id);
			assert_int_equal(row(id)->session_id, sessions[k]);
		}
		assert_string_equal(claim(&anything), "");
		for (int k = 0; k < 2; k++) {
			snprintf(id, sizeof id, "r%d", i + k);
			change_status(id, KEEL_RUN_SUCCESS);
		}
	}
	world.store = first;
	keel_runs_clear(&claimed);
	keel_store_close(second);
}

/* A claim may be part of a transaction, and is undone with it. */
TEST(claims_roll_back)
{
	put_claimable("r", "t", 0);
	succeed(keel_store_begin(world.store, &why));
	assert_string_equal(claims(&anything), "r");
	keel_store_rollback(world.store);
	assert_true(row("r")->claimable == 1 && row("r")->fence == 1);
	assert_string_equal(claims(&anything), "r");
}

/* OWN-7 */
/* A claim may set a lease. */
TEST(leases)
{
	struct keel_claim asked = {.limit = 1, .lease_us = 1000};
	put_claimable("r", "t", 0);
	assert_string_equal(claims(&asked), "r");
	assert_int_equal(row("r")->lease_expires_at, world.time + 1000);
}

/* Limits and threads that are none are refused, and nothing is taken. */
TEST(bad_questions)
{
	static struct keel_text many[KEEL_LIST_MAX + 1];
	const struct keel_text bad[] = {text("t"), text("")};
	struct keel_claim asked = {.limit = 0};
	put_claimable("r", "t", 0);
	refuse_field("limit", keel_run_claim_next(world.store, &asked, &claimed, &why));
	asked.limit = KEEL_LIST_MAX + 1;
	refuse(LIMIT_TOO_LARGE, keel_run_claim_next(world.store, &asked, &claimed, &why));
	asked = (struct keel_claim){.limit = 1, .threads = bad, .threads_count = 2};
	refuse_field("threads", keel_run_claim_next(world.store, &asked, &claimed, &why));
	for (size_t i = 0; i <= KEEL_LIST_MAX; i++)
		many[i] = text("t");
	asked = (struct keel_claim){.limit = 1, .threads = many, .threads_count = KEEL_LIST_MAX + 1};
	refuse(LIMIT_TOO_LARGE, keel_run_claim_next(world.store, &asked, &claimed, &why));
	asked.threads_count = KEEL_LIST_MAX;
	assert_string_equal(claims(&asked), "r");
}

/* --- Many threads ------------------------------------------------------------------------------------------------ */

/* Threads b000, b001, … each with a run that runs and one that waits for its turn. */
static void put_blocked(int count)
{
	char id[32], thread[32];
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < count; i++) {
		snprintf(thread, sizeof thread, "b%03d", i);
		snprintf(id, sizeof id, "r%d", i);
		put_with_status(id, thread, KEEL_RUN_RUNNING);
		snprintf(id, sizeof id, "w%d", i);
		put_queued(id, thread);
	}
	succeed(keel_store_commit(world.store, &why));
}

/* Behind more blocked heads than are looked at at first the best that may start is found, by priority, then age. */
TEST(behind_many_blocked)
{
	put_blocked(100);
	put_claimable("x", "a", -2);
	put_claimable("y", "z", -1);
	put_claimable("z", "b050x", -1);
	assert_string_equal(claims(&anything), "y z x");
	assert_string_equal(claims(&anything), "");
}

/* One thread's long queue is as many heads as one. */
TEST(behind_a_long_queue)
{
	char id[32];
	put_owned("running", "t");
	for (int i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "w%d", i);
		put_queued(id, "t");
	}
	put_claimable("free", "u", 0);
	assert_string_equal(claims(&anything), "free");
}

/* What needs no turn is taken though its thread's head is blocked; what waits for its turn is not. */
TEST(what_needs_no_turn)
{
	char id[32];
	struct keel_text thread = text("t");
	struct keel_claim of_thread = {.limit = 10, .threads = &thread, .threads_count = 1};
	put_owned("running", "t");
	put_queued("queued", "t");
	put_claimable("later", "t", -1);
	put_claimable("free", "t", 0);
	assert_string_equal(claim(&of_thread), "free");
	assert_string_equal(claims(&anything), "later");
	for (int i = 0; i < 200; i++) { /* more than are looked at at first */
		snprintf(id, sizeof id, "w%d", i);
		put_queued(id, "t");
	}
	put_claimable("best", "t", -1);
	put_claimable("elsewhere", "u", -2);
	assert_string_equal(claims(&anything), "best elsewhere");
	assert_string_equal(claim(&of_thread), "");
	keel_runs_clear(&claimed);
}

/* Nor is one taken whose own conditions do not hold, before others that may start. */
TEST(what_needs_no_turn_may_wait)
{
	struct keel_run run = claimable("waits", "t");
	put_owned("running", "elsewhere");
	SET(&run, WAITS_FOR, waits_for, text("running"));
	put(&run);
	run = claimable("waits too", "t");
	SET(&run, WAITS_FOR, waits_for, text("running"));
	put(&run);
	put_claimable("free", "t", -1);
	assert_string_equal(claims(&anything), "free");
	put_claimable("free again", "t", -1);
	struct keel_text thread = text("t");
	struct keel_claim of_thread = {.limit = 10, .threads = &thread, .threads_count = 1};
	assert_string_equal(claim(&of_thread), "free again");
	assert_string_equal(claim(&of_thread), "");
	keel_runs_clear(&claimed);
}

/* F-21 */
/* What is free is found by the first call, however few it may look at and however many are blocked before it. */
TEST(blocked_threads_are_not_in_the_way)
{
	struct keel_claim one = {.limit = 1};
	put_blocked(100);
	put_claimable("free", "z", -1);
	assert_string_equal(claim(&one), "free");
	put_claimable("before", "a", -1);
	assert_string_equal(claim(&one), "before");
	assert_string_equal(claim(&one), "");
	keel_runs_clear(&claimed);
}

/* --- What it costs ----------------------------------------------------------------------------------------------- */

/* Few and many must cost the same, give or take a tenth. */
static void check_cost(const char *what, int64_t few, int64_t many)
{
	print_message("%s: %lld and %lld instructions\n", what, (long long)few, (long long)many);
	assert_true(few > 0 && many > 0);
	assert_true(many <= few + few / 10);
}

/* The cost of a claim that must come to this. */
static int64_t cost_of(sqlite3 *db, const struct keel_claim *asked, const char *wanted)
{
	steps_of(db);
	assert_string_equal(claim(asked), wanted);
	return steps_of(db);
}

/* Ten threads with ten thousand waiting each cost as little as ten with ten each: to find that nothing can be taken, of
 * all threads or of one, and to take one. */
TEST(long_queues_cost_nothing)
{
	const struct keel_text thread = text("t7");
	const struct keel_claim of_thread = {.limit = 1, .threads = &thread, .threads_count = 1};
	sqlite3 *db = last_connection; /* the next one is another's */
	int64_t blocked[2], blocked_thread[2], taken[2], taken_of_thread[2];
	make_threads_busy();
	for (int many = 0; many < 2; many++) {
		put_queues(many ? 100 : 0, many ? a_lot() : 100);
		claim(&anything); /* every statement is there now */
		claim(&of_thread);
		blocked[many] = cost_of(db, &anything, "");
		blocked_thread[many] = cost_of(db, &of_thread, "");
		change_status(many ? "running6" : "running5", KEEL_RUN_SUCCESS);
		taken[many] = cost_of(db, &anything, many ? "q6" : "q5");
		change_status(many ? "q7" : "running7", KEEL_RUN_SUCCESS);
		taken_of_thread[many] = cost_of(db, &of_thread, many ? "q17" : "q7");
	}
	check_cost("nothing to take", blocked[0], blocked[1]);
	check_cost("nothing to take of a thread", blocked_thread[0], blocked_thread[1]);
	check_cost("one taken", taken[0], taken[1]);
	check_cost("one taken of a thread", taken_of_thread[0], taken_of_thread[1]);
	keel_runs_clear(&claimed);
}

/* F-21 */
/* What is free is found as fast beside a hundred thousand blocked threads as beside ten: a newcomer, a thread that
 * becomes free, and that there is nothing. */
TEST(blocked_threads_cost_nothing)
{
	const int counts[] = {10, a_lot()};
	int64_t nothing_free[2], newcomer[2], freed[2];
	sqlite3 *db = last_connection;
	char id[16], wanted[16];
	int done = 0;
	for (int many = 0; many < 2; many++) {
		succeed(keel_store_begin(world.store, &why));
		for (; done < counts[many]; done++) {
			char thread[16];
			snprintf(thread, sizeof thread, "b%d", done);
			snprintf(id, sizeof id, "r%d", done);
			put_with_status(id, thread, KEEL_RUN_RUNNING);
			snprintf(id, sizeof id, "w%d", done);
			put_queued(id, thread);
		}
		succeed(keel_store_commit(world.store, &why));
		put_queued(many ? "free" : "free first", many ? "f" : "ff");
		assert_string_equal(claim(&anything), many ? "free" : "free first"); /* every statement is there now */
		nothing_free[many] = cost_of(db, &anything, "");
		put_queued(many ? "new" : "new first", many ? "g" : "gg");
		newcomer[many] = cost_of(db, &anything, many ? "new" : "new first");
		snprintf(id, sizeof id, "r%d", done / 2);
		snprintf(wanted, sizeof wanted, "w%d", done / 2);
		change_status(id, KEEL_RUN_SUCCESS);
		freed[many] = cost_of(db, &anything, wanted);
	}
	check_cost("nothing to take beside blocked threads", nothing_free[0], nothing_free[1]);
	check_cost("a newcomer beside blocked threads", newcomer[0], newcomer[1]);
	check_cost("what became free beside blocked threads", freed[0], freed[1]);
	keel_runs_clear(&claimed);
}

/* What was put off and is not due costs nothing, though it would come first. */
TEST(what_was_put_off_costs_nothing)
{
	sqlite3 *db = last_connection;
	int64_t cost[2];
	char id[32], thread[32];
	put_claimable("first", "t", 0);
	put_claimable("second", "t", 0);
	put_claimable("third", "t", 0);
	claim(&anything);
	cost[0] = cost_of(db, &anything, "second");
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "later%d", i);
		snprintf(thread, sizeof thread, "u%d", i % 100);
		struct keel_run run = claimable(id, thread);
		SET(&run, PRIORITY, priority, 1);
		SET(&run, SCHEDULED_AT, scheduled_at, world.time + 5);
		put(&run);
	}
	cost[1] = cost_of(db, &anything, "third");
	check_cost("one taken behind what was put off", cost[0], cost[1]);
	keel_runs_clear(&claimed);
}

/* A start asks the head of its thread's queue and what runs there, whatever waits behind. */
TEST(long_queues_start_as_fast)
{
	struct keel_start asked = {0};
	struct keel_gate_state at_gate;
	sqlite3 *db = last_connection;
	int64_t cost[2];
	bool found;
	for (int many = 0; many < 2; many++) {
		struct keel_run run = run_of(many ? "last" : "first", "t3");
		SET(&run, CONCURRENCY, concurrency, 1);
		SET(&run, PRIORITY, priority, 1);
		put_queues(many ? 100 : 0, many ? a_lot() : 100);
		put(&run);
		steps_of(db);
		succeed(keel_run_start(world.store, run.run_id, &asked, &found, &at_gate, NULL, &why));
		cost[many] = steps_of(db);
		assert_int_equal(at_gate.gate, KEEL_GATE_OPEN);
		change_status(many ? "last" : "first", KEEL_RUN_SUCCESS);
	}
	check_cost("a start", cost[0], cost[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_claim_is_written),
		WITH_STORE(nothing_to_claim),
		WITH_STORE(more_than_are_tried),
		WITH_STORE(order),
		WITH_STORE(order_of_what_was_put_off),
		WITH_STORE(extreme_priorities),
		WITH_STORE(threads),
		WITH_STORE(passed_over),
		WITH_STORE(gate),
		WITH_STORE(two_claimers),
		WITH_STORE(claims_roll_back),
		WITH_STORE(leases),
		WITH_STORE(bad_questions),
		WITH_STORE(behind_many_blocked),
		WITH_STORE(behind_a_long_queue),
		WITH_STORE(what_needs_no_turn),
		WITH_STORE(what_needs_no_turn_may_wait),
		WITH_STORE(blocked_threads_are_not_in_the_way),
		WITH_STORE(long_queues_cost_nothing),
		WITH_STORE(blocked_threads_cost_nothing),
		WITH_STORE(what_was_put_off_costs_nothing),
		WITH_STORE(long_queues_start_as_fast),
	};
	return cmocka_run_group_tests_name("claim", tests, watch_connections, NULL);
}
