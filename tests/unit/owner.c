/* owner.c - what an owner does with its run besides finishing it, and how it loses it: requeue, settle, leases. */
#include "support.h"

#include "store/store.h"

#define SECOND 1000000

/* --- Verbs ------------------------------------------------------------------------------------------------------- */

/* A pending run of this session, started through the gate. */
/* Time passes, after the handle has looked at what others are to renew and to end. */
static void pass(int64_t us)
{
	struct keel_inflight_query overdue = {.overdue = true, .limit = 1};
	struct keel_runs runs = {0};
	succeed(keel_run_list_inflight(world.store, &overdue, &runs, &why));
	keel_runs_clear(&runs);
	world.time += us;
}

static void start_run(const char *run_id, const char *thread_id, int64_t lease_us)
{
	struct keel_start start = {.lease_us = lease_us};
	struct keel_run run = run_of(run_id, thread_id), written;
	struct keel_gate_state state;
	int64_t session;
	bool found;
	succeed(keel_store_session(world.store, &session, &why));
	SET(&run, SESSION_ID, session_id, session);
	SET(&run, ATTEMPT, attempt, 1);
	put(&run);
	succeed(keel_run_start(world.store, text(run_id), &start, &found, &state, &written, &why));
	must(found && state.gate == KEEL_GATE_OPEN && written.status == KEEL_RUN_RUNNING);
}

/* What its own process does to it on a cancel. */
static void interrupt(const char *run_id)
{
	struct keel_status_change change = {
		.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("rollback"), .finalizing = true};
	bool found;
	succeed(keel_run_update_status(world.store, text(run_id), &change, &found, NULL, &why));
	must(found);
}

static struct keel_run requeue(const char *run_id, struct keel_requeue asked)
{
	struct keel_run written;
	bool found;
	succeed(keel_run_requeue(world.store, text(run_id), &asked, &found, &written, &why));
	must(found);
	return written;
}

static bool settle(const char *run_id, struct keel_settle asked)
{
	bool settled;
	succeed(keel_run_settle(world.store, text(run_id), &asked, &settled, &why));
	return settled;
}

static int64_t renew(int64_t lease_us)
{
	int64_t renewed;
	succeed(keel_run_renew(world.store, lease_us, &renewed, &why));
	return renewed;
}

static bool take_over(const char *run_id, struct keel_takeover takeover)
{
	bool taken;
	succeed(keel_run_claim_for_takeover(world.store, text(run_id), &takeover, &taken, &why));
	return taken;
}

static const struct keel_takeover fail_it = {.status = KEEL_RUN_ERROR};

static const char *claim(void)
{
	static struct keel_runs list;
	static char id[KEEL_ID_MAX + 1];
	struct keel_claim asked = {.limit = 100};
	succeed(keel_run_claim_next(world.store, &asked, &list, &why));
	snprintf(id, sizeof id, "%.*s", list.count ? (int)list.items[0].run_id.size : 0,
			 list.count ? list.items[0].run_id.data : "");
	keel_runs_clear(&list);
	return id;
}

static const char *last_data(void)
{
	static char data[256];
	struct keel_text text = last_event().data;
	snprintf(data, sizeof data, "%.*s", (int)text.size, text.data ? text.data : "");
	return data;
}

/* Every write with the old fence is refused, and changes nothing. */
static void check_shut_out(const char *run_id, int64_t fence)
{
	struct keel_status_change status = {.status = KEEL_RUN_SUCCESS, .fence = fence};
	struct keel_requeue again = {.fence = fence};
	struct keel_settle rest = {.fence = fence};
	struct keel_start start = {.fence = fence};
	struct keel_gate_state state;
	struct keel_run fields = {0};
	bool done;
	int64_t revision = row(run_id)->revision;
	SET(&fields, FENCE, fence, fence);
	SET(&fields, TOTAL_TOKENS, total_tokens, 9);
	refuse(STALE_OWNER, keel_run_update_status(world.store, text(run_id), &status, &done, NULL, &why));
	refuse(STALE_OWNER, keel_run_complete(world.store, text(run_id), &fields, &done, NULL, &why));
	refuse(STALE_OWNER, keel_run_progress(world.store, text(run_id), &fields, &done, NULL, &why));
	refuse(STALE_OWNER, keel_run_requeue(world.store, text(run_id), &again, &done, NULL, &why));
	refuse(STALE_OWNER, keel_run_settle(world.store, text(run_id), &rest, &done, &why));
	refuse(STALE_OWNER, keel_run_start(world.store, text(run_id), &start, &done, &state, NULL, &why));
	assert_int_equal(row(run_id)->revision, revision);
}

