/* threads.c - the thread rule: a handle belongs to one thread at a time, different handles are independent. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { THREADS = 4, RUNS = 60 };

struct worker {
	pthread_t thread;
	int number;
	const char *path;
	bool good;
	struct keel_error why;
};

/* Opens its own handle, and takes runs of its own through their life. */
static void *live(void *data)
{
	struct worker *worker = data;
	struct keel_store_options options;
	struct keel_store *store = NULL;
	struct keel_runs list = {0};
	struct keel_error *why_not = &worker->why;
	bool good, found;
	keel_store_options_init(&options);
	options.durability = KEEL_DURABILITY_OFF;
	options.lock_timeout_us = 60 * 1000 * 1000;
	good = keel_store_open(worker->path, &options, &store, why_not) == KEEL_OK;
	for (int i = 0; good && i < RUNS; i++) {
		char id[32], thread_id[16];
		snprintf(id, sizeof id, "r%d-%d", worker->number, i);
		snprintf(thread_id, sizeof thread_id, "t%d", worker->number);
		struct keel_run run = run_of(id, thread_id);
		struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
		good = keel_run_put(store, &run, nothing, NULL, why_not) == KEEL_OK &&
			   keel_run_update_status(store, text(id), &change, &found, NULL, why_not) == KEEL_OK && found &&
			   keel_run_list_by_thread(store, text(thread_id), nothing, 100, &list, why_not) == KEEL_OK &&
			   list.count == (size_t)i + 1;
	}
	keel_runs_clear(&list);
	keel_store_close(store);
	worker->good = good;
	return NULL;
}

static void run_all(const char *path)
{
	struct worker workers[THREADS];
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.number = i, .path = path};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, live, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		if (!workers[i].good)
			print_error("worker %d: %s: %s\n", i, keel_code_name(workers[i].why.code), workers[i].why.message);
	}
	for (int i = 0; i < THREADS; i++)
		assert_true(workers[i].good);
}

/* Handles of one file in different threads all get through; the log has every change, without a gap. */
TEST(handles_of_one_file)
{
	run_all(world.path);
	assert_int_equal(newest_event(), THREADS * RUNS * 2);
	check_log_gapless(world.store);
}

/* Threads that create one store at once all succeed. */
TEST(handles_create_one_file)
{
	for (int i = 0; i < 5; i++) {
		char path[256];
		snprintf(path, sizeof path, "%s/new%d", world.folder, i);
		run_all(path);
		assert_int_equal(raw_number_at(path, "SELECT count(*) FROM runs"), THREADS * RUNS);
		assert_int_equal(raw_number_at(path, "SELECT count(*) FROM store"), 1);
	}
}

/* Stores in memory have nothing to do with each other. */
TEST(handles_in_memory)
{
	run_all(":memory:");
}

/* A handle may go from one thread to the next. */
static void *use_the_worlds(void *data)
{
	char id[16];
	snprintf(id, sizeof id, "r%d", *(int *)data);
	struct keel_run run = run_of(id, "t");
	*(int *)data = keel_run_put(world.store, &run, nothing, NULL, NULL) == KEEL_OK ? 0 : 1;
	return NULL;
}

TEST(handles_may_move)
{
	for (int i = 0; i < 5; i++) {
		pthread_t thread;
		int number = i;
		assert_int_equal(pthread_create(&thread, NULL, use_the_worlds, &number), 0);
		pthread_join(thread, NULL);
		assert_int_equal(number, 0);
	}
	assert_string_equal(ids_inflight("t"), "r0 r1 r2 r3 r4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(handles_of_one_file),
		WITH_STORE(handles_create_one_file),
		WITH_STORE(handles_in_memory),
		WITH_STORE(handles_may_move),
	};
	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
