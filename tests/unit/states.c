/* states.c - the whole state machine: everything that can be done, in every state there is; and what every row has. */
#include "support.h"

#include "run/state.h"

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

/* What each action comes to, written down once more. n: refused; u: refused to who does not own it; .: nothing has
 * changed; w: only columns have; r: it runs; e: it has the final status that was asked for; s: it is interrupted; f: it
 * is free. A claim says neither n nor u: it just does not take the run. */
static const struct {
	enum keel_run_state state;
	enum keel_run_status status;
	bool claimable, finalizing;
	const char *cancel;
	const char *comes_to; /* run end reset fail, start claim requeue, take over recover, ask settle progress count */
} states[] = {
	{KEEL_STATE_FREE, KEEL_RUN_PENDING, true, false, NULL, "re.e urf ef s..w"},
	{KEEL_STATE_FREE_STOPPING, KEEL_RUN_PENDING, true, false, "interrupt", "re.e uns es ...w"},
	{KEEL_STATE_OWNED, KEEL_RUN_PENDING, false, false, NULL, "re.e rnf ef w..w"},
	{KEEL_STATE_OWNED_STOPPING, KEEL_RUN_PENDING, false, false, "rollback", "re.e sns es ...w"},
	{KEEL_STATE_RUNNING, KEEL_RUN_RUNNING, false, false, NULL, ".ene nnf ef w.ww"},
	{KEEL_STATE_RUNNING_STOPPING, KEEL_RUN_RUNNING, false, false, "interrupt", ".ene nns es ..ww"},
	{KEEL_STATE_FINALIZING, KEEL_RUN_INTERRUPTED, false, true, "interrupt", "nnnn nnn .. nw.w"},
	{KEEL_STATE_ENDED, KEEL_RUN_SUCCESS, false, false, NULL, "nnnn nnn .. n..w"},
	{KEEL_STATE_UNDOING, KEEL_RUN_INTERRUPTED, false, true, "rollback", "nnne nnn .. nw.w"},
	{KEEL_STATE_UNDONE, KEEL_RUN_INTERRUPTED, false, false, "rollback", "nnne nnn .. n..w"},
};
enum { STATES = sizeof states / sizeof states[0], FENCE = 3, LEASE = 5 };
_Static_assert(STATES == (int)KEEL_STATE_COUNT, "every state is tried");

static char wanted(int state, enum keel_run_action action)
{
	const char *at = states[state].comes_to;
	for (int left = (int)action; left > 0 || *at == ' '; at++)
		left -= *at != ' ';
	return *at;
}

/* A run in a state: an orphan, too, for its lease has been over from the first. */
static struct keel_run run_in(int state)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, FENCE, fence, FENCE);
	SET(&run, STATUS, status, states[state].status);
	if (states[state].claimable)
		SET(&run, CLAIMABLE, claimable, 1);
	if (states[state].finalizing)
		SET(&run, FINALIZING, finalizing, 1);
	if (states[state].cancel)
		SET(&run, CANCEL_ACTION, cancel_action, text(states[state].cancel));
	SET(&run, LEASE_EXPIRES_AT, lease_expires_at, world.time);
	return run;
}

/* --- Verbs ------------------------------------------------------------------------------------------------------- */

static enum keel_code write_status(enum keel_run_status to, int64_t fence)
{
	struct keel_status_change change = {.status = to, .fence = fence};
	bool found;
	return keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why);
}

static enum keel_code count(bool complete)
{
	struct keel_run fields = {0};
	bool found;
	SET(&fields, TOTAL_TOKENS, total_tokens, 9);
	return complete ? keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why)
					: keel_run_progress(world.store, text("r"), &fields, &found, NULL, &why);
}

static enum keel_code claim(void)
{
	struct keel_runs list = {0};
	struct keel_claim asked = {.limit = 100, .lease_us = LEASE};
	enum keel_code code = keel_run_claim_next(world.store, &asked, &list, &why);
	keel_runs_clear(&list);
	return code;
}

