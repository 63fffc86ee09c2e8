/* statements.c - the statements behind the operations: their plans, how many are kept, what a change flushes. */
#include "support.h"

#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

static int count_statements(void)
{
	int count = 0;
	for (sqlite3_stmt *stmt = NULL; (stmt = sqlite3_next_stmt(last_connection, stmt)) != NULL;)
		count++;
	return count;
}

/* SQLite in this process calls these: each is counted, and done. */
static int flushes;

__attribute__((visibility("default"))) int fsync(int fd)
{
	flushes++;
	return (int)syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
	flushes++;
	return (int)syscall(SYS_fdatasync, fd);
}

static int64_t value_of(keel_run_set set)
{
	return (int64_t)(set.words[0] % 1000);
}

static struct keel_run with_fields(const char *run_id, keel_run_set set)
{
	struct keel_run run = run_of(run_id, "t");
	enum keel_run_field field;
	for (keel_run_set left = set; keel_run_set_take(&left, &field);)
		*keel_run_number(&run, field) = value_of(set);
	run.given = keel_run_set_union(run.given, set);
	run.valued = keel_run_set_union(run.valued, set);
	return run;
}

/* The number-th of many sets of counters. */
static keel_run_set some_set(unsigned number)
{
	static const enum keel_run_field counters[] = {
		KEEL_RUN_FIELD_TOTAL_INPUT_TOKENS, KEEL_RUN_FIELD_TOTAL_OUTPUT_TOKENS, KEEL_RUN_FIELD_TOTAL_TOKENS,
		KEEL_RUN_FIELD_LLM_CALL_COUNT,     KEEL_RUN_FIELD_LEAD_AGENT_TOKENS,   KEEL_RUN_FIELD_SUBAGENT_TOKENS,
		KEEL_RUN_FIELD_MIDDLEWARE_TOKENS,  KEEL_RUN_FIELD_MESSAGE_COUNT};
	keel_run_set set = {{0}};
	for (unsigned i = 0; i < 8; i++)
		if (number >> i & 1)
			keel_run_set_add(&set, counters[i]);
	return set;
}

static void check_fields(const char *run_id, keel_run_set set)
{
	struct keel_run run = *row(run_id);
	enum keel_run_field field;
	for (keel_run_set left = set; keel_run_set_take(&left, &field);)
		assert_int_equal(*keel_run_number(&run, field), value_of(set));
}

