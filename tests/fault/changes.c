/* changes.c - faults while a run starts, changes, ends, is claimed, given back and taken over. */
#include "support_fault.h"

/* --- The owner's changes ----------------------------------------------------------------------------------------- */

static void put_text(struct keel_run *run, enum keel_run_status status)
{
	SET(run, STATUS, status, status);
	SET(run, ERROR, error, text("it \"broke\""));
	SET(run, TOTAL_TOKENS, total_tokens, 12);
	SET(run, TOKEN_USAGE_BY_MODEL, token_usage_by_model, text("{\"m\":12}"));
	SET(run, LAST_AI_MESSAGE, last_ai_message, text("bye"));
}

static void one_running(void)
{
	put_with_status("a", "t", KEEL_RUN_RUNNING);
}

static void one_pending(void)
{
	put_pending("a", "t");
}

static enum keel_code start_plainly(void)
{
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	struct keel_run written;
	bool found = false;
	enum keel_code code = keel_run_update_status(world.store, text("a"), &change, &found, &written, &why);
	if (code == KEEL_OK)
		answer("found %d revision %lld", found, (long long)written.revision);
	return code;
}

static enum keel_code fail_run(void)
{
	struct keel_status_change change = {
		.status = KEEL_RUN_ERROR, .error = text("it \"broke\""), .stop_reason = text("broken")};
	bool found = false;
	enum keel_code code = keel_run_update_status(world.store, text("a"), &change, &found, NULL, &why);
	answer("found %d", found);
	return code;
}

static enum keel_code complete(void)
{
	struct keel_run fields = {0}, written;
	bool found = false;
	put_text(&fields, KEEL_RUN_ERROR);
	enum keel_code code = keel_run_complete(world.store, text("a"), &fields, &found, &written, &why);
	if (code == KEEL_OK)
		answer("found %d revision %lld", found, (long long)written.revision);
	return code;
}

static enum keel_code progress(void)
{
	struct keel_run fields = {0};
	bool found = false;
	SET(&fields, TOTAL_TOKENS, total_tokens, 5);
	enum keel_code code = keel_run_progress(world.store, text("a"), &fields, &found, NULL, &why);
	answer("found %d", found);
	return code;
}

/* The handle has made the same change to another run. */
static void completed_before(void)
{
	struct keel_run fields = {0};
	bool found;
	put_with_status("before", "t", KEEL_RUN_RUNNING);
	put_text(&fields, KEEL_RUN_ERROR);
	succeed(keel_run_complete(world.store, text("before"), &fields, &found, NULL, &why));
}

static void one_finalizing(void)
{
	struct keel_status_change change = {.status = KEEL_RUN_SUCCESS, .finalizing = true};
	struct keel_start start = {0};
	struct keel_gate_state gate;
	bool found;
	put_pending("a", "t");
	succeed(keel_run_start(world.store, text("a"), &start, &found, &gate, NULL, &why));
	succeed(keel_run_update_status(world.store, text("a"), &change, &found, NULL, &why));
}

static enum keel_code settle(void)
{
	struct keel_settle asked = {.abandoned = true, .settle_timeout_us = 1000000};
	bool settled = false;
	enum keel_code code = keel_run_settle(world.store, text("a"), &asked, &settled, &why);
	answer("settled %d", settled);
	return code;
}

static void one_ended(void)
{
	one_running();
	succeed(complete());
}

static enum keel_code unsettle(void)
{
	struct keel_run run = run_of("a", "t");
	put_text(&run, KEEL_RUN_ERROR);
	SET(&run, FINALIZING, finalizing, 1);
	return keel_run_put(world.store, &run, nothing, NULL, &why);
}

static enum keel_code requeue(void)
{
	struct keel_requeue asked = {.error = text("again"), .delay_us = 1500000};
	bool found = false;
	enum keel_code code = keel_run_requeue(world.store, text("a"), &asked, &found, NULL, &why);
	answer("found %d", found);
	return code;
}

/* --- Starting ---------------------------------------------------------------------------------------------------- */

static void put_gated(const char *run_id, const char *waits_for)
{
	struct keel_run run = run_of(run_id, "t");
	SET(&run, CONCURRENCY, concurrency, 1);
	if (waits_for)
		SET(&run, WAITS_FOR, waits_for, text(waits_for));
	put(&run);
}

