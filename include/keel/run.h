/* keel/run.h - runs: the record, its state machine, and the operations on rows.
 *
 *                 ┌──────────────► success | error | timeout | interrupted      (final)
 *   pending ──► running ─────────► success | error | timeout | interrupted      (final)
 *      ▲           │
 *      └─ requeue ─┘               interrupted ──► error: only by the owner of a rollback
 *
 * A final status to itself is a no-op that succeeds. Everything else is KEEL_INVALID_TRANSITION and changes nothing.
 */
#ifndef KEEL_RUN_H
#define KEEL_RUN_H

#include <keel/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEEL_RUN_STATUS_MAP(X) \
	X(PENDING, 0, "pending")   \
	X(RUNNING, 1, "running")   \
	X(SUCCESS, 2, "success")   \
	X(ERROR, 3, "error")       \
	X(TIMEOUT, 4, "timeout")   \
	X(INTERRUPTED, 5, "interrupted")

enum keel_run_status {
#define KEEL_RUN_STATUS_ENUM(name, number, text) KEEL_RUN_##name = number,
	KEEL_RUN_STATUS_MAP(KEEL_RUN_STATUS_ENUM)
#undef KEEL_RUN_STATUS_ENUM
		KEEL_RUN_STATUS_COUNT
};

/* The name of a status; NULL for a number that is none. Static text. */
KEEL_API const char *keel_run_status_name(enum keel_run_status status);

/* The threads of machines, which the test dispatcher has its runs on, have ids that begin with this. They are a name
 * space of their own: runs of the operation kind "dispatch" are on such threads, and no other run or reservation is.
 * Operation kinds: "run"; "dispatch"; "checkpoint_write", "artifact_write" and "delete" are reservations. */
#define KEEL_MACHINE_PREFIX "keel.machine/"

/* Finds a status by name; false when there is none. */
KEEL_API bool keel_run_status_find(struct keel_text name, enum keel_run_status *status);

/* True for success, error, timeout and interrupted. */
KEEL_API bool keel_run_status_is_final(enum keel_run_status status);

/* Every field of a run: one list makes the struct, the enum, the columns and the names in Lua and JSON.
 * The type of a field is
 *   ID      text of 1 to KEEL_ID_MAX bytes without control characters
 *   TEXT    any text up to KEEL_TEXT_MAX bytes
 *   JSON    the text of a JSON document, which the kernel keeps; what is not valid JSON is refused
 *   VALUE   the same of any JSON value, not only of an object or a list
 *   IDS     ids, one a line
 *   SLOTS   names with a maximum, "MAX NAME" a line: 1 to KEEL_WANTS_MAX different ones
 *   RATES   names with a maximum and microseconds, "MAX PER NAME" a line, as many; in both "-" leaves a number to what
 *           is set for the name
 *   AFTER   what a run waits for, "WANTED KIND ID" a line: success or final, run or batch; 1 to KEEL_AFTER_MAX
 *   WORD    one of a few words
 *   STATUS  an enum keel_run_status
 *   INT     a 64-bit number;  COUNT the same, from 0 up
 *   TIME    microseconds since the epoch, UTC
 *   SPAN    a duration: microseconds, from 0 up
 *   FLAG    0 or 1
 * Who gives a field its value is
 *   CALLER  who asks for the run: an option of a manager's create, shown to strategies
 *   OWNER   who works on it, with its progress and how it ended
 *   STORE   neither: it is what the kernel and the managers keep
 * What it tells of a run, and with that how often it changes, is
 *   FIXED   who it is and what is wanted: hardly ever anything but what it was made with
 *   STATE   where it is, what every change of it has to know
 *   WORK    what its work has come to so far */
