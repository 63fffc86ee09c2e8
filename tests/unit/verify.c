/* verify.c - what looking a store over finds: each invariant, broken behind the kernel's back. */
#include "support.h"

enum { PAGE = 2048 };

static struct keel_problems problems;

static int clear_problems(void **state)
{
	keel_problems_clear(&problems);
	return world_close(state);
}
#define DAMAGED(test) cmocka_unit_test_setup_teardown(test, world_open, clear_problems)

/* Three runs with a history: seven events; and a lease. */
static void put_history(void)
{
	struct keel_lease lease;
	succeed(keel_lease_acquire(world.store, text("n"), nothing, 5, &lease, &why));
	put_pending("a", "t");
	put_with_status("b", "t", KEEL_RUN_RUNNING);
	put_pending("c", "u");
	change_status("a", KEEL_RUN_RUNNING);
	change_status("a", KEEL_RUN_SUCCESS);
	change_status("b", KEEL_RUN_ERROR);
	append("note", NULL);
}

static void damage(const char *sql)
{
	world.damaged = true;
	raw(sql);
}

static size_t look(void)
{
	succeed(keel_store_verify(world.store, &problems, &why));
	return problems.count;
}

static void note(void *data, int64_t done, int64_t total)
{
	int64_t *heard = data;
	assert_int_equal(done, heard[0]);
	heard[0]++;
	heard[1] = total;
}

/* Who watches hears of each check before it is made, and nothing once he has gone. */
TEST(progress_is_told)
{
	int64_t heard[2] = {0, 0};
	put_history();
	keel_store_watch(world.store, note, heard);
	assert_int_equal(look(), 0);
	assert_true(heard[0] > 10);
	assert_int_equal(heard[0], heard[1]);
	keel_store_watch(world.store, NULL, NULL);
	assert_int_equal(look(), 0);
	assert_int_equal(heard[0], heard[1]);
}

/* The damage is found, as one problem that says these words. */
static void finds(const char *sql, const char *words)
{
	put_history();
	assert_int_equal(look(), 0);
	damage(sql);
	assert_int_equal(look(), 1);
	if (!strstr(problems.items[0].text.data, words))
		fail_msg("%s: %s", sql, problems.items[0].text.data);
}

/* Overwrites a page of the file, while it is closed. */
static void wipe_page(int64_t page)
{
	static const char zeros[PAGE];
	FILE *file = fopen(world.path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)(page - 1) * PAGE, SEEK_SET), 0);
	assert_int_equal(fwrite(zeros, 1, sizeof zeros, file), sizeof zeros);
	fclose(file);
}

/* --- Sound ------------------------------------------------------------------------------------------------------- */

/* A new store is sound, one with a history too, in memory and read-only. */
TEST(sound_stores)
{
	assert_int_equal(look(), 0);
	put_history();
	assert_int_equal(look(), 0);
	world.options.readonly = true;
	reopen_store();
	assert_int_equal(look(), 0);
	close_store();
	world.options.readonly = false;
	succeed(keel_store_open(":memory:", &world.options, &world.store, &why));
	put_history();
	assert_int_equal(look(), 0);
}

/* A log whose beginning was pruned is sound: what is gone from there is not missed. */
TEST(pruned_logs_are_sound)
{
	put_history();
	raw("DELETE FROM events WHERE id <= 4; UPDATE store SET event_low_water = 5");
	assert_int_equal(look(), 0);
	raw("DELETE FROM events WHERE id < (SELECT max(id) FROM events);"
		"UPDATE store SET event_low_water = (SELECT max(id) + 1 FROM events)");
	assert_int_equal(look(), 0);
}

/* --- Damaged ----------------------------------------------------------------------------------------------------- */

/* A hole in the log. */
TEST(holes_in_the_log)
{
	finds("DELETE FROM events WHERE id = 5", "hole before event: 6");
}

