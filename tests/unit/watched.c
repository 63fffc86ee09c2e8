/* watched.c - what a handle has seen unchanged: for how long, and how much of it. */
#include "support.h"

#include "store/watched.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

static const struct keel_watched_state same = {1, 1, 0};

static int64_t watch(struct keel_watched *watched, int64_t key, int64_t now_us)
{
	return keel_watched_for(watched, KEEL_WATCHED_LEASE, key, same, now_us);
}

/* However many leases there are, each is seen for as long as it goes unrenewed. */
TEST(any_number)
{
	enum { MANY = 3 * KEEL_WATCHED_MANY };
	struct keel_watched watched = {0};
	for (int64_t key = 1; key <= MANY; key++)
		assert_int_equal(watch(&watched, key, SECOND), 0);
	for (int64_t key = 1; key <= MANY; key++)
		assert_int_equal(watch(&watched, key, 6 * SECOND), 5 * SECOND);
	keel_watched_free(&watched);
}

/* What nobody has asked for any more is not kept for ever; what somebody asks for is. */
TEST(old_ones_are_forgotten)
{
	struct keel_watched watched = {0};
	for (int64_t key = 1; key <= KEEL_WATCHED_MANY; key++)
		watch(&watched, key, SECOND);
	assert_int_equal(watch(&watched, 7, HOUR), HOUR - SECOND);
	assert_int_equal(watch(&watched, 0, HOUR + 2 * SECOND), 0);
	assert_int_equal(watched.count, 2);
	assert_int_equal(watch(&watched, 7, HOUR + 2 * SECOND), HOUR + SECOND);
	assert_int_equal(watch(&watched, 8, HOUR + 2 * SECOND), 0);
	keel_watched_free(&watched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(any_number),
		ALONE(old_ones_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
