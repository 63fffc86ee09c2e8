/* live.c - what is in flight, and the tables kept with it: later, due, leased, stopping; through line.c claims, through
 * wants.c holds and through count.c counted. Uses: children, count, edges, line, wants.
 *
 * What is in flight is a few rows of many: its state is in `live`, and what is looked for otherwise is told again in
 * narrow rows, where the gate, owners and recovery look; a finished run costs none of them anything.
 */
#include "run/live.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/children.h"
#include "run/count.h"
#include "run/edges.h"
#include "run/line.h"
#include "run/state.h"
#include "run/wants.h"

/* What decides where a run in flight is looked for; what changes most often first. */
#define LIVE_FIELDS(X)     \
	X(STATUS)              \
	X(FINALIZING)          \
	X(SESSION_ID)          \
	X(CREATED_AT)          \
	X(PRIORITY)            \
	X(CONCURRENCY)         \
	X(ATTEMPT)             \
	X(LOSSES)              \
	X(SNOOZES)             \
	X(SCHEDULED_AT)        \
	X(DEADLINE)            \
	X(LEASE_EXPIRES_AT)    \
	X(CANCEL_REQUESTED_AT) \
	X(CLAIMABLE)           \
	X(STRICT)              \
	X(WAITS_FOR)           \
	X(HANDLER)             \
	X(SLOTS)               \
	X(RATES)               \
	X(USER_ID)             \
	X(BATCH_ID)            \
	X(CANCEL_ACTION)
#define GIVES(NAME) KEEL_RUN_GIVES(delta, NAME) ||

bool keel_live_concerns(const struct keel_run *delta)
{
	return LIVE_FIELDS(GIVES) false;
}

/* --- What of a row is in the tables ------------------------------------------------------------------------------- */

bool keel_live_is(const struct keel_run_core *core)
{
	return core && (core->status < KEEL_RUN_SUCCESS || core->finalizing);
}

static bool is_later(const struct keel_run_core *core, int64_t now)
{
	return core && core->status == KEEL_RUN_PENDING && !core->blocked && core->scheduled_at != INT64_MIN &&
		   core->scheduled_at > now;
}

static bool is_stopping(const struct keel_run_core *core)
{
	return core && (core->status < KEEL_RUN_SUCCESS ? core->cancel_requested_at != INT64_MIN : core->finalizing);
}

static bool may_be_claimed(const struct keel_run_core *core)
{
	return core && core->status == KEEL_RUN_PENDING && !core->blocked && core->claimable && !core->cancel_requested;
}

int64_t keel_live_status(const struct keel_run_core *core, int64_t now)
{
	if (core->blocked)
		return KEEL_LIVE_BLOCKED;
	if (!is_later(core, now))
		return core->status == KEEL_RUN_PENDING && keel_run_is_limited(core) ? KEEL_LIVE_LIMITED
																			 : (int64_t)core->status;
	return core->attempt > 1 || core->losses > 0 || core->snoozes > 0 ? KEEL_LIVE_RETRY : KEEL_LIVE_LATER;
}

/* --- Keeping them ------------------------------------------------------------------------------------------------- */

/* A row of the table `later`, which may have been taken out when its time came. */
static enum keel_code change_later(struct keel_store *store, const struct keel_run_core *before,
								   const struct keel_run_core *after, int64_t now, struct keel_error *err)
{
	bool was = before && before->status == KEEL_RUN_PENDING && before->scheduled_at != INT64_MIN;
	enum keel_code code = KEEL_OK;
	if (was)
		code = keel_execute(store, "DELETE FROM later WHERE at = ?1 AND seq = ?2", err,
							keel_value_int(before->scheduled_at), keel_value_int(before->seq));
	if (code == KEEL_OK && is_later(after, now))
		code = keel_execute(store, "INSERT INTO later (at, seq) VALUES (?1, ?2)", err,
							keel_value_int(after->scheduled_at), keel_value_int(after->seq));
	return code;
}

/* Its deadline, and whether it has a lease; while it is in flight. */
static enum keel_code change_due(struct keel_store *store, const struct keel_run_core *before,
								 const struct keel_run_core *after, struct keel_error *err)
{
	bool was = before && before->status < KEEL_RUN_SUCCESS, is = after && after->status < KEEL_RUN_SUCCESS;
	int64_t seq = before ? before->seq : after->seq;
	KEEL_ASSERT(seq > 0);
	int64_t old = was ? before->deadline : INT64_MIN, new = is ? after->deadline : INT64_MIN;
	bool was_leased = was && before->lease_expires_at != INT64_MIN, leased = is && after->lease_expires_at != INT64_MIN;
	enum keel_code code = KEEL_OK;
	if (old != new &&old != INT64_MIN)
		code = keel_execute(store, "DELETE FROM due WHERE at = ?1 AND seq = ?2", err, keel_value_int(old),
							keel_value_int(seq));
	if (code == KEEL_OK && old != new &&new != INT64_MIN)
		code = keel_execute(store, "INSERT INTO due (at, seq) VALUES (?1, ?2)", err, keel_value_int(new),
							keel_value_int(seq));
	if (code == KEEL_OK && was_leased != leased)
		code =
			keel_execute(store, leased ? "INSERT INTO leased (seq) VALUES (?1)" : "DELETE FROM leased WHERE seq = ?1",
						 err, keel_value_int(seq));
	return code;
}