/* A status that does not exist. */
TEST(unknown_statuses)
{
	struct keel_runs list = {0};
	finds("UPDATE outcomes SET status = 6 WHERE seq = 2", "unknown status: b");
	assert_int_equal(problems.items[0].code, KEEL_STORE_CORRUPT);
	refuse(STORE_CORRUPT, keel_run_get(world.store, text("b"), nothing, &list, &why));
	assert_int_equal(list.count, 0);
	keel_runs_clear(&list);
}

/* A run whose state is nowhere, in two tables, or in the one where it cannot be; and what is there without a run. */
TEST(states_of_runs)
{
	static const struct {
		const char *sql, *words;
	} damages[] = {
		{"DELETE FROM live", "not exactly one state, in flight or after its end: run: c"},
		{"DELETE FROM outcomes WHERE seq = 2", "not exactly one state, in flight or after its end: run: b"},
		{"UPDATE outcomes SET fence = NULL WHERE seq = 1", "not exactly one state, in flight or after its end: run: a"},
		{"INSERT INTO outcomes (seq, cancel_action) VALUES (3, 'interrupt')",
		 "not exactly one state, in flight or after its end: run: c"},
		{"UPDATE live SET finalizing = 1", "in flight and has ended, or the other way round: run: c"},
		{"UPDATE outcomes SET finalizing = 1 WHERE seq = 2", "in flight and has ended, or the other way round: run: b"},
		{"UPDATE live SET session_id = NULL", "not looked for where it is: run: c"},
		{"UPDATE live SET created_at = 1", "not looked for where it is: run: c"},
		{"INSERT INTO outcomes (seq, error) VALUES (9, 'x')", "or has ended, without a run: at: 9"},
	};
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		if (i)
			world_open(NULL);
		finds(damages[i].sql, damages[i].words);
		if (i + 1 < sizeof damages / sizeof damages[0])
			clear_problems(NULL);
	}
}

/* A run in flight that is not counted for its user, handler and batch, or not as it is; and what is counted without. */
TEST(counted)
{
	static const struct {
		const char *sql, *words;
	} damages[] = {
		{"DELETE FROM counted WHERE what = 1", "not counted for its user, handler or batch: run: d"},
		{"DELETE FROM counted WHERE what = 2", "not counted for its user, handler or batch: run: d"},
		{"DELETE FROM counted WHERE what = 3", "not counted for its user, handler or batch: run: d"},
		{"INSERT INTO counted VALUES (1, 'ada', 1, 1)", "is counted that is not in flight: at: 1"},
		{"INSERT INTO counted VALUES (1, 'bob', 0, 1)", "is counted that is not in flight: at: 1"},
		{"INSERT INTO counted VALUES (2, 'h', 0, 4)", "is counted that is not in flight: at: 4"},
		{"INSERT INTO counted VALUES (3, 'b', 1, 2)", "is counted that is not in flight: at: 2"},
	};
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		if (i)
			world_open(NULL);
		struct keel_run run = run_of("d", "w"); /* the first: at 1 */
		SET(&run, USER_ID, user_id, text("ada"));
		SET(&run, HANDLER, handler, text("h"));
		SET(&run, BATCH_ID, batch_id, text("b"));
		put(&run);
		finds(damages[i].sql, damages[i].words);
		if (i + 1 < sizeof damages / sizeof damages[0])
			clear_problems(NULL);
	}
}

/* Something waits that is not there. */
TEST(edges_of_nobody)
{
	finds("UPDATE live SET depended = 1 WHERE seq = 3;"
		  "INSERT INTO edges (source, dependent, wanted) VALUES (3, 99, 0)",
		  "what waits for a run is not there: at: 99");
}

/* A run in flight that has an end. */
TEST(ends_of_runs_in_flight)
{
	finds("UPDATE live SET ended_at = 5 WHERE seq = 3", "has an end: c");
}

