/* retry.c - retry as a value. Uses: nothing. */
#include <keel/retry.h>

void keel_retry_init(struct keel_retry *retry)
{
	*retry = (struct keel_retry){.max_attempts = 5,
								 .initial_delay_us = 50 * 1000,
								 .max_delay_us = 1000 * 1000,
								 .backoff_factor = 2.0,
								 .jitter = 0.0};
}

int64_t keel_retry_delay(const struct keel_retry *retry, int64_t attempt, double chance)
{
	double delay = (double)retry->initial_delay_us;
	double max = (double)retry->max_delay_us;
	double factor = retry->backoff_factor;
	/* By squaring: however late the attempt, it takes a few steps. */
	for (int64_t left = attempt - 1; left > 0 && delay > 0 && delay < max; left /= 2, factor *= factor)
		if (left % 2)
			delay *= factor;
	if (delay > max)
		delay = max;
	return (int64_t)(delay * (1.0 - retry->jitter * chance));
}
