/* count.c - how many runs there are, as strategies ask: what it costs beside many others, and where it ends. */
#include "support.h"

#include <sqlite3.h>

enum { MANY = 10000, QUESTIONS = 7 };

/* What is asked of a name. */
static struct keel_count_query question(int which, enum keel_count count, const char *name)
{
	struct keel_count_query query = {.count = count, .per_us = 1};
	struct keel_text *of[QUESTIONS] = {&query.user_id, &query.handler,   &query.batch_id,
									   &query.slot,    &query.thread_id, &query.rate};
	if (of[which])
		*of[which] = text(name);
	if (which == 5)
		query.count = KEEL_COUNT_STARTED;
	return query;
}

static int64_t ask(int which, enum keel_count count, const char *name)
{
	struct keel_count_query query = question(which, count, name);
	int64_t found;
	succeed(keel_run_count(world.store, &query, &found, &why));
	return found;
}

/* Rows of pending runs, or of running ones, that have all that can be asked for. */
static void fill(const char *name, int64_t first, int64_t count, int running)
{
	static const char *const into[] = {
		"counted SELECT 1, '%s', %d, n",
		"counted SELECT 2, '%s', %d, n",
		"counted SELECT 3, '%s', %d, n",
		"holds SELECT '%s', %d, 1, n",
		"starts (name, at) SELECT '%s', 9000000000000000 + 0 * %d",
		"live (thread_id, seq, status, priority, session_id, created_at, fence, revision, updated_at) SELECT '%s', n,"
		" %d, 0, 1, 0, 1, 1, 0"};
	char sql[512], rows[256];
	for (size_t i = 0; i < sizeof into / sizeof into[0]; i++) {
		snprintf(rows, sizeof rows, into[i], name, running);
		snprintf(sql, sizeof sql,
				 "WITH RECURSIVE numbers (n) AS (VALUES (%lld) UNION ALL SELECT n + 1 FROM numbers WHERE n < %lld)"
				 " INSERT INTO %s FROM numbers",
				 (long long)first, (long long)(first + count - 1), rows);
		raw(sql);
	}
	world.damaged = true;
}

/* POLICY-13 */
/* Ten runs are counted in as many steps beside very many of others, of the same name in another state, and alone. */
TEST(others_cost_nothing)
{
	int64_t alone[QUESTIONS];
	sqlite3 *db = last_connection;
	fill("mine", 1, 10, 1);
	for (int which = 0; which < QUESTIONS - 1; which++) {
		assert_int_equal(ask(which, KEEL_COUNT_RUNNING, "mine"), 10);
		(void)steps_of(db);
		assert_int_equal(ask(which, KEEL_COUNT_RUNNING, "mine"), 10);
		alone[which] = steps_of(db);
	}
	fill("others", 100, MANY, 1);
	fill("nobody", 100000, MANY, 0);
	for (int which = 0; which < QUESTIONS - 1; which++) {
		(void)steps_of(db);
		assert_int_equal(ask(which, KEEL_COUNT_RUNNING, "mine"), 10);
		assert_in_range(steps_of(db), 1, alone[which] + 2); /* the end is another row's beginning */
		assert_int_equal(ask(which, KEEL_COUNT_PENDING, "mine"), which == 5 ? 10 : 0);
	}
}

/* There is an end to counting, of all runs of the store, too. */
TEST(bounded)
{
	fill("mine", 1, KEEL_COUNTED_MAX - 1, 0);
	for (int which = 0; which < QUESTIONS; which++)
		assert_int_equal(ask(which, KEEL_COUNT_INFLIGHT, "mine"), KEEL_COUNTED_MAX - 1);
	fill("mine", 20000, 5, 0);
	for (int which = 0; which < QUESTIONS; which++)
		assert_int_equal(ask(which, KEEL_COUNT_INFLIGHT, "mine"), KEEL_COUNTED_MAX);
	assert_int_equal(ask(QUESTIONS - 1, KEEL_COUNT_RUNNING, ""), 0);
}

TEST(unknown)
{
	struct keel_count_query query = {.count = (enum keel_count)(KEEL_COUNT_STARTED + 1)};
	int64_t found;
	refuse_field("count", keel_run_count(world.store, &query, &found, &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {WITH_STORE(others_cost_nothing), WITH_STORE(bounded), WITH_STORE(unknown)};
	return cmocka_run_group_tests_name("count", tests, watch_connections, NULL);
}
