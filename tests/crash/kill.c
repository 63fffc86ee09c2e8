/* kill.c - processes killed with SIGKILL at random moments: what was acknowledged stays, at most the step that was not
 * is there besides, and every orphan is taken over exactly once.
 *
 * A writer takes the steps of one endless list, in order, and says the number of each when it is done. So all that can
 * be in the store is what the list says up to the last number heard, or one step further: events and rows are compared
 * with the list, one by one. The random sleeps here are input, the moments of the kills; nothing waits by sleeping.
 */
#include "support.h"

#include <signal.h>
#include <time.h>

enum {
	ROUNDS = 15,           /* of each test; one to three writers are killed in each */
	WRITERS_MAX = 3,       /* at once */
	WINDOW_US = 25 * 1000, /* in which a process is killed: hundreds of steps */
	CREATIONS = 100,
	STEPS_MAX = 500 /* of a writer, which then waits for its end: the rest of its round takes long */
};

static uint64_t chance;

/* Lets a random time pass before a kill. */
static void sleep_below(int64_t us)
{
	int64_t time = chance_below(&chance, us);
	nanosleep(&(struct timespec){.tv_sec = time / 1000000, .tv_nsec = time % 1000000 * 1000}, NULL);
}

/* --- The list of steps ------------------------------------------------------------------------------------------- */

/* The list is this cycle again and again, with new runs: one that ends, one left running, one left pending, and two
 * that a transaction of several operations makes, the first of them left running. */
enum deed { PUT, START, COMPLETE, SEVERAL };
static const struct {
	enum deed deed;
	int run;
} cycle[] = {{PUT, 0}, {START, 0}, {COMPLETE, 0}, {PUT, 1}, {START, 1}, {PUT, 2}, {SEVERAL, 3}};
enum { CYCLE_STEPS = 7, CYCLE_RUNS = 5, RUNS_MAX = (STEPS_MAX / CYCLE_STEPS + 1) * CYCLE_RUNS };

/* What a step leaves in the log. */
struct trace {
	const char *kind;
	int run; /* behind the step's */
};
static const struct trace traces[][5] = {
	[PUT] = {{"run_created", 0}},
	[START] = {{"run_started", 0}},
	[COMPLETE] = {{"run_finished", 0}},
	[SEVERAL] = {{"run_created", 0}, {"run_started", 0}, {"run_created", 1}, {"several", 1}},
};

/* The status that a step leaves its run with. */
static const enum keel_run_status statuses[] = {
	[PUT] = KEEL_RUN_PENDING,
	[START] = KEEL_RUN_RUNNING,
	[COMPLETE] = KEEL_RUN_SUCCESS,
	[SEVERAL] = KEEL_RUN_RUNNING,
};

static enum deed deed_of(int step)
{
	return cycle[step % CYCLE_STEPS].deed;
}

static int run_of_step(int step)
{
	return step / CYCLE_STEPS * CYCLE_RUNS + cycle[step % CYCLE_STEPS].run;
}

/* A run's id is the name of its writer, which is its thread too, and its number. Static text. */
static const char *id_of(const char *writer, int run)
{
	static char id[64];
	snprintf(id, sizeof id, "%s-%d", writer, run);
	return id;
}

/* --- Children ---------------------------------------------------------------------------------------------------- */

static void open_in_child(const char *path, const char *durability)
{
	struct keel_store_options options;
	keel_store_options_init(&options);
	options.lock_timeout_us = 60 * 1000 * 1000;
	if (strcmp(durability, "normal") == 0)
		options.durability = KEEL_DURABILITY_NORMAL;
	succeed(keel_store_open(path, &options, &world.store, &why));
}

static void put_own(const char *writer, int number, int64_t session)
{
	struct keel_run run = run_of(id_of(writer, number), writer);
	SET(&run, SESSION_ID, session_id, session);
	put(&run);
}

