/* keel/error.h - the codes a call can end with, and the detail that comes with one.
 *
 * Every function of the kernel that can fail returns an enum keel_code: KEEL_OK is zero, errors are
 * negative. Where a function takes a `struct keel_error *`, it may be NULL; otherwise it is written
 * when the call fails and left alone when it succeeds. Nothing in it needs freeing.
 */
#ifndef KEEL_ERROR_H
#define KEEL_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KEEL_API __attribute__((visibility("default")))
#else
#define KEEL_API
#endif

/* One list: the enum, the stable name and the plain words cannot drift apart. */
#define KEEL_CODE_MAP(X)                                                                         \
	X(CONFLICT, -1, "conflict", "something is in the way")                                       \
	X(NOT_FOUND, -2, "not_found", "there is no such thing")                                      \
	X(INVALID_REQUEST, -3, "invalid_request", "the request is not valid")                        \
	X(INVALID_TRANSITION, -4, "invalid_transition", "the status cannot change that way")         \
	X(LIMIT_TOO_LARGE, -5, "limit_too_large", "a limit was exceeded")                            \
	X(WRONG_RUNTIME, -6, "wrong_runtime", "it belongs to another runtime or store")              \
	X(RUNTIME_STOPPED, -7, "runtime_stopped", "the runtime is stopped")                          \
	X(UNSUPPORTED_STRATEGY, -8, "unsupported_strategy", "no such strategy")                      \
	X(STALE_OWNER, -9, "stale_owner", "the run has another owner by now")                        \
	X(LEASE_HELD, -10, "lease_held", "somebody else holds the lease")                            \
	X(IDEMPOTENCY_MISMATCH, -11, "idempotency_mismatch", "the key was used for another request") \
	X(POLICY_FAILED, -12, "policy_failed", "a policy failed")                                    \
	X(POLICY_BUDGET, -13, "policy_budget", "a policy overran its budget")                        \
	X(BUSY, -14, "busy", "the store is busy")                                                    \
	X(STORE_MISSING, -15, "store_missing", "the store, or a row it refers to, is missing")       \
	X(STORE_CORRUPT, -16, "store_corrupt", "the store is damaged or not a Keel store")           \
	X(STORE_VERSION, -17, "store_version", "the store was made by a newer version")              \
	X(STORE_READONLY, -18, "store_readonly", "the store cannot be written")                      \
	X(STORE_FULL, -19, "store_full", "the disk is full")                                         \
	X(IO, -20, "io", "the operating system reported an error")                                   \
	X(NO_MEMORY, -21, "no_memory", "out of memory")                                              \
	X(CANCELLED, -22, "cancelled", "it was cancelled")                                           \
	X(TIMEOUT, -23, "timeout", "the time is over")                                               \
	X(MISUSE, -24, "misuse", "the call breaks the rules of the interface")                       \
	X(ORPHAN, -25, "orphan", "the owner of the run is gone and nothing recovers it")             \
	X(FORKED, -26, "forked", "the store was opened before the fork")                             \
	X(REPLACED, -27, "replaced", "the store's file is gone, or another one is in its place")     \
	X(NOT_SUPPORTED, -28, "not_supported", "this store cannot do that")

enum keel_code {
	KEEL_OK = 0,
#define KEEL_CODE_ENUM(name, number, text, words) KEEL_##name = number,
	KEEL_CODE_MAP(KEEL_CODE_ENUM)
#undef KEEL_CODE_ENUM
};

enum {
	KEEL_ERROR_MESSAGE_SIZE = 512, /* room for a path and a sentence; longer messages are cut */
	KEEL_ERROR_FIELD_SIZE = 64,    /* the longest field name is far shorter */
	KEEL_ERROR_NAME_SIZE = 264     /* the longest id (KEEL_ID_MAX) and its zero */
};

/* What went wrong. Plain data; copy it freely. */
struct keel_error {
	enum keel_code code;
	bool transient;                        /* true: the same call may succeed if tried again */
	char message[KEEL_ERROR_MESSAGE_SIZE]; /* a sentence for people; names paths and values */
	char field[KEEL_ERROR_FIELD_SIZE];     /* invalid_request, limit_too_large: which input; else "" */
	const char *from, *to;                 /* invalid_transition: names of the statuses; else NULL */
	int64_t requested, max;                /* limit_too_large: what was asked for, what is allowed */
	char expected[KEEL_ERROR_NAME_SIZE];   /* wrong_runtime: whose it would have to be; else "" */
	char actual[KEEL_ERROR_NAME_SIZE];     /* wrong_runtime: whose it is; else "" */
	char run_id[KEEL_ERROR_NAME_SIZE];     /* conflict, not_found: of a run that another one names; else "" */
	char thread_id[KEEL_ERROR_NAME_SIZE];  /* the same: the thread of the one that names it */
};

/* The stable name of a code ("busy"); "ok" for KEEL_OK and "unknown" for a number that is none. Static text. */
KEEL_API const char *keel_code_name(enum keel_code code);

/* The code in plain words. Static text. */
KEEL_API const char *keel_code_text(enum keel_code code);

/* Whether an error with this code may go away by itself. */
KEEL_API bool keel_code_is_transient(enum keel_code code);

#ifdef __cplusplus
}
#endif
#endif