static enum keel_code change_stopping(struct keel_store *store, const struct keel_run_core *before,
									  const struct keel_run_core *after, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO stopping (thread_id, seq) VALUES (?1, ?2)";
	static const char drop[] = "DELETE FROM stopping WHERE thread_id = ?1 AND seq = ?2";
	const struct keel_run_core *one = before ? before : after;
	bool was = is_stopping(before), is = is_stopping(after);
	return was == is ? KEEL_OK
					 : keel_execute(store, is ? insert : drop, err, keel_value_text(one->thread_id),
									keel_value_int(one->seq));
}

/* Whether a run that can be claimed, before and after, is in the same place of the same line. Of one with a time to
 * start at this cannot be said: nobody may have taken it in yet, or somebody has and the clock was set back since. */
static bool same_claim(const struct keel_run_core *before, const struct keel_run_core *after)
{
	return before->priority == after->priority && before->concurrency == after->concurrency &&
		   before->deadline == after->deadline && before->scheduled_at == INT64_MIN &&
		   after->scheduled_at == INT64_MIN && keel_text_same(before->handler, after->handler) &&
		   keel_text_same(before->waits_for, after->waits_for) && keel_text_same(before->slots, after->slots) &&
		   keel_text_same(before->rates, after->rates);
}

static enum keel_code change_claim(struct keel_store *store, const struct keel_run_core *before,
								   const struct keel_run_core *after, int64_t now, struct keel_error *err)
{
	bool was = may_be_claimed(before), is = may_be_claimed(after);
	KEEL_ASSERT(!was || keel_run_state(before) == KEEL_STATE_FREE);
	KEEL_ASSERT(!is || keel_run_state(after) == KEEL_STATE_FREE);
	enum keel_code code = KEEL_OK;
	if (was && is && same_claim(before, after))
		return KEEL_OK;
	if (was)
		code = keel_line_leave(store, before, err);
	if (code == KEEL_OK && is && !is_later(after, now))
		code = keel_line_join(store, after, err);
	return code;
}

/* Those that wait for a name of the run's. */
static enum keel_code wake_names(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	struct keel_want_place place = {0};
	struct keel_want want;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && keel_want_walk(core, &place, &want))
		code = keel_line_wake(store, KEEL_AT_NAME, want.name, err);
	return code;
}

enum keel_code keel_live_change(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *before,
								const struct keel_run_core *after, struct keel_error *err)
{
	int64_t now = keel_store_now(store);
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT((before || after) && (!after || keel_run_invariant(after)));
	KEEL_ASSERT(!before || !after || before->seq == after->seq);
	KEEL_ASSERT(!before || !after || keel_text_same(before->thread_id, after->thread_id));
	if (!keel_live_is(before) && !keel_live_is(after))
		return KEEL_OK;
	enum keel_code code = change_later(store, before, after, now, err);
	if (code == KEEL_OK)
		code = change_due(store, before, after, err);
	if (code == KEEL_OK)
		code = change_stopping(store, before, after, err);
	const struct keel_run_core *one = before ? before : after;
	if (code == KEEL_OK)
		code = keel_counted_change(store, before, after, err);
	if (code == KEEL_OK && before && (before->blocked || before->depended))
		code = keel_edges_change(store, run_id, before, after, err);
	if (code == KEEL_OK && (one->parent_run_id.data || one->has_children))
		code = keel_children_change(store, run_id, before, after, err);
	if (code == KEEL_OK && keel_run_is_limited(one))
		code = keel_wants_change(store, before, after, err);
	if (code == KEEL_OK)
		code = change_claim(store, before, after, now, err);
	if (code == KEEL_OK && before && before->waited_for)
		code = keel_line_wake(store, KEEL_AT_THREAD, before->thread_id, err);
	if (code == KEEL_OK && before && before->waited_for && !keel_live_is(after))
		code = keel_line_wake(store, KEEL_AT_RUN, run_id, err);
	if (code == KEEL_OK && before && keel_run_is_limited(one))
		code = wake_names(store, one, err);
	return code;
}

enum keel_code keel_live_put_off(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								 bool *put_off, struct keel_error *err)
{
	static const char text[] =
		"UPDATE live SET status = ?3 WHERE thread_id = ?1 AND seq = ?2 AND (status = 0 OR status = -4)";
	int64_t status = keel_live_status(core, keel_store_now(store));
	*put_off = false;
	enum keel_code code = keel_execute(store, text, err, keel_value_text(core->thread_id), keel_value_int(core->seq),
									   keel_value_int(status));
	int64_t count = 0;
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	*put_off = count > 0;
	return code == KEEL_OK && *put_off ? keel_live_change(store, run_id, core, core, err) : code;
}
