/* error.c - codes and their detail. Uses: nothing. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *keel_code_name(enum keel_code code)
{
	switch (code) {
	case KEEL_OK:
		return "ok";
#define KEEL_CODE_CASE(name, number, text, words) \
	case KEEL_##name:                             \
		return text;
		KEEL_CODE_MAP(KEEL_CODE_CASE)
#undef KEEL_CODE_CASE
	}
	return "unknown";
}

const char *keel_code_text(enum keel_code code)
{
	switch (code) {
	case KEEL_OK:
		return "no error";
#define KEEL_CODE_CASE(name, number, text, words) \
	case KEEL_##name:                             \
		return words;
		KEEL_CODE_MAP(KEEL_CODE_CASE)
#undef KEEL_CODE_CASE
	}
	return "unknown code";
}

bool keel_code_is_transient(enum keel_code code)
{
	return code == KEEL_BUSY;
}

static void fill(struct keel_error *err, enum keel_code code, const char *format, va_list args)
{
	memset(err, 0, sizeof *err);
	err->code = code;
	err->transient = keel_code_is_transient(code);
	vsnprintf(err->message, sizeof err->message, format, args);
}

enum keel_code keel_fail(struct keel_error *err, enum keel_code code, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		fill(err, code, format, args);
		va_end(args);
	}
	return code;
}

enum keel_code keel_fail_run(struct keel_error *err, enum keel_code code, struct keel_text run_id,
							 struct keel_text thread_id, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		fill(err, code, format, args);
		va_end(args);
		snprintf(err->run_id, sizeof err->run_id, "%.*s", (int)run_id.size, run_id.data);
		snprintf(err->thread_id, sizeof err->thread_id, "%.*s", (int)thread_id.size, thread_id.data);
	}
	return code;
}

enum keel_code keel_fail_field(struct keel_error *err, const char *field, const char *format, ...)
{
	if (err) {
		va_list args;
		va_start(args, format);
		fill(err, KEEL_INVALID_REQUEST, format, args);
		va_end(args);
		snprintf(err->field, sizeof err->field, "%s", field);
	}
	return KEEL_INVALID_REQUEST;
}

enum keel_code keel_fail_limit(struct keel_error *err, const char *field, int64_t requested, int64_t max)
{
	if (err) {
		keel_fail(err, KEEL_LIMIT_TOO_LARGE, "%s: %lld is more than the maximum of %lld", field, (long long)requested,
				  (long long)max);
		snprintf(err->field, sizeof err->field, "%s", field);
		err->requested = requested;
		err->max = max;
	}
	return KEEL_LIMIT_TOO_LARGE;
}

enum keel_code keel_next_number(int64_t number, int64_t *next, struct keel_error *err, const char *what, ...)
{
	char name[KEEL_ERROR_MESSAGE_SIZE];
	va_list args;
	*next = number;
	if (number < INT64_MAX) {
		++*next;
		return KEEL_OK;
	}
	va_start(args, what);
	vsnprintf(name, sizeof name, what, args);
	va_end(args);
	return keel_fail(err, KEEL_STORE_FULL, "the %.400s are used up", name);
}

enum keel_code keel_fail_as(struct keel_error *err, enum keel_code code, const struct keel_error *why)
{
	if (err && code != KEEL_OK)
		*err = *why;
	return code;
}

enum keel_code keel_fail_memory(struct keel_error *err)
{
	return keel_fail(err, KEEL_NO_MEMORY, "out of memory");
}
