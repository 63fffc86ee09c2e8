/* forks.c - a child made by fork: what it may do with its parent's handles, and what it cannot do to them. */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a forked child; what it returns is the child's status. */
static int in_fork(int (*body)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A program of its own that looks at the world's store: whether a session is alive, and which runs there are. */
static int play_third(int argc, char **argv)
{
	struct keel_runs list = {0};
	struct keel_inflight_query query = {.limit = 100};
	bool alive;
	(void)argc;
	world.options.readonly = false;
	succeed(keel_store_open(argv[0], NULL, &world.store, &why));
	succeed(keel_store_session_alive(world.store, strtoll(argv[1], NULL, 10), &alive, &why));
	succeed(keel_run_list_inflight(world.store, &query, &list, &why));
	check_sound(world.store);
	child_says("%s %s", alive ? "alive" : "dead", ids_of(&list));
	keel_runs_clear(&list);
	keel_store_close(world.store);
	return 0;
}

static void third_sees(int64_t session, const char *wanted)
{
	char number[32];
	snprintf(number, sizeof number, "%lld", (long long)session);
	struct child child = start("third", world.path, number, NULL);
	await(&child, wanted);
	assert_int_equal(finish_child(&child), 0);
}

static int64_t session(void)
{
	int64_t number;
	succeed(keel_store_session(world.store, &number, &why));
	return number;
}

/* --- What the child may do --------------------------------------------------------------------------------------- */

#define REFUSED(call) ((call) == KEEL_FORKED)

/* Every call that takes a store; a bit for each that is not refused as forked. */
static int call_everything(void)
{
	struct keel_run run = run_of("x", "t"), fields = {0};
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	struct keel_takeover takeover = {.status = KEEL_RUN_ERROR};
	struct keel_inflight_query inflight = {.limit = 1};
	struct keel_event event = {.kind = text("a")};
	struct keel_event_query query = {.next_event_id = 1, .limit = 1};
	struct keel_runs runs = {0};
	struct keel_token_totals totals = {0};
	struct keel_lease lease;
	struct keel_events events = {0};
	struct keel_sessions sessions = {0};
	struct keel_problems problems = {0};
	struct keel_store *s = world.store;
	const char *winner;
	int64_t number;
	bool is;
	SET(&fields, TOTAL_TOKENS, total_tokens, 1);
	return keel_store_usable(s) || !REFUSED(keel_run_put(s, &run, nothing, NULL, &why)) ||
		   !REFUSED(keel_run_get(s, text("r"), nothing, &runs, &why)) ||
		   !REFUSED(keel_run_delete(s, text("r"), &is, &why)) ||
		   !REFUSED(keel_run_update_status(s, text("r"), &change, &is, NULL, &why)) ||
		   !REFUSED(keel_run_complete(s, text("r"), &fields, &is, NULL, &why)) ||
		   !REFUSED(keel_run_progress(s, text("r"), &fields, &is, NULL, &why)) ||
		   !REFUSED(keel_run_list_by_thread(s, text("t"), nothing, 1, &runs, &why)) ||
		   !REFUSED(keel_run_list_inflight(s, &inflight, &runs, &why)) ||
		   !REFUSED(keel_run_count_inflight(s, text("t"), &number, &why)) ||
		   !REFUSED(keel_run_next_owner(s, 0, &number, &why)) ||
		   !REFUSED(keel_run_claim_for_takeover(s, text("r"), &takeover, &is, &why)) ||
		   !REFUSED(keel_run_request_cancel(s, text("r"), text("interrupt"), &winner, &why)) ||
		   !REFUSED(keel_tokens_of_thread(s, text("t"), true, &totals, &why)) ||
		   !REFUSED(keel_lease_acquire(s, text("n"), nothing, 1, &lease, &why)) ||
		   !REFUSED(keel_lease_renew(s, text("n"), 1, 1, &number, &why)) ||
		   !REFUSED(keel_lease_release(s, text("n"), 1, &why)) ||
		   !REFUSED(keel_lease_get(s, text("n"), &lease, &why)) ||
		   !REFUSED(keel_event_append(s, &event, &number, &why)) || !REFUSED(keel_event_wait(s, 1, 0, &is, &why)) ||
		   !REFUSED(keel_event_read(s, &query, &events, &why)) || !REFUSED(keel_store_begin(s, &why)) ||
		   !REFUSED(keel_store_commit(s, &why)) || !REFUSED(keel_store_session(s, &number, &why)) ||
		   !REFUSED(keel_store_session_alive(s, 1, &is, &why)) || !REFUSED(keel_store_sessions(s, &sessions, &why)) ||
		   !REFUSED(keel_store_verify(s, &problems, &why));
}

static int close_only(void)
{
	keel_store_close(world.store);
	return 0;
}

static int roll_back_and_close(void)
{
	keel_store_rollback(world.store);
	bool open = keel_store_in_transaction(world.store);
	keel_store_close(world.store);
	return open;
}

static int leave_it_alone(void)
{
	return 0;
}

/* Looking at path, epoch and backend is harmless. */
static int look_at_names(void)
{
	return strcmp(keel_store_path(world.store), world.path) != 0 || !keel_store_epoch(world.store)[0] ||
		   strcmp(keel_store_backend(world.store), "sqlite") != 0;
}

static int fork_again(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(call_everything() || close_only());
	return waitpid(pid, &status, 0) != pid || status != 0 || call_everything() || close_only();
}

/* Another store of its own. */
static int use_another_store(void)
{
	struct keel_store *store;
	int64_t number = 0;
	bool alive = false;
	bool good = keel_store_open(in_folder("other"), &world.options, &store, &why) == KEEL_OK &&
				keel_store_session(store, &number, &why) == KEEL_OK &&
				keel_store_session_alive(store, number, &alive, &why) == KEEL_OK;
	keel_store_close(store);
	return !(good && number == 1 && alive);
}

/* F-38: in a forked child every call is refused as forked, inside a transaction of the parent's or not. */
TEST(every_call_is_forked)
{
	put_pending("r", "t");
	assert_int_equal(in_fork(call_everything), 0);
	assert_int_equal(in_fork(fork_again), 0);
	assert_int_equal(in_fork(look_at_names), 0);
	succeed(keel_store_begin(world.store, &why));
	assert_int_equal(in_fork(call_everything), 0);
	succeed(keel_store_commit(world.store, &why));
	assert_true(keel_store_usable(world.store));
}

/* The child may open other stores, with sessions of its own. */
TEST(children_may_have_their_own)
{
	put_pending("r", "t");
	assert_int_equal(in_fork(use_another_store), 0);
	third_sees(session(), "alive r");
}

/* --- What it cannot do ------------------------------------------------------------------------------------------- */

/* Whatever the child does, or leaves, the parent's session stays alive for others, and its log and data stay. */
TEST(children_do_no_harm)
{
	static int (*const ways[])(void) = {leave_it_alone, close_only, call_everything, fork_again};
	put_pending("r", "t");
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		assert_int_equal(in_fork(ways[i]), 0);
		assert_true(file_exists(in_folder("store-wal")));
		third_sees(session(), "alive r");
	}
	put_pending("s", "t");
	third_sees(session(), "alive r s");
}