/* clang-format off */
#define KEEL_RUN_FIELD_MAP(X)                                                                                      \
	X(RUN_ID, run_id, ID, STORE, FIXED)                 /* unique in the store */                                  \
	X(THREAD_ID, thread_id, ID, STORE, FIXED)           /* what admission is decided by */                         \
	X(STATUS, status, STATUS, OWNER, STATE)             /* null reads as pending */                                \
	X(OPERATION_KIND, operation_kind, WORD, STORE, FIXED) /* run, dispatch, or of a reservation; see below */      \
	X(SESSION_ID, session_id, INT, STORE, STATE)        /* the session that owns the run; null: nobody */          \
	X(FENCE, fence, COUNT, STORE, STATE)                /* grows with every change of owner */                     \
	X(CLAIMABLE, claimable, FLAG, CALLER, STATE)        /* nobody owns it on purpose: recovery leaves it */        \
	X(CREATED_AT, created_at, TIME, STORE, FIXED)                                                                  \
	X(UPDATED_AT, updated_at, TIME, STORE, STATE)                                                                  \
	X(STARTED_AT, started_at, TIME, STORE, STATE)                                                                  \
	X(ENDED_AT, ended_at, TIME, STORE, STATE)                                                                      \
	X(REVISION, revision, COUNT, STORE, STATE)          /* 1, and one more with every change */                    \
	X(ASSISTANT_ID, assistant_id, ID, CALLER, FIXED)                                                               \
	X(USER_ID, user_id, ID, CALLER, FIXED)                                                                         \
	X(ON_DISCONNECT, on_disconnect, WORD, CALLER, FIXED) /* cancel, continue */                                    \
	X(MULTITASK_STRATEGY, multitask_strategy, ID, STORE, FIXED) /* the strategy that admitted it */                \
	X(METADATA, metadata, JSON, CALLER, FIXED)                                                                     \
	X(KWARGS, kwargs, JSON, CALLER, FIXED)                                                                         \
	X(PRIORITY, priority, INT, CALLER, STATE)                                                                      \
	X(ATTEMPT, attempt, COUNT, STORE, STATE)            /* tries of the work so far */                             \
	X(MAX_ATTEMPTS, max_attempts, COUNT, CALLER, FIXED)                                                            \
	X(LOSSES, losses, COUNT, STORE, STATE)              /* owners that died under it */                            \
	X(MAX_LOSSES, max_losses, COUNT, CALLER, FIXED)                                                                \
	X(SCHEDULED_AT, scheduled_at, TIME, CALLER, STATE)                                                             \
	X(DEADLINE, deadline, TIME, CALLER, FIXED)                                                                     \
	X(WAITS_FOR, waits_for, IDS, STORE, FIXED)          /* the runs that must settle before it starts */           \
	X(BATCH_ID, batch_id, ID, CALLER, FIXED)                                                                       \
	X(PLAN_ENTRY, plan_entry, TEXT, CALLER, FIXED)                                                                 \
	X(FINGERPRINT, fingerprint, ID, CALLER, FIXED)      /* equal fingerprints: the same work */                    \
	X(IDEMPOTENCY_KEY, idempotency_key, ID, CALLER, FIXED)                                                         \
	X(RECONCILER, reconciler, ID, CALLER, FIXED)        /* the policy that recovers it; null: the call's */        \
	X(CANCEL_ACTION, cancel_action, WORD, STORE, STATE) /* interrupt, rollback: the first request won */           \
	X(WORKER_REF, worker_ref, JSON, CALLER, FIXED)                                                                 \
	X(ERROR, error, TEXT, OWNER, WORK)                                                                             \
	X(ERROR_CODE, error_code, TEXT, OWNER, WORK)                                                                   \
	X(EXIT_CODE, exit_code, INT, OWNER, WORK)                                                                      \
	X(STOP_REASON, stop_reason, TEXT, OWNER, WORK)                                                                 \
	X(MODEL_NAME, model_name, TEXT, CALLER, WORK)       /* cut to KEEL_MODEL_NAME_MAX characters */                \
	X(TOTAL_INPUT_TOKENS, total_input_tokens, COUNT, OWNER, WORK)                                                  \
	X(TOTAL_OUTPUT_TOKENS, total_output_tokens, COUNT, OWNER, WORK)                                                \
	X(TOTAL_TOKENS, total_tokens, COUNT, OWNER, WORK)                                                              \
	X(LLM_CALL_COUNT, llm_call_count, COUNT, OWNER, WORK)                                                          \
	X(LEAD_AGENT_TOKENS, lead_agent_tokens, COUNT, OWNER, WORK)                                                    \
	X(SUBAGENT_TOKENS, subagent_tokens, COUNT, OWNER, WORK)                                                        \
	X(MIDDLEWARE_TOKENS, middleware_tokens, COUNT, OWNER, WORK)                                                    \
	X(MESSAGE_COUNT, message_count, COUNT, OWNER, WORK)                                                            \
	X(TOKEN_USAGE_BY_MODEL, token_usage_by_model, JSON, OWNER, WORK)                                               \
	X(LAST_AI_MESSAGE, last_ai_message, TEXT, OWNER, WORK) /* cut to KEEL_EXCERPT_MAX characters */                \
	X(FIRST_HUMAN_MESSAGE, first_human_message, TEXT, OWNER, WORK) /* cut to KEEL_EXCERPT_MAX characters */        \
	X(CONCURRENCY, concurrency, COUNT, STORE, FIXED)    /* starts while fewer of the thread run; null: always */   \
	X(START_BY, start_by, TIME, STORE, FIXED)           /* how long it may be put off at most */                   \
	X(FINALIZING, finalizing, FLAG, STORE, STATE)       /* ended, but not settled by its owner; null: never gated */ \
	X(LEASE_EXPIRES_AT, lease_expires_at, TIME, STORE, STATE) /* the owner has lost it then; null: never */        \
	X(CANCEL_REQUESTED_AT, cancel_requested_at, TIME, STORE, STATE) /* when its owner was asked to stop */         \
	X(SUCCESSOR, successor, ID, STORE, WORK)            /* the run that took its place */                          \
	X(IDEMPOTENCY_HASH, idempotency_hash, TEXT, STORE, FIXED) /* of what the key was used for */                   \
	X(IDEMPOTENCY_EXPIRES_AT, idempotency_expires_at, TIME, STORE, FIXED) /* the key is free then; null: never */  \
	X(ARTIFACTS_PATH, artifacts_path, TEXT, STORE, FIXED) /* where what it made is */                              \
	X(LOGS_PATH, logs_path, TEXT, STORE, FIXED)         /* where what it said is */                                \
	X(HANDLER, handler, ID, CALLER, FIXED)              /* the name of what is to work on it */                    \
	X(RESULT, result, VALUE, OWNER, WORK)               /* what it came to; up to KEEL_RESULT_MAX bytes */         \
	X(PROGRESS, progress, JSON, OWNER, WORK)            /* how far it is */                                        \
	X(PARENT_RUN_ID, parent_run_id, ID, CALLER, FIXED)  /* the run that made it: it is stopped with that one */    \
	X(RETRY_OF, retry_of, ID, STORE, FIXED)             /* the run that it is another try of */                    \
	X(SCHEDULE, schedule, ID, STORE, FIXED)             /* the name of the schedule that made it */                \
	X(TIMEOUT, timeout, SPAN, CALLER, FIXED)            /* how long an attempt may take */                         \
	X(SNOOZES, snoozes, COUNT, STORE, STATE)            /* times it was given back without an attempt */           \
	X(SHARED, shared, FLAG, STORE, STATE)               /* it was claimed: others can run it, too */               \
	X(LEASE_US, lease_us, COUNT, STORE, STATE)          /* how long its lease lasts, in microseconds */            \
	X(STRICT, strict, FLAG, STORE, FIXED)               /* waits behind a retry of its thread that is put off */   \
	X(SLOTS, slots, SLOTS, CALLER, FIXED)               /* starts while fewer than MAX run with each NAME */       \
	X(RATES, rates, RATES, CALLER, FIXED)               /* starts MAX times in PER at most, with all of a NAME */  \
	X(AFTER, after, AFTER, CALLER, FIXED)               /* the runs that it starts after */
