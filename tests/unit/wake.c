/* wake.c - waiting for events: who is woken, by what, and what a wait costs. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/monotonic.h"
#include "base/wake.h"
#include "store/store.h"

enum { MILLISECOND = 1000, SECOND = 1000 * 1000, HANDOVERS = 1000 };

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

/* The kernel's call in this process comes here: a system with no inotify instance left. */
static bool no_inotify;

__attribute__((visibility("default"))) int inotify_init1(int flags)
{
	if (no_inotify) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_inotify_init1, flags);
}

static bool wait_for(int64_t next_event_id, int64_t timeout_us)
{
	bool ready;
	succeed(keel_event_wait(world.store, next_event_id, timeout_us, &ready, &why));
	return ready;
}

static struct keel_event_waiter *start_waiting(int64_t next_event_id)
{
	struct keel_event_waiter *waiter;
	succeed(keel_event_waiter_open(world.store, next_event_id, &waiter, &why));
	return waiter;
}

static bool look(struct keel_event_waiter *waiter)
{
	bool ready;
	succeed(keel_event_waiter_look(waiter, &ready, &why));
	return ready;
}

/* Another handle appends an event. */
static void append_by(struct keel_store *other, const char *kind)
{
	struct keel_store *mine = world.store;
	world.store = other;
	append(kind, NULL);
	world.store = mine;
}

/* Whether anybody waits on the world's store, as a writer sees it. */
static bool is_awaited(void)
{
	struct keel_sidefile file = {.fd = -1};
	bool is = keel_sidefile_open(&file, in_folder("store-wake"), false, NULL) == KEEL_OK &&
			  keel_sidefile_find(&file, KEEL_WAKE_BYTE, 1) != 0;
	keel_sidefile_close(&file);
	return is;
}

/* Whether a wake-up was written into the file. */
static bool was_woken(void)
{
	size_t size;
	char *bytes = read_file(in_folder("store-wake"), &size);
	bool woken = size > 0 && bytes[0] == 'w';
	free(bytes);
	return woken;
}

/* --- Roles ------------------------------------------------------------------------------------------------------- */

static void open_at(const char *folder)
{
	snprintf(world.folder, sizeof world.folder, "%s", folder);
	snprintf(world.path, sizeof world.path, "%s/store", folder);
	keel_store_options_init(&world.options);
	world.options.durability = KEEL_DURABILITY_OFF;
	reopen_store();
}

/* Appends one event for each time that somebody waits; as many as it is told. */
static int play_writer(int argc, char **argv)
{
	(void)argc;
	open_at(argv[0]);
	for (int i = 0; i < atoi(argv[1]); i++) {
		while (!is_awaited())
			usleep(200);
		usleep(2000); /* until it sleeps, most times */
		append("a", NULL);
	}
	close_store();
	return 0;
}

/* Answers each event by one of its own: the events with even ids are this process's. */
static int play_partner(int argc, char **argv)
{
	(void)argc;
	open_at(argv[0]);
	for (int i = 1; i <= HANDOVERS; i++) {
		must(wait_for(2 * i - 1, 20 * SECOND));
		must(append("pong", NULL) == 2 * i);
	}
	close_store();
	return 0;
}

/* --- Success ----------------------------------------------------------------------------------------------------- */

/* EVENT-5 */
/* What is there already needs no waiting; what is not is waited for until the time is over, and not less. */
TEST(times_out_on_time)
{
	append("a", NULL);
	assert_true(wait_for(1, INT64_MAX));
	assert_false(wait_for(2, 0));
	for (int64_t timeout = 1; timeout <= 30 * MILLISECOND; timeout *= 30) {
		int64_t began = keel_monotonic_us();
		assert_false(wait_for(2, timeout));
		assert_true(keel_monotonic_us() - began >= timeout);
	}
	assert_false(is_awaited());
}

/* EVENT-5 */
/* A commit in another process wakes who waits without end. */
TEST(another_process_wakes)
{
	append("first", NULL);
	struct child writer = start("writer", world.folder, "5", NULL);
	for (int i = 2; i <= 6; i++)
		assert_true(wait_for(i, INT64_MAX));
	assert_int_equal(finish_child(&writer), 0);
}