/* Starting, claiming and what an owner does: every operation, and every gate that can be in the way. */
static void start_everything(void)
{
	const struct keel_text thread = text("q");
	const struct keel_claim claims[] = {{.limit = 10}, {.limit = 10, .threads = &thread, .threads_count = 1}};
	struct keel_run first = run_of("first", "q"), second = run_of("second", "q"), after = run_of("after", "q");
	struct keel_inflight_query holding = {.thread_id = thread, .holding = true, .limit = 10};
	struct keel_inflight_query own = {.limit = 10}, overdue = {.overdue = true, .limit = 10};
	struct keel_inflight_query held_up = {.held_up = true, .limit = 10};
	struct keel_status_change stop = {.status = KEEL_RUN_INTERRUPTED, .finalizing = true};
	struct keel_start start = {0};
	struct keel_settle settle = {0};
	struct keel_requeue requeue = {0};
	struct keel_gate_state at_gate;
	struct keel_runs runs = {0};
	char id[16];
	int64_t count;
	bool is;
	SET(&first, CONCURRENCY, concurrency, 1);
	SET(&first, IDEMPOTENCY_KEY, idempotency_key, text("k"));
	SET(&second, CONCURRENCY, concurrency, 1);
	SET(&after, WAITS_FOR, waits_for, text("first"));
	put(&first);
	put(&second);
	put(&after);
	const char *const starts[] = {"second", "first", "second", "after"}; /* queue, open, concurrency, after */
	for (int i = 0; i < 4; i++) {
		succeed(keel_run_start(world.store, text(starts[i]), &start, &is, &at_gate, NULL, &why));
		succeed(keel_run_gate(world.store, text(starts[i]), &is, &at_gate, &why));
	}
	succeed(keel_run_list_inflight(world.store, &holding, &runs, &why));
	succeed(keel_store_session(world.store, &own.session_id, &why));
	succeed(keel_run_list_inflight(world.store, &own, &runs, &why));
	succeed(keel_run_list_inflight(world.store, &overdue, &runs, &why));
	succeed(keel_run_list_inflight(world.store, &held_up, &runs, &why));
	succeed(keel_run_next_owner(world.store, 0, &count, &why));
	succeed(keel_run_find_by_key(world.store, text("k"), text("u"), &runs, &why));
	succeed(keel_run_renew(world.store, 1000, &count, &why));
	succeed(keel_run_update_status(world.store, text("first"), &stop, &is, NULL, &why));
	succeed(keel_run_settle(world.store, text("first"), &settle, &is, &why));
	succeed(keel_run_requeue(world.store, text("second"), &requeue, &is, NULL, &why));
	for (int i = 0; i < 70; i++) { /* more than are looked at at first, so that the threads are asked one by one */
		snprintf(id, sizeof id, "c%d", i);
		struct keel_run run = run_of(id, "q");
		SET(&run, CLAIMABLE, claimable, 1);
		SET(&run, CONCURRENCY, concurrency, 1);
		put(&run);
	}
	for (int i = 0; i < 4; i++)
		succeed(keel_run_claim_next(world.store, &claims[i % 2], &runs, &why));
	succeed(keel_run_list_by_thread(world.store, thread, nothing, KEEL_LIST_MAX, &runs, &why));
	for (size_t i = 0; i < runs.count; i++)
		succeed(keel_run_delete(world.store, runs.items[i].run_id, &is, &why));
	keel_runs_clear(&runs);
}

/* Runtimes, workers, transcripts and diagnostics: every operation, with and without keys. */
static void work_everything(void)
{
	const struct keel_runtime_options named = {.display_name = text("other")};
	struct keel_worker_request request = request_of("w");
	const struct keel_worker_ref ref = {text("rt"), text("w")};
	struct keel_input input = {.role = text("user"), .content = text("hi")};
	struct keel_runtime runtime;
	bool found;
	struct keel_workers workers = {0};
	struct keel_transcript part = {0};
	struct keel_diagnostics diagnostics = {0};
	struct keel_input_ack ack;
	struct keel_worker_ack end;
	int64_t id;
	bool reused;
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	succeed(keel_runtime_open(world.store, text("rt"), &named, &runtime, &why));
	succeed(keel_runtime_open(world.store, text("rt"), &(struct keel_runtime_options){.display_name = text("rt")},
							  &runtime, &why));
	succeed(keel_runtime_start(world.store, text("rt"), &id, &why));
	succeed(keel_runtime_next(world.store, nothing, &runtime, &found, &why));
	keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why); /* the second time it is there */
	request.worker_id = nothing;
	request.idempotency_key = text("k");
	succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	for (int active = 0; active < 2; active++) {
		struct keel_worker_query query = {.after = text("w"), .limit = 10, .active = active};
		succeed(keel_worker_list(world.store, text("rt"), &query, &workers, &why));
	}
	keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why);
	input.idempotency_key = text("k");
	keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why);
	succeed(keel_transcript_read(world.store, text("rt"), ref, 0, KEEL_LIMIT_OF_RUNTIME, &part, &why));
	for (int i = 0; i < 3; i++) {
		struct keel_diagnostic diagnostic = {.severity = text("info"), .code = text("c"), .message = text("m")};
		diagnostic.worker_id = i == 1 ? text("w") : nothing;
		diagnostic.run_id = i == 2 ? text("r") : nothing;
		for (int again = 0; again < 2; again++)
			succeed(keel_diagnostic_record(world.store, text("rt"), &diagnostic, &id, &why));
	}
	succeed(keel_diagnostic_list(world.store, text("rt"), 0, 10, &diagnostics, &why));
	succeed(keel_worker_end(world.store, text("rt"), ref, KEEL_WORKER_STOPPED, nothing, &end, &why));
	succeed(keel_runtime_stop(world.store, text("rt"), &id, &why));
	succeed(keel_runtime_start(world.store, text("rt"), &id, &why));
	succeed(keel_runtime_next(world.store, nothing, &runtime, &found, &why));
	keel_workers_clear(&workers);
	keel_transcript_clear(&part);
	keel_diagnostics_clear(&diagnostics);
}