/* clang-format on */

enum keel_run_field {
#define KEEL_RUN_FIELD_ENUM(NAME, member, type, giver, part) KEEL_RUN_FIELD_##NAME,
	KEEL_RUN_FIELD_MAP(KEEL_RUN_FIELD_ENUM)
#undef KEEL_RUN_FIELD_ENUM
		KEEL_RUN_FIELD_COUNT
};

enum keel_field_type {
	KEEL_TYPE_ID,
	KEEL_TYPE_TEXT,
	KEEL_TYPE_JSON,
	KEEL_TYPE_VALUE,
	KEEL_TYPE_IDS,
	KEEL_TYPE_SLOTS,
	KEEL_TYPE_RATES,
	KEEL_TYPE_AFTER,
	KEEL_TYPE_WORD,
	KEEL_TYPE_STATUS,
	KEEL_TYPE_INT,
	KEEL_TYPE_COUNT,
	KEEL_TYPE_TIME,
	KEEL_TYPE_SPAN,
	KEEL_TYPE_FLAG
};

enum keel_field_giver { KEEL_GIVEN_BY_CALLER, KEEL_GIVEN_BY_OWNER, KEEL_GIVEN_BY_STORE };

/* A set of fields: one bit each. {{0}} is the empty set. */
enum { KEEL_RUN_SET_WORDS = 2 };
typedef struct keel_run_set {
	uint64_t words[KEEL_RUN_SET_WORDS];
} keel_run_set;

static inline bool keel_run_set_has(keel_run_set set, enum keel_run_field field)
{
	return set.words[field / 64] >> field % 64 & 1;
}

static inline void keel_run_set_add(keel_run_set *set, enum keel_run_field field)
{
	set->words[field / 64] |= UINT64_C(1) << field % 64;
}

static inline void keel_run_set_remove(keel_run_set *set, enum keel_run_field field)
{
	set->words[field / 64] &= ~(UINT64_C(1) << field % 64);
}

static inline bool keel_run_set_is_empty(keel_run_set set)
{
	return !(set.words[0] | set.words[1]);
}

/* What is in either, and what is in the first alone. */
static inline keel_run_set keel_run_set_union(keel_run_set a, keel_run_set b)
{
	a.words[0] |= b.words[0];
	a.words[1] |= b.words[1];
	return a;
}
static inline keel_run_set keel_run_set_without(keel_run_set a, keel_run_set b)
{
	a.words[0] &= ~b.words[0];
	a.words[1] &= ~b.words[1];
	return a;
}

static inline bool keel_run_set_equal(keel_run_set a, keel_run_set b)
{
	return a.words[0] == b.words[0] && a.words[1] == b.words[1];
}

/* What is in both. */
static inline keel_run_set keel_run_set_common(keel_run_set a, keel_run_set b)
{
	a.words[0] &= b.words[0];
	a.words[1] &= b.words[1];
	return a;
}

/* Whether any field is in both. */
static inline bool keel_run_set_meet(keel_run_set a, keel_run_set b)
{
	return (a.words[0] & b.words[0]) | (a.words[1] & b.words[1]);
}

static inline int keel_run_set_count(keel_run_set set)
{
	return __builtin_popcountll(set.words[0]) + __builtin_popcountll(set.words[1]);
}

/* Takes the first field out of a set; false when it is empty. */
static inline bool keel_run_set_take(keel_run_set *set, enum keel_run_field *field)
{
	for (int word = 0; word < KEEL_RUN_SET_WORDS; word++) {
		if (set->words[word]) {
			*field = (enum keel_run_field)(64 * word + __builtin_ctzll(set->words[word]));
			set->words[word] &= set->words[word] - 1;
			return true;
		}
	}
	return false;
}

static inline keel_run_set keel_run_set_of(const enum keel_run_field *fields, size_t count)
{
	keel_run_set set = {{0}};
	for (size_t i = 0; i < count; i++)
		keel_run_set_add(&set, fields[i]);
	return set;
}

/* The set of all fields. */
static inline keel_run_set keel_run_set_all(void)
{
	keel_run_set set = {{UINT64_MAX, UINT64_MAX >> (128 - KEEL_RUN_FIELD_COUNT)}};
	return set;
}

/* The set of the listed fields. */
#define KEEL_RUN_FIELDS(...)                                    \
	keel_run_set_of((const enum keel_run_field[]){__VA_ARGS__}, \
					sizeof((const enum keel_run_field[]){__VA_ARGS__}) / sizeof(enum keel_run_field))