/* --- Requeue ----------------------------------------------------------------------------------------------------- */

/* A run that is given back is pending, claimable, nobody's, as if it had not started, with one attempt more. */
TEST(requeue_gives_back)
{
	start_run("r", "t", SECOND);
	struct keel_run written = requeue("r", (struct keel_requeue){.fence = 1, .error = text("down")});
	assert_true(written.status == KEEL_RUN_PENDING && written.attempt == 2 && written.fence == 2);
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_PENDING && run->claimable == 1 && run->attempt == 2 && run->fence == 2);
	assert_true(run->losses == 0);
	assert_false(keel_run_set_meet(run->valued, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_STARTED_AT,
																KEEL_RUN_FIELD_ERROR, KEEL_RUN_FIELD_LEASE_EXPIRES_AT,
																KEEL_RUN_FIELD_SCHEDULED_AT)));
	assert_string_equal(kinds_of("r"), "run_created run_started run_requeued");
	assert_string_equal(last_data(), "{\"attempt\":2,\"error\":\"down\"}");
}

/* F-15 */
/* What was no try spends no attempt, though it is the last one, and is counted by itself. */
TEST(requeue_keeps_the_attempt)
{
	start_run("r", "t", 0);
	struct keel_run limit = {0};
	SET(&limit, RUN_ID, run_id, text("r"));
	SET(&limit, MAX_ATTEMPTS, max_attempts, 1);
	put(&limit);
	struct keel_run written = requeue("r", (struct keel_requeue){.keep_attempt = true});
	assert_true(written.status == KEEL_RUN_PENDING && written.snoozes == 1);
	assert_true(row("r")->attempt == 1 && row("r")->snoozes == 1);
	assert_string_equal(last_data(), "{\"attempt\":1}");
	assert_string_equal(claim(), "r");
	written = requeue("r", (struct keel_requeue){0});
	assert_true(written.status == KEEL_RUN_ERROR);
}

/* OWN-8 */
/* Whoever gave a run back is shut out, before and after somebody claims it. */
TEST(requeue_shuts_out)
{
	start_run("r", "t", 0);
	requeue("r", (struct keel_requeue){.fence = 1});
	check_shut_out("r", 1);
	assert_string_equal(claim(), "r");
	assert_int_equal(row("r")->fence, 3);
	check_shut_out("r", 1);
	check_shut_out("r", 2);
}

/* Nothing of the try that is over is left on it: pending again, it can be interrupted without having to settle, and its
 * old delay does not hold. */
TEST(requeue_starts_anew)
{
	start_run("r", "t", 0);
	requeue("r", (struct keel_requeue){.delay_us = SECOND});
	requeue("r", (struct keel_requeue){0});
	assert_false(KEEL_RUN_HAS(row("r"), SCHEDULED_AT));
	interrupt("r");
	assert_true(row("r")->status == KEEL_RUN_INTERRUPTED && !row("r")->finalizing);
}

/* It can be claimed when its delay is over, not before. */
TEST(requeue_delays)
{
	start_run("r", "t", 0);
	requeue("r", (struct keel_requeue){.delay_us = 5 * SECOND});
	assert_string_equal(last_data(), "{\"attempt\":2,\"delay\":5.000000}");
	assert_int_equal(row("r")->scheduled_at, world.time + 5 * SECOND);
	pass(5 * SECOND - 1);
	assert_string_equal(claim(), "");
	pass(1);
	assert_string_equal(claim(), "r");
}

/* When its attempts are used up it ends with the error. */
TEST(requeue_exhausts)
{
	start_run("r", "t", 0);
	struct keel_run most = {0};
	SET(&most, RUN_ID, run_id, text("r"));
	SET(&most, MAX_ATTEMPTS, max_attempts, 1);
	put(&most);
	requeue("r", (struct keel_requeue){.error = text("down")});
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_ERROR && run->attempt == 1 && run->ended_at == world.time);
	assert_true(same_text(run->error, text("down")) && same_text(run->stop_reason, text("attempts_exhausted")));
	assert_string_equal(last_data(),
						"{\"status\":\"error\",\"error\":\"down\",\"stop_reason\":\"attempts_exhausted\"}");
}

