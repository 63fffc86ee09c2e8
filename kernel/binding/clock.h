/* clock.h - the clock that the binding measures durations by: it only goes forward, whoever sets the time. */
#ifndef KEEL_BINDING_CLOCK_H
#define KEEL_BINDING_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment before the process. */
static inline int64_t keel_lua_monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same in microseconds. */
static inline int64_t keel_lua_monotonic_us(void)
{
	return keel_lua_monotonic_ns() / 1000;
}

#endif