static void leave(const char *run_id)
{
	struct keel_run run = run_of(run_id, NULL);
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
}

static void open_gate(void)
{
	put_with_status("x", "u", KEEL_RUN_SUCCESS);
	put_with_status("y", "u", KEEL_RUN_ERROR);
	put_gated("a", "x\ny");
	put_gated("b", NULL);
}

static void open_to_all(void)
{
	open_gate();
	leave("a");
	leave("b");
}

static void waiting_for_one(void)
{
	put_pending("x", "u");
	put_gated("a", "x");
}

static void full_thread(void)
{
	put_gated("a", NULL);
	put_with_status("x", "t", KEEL_RUN_RUNNING);
}

static enum keel_code start_gated(void)
{
	struct keel_start asked = {.lease_us = 1000000};
	struct keel_gate_state gate;
	bool found = false;
	enum keel_code code = keel_run_start(world.store, text("a"), &asked, &found, &gate, NULL, &why);
	if (code == KEEL_OK)
		answer("found %d %s %s", found, keel_gate_name(gate.gate), gate.run_id);
	return code;
}

static enum keel_code claim(void)
{
	struct keel_claim asked = {.limit = 10, .lease_us = 1000000};
	enum keel_code code = keel_run_claim_next(world.store, &asked, &answered_runs, &why);
	if (code == KEEL_OK)
		answer("claimed %s", ids_of(&answered_runs));
	return code;
}

static enum keel_code claim_of_threads(void)
{
	const struct keel_text threads[] = {text("s"), text("t")};
	struct keel_claim asked = {.threads = threads, .threads_count = 2, .limit = 10};
	enum keel_code code = keel_run_claim_next(world.store, &asked, &answered_runs, &why);
	if (code == KEEL_OK)
		answer("claimed %s", ids_of(&answered_runs));
	return code;
}

/* Of one thread so many wait that what is behind them is found by threads. */
static void long_queue(void)
{
	put_with_status("x", "t", KEEL_RUN_RUNNING);
	for (int i = 0; i < 70; i++) {
		char run_id[16];
		snprintf(run_id, sizeof run_id, "q%d", i);
		put_gated(run_id, NULL);
	}
	struct keel_run run = run_of("a", "u");
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
}

static void lease_one(void)
{
	succeed(claim());
	world.time += 500000;
}

static enum keel_code renew(void)
{
	int64_t renewed = 0;
	enum keel_code code = keel_run_renew(world.store, 2000000, &renewed, &why);
	answer("renewed %lld", (long long)renewed);
	return code;
}

static void set_clock_back(void)
{
	world.time -= 500000;
}

/* --- Other people's runs ----------------------------------------------------------------------------------------- */

static void orphan(void)
{
	put_owned("a", "t"); /* its session ends with the fixture */
}

static enum keel_code take_over_as(enum keel_run_status status)
{
	struct keel_takeover asked = {.status = status, .error = text("lost"), .error_code = text("lost")};
	bool taken = false;
	if (status == KEEL_RUN_PENDING)
		asked.error_code = nothing;
	enum keel_code code = keel_run_claim_for_takeover(world.store, text("a"), &asked, &taken, &why);
	answer("taken %d", taken);
	return code;
}

static enum keel_code take_over(void)
{
	return take_over_as(KEEL_RUN_ERROR);
}

static enum keel_code give_back(void)
{
	return take_over_as(KEEL_RUN_PENDING);
}

static enum keel_code request_cancel(void)
{
	const char *winner = NULL;
	enum keel_code code = keel_run_request_cancel(world.store, text("a"), text("rollback"), &winner, &why);
	if (code == KEEL_OK)
		answer("%s", winner);
	return code;
}

static void asked_to_interrupt(void)
{
	const char *winner;
	orphan();
	succeed(keel_run_request_cancel(world.store, text("a"), text("rollback"), &winner, &why));
}

static enum keel_code request_again(void)
{
	const char *winner = NULL;
	enum keel_code code = keel_run_request_cancel(world.store, text("a"), text("interrupt"), &winner, &why);
	if (code == KEEL_OK)
		answer("%s", winner);
	return code;
}