static void complete(const char *id, int64_t tokens)
{
	struct keel_run fields = {0};
	bool found;
	SET(&fields, STATUS, status, KEEL_RUN_SUCCESS);
	SET(&fields, TOTAL_TOKENS, total_tokens, tokens);
	succeed(keel_run_complete(world.store, text(id), &fields, &found, NULL, &why));
	must(found);
}

static void do_several(const char *writer, int run, int64_t session)
{
	struct keel_event own = {.kind = text("several"), .thread_id = text(writer)};
	int64_t id;
	succeed(keel_store_begin(world.store, &why));
	put_own(writer, run, session);
	change_status(id_of(writer, run), KEEL_RUN_RUNNING);
	put_own(writer, run + 1, session);
	own.run_id = text(id_of(writer, run + 1));
	succeed(keel_event_append(world.store, &own, &id, &why));
	succeed(keel_store_commit(world.store, &why));
}

/* PATH DURABILITY NAME: takes steps until it is killed. */
static int play_writer(int argc, char **argv)
{
	const char *name = argv[2];
	int64_t session;
	char line[8];
	(void)argc;
	child_says("ready");
	open_in_child(argv[0], argv[1]);
	succeed(keel_store_session(world.store, &session, &why));
	child_says("%lld", (long long)session);
	for (int step = 0; step < STEPS_MAX; step++) {
		int run = run_of_step(step);
		switch (deed_of(step)) {
		case PUT:
			put_own(name, run, session);
			break;
		case START:
			change_status(id_of(name, run), KEEL_RUN_RUNNING);
			break;
		case COMPLETE:
			complete(id_of(name, run), run);
			break;
		case SEVERAL:
			do_several(name, run, session);
			break;
		}
		child_says("%d", step);
	}
	child_hears(line, sizeof line);
	return 0;
}

/* PATH DURABILITY: when told to, takes over every orphan there is, and says which it got. */
static int play_recoverer(int argc, char **argv)
{
	static const struct keel_takeover takeover = {.status = KEEL_RUN_ERROR, .error = {"lost", 4}};
	struct keel_inflight_query query = {.bounded = true, .limit = KEEL_LIST_MAX};
	struct keel_runs list = {0};
	char line[8], last[64];
	bool taken;
	(void)argc;
	open_in_child(argv[0], argv[1]);
	child_says("ready");
	must(child_hears(line, sizeof line));
	query.before = keel_store_now(world.store); /* live writers go on meanwhile */
	do {
		succeed(keel_run_list_inflight(world.store, &query, &list, &why));
		for (size_t i = 0; i < list.count; i++) {
			succeed(keel_run_claim_for_takeover(world.store, list.items[i].run_id, &takeover, &taken, &why));
			snprintf(last, sizeof last, "%s", list.items[i].run_id.data);
			if (taken)
				child_says("%s", last);
		}
		query.after = text(last);
	} while (list.count == KEEL_LIST_MAX);
	child_says("done");
	keel_runs_clear(&list);
	keel_store_close(world.store);
	return 0;
}

/* PATH DURABILITY: opens a store that is not there, then writes a run. */
static int play_creator(int argc, char **argv)
{
	(void)argc;
	child_says("ready");
	open_in_child(argv[0], argv[1]);
	child_says("%s", keel_store_epoch(world.store));
	put_pending("first", "t");
	child_says("put");
	keel_store_close(world.store);
	child_says("closed");
	return 0;
}

/* PATH DURABILITY NAME: opens, writes and closes until it is killed. */
static int play_visitor(int argc, char **argv)
{
	(void)argc;
	child_says("ready");
	for (int number = 0; number < STEPS_MAX; number++) {
		open_in_child(argv[0], argv[1]);
		put_pending(id_of(argv[2], number), argv[2]);
		child_says("%d", number);
		keel_store_close(world.store);
	}
	return 0;
}

/* --- After a kill ------------------------------------------------------------------------------------------------ */