#define KEEL_MEMBER_ID struct keel_text
#define KEEL_MEMBER_TEXT struct keel_text
#define KEEL_MEMBER_JSON struct keel_text
#define KEEL_MEMBER_VALUE struct keel_text
#define KEEL_MEMBER_IDS struct keel_text
#define KEEL_MEMBER_SLOTS struct keel_text
#define KEEL_MEMBER_RATES struct keel_text
#define KEEL_MEMBER_AFTER struct keel_text
#define KEEL_MEMBER_WORD struct keel_text
#define KEEL_MEMBER_STATUS int64_t
#define KEEL_MEMBER_INT int64_t
#define KEEL_MEMBER_COUNT int64_t
#define KEEL_MEMBER_TIME int64_t
#define KEEL_MEMBER_SPAN int64_t
#define KEEL_MEMBER_FLAG int64_t

/* A run, or a part of one. A member means something only when its field is in `given`; it has a value when its field is
 * in `valued` too, else it is null (valued is a subset of given). */
struct keel_run {
	keel_run_set given;
	keel_run_set valued;
	keel_run_set sound; /* documents that an encoder wrote: they are not read through once more */
#define KEEL_RUN_MEMBER(NAME, member, type, giver, part) KEEL_MEMBER_##type member;
	KEEL_RUN_FIELD_MAP(KEEL_RUN_MEMBER)
#undef KEEL_RUN_MEMBER
};

/* Whether a record speaks of a field, and whether it gives it a value. */
#define KEEL_RUN_GIVES(run, NAME) keel_run_set_has((run)->given, KEEL_RUN_FIELD_##NAME)
#define KEEL_RUN_HAS(run, NAME) keel_run_set_has((run)->valued, KEEL_RUN_FIELD_##NAME)

/* What is known about a field: name, type, who gives it, and access by number, for code that treats all alike. */
KEEL_API const char *keel_run_field_name(enum keel_run_field field);
KEEL_API enum keel_field_type keel_run_field_type(enum keel_run_field field);
KEEL_API enum keel_field_giver keel_run_field_giver(enum keel_run_field field);

/* The member behind a field's number: the first for ID, TEXT, JSON, VALUE, IDS, SLOTS, RATES and WORD, the second for
 * all others. */
KEEL_API struct keel_text *keel_run_text(struct keel_run *run, enum keel_run_field field);
KEEL_API int64_t *keel_run_number(struct keel_run *run, enum keel_run_field field);

