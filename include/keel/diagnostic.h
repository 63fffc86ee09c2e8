/* keel/diagnostic.h - what a runtime's rules have noticed, counted by code and subject. */
#ifndef KEEL_DIAGNOSTIC_H
#define KEEL_DIAGNOSTIC_H

#include <keel/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_diagnostic {
	int64_t id;                 /* from 1 in each runtime, growing, never used again; given by the store */
	struct keel_text severity;  /* "info", "warning" or "error" */
	struct keel_text code;      /* an id: what was noticed */
	struct keel_text message;   /* a sentence for people; of the newest notice */
	struct keel_text worker_id; /* whom it is about: a worker of the runtime, */
	struct keel_text run_id;    /* or a run, not looked up, or, both data NULL, the runtime */
	int64_t count;              /* how often it was noticed; given by the store */
};

/* A page of diagnostics with the memory of its texts. Starts as {0}; reading into it clears it first. */
struct keel_diagnostics {
	struct keel_diagnostic *items;
	size_t count;
	bool cut;        /* it ended at KEEL_PAGE_BYTES, before its limit: more follows */
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_diagnostics_clear(struct keel_diagnostics *list);

/* Notices something: makes a diagnostic, or counts one more for the one with this code and subject. *id is its id. No
 * event: a diagnostic is a remark on what happened, not something that happened.
 * Fails with KEEL_INVALID_REQUEST, KEEL_LIMIT_TOO_LARGE, KEEL_NOT_FOUND (no such runtime or worker). */
KEEL_API enum keel_code keel_diagnostic_record(struct keel_store *store, struct keel_text runtime_id,
											   const struct keel_diagnostic *diagnostic, int64_t *id,
											   struct keel_error *err);

/* The diagnostics of a runtime with an id above `after`, in order; limit 1 to KEEL_LIST_MAX. */
KEEL_API enum keel_code keel_diagnostic_list(struct keel_store *store, struct keel_text runtime_id, int64_t after,
											 int64_t limit, struct keel_diagnostics *list, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