struct writer {
	struct child child;
	char name[32];
	int64_t session;  /* 0: killed before it said */
	int acknowledged; /* steps */
	int64_t log_from; /* the log holds nothing of it before this event */
	int runs;         /* that it made: so many items of the next two count */
	enum keel_run_status expected[RUNS_MAX];
	unsigned char taken[RUNS_MAX]; /* how many recoverers said they got it */
};

/* Starts a role on the world's store. The program runs when this returns, so that no kill is wasted on its loading. */
static struct child start_ready(const char *role, const char *durability, const char *name)
{
	struct child child = start(role, world.path, durability, name, NULL);
	await(&child, "ready");
	return child;
}

/* Ends a child, and what it has said can still be heard. Each line was written in one piece. */
static void strike(struct child *child)
{
	assert_int_equal(kill(child->pid, SIGKILL), 0);
}

/* Waits until it is gone: struck, or at its end before. */
static void bury(struct child *child)
{
	int status = finish_child(child);
	assert_true(status == -1 || status == 0);
}

static void kill_writer(struct writer *writer)
{
	const char *line;
	strike(&writer->child);
	while ((line = hear(&writer->child))[0]) {
		if (!writer->session)
			writer->session = strtoll(line, NULL, 10);
		else
			assert_int_equal(strtoll(line, NULL, 10), writer->acknowledged++);
	}
	bury(&writer->child);
}

/* Reads what the log holds of a writer, event by event. */
struct reader {
	struct keel_event_query query;
	struct keel_events page;
	size_t next;
};

static const struct keel_event *read_next(struct reader *reader)
{
	if (reader->next == reader->page.count) {
		succeed(keel_event_read(world.store, &reader->query, &reader->page, &why));
		reader->query.next_event_id = reader->page.next_event_id;
		reader->next = 0;
	}
	return reader->page.count ? &reader->page.items[reader->next++] : NULL;
}

/* Reads the events of one step, all of them; false at the end of the log. */
static bool read_step(struct reader *reader, const char *writer, int step)
{
	const struct trace *trace = traces[deed_of(step)];
	for (int i = 0; trace[i].kind; i++) {
		const struct keel_event *event = read_next(reader);
		if (!event && i == 0)
			return false;
		assert_non_null(event);
		assert_string_equal(event->kind.data, trace[i].kind);
		assert_string_equal(event->run_id.data, id_of(writer, run_of_step(step) + trace[i].run));
	}
	return true;
}

/* The log holds the steps that were acknowledged, or one more, whole. */
static void check_log(struct writer *writer)
{
	struct reader reader = {.query = {.next_event_id = writer->log_from, .limit = KEEL_EVENTS_MAX}};
	int step = 0;
	reader.query.thread_id = text(writer->name);
	for (; read_step(&reader, writer->name, step); step++) {
		int run = run_of_step(step);
		writer->expected[run] = statuses[deed_of(step)];
		writer->runs = run + 1;
		if (deed_of(step) == SEVERAL)
			writer->expected[writer->runs++] = KEEL_RUN_PENDING;
	}
	keel_events_clear(&reader.page);
	assert_in_range(step, writer->acknowledged, writer->acknowledged + 1);
}

/* The rows are what the log says, and there are no others. */
static void check_rows(const struct writer *writer)
{
	char sql[128];
	for (int i = 0; i < writer->runs; i++) {
		const struct keel_run *run = row(id_of(writer->name, i));
		assert_int_equal(run->status, writer->expected[i]);
		assert_int_equal(run->session_id, writer->session);
		if (run->status == KEEL_RUN_SUCCESS)
			assert_int_equal(run->total_tokens, i);
	}
	snprintf(sql, sizeof sql, "SELECT count(*) FROM runs WHERE thread_id = '%s'", writer->name);
	assert_int_equal(raw_number(sql), writer->runs);
}

static bool alive(int64_t session)
{
	bool is;
	succeed(keel_store_session_alive(world.store, session, &is, &why));
	return is;
}