/* One that never started has spent no attempt. */
TEST(requeue_of_pending_spends_nothing)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, ATTEMPT, attempt, 1);
	SET(&run, MAX_ATTEMPTS, max_attempts, 1);
	put(&run);
	requeue("r", (struct keel_requeue){0});
	assert_true(row("r")->status == KEEL_RUN_PENDING && row("r")->attempt == 1 && row("r")->claimable == 1);
}

/* One that was asked to stop is interrupted: nobody wants it any more. */
TEST(requeue_of_unwanted_interrupts)
{
	const char *winner;
	start_run("r", "t", 0);
	succeed(keel_run_request_cancel(world.store, text("r"), text("rollback"), &winner, &why));
	requeue("r", (struct keel_requeue){.fence = 1});
	assert_true(row("r")->status == KEEL_RUN_INTERRUPTED && row("r")->finalizing == 0 && row("r")->fence == 1);
	assert_string_equal(kinds_of("r"), "run_created run_started run_cancel_requested run_finished");
}

/* A run that has ended stays so; one that is not there is not found; bad values are refused. */
TEST(requeue_is_checked)
{
	struct keel_requeue asked = {.delay_us = -1};
	bool found = true;
	start_run("r", "t", 0);
	refuse_field("delay", keel_run_requeue(world.store, text("r"), &asked, &found, NULL, &why));
	asked = (struct keel_requeue){.error = text("\xff")};
	refuse_field("error", keel_run_requeue(world.store, text("r"), &asked, &found, NULL, &why));
	asked = (struct keel_requeue){0};
	succeed(keel_run_requeue(world.store, text("nobody"), &asked, &found, NULL, &why));
	assert_false(found);
	change_status("r", KEEL_RUN_SUCCESS);
	refuse(INVALID_TRANSITION, keel_run_requeue(world.store, text("r"), &asked, &found, NULL, &why));
	assert_string_equal(why.from, "success");
	assert_string_equal(why.to, "pending");
}

/* --- Finalizing -------------------------------------------------------------------------------------------------- */

/* RUN-21 */
/* A run started through the gate and interrupted by its process is finalizing until it settles, once. */
TEST(interrupted_runs_are_finalizing)
{
	start_run("r", "t", 0);
	assert_int_equal(row("r")->finalizing, 0);
	interrupt("r");
	assert_true(row("r")->status == KEEL_RUN_INTERRUPTED && row("r")->finalizing == 1);
	assert_true(settle("r", (struct keel_settle){.fence = 1}));
	assert_int_equal(row("r")->finalizing, 0);
	assert_false(settle("r", (struct keel_settle){.fence = 1}));
	assert_string_equal(kinds_of("r"), "run_created run_started run_finished run_settled");
}

/* RUN-21 */
/* Its final status written again settles it, and so does a completion, whatever that says. */
TEST(final_words_settle)
{
	struct keel_status_change again = {.status = KEEL_RUN_INTERRUPTED, .fence = 1};
	struct keel_status_change undone = {.status = KEEL_RUN_ERROR, .fence = 1, .error = text("rolled back")};
	struct keel_run success = {0};
	bool found;
	SET(&success, STATUS, status, KEEL_RUN_SUCCESS);
	start_run("a", "t", 0);
	start_run("b", "t", 0);
	start_run("c", "t", 0);
	interrupt("a");
	interrupt("b");
	interrupt("c");
	succeed(keel_run_update_status(world.store, text("a"), &again, &found, NULL, &why));
	succeed(keel_run_complete(world.store, text("b"), &success, &found, NULL, &why));
	succeed(keel_run_update_status(world.store, text("c"), &undone, &found, NULL, &why));
	assert_true(row("a")->finalizing == 0 && row("a")->status == KEEL_RUN_INTERRUPTED);
	assert_true(row("b")->finalizing == 0 && row("b")->status == KEEL_RUN_INTERRUPTED);
	assert_true(row("c")->finalizing == 0 && row("c")->status == KEEL_RUN_ERROR);
	assert_string_equal(kinds_of("a"), "run_created run_started run_finished run_settled");
	assert_string_equal(kinds_of("b"), "run_created run_started run_finished run_settled");
	assert_string_equal(kinds_of("c"), "run_created run_started run_finished run_finished");
}

