/* trace.c - lines for a developer on standard error, in builds with assertions. */
#include "base/trace.h"

#ifdef KEEL_ASSERTIONS
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool keel_traces(const char *topic)
{
	const char *topics = getenv("KEEL_TRACE");
	size_t size = strlen(topic);
	while (topics && *topics) {
		size_t length = strcspn(topics, ",");
		if (length == size && memcmp(topics, topic, size) == 0)
			return true;
		topics += length + (topics[length] == ',');
	}
	return false;
}

void keel_trace(const char *topic, const char *format, ...)
{
	char line[8192];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (size >= 0)
		fprintf(stderr, "%s: %s%s\n", topic, line, (size_t)size < sizeof line ? "" : "...");
}
#else
typedef int keel_trace_is_empty; /* a file of C has a declaration */
#endif
