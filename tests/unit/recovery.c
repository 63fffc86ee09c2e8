/* recovery.c - taking over an orphan, and asking an owner to stop. */
#include "support.h"

static const struct keel_takeover fail_it = {.status = KEEL_RUN_ERROR, .error = {"owner died", 10}};
static const struct keel_takeover requeue_it = {.status = KEEL_RUN_PENDING};

/* A run owned by a session that is no more. */
static void put_orphan(const char *run_id, enum keel_run_status status)
{
	struct keel_run run = run_of(run_id, "t");
	SET(&run, STATUS, status, status);
	SET(&run, SESSION_ID, session_id, 999);
	put(&run);
}

static bool take_over(const char *run_id, struct keel_takeover takeover)
{
	bool taken;
	succeed(keel_run_claim_for_takeover(world.store, text(run_id), &takeover, &taken, &why));
	return taken;
}

static const char *request(const char *run_id, const char *action)
{
	const char *winner;
	succeed(keel_run_request_cancel(world.store, text(run_id), text(action), &winner, &why));
	return winner;
}

/* --- Takeover ---------------------------------------------------------------------------------------------------- */

/* OWN-6 */
/* An orphan ends with the given error, a reason, a higher fence and an event. */
TEST(orphans_end)
{
	put_orphan("r", KEEL_RUN_RUNNING);
	world.time += 10;
	assert_true(take_over("r", fail_it));
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_ERROR && run->fence == 2 && run->ended_at == world.time);
	assert_true(same_text(run->error, text("owner died")) && same_text(run->stop_reason, text("orphan_recovered")));
	assert_string_equal(kinds_of("r"), "run_created run_finished");
}

/* A caller may give code, reason and action of its own. */
TEST(orphans_end_as_told)
{
	put_orphan("r", KEEL_RUN_PENDING);
	assert_true(take_over("r", (struct keel_takeover){.status = KEEL_RUN_INTERRUPTED,
													  .error_code = text("E9"),
													  .stop_reason = text("cancelled"),
													  .cancel_action = text("rollback")}));
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_INTERRUPTED && same_text(run->error_code, text("E9")));
	assert_true(same_text(run->stop_reason, text("cancelled")) && same_text(run->cancel_action, text("rollback")));
}

/* OWN-9 */
/* The action of an earlier request to cancel holds in a takeover too. */
TEST(takeover_keeps_the_first_cancel)
{
	put_orphan("r", KEEL_RUN_RUNNING);
	assert_string_equal(request("r", "interrupt"), "interrupt");
	assert_true(
		take_over("r", (struct keel_takeover){.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("rollback")}));
	assert_true(same_text(row("r")->cancel_action, text("interrupt")));
}

/* OWN-8 */
/* After a takeover the old owner's writes are refused by the fence it still carries. */
TEST(late_owners_are_fenced)
{
	struct keel_status_change late = {.status = KEEL_RUN_SUCCESS, .fence = 1};
	bool found;
	put_orphan("r", KEEL_RUN_RUNNING);
	assert_true(take_over("r", fail_it));
	refuse(STALE_OWNER, keel_run_update_status(world.store, text("r"), &late, &found, NULL, &why));
	assert_int_equal(status_of("r"), KEEL_RUN_ERROR);
}

/* OWN-4 */
/* An orphan is taken over once: whoever comes second finds none. */
TEST(orphans_are_taken_once)
{
	put_orphan("r", KEEL_RUN_RUNNING);
	assert_true(take_over("r", fail_it));
	assert_false(take_over("r", fail_it));
	assert_false(take_over("nobody", fail_it));
	assert_int_equal(newest_event(), 2);
}

/* OWN-2 */
/* A run whose session is alive is no orphan, nor is a claimable one, nor a final one. */
TEST(others_are_left_alone)
{
	struct keel_run run = run_of("queued", "t");
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
	put_owned("owned", "t");
	put_orphan("final", KEEL_RUN_SUCCESS);
	assert_false(take_over("queued", fail_it));
	assert_false(take_over("owned", fail_it));
	assert_false(take_over("final", fail_it));
	assert_string_equal(ids_inflight(NULL), "queued owned");
}

/* OWN-2 */
/* A run of another handle's session is no orphan while that handle is open, and one as soon as it is closed. */
TEST(closed_handles_leave_orphans)
{
	struct keel_store *first = world.store, *second = open_another();
	world.store = second;
	put_owned("r", "t");
	world.store = first;
	assert_false(take_over("r", fail_it));
	keel_store_close(second);
	assert_true(take_over("r", fail_it));
}

/* A run without a session that is not claimable is nobody's: an orphan. */
TEST(ownerless_runs_are_orphans)
{
	put_pending("r", "t");
	assert_true(take_over("r", fail_it));
}

/* OWN-12 */
/* An orphan that is given back is pending, claimable and unowned, as if never started, with one loss more. */
TEST(orphans_are_given_back)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, SESSION_ID, session_id, 999);
	SET(&run, ATTEMPT, attempt, 1);
	SET(&run, LOSSES, losses, 2);
	put(&run);
	change_status("r", KEEL_RUN_RUNNING);
	assert_true(take_over("r", requeue_it));
	const struct keel_run *seen = row("r");
	assert_true(seen->status == KEEL_RUN_PENDING && seen->claimable == 1 && seen->losses == 3 && seen->attempt == 1);
	assert_false(KEEL_RUN_HAS(seen, SESSION_ID) || KEEL_RUN_HAS(seen, STARTED_AT));
	assert_int_equal(seen->fence, 2);
	assert_true(same_text(last_event().data, text("{\"losses\":3,\"stop_reason\":\"orphan_recovered\"}")));
	assert_string_equal(kinds_of("r"), "run_created run_started run_requeued");
	assert_false(take_over("r", requeue_it));
}