/* RUN-21 */
/* Interrupting twice does not settle, nor does a completion without a status. */
TEST(others_do_not_settle)
{
	struct keel_run counters = {0};
	bool found;
	SET(&counters, TOTAL_TOKENS, total_tokens, 5);
	start_run("r", "t", 0);
	interrupt("r");
	interrupt("r");
	succeed(keel_run_complete(world.store, text("r"), &counters, &found, NULL, &why));
	assert_true(row("r")->finalizing == 1 && row("r")->total_tokens == 5);
}

/* RUN-21 */
/* What was not started through the gate, or ended by itself, or was taken over, is not finalizing. */
TEST(others_are_not_finalizing)
{
	start_run("a", "t", 0);
	start_run("d", "t", SECOND);
	put_pending("b", "t");
	put_owned("c", "t");
	change_status("a", KEEL_RUN_INTERRUPTED);
	interrupt("b");
	interrupt("c");
	pass(SECOND);
	assert_true(take_over("d", (struct keel_takeover){.status = KEEL_RUN_INTERRUPTED}));
	assert_false(row("a")->finalizing);
	assert_false(row("b")->finalizing);
	assert_false(row("c")->finalizing);
	assert_false(row("d")->finalizing);
}

/* A run that is not finalizing, or is not there, cannot be settled; a wrong fence is refused. */
TEST(settle_is_checked)
{
	struct keel_settle stale = {.fence = 7};
	bool settled;
	start_run("r", "t", 0);
	assert_false(settle("r", (struct keel_settle){.fence = 1}));
	assert_false(settle("nobody", (struct keel_settle){0}));
	interrupt("r");
	refuse(STALE_OWNER, keel_run_settle(world.store, text("r"), &stale, &settled, &why));
	assert_int_equal(row("r")->finalizing, 1);
}

/* What was looked at because it was to stop is forgotten when it has. */
TEST(what_has_stopped_is_not_watched)
{
	struct keel_status_change stop = {.status = KEEL_RUN_INTERRUPTED, .finalizing = true};
	const char *winner;
	bool found;
	start_run("r", "t", 0);
	succeed(keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	pass(SECOND);
	assert_int_equal(world.store->watched.count, 1);
	succeed(keel_run_update_status(world.store, text("r"), &stop, &found, NULL, &why));
	pass(SECOND);
	assert_int_equal(world.store->watched.count, 1);
	assert_true(settle("r", (struct keel_settle){.fence = 0}));
	pass(SECOND);
	assert_int_equal(world.store->watched.count, 0);
}

/* OWN-10 */
/* What its owner abandoned is settled by others when the time is over, not before; the owner is shut out. */
TEST(abandoned_runs_are_settled_in_time)
{
	struct keel_settle abandoned = {.abandoned = true, .settle_timeout_us = 5 * SECOND};
	start_run("r", "t", 0);
	interrupt("r");
	pass(5 * SECOND - 1);
	assert_false(settle("r", abandoned));
	pass(1);
	assert_true(settle("r", abandoned));
	assert_true(row("r")->finalizing == 0 && row("r")->fence == 2);
	assert_string_equal(kinds_of("r"), "run_created run_started run_finished run_settled");
	assert_string_equal(last_data(), "{\"abandoned\":true}");
	check_shut_out("r", 1);
}

/* OWN-10 */
/* What a dead owner left finalizing is settled at once. */
TEST(abandoned_runs_of_the_dead_are_settled)
{
	struct keel_settle abandoned = {.abandoned = true, .settle_timeout_us = 3600LL * SECOND};
	struct keel_store *first = world.store, *second = open_another();
	world.store = second;
	start_run("r", "t", 0);
	interrupt("r");
	world.store = first;
	assert_false(settle("r", abandoned));
	keel_store_close(second);
	assert_true(settle("r", abandoned));
	assert_int_equal(row("r")->fence, 2);
}

/* --- Leases ------------------------------------------------------------------------------------------------------ */

/* OWN-7 */
/* One statement renews all that a session has in flight under a lease, and nothing else; it is no change of state. */
TEST(renewals)
{
	char id[16];
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "r%02d", i);
		start_run(id, id, SECOND);
	}
	start_run("no lease", "t", 0);
	start_run("ended", "u", SECOND);
	change_status("ended", KEEL_RUN_SUCCESS);
	int64_t events = newest_event(), revision = row("r50")->revision, ended = row("ended")->lease_expires_at;
	pass(SECOND / 2);
	assert_int_equal(renew(SECOND), 100);
	assert_int_equal(row("r00")->lease_expires_at, world.time + SECOND);
	assert_int_equal(row("r99")->lease_expires_at, world.time + SECOND);
	assert_false(KEEL_RUN_HAS(row("no lease"), LEASE_EXPIRES_AT));
	assert_true(row("ended")->lease_expires_at == ended && row("r50")->revision == revision);
	assert_int_equal(newest_event(), events);
}

