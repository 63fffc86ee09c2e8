/* base/assert.h - what the kernel takes for granted about itself: where that is broken the kernel has a bug; bad input
 * never breaks it.
 *
 * KEEL_ASSERT aborts in builds with the option KEEL_ASSERTIONS (the presets dev and asan) and is nothing in a release,
 * which never aborts. The condition has no side effects.
 */
#ifndef KEEL_BASE_ASSERT_H
#define KEEL_BASE_ASSERT_H

#ifdef KEEL_ASSERTIONS
#include <stdio.h>
#include <stdlib.h>

#define KEEL_ASSERT(condition) ((condition) ? (void)0 : keel_assertion_failed(#condition, __FILE__, __LINE__))

static inline _Noreturn void keel_assertion_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
	abort();
}
#else
#define KEEL_ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