/* Hears what a recoverer got: runs of the dead writer only. Returns whether it came to its end. */
static bool hear_taken(struct child *recoverer, struct writer *writer)
{
	size_t size = strlen(writer->name);
	const char *line;
	while ((line = hear(recoverer))[0]) {
		if (strcmp(line, "done") == 0)
			return true;
		assert_true(strncmp(line, writer->name, size) == 0 && line[size] == '-');
		int run = atoi(line + size + 1);
		assert_in_range(run, 0, writer->runs - 1);
		writer->taken[run]++;
	}
	return false;
}

/* Two recoverers at once get every orphan, each from one of them; by chance after one that was killed at it. */
static void recover(struct writer *writer, const char *durability)
{
	int unsaid = 0, unsaid_max = 0;
	if (chance_below(&chance, 3) == 0) {
		struct child killed = start_ready("recoverer", durability, NULL);
		say(&killed, "go");
		sleep_below(WINDOW_US / 4);
		strike(&killed);
		hear_taken(&killed, writer);
		bury(&killed);
		unsaid_max = 1;
	}
	struct child one = start_ready("recoverer", durability, NULL), two = start_ready("recoverer", durability, NULL);
	say(&one, "go");
	say(&two, "go");
	assert_true(hear_taken(&one, writer) && hear_taken(&two, writer));
	assert_true(finish_child(&one) == 0 && finish_child(&two) == 0);
	for (int i = 0; i < writer->runs; i++) {
		bool orphan = !keel_run_status_is_final(writer->expected[i]);
		assert_int_equal(status_of(id_of(writer->name, i)), orphan ? KEEL_RUN_ERROR : KEEL_RUN_SUCCESS);
		assert_in_range(writer->taken[i], 0, orphan);
		unsaid += orphan && !writer->taken[i];
	}
	assert_in_range(unsaid, 0, unsaid_max);
}

/* Every run has ended, and once. */
static void check_ends(void)
{
	assert_int_equal(raw_number("SELECT count(*) FROM live WHERE status < 2"), 0);
	assert_int_equal(raw_number("SELECT count(*) FROM (SELECT count(e.id) AS ends FROM runs LEFT JOIN events AS e"
								" ON e.run_id = runs.run_id AND e.kind = 'run_finished'"
								" GROUP BY runs.run_id HAVING ends <> 1)"),
					 0);
}

/* --- Writers ----------------------------------------------------------------------------------------------------- */

static void start_writer(struct writer *writer, const char *durability, int round, int number, int64_t log_from)
{
	memset(writer, 0, sizeof *writer);
	writer->log_from = log_from;
	snprintf(writer->name, sizeof writer->name, "w%d.%d", round, number);
	writer->child = start_ready("writer", durability, writer->name);
}

static void kill_writers(const char *durability)
{
	static struct writer writers[WRITERS_MAX];
	int kills = 0, steps = 0;
	world.options.lock_timeout_us = 60 * 1000 * 1000;
	for (int round = 0; round < ROUNDS; round++) {
		int count = 1 + (int)chance_below(&chance, WRITERS_MAX);
		int64_t log_from = newest_event() + 1;
		/* Without this handle, a kill may leave a store that nobody has open. */
		if (chance_below(&chance, 2))
			close_store();
		for (int i = 0; i < count; i++)
			start_writer(&writers[i], durability, round, i, log_from);
		for (int i = 0; i < count; i++, kills++) {
			sleep_below(WINDOW_US);
			kill_writer(&writers[i]);
			if (!world.store)
				reopen_store();
			assert_false(alive(writers[i].session));
			check_log(&writers[i]);
			check_rows(&writers[i]);
			recover(&writers[i], durability);
			check_sound(world.store);
			steps += writers[i].acknowledged;
		}
		check_log_gapless(world.store);
	}
	check_ends();
	print_message("%d kills, %d steps were acknowledged\n", kills, steps);
	assert_true(steps > 0);
}

/* SIGKILL between any two steps of writers that wait for the disk, or within one. */
TEST(killed_writers_at_durability_full)
{
	chance = chance_start("killed writers, full");
	kill_writers("full");
}

