/* turns.c - whose turn it is to write: who starves, who stands back for it, and for how long. */
#include "support.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/monotonic.h"
#include "base/turn.h"
#include "store/store.h"

enum { MILLISECOND = 1000 };

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

/* A writer past the kernel, who asks nobody. */
static sqlite3 *stranger;

static void stranger_locks(void)
{
	assert_int_equal(sqlite3_open(world.path, &stranger), SQLITE_OK);
	assert_int_equal(sqlite3_exec(stranger, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

static void stranger_unlocks(void)
{
	assert_int_equal(sqlite3_exec(stranger, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(stranger), SQLITE_OK);
}

static enum keel_code try_to_write(struct keel_store *store)
{
	struct keel_event event = {.kind = text("a")};
	return keel_event_append(store, &event, NULL, &why);
}

/* Tries until the store starves, as a host does that waits by itself. */
static void starve(struct keel_store *store)
{
	while (!store->turn.byte) {
		must(try_to_write(store) == KEEL_BUSY);
		usleep(2000);
	}
}

/* Whether anybody starves, as a writer sees it. */
static bool somebody_starves(void)
{
	struct keel_sidefile file = {.fd = -1};
	assert_int_equal(keel_sidefile_open(&file, in_folder("store-wake"), false, NULL), KEEL_OK);
	int64_t byte = keel_sidefile_find(&file, KEEL_TURN_FIRST, KEEL_TURN_BYTES);
	keel_sidefile_close(&file);
	return byte != 0;
}

/* Tries until it may; how long it was held up. */
static int64_t held_up(struct keel_store *store)
{
	enum keel_code code;
	int64_t began = keel_monotonic_us();
	while ((code = try_to_write(store)) == KEEL_BUSY)
		usleep(200);
	succeed(code);
	return keel_monotonic_us() - began;
}

/* A child that starves: says so, and then does what it is told. */
static int play_starver(int argc, char **argv)
{
	struct keel_store_options options;
	struct keel_store *store;
	char line[16];
	int64_t session;
	(void)argc;
	keel_store_options_init(&options);
	options.lock_timeout_us = 0;
	succeed(keel_store_open(argv[0], &options, &store, &why));
	succeed(keel_store_session(store, &session, &why));
	child_says("ready");
	must(child_hears(line, sizeof line));
	starve(store);
	child_says("starving");
	while (child_hears(line, sizeof line)) {
		if (strcmp(line, "write") == 0)
			child_says("%s", keel_code_name(try_to_write(store)));
		if (strcmp(line, "give up") == 0) {
			keel_store_give_up(store);
			child_says("done");
		}
	}
	keel_store_close(store);
	return 0;
}

/* The store is free in the end, the child starves, and nobody has looked yet. */
static struct child start_starver(void)
{
	append("first", NULL);
	struct child child = start("starver", world.path, NULL);
	await(&child, "ready");
	stranger_locks();
	say(&child, "go");
	await(&child, "starving");
	stranger_unlocks();
	return child;
}

/* --- Standing back ----------------------------------------------------------------------------------------------- */

/* A fresh writer stands back for one that starves, although the lock is free; then both have their turn. */
TEST(writers_stand_back)
{
	struct child child = start_starver();
	refuse(BUSY, try_to_write(world.store));
	assert_true(why.transient);
	assert_non_null(strstr(why.message, "waited longer"));
	assert_int_equal(newest_event(), 1);
	say(&child, "write");
	await(&child, "ok");
	succeed(try_to_write(world.store));
	assert_false(somebody_starves());
	assert_int_equal(finish_child(&child), 0);
}

/* Transactions and new sessions stand back too; readers do not. */
TEST(all_writers_stand_back)
{
	struct child child = start_starver();
	struct keel_store *fresh = open_another();
	int64_t session;
	refuse(BUSY, keel_store_begin(world.store, &why));
	assert_false(keel_store_in_transaction(world.store));
	refuse(BUSY, keel_store_session(fresh, &session, &why));
	assert_int_equal(newest_event(), 1);
	say(&child, "give up");
	await(&child, "done");
	succeed(keel_store_begin(world.store, &why));
	keel_store_rollback(world.store);
	succeed(keel_store_session(fresh, &session, &why));
	keel_store_close(fresh);
	assert_int_equal(finish_child(&child), 0);
}

/* Nobody starves after a few refusals, nor when the last one is long ago. */
TEST(starving_takes_a_while)
{
	append("first", NULL);
	stranger_locks();
	refuse(BUSY, try_to_write(world.store));
	refuse(BUSY, try_to_write(world.store));
	assert_false(somebody_starves());
	world.store->turn.since -= 2000 * MILLISECOND;
	world.store->turn.refused -= 2000 * MILLISECOND;
	refuse(BUSY, try_to_write(world.store));
	assert_false(somebody_starves());
	starve(world.store);
	assert_true(somebody_starves());
	stranger_unlocks();
	succeed(try_to_write(world.store));
	assert_false(somebody_starves());
}

/* One that starves stands back for nobody. */
TEST(those_who_starve_compete)
{
	struct keel_store *other = open_another(), *third = open_another();
	int64_t session;
	append("first", NULL);
	succeed(keel_store_session(other, &session, &why));
	succeed(keel_store_session(third, &session, &why));
	stranger_locks();
	starve(world.store);
	starve(other);
	stranger_unlocks();
	refuse(BUSY, try_to_write(third));
	succeed(try_to_write(other));
	refuse(BUSY, try_to_write(third));
	succeed(try_to_write(world.store));
	succeed(try_to_write(third));
	keel_store_close(other);
	keel_store_close(third);
}

/* Whoever waits in the kernel gives up with its time, and asks more often while it starves. */
TEST(a_wait_that_ends)
{
	world.options.lock_timeout_us = 80 * MILLISECOND;
	reopen_store();
	append("first", NULL);
	assert_true(keel_store_retry_us(world.store) >= 500);
	stranger_locks();
	refuse(BUSY, try_to_write(world.store));
	assert_false(somebody_starves());
	world.store->options.lock_timeout_us = 0;
	starve(world.store);
	for (int i = 0; i < 100; i++)
		assert_true(keel_store_retry_us(world.store) > 0 && keel_store_retry_us(world.store) < 1000);
	keel_store_give_up(world.store);
	stranger_unlocks();
	assert_false(somebody_starves());
}

/* Closing a handle that starves lets go. */
TEST(closing_gives_up)
{
	struct keel_store *other = open_another();
	int64_t session;
	append("first", NULL);
	succeed(keel_store_session(other, &session, &why));
	stranger_locks();
	starve(other);
	stranger_unlocks();
	keel_store_close(other);
	succeed(try_to_write(world.store));
}

/* A store in memory knows no turns. */
TEST(memory_has_no_turns)
{
	struct keel_store *memory;
	succeed(keel_store_open(":memory:", &world.options, &memory, &why));
	succeed(try_to_write(memory));
	assert_true(keel_store_retry_us(memory) > 0);
	keel_store_give_up(memory);
	keel_store_close(memory);
}

/* --- Those who do not take their turn ---------------------------------------------------------------------------- */

/* One that is stopped while it starves holds everybody up once, for a moment, and then nobody. */
TEST(the_stopped_are_passed_by)
{
	int status;
	struct child child = start_starver();
	assert_int_equal(kill(child.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(child.pid, &status, WUNTRACED), child.pid);
	assert_true(WIFSTOPPED(status));
	refuse(BUSY, try_to_write(world.store));
	assert_true(held_up(world.store) < 10 * 1000 * MILLISECOND);
	for (int i = 0; i < 20; i++)
		succeed(try_to_write(world.store));
	assert_true(somebody_starves());
	assert_int_equal(kill(child.pid, SIGCONT), 0);
	say(&child, "write");
	await(&child, "ok");
	succeed(try_to_write(world.store));
	assert_int_equal(finish_child(&child), 0);
}

/* Being passed by is forgiven: the same byte counts again once it was seen free. */
TEST(the_next_one_on_the_byte_counts)
{
	struct keel_sidefile file = {.fd = -1};
	append("first", NULL);
	succeed(keel_sidefile_open(&file, in_folder("store-wake"), true, &why));
	succeed(keel_sidefile_lock(&file, KEEL_TURN_FIRST + 5, &why));
	refuse(BUSY, try_to_write(world.store));
	held_up(world.store);
	succeed(try_to_write(world.store));
	/* Another one, while the first is still passed by. */
	succeed(keel_sidefile_lock(&file, KEEL_TURN_FIRST, &why));
	refuse(BUSY, try_to_write(world.store));
	held_up(world.store);
	keel_sidefile_unlock(&file, KEEL_TURN_FIRST + 5);
	succeed(try_to_write(world.store));
	succeed(keel_sidefile_lock(&file, KEEL_TURN_FIRST + 5, &why));
	refuse(BUSY, try_to_write(world.store));
	keel_sidefile_close(&file);
	succeed(try_to_write(world.store));
}

/* With every byte taken, one that would starve waits like all, and is not in the way of what it waits for. */
TEST(no_byte_is_free)
{
	struct keel_sidefile file = {.fd = -1};
	append("first", NULL);
	succeed(keel_sidefile_open(&file, in_folder("store-wake"), true, &why));
	for (int i = 0; i < KEEL_TURN_BYTES; i++)
		succeed(keel_sidefile_lock(&file, KEEL_TURN_FIRST + i, &why));
	assert_true(held_up(world.store) > 0);
	assert_int_equal(world.store->turn.byte, 0);
	keel_sidefile_close(&file);
	succeed(try_to_write(world.store));
}

/* One that is killed holds nobody up. */
TEST(the_killed_are_gone_at_once)
{
	struct child child = start_starver();
	refuse(BUSY, try_to_write(world.store));
	kill_child(&child);
	succeed(try_to_write(world.store));
}

/* A child forked by one that starves does not starve in its place. */
TEST(forked_children_do_not_starve)
{
	int up[2], status;
	char byte;
	struct keel_store *other = open_another();
	int64_t session;
	append("first", NULL);
	succeed(keel_store_session(other, &session, &why));
	stranger_locks();
	starve(other);
	stranger_unlocks();
	assert_int_equal(pipe(up), 0);
	pid_t pid = fork();
	if (pid == 0) {
		keel_store_give_up(other);
		if (write(up[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(up[0], &byte, 1), 1);
	assert_true(somebody_starves());
	succeed(try_to_write(other));
	assert_false(somebody_starves());
	succeed(try_to_write(world.store));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(up[0]);
	close(up[1]);
	keel_store_close(other);
}

int main(int argc, char **argv)
{
	const struct role roles[] = {{"starver", play_starver}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_STORE(writers_stand_back),
		WITH_STORE(all_writers_stand_back),
		WITH_STORE(starving_takes_a_while),
		WITH_STORE(those_who_starve_compete),
		WITH_STORE(a_wait_that_ends),
		WITH_STORE(closing_gives_up),
		WITH_STORE(memory_has_no_turns),
		WITH_STORE(the_stopped_are_passed_by),
		WITH_STORE(the_next_one_on_the_byte_counts),
		WITH_STORE(no_byte_is_free),
		WITH_STORE(the_killed_are_gone_at_once),
		WITH_STORE(forked_children_do_not_starve),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