/* A list of runs with the memory of all their texts. Starts as {0}; reading into it clears it first. */
struct keel_runs {
	struct keel_run *items;
	size_t count;
	bool cut;        /* it ended at KEEL_PAGE_BYTES, before its limit: more follows */
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_runs_clear(struct keel_runs *list);

enum {
	KEEL_LIST_DEFAULT = 100,      /* rows of a listing when the caller names no limit */
	KEEL_CLAIM_HANDLERS_MAX = 64, /* handlers of one claim */
	KEEL_WANTS_MAX = 8,           /* slots of a run, and rates */
	KEEL_AFTER_MAX = 256,         /* sources that a run is after */
	KEEL_PLACES_MAX = 10000,      /* the greatest maximum of a name: that many rows are looked at to count them */
	KEEL_COUNTED_MAX = 10000,     /* rows that one question counts */
	KEEL_LIST_MAX = 1000          /* rows of one listing: what a caller can hold in memory without thinking */
};

/* --- Rows ---------------------------------------------------------------------------------------------------------
 * Each operation is atomic, by itself or as part of the open transaction, and appends the event of the change it makes.
 * All texts in arguments are borrowed for the call. Bad values are KEEL_INVALID_REQUEST with the field, texts over
 * their maximum KEEL_LIMIT_TOO_LARGE. */

/* Inserts the run, or merges the given fields into the row of that id. Needs run_id, and thread_id for a new row.
 * A new row without created_at is made now; a change of status obeys the state machine; ended_at and finalizing are for
 * what has ended. `note` is a JSON object that becomes the data of the event of a new row; its data may be NULL. Stamps
 * no session.
 * The parent of a new run that is in flight must be there and not have been asked to stop: else KEEL_NOT_FOUND, or
 * KEEL_CONFLICT, with its run_id. When a run is given a cancel_action, by whatever operation, those of its children
 * that are in flight are stopped with it, all the way down: those that are pending, of this session, or of owners that
 * are gone are interrupted, the owners of the others are asked. At most 1000 in the same transaction, the rest in
 * further ones, by the same call, or by keel_store_catch_up when that was in a caller's transaction.
 * A pending run that becomes claimable loses its session, lease and fence: nobody owns it. One that is given a session
 * is claimable no more.
 * What the row has now comes back in *written (NULL: not wanted): of a new row everything, as reading it would give it,
 * of an old one the fields that were written. Its texts are those of the arguments. */
KEEL_API enum keel_code keel_run_put(struct keel_store *store, const struct keel_run *run, struct keel_text note,
									 struct keel_run *written, struct keel_error *err);

/* Inserts the run if its thread has none in flight, and none that is finalizing: decided and written in one
 * transaction. *admitted says so; else nothing has changed. Otherwise as put, of a new run. */
KEEL_API enum keel_code keel_run_admit(struct keel_store *store, const struct keel_run *run, struct keel_text note,
									   bool *admitted, struct keel_run *written, struct keel_error *err);

/* Reads a run into `list` (count 0 or 1). With user_id.data, another user's run is not there. */
KEEL_API enum keel_code keel_run_get(struct keel_store *store, struct keel_text run_id, struct keel_text user_id,
									 struct keel_runs *list, struct keel_error *err);

/* Deletes a row; *deleted says whether there was one. */
KEEL_API enum keel_code keel_run_delete(struct keel_store *store, struct keel_text run_id, bool *deleted,
										struct keel_error *err);

struct keel_status_change {
	enum keel_run_status status;
	struct keel_text error;         /* data NULL: left alone */
	struct keel_text stop_reason;   /* data NULL: left alone */
	struct keel_text cancel_action; /* data NULL: left alone */
	int64_t fence;                  /* the owner's; 0: whoever asks */
	bool finalizing;                /* what was started through the gate still has to be settled by its owner */
};

/* Changes the status. *found is false when there is no such row. *written as in put.
 * Fails with KEEL_INVALID_TRANSITION, and with KEEL_STALE_OWNER when the row's fence is another. */
KEEL_API enum keel_code keel_run_update_status(struct keel_store *store, struct keel_text run_id,
											   const struct keel_status_change *change, bool *found,
											   struct keel_run *written, struct keel_error *err);

/* What progress may carry, and what a completion may besides: fields, for a list of them. */
#define KEEL_RUN_COUNTERS                                                                                    \
	KEEL_RUN_FIELD_TOTAL_INPUT_TOKENS, KEEL_RUN_FIELD_TOTAL_OUTPUT_TOKENS, KEEL_RUN_FIELD_TOTAL_TOKENS,      \
		KEEL_RUN_FIELD_LLM_CALL_COUNT, KEEL_RUN_FIELD_LEAD_AGENT_TOKENS, KEEL_RUN_FIELD_SUBAGENT_TOKENS,     \
		KEEL_RUN_FIELD_MIDDLEWARE_TOKENS, KEEL_RUN_FIELD_MESSAGE_COUNT, KEEL_RUN_FIELD_TOKEN_USAGE_BY_MODEL, \
		KEEL_RUN_FIELD_LAST_AI_MESSAGE, KEEL_RUN_FIELD_FIRST_HUMAN_MESSAGE, KEEL_RUN_FIELD_MODEL_NAME,       \
		KEEL_RUN_FIELD_PROGRESS
#define KEEL_RUN_OUTCOME                                                                              \
	KEEL_RUN_FIELD_STATUS, KEEL_RUN_FIELD_ERROR, KEEL_RUN_FIELD_ERROR_CODE, KEEL_RUN_FIELD_EXIT_CODE, \
		KEEL_RUN_FIELD_STOP_REASON, KEEL_RUN_FIELD_RESULT

/* Writes counters and, unless the run already has another final status, its outcome. `fields` gives members of
 * KEEL_RUN_COUNTERS and KEEL_RUN_OUTCOME, and the owner's fence (or not). *found and *written as above.
 * Fails with KEEL_STALE_OWNER, KEEL_INVALID_TRANSITION. */
KEEL_API enum keel_code keel_run_complete(struct keel_store *store, struct keel_text run_id,
										  const struct keel_run *fields, bool *found, struct keel_run *written,
										  struct keel_error *err);

/* Writes counters while the run is running; in any other status changes nothing. Else as complete. No event. */
KEEL_API enum keel_code keel_run_progress(struct keel_store *store, struct keel_text run_id,
										  const struct keel_run *fields, bool *found, struct keel_run *written,
										  struct keel_error *err);

/* The newest runs of a thread, newest first, equal times in insertion order; of one user when user_id.data.
 * limit 1 to KEEL_LIST_MAX, else KEEL_INVALID_REQUEST or KEEL_LIMIT_TOO_LARGE. */
KEEL_API enum keel_code keel_run_list_by_thread(struct keel_store *store, struct keel_text thread_id,
												struct keel_text user_id, int64_t limit, struct keel_runs *list,
												struct keel_error *err);

struct keel_inflight_query {
	struct keel_text thread_id; /* data NULL: every thread */
	int64_t session_id;         /* 0: every session */
	bool bounded;               /* `before` counts */
	int64_t before;             /* created at or before this time */
	int64_t limit;              /* as in list_by_thread */
	struct keel_text after;     /* a run id: go on behind it; data NULL: from the oldest */
	struct keel_text batch_id;  /* of a batch, in the order of insertion, in place of a thread or session, without
	                             * those of machines; data NULL: of any */
	bool holding;               /* instead: what runs or is finalizing on the thread, which must be given, or with the
	                             * slot; session_id, before and after do not count */
	struct keel_text slot;      /* with `holding`: a name; data NULL: none */
	bool finalizing;            /* the same, but only what is finalizing */
	bool overdue;               /* instead, of all threads, in the order of insertion: those whose deadline or lease has
	                             * passed, and those that have no owner and may not be claimed */
	bool held_up;               /* likewise: the claimable run that is next on each thread where a run is finalizing or
	                             * was asked to stop */
	bool brief;                 /* without the fields of KEEL_RUN_DOCUMENTS, which are then not `given`: they may be
	                             * long, and keel_run_get_document reads one */
};

/* What only callers read of a run, and what may be long. */
#define KEEL_RUN_DOCUMENTS                                                                               \
	KEEL_RUN_FIELDS(KEEL_RUN_FIELD_METADATA, KEEL_RUN_FIELD_KWARGS, KEEL_RUN_FIELD_TOKEN_USAGE_BY_MODEL, \
					KEEL_RUN_FIELD_RESULT)

/* Reads one document of a run, and its run_id, into `list`: count 0 when there is no such run. One that has more than
 * max_bytes is not read: its field is not `given`. *size is how many bytes it has.
 * Fails with KEEL_INVALID_REQUEST for a field that is not in KEEL_RUN_DOCUMENTS. */
KEEL_API enum keel_code keel_run_get_document(struct keel_store *store, struct keel_text run_id,
											  enum keel_run_field field, int64_t max_bytes, struct keel_runs *list,
											  int64_t *size, struct keel_error *err);

/* Pending and running runs, oldest first (by insertion), reservations among them. */
KEEL_API enum keel_code keel_run_list_inflight(struct keel_store *store, const struct keel_inflight_query *query,
											   struct keel_runs *list, struct keel_error *err);

/* The lowest session above `after` that owns a run in flight; 0: there is none. With session_alive and list_inflight
 * it leads to what the dead left. */
KEEL_API enum keel_code keel_run_next_owner(struct keel_store *store, int64_t after, int64_t *session_id,
											struct keel_error *err);

struct keel_dispatch_query {
	struct keel_text batch_id;    /* data NULL: every batch */
	struct keel_text fingerprint; /* with thread_id: one fingerprint on the thread of one machine; data NULL: any */
	struct keel_text thread_id;
	struct keel_text after; /* a run id: go on behind it; data NULL: from the first */
	int64_t limit;          /* as in list_by_thread */
};

/* The runs of machines (operation kind "dispatch"), whatever their status, in the order of insertion: all, those of a
 * batch, or those of a machine with a fingerprint. Fails with KEEL_NOT_FOUND when there is no run `after`. */
KEEL_API enum keel_code keel_run_list_dispatched(struct keel_store *store, const struct keel_dispatch_query *query,
												 struct keel_runs *list, struct keel_error *err);

struct keel_run_query {
	bool by_status; /* only those with `status` */
	enum keel_run_status status;
	struct keel_text thread_id; /* data NULL: of all threads */
	struct keel_text user_id;   /* data NULL: whoever's */
	struct keel_text batch_id;  /* of a batch, without those of machines, in place of a thread; data NULL: of any */
	struct keel_text after;     /* a run id: go on behind it, with older ones; data NULL: from the newest */
	int64_t limit;              /* as in list_by_thread */
};

/* The runs of the store or of a batch, the last inserted first, or those of a thread, the newest first as in
 * list_by_thread, without reservations. What status and user leave out is passed over one by one. Fails with
 * KEEL_NOT_FOUND when there is no run `after`. */
KEEL_API enum keel_code keel_run_list(struct keel_store *store, const struct keel_run_query *query,
									  struct keel_runs *list, struct keel_error *err);

enum keel_count {
	KEEL_COUNT_INFLIGHT, /* runs that are pending or running */
	KEEL_COUNT_PENDING,
	KEEL_COUNT_RUNNING,
	KEEL_COUNT_STARTED, /* starts of a rate */
};

/* Which runs: one of these at most has data; without any, all of the store, with those of machines and reservations.
 * Of the others runs of machines are no part. */
struct keel_count_query {
	enum keel_count count;
	struct keel_text user_id;
	struct keel_text handler; /* "default": those without one, too, looked for among all that are in flight */
	struct keel_text batch_id;
	struct keel_text thread_id;
	struct keel_text slot; /* who holds it is running, also while it is finalizing */
	struct keel_text rate; /* with KEEL_COUNT_STARTED, and only then: its starts in the last per_us */
	int64_t per_us;        /* above 0 */
};

/* How many there are: counted, through an index, up to KEEL_COUNTED_MAX. What runs of the whole store are running is
 * looked for among those that have an owner. Starts are kept for as long as any run that wanted the rate counts them,
 * or whoever asked here in a transaction: from the first of these on the count is exact, until nothing of the rate
 * waits or has started for so long; then nobody has asked. In the caller's transaction, if it is one of the whole
 * store, the count stays true until that ends; starts are counted in no other. Fails with KEEL_INVALID_REQUEST, and
 * KEEL_BUSY for starts in another transaction on a server. */
KEEL_API enum keel_code keel_run_count(struct keel_store *store, const struct keel_count_query *query, int64_t *count,
									   struct keel_error *err);

/* Checks a text of slots, or of rates, as of a run that is put; `field` names it in the error. */
KEEL_API enum keel_code keel_wants_check(struct keel_text text, bool is_rate, const char *field,
										 struct keel_error *err);

struct keel_retriable_query {
	unsigned statuses;          /* final ones: 1u << KEEL_RUN_ERROR | … */
	struct keel_text thread_id; /* data NULL: of all threads */
	struct keel_text batch_id;  /* in place of a thread; data NULL: of any */
	struct keel_text user_id;   /* data NULL: whoever's */
	struct keel_text handler;   /* a run without one has "default"; data NULL: any */
	bool bounded;               /* `before` counts */
	int64_t before;             /* created at or before this time */
	struct keel_text after;     /* a run id: go on behind it; data NULL: from the oldest */
	int64_t limit;              /* as in list_by_thread */
};

/* The runs that have ended in one of the statuses, and that no other run is a retry of, in the order of insertion,
 * without reservations, runs of machines, and the fields of KEEL_RUN_DOCUMENTS. What the filters leave out is passed
 * over one by one. Fails with KEEL_NOT_FOUND when there is no run `after`. */
KEEL_API enum keel_code keel_run_list_retriable(struct keel_store *store, const struct keel_retriable_query *query,
												struct keel_runs *list, struct keel_error *err);

/* The newest retry of a run: the last one of it, or of that one, and so on. *found false: there is none. */
KEEL_API enum keel_code keel_run_newest_retry(struct keel_store *store, struct keel_text run_id,
											  char retry[KEEL_ID_MAX + 1], bool *found, struct keel_error *err);

/* How many runs of the thread are pending or running: counted, not remembered. */
KEEL_API enum keel_code keel_run_count_inflight(struct keel_store *store, struct keel_text thread_id, int64_t *count,
												struct keel_error *err);

/* How many runs of a batch have each status: counted, not remembered. Runs of machines are not in it. */
KEEL_API enum keel_code keel_run_count_batch(struct keel_store *store, struct keel_text batch_id,
											 int64_t counts[KEEL_RUN_STATUS_COUNT], struct keel_error *err);

/* --- Starting ------------------------------------------------------------------------------------------------------
 * One gate starts runs. It is open when scheduled_at has come; every run of waits_for has settled; for a run with a
 * concurrency, fewer runs of its thread than that run or are finalizing and none is queued ahead of it; fewer than the
 * maximum run or are finalizing with each name of its slots; fewer than the maximum have started with each name of its
 * rates, in the time that goes with it; and nothing of it is paused (keel/limit.h).
 * The queue of a thread is its pending runs that are due, by priority, highest first, equal ones in the order of
 * insertion. Ahead is only what wants no slot or rate, or the same as the run itself: what is blocked holds nobody up
 * who is not. What is not due holds nobody up; but a strict run waits behind whatever was ahead of it, a first start in
 * the future excepted.
 * The maximum of a slot is what is set for its name, else the least of those that the run itself and all who hold the
 * name were made with. The numbers of a rate are what is set for its name, else the run's own. */

enum keel_gate {
	KEEL_GATE_OPEN,
	KEEL_GATE_DELAY,       /* its time has not come: `until` */
	KEEL_GATE_AFTER,       /* a run it waits for has not settled: `run_id` */
	KEEL_GATE_QUEUE,       /* another is queued ahead: `run_id` is the first */
	KEEL_GATE_CONCURRENCY, /* as many as may run do: `run_id` is the oldest */
	KEEL_GATE_SLOT,        /* as many as may run with a `name` do: `run_id` is one of them, if there is one */
	KEEL_GATE_RATE,        /* as many as may start with a `name` did: the next may be at `until`, if ever */
	KEEL_GATE_PAUSED,      /* `name` is paused: of a slot or rate, thread:ID, or * */
	KEEL_GATE_COUNT
};

/* "open", "delay", "after", "queue", "concurrency", "slot", "rate", "paused"; NULL for a number that is none. Static
 * text. */
KEEL_API const char *keel_gate_name(enum keel_gate gate);

struct keel_gate_state {
	enum keel_gate gate;
	char run_id[KEEL_ID_MAX + 1]; /* who is in the way; "" when it is no run */
	char name[KEEL_ID_MAX + 8];   /* with KEEL_GATE_SLOT, KEEL_GATE_RATE and KEEL_GATE_PAUSED, else "" */
	int64_t until;                /* with KEEL_GATE_DELAY and KEEL_GATE_RATE; INT64_MAX: never */
	int64_t position;             /* in the queue of the thread, from 1; by keel_run_gate only */
	bool alike;                   /* private: who is queued ahead wants the same slots and rates */
	bool tells;                   /* by keel_run_start only: it has started, and its event may say who can start now */
};

/* Looks at the gate of a pending run without starting it. *found is false when there is no such run; a run that is not
 * pending has the gate KEEL_GATE_OPEN and position 0. */
KEEL_API enum keel_code keel_run_gate(struct keel_store *store, struct keel_text run_id, bool *found,
									  struct keel_gate_state *state, struct keel_error *err);

enum { KEEL_REASONS_MAX = 300 };

/* All that is in the way of a pending run, in the order of the gate: *count of `list`, 0 when nothing is. */
KEEL_API enum keel_code keel_run_reasons(struct keel_store *store, struct keel_text run_id, bool *found,
										 struct keel_gate_state list[KEEL_REASONS_MAX], size_t *count,
										 struct keel_error *err);

struct keel_start {
	int64_t fence;    /* the owner's; 0: whoever asks */
	int64_t lease_us; /* the owner must renew within this time; 0: never */
};

/* Starts a pending run if its gate is open: *state says so, or what is in the way; then nothing has changed. A run that
 * was asked to stop is interrupted instead, one whose deadline has passed ends with a timeout: *written has the status.
 * *found and *written as in update_status. Fails with KEEL_INVALID_TRANSITION for a run that is not pending, and with
 * KEEL_STALE_OWNER, also for a claimable run, which has no owner yet. */
KEEL_API enum keel_code keel_run_start(struct keel_store *store, struct keel_text run_id,
									   const struct keel_start *start, bool *found, struct keel_gate_state *state,
									   struct keel_run *written, struct keel_error *err);

struct keel_claim {
	const struct keel_text *threads;  /* only runs of these */
	size_t threads_count;             /* 0: of every thread; at most KEEL_LIST_MAX */
	const struct keel_text *handlers; /* only runs with one of these; a run without one has the handler "default" */
	size_t handlers_count;            /* 0: whatever it is; at most KEEL_CLAIM_HANDLERS_MAX */
	int64_t limit;                    /* blocked lines that are looked at, 1 to KEEL_LIST_MAX */
	int64_t lease_us;                 /* as in keel_start */
};

/* Takes the best claimable run whose gate is open: highest priority, then longest there. It is then running, owned by
 * this session, with a new fence; `list` has it, or nothing. Runs that wait for the same, and for the same handler, are
 * a line, of which only the first is looked at, once until something happens to what it waits for. */
KEEL_API enum keel_code keel_run_claim_next(struct keel_store *store, const struct keel_claim *claim,
											struct keel_runs *list, struct keel_error *err);

struct keel_requeue {
	int64_t fence;          /* the owner's; 0: whoever asks */
	int64_t delay_us;       /* before it can start again */
	struct keel_text error; /* why; data NULL: none. Kept in the event, and in the row if it ends. */
	bool keep_attempt;      /* it was no try: the attempt is not spent, however many are left */
};

/* Gives a run back: pending and claimable, with one attempt more if it had started. When max_attempts are used up it
 * ends with an error instead; when it was asked to stop, it is interrupted. With keep_attempt no attempt is spent.
 * *found and *written as in update_status.
 * Fails with KEEL_INVALID_TRANSITION for a run that has ended, and with KEEL_STALE_OWNER. */
KEEL_API enum keel_code keel_run_requeue(struct keel_store *store, struct keel_text run_id,
										 const struct keel_requeue *requeue, bool *found, struct keel_run *written,
										 struct keel_error *err);

struct keel_settle {
	int64_t fence;  /* the owner's; 0: whoever asks */
	bool abandoned; /* only if its owner is gone, or has had the run longer than settle_timeout_us since it
	                             * ended; the fence grows then */
	int64_t settle_timeout_us;
};

/* Ends the finalizing of a run. *settled says whether it was finalizing, and now is not. */
KEEL_API enum keel_code keel_run_settle(struct keel_store *store, struct keel_text run_id,
										const struct keel_settle *settle, bool *settled, struct keel_error *err);

/* Renews the leases of all runs that this session has in flight, in one statement; *renewed counts them. They last for
 * lease_us from now; 0: each for as long as it was last given. */
KEEL_API enum keel_code keel_run_renew(struct keel_store *store, int64_t lease_us, int64_t *renewed,
									   struct keel_error *err);

/* The newest run that was made with an idempotency key that has not expired, for the same user (data NULL: none);
 * `list` has it, or nothing. */
KEEL_API enum keel_code keel_run_find_by_key(struct keel_store *store, struct keel_text key, struct keel_text user_id,
											 struct keel_runs *list, struct keel_error *err);

/* --- Other people's runs ------------------------------------------------------------------------------------------ */

struct keel_takeover {
	enum keel_run_status status;    /* a final one, or KEEL_RUN_PENDING: anybody may claim it, with one loss more */
	struct keel_text error;         /* data NULL: none */
	struct keel_text error_code;    /* data NULL: none */
	struct keel_text stop_reason;   /* data NULL: "orphan_recovered" */
	struct keel_text cancel_action; /* of a run that ends; data NULL: none */
	int64_t delay_us;               /* with KEEL_RUN_PENDING: before it can start again */
	bool unanswered; /* a run whose owner was asked to stop longer than settle_timeout_us ago counts too */
	int64_t settle_timeout_us;
	struct keel_text reconciler; /* who decided it, for the event; data NULL: not told */
	struct keel_text reconciler_version;
};

/* Recovers an orphan: an in-flight run whose session is dead, that has neither a session nor `claimable`, or whose
 * lease or deadline has passed. Judged and written in one transaction; the fence grows, so a late writer is refused.
 * One that was asked to stop is not given back: it is interrupted. *taken says whether it was one. */
KEEL_API enum keel_code keel_run_claim_for_takeover(struct keel_store *store, struct keel_text run_id,
													const struct keel_takeover *takeover, bool *taken,
													struct keel_error *err);

/* How long the lease of a run in flight has still to go unrenewed, in microseconds, before this handle takes the run
 * for lost; 0 or less: it does. INT64_MAX: it has no lease. Counts from the first look of this handle at the run as it
 * is, on the handle's monotonic clock: nothing that happens to the wall clock takes a run from an owner that renews. */
KEEL_API enum keel_code keel_run_lease_left(struct keel_store *store, struct keel_text run_id, int64_t *left_us,
											struct keel_error *err);

/* The runs of this session that the last operation has changed besides the one that it was about, or that the caller's
 * last transaction has if it was committed: dependents that failed, children that were stopped. Who keeps records of
 * runs reads these again. Takes them: each is told once. Ids, one a line, borrowed until the next operation; data NULL:
 * there are none. */
KEEL_API struct keel_text keel_run_take_changed(struct keel_store *store);

/* Asks the owner of an in-flight run to stop it with `action` ("interrupt" or "rollback"). The first request wins for
 * ever: *winner is the action that holds (static text). A run that waits to be claimed, which has no owner, is
 * interrupted at once. Fails with KEEL_NOT_FOUND, and with KEEL_INVALID_TRANSITION
 * for a run that is final. */
KEEL_API enum keel_code keel_run_request_cancel(struct keel_store *store, struct keel_text run_id,
												struct keel_text action, const char **winner, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