/* The same of writers that do not. */
TEST(killed_writers_at_durability_normal)
{
	chance = chance_start("killed writers, normal");
	kill_writers("normal");
}

/* --- Opening ----------------------------------------------------------------------------------------------------- */

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* How long a creator takes that is left alone. */
static int64_t measure_creation(void)
{
	struct child creator = start("creator", in_folder("measured"), "full", NULL);
	await(&creator, "ready");
	int64_t begin = now_us();
	while (strcmp(hear(&creator), "closed") != 0)
		continue;
	int64_t end = now_us();
	assert_int_equal(finish_child(&creator), 0);
	return end - begin;
}

/* Kills a process that creates a store, by chance beside another one that is left alone. Whoever comes then finds what
 * was acknowledged. Returns how many things were. */
static int kill_creator(int number, int64_t window)
{
	char epoch[KEEL_UUID_SIZE] = "";
	const char *line;
	int said = 0;
	bool with_other = chance_below(&chance, 4) == 0;
	snprintf(world.path, sizeof world.path, "%s/new%d", world.folder, number);
	struct child killed = start_ready("creator", "full", NULL), other;
	if (with_other)
		other = start_ready("creator", "full", NULL);
	sleep_below(window);
	strike(&killed);
	for (; (line = hear(&killed))[0]; said++)
		if (said == 0)
			snprintf(epoch, sizeof epoch, "%s", line);
	bury(&killed);
	if (with_other)
		assert_int_equal(finish_child(&other), 0);
	reopen_store();
	check_sound(world.store);
	if (said > 0)
		assert_string_equal(keel_store_epoch(world.store), epoch);
	if (said > 1 || with_other)
		assert_true(is_there("first"));
	put_pending("second", "t");
	assert_int_equal(raw_number("SELECT count(*) FROM runs"), is_there("first") + 1);
	check_log_gapless(world.store);
	close_store();
	return said;
}

/* SIGKILL at any moment of the first opening: the store is whole, or created anew by the next one. */
TEST(killed_creators)
{
	int came_to[4] = {0};
	chance = chance_start("killed creators");
	world.options.lock_timeout_us = 60 * 1000 * 1000;
	int64_t window = measure_creation();
	for (int i = 0; i < CREATIONS; i++)
		came_to[kill_creator(i, window)]++;
	print_message("within %lld us: %d killed before the store was open, %d before the first run, %d later\n",
				  (long long)window, came_to[0], came_to[1], came_to[2] + came_to[3]);
}

/* SIGKILL around opening and closing, when the log is recovered, copied into the file and deleted. */
TEST(killed_visitors)
{
	int visits = 0;
	chance = chance_start("killed visitors");
	for (int round = 0; round < ROUNDS; round++) {
		char name[16];
		int acknowledged = 0;
		snprintf(name, sizeof name, "v%d", round);
		close_store();
		struct child visitor = start_ready("visitor", round % 2 ? "full" : "normal", name);
		sleep_below(WINDOW_US);
		strike(&visitor);
		for (const char *line; (line = hear(&visitor))[0]; acknowledged++)
			assert_int_equal(atoi(line), acknowledged);
		bury(&visitor);
		reopen_store();
		assert_in_range(count_inflight(name), acknowledged, acknowledged + 1);
		for (int i = 0; i < acknowledged; i++)
			assert_true(is_there(id_of(name, i)));
		check_sound(world.store);
		check_log_gapless(world.store);
		visits += acknowledged;
	}
	print_message("%d visits were acknowledged\n", visits);
	assert_true(visits > 0);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {
		{"writer", play_writer},
		{"recoverer", play_recoverer},
		{"creator", play_creator},
		{"visitor", play_visitor},
		{0},
	};
	const struct CMUnitTest tests[] = {
		WITH_STORE(killed_writers_at_durability_full),
		WITH_STORE(killed_writers_at_durability_normal),
		WITH_FOLDER(killed_creators),
		WITH_STORE(killed_visitors),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