/* OWN-7 */
/* Another session's leases are not renewed, nor what was taken away. */
TEST(renewals_are_the_sessions_own)
{
	struct keel_store *first = world.store, *second = open_another();
	start_run("mine", "t", SECOND);
	world.store = second;
	start_run("theirs", "u", SECOND);
	world.store = first;
	requeue("mine", (struct keel_requeue){0});
	assert_int_equal(renew(SECOND), 0);
	world.store = second;
	assert_int_equal(renew(SECOND), 1);
	world.store = first;
	keel_store_close(second);
}

TEST(renewals_are_checked)
{
	int64_t renewed;
	refuse_field("lease_ttl", keel_run_renew(world.store, -1, &renewed, &why));
	assert_int_equal(renew(SECOND), 0);
	assert_int_equal(renew(0), 0);
}

/* OWN-7 */
/* A renewal that fails at once has written nothing: what else the caller has in his transaction can be committed. */
TEST(failed_renewals_leave_the_transaction)
{
	int64_t renewed;
	start_run("r", "t", SECOND);
	start_run("r2", "t", 2 * SECOND);
	raw("CREATE UNIQUE INDEX no_two ON live (lease_expires_at)");
	succeed(keel_store_begin(world.store, &why));
	put_pending("kept", "u");
	assert_true(keel_run_renew(world.store, SECOND, &renewed, &why) != KEEL_OK);
	succeed(keel_store_commit(world.store, &why));
	raw("DROP INDEX no_two");
	assert_true(is_there("kept"));
}

/* A run is lost when its lease is over, though its session is alive, and not before; then its owner is shut out. */
TEST(leases_are_lost)
{
	start_run("r", "t", SECOND);
	pass(SECOND - 1);
	assert_false(take_over("r", fail_it));
	pass(1);
	assert_true(take_over("r", fail_it));
	assert_true(row("r")->status == KEEL_RUN_ERROR && row("r")->fence == 2);
	assert_string_equal(kinds_of("r"), "run_created run_started run_finished");
	check_shut_out("r", 1);
}

/* OWN-12 */
/* Lost and given back, it may be claimed with a lease of its own; every fence is greater than all before. */
TEST(fences_grow)
{
	struct keel_takeover back = {.status = KEEL_RUN_PENDING};
	start_run("r", "t", SECOND);
	for (int64_t fence = 1; fence < 9; fence += 2) {
		pass(SECOND);
		assert_int_equal(row("r")->fence, fence);
		if (fence == 1)
			assert_true(take_over("r", back));
		else
			requeue("r", (struct keel_requeue){.fence = fence});
		assert_int_equal(row("r")->fence, fence + 1);
		check_shut_out("r", fence);
		assert_string_equal(claim(), "r");
		for (int64_t old = 1; old < fence + 2; old++)
			check_shut_out("r", old);
	}
	assert_true(row("r")->losses == 1 && row("r")->attempt == 4);
}

/* RUN-39 */
/* A run whose deadline has passed may be ended by anybody, claimable or owned, but not before. */
TEST(deadlines_pass)
{
	struct keel_takeover expire = {.status = KEEL_RUN_TIMEOUT, .stop_reason = text("deadline")};
	struct keel_run queued = run_of("queued", "t");
	SET(&queued, CLAIMABLE, claimable, 1);
	SET(&queued, DEADLINE, deadline, world.time + SECOND);
	put(&queued);
	start_run("owned", "u", 0);
	struct keel_run deadline = {0};
	SET(&deadline, RUN_ID, run_id, text("owned"));
	SET(&deadline, DEADLINE, deadline, world.time + SECOND);
	put(&deadline);
	pass(SECOND - 1);
	assert_false(take_over("queued", expire));
	assert_false(take_over("owned", expire));
	pass(1);
	assert_string_equal(claim(), "");
	assert_true(take_over("queued", expire));
	assert_true(take_over("owned", expire));
	assert_true(status_of("queued") == KEEL_RUN_TIMEOUT && status_of("owned") == KEEL_RUN_TIMEOUT);
	check_shut_out("owned", 1);
}

