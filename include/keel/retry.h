/* keel/retry.h - retry as a value: how long to wait. The waiting is the host's. */
#ifndef KEEL_RETRY_H
#define KEEL_RETRY_H

#include <keel/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_retry {
	int64_t max_attempts;     /* calls in all, at least 1 */
	int64_t initial_delay_us; /* before the second call */
	int64_t max_delay_us;     /* no delay is longer */
	double backoff_factor;    /* each delay is so many times the one before; at least 1 */
	double jitter;            /* 0 to 1: the part of a delay that chance may take away */
};

/* 5 attempts, 50 ms, 1 s, 2.0, no jitter. */
KEEL_API void keel_retry_init(struct keel_retry *retry);

/* The delay in microseconds after failed call number `attempt` (from 1). `chance`, in [0, 1), decides the jitter.
 * Pure. */
KEEL_API int64_t keel_retry_delay(const struct keel_retry *retry, int64_t attempt, double chance);

#ifdef __cplusplus
}
#endif
#endif
