/* transactions.c - begin, commit, rollback, failures inside, and who waits for whom. */
#include "support.h"

#include <sqlite3.h>

#include "store/store.h"

/* Fixture: a second connection that holds the write lock, from outside of Keel. */
static sqlite3 *holder;

static void hold_lock(void)
{
	must(sqlite3_open(world.path, &holder) == SQLITE_OK);
	must(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
}

static void release_lock(void)
{
	must(sqlite3_exec(holder, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(holder);
	holder = NULL;
}

static struct {
	int count;
	int64_t total;
	int release_at; /* the lock is released in this sleep; 0: never */
} sleeps;

static void counted_sleep(void *data, int64_t duration_us)
{
	(void)data;
	sleeps.total += duration_us;
	if (++sleeps.count == sleeps.release_at)
		release_lock();
}

static void reopen_with_timeout(int64_t timeout_us)
{
	memset(&sleeps, 0, sizeof sleeps);
	world.options.lock_timeout_us = timeout_us;
	world.options.sleep = counted_sleep;
	reopen_store();
}

/* --- Success ----------------------------------------------------------------------------------------------------- */

/* What is done in a transaction is there after the commit, for every handle. */
TEST(commit_keeps)
{
	struct keel_store *mine = world.store, *other = open_another();
	succeed(keel_store_begin(world.store, &why));
	assert_true(keel_store_in_transaction(world.store));
	put_pending("a", "t");
	put_pending("b", "t");
	world.store = other;
	assert_string_equal(ids_inflight("t"), "");
	succeed(keel_store_commit(mine, &why));
	assert_string_equal(ids_inflight("t"), "a b");
	assert_false(keel_store_in_transaction(mine));
	world.store = mine;
	keel_store_close(other);
}

/* What is done in a transaction is gone after a rollback; a rollback without one does nothing. */
TEST(rollback_undoes)
{
	keel_store_rollback(world.store);
	put_pending("a", "t");
	succeed(keel_store_begin(world.store, &why));
	change_status("a", KEEL_RUN_RUNNING);
	put_pending("b", "t");
	keel_store_rollback(world.store);
	assert_false(keel_store_in_transaction(world.store));
	assert_true(status_of("a") == KEEL_RUN_PENDING && !is_there("b"));
}

/* Closing a handle rolls back what is open. */
TEST(close_rolls_back)
{
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	reopen_store();
	assert_false(is_there("a"));
	assert_int_equal(newest_event(), 0);
}

/* A transaction may be empty, and a handle may have any number of them, one after the other. */
TEST(transactions_follow_each_other)
{
	for (int i = 0; i < 20; i++) {
		succeed(keel_store_begin(world.store, &why));
		if (i % 3 == 0)
			keel_store_rollback(world.store);
		else
			succeed(keel_store_commit(world.store, &why));
	}
	put_pending("a", "t");
}

/* Reading in a transaction sees what it wrote. */
TEST(transactions_see_their_own_writes)
{
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	assert_int_equal(count_inflight("t"), 1);
	change_status("a", KEEL_RUN_ERROR);
	assert_int_equal(count_inflight("t"), 0);
	assert_string_equal(kinds_of("a"), "run_created run_finished");
	succeed(keel_store_commit(world.store, &why));
}

/* A call that is refused before it wrote anything leaves the transaction good. */
TEST(refusals_do_no_harm)
{
	struct keel_run bad = run_of("", "t");
	struct keel_status_change change = {.status = KEEL_RUN_PENDING};
	bool found;
	succeed(keel_store_begin(world.store, &why));
	put_with_status("a", "t", KEEL_RUN_RUNNING);
	refuse(INVALID_REQUEST, keel_run_put(world.store, &bad, nothing, NULL, &why));
	refuse(INVALID_TRANSITION, keel_run_update_status(world.store, text("a"), &change, &found, NULL, &why));
	succeed(keel_store_commit(world.store, &why));
	assert_int_equal(status_of("a"), KEEL_RUN_RUNNING);
}

/* Verify and the listing of sessions work inside a transaction too. */
TEST(looks_join_the_transaction)
{
	struct keel_sessions sessions = {0};
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	check_sound(world.store);
	succeed(keel_store_sessions(world.store, &sessions, &why));
	assert_true(sessions.count == 1 && keel_store_in_transaction(world.store));
	succeed(keel_store_commit(world.store, &why));
	keel_sessions_clear(&sessions);
	assert_true(is_there("a"));
}

/* --- Failure ----------------------------------------------------------------------------------------------------- */

/* A second begin is busy and leaves the first transaction as it is. */
TEST(begin_twice_is_busy)
{
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	refuse(BUSY, keel_store_begin(world.store, &why));
	assert_true(why.transient);
	succeed(keel_store_commit(world.store, &why));
	assert_true(is_there("a"));
}

/* There is nothing to commit without a begin, nor after a commit or a rollback. */
TEST(commit_needs_a_begin)
{
	refuse(MISUSE, keel_store_commit(world.store, &why));
	succeed(keel_store_begin(world.store, &why));
	keel_store_rollback(world.store);
	refuse(MISUSE, keel_store_commit(world.store, &why));
}

/* An operation that fails half-way spoils the transaction: nothing more goes into it, and it cannot commit. */
TEST(half_an_operation_spoils_the_transaction)
{
	world.damaged = true; /* renaming leaves a quoted name in the schema */
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	keel_store_rollback(world.store);
	raw("ALTER TABLE events RENAME TO hidden");
	succeed(keel_store_begin(world.store, &why));
	struct keel_run run = run_of("b", "t");
	refuse(STORE_CORRUPT,
		   keel_run_put(world.store, &run, nothing, NULL, &why)); /* the row goes in, the event does not */
	refuse(STORE_CORRUPT, keel_run_put(world.store, &run, nothing, NULL, &why));
	refuse(STORE_CORRUPT, keel_run_get(world.store, text("b"), nothing, &(struct keel_runs){0}, &why));
	refuse(STORE_CORRUPT, keel_store_commit(world.store, &why));
	assert_false(keel_store_in_transaction(world.store));
	raw("ALTER TABLE hidden RENAME TO events");
	assert_false(is_there("b"));
	put_pending("b", "t");
}

/* When the database gives the transaction up by itself, what comes after does not slip in outside of it. */
TEST(lost_transactions_are_noticed)
{
	struct keel_run run = run_of("b", "t");
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	world.store->sql->driver->rollback(world.store->sql); /* as SQLite does when a read runs out of memory */
	assert_int_not_equal(keel_run_put(world.store, &run, nothing, NULL, &why), KEEL_OK);
	assert_int_not_equal(keel_store_commit(world.store, &why), KEEL_OK);
	assert_false(is_there("a") || is_there("b"));
	assert_int_equal(newest_event(), 0);
	put_pending("b", "t");
}

/* --- Waiting ----------------------------------------------------------------------------------------------------- */

/* Another writer makes an operation busy at once when there is no time to wait; reading goes on. */
TEST(other_writers_make_it_busy)
{
	struct keel_run run = run_of("b", "t");
	put_pending("a", "t");
	hold_lock();
	refuse(BUSY, keel_run_put(world.store, &run, nothing, NULL, &why));
	assert_true(why.transient);
	refuse(BUSY, keel_store_begin(world.store, &why));
	assert_false(keel_store_in_transaction(world.store));
	assert_true(is_there("a") && !is_there("b"));
	release_lock();
	put(&run);
}

/* A handle of the same process is another writer like any. */
TEST(other_handles_make_it_busy)
{
	struct keel_store *other = open_another();
	struct keel_run run = run_of("b", "t");
	succeed(keel_store_begin(other, &why));
	refuse(BUSY, keel_run_put(world.store, &run, nothing, NULL, &why));
	succeed(keel_store_commit(other, &why));
	keel_store_close(other);
	put(&run);
}

/* With time to wait, an operation sleeps in short steps until the other writer is done. */
TEST(operations_wait_for_the_lock)
{
	reopen_with_timeout(10 * 1000 * 1000);
	put_pending("a", "t");
	hold_lock();
	sleeps.release_at = 5;
	put_pending("b", "t");
	assert_true(sleeps.count == 5 && sleeps.total > 0 && sleeps.total < 100 * 1000);
	assert_true(is_there("b"));
}

/* Even the very first write of a handle waits, for its session too. */
TEST(first_writes_wait_for_the_lock)
{
	reopen_with_timeout(10 * 1000 * 1000);
	hold_lock();
	sleeps.release_at = 3;
	put_pending("a", "t");
	assert_int_equal(sleeps.count, 3);
}

/* When the time is over it is busy; no sleep is longer than what is left of it. */
TEST(waiting_ends)
{
	struct keel_run run = run_of("b", "t");
	reopen_with_timeout(2 * 1000);
	put_pending("a", "t");
	hold_lock();
	refuse(BUSY, keel_run_put(world.store, &run, nothing, NULL, &why));
	assert_true(sleeps.count > 0 && sleeps.total / sleeps.count <= 2 * 1000);
	release_lock();
}

/* Whoever wants to wait for ever may say so with the largest number there is. */
TEST(waiting_for_ever)
{
	reopen_with_timeout(INT64_MAX);
	put_pending("a", "t");
	hold_lock();
	sleeps.release_at = 3;
	put_pending("b", "t");
	assert_int_equal(sleeps.count, 3);
}

/* A wait that ends well leaves the error record alone. */
TEST(waiting_is_no_failure)
{
	struct keel_error err, before;
	struct keel_run run = run_of("b", "t");
	memset(&err, 0x55, sizeof err);
	before = err;
	reopen_with_timeout(10 * 1000 * 1000);
	put_pending("a", "t");
	hold_lock();
	sleeps.release_at = 2;
	succeed(keel_run_put(world.store, &run, nothing, NULL, &err));
	assert_memory_equal(&err, &before, sizeof err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(commit_keeps),
		WITH_STORE(rollback_undoes),
		WITH_STORE(close_rolls_back),
		WITH_STORE(transactions_follow_each_other),
		WITH_STORE(transactions_see_their_own_writes),
		WITH_STORE(refusals_do_no_harm),
		WITH_STORE(looks_join_the_transaction),
		WITH_STORE(begin_twice_is_busy),
		WITH_STORE(commit_needs_a_begin),
		WITH_STORE(half_an_operation_spoils_the_transaction),
		WITH_STORE(lost_transactions_are_noticed),
		WITH_STORE(other_writers_make_it_busy),
		WITH_STORE(other_handles_make_it_busy),
		WITH_STORE(operations_wait_for_the_lock),
		WITH_STORE(first_writes_wait_for_the_lock),
		WITH_STORE(waiting_ends),
		WITH_STORE(waiting_for_ever),
		WITH_STORE(waiting_is_no_failure),
	};
	return cmocka_run_group_tests_name("transactions", tests, NULL, NULL);
}
