/* id.c - UUIDs of version 7. */
#include "support.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 200000, THREADS = 4 };

static void next_id(char id[KEEL_UUID_SIZE])
{
	struct keel_ids ids = keel_ids_uuid7();
	must(ids.next(ids.data, id) == KEEL_OK);
}

static void check_shape(const char *id)
{
	must(strlen(id) == KEEL_UUID_SIZE - 1);
	for (int i = 0; i < KEEL_UUID_SIZE - 1; i++)
		must(i == 8 || i == 13 || i == 18 || i == 23 ? id[i] == '-' : strchr("0123456789abcdef", id[i]) != NULL);
	must(id[14] == '7');                  /* version */
	must(strchr("89ab", id[19]) != NULL); /* variant */
}

/* The first 48 bits: milliseconds since the epoch. */
static int64_t milliseconds_of(const char *id)
{
	char digits[13];
	memcpy(digits, id, 8);
	memcpy(digits + 8, id + 9, 4);
	digits[12] = '\0';
	return strtoll(digits, NULL, 16);
}

/* An id is 36 characters of small hexadecimal digits with version 7 and RFC 9562's variant. */
TEST(ids_have_the_shape)
{
	char id[KEEL_UUID_SIZE];
	for (int i = 0; i < 1000; i++) {
		next_id(id);
		check_shape(id);
	}
}

/* Its beginning is the time it was made; a burst may run a little ahead. */
TEST(ids_tell_the_time)
{
	char id[KEEL_UUID_SIZE];
	next_id(id);
	assert_true(llabs(milliseconds_of(id) - (int64_t)time(NULL) * 1000) < 60000);
}

/* Ids only grow, as texts, even when thousands are made in a millisecond. */
TEST(ids_grow)
{
	char last[KEEL_UUID_SIZE] = "", id[KEEL_UUID_SIZE];
	for (int i = 0; i < MANY; i++) {
		next_id(id);
		assert_true(strcmp(last, id) < 0);
		memcpy(last, id, sizeof last);
	}
}

static void *make_many(void *data)
{
	char(*ids)[KEEL_UUID_SIZE] = data;
	for (int i = 0; i < MANY / THREADS; i++)
		next_id(ids[i]);
	return NULL;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Ids grow within each thread, and threads that make them at the same time never make the same one. */
TEST(ids_are_unique_across_threads)
{
	char(*ids)[KEEL_UUID_SIZE] = malloc((size_t)MANY * KEEL_UUID_SIZE);
	pthread_t threads[THREADS];
	assert_non_null(ids);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_many, ids + i * (MANY / THREADS)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < MANY; i++)
		assert_true(i % (MANY / THREADS) == 0 || strcmp(ids[i - 1], ids[i]) < 0);
	qsort(ids, MANY, KEEL_UUID_SIZE, compare_ids);
	for (int i = 1; i < MANY; i++)
		assert_string_not_equal(ids[i - 1], ids[i]);
	free(ids);
}

/* What differs in one place is chance: the last 62 bits of no two ids agree. */
TEST(ids_end_in_chance)
{
	char last[KEEL_UUID_SIZE], id[KEEL_UUID_SIZE];
	next_id(last);
	for (int i = 0; i < 1000; i++) {
		next_id(id);
		assert_string_not_equal(last + 20, id + 20);
		memcpy(last, id, sizeof last);
	}
}

/* Parent and child go on with other ids after a fork. */
TEST(ids_differ_across_fork)
{
	int ends[2];
	char mine[KEEL_UUID_SIZE], others[KEEL_UUID_SIZE] = "";
	next_id(mine);
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct keel_ids ids = keel_ids_uuid7();
		bool made = ids.next(ids.data, mine) == KEEL_OK;
		_exit(made && write(ends[1], mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
	}
	next_id(mine);
	assert_int_equal(read(ends[0], others, sizeof others), sizeof others);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
	close(ends[1]);
	check_shape(others);
	assert_string_not_equal(mine, others);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(ids_have_the_shape), ALONE(ids_tell_the_time),      ALONE(ids_grow), ALONE(ids_are_unique_across_threads),
		ALONE(ids_end_in_chance),  ALONE(ids_differ_across_fork),
	};
	return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