/* EVENT-5 */
/* A thousand times two processes answer each other, each asleep until the other has written: nobody is left asleep.
 * Were every wake-up lost, and the slow poll all there is, this would take minutes. What one has written is seen a
 * moment before it gives up the lock, so that the other may have to wait for that. */
TEST(no_wake_up_is_lost)
{
	world.options.lock_timeout_us = 20 * SECOND;
	reopen_store();
	int64_t began = keel_monotonic_us();
	struct child partner = start("partner", world.folder, NULL);
	for (int i = 1; i <= HANDOVERS; i++) {
		assert_int_equal(append("ping", NULL), 2 * i - 1);
		assert_true(wait_for(2 * i, 20 * SECOND));
	}
	assert_int_equal(finish_child(&partner), 0);
	assert_true(keel_monotonic_us() - began < 60 * SECOND);
}

/* EVENT-5 */
/* A handle's own commits, and those of another handle in the process, are seen at the next look; what a transaction has
 * written so far is not. */
TEST(one_process_wakes_itself)
{
	append("first", NULL);
	struct keel_store *other = open_another();
	struct keel_event_waiter *first = start_waiting(2), *second = start_waiting(2), *third = start_waiting(3);
	assert_false(look(first));
	succeed(keel_store_begin(world.store, &why));
	append("a", NULL);
	assert_false(look(first));
	succeed(keel_store_commit(world.store, &why));
	assert_true(look(first) && look(second));
	assert_false(look(third));
	append_by(other, "b");
	assert_true(look(third));
	keel_event_waiter_close(first);
	keel_event_waiter_close(second);
	keel_event_waiter_close(third);
	keel_event_waiter_close(NULL);
	keel_store_close(other);
}

/* EVENT-5 */
/* In memory a handle's own commits wake; nobody else could. */
TEST(memory_wakes_itself)
{
	struct keel_store *file = world.store;
	succeed(keel_store_open(":memory:", &world.options, &world.store, &why));
	struct keel_event_waiter *waiter = start_waiting(1);
	assert_false(look(waiter));
	assert_false(look(waiter));
	append("a", NULL);
	assert_true(look(waiter));
	keel_event_waiter_close(waiter);
	assert_false(wait_for(2, 5 * MILLISECOND));
	bool ready;
	refuse_field("timeout", keel_event_wait(world.store, 2, INT64_MAX, &ready, &why));
	close_store();
	world.store = file;
}

/* A readonly handle waits too, and so does one that was there before the first session. */
TEST(readers_wait)
{
	struct keel_store *writing = world.store;
	world.options.readonly = true;
	struct keel_store *readonly = world.store = open_another();
	struct keel_event_waiter *waiter = start_waiting(1);
	assert_false(look(waiter));
	world.store = writing;
	append("a", NULL);
	world.store = readonly;
	assert_true(wait_for(1, INT64_MAX));
	while (!look(waiter))
		usleep(1000); /* it polls */
	keel_event_waiter_close(waiter);
	struct child writer = start("writer", world.folder, "1", NULL);
	assert_true(wait_for(2, INT64_MAX));
	assert_int_equal(finish_child(&writer), 0);
	keel_store_close(readonly);
	world.store = writing;
}

/* Without inotify a waiter polls. */
TEST(without_inotify)
{
	append("a", NULL);
	no_inotify = true;
	struct keel_store *other = open_another();
	struct keel_event_waiter *waiter = start_waiting(2);
	assert_false(look(waiter));
	append_by(other, "b");
	while (!look(waiter))
		usleep(1000);
	keel_event_waiter_close(waiter);
	assert_true(wait_for(2, INT64_MAX));
	assert_false(wait_for(3, 30 * MILLISECOND));
	no_inotify = false;
	keel_store_close(other);
}