/* A run without a fence, or without a revision. */
TEST(fences_and_revisions)
{
	finds("UPDATE outcomes SET fence = 0 WHERE seq = 2", "no fence or revision: b");
	raw("UPDATE live SET revision = 0");
	assert_int_equal(look(), 2);
}

/* A lease without a token, or of no session. */
TEST(leases)
{
	finds("UPDATE leases SET token = 0", "no token or session: n");
	raw("UPDATE leases SET token = 1, session_id = 0");
	assert_int_equal(look(), 1);
}

/* A schedule without a revision, or whose next time is no later than its last. */
TEST(schedules)
{
	struct keel_schedule schedule = {
		.name = text("s"), .definition = text("{}"), .next_at = 2, .last_at = 1, .period_us = 1};
	bool written;
	succeed(keel_schedule_put(world.store, &schedule, &written, &why));
	finds("UPDATE schedules SET next_at = 1", "happens next before it happened last: schedule: s");
	damage("UPDATE schedules SET next_at = 2, revision = 0");
	assert_int_equal(look(), 1);
	damage("UPDATE schedules SET revision = 1, period_us = 0");
	assert_int_equal(look(), 1);
	damage("UPDATE schedules SET period_us = 1, definition = '{'");
	assert_int_equal(look(), 1);
}

/* A store without an epoch, or with two. */
TEST(epochs)
{
	finds("DELETE FROM store", "exactly one epoch: 0");
	raw("INSERT INTO store (epoch, created_at) VALUES ('a', 1), ('b', 2)");
	assert_int_equal(look(), 1);
}

/* F-51 */
/* A document that is not JSON, and a text that is not UTF-8, in every table; the row is named. */
TEST(bad_texts)
{
	static const struct {
		const char *sql, *words;
	} damages[] = {
		{"UPDATE runs SET metadata = 'nope' WHERE run_id = 'a'", "metadata is not valid JSON: run: a"},
		{"UPDATE runs SET kwargs = '{\"a\":1' WHERE run_id = 'b'", "kwargs is not valid JSON: run: b"},
		{"UPDATE outcomes SET error = CAST(x'61FF' AS TEXT) WHERE seq = 2", "error is not valid UTF-8: run: b"},
		{"UPDATE runs SET metadata = CAST(x'22FF22' AS TEXT) WHERE run_id = 'b'",
		 "metadata is not valid UTF-8: run: b"},
		{"UPDATE events SET data = '{\"delay\":1,000000}' WHERE id = 3", "data is not valid JSON: event: 3"},
		{"UPDATE events SET message = CAST(x'C3' AS TEXT) WHERE id = 7", "message is not valid UTF-8: event: 7"},
		{"UPDATE leases SET owner = CAST(x'80' AS TEXT)", "owner is not valid UTF-8: lease: n"},
		{"UPDATE sessions SET owner = CAST(x'80' AS TEXT)", "owner is not valid UTF-8: session: 1"},
		{"UPDATE sessions SET token = CAST(x'80' AS TEXT)", "token is not valid UTF-8: session: 1"},
		{"UPDATE store SET reconciler = CAST(x'80' AS TEXT)", "reconciler is not valid UTF-8: the store: "},
	};
	put_history();
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		damage(damages[i].sql);
		assert_true(look() > i);
		bool found = false;
		for (size_t k = 0; k < problems.count; k++)
			found = found || strstr(problems.items[k].text.data, damages[i].words);
		if (!found)
			fail_msg("not found: %s", damages[i].words);
	}
}

/* F-51 */
/* The name of a row that is no UTF-8 either is shown as far as it can be. */
TEST(names_that_are_no_text)
{
	finds("UPDATE leases SET name = CAST(x'6EFF' AS TEXT)", "name is not valid UTF-8: lease: n?");
	assert_true(keel_text_is_utf8(problems.items[0].text));
}