static void schedule_everything(void)
{
	struct keel_schedules list = {0};
	struct keel_schedule schedule = {
		.name = text("s"), .definition = text("{}"), .next_at = 2, .last_at = 1, .period_us = 1};
	int64_t at;
	bool is;
	for (; schedule.revision < 2; schedule.revision++)
		succeed(keel_schedule_put(world.store, &schedule, &is, &why));
	for (int i = 0; i < 3; i++) {
		struct keel_schedule_query query = {.due = i == 1, .until = 5, .after = text("a"), .limit = 10};
		query.name = i == 2 ? text("s") : nothing;
		succeed(keel_schedule_list(world.store, &query, &list, &why));
		assert_int_equal(list.count, 1);
	}
	succeed(keel_next_due(world.store, 1, &at, &is, &why));
	succeed(keel_schedule_delete(world.store, text("s"), &is, &why));
	keel_schedules_clear(&list);
}

/* Every operation at least once, with every filter, so that each statement is in the cache. */
static void do_everything(void)
{
	struct keel_run run = run_of("r", "t"), fields = {0};
	struct keel_takeover takeover = {.status = KEEL_RUN_ERROR};
	struct keel_runs runs = {0};
	struct keel_events events = {0};
	struct keel_token_totals totals = {0};
	struct keel_lease lease;
	int64_t expires_at, by_status[KEEL_RUN_STATUS_COUNT];
	const char *winner;
	bool is;
	SET(&run, USER_ID, user_id, text("u"));
	put(&run);
	SET(&run, ENDED_AT, ended_at, 5);
	assert_int_equal(keel_run_put(world.store, &run, nothing, NULL, &why), KEEL_INVALID_REQUEST);
	change_status("r", KEEL_RUN_RUNNING);
	SET(&fields, TOTAL_TOKENS, total_tokens, 5);
	succeed(keel_run_progress(world.store, text("r"), &fields, &is, NULL, &why));
	succeed(keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	SET(&fields, STATUS, status, KEEL_RUN_SUCCESS);
	succeed(keel_run_complete(world.store, text("r"), &fields, &is, NULL, &why));
	put_pending("orphan", "t");
	succeed(keel_run_claim_for_takeover(world.store, text("orphan"), &takeover, &is, &why));
	succeed(keel_run_get(world.store, text("r"), text("u"), &runs, &why));
	succeed(keel_run_list_by_thread(world.store, text("t"), text("u"), 10, &runs, &why));
	ids_inflight("t");
	ids_inflight(NULL);
	count_inflight("t");
	for (int i = 0; i < 16; i++) {
		struct keel_event_query query = {.next_event_id = 1, .limit = 10};
		query.worker_ref = i & 8 ? text("{}") : nothing;
		query.run_id = i & 1 ? text("r") : nothing;
		query.thread_id = i & 2 ? text("t") : nothing;
		query.runtime_id = i & 4 ? text("x") : nothing;
		succeed(keel_event_read(world.store, &query, &events, &why));
	}
	succeed(keel_event_wait(world.store, 1, 0, &is, &why));
	for (int i = 0; i < 3; i++) {
		struct keel_dispatch_query query = {.limit = 10, .after = text("r")};
		query.batch_id = i == 1 ? text("b") : nothing;
		query.fingerprint = i == 2 ? text("f") : nothing;
		query.thread_id = i == 2 ? text("t") : nothing;
		succeed(keel_run_list_dispatched(world.store, &query, &runs, &why));
	}
	struct keel_run_query newest = {.by_status = true, .user_id = text("u"), .after = text("r"), .limit = 10};
	succeed(keel_run_list(world.store, &newest, &runs, &why));
	newest.thread_id = text("t");
	succeed(keel_run_list(world.store, &newest, &runs, &why));
	newest.thread_id = nothing;
	newest.batch_id = text("b");
	succeed(keel_run_list(world.store, &newest, &runs, &why));
	struct keel_inflight_query of_batch = {.batch_id = text("b"), .after = text("r"), .limit = 10};
	succeed(keel_run_list_inflight(world.store, &of_batch, &runs, &why));
	succeed(keel_run_count_batch(world.store, text("b"), by_status, &why));
	struct keel_retriable_query failed = {.statuses = 1u << KEEL_RUN_ERROR, .batch_id = text("b"), .limit = 10};
	char retry[KEEL_ID_MAX + 1];
	succeed(keel_run_list_retriable(world.store, &failed, &runs, &why));
	succeed(keel_run_newest_retry(world.store, text("r"), retry, &is, &why));
	struct keel_run parent = run_of("parent", "t"), child = run_of("child", "c");
	SET(&child, PARENT_RUN_ID, parent_run_id, text("parent"));
	put(&parent);
	put(&child);
	struct keel_status_change cancel = {.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("interrupt")};
	succeed(keel_run_update_status(world.store, text("parent"), &cancel, &is, NULL, &why));
	succeed(keel_run_delete(world.store, text("parent"), &is, &why));
	succeed(keel_run_delete(world.store, text("child"), &is, &why));
	succeed(keel_tokens_of_thread(world.store, text("t"), true, &totals, &why));
	for (int i = 0; i < 2; i++) {
		succeed(keel_lease_acquire(world.store, text("n"), nothing, 5, &lease, &why));
		succeed(keel_lease_renew(world.store, text("n"), lease.token, 5, &expires_at, &why));
		succeed(keel_lease_release(world.store, text("n"), lease.token, &why));
	}
	start_everything();
	work_everything();
	schedule_everything();
	succeed(keel_store_session_alive(world.store, 99, &is, &why));
	succeed(keel_run_delete(world.store, text("r"), &is, &why));
	succeed(keel_store_begin(world.store, &why));
	keel_store_rollback(world.store);
	keel_runs_clear(&runs);
	keel_events_clear(&events);
	keel_token_totals_clear(&totals);
}

/* Statements that sort, or walk, what is few. */
static bool is_excepted(const char *sql)
{
	static const char *const parts[] = {
		"ORDER BY +seq",                   /* what runs on a thread */
		"UNION ALL SELECT seq, priority",  /* the head of a queue, and what has become due since it was looked at */
		"SELECT DISTINCT run_id, ?1 / 64", /* a block of events */
		"SELECT DISTINCT thread_id, ?1 / 64",
		"AS counted GROUP BY status",        /* the runs of a batch */
		"ORDER BY created_at, seq LIMIT ?4", /* for people: all that is in flight by age */
	};
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (strstr(sql, parts[i]))
			return true;
	return false;
}

/* Whether a step of a plan walks a whole table or index, or sorts. */
static bool is_slow(const char *step)
{
	static const char *const fine[] = {
		"SCAN stopping",                                      /* what was asked to stop, and has not yet */
		"SCAN leased",                                        /* all leases are looked at, to know who renews them */
		"SCAN lines USING INDEX lines_ready",                 /* the best first, one row */
		"SCAN lines USING INDEX lines_parked",                /* whether there is one */
		"SCAN limits USING INDEX limits_paused",              /* likewise */
		"SCAN resolving",                                     /* what is left to work off */
		"SCAN edges USING COVERING INDEX edges_of_dependent", /* whether there is one */
		"SCAN heads",                                         /* the head of a queue, and what has become due */
		"SCAN times",                                         /* the first of a few tables each */
		"SCAN counted",                                       /* counts up to the limit */
		"SCAN store",                                         /* one row */
		"SCAN CONSTANT ROW",
	};
	if (strncmp(step, "SCAN", 4) != 0 && strncmp(step, "USE TEMP B-TREE", 15) != 0)
		return false;
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
		if (strcmp(step, fine[i]) == 0)
			return false;
	return true;
}

/* Prints and counts the slow steps of a statement's plan. */
static int slow_steps(const char *sql)
{
	char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
	sqlite3_stmt *plan;
	int slow = 0;
	assert_int_equal(sqlite3_prepare_v2(last_connection, explain, -1, &plan, NULL), SQLITE_OK);
	while (sqlite3_step(plan) == SQLITE_ROW) {
		const char *step = (const char *)sqlite3_column_text(plan, 3);
		if (is_slow(step) && !is_excepted(sql)) {
			print_error("%s\n  %s\n", sql, step);
			slow++;
		}
	}
	sqlite3_finalize(plan);
	sqlite3_free(explain);
	return slow;
}

static bool is_query(const char *sql)
{
	return strncmp(sql, "SELECT", 6) == 0 || strncmp(sql, "UPDATE", 6) == 0 || strncmp(sql, "INSERT", 6) == 0 ||
		   strncmp(sql, "DELETE", 6) == 0;
}

/* --- Plans ------------------------------------------------------------------------------------------------------- */

/* Every statement of every operation searches an index: none walks a table, none sorts. */
TEST(every_plan_is_a_search)
{
	int queries = 0, slow = 0;
	char *texts[200];
	do_everything();
	for (sqlite3_stmt *stmt = NULL; (stmt = sqlite3_next_stmt(last_connection, stmt)) != NULL;)
		if (is_query(sqlite3_sql(stmt)) && !strstr(sqlite3_sql(stmt), "sqlite_schema")) {
			assert_true(queries < 200);
			texts[queries++] = strdup(sqlite3_sql(stmt));
		}
	for (int i = 0; i < queries; i++) {
		slow += slow_steps(texts[i]);
		free(texts[i]);
	}
	assert_true(queries >= 20);
	assert_int_equal(slow, 0);
}

/* The plan by age is the partial index in its order, and stays that when the store has many final runs. */
TEST(plans_do_not_depend_on_contents)
{
	raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		" INSERT INTO runs (run_id, thread_id, created_at) SELECT 'run' || i, 't' || (i % 10), i FROM n;"
		"INSERT INTO outcomes (seq, status, fence, updated_at, revision) SELECT seq, 2, 1, created_at, 1 FROM runs;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		" INSERT INTO events (kind, at, run_id, thread_id) SELECT 'run_created', i, 'run' || i, 't' FROM n;"
		"ANALYZE");
	index_log();
	reopen_store();
	every_plan_is_a_search(NULL);
	raw("DROP TABLE sqlite_stat1");
}