/* RUN-39 */
/* A pending run whose deadline has passed does not start: it ends. */
TEST(deadlines_pass_at_the_start)
{
	struct keel_start start = {0};
	struct keel_gate_state gate;
	struct keel_run run = run_of("r", "t"), written;
	bool found;
	SET(&run, DEADLINE, deadline, world.time + SECOND);
	put(&run);
	pass(SECOND);
	succeed(keel_run_start(world.store, text("r"), &start, &found, &gate, &written, &why));
	assert_true(found && gate.gate == KEEL_GATE_OPEN && written.status == KEEL_RUN_TIMEOUT);
	assert_string_equal(last_data(), "{\"status\":\"timeout\",\"stop_reason\":\"deadline\"}");
	assert_string_equal(kinds_of("r"), "run_created run_finished");
}

/* OWN-10 */
/* An owner that was asked to stop loses the run when settle_timeout is over, and only to those who have had it. */
TEST(settle_timeout_ends)
{
	struct keel_takeover unanswered = {.status = KEEL_RUN_INTERRUPTED,
									   .unanswered = true,
									   .settle_timeout_us = 5 * SECOND,
									   .cancel_action = text("rollback")};
	const char *winner;
	start_run("r", "t", 0);
	pass(100LL * SECOND);
	assert_false(take_over("r", unanswered));
	succeed(keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	pass(5 * SECOND - 1);
	assert_false(take_over("r", unanswered));
	pass(1);
	assert_false(take_over("r", fail_it));
	assert_true(take_over("r", unanswered));
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_INTERRUPTED && run->fence == 2 && !run->finalizing);
	assert_true(same_text(run->cancel_action, text("interrupt")));
	check_shut_out("r", 1);
}

/* OWN-12 */
/* One that was asked to stop is not given back when its owner is lost, but interrupted. */
TEST(unwanted_runs_are_not_given_back)
{
	const char *winner;
	start_run("r", "t", SECOND);
	succeed(keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	pass(SECOND);
	assert_true(take_over("r", (struct keel_takeover){.status = KEEL_RUN_PENDING}));
	assert_true(row("r")->status == KEEL_RUN_INTERRUPTED && row("r")->losses == 0 && row("r")->fence == 2);
}

/* OWN-9 */
/* When it was asked to stop is stamped by the first request and never moves. */
TEST(requests_are_stamped_once)
{
	const char *winner;
	start_run("r", "t", 0);
	pass(SECOND);
	int64_t first = world.time;
	succeed(keel_run_request_cancel(world.store, text("r"), text("interrupt"), &winner, &why));
	pass(SECOND);
	succeed(keel_run_request_cancel(world.store, text("r"), text("rollback"), &winner, &why));
	assert_string_equal(winner, "interrupt");
	assert_int_equal(row("r")->cancel_requested_at, first);
	assert_string_equal(kinds_of("r"), "run_created run_started run_cancel_requested");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(requeue_gives_back),
		WITH_STORE(requeue_keeps_the_attempt),
		WITH_STORE(requeue_shuts_out),
		WITH_STORE(requeue_starts_anew),
		WITH_STORE(requeue_delays),
		WITH_STORE(requeue_exhausts),
		WITH_STORE(requeue_of_pending_spends_nothing),
		WITH_STORE(requeue_of_unwanted_interrupts),
		WITH_STORE(requeue_is_checked),
		WITH_STORE(interrupted_runs_are_finalizing),
		WITH_STORE(final_words_settle),
		WITH_STORE(others_do_not_settle),
		WITH_STORE(others_are_not_finalizing),
		WITH_STORE(settle_is_checked),
		WITH_STORE(what_has_stopped_is_not_watched),
		WITH_STORE(abandoned_runs_are_settled_in_time),
		WITH_STORE(abandoned_runs_of_the_dead_are_settled),
		WITH_STORE(renewals),
		WITH_STORE(renewals_are_the_sessions_own),
		WITH_STORE(renewals_are_checked),
		WITH_STORE(failed_renewals_leave_the_transaction),
		WITH_STORE(leases_are_lost),
		WITH_STORE(fences_grow),
		WITH_STORE(deadlines_pass),
		WITH_STORE(deadlines_pass_at_the_start),
		WITH_STORE(settle_timeout_ends),
		WITH_STORE(unwanted_runs_are_not_given_back),
		WITH_STORE(requests_are_stamped_once),
	};
	return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
