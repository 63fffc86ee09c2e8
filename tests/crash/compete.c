/* compete.c - eight processes that want the same threads: each thread has one run at a time, and nobody is told that
 * the store is busy.
 */
#include "support.h"

#include <time.h>

enum { COMPETITORS = 8, THREADS = 3, DURATION_MS = 2000 };

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The reject pattern: a run, if the thread has none in flight. */
static bool admit(const char *run_id, const char *thread_id, int64_t session)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, SESSION_ID, session_id, session);
	succeed(keel_store_begin(world.store, &why));
	bool admitted = count_inflight(thread_id) == 0;
	if (admitted)
		put(&run);
	succeed(keel_store_commit(world.store, &why));
	return admitted;
}

/* PATH NUMBER: opens the store when told to, and competes for a while. Every call must succeed: busy is a failure. */
static int play_competitor(int argc, char **argv)
{
	struct keel_store_options options;
	int64_t session, admitted = 0, rejected = 0;
	uint64_t chance = (uint64_t)atoi(argv[1]);
	char line[8];
	(void)argc;
	keel_store_options_init(&options);
	options.durability = KEEL_DURABILITY_OFF; /* as many commits as possible */
	child_says("ready");
	must(child_hears(line, sizeof line));
	int64_t end = now_ms() + DURATION_MS;
	succeed(keel_store_open(argv[0], &options, &world.store, &why));
	succeed(keel_store_session(world.store, &session, &why));
	for (int i = 0; now_ms() < end; i++) {
		char id[32], thread[8];
		snprintf(id, sizeof id, "r%s-%d", argv[1], i);
		snprintf(thread, sizeof thread, "t%d", (int)chance_below(&chance, THREADS));
		if (!admit(id, thread, session)) {
			rejected++;
			continue;
		}
		admitted++;
		change_status(id, KEEL_RUN_RUNNING);
		change_status(id, KEEL_RUN_SUCCESS);
	}
	keel_store_close(world.store);
	child_says("%lld", (long long)admitted);
	child_says("%lld", (long long)rejected);
	return 0;
}

/* Replays the log: a thread never has two runs in flight. Returns how many runs were created. */
static int64_t replay(void)
{
	struct keel_event_query query = {.next_event_id = 1, .limit = KEEL_EVENTS_MAX};
	struct keel_events page = {0};
	char holders[THREADS][32] = {{0}};
	int64_t created = 0;
	do {
		succeed(keel_event_read(world.store, &query, &page, &why));
		for (size_t i = 0; i < page.count; i++) {
			const struct keel_event *event = &page.items[i];
			char *holder = holders[atoi(event->thread_id.data + 1)];
			if (strcmp(event->kind.data, "run_created") == 0) {
				assert_string_equal(holder, "");
				snprintf(holder, sizeof holders[0], "%s", event->run_id.data);
				created++;
			}
			assert_string_equal(holder, event->run_id.data);
			if (strcmp(event->kind.data, "run_finished") == 0)
				holder[0] = '\0';
		}
		query.next_event_id = page.next_event_id;
	} while (page.has_more);
	keel_events_clear(&page);
	for (int i = 0; i < THREADS; i++)
		assert_string_equal(holders[i], "");
	return created;
}

/* Eight processes create one store, compete for its threads, and leave. */
TEST(one_run_a_thread)
{
	struct child children[COMPETITORS];
	int64_t admitted = 0, rejected = 0;
	for (int i = 0; i < COMPETITORS; i++) {
		char number[16];
		snprintf(number, sizeof number, "%d", i);
		children[i] = start("competitor", world.path, number, NULL);
		await(&children[i], "ready");
	}
	for (int i = 0; i < COMPETITORS; i++)
		say(&children[i], "go");
	for (int i = 0; i < COMPETITORS; i++) {
		int64_t own = strtoll(hear(&children[i]), NULL, 10);
		rejected += strtoll(hear(&children[i]), NULL, 10);
		assert_int_equal(finish_child(&children[i]), 0);
		assert_true(own > 0); /* nobody starves */
		admitted += own;
	}
	print_message("%lld admitted, %lld rejected\n", (long long)admitted, (long long)rejected);
	reopen_store();
	assert_true(rejected > 0);
	assert_int_equal(replay(), admitted);
	assert_int_equal(raw_number("SELECT count(*) FROM runs"), admitted);
	check_log_gapless(world.store);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"competitor", play_competitor}, {0}};
	const struct CMUnitTest tests[] = {WITH_FOLDER(one_run_a_thread)};
	return RUN_TESTS(argc, argv, roles, tests);
}
