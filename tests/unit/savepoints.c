/* savepoints.c - places in a transaction to come back to. */
#include "support.h"

#include "store/store.h"

static int mark(void)
{
	int made = 0;
	succeed(keel_store_savepoint(world.store, &made, &why));
	return made;
}

/* --- Success ----------------------------------------------------------------------------------------------------- */

/* What was done since a mark is undone alone; what was done before and is done after is committed. */
TEST(undo_reaches_back_to_the_mark)
{
	succeed(keel_store_begin(world.store, &why));
	put_pending("before", "t");
	int place = mark();
	assert_int_equal(place, 1);
	put_pending("undone", "t");
	succeed(keel_store_rollback_to(world.store, place, &why));
	put_pending("after", "t");
	succeed(keel_store_commit(world.store, &why));
	assert_string_equal(ids_inflight("t"), "before after");
	assert_int_equal(newest_event(), 2); /* no id is spent on what was undone */
	check_sound(world.store);
}

/* A mark that was released keeps what was done since, and so does a commit with open marks. */
TEST(release_keeps)
{
	succeed(keel_store_begin(world.store, &why));
	int place = mark();
	put_pending("a", "t");
	succeed(keel_store_release(world.store, place, &why));
	mark();
	put_pending("b", "t");
	succeed(keel_store_commit(world.store, &why));
	assert_string_equal(ids_inflight("t"), "a b");
}

/* Marks are a stack: ending one ends those made after it, and leaves those made before. */
TEST(marks_are_a_stack)
{
	succeed(keel_store_begin(world.store, &why));
	int outer = mark();
	put_pending("a", "t");
	int inner = mark();
	put_pending("b", "t");
	mark();
	put_pending("c", "t");
	succeed(keel_store_rollback_to(world.store, inner, &why));
	assert_string_equal(ids_inflight("t"), "a");
	mark();
	put_pending("d", "t");
	succeed(keel_store_release(world.store, outer, &why));
	refuse(INVALID_REQUEST, keel_store_release(world.store, outer, &why));
	succeed(keel_store_commit(world.store, &why));
	assert_string_equal(ids_inflight("t"), "a d");
}

/* A new transaction begins without marks. */
TEST(marks_end_with_the_transaction)
{
	succeed(keel_store_begin(world.store, &why));
	int place = mark();
	keel_store_rollback(world.store);
	refuse(MISUSE, keel_store_rollback_to(world.store, place, &why));
	succeed(keel_store_begin(world.store, &why));
	refuse(INVALID_REQUEST, keel_store_rollback_to(world.store, place, &why));
	assert_int_equal(mark(), 1);
	succeed(keel_store_commit(world.store, &why));
}

static void check_committed(int64_t first, int64_t next)
{
	int64_t found[2];
	keel_event_committed(world.store, &found[0], &found[1]);
	assert_int_equal(found[0], first);
	assert_int_equal(found[1], next);
}

/* Who has written events knows their ids when they are committed, of the last transaction alone, and of none that was
 * undone. */
TEST(committed_events_are_known)
{
	check_committed(0, 0);
	put_pending("a", "t");
	check_committed(1, 2);
	succeed(keel_store_begin(world.store, &why));
	int first = mark();
	put_pending("b", "t");
	succeed(keel_store_rollback_to(world.store, first, &why));
	put_pending("c", "t");
	int second = mark();
	put_pending("d", "t");
	put_pending("e", "t");
	succeed(keel_store_rollback_to(world.store, second, &why));
	check_committed(0, 0); /* it is open */
	put_pending("f", "t");
	succeed(keel_store_commit(world.store, &why));
	check_committed(2, 4);
	succeed(keel_store_begin(world.store, &why));
	put_pending("g", "t");
	keel_store_rollback(world.store);
	check_committed(0, 0);
	struct keel_run run = run_of("a", "elsewhere");
	put_pending("h", "t");
	check_committed(4, 5);
	refuse(INVALID_REQUEST, keel_run_put(world.store, &run, nothing, NULL, &why));
	check_committed(0, 0);
}

/* --- Failure ----------------------------------------------------------------------------------------------------- */

/* An operation that fails half-way spoils the transaction only back to the mark. */
TEST(half_an_operation_is_undone)
{
	struct keel_run run = run_of("b", "t");
	succeed(keel_store_begin(world.store, &why));
	put_pending("a", "t");
	int place = mark();
	succeed(keel_execute_values(world.store, "ALTER TABLE events RENAME TO hidden", &why, NULL, 0));
	refuse(STORE_CORRUPT, keel_run_put(world.store, &run, nothing, NULL, &why)); /* the row, but no event */
	int none;
	refuse(STORE_CORRUPT, keel_store_savepoint(world.store, &none, &why));
	refuse(STORE_CORRUPT, keel_store_release(world.store, place, &why));
	succeed(keel_store_rollback_to(world.store, place, &why)); /* the table has its name again */
	put_pending("c", "t");
	succeed(keel_store_commit(world.store, &why));
	assert_string_equal(ids_inflight("t"), "a c");
	check_sound(world.store);
}

/* A transaction that the database ended by itself is lost, marks or not. */
TEST(lost_transactions_stay_lost)
{
	succeed(keel_store_begin(world.store, &why));
	int place = mark();
	put_pending("a", "t");
	world.store->sql->driver->rollback(world.store->sql); /* as SQLite does when a read runs out of memory */
	refuse(IO, keel_store_rollback_to(world.store, place, &why));
	refuse(IO, keel_store_release(world.store, place, &why));
	refuse(IO, keel_store_commit(world.store, &why));
	assert_false(is_there("a"));
	put_pending("a", "t");
}

/* Marks need a transaction, are bounded, and are no other numbers. */
TEST(misuse_is_refused)
{
	int place = 7;
	refuse(MISUSE, keel_store_savepoint(world.store, &place, &why));
	assert_int_equal(place, 0);
	refuse(MISUSE, keel_store_release(world.store, 1, &why));
	succeed(keel_store_begin(world.store, &why));
	for (int i = 1; i <= KEEL_SAVEPOINTS_MAX; i++)
		assert_int_equal(mark(), i);
	refuse(LIMIT_TOO_LARGE, keel_store_savepoint(world.store, &place, &why));
	refuse(INVALID_REQUEST, keel_store_release(world.store, 0, &why));
	refuse(INVALID_REQUEST, keel_store_rollback_to(world.store, KEEL_SAVEPOINTS_MAX + 1, &why));
	put_pending("a", "t");
	succeed(keel_store_rollback_to(world.store, 1, &why));
	succeed(keel_store_commit(world.store, &why));
	assert_false(is_there("a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(undo_reaches_back_to_the_mark),
		WITH_STORE(release_keeps),
		WITH_STORE(marks_are_a_stack),
		WITH_STORE(committed_events_are_known),
		WITH_STORE(marks_end_with_the_transaction),
		WITH_STORE(half_an_operation_is_undone),
		WITH_STORE(lost_transactions_stay_lost),
		WITH_STORE(misuse_is_refused),
	};
	return cmocka_run_group_tests_name("savepoints", tests, NULL, NULL);
}