/* A transaction of the parent's goes on after a child was made, used its copy of the handle and has gone. */
TEST(transactions_survive_children)
{
	static int (*const ways[])(void) = {leave_it_alone, close_only, roll_back_and_close, call_everything};
	char id[] = "a";
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++, id[0]++) {
		succeed(keel_store_begin(world.store, &why));
		put_pending(id, "t");
		assert_int_equal(in_fork(ways[i]), 0);
		succeed(keel_store_commit(world.store, &why));
	}
	assert_string_equal(ids_inflight("t"), "a b c d");
	third_sees(session(), "alive a b c d");
}

/* The same with several handles on several stores. */
TEST(several_handles)
{
	struct keel_store *mine = world.store, *second = open_another(), *memory;
	succeed(keel_store_open(":memory:", &world.options, &memory, &why));
	world.store = second;
	put_pending("r", "t");
	int64_t number = session();
	world.store = memory;
	assert_int_equal(in_fork(call_everything), 0);
	world.store = mine;
	assert_int_equal(in_fork(call_everything), 0);
	third_sees(number, "alive r");
	keel_store_close(second);
	keel_store_close(memory);
	third_sees(number, "dead r");
}

/* A child that opens the store anew while it holds a copy of the parent's handle loses nothing it was told is kept,
 * however the parent goes on: it is refused, also when it closed its copy. */
static void open_anew(bool close_first)
{
	struct keel_store *store;
	struct keel_run run = run_of("child", "t");
	char line[8];
	if (close_first)
		keel_store_close(world.store);
	enum keel_code code = keel_store_open(world.path, &world.options, &store, &why);
	child_says("%s", keel_code_name(code));
	child_hears(line, sizeof line); /* the parent has closed its handle */
	if (code == KEEL_OK && keel_run_put(store, &run, nothing, NULL, &why) == KEEL_OK)
		child_says("kept");
	else
		child_says("refused");
	child_hears(line, sizeof line);
	_exit(0); /* as if killed: without closing */
}

static void check_opening_anew(bool close_first)
{
	int down[2], up[2];
	char said[64];
	put_pending("r", "t");
	assert_true(pipe(down) == 0 && pipe(up) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(down[0], STDIN_FILENO);
		dup2(up[1], STDOUT_FILENO);
		close(down[0]), close(down[1]), close(up[0]), close(up[1]);
		open_anew(close_first);
	}
	close(down[0]);
	close(up[1]);
	struct child child = {pid, down[1], up[0]};
	snprintf(said, sizeof said, "%s", hear(&child));
	close_store(); /* the last handle that the operating system knows of */
	say(&child, "closed");
	bool kept = strcmp(hear(&child), "kept") == 0;
	assert_int_equal(finish_child(&child), 0);
	reopen_store();
	assert_int_equal(is_there("child"), kept);
	assert_string_equal(said, "forked");
}

TEST(opening_anew_in_a_child)
{
	check_opening_anew(false);
	check_opening_anew(true);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"third", play_third}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_STORE(every_call_is_forked), WITH_STORE(children_may_have_their_own),
		WITH_STORE(children_do_no_harm),  WITH_STORE(transactions_survive_children),
		WITH_STORE(several_handles),      WITH_STORE(opening_anew_in_a_child),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