/* Half a completion is undone; what there is to commit is nothing then. */
static enum keel_code complete_under_savepoint(void)
{
	struct keel_error after;
	int mark = 0;
	enum keel_code code = keel_store_begin(world.store, &why);
	if (code != KEEL_OK)
		return code;
	code = keel_store_savepoint(world.store, &mark, &why);
	if (code == KEEL_OK)
		code = complete();
	if (code == KEEL_OK)
		code = keel_store_release(world.store, mark, &why);
	else if (mark)
		keel_store_rollback_to(world.store, mark, &after);
	if (code == KEEL_OK)
		return keel_store_commit(world.store, &why);
	keel_store_commit(world.store, &after);
	return code;
}

/* --- Families ---------------------------------------------------------------------------------------------------- */

static void put_child(const char *run_id, const char *parent, const char *after)
{
	struct keel_run run = run_of(run_id, run_id);
	if (parent)
		SET(&run, PARENT_RUN_ID, parent_run_id, text(parent));
	if (after)
		SET(&run, AFTER, after, text(after));
	succeed(keel_run_put(world.store, &run, nothing, NULL, &why));
}

/* A parent with two children, a grandchild, and a stranger who waits for that one. */
static void small_family(void)
{
	put_with_status("a", "a", KEEL_RUN_RUNNING);
	put_child("b", "a", NULL);
	put_child("c", "a", NULL);
	put_child("d", "c", NULL);
	put_child("e", NULL, "success run d");
}

/* Each waits for the one before. */
static void small_chain(void)
{
	put_with_status("a", "a", KEEL_RUN_RUNNING);
	put_child("b", NULL, "success run a");
	put_child("c", NULL, "success run b");
	put_child("d", NULL, "final run c");
}

static enum keel_code end_first(const struct keel_status_change *change)
{
	bool found = false;
	enum keel_code code = keel_run_update_status(world.store, text("a"), change, &found, NULL, &why);
	answer("found %d", code == KEEL_OK && found);
	return code;
}

static enum keel_code cancel_family(void)
{
	struct keel_status_change change = {
		.status = KEEL_RUN_INTERRUPTED, .stop_reason = text("cancelled"), .cancel_action = text("interrupt")};
	return end_first(&change);
}

static enum keel_code fail_chain(void)
{
	struct keel_status_change change = {.status = KEEL_RUN_ERROR, .error = text("it broke")};
	return end_first(&change);
}

static const struct operation operations[] = {
	{"a change of status", MANY, one_pending, NULL, start_plainly, NULL},
	{"a final status", MANY, one_running, NULL, fail_run, NULL},
	{"completion", 0, one_running, NULL, complete, NULL},
	{"the second completion", LITTLE_SQL, one_running, completed_before, complete, NULL},
	{"completion under a savepoint", TRANSACTS, one_running, NULL, complete_under_savepoint, NULL},
	{"progress", 0, one_running, NULL, progress, NULL},
	{"settling", 0, one_finalizing, NULL, settle, NULL},
	{"what ended and is not settled after all", 0, one_ended, NULL, unsettle, NULL},
	{"requeueing", 0, one_running, NULL, requeue, NULL},
	{"starting through the gate", 0, open_gate, NULL, start_gated, NULL},
	{"waiting for another", 0, waiting_for_one, NULL, start_gated, NULL},
	{"a full thread", 0, full_thread, NULL, start_gated, NULL},
	{"claiming", 0, open_to_all, NULL, claim, NULL},
	{"claiming from threads", 0, open_to_all, NULL, claim_of_threads, NULL},
	{"claiming behind a queue", 0, long_queue, NULL, claim, NULL},
	{"renewing leases", OWNS | LITTLE_SQL, open_to_all, lease_one, renew, set_clock_back},
	{"takeover", 0, orphan, NULL, take_over, NULL},
	{"giving back", 0, orphan, NULL, give_back, NULL},
	{"a request to stop", 0, orphan, NULL, request_cancel, NULL},
	{"cancelling a family", 0, small_family, NULL, cancel_family, NULL},
	{"failing what waits down the line", 0, small_chain, NULL, fail_chain, NULL},
	{"a second request to stop", 0, asked_to_interrupt, NULL, request_again, NULL},
};

int main(void)
{
	return SWEEP("faults in changes", operations);
}
