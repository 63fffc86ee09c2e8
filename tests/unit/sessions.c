/* sessions.c - who is there: when sessions are made, how they end, and what their side file can go through. */
#include "support.h"

#include "base/wake.h"

#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

static int64_t session_of(struct keel_store *store)
{
	int64_t session;
	succeed(keel_store_session(store, &session, &why));
	return session;
}

static bool alive(int64_t session)
{
	bool is;
	succeed(keel_store_session_alive(world.store, session, &is, &why));
	return is;
}

static int64_t rows(void)
{
	return raw_number("SELECT count(*) FROM sessions");
}

/* Everything a look can be. */
static void look_everywhere(void)
{
	struct keel_sessions sessions = {0};
	bool is;
	is_there("r");
	ids_of_thread("t", 10);
	ids_inflight("t");
	ids_inflight(NULL);
	count_inflight("t");
	newest_event();
	check_sound(world.store);
	succeed(keel_store_sessions(world.store, &sessions, &why));
	succeed(keel_store_session_alive(world.store, 1, &is, &why));
	keel_sessions_clear(&sessions);
}

/* A child that has a session: says its number, and that of a process it made, and does as told. */
static int play_owner(int argc, char **argv)
{
	struct keel_store *store;
	int64_t session;
	char line[64];
	pid_t made = 0;
	const char *how = argc > 1 ? argv[1] : "";
	char *sleeper[] = {"sh", "-c", "echo; exec sleep 1000", NULL};
	int runs[2];
	char byte;
	succeed(keel_store_open(argv[0], NULL, &store, &why));
	succeed(keel_store_session(store, &session, &why));
	must(pipe(runs) == 0);
	if (strcmp(how, "fork") == 0 || strcmp(how, "exec") == 0) {
		made = fork();
		if (made == 0 && strcmp(how, "exec") == 0) {
			dup2(runs[1], STDOUT_FILENO);
			execvp(sleeper[0], sleeper);
		}
		if (made == 0) {
			must(write(runs[1], "", 1) == 1);
			for (;;)
				pause();
		}
	}
	if (strcmp(how, "spawn") == 0) {
		posix_spawn_file_actions_t actions;
		must(posix_spawn_file_actions_init(&actions) == 0);
		must(posix_spawn_file_actions_adddup2(&actions, runs[1], STDOUT_FILENO) == 0);
		must(posix_spawnp(&made, sleeper[0], &actions, NULL, sleeper, environ) == 0);
		posix_spawn_file_actions_destroy(&actions);
	}
	/* Both calls return here before the child has let go of what it inherited. */
	must(made == 0 || read(runs[0], &byte, 1) == 1);
	child_says("%d", (int)made);
	child_says("%lld", (long long)session);
	while (child_hears(line, sizeof line)) {
		if (strcmp(line, "again") == 0) {
			keel_store_close(store);
			succeed(keel_store_open(argv[0], NULL, &store, &why));
			succeed(keel_store_session(store, &session, &why));
			child_says("%lld", (long long)session);
		}
	}
	keel_store_close(store);
	return 0;
}

/* A child that asks whether a session is alive. */
static int play_asker(int argc, char **argv)
{
	struct keel_store_options options;
	struct keel_store *store;
	bool is;
	(void)argc;
	keel_store_options_init(&options);
	options.readonly = strcmp(argv[2], "readonly") == 0;
	succeed(keel_store_open(argv[0], &options, &store, &why));
	succeed(keel_store_session_alive(store, strtoll(argv[1], NULL, 10), &is, &why));
	child_says(is ? "alive" : "dead");
	keel_store_close(store);
	return 0;
}

static struct child start_owner(const char *how, int64_t *session, pid_t *made)
{
	struct child child = start("owner", world.path, how, NULL);
	*made = (pid_t)atoi(hear(&child));
	*session = strtoll(hear(&child), NULL, 10);
	assert_true(*session > 0);
	return child;
}

static void ask_third(int64_t session, const char *answer)
{
	char number[32];
	snprintf(number, sizeof number, "%lld", (long long)session);
	for (int i = 0; i < 2; i++) {
		struct child child = start("asker", world.path, number, i ? "readonly" : "writable", NULL);
		await(&child, answer);
		assert_int_equal(finish_child(&child), 0);
	}
}

/* --- Making ------------------------------------------------------------------------------------------------------ */