/* A run that is given back is wanted, or nobody could claim it any more; so is one that is to go on. */
TEST(what_goes_on_has_no_cancel)
{
	struct keel_takeover takeover = {.status = KEEL_RUN_PENDING, .cancel_action = text("interrupt")};
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING, .cancel_action = text("interrupt")};
	bool done;
	put_orphan("r", KEEL_RUN_PENDING);
	refuse_field("cancel_action", keel_run_claim_for_takeover(world.store, text("r"), &takeover, &done, &why));
	assert_false(done);
	refuse_field("cancel_action", keel_run_update_status(world.store, text("r"), &change, &done, NULL, &why));
	assert_false(done);
	assert_false(KEEL_RUN_HAS(row("r"), CANCEL_ACTION));
	assert_string_equal(kinds_of("r"), "run_created");
}

/* The event tells who decided, whatever became of the run. */
TEST(takeovers_tell_who_decided)
{
	struct keel_takeover by_name = {
		.status = KEEL_RUN_PENDING, .reconciler = text("a \"name\""), .reconciler_version = text("12ab")};
	put_orphan("r", KEEL_RUN_RUNNING);
	assert_true(take_over("r", by_name));
	assert_true(same_text(last_event().data,
						  text("{\"losses\":1,\"stop_reason\":\"orphan_recovered\",\"reconciler\":\"a \\\"name\\\"\","
							   "\"reconciler_version\":\"12ab\"}")));
	by_name = (struct keel_takeover){.status = KEEL_RUN_ERROR, .reconciler = text("b")};
	put_orphan("s", KEEL_RUN_RUNNING);
	assert_true(take_over("s", by_name));
	assert_true(same_text(last_event().data, text("{\"status\":\"error\",\"stop_reason\":\"orphan_recovered\","
												  "\"reconciler\":\"b\"}")));
}

/* An orphan cannot be left running, and bad values are refused before anything is read. */
TEST(takeovers_are_checked)
{
	bool taken;
	struct keel_takeover takeover = {.status = KEEL_RUN_RUNNING};
	put_orphan("r", KEEL_RUN_RUNNING);
	refuse_field("status", keel_run_claim_for_takeover(world.store, text("r"), &takeover, &taken, &why));
	takeover.status = KEEL_RUN_STATUS_COUNT;
	refuse_field("status", keel_run_claim_for_takeover(world.store, text("r"), &takeover, &taken, &why));
	takeover = (struct keel_takeover){.status = KEEL_RUN_ERROR, .reconciler = text("\xff")};
	refuse_field("reconciler", keel_run_claim_for_takeover(world.store, text("r"), &takeover, &taken, &why));
	takeover = (struct keel_takeover){.status = KEEL_RUN_ERROR, .cancel_action = text("stop")};
	refuse_field("cancel_action", keel_run_claim_for_takeover(world.store, text("r"), &takeover, &taken, &why));
	refuse_field("run_id", keel_run_claim_for_takeover(world.store, nothing, &fail_it, &taken, &why));
	assert_int_equal(status_of("r"), KEEL_RUN_RUNNING);
}

/* --- Requests to cancel ------------------------------------------------------------------------------------------ */

/* OWN-9 */
/* The first request wins for ever; every asker learns which it was, and there is one event. */
TEST(first_request_wins)
{
	put_owned("r", "t");
	assert_string_equal(request("r", "rollback"), "rollback");
	assert_string_equal(request("r", "interrupt"), "rollback");
	assert_string_equal(request("r", "rollback"), "rollback");
	assert_true(same_text(row("r")->cancel_action, text("rollback")));
	assert_int_equal(status_of("r"), KEEL_RUN_RUNNING);
	assert_string_equal(kinds_of("r"), "run_created run_cancel_requested");
	assert_true(same_text(last_event().data, text("{\"action\":\"rollback\"}")));
}

/* RUN-7 */
/* A final run cannot be cancelled, and one that is not there is not found. */
TEST(requests_need_a_run_in_flight)
{
	const char *winner;
	put_with_status("r", "t", KEEL_RUN_SUCCESS);
	refuse(INVALID_TRANSITION, keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	assert_string_equal(why.from, "success");
	assert_null(winner);
	refuse(NOT_FOUND, keel_run_request_cancel(world.store, text("x"), text("interrupt"), &winner, &why));
	refuse_field("action", keel_run_request_cancel(world.store, text("r"), text("stop"), &winner, &why));
	refuse_field("action", keel_run_request_cancel(world.store, text("r"), nothing, &winner, &why));
	assert_int_equal(newest_event(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(orphans_end),
		WITH_STORE(orphans_end_as_told),
		WITH_STORE(takeover_keeps_the_first_cancel),
		WITH_STORE(late_owners_are_fenced),
		WITH_STORE(orphans_are_taken_once),
		WITH_STORE(others_are_left_alone),
		WITH_STORE(closed_handles_leave_orphans),
		WITH_STORE(ownerless_runs_are_orphans),
		WITH_STORE(orphans_are_given_back),
		WITH_STORE(what_goes_on_has_no_cancel),
		WITH_STORE(takeovers_tell_who_decided),
		WITH_STORE(takeovers_are_checked),
		WITH_STORE(first_request_wins),
		WITH_STORE(requests_need_a_run_in_flight),
	};
	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
