/* base/error.h - filling in a struct keel_error. */
#ifndef KEEL_BASE_ERROR_H
#define KEEL_BASE_ERROR_H

#include <keel/error.h>
#include <keel/value.h>

/* Each writes *err (unless NULL) and returns the code, so that `return keel_fail(...)` reads well. */
enum keel_code keel_fail(struct keel_error *err, enum keel_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* KEEL_INVALID_REQUEST about one input. */
enum keel_code keel_fail_field(struct keel_error *err, const char *field, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same as keel_fail about a run that another one, of a thread, names. */
enum keel_code keel_fail_run(struct keel_error *err, enum keel_code code, struct keel_text run_id,
							 struct keel_text thread_id, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* KEEL_LIMIT_TOO_LARGE about one input. */
enum keel_code keel_fail_limit(struct keel_error *err, const char *field, int64_t requested, int64_t max);

/* Passes on what an inner call came to: *why becomes *err when it failed. For calls that may be made again, or whose
 * failure is an answer: success in the end must leave *err alone. */
enum keel_code keel_fail_as(struct keel_error *err, enum keel_code code, const struct keel_error *why);

/* The number after this one; KEEL_STORE_FULL when `what` ("fences of run r") has none left. What only grows never
 * starts over: a number given twice would name two things. */
enum keel_code keel_next_number(int64_t number, int64_t *next, struct keel_error *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/* KEEL_NO_MEMORY. */
enum keel_code keel_fail_memory(struct keel_error *err);

#endif