/* Looking at a store makes no session and changes no byte of it, nor its times. */
TEST(looks_write_nothing)
{
	struct stat before, after;
	size_t size, size_after;
	put_pending("r", "t");
	close_store();
	char *bytes = read_file(world.path, &size);
	assert_int_equal(stat(world.path, &before), 0);
	for (int i = 0; i < 2; i++) {
		world.options.readonly = i == 1;
		reopen_store();
		look_everywhere();
		close_store();
	}
	char *bytes_after = read_file(world.path, &size_after);
	assert_int_equal(stat(world.path, &after), 0);
	assert_true(size == size_after && memcmp(bytes, bytes_after, size) == 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
	assert_int_equal(rows(), 1);
	free(bytes);
	free(bytes_after);
}

/* F-40: the first write makes the session, and the next ones keep it; its file is there from the opening on. */
TEST(first_write_makes_it)
{
	assert_int_equal(rows(), 0);
	look_everywhere();
	assert_int_equal(rows(), 0);
	assert_true(file_exists(in_folder("store-sessions")));
	put_pending("r", "t");
	put_pending("s", "t");
	assert_int_equal(rows(), 1);
	assert_int_equal(session_of(world.store), 1);
	assert_true(file_exists(in_folder("store-sessions")));
}

/* Asking for the session makes it; it stays the same, and runs are not stamped with it unasked. */
TEST(asking_makes_it)
{
	assert_int_equal(session_of(world.store), 1);
	assert_int_equal(session_of(world.store), 1);
	put_pending("r", "t");
	assert_false(KEEL_RUN_HAS(row("r"), SESSION_ID));
	assert_int_equal(rows(), 1);
}

/* A write that is refused may make the session; its number stays good. */
TEST(refused_writes_keep_it)
{
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	bool found;
	succeed(keel_store_begin(world.store, &why));
	keel_store_rollback(world.store);
	succeed(keel_run_update_status(world.store, text("none"), &change, &found, NULL, &why));
	assert_true(session_of(world.store) == 1 && alive(1) && rows() == 1);
}

/* Numbers are never used again, though every session has ended and every row is gone. */
TEST(numbers_are_never_used_again)
{
	for (int i = 1; i <= 10; i++) {
		assert_int_equal(session_of(world.store), i);
		reopen_store();
		if (i % 3 == 0)
			raw("DELETE FROM sessions");
	}
}

/* A store in memory has a session too. */
TEST(memory_stores_have_one)
{
	succeed((close_store(), keel_store_open(":memory:", &world.options, &world.store, &why)));
	assert_int_equal(session_of(world.store), 1);
	assert_true(alive(1));
	assert_false(alive(2));
}

/* The listing shows number, owner, process, start and life, oldest first. */
TEST(sessions_are_listed)
{
	struct keel_sessions list = {0};
	struct keel_store *other = open_another();
	session_of(other);
	world.time += 5;
	session_of(world.store);
	keel_store_close(other);
	succeed(keel_store_sessions(world.store, &list, &why));
	assert_int_equal(list.count, 2);
	assert_true(list.items[0].session_id == 1 && !list.items[0].alive);
	assert_true(list.items[1].session_id == 2 && list.items[1].alive);
	assert_true(list.items[1].pid == getpid() && list.items[1].started_at == world.time && list.items[1].owner.data);
	keel_sessions_clear(&list);
	keel_sessions_clear(&list);
}

/* --- Life and death ---------------------------------------------------------------------------------------------- */

/* A handle's session is alive for it and for every other handle until it is closed. */
TEST(alive_until_closed)
{
	struct keel_store *other = open_another();
	int64_t session = session_of(other);
	assert_true(alive(session));
	keel_store_close(other);
	assert_false(alive(session));
}

/* A number that is no session is dead. */
TEST(unknown_numbers_are_dead)
{
	static const int64_t numbers[] = {0, -1, 2, 999, INT64_MAX, INT64_MIN};
	assert_int_equal(session_of(world.store), 1);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		assert_false(alive(numbers[i]));
}

/* OWN-3 */
/* The session of a process killed with SIGKILL is alive before and dead right after, for whoever asks. */
TEST(killed_processes_are_dead_at_once)
{
	for (int i = 0; i < 5; i++) {
		int64_t session;
		pid_t made;
		struct child child = start_owner("", &session, &made);
		assert_true(alive(session));
		kill_child(&child);
		assert_false(alive(session));
		ask_third(session, "dead");
	}
}

/* A stopped process is alive. */
TEST(stopped_processes_are_alive)
{
	int64_t session;
	pid_t made;
	int status;
	struct child child = start_owner("", &session, &made);
	assert_int_equal(kill(child.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(child.pid, &status, WUNTRACED), child.pid);
	assert_true(WIFSTOPPED(status) && alive(session));
	kill_child(&child);
	assert_false(alive(session));
}

/* Neither a forked child nor one that runs another program keeps a dead parent alive. */
TEST(children_do_not_keep_it_alive)
{
	static const char *const ways[] = {"fork", "exec", "spawn"};
	for (int i = 0; i < 3; i++) {
		int64_t session;
		pid_t made;
		struct child child = start_owner(ways[i], &session, &made);
		assert_true(alive(session));
		kill_child(&child);
		assert_int_equal(kill(made, 0), 0); /* it lives on */
		assert_false(alive(session));
		ask_third(session, "dead");
		kill(made, SIGKILL);
	}
}

/* A process that ends well leaves a dead session, and so does one that opens the store anew, for its first one. */
TEST(ended_processes_are_dead)
{
	int64_t first, second;
	pid_t made;
	struct child child = start_owner("", &first, &made);
	say(&child, "again");
	second = strtoll(hear(&child), NULL, 10);
	assert_true(second > first && !alive(first) && alive(second));
	assert_int_equal(finish_child(&child), 0);
	assert_false(alive(second));
}

/* --- The side file ----------------------------------------------------------------------------------------------- */

/* A side file left over from a store that was deleted does no harm. */
TEST(stale_side_files_are_harmless)
{
	session_of(world.store);
	close_store();
	assert_int_equal(remove(world.path), 0);
	assert_true(file_exists(in_folder("store-sessions")));
	reopen_store();
	assert_true(session_of(world.store) == 1 && alive(1));
	ask_third(1, "alive");
}

/* While a process of the deleted store lives on, its number is taken, and the new store's sessions go by their own. */
TEST(sessions_of_a_deleted_store_take_numbers)
{
	int64_t session;
	pid_t made;
	close_store();
	struct child child = start_owner("", &session, &made);
	assert_int_equal(session, 1);
	remove(in_folder("store"));
	remove(in_folder("store-wal"));
	remove(in_folder("store-shm"));
	reopen_store();
	assert_int_equal(session_of(world.store), 2);
	ask_third(1, "dead"); /* no session of this store */
	ask_third(2, "alive");
	kill_child(&child);
	ask_third(2, "alive");
	put_pending("r", "t");
}

/* A side file that was deleted makes no live session dead; a process that is gone is dead all the same. */
TEST(deleted_side_files_kill_nobody)
{
	int64_t session, mine = session_of(world.store);
	pid_t made;
	struct child child = start_owner("", &session, &made);
	assert_int_equal(remove(in_folder("store-sessions")), 0);
	ask_third(session, "alive");
	ask_third(mine, "alive");
	struct keel_store *other = open_another();
	int64_t later = session_of(other); /* makes a new side file */
	ask_third(session, "alive");
	ask_third(mine, "alive");
	ask_third(later, "alive");
	kill_child(&child);
	ask_third(session, "dead");
	assert_true(!alive(session) && alive(later));
	keel_store_close(other);
}

/* F-49: a side file that cannot be one, or that would lead elsewhere, keeps the store from being opened. */
TEST(side_files_that_cannot_be_opened)
{
	static const char *const names[] = {"store-sessions", "store-wake", "store-wal", "store-shm", "store-journal"};
	close_store();
	write_file(in_folder("victim"), "x", 1);
	for (int i = 0; i < 5; i++) {
		char path[256];
		snprintf(path, sizeof path, "%s", in_folder(names[i]));
		unlink(path);
		for (int kind = 0; kind < 4; kind++) {
			assert_int_equal(kind == 0   ? mkdir(path, 0700)
							 : kind == 1 ? mkfifo(path, 0600)
							 : kind == 2 ? symlink(in_folder("victim"), path)
										 : link(in_folder("victim"), path),
							 0);
			for (int readonly = 0; readonly < 2; readonly++) {
				if (readonly && i == 0)
					continue; /* it is looked at when somebody asks for a session */
				world.options.readonly = readonly;
				refuse(IO, keel_store_open(world.path, &world.options, &world.store, &why));
				assert_non_null(strstr(why.message, path));
			}
			world.options.readonly = false;
			assert_int_equal(remove(path), 0);
		}
	}
	reopen_store();
	put_pending("r", "t");
	size_t size;
	char *bytes = read_file(in_folder("victim"), &size);
	assert_true(size == 1 && bytes[0] == 'x');
	free(bytes);
}

/* F-9: while somebody restores the store, no session is made: its writes would go with the old file. */
TEST(no_session_while_it_is_restored)
{
	struct keel_sidefile restorer = {.fd = -1};
	struct keel_run run = run_of("r", "t");
	world.options.lock_timeout_us = 0;
	reopen_store();
	succeed(keel_sidefile_open(&restorer, in_folder("store-wake"), true, &why));
	succeed(keel_sidefile_lock(&restorer, KEEL_DOOR_BYTE, &why));
	refuse(BUSY, keel_run_put(world.store, &run, nothing, NULL, &why));
	struct keel_store *other;
	refuse(BUSY, keel_store_open(world.path, &world.options, &other, &why));
	assert_non_null(strstr(why.message, "restored"));
	keel_sidefile_drop(&restorer);
	put_pending("r", "t");
	assert_int_equal(rows(), 1);
}

/* --- Tidying ----------------------------------------------------------------------------------------------------- */

/* Dead sessions that own nothing do not pile up. */
TEST(dead_sessions_are_tidied)
{
	for (int i = 0; i < 100; i++) {
		session_of(world.store);
		reopen_store();
	}
	assert_true(rows() <= 2);
}

/* Not even behind many that are alive. */
TEST(dead_sessions_are_tidied_behind_live_ones)
{
	struct keel_store *others[40];
	for (int i = 0; i < 40; i++) {
		others[i] = open_another();
		session_of(others[i]);
	}
	for (int i = 0; i < 200; i++) {
		session_of(world.store);
		reopen_store();
	}
	assert_true(rows() <= 40 + 60);
	for (int i = 0; i < 40; i++)
		keel_store_close(others[i]);
}

/* A dead session that owns a run in flight stays, so that people can see whose it was. */
TEST(owners_of_orphans_stay)
{
	put_owned("r", "t");
	for (int i = 0; i < 5; i++) {
		reopen_store();
		session_of(world.store);
	}
	assert_int_equal(raw_number("SELECT count(*) FROM sessions WHERE id = 1"), 1);
	change_status("r", KEEL_RUN_ERROR);
	reopen_store();
	session_of(world.store);
	assert_int_equal(raw_number("SELECT count(*) FROM sessions WHERE id = 1"), 0);
}

/* A live session is never tidied away. */
TEST(live_sessions_stay)
{
	int64_t session;
	pid_t made;
	struct child child = start_owner("", &session, &made);
	for (int i = 0; i < 5; i++) {
		session_of(world.store);
		reopen_store();
	}
	assert_true(alive(session));
	kill_child(&child);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"owner", play_owner}, {"asker", play_asker}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_STORE(looks_write_nothing),
		WITH_STORE(first_write_makes_it),
		WITH_STORE(asking_makes_it),
		WITH_STORE(refused_writes_keep_it),
		WITH_STORE(numbers_are_never_used_again),
		WITH_STORE(memory_stores_have_one),
		WITH_STORE(sessions_are_listed),
		WITH_STORE(alive_until_closed),
		WITH_STORE(unknown_numbers_are_dead),
		WITH_STORE(killed_processes_are_dead_at_once),
		WITH_STORE(stopped_processes_are_alive),
		WITH_STORE(children_do_not_keep_it_alive),
		WITH_STORE(ended_processes_are_dead),
		WITH_STORE(stale_side_files_are_harmless),
		WITH_STORE(sessions_of_a_deleted_store_take_numbers),
		WITH_STORE(deleted_side_files_kill_nobody),
		WITH_STORE(side_files_that_cannot_be_opened),
		WITH_STORE(no_session_while_it_is_restored),
		WITH_STORE(dead_sessions_are_tidied),
		WITH_STORE(dead_sessions_are_tidied_behind_live_ones),
		WITH_STORE(owners_of_orphans_stay),
		WITH_STORE(live_sessions_stay),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