/* A file that was deleted under a waiter costs it time and not the news; the next wait sees the new file. */
TEST(a_deleted_file)
{
	append("a", NULL);
	struct keel_event_waiter *waiter = start_waiting(2);
	assert_false(look(waiter));
	assert_int_equal(unlink(in_folder("store-wake")), 0);
	struct keel_store *other = open_another();
	append_by(other, "b");
	while (!look(waiter))
		usleep(1000);
	keel_event_waiter_close(waiter);
	waiter = start_waiting(3);
	assert_false(look(waiter));
	append_by(other, "c");
	assert_true(look(waiter));
	keel_event_waiter_close(waiter);
	keel_store_close(other);
}

static void do_nothing(int number)
{
	(void)number;
}

/* Signals do not end a wait. */
TEST(signals_interrupt_nothing)
{
	struct sigaction action = {.sa_handler = do_nothing}, before;
	struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
	int64_t began = keel_monotonic_us();
	append("a", NULL);
	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_false(wait_for(2, 40 * MILLISECOND));
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_true(keel_monotonic_us() - began >= 40 * MILLISECOND);
}

/* --- Cost -------------------------------------------------------------------------------------------------------- */

/* EVENT-5 */
/* A reader that has caught up does the same work in a short log and in a long one, and none at all until woken. */
TEST(caught_up_readers_do_not_scan)
{
	sqlite3 *db = last_connection; /* the next one is another's */
	append("a", NULL);
	steps_of(db);
	assert_false(wait_for(2, 0));
	int64_t steps = steps_of(db);
	raw("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		" INSERT INTO events (kind, at) SELECT 'note', i FROM n");
	assert_false(wait_for(5002, 0));
	assert_int_equal(steps_of(db), steps);
	assert_int_equal(work_of(db, SQLITE_STMTSTATUS_FULLSCAN_STEP), 0);
	struct keel_event_waiter *waiter = start_waiting(5002);
	assert_false(look(waiter));
	work_of(db, SQLITE_STMTSTATUS_RUN);
	for (int i = 0; i < 20; i++)
		assert_false(look(waiter));
	assert_int_equal(work_of(db, SQLITE_STMTSTATUS_RUN), 0);
	keel_event_waiter_close(waiter);
}

/* A writer writes into the file only when somebody waits, and only for events. */
TEST(nobody_is_woken_for_nothing)
{
	bool found;
	append("a", NULL);
	assert_false(was_woken());
	struct keel_event_waiter *waiter = start_waiting(2);
	assert_true(is_awaited());
	succeed(keel_store_begin(world.store, &why));
	append("b", NULL);
	keel_store_rollback(world.store);
	succeed(keel_run_delete(world.store, text("nobody"), &found, &why));
	assert_false(was_woken());
	append("b", NULL);
	append("c", NULL);
	assert_true(was_woken());
	keel_event_waiter_close(waiter);
	assert_false(is_awaited());
}

/* The file can be read and written by its owner alone. */
TEST(the_file_is_private)
{
	struct stat info;
	mode_t before = umask(0);
	append("a", NULL);
	umask(before);
	assert_int_equal(stat(in_folder("store-wake"), &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
}

/* --- Failure ----------------------------------------------------------------------------------------------------- */

/* A start below 1 and a negative time are refused by name; an open transaction makes a wait busy. */
TEST(waits_are_checked)
{
	struct keel_event_waiter *waiter;
	bool ready;
	refuse_field("cursor", keel_event_wait(world.store, 0, 0, &ready, &why));
	refuse_field("timeout", keel_event_wait(world.store, 1, -1, &ready, &why));
	refuse_field("cursor", keel_event_waiter_open(world.store, -5, &waiter, &why));
	assert_null(waiter);
	succeed(keel_store_begin(world.store, &why));
	append("a", NULL);
	refuse(BUSY, keel_event_wait(world.store, 1, INT64_MAX, &ready, &why));
	assert_true(why.transient && !ready);
	refuse(BUSY, keel_event_waiter_open(world.store, 1, &waiter, &why));
	keel_store_rollback(world.store);
}

static void *refuse_memory(void *data, void *memory, size_t size)
{
	(void)data, (void)memory, (void)size;
	return NULL;
}

static void free_memory(void *data, void *memory)
{
	(void)data;
	free(memory);
}

/* Without memory a wait fails, and leaves nothing locked. */
TEST(no_memory_to_wait)
{
	static const struct keel_allocator none = {refuse_memory, free_memory, NULL};
	struct keel_event_waiter *waiter;
	bool ready;
	append("a", NULL);
	wait_for(2, 0);
	keel_set_allocator(&none);
	enum keel_code opened = keel_event_waiter_open(world.store, 2, &waiter, &why);
	enum keel_code waited = keel_event_wait(world.store, 2, 1, &ready, &why);
	world_set_allocator();
	assert_int_equal(opened, KEEL_NO_MEMORY);
	assert_int_equal(waited, KEEL_NO_MEMORY);
	assert_null(waiter);
	assert_false(is_awaited());
}

/* A store whose file cannot be made is not opened. */
TEST(a_file_that_cannot_be_made)
{
	struct keel_store *other;
	close_store();
	assert_int_equal(unlink(in_folder("store-wake")), 0);
	assert_int_equal(mkdir(in_folder("store-wake"), 0700), 0);
	refuse(IO, keel_store_open(world.path, &world.options, &other, &why));
	assert_non_null(strstr(why.message, "store-wake"));
	assert_int_equal(rmdir(in_folder("store-wake")), 0);
	reopen_store();
	assert_int_equal(append("a", NULL), 1);
}

/* --- Processes --------------------------------------------------------------------------------------------------- */

/* A forked child cannot look, and does not keep up the wait when its parent has ended it. */
TEST(forked_children_do_not_wait)
{
	int up[2], status;
	char byte;
	bool ready;
	append("a", NULL);
	struct keel_event_waiter *waiter = start_waiting(2);
	assert_int_equal(pipe(up), 0);
	pid_t pid = fork();
	if (pid == 0) {
		bool refused = keel_event_waiter_look(waiter, &ready, &why) == KEEL_FORKED &&
					   keel_event_wait(world.store, 1, 0, &ready, &why) == KEEL_FORKED;
		keel_event_waiter_close(waiter);
		if (write(up[1], refused ? "y" : "n", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(up[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	assert_true(is_awaited());
	keel_event_waiter_close(waiter);
	assert_false(is_awaited());
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(up[0]);
	close(up[1]);
}

static int play_waiter(int argc, char **argv)
{
	(void)argc;
	open_at(argv[0]);
	child_says("ready");
	wait_for(1000, INT64_MAX);
	return 0;
}

/* Nobody waits any more when a waiter was killed. */
TEST(killed_waiters_are_gone)
{
	append("a", NULL);
	struct child waiter = start("waiter", world.folder, NULL);
	await(&waiter, "ready");
	while (!is_awaited())
		usleep(200);
	kill_child(&waiter);
	assert_false(is_awaited());
}

/* --- For event loops --------------------------------------------------------------------------------------------- */

static bool is_readable(int descriptor)
{
	struct pollfd polled = {.fd = descriptor, .events = POLLIN};
	return poll(&polled, 1, 0) == 1;
}

/* EVENT-5 */
/* Readable with a commit of this handle or another, until the waiter looks; whoever else waits takes nothing away. */
TEST(a_descriptor_tells)
{
	append("first", NULL);
	struct keel_store *other = open_another();
	struct keel_event_waiter *polled = start_waiting(2), *beside = start_waiting(2);
	int descriptor = keel_event_waiter_descriptor(polled);
	assert_true(descriptor >= 0);
	assert_int_equal(keel_event_waiter_descriptor(polled), descriptor);
	assert_false(look(polled));
	assert_false(is_readable(descriptor));
	append_by(other, "b");
	assert_true(look(beside));
	assert_true(is_readable(descriptor));
	assert_true(look(polled));
	assert_false(is_readable(descriptor));
	keel_event_waiter_move(polled, 3);
	assert_false(look(polled));
	append("c", NULL);
	assert_true(is_readable(descriptor));
	assert_true(look(polled));
	keel_event_waiter_move(polled, 2);
	assert_true(look(polled)); /* what is there already needs no wake-up */
	keel_event_waiter_close(polled);
	keel_event_waiter_close(beside);
	assert_false(is_awaited());
	keel_store_close(other);
}

/* What is committed before there is a descriptor is seen by the next look. */
TEST(a_descriptor_misses_nothing)
{
	append("first", NULL);
	struct keel_store *other = open_another();
	struct keel_event_waiter *waiter = start_waiting(2);
	assert_false(look(waiter));
	append_by(other, "b");
	assert_true(keel_event_waiter_descriptor(waiter) >= 0);
	assert_true(look(waiter));
	keel_event_waiter_close(waiter);
	keel_store_close(other);
}

/* F-43: there is one on a new store. */
TEST(no_descriptor)
{
	struct keel_store *file = world.store;
	struct keel_event_waiter *waiter = start_waiting(1);
	assert_true(keel_event_waiter_descriptor(waiter) >= 0);
	assert_false(look(waiter));
	append("a", NULL);
	assert_true(look(waiter));
	keel_event_waiter_close(waiter);
	no_inotify = true;
	waiter = start_waiting(2);
	assert_int_equal(keel_event_waiter_descriptor(waiter), -1);
	assert_false(look(waiter));
	no_inotify = false;
	assert_true(keel_event_waiter_descriptor(waiter) >= 0);
	keel_event_waiter_close(waiter);
	succeed(keel_store_open(":memory:", &world.options, &world.store, &why));
	waiter = start_waiting(1);
	assert_int_equal(keel_event_waiter_descriptor(waiter), -1);
	keel_event_waiter_move(waiter, 0); /* there is no such event, and none yet */
	assert_false(look(waiter));
	keel_event_waiter_close(waiter);
	close_store();
	world.store = file;
}

/* Of a store on a server: a connection that was made anew mostly has the number of the one before. */
TEST(a_descriptor_of_a_new_connection)
{
	int first[2], second[2];
	struct keel_wake wake = {.file = {.fd = -1}};
	struct keel_waiter waiter;
	succeed(keel_wake_init(&wake, &why));
	assert_true(keel_wake_use_server(&wake));
	assert_int_equal(pipe(first), 0);
	wake.server = &first[0];
	succeed(keel_waiter_start(&waiter, &wake, NULL, &why));
	int descriptor = keel_waiter_descriptor(&waiter, &wake, NULL);
	assert_true(descriptor >= 0 && !is_readable(descriptor));
	assert_int_equal(pipe(second), 0);
	close(first[0]);
	assert_int_equal(fcntl(second[0], F_DUPFD, first[0]), first[0]);
	close(second[0]);
	assert_int_equal(keel_waiter_descriptor(&waiter, &wake, NULL), descriptor);
	assert_int_equal(write(second[1], "w", 1), 1);
	assert_true(is_readable(descriptor));
	keel_waiter_end(&waiter);
	keel_wake_close(&wake);
	close(first[0]);
	close(first[1]);
	close(second[1]);
}

/* A handle of a store on a server from which nothing is heard, and one who waits on it. */
static void start_on_server(struct keel_wake *wake, struct keel_waiter *waiter)
{
	static const int none = -1;
	*wake = (struct keel_wake){.file = {.fd = -1}};
	succeed(keel_wake_init(wake, &why));
	wake->server = &none;
	assert_true(keel_wake_use_server(wake));
	succeed(keel_waiter_start(waiter, wake, NULL, &why));
}

static void end_on_server(struct keel_wake *wake, struct keel_waiter *waiter)
{
	keel_waiter_end(waiter);
	keel_wake_close(wake);
}

/* The server tells of the first of events that come close on each other: who was woken looks once more by itself soon,
 * also where a loop polls for it, and after that as rarely as ever. */
TEST(a_server_tells_of_the_first)
{
	enum { SOON = 30 * MILLISECOND };
	struct keel_wake wake;
	struct keel_waiter waiter;
	start_on_server(&wake, &waiter);
	int descriptor = keel_waiter_descriptor(&waiter, &wake, NULL);
	for (int i = 0; i < 2; i++, wake.count++) { /* at first what is there may be a moment old; then news */
		assert_true(keel_waiter_due(&waiter, &wake, NULL));
		assert_true(waiter.due - keel_monotonic_us() <= SOON);
		while (!is_readable(descriptor))
			usleep(1000);
		assert_true(keel_waiter_due(&waiter, &wake, NULL));
		assert_true(waiter.due - keel_monotonic_us() > SOON);
		assert_false(is_readable(descriptor));
	}
	end_on_server(&wake, &waiter);
}

/* Who has found something rests before the next look, but for what this handle commits itself. */
TEST(readers_of_a_server_rest)
{
	struct keel_wake wake;
	struct keel_waiter waiter;
	start_on_server(&wake, &waiter);
	wake.rests_until = keel_monotonic_us() + SECOND;
	assert_true(keel_wake_rests(&wake));
	assert_false(keel_waiter_due(&waiter, &wake, NULL));
	wake.count++;
	assert_false(keel_waiter_due(&waiter, &wake, NULL));
	keel_wake_all(&wake, true);
	assert_false(keel_wake_rests(&wake));
	assert_true(keel_waiter_due(&waiter, &wake, NULL));
	keel_wake_rest(&wake); /* others of the handle may still have to look */
	assert_true(!keel_wake_rests(&wake) || keel_monotonic_us() - wake.woken_at > 20 * MILLISECOND);
	wake.woken_at = 0;
	keel_wake_rest(&wake);
	assert_true(wake.rests_until - keel_monotonic_us() <= 20 * MILLISECOND);
	keel_waiter_block(&waiter, &wake, INT64_MAX);
	while (keel_wake_rests(&wake))
		usleep(1000);
	wake.server = NULL;
	keel_wake_rest(&wake);
	assert_false(keel_wake_rests(&wake)); /* a look at a file costs nobody else anything */
	end_on_server(&wake, &waiter);
}

/* A waiter may outlive its store, as long as nobody looks. */
TEST(the_store_may_go_first)
{
	struct keel_event_waiter *waiter = start_waiting(1), *polled = start_waiting(1);
	keel_event_waiter_descriptor(polled);
	close_store();
	keel_event_waiter_close(waiter);
	keel_event_waiter_close(polled);
}

int main(int argc, char **argv)
{
	const struct role roles[] = {{"writer", play_writer}, {"partner", play_partner}, {"waiter", play_waiter}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_STORE(times_out_on_time),
		WITH_STORE(another_process_wakes),
		WITH_STORE(no_wake_up_is_lost),
		WITH_STORE(one_process_wakes_itself),
		WITH_STORE(memory_wakes_itself),
		WITH_STORE(readers_wait),
		WITH_STORE(without_inotify),
		WITH_STORE(a_deleted_file),
		WITH_STORE(signals_interrupt_nothing),
		WITH_STORE(caught_up_readers_do_not_scan),
		WITH_STORE(nobody_is_woken_for_nothing),
		WITH_STORE(the_file_is_private),
		WITH_STORE(waits_are_checked),
		WITH_STORE(no_memory_to_wait),
		WITH_STORE(a_file_that_cannot_be_made),
		WITH_STORE(forked_children_do_not_wait),
		WITH_STORE(killed_waiters_are_gone),
		WITH_STORE(a_descriptor_tells),
		WITH_STORE(a_descriptor_misses_nothing),
		WITH_STORE(no_descriptor),
		WITH_STORE(a_descriptor_of_a_new_connection),
		WITH_STORE(a_server_tells_of_the_first),
		WITH_STORE(readers_of_a_server_rest),
		WITH_STORE(the_store_may_go_first),
	};
	if (support_is_child(argc, argv))
		return support_play(argc, argv, roles);
	return cmocka_run_group_tests_name("wake", tests, watch_connections, NULL);
}
