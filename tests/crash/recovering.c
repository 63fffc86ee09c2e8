/* recovering.c - reads while another process recovers the write-ahead log after a kill: they wait, as writes do.
 *
 * That process is played by a child, by what SQLite documents of its files (sqlite.org/walformat.html): a writer was
 * killed halfway through the header of STORE-shm, and the bytes that the one who recovers locks are locked.
 */
#include "support.h"

#include <fcntl.h>
#include <unistd.h>

enum { HEADER_BYTE = 8, FIRST_LOCK = 120, LOCKS = 3 }; /* in STORE-shm: write, checkpoint, recover */

static struct child recoverer;
static int waits;

/* PATH-OF-SHM: damages the header and keeps the locks until it is told to let go. */
static int play_recoverer(int argc, char **argv)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = FIRST_LOCK, .l_len = LOCKS};
	unsigned char byte;
	char line[8];
	(void)argc;
	int fd = open(argv[0], O_RDWR | O_CLOEXEC);
	must(fd >= 0);
	must(fcntl(fd, F_SETLK, &lock) == 0);
	must(pread(fd, &byte, 1, HEADER_BYTE) == 1);
	byte ^= 0xFF;
	must(pwrite(fd, &byte, 1, HEADER_BYTE) == 1);
	child_says("recovering");
	child_hears(line, sizeof line);
	close(fd);
	return 0;
}

/* How the store waits: the recoverer is done. */
static void wait_for_recoverer(void *data, int64_t us)
{
	(void)data;
	(void)us;
	if (waits++ == 0)
		assert_int_equal(finish_child(&recoverer), 0);
}

static void read_run(void)
{
	must(is_there("r"));
}

static void list_thread(void)
{
	assert_string_equal(ids_of_thread("t", 10), "r");
}

static void list_inflight(void)
{
	assert_string_equal(ids_inflight(NULL), "r");
}

static void count_thread(void)
{
	assert_int_equal(count_inflight("t"), 1);
}

static void read_log(void)
{
	assert_string_equal(kinds_of("r"), "run_created");
}

static void read_end_of_log(void)
{
	struct keel_event_query query = {.next_event_id = 100, .limit = 1};
	struct keel_events page = {0};
	succeed(keel_event_read(world.store, &query, &page, &why));
	assert_int_equal(page.count, 0);
	keel_events_clear(&page);
}

static void ask_for_session(void)
{
	bool alive;
	succeed(keel_store_session_alive(world.store, 99, &alive, &why));
}

static void list_sessions(void)
{
	struct keel_sessions list = {0};
	succeed(keel_store_sessions(world.store, &list, &why));
	assert_int_equal(list.count, 1);
	keel_sessions_clear(&list);
}

static void verify(void)
{
	check_sound(world.store);
}

static void write_run(void)
{
	put_pending("r", "t");
}

static void (*const operations[])(void) = {
	read_run,        list_thread, list_inflight,   count_thread,  read_log,
	read_end_of_log, verify,      ask_for_session, list_sessions, write_run,
};

/* Every operation waits for the recoverer, and then answers. */
TEST(reads_wait)
{
	world.options.lock_timeout_us = INT64_MAX;
	world.options.sleep = wait_for_recoverer;
	reopen_store();
	put_pending("r", "t");
	for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
		waits = 0;
		recoverer = start("recoverer", in_folder("store-shm"), NULL);
		await(&recoverer, "recovering");
		operations[i]();
		assert_int_equal(waits, 1);
	}
}

/* A handle that does not wait is told at once. */
TEST(reads_that_do_not_wait)
{
	struct keel_runs list = {0};
	put_pending("r", "t");
	recoverer = start("recoverer", in_folder("store-shm"), NULL);
	await(&recoverer, "recovering");
	refuse(BUSY, keel_run_get(world.store, text("r"), nothing, &list, &why));
	assert_int_equal(finish_child(&recoverer), 0);
	read_run();
	keel_runs_clear(&list);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"recoverer", play_recoverer}, {0}};
	const struct CMUnitTest tests[] = {WITH_STORE(reads_wait), WITH_STORE(reads_that_do_not_wait)};
	return RUN_TESTS(argc, argv, roles, tests);
}