/* RUN-32 */
/* A key that ten thousand users use costs one of them no more than his own. */
TEST(keys_are_found_by_user)
{
	sqlite3 *db = last_connection; /* the next one is another's */
	struct keel_runs runs = {0};
	int64_t cost[2] = {0};
	raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
		" INSERT INTO runs (run_id, thread_id, user_id, created_at, idempotency_key)"
		" SELECT 'run' || i, 't', 'u' || i, i, CASE i WHEN 1 THEN 'own' ELSE 'shared' END FROM n;"
		"INSERT INTO outcomes (seq, status, fence, updated_at, revision) SELECT seq, 2, 1, created_at, 1 FROM runs;"
		"INSERT INTO events (kind, at, run_id, thread_id) SELECT 'run_created', created_at, run_id, 't' FROM runs;"
		"INSERT INTO keys SELECT idempotency_key, user_id, seq, NULL FROM runs");
	index_log();
	for (int shared = 0; shared < 2; shared++) {
		const char *user = shared ? "u2" : "u1", *key = shared ? "shared" : "own";
		for (int again = 0; again < 2; again++) { /* the first time it is prepared */
			succeed(keel_run_find_by_key(world.store, text(key), text(user), &runs, &why));
			assert_int_equal(runs.count, 1);
			cost[shared] = steps_of(db);
		}
	}
	keel_runs_clear(&runs);
	assert_int_equal(cost[1], cost[0]);
}