static enum keel_code start_it(void)
{
	struct keel_start asked = {.fence = FENCE, .lease_us = LEASE};
	struct keel_gate_state gate;
	bool found;
	return keel_run_start(world.store, text("r"), &asked, &found, &gate, NULL, &why);
}

static enum keel_code take_over(enum keel_run_status status)
{
	struct keel_takeover asked = {.status = status};
	bool taken;
	int64_t revision = row("r")->revision;
	enum keel_code code = keel_run_claim_for_takeover(world.store, text("r"), &asked, &taken, &why);
	assert_int_equal(taken, row("r")->revision != revision);
	return code;
}

static enum keel_code settle(void)
{
	struct keel_settle asked = {.fence = FENCE};
	bool settled, was = row("r")->finalizing;
	enum keel_code code = keel_run_settle(world.store, text("r"), &asked, &settled, &why);
	assert_int_equal(settled, was);
	return code;
}

static enum keel_code act(enum keel_run_action action)
{
	struct keel_requeue again = {.fence = FENCE};
	const char *winner;
	bool found;
	switch (action) {
	case KEEL_ACTION_RUN:
		return write_status(KEEL_RUN_RUNNING, 0);
	case KEEL_ACTION_END:
		return write_status(KEEL_RUN_TIMEOUT, 0);
	case KEEL_ACTION_RESET:
		return write_status(KEEL_RUN_PENDING, 0);
	case KEEL_ACTION_FAIL:
		return write_status(KEEL_RUN_ERROR, FENCE);
	case KEEL_ACTION_START:
		return start_it();
	case KEEL_ACTION_CLAIM:
		return claim();
	case KEEL_ACTION_REQUEUE:
		return keel_run_requeue(world.store, text("r"), &again, &found, NULL, &why);
	case KEEL_ACTION_TAKE_OVER:
		return take_over(KEEL_RUN_ERROR);
	case KEEL_ACTION_RECOVER:
		return take_over(KEEL_RUN_PENDING);
	case KEEL_ACTION_ASK:
		return keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why);
	case KEEL_ACTION_SETTLE:
		return settle();
	default:
		return count(action == KEEL_ACTION_COUNT);
	}
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

/* What a run is after an action that came to the letter. */
static bool fits(char letter, enum keel_run_action action, int state, const struct keel_run *after)
{
	enum keel_run_status end = action == KEEL_ACTION_END ? KEEL_RUN_TIMEOUT : KEEL_RUN_ERROR;
	bool owned = KEEL_RUN_HAS(after, SESSION_ID), started = KEEL_RUN_HAS(after, STARTED_AT);
	switch (letter) {
	case 'w':
		return after->status == (int64_t)states[state].status &&
			   (action != KEEL_ACTION_ASK || KEEL_RUN_HAS(after, CANCEL_REQUESTED_AT)) &&
			   (action != KEEL_ACTION_SETTLE || !after->finalizing);
	case 'r':
		return after->status == KEEL_RUN_RUNNING && started && owned == (action == KEEL_ACTION_CLAIM) &&
			   (action == KEEL_ACTION_RUN || !after->claimable);
	case 'e':
		return after->status == (int64_t)end && KEEL_RUN_HAS(after, ENDED_AT);
	case 's':
		return after->status == KEEL_RUN_INTERRUPTED && KEEL_RUN_HAS(after, ENDED_AT) && !after->finalizing;
	case 'f':
		return after->status == KEEL_RUN_PENDING && after->claimable && !owned && !started && !after->finalizing &&
			   !KEEL_RUN_HAS(after, LEASE_EXPIRES_AT) && !KEEL_RUN_HAS(after, ENDED_AT);
	default:
		return after->status == (int64_t)states[state].status && after->revision == 1;
	}
}

/* How much the fence has grown: whoever owned it so far is shut out. */
static int new_fences(char letter, enum keel_run_action action)
{
	bool takes = action == KEEL_ACTION_TAKE_OVER || action == KEEL_ACTION_RECOVER || action == KEEL_ACTION_CLAIM;
	return letter == 'f' || (takes && strchr("res", letter));
}