/* F-51 */
/* Numbers that only grow are told of long before they end. */
TEST(numbers_near_their_end)
{
	static const struct {
		const char *sql, *words;
	} damages[] = {
		{"UPDATE outcomes SET fence = 9223372036854775800 WHERE seq = 1", "fence or revision is near the end"},
		{"UPDATE leases SET token = 9223372036854775807", "token is near the end of its range: lease: n"},
		{"UPDATE sqlite_sequence SET seq = 5000000000000000000 WHERE name = 'sessions'",
		 "ids of sessions are near the end"},
		{"UPDATE runs SET seq = 9223372036854775807 WHERE run_id = 'c'", "keys of runs are near the end"},
	};
	put_history();
	assert_int_equal(look(), 0);
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		damage(damages[i].sql);
		assert_true(look() > i); /* what hangs on it may be told of as well */
		bool found = false;
		for (size_t k = 0; k < problems.count; k++)
			found = found || strstr(problems.items[k].text.data, damages[i].words);
		if (!found)
			fail_msg("not found: %s", damages[i].words);
	}
}

/* F-51 */
/* A counter of ids that was set back: an id would be given again. */
TEST(ids_that_come_again)
{
	finds("DELETE FROM events; UPDATE store SET event_low_water = 8",
		  "next event would get an id that was used before");
	clear_problems(NULL);
	world_open(NULL);
	finds("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'sessions'", "next session would get an id");
}

/* A run that no event created, in a log that reaches back to the beginning. */
TEST(runs_without_a_beginning)
{
	finds("UPDATE events SET run_id = 'x' WHERE id = 3", "no event that created it: c");
	assert_int_equal(problems.items[0].code, KEEL_STORE_MISSING);
}

/* Damage of the file itself: pages of a table and of every index. */
TEST(wiped_pages)
{
	int64_t pages = raw_number("SELECT count(*) FROM sqlite_schema WHERE rootpage > 1");
	for (int64_t i = 0; i < pages; i++) {
		char sql[128];
		snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE rootpage > 1 LIMIT 1 OFFSET %lld",
				 (long long)i);
		clear_problems(NULL);
		world_open(NULL);
		put_history();
		int64_t page = raw_number(sql);
		close_store();
		wipe_page(page);
		world.damaged = true;
		if (keel_store_open(world.path, &world.options, &world.store, &why) == KEEL_OK)
			assert_true(look() > 0);
		else
			assert_int_equal(why.code, KEEL_STORE_CORRUPT);
	}
}

/* Of many problems the first hundred are shown. */
TEST(many_problems)
{
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < 300; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		put_pending(id, "t");
	}
	succeed(keel_store_commit(world.store, &why));
	damage("UPDATE live SET status = 9, finalizing = 1");
	assert_int_equal(look(), KEEL_PROBLEMS_MAX);
}

/* A second look forgets the first; clearing twice is fine. */
TEST(lists_are_reused)
{
	finds("UPDATE outcomes SET fence = 0 WHERE seq = 1", "fence");
	raw("UPDATE outcomes SET fence = 1");
	assert_int_equal(look(), 0);
	keel_problems_clear(&problems);
	keel_problems_clear(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(progress_is_told),
		DAMAGED(sound_stores),
		DAMAGED(pruned_logs_are_sound),
		DAMAGED(holes_in_the_log),
		DAMAGED(unknown_statuses),
		DAMAGED(states_of_runs),
		DAMAGED(counted),
		DAMAGED(edges_of_nobody),
		DAMAGED(ends_of_runs_in_flight),
		DAMAGED(fences_and_revisions),
		DAMAGED(epochs),
		DAMAGED(runs_without_a_beginning),
		DAMAGED(wiped_pages),
		DAMAGED(many_problems),
		DAMAGED(lists_are_reused),
		DAMAGED(leases),
		DAMAGED(schedules),
		DAMAGED(bad_texts),
		DAMAGED(names_that_are_no_text),
		DAMAGED(numbers_near_their_end),
		DAMAGED(ids_that_come_again),
	};
	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