/* --- The cache --------------------------------------------------------------------------------------------------- */

/* More sets of fields than are remembered, new and merged, in turns: each is written right. */
TEST(many_sets_of_fields)
{
	char id[16];
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 1; i < 200; i++) {
			snprintf(id, sizeof id, "r%u-%u", round, i);
			struct keel_run fresh = with_fields(id, some_set(i)), more = with_fields(id, some_set(255 - i));
			put(&fresh);
			check_fields(id, some_set(i));
			put(&more);
			check_fields(id, some_set(255 - i));
		}
}

/* However many sets there are, the statements kept are bounded; and the same operations again add none. */
TEST(statements_are_bounded)
{
	do_everything();
	int few = count_statements();
	do_everything();
	assert_int_equal(count_statements(), few);
	for (unsigned i = 1; i < 256; i++) {
		struct keel_run run = with_fields("many", some_set(i));
		put(&run);
	}
	assert_true(count_statements() <= few + 2 * 64);
}

/* --- Flushes ----------------------------------------------------------------------------------------------------- */

/* At durability full a change of state is one flush; a look is none. */
TEST(one_flush_a_change)
{
	world.options.durability = KEEL_DURABILITY_FULL;
	reopen_store();
	put_pending("warm", "t");
	flushes = 0;
	put_pending("r", "t");
	assert_int_equal(flushes, 1);
	change_status("r", KEEL_RUN_RUNNING);
	assert_int_equal(flushes, 2);
	change_status("r", KEEL_RUN_SUCCESS);
	assert_int_equal(flushes, 3);
	append("note", "r");
	assert_int_equal(flushes, 4);
	row("r");
	ids_inflight(NULL);
	newest_event();
	assert_int_equal(flushes, 4);
}