static void check_one(int state, enum keel_run_action action)
{
	char letter = wanted(state, action);
	bool quiet = action == KEEL_ACTION_PROGRESS || action == KEEL_ACTION_COUNT;
	enum keel_code code = letter == 'n' ? KEEL_INVALID_TRANSITION : letter == 'u' ? KEEL_STALE_OWNER : KEEL_OK;
	succeed(keel_store_begin(world.store, &why));
	put(&(struct keel_run[]){run_in(state)}[0]);
	int64_t events = newest_event();
	bool changes = strchr("wresf", letter);
	enum keel_code got = act(action);
	const struct keel_run *after = row("r");
	if (got != (action == KEEL_ACTION_CLAIM ? KEEL_OK : code) || !fits(letter, action, state, after))
		fail_msg("action %d in state %d: %s, then %s", (int)action, state, keel_code_name(got),
				 keel_run_status_name((enum keel_run_status)after->status));
	assert_int_equal(after->revision, 1 + changes);
	assert_int_equal(after->fence, FENCE + new_fences(letter, action));
	assert_int_equal(newest_event() - events, changes && !quiet);
	keel_store_rollback(world.store);
}

/* --- Tests ------------------------------------------------------------------------------------------------------- */

/* Every action in every state comes to what the table says. */
TEST(whole_table)
{
	for (int i = 0; i < STATES; i++)
		for (enum keel_run_action action = 0; action < KEEL_ACTIONS; action++)
			check_one(i, action);
}

/* The states are told apart as the table has them. */
TEST(states_are_told_apart)
{
	for (int i = 0; i < STATES; i++) {
		struct keel_run_core none = {0}, core = keel_run_core_with(&none, &(struct keel_run[]){run_in(i)}[0]);
		assert_int_equal(keel_run_state(&core), states[i].state);
	}
}

/* What a run whose time is over, or whose attempts are, comes to where the table says that it starts or is free. */
static void check_instead(int state, enum keel_run_action action, char letter, enum keel_run_status end)
{
	struct keel_run run = run_in(state);
	if (end == KEEL_RUN_TIMEOUT)
		SET(&run, DEADLINE, deadline, world.time);
	SET(&run, ATTEMPT, attempt, 2);
	SET(&run, MAX_ATTEMPTS, max_attempts, 2);
	succeed(keel_store_begin(world.store, &why));
	put(&run);
	bool there = wanted(state, action) == letter && (end == KEEL_RUN_TIMEOUT || run.status == KEEL_RUN_RUNNING);
	act(action);
	if (there != (row("r")->status == (int64_t)end))
		fail_msg("action %d in state %d", (int)action, state);
	must(!there || KEEL_RUN_HAS(row("r"), ENDED_AT));
	keel_store_rollback(world.store);
}

TEST(time_or_attempts_are_over)
{
	for (int i = 0; i < STATES; i++) {
		check_instead(i, KEEL_ACTION_START, 'r', KEEL_RUN_TIMEOUT);
		check_instead(i, KEEL_ACTION_RECOVER, 'f', KEEL_RUN_TIMEOUT);
		check_instead(i, KEEL_ACTION_REQUEUE, 'f', KEEL_RUN_ERROR);
	}
}

/* A run that has not ended has no end and is not finalizing, whoever writes it and how. */
TEST(no_end_before_the_end)
{
	struct keel_run ended = run_of("a", "t"), finalizing = run_of("b", "t");
	bool admitted;
	SET(&ended, ENDED_AT, ended_at, 1);
	SET(&finalizing, FINALIZING, finalizing, 1);
	for (int there = 0; there < 2; there++) {
		refuse_field("ended_at", keel_run_put(world.store, &ended, nothing, NULL, &why));
		refuse_field("finalizing", keel_run_put(world.store, &finalizing, nothing, NULL, &why));
		put_pending("a", "t");
		put_with_status("b", "t", KEEL_RUN_RUNNING);
	}
	ended.run_id = finalizing.run_id = text("c");
	ended.thread_id = finalizing.thread_id = text("another");
	refuse_field("ended_at", keel_run_admit(world.store, &ended, nothing, &admitted, NULL, &why));
	refuse_field("finalizing", keel_run_admit(world.store, &finalizing, nothing, &admitted, NULL, &why));
	must(!admitted && !is_there("c"));
	SET(&finalizing, STATUS, status, KEEL_RUN_INTERRUPTED);
	succeed(keel_run_put(world.store, &finalizing, nothing, NULL, &why));
}

