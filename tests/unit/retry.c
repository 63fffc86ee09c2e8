/* retry.c - delays between attempts. */
#include "support.h"

static int64_t delay_of(int64_t initial, int64_t max, double factor, int64_t attempt)
{
	struct keel_retry retry = {5, initial, max, factor, 0.0};
	return keel_retry_delay(&retry, attempt, 0.5);
}

/* By default there are five attempts, 50 ms, 100 ms, 200 ms and 400 ms apart, without chance. */
TEST(defaults)
{
	struct keel_retry retry;
	keel_retry_init(&retry);
	assert_int_equal(retry.max_attempts, 5);
	for (int attempt = 1; attempt <= 4; attempt++)
		assert_int_equal(keel_retry_delay(&retry, attempt, 0.9), 50000 << (attempt - 1));
}

/* No delay is longer than the maximum, however late the attempt, and none before it is. */
TEST(delays_are_bounded)
{
	assert_int_equal(delay_of(50000, 1000000, 2.0, 5), 800000);
	assert_int_equal(delay_of(50000, 1000000, 2.0, 6), 1000000);
	assert_int_equal(delay_of(50000, 1000000, 2.0, INT64_MAX), 1000000);
	assert_int_equal(delay_of(3000000, 1000000, 2.0, 1), 1000000);
	assert_int_equal(delay_of(1, 1000, 1e300, 1000), 1000);
}

/* With a factor of one all delays are the same, and it costs nothing to say so. */
TEST(delays_may_stay_the_same)
{
	assert_int_equal(delay_of(70000, 1000000, 1.0, 1), 70000);
	assert_int_equal(delay_of(70000, 1000000, 1.0, INT64_MAX), 70000);
}

/* No delay at all stays none, for any attempt. */
TEST(no_delay_stays_none)
{
	assert_int_equal(delay_of(0, 1000000, 2.0, 1), 0);
	assert_int_equal(delay_of(0, 1000000, 2.0, INT64_MAX), 0);
	assert_int_equal(delay_of(1000, 0, 2.0, 3), 0);
}

/* Chance takes away at most the jitter's part of a delay and never adds to it. */
TEST(jitter_only_shortens)
{
	struct keel_retry retry = {5, 100000, 1000000, 2.0, 0.25};
	assert_int_equal(keel_retry_delay(&retry, 1, 0.0), 100000);
	assert_int_equal(keel_retry_delay(&retry, 1, 0.5), 87500);
	for (int i = 0; i < 1000; i++) {
		int64_t delay = keel_retry_delay(&retry, 3, i / 1000.0);
		assert_true(delay > 300000 && delay <= 400000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(defaults),
		ALONE(delays_are_bounded),
		ALONE(delays_may_stay_the_same),
		ALONE(no_delay_stays_none),
		ALONE(jitter_only_shortens),
	};
	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
