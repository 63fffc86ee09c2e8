/* base/monotonic.h - the clock that durations are measured by: it only goes forward, whoever sets the time. The binding
 * and the command measure by it too. */
#ifndef KEEL_BASE_MONOTONIC_H
#define KEEL_BASE_MONOTONIC_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment before the process. */
static inline int64_t keel_monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same in microseconds; never 0. */
static inline int64_t keel_monotonic_us(void)
{
	return keel_monotonic_ns() / 1000 + 1;
}

/* A moment so much later; the last there is when that is too far away. */
static inline int64_t keel_later(int64_t moment, int64_t duration_us)
{
	return duration_us < INT64_MAX - moment ? moment + duration_us : INT64_MAX;
}

#endif