/* What an action must leave of a run, and did not. */
TEST(breaches_are_seen)
{
	struct keel_run run = run_in(0), delta = {0};
	struct keel_run_core none = {0};
	SET(&run, REVISION, revision, 1);
	struct keel_run_core core = keel_run_core_with(&none, &run);
	core.seq = 1;
	must(keel_run_invariant(&core));
	SET(&delta, REVISION, revision, 2);
	must(keel_run_keeps(&core, &delta));
	SET(&delta, FENCE, fence, FENCE + 1);
	SET(&delta, LEASE_EXPIRES_AT, lease_expires_at, 1);
	must(!keel_run_follows(&core, KEEL_ACTION_REQUEUE, &delta)); /* free, with a lease */
	delta.valued = keel_run_set_without(delta.valued, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_LEASE_EXPIRES_AT));
	must(keel_run_follows(&core, KEEL_ACTION_REQUEUE, &delta));
	must(!keel_run_follows(&core, KEEL_ACTION_CLAIM, &delta)); /* claimed, and pending */
	SET(&delta, STATUS, status, KEEL_RUN_ERROR);
	must(!keel_run_follows(&core, KEEL_ACTION_REQUEUE, &delta)); /* ended, and no end */
	SET(&delta, FENCE, fence, FENCE - 1);
	must(!keel_run_keeps(&core, &delta));
	SET(&delta, FENCE, fence, FENCE);
	SET(&delta, ENDED_AT, ended_at, 1);
	must(keel_run_follows(&core, KEEL_ACTION_REQUEUE, &delta)); /* its attempts are over */
	must(!keel_run_follows(&core, KEEL_ACTION_ASK, &delta));
}

/* A row that nobody can have written is damage, for those who read it and for those who would change it. */
TEST(rows_that_cannot_be)
{
	static const char *const damages[] = {"fence = 0", "revision = 0", "ended_at = 5", "finalizing = 1", "status = 9"};
	struct keel_runs list = {0};
	world.damaged = true;
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		char id[8], sql[100];
		snprintf(id, sizeof id, "r%zu", i);
		put_with_status(id, "t", KEEL_RUN_RUNNING);
		snprintf(sql, sizeof sql, "UPDATE live SET %s WHERE seq = (SELECT seq FROM runs WHERE run_id = '%s')",
				 damages[i], id);
		raw(sql);
		struct keel_status_change change = {.status = KEEL_RUN_SUCCESS};
		bool found;
		refuse(STORE_CORRUPT, keel_run_get(world.store, text(id), nothing, &list, &why));
		must(strstr(why.message, id) != NULL);
		refuse(STORE_CORRUPT, keel_run_update_status(world.store, text(id), &change, &found, NULL, &why));
		must(strstr(why.message, id) != NULL);
	}
	keel_runs_clear(&list);
}

/* Nor is a run claimed that only stands where claimable ones do. */
TEST(lines_that_cannot_be)
{
	world.damaged = true;
	put_with_status("r", "t", KEEL_RUN_SUCCESS);
	raw("INSERT INTO claims (line, priority, seq, thread_id, handler) VALUES (0, 0, 1, 't', 'default')");
	refuse(STORE_CORRUPT, claim());
	raw("DELETE FROM claims");
	succeed(claim());
	raw("INSERT INTO later (at, seq) VALUES (1, 1)");
	refuse(STORE_CORRUPT, claim());
	assert_int_equal(status_of("r"), KEEL_RUN_SUCCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(whole_table),           WITH_STORE(states_are_told_apart), WITH_STORE(time_or_attempts_are_over),
		WITH_STORE(no_end_before_the_end), WITH_STORE(breaches_are_seen),     WITH_STORE(rows_that_cannot_be),
		WITH_STORE(lines_that_cannot_be),
	};
	return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
