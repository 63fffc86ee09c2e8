/* keel/tokens.h - what the runs of a thread have used. */
#ifndef KEEL_TOKENS_H
#define KEEL_TOKENS_H

#include <keel/run.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_model_tokens {
	struct keel_text name; /* "unknown" for runs without a model */
	int64_t tokens;
	int64_t runs;
};

/* Sums over the runs of a thread; null counters count as 0. Starts as {0}; reading into it clears it first. */
struct keel_token_totals {
	int64_t total_tokens, total_input_tokens, total_output_tokens;
	int64_t lead_agent_tokens, subagent_tokens, middleware_tokens; /* by caller */
	int64_t total_runs;
	int64_t runs_by_status[KEEL_RUN_STATUS_COUNT];
	struct keel_model_tokens *models; /* in no particular order */
	size_t models_count;
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_token_totals_clear(struct keel_token_totals *totals);

/* Sums up what the final runs of a thread have used, and with include_active the running ones too. Reservations do not
 * count. Takes time in proportion to the thread, memory in proportion to its models.
 *
 * By model: a run with a token_usage_by_model that gives each model a whole number from 0, or an object with such a
 * total_tokens, counts as that says, once for each of these models; any other run counts with its total_tokens for its
 * model_name. Names are cut to KEEL_MODEL_NAME_MAX characters; an empty one is "unknown".
 * Fails with KEEL_INVALID_REQUEST (thread_id) and, when a sum is beyond 64 bits, KEEL_LIMIT_TOO_LARGE with its name. */
KEEL_API enum keel_code keel_tokens_of_thread(struct keel_store *store, struct keel_text thread_id, bool include_active,
											  struct keel_token_totals *totals, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
