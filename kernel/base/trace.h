/* base/trace.h - tells a developer what happens inside: KEEL_TRACE=sql,transition in the environment names the topics.
 *
 * Only builds with the option KEEL_ASSERTIONS (the presets dev and asan) have it; a release never prints.
 */
#ifndef KEEL_BASE_TRACE_H
#define KEEL_BASE_TRACE_H

#ifdef KEEL_ASSERTIONS
#include <stdbool.h>

/* Whether the environment names the topic. */
bool keel_traces(const char *topic);

/* Prints a line on standard error: the topic, then the text. */
__attribute__((format(printf, 2, 3))) void keel_trace(const char *topic, const char *format, ...);

#define KEEL_TRACE(topic, ...) (keel_traces(topic) ? keel_trace(topic, __VA_ARGS__) : (void)0)
#else
#define KEEL_TRACE(topic, ...) ((void)0)
#endif

#endif