/* Many changes in one transaction are one flush; a rollback, and a change that changes nothing, are none. */
TEST(one_flush_a_transaction)
{
	world.options.durability = KEEL_DURABILITY_FULL;
	reopen_store();
	put_pending("warm", "t");
	flushes = 0;
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	change_status("a", KEEL_RUN_ERROR);
	append("note", "a");
	succeed(keel_store_commit(world.store, &why));
	assert_int_equal(flushes, 1);
	succeed(keel_store_begin(world.store, &why));
	put_pending("b", "t");
	keel_store_rollback(world.store);
	change_status("a", KEEL_RUN_ERROR);
	assert_int_equal(flushes, 1);
}

/* A look for what may be pruned that finds nothing is no change. */
TEST(no_flush_for_nothing_to_prune)
{
	struct keel_prune prune = {.before = INT64_MAX, .keep_last = 1000};
	struct keel_pruned pruned;
	world.options.durability = KEEL_DURABILITY_FULL;
	reopen_store();
	put_pending("r", "t");
	flushes = 0;
	succeed(keel_store_prune(world.store, &prune, &pruned, &why));
	assert_true(pruned.events == 0 && !pruned.more);
	assert_int_equal(flushes, 0);
}

/* At durability normal and off a change flushes nothing. */
TEST(no_flush_at_normal_and_off)
{
	char id[] = "a";
	for (enum keel_durability d = KEEL_DURABILITY_NORMAL; d <= KEEL_DURABILITY_OFF; d++, id[0]++) {
		world.options.durability = d;
		reopen_store();
		put_pending("warm", "t");
		flushes = 0;
		put_pending(id, "t");
		change_status(id, KEEL_RUN_SUCCESS);
		assert_int_equal(flushes, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(every_plan_is_a_search),     WITH_STORE(plans_do_not_depend_on_contents),
		WITH_STORE(keys_are_found_by_user),     WITH_STORE(many_sets_of_fields),
		WITH_STORE(statements_are_bounded),     WITH_STORE(one_flush_a_change),
		WITH_STORE(one_flush_a_transaction),    WITH_STORE(no_flush_for_nothing_to_prune),
		WITH_STORE(no_flush_at_normal_and_off),
	};
	return cmocka_run_group_tests_name("statements", tests, watch_connections, NULL);
}
