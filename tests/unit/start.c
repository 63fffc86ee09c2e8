/* start.c - the gate that starts runs: what is in the way, and what a start comes to. */
#include "support.h"

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

/* A pending run of this session. */
static struct keel_run waiting(const char *run_id, int64_t concurrency)
{
	struct keel_run run = run_of(run_id, "t");
	int64_t session;
	succeed(keel_store_session(world.store, &session, &why));
	SET(&run, SESSION_ID, session_id, session);
	if (concurrency)
		SET(&run, CONCURRENCY, concurrency, concurrency);
	return run;
}

static void put_waiting(const char *run_id, int64_t concurrency)
{
	struct keel_run run = waiting(run_id, concurrency);
	put(&run);
}

static struct keel_run written;

/* "open", or "queue r1": what a start comes to. */
static const char *start_of(const char *run_id)
{
	static char seen[KEEL_ID_MAX + 32];
	struct keel_start asked = {0};
	struct keel_gate_state at_gate;
	bool found;
	succeed(keel_run_start(world.store, text(run_id), &asked, &found, &at_gate, &written, &why));
	must(found);
	snprintf(seen, sizeof seen, "%s%s%s", keel_gate_name(at_gate.gate), at_gate.run_id[0] ? " " : "", at_gate.run_id);
	return seen;
}

/* The same without a start, and the position: "queue r1 2". */
static const char *gate_of(const char *run_id)
{
	static char seen[KEEL_ID_MAX + 64];
	struct keel_gate_state at_gate;
	bool found;
	succeed(keel_run_gate(world.store, text(run_id), &found, &at_gate, &why));
	must(found);
	snprintf(seen, sizeof seen, "%s%s%s %lld", keel_gate_name(at_gate.gate), at_gate.run_id[0] ? " " : "",
			 at_gate.run_id, (long long)at_gate.position);
	return seen;
}

static void interrupt(const char *run_id)
{
	struct keel_status_change change = {.status = KEEL_RUN_INTERRUPTED, .finalizing = true};
	bool found;
	succeed(keel_run_update_status(world.store, text(run_id), &change, &found, NULL, &why));
}

static bool settle(const char *run_id)
{
	struct keel_settle asked = {0};
	bool settled;
	succeed(keel_run_settle(world.store, text(run_id), &asked, &settled, &why));
	return settled;
}

/* --- The gate ---------------------------------------------------------------------------------------------------- */

/* Every gate has a name, and no other number has. */
TEST(gates_have_names)
{
	assert_string_equal(keel_gate_name(KEEL_GATE_OPEN), "open");
	assert_string_equal(keel_gate_name(KEEL_GATE_CONCURRENCY), "concurrency");
	for (int gate = 0; gate < KEEL_GATE_COUNT; gate++)
		assert_non_null(keel_gate_name((enum keel_gate)gate));
	assert_null(keel_gate_name(KEEL_GATE_COUNT));
	assert_null(keel_gate_name((enum keel_gate) - 1));
}

/* A start through an open gate stamps status, start and revision, and leaves an event. */
TEST(starts_are_written)
{
	put_waiting("r", 0);
	world.time += 10;
	assert_string_equal(start_of("r"), "open");
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_RUNNING && run->started_at == world.time && run->revision == 2);
	assert_true(written.status == KEEL_RUN_RUNNING && written.started_at == world.time);
	assert_string_equal(kinds_of("r"), "run_created run_started");
}

/* A closed gate changes nothing: no status, no revision, no event. */
TEST(waits_are_not_written)
{
	put_waiting("a", 1);
	put_waiting("b", 1);
	int64_t events = newest_event();
	assert_string_equal(start_of("b"), "queue a");
	assert_true(keel_run_set_is_empty(written.given));
	assert_int_equal(row("b")->revision, 1);
	assert_int_equal(newest_event(), events);
}

/* RUN-29 */
/* The queue goes by priority, then by insertion; what runs is not in it. */
TEST(queue_order)
{
	struct keel_run urgent = waiting("urgent", 1);
	put_waiting("a", 1);
	put_waiting("b", 1);
	SET(&urgent, PRIORITY, priority, 3);
	put(&urgent);
	assert_string_equal(gate_of("a"), "queue urgent 2");
	assert_string_equal(gate_of("b"), "queue urgent 3");
	assert_string_equal(gate_of("urgent"), "open 1");
	assert_string_equal(start_of("urgent"), "open");
	assert_string_equal(gate_of("a"), "concurrency urgent 1");
	assert_string_equal(gate_of("b"), "queue a 2");
}

/* POLICY-6 */
/* The place of a run that ends, or is deleted, is free from that commit on; that of one that is finalizing is not. */
TEST(places)
{
	bool deleted;
	for (char id[] = "a"; id[0] <= 'd'; id[0]++)
		put_waiting(id, 2);
	assert_string_equal(start_of("a"), "open");
	assert_string_equal(start_of("b"), "open");
	assert_string_equal(start_of("c"), "concurrency a");
	interrupt("a");
	assert_string_equal(start_of("c"), "concurrency a");
	assert_true(settle("a"));
	assert_false(settle("a"));
	assert_string_equal(start_of("c"), "open");
	assert_string_equal(start_of("d"), "concurrency b");
	succeed(keel_run_delete(world.store, text("b"), &deleted, &why));
	assert_string_equal(start_of("d"), "open");
}

/* The end of the run before and the start of the next may be one transaction. */
TEST(a_place_within_a_transaction)
{
	put_waiting("a", 1);
	put_waiting("b", 1);
	assert_string_equal(start_of("a"), "open");
	succeed(keel_store_begin(world.store, &why));
	change_status("a", KEEL_RUN_SUCCESS);
	assert_string_equal(start_of("b"), "open");
	keel_store_rollback(world.store);
	assert_string_equal(gate_of("b"), "concurrency a 1");
}

/* Nobody is queued behind runs of other threads, and a run without a concurrency behind nobody. */
TEST(who_does_not_wait)
{
	struct keel_run elsewhere = waiting("elsewhere", 1);
	put_waiting("a", 1);
	put_waiting("free", 0);
	elsewhere.thread_id = text("u");
	put(&elsewhere);
	assert_string_equal(start_of("elsewhere"), "open");
	assert_string_equal(start_of("free"), "open");
	assert_string_equal(start_of("a"), "concurrency free");
}

/* A run waits for its time, first of all. */
TEST(delays)
{
	struct keel_run run = waiting("r", 1);
	struct keel_gate_state at_gate;
	bool found;
	put_waiting("a", 1);
	SET(&run, SCHEDULED_AT, scheduled_at, world.time + 5);
	put(&run);
	succeed(keel_run_gate(world.store, text("r"), &found, &at_gate, &why));
	assert_true(at_gate.gate == KEEL_GATE_DELAY && at_gate.until == world.time + 5 && at_gate.position == 2);
	assert_string_equal(start_of("r"), "delay");
	world.time += 5;
	assert_string_equal(start_of("r"), "queue a");
}

/* A run waits until all it was told to wait for have settled; what is gone has. */
TEST(afters)
{
	struct keel_run run = waiting("r", 0);
	put_waiting("a", 0);
	put_waiting("b", 0);
	SET(&run, WAITS_FOR, waits_for, text("gone\na\nr\nb"));
	put(&run);
	assert_string_equal(start_of("r"), "after a");
	change_status("a", KEEL_RUN_ERROR);
	assert_string_equal(start_of("b"), "open");
	assert_string_equal(start_of("r"), "after b");
	interrupt("b");
	assert_string_equal(start_of("r"), "after b");
	assert_true(settle("b"));
	assert_string_equal(start_of("r"), "open");
}

/* --- Instead of a start ------------------------------------------------------------------------------------------ */

/* RUN-30 */
/* What was asked to stop is interrupted, closed gate or not, and what is too late has timed out. */
TEST(not_wanted_any_more)
{
	struct keel_run late = waiting("late", 1);
	const char *winner;
	put_waiting("a", 1);
	put_waiting("stopped", 1);
	SET(&late, DEADLINE, deadline, world.time);
	put(&late);
	succeed(keel_run_request_cancel(world.store, text("stopped"), text("rollback"), &winner, &why));
	assert_string_equal(start_of("stopped"), "open");
	assert_true(written.status == KEEL_RUN_INTERRUPTED);
	assert_string_equal(start_of("late"), "open");
	assert_true(row("late")->status == KEEL_RUN_TIMEOUT && same_text(row("late")->stop_reason, text("deadline")));
	assert_int_equal(status_of("stopped"), KEEL_RUN_INTERRUPTED);
	assert_string_equal(kinds_of("late"), "run_created run_finished");
}

/* RUN-30 */
/* Only a pending run can start; a final one is not resurrected. */
TEST(started_once)
{
	struct keel_start asked = {0};
	struct keel_gate_state at_gate;
	bool found;
	put_waiting("r", 0);
	for (enum keel_run_status status = KEEL_RUN_RUNNING; status < KEEL_RUN_STATUS_COUNT; status++) {
		put_with_status(keel_run_status_name(status), "t", status);
		refuse(INVALID_TRANSITION,
			   keel_run_start(world.store, text(keel_run_status_name(status)), &asked, &found, &at_gate, NULL, &why));
		assert_string_equal(why.from, keel_run_status_name(status));
		assert_string_equal(why.to, "running");
	}
	assert_string_equal(gate_of("success"), "open 0");
}

/* OWN-8 */
/* A start carries the owner's fence, and a run that is to be claimed has no owner. */
TEST(whose_start)
{
	struct keel_run claimable = run_of("claimable", "u");
	struct keel_start asked = {.fence = 2};
	struct keel_gate_state at_gate;
	bool found;
	put_waiting("r", 0);
	SET(&claimable, CLAIMABLE, claimable, 1);
	put(&claimable);
	refuse(STALE_OWNER, keel_run_start(world.store, text("r"), &asked, &found, &at_gate, NULL, &why));
	asked.fence = 0;
	refuse(STALE_OWNER, keel_run_start(world.store, text("claimable"), &asked, &found, &at_gate, NULL, &why));
	assert_int_equal(status_of("claimable"), KEEL_RUN_PENDING);
	asked.fence = 1;
	succeed(keel_run_start(world.store, text("r"), &asked, &found, &at_gate, NULL, &why));
	assert_int_equal(status_of("r"), KEEL_RUN_RUNNING);
}

/* OWN-7 */
/* A start may set a lease. */
TEST(leases)
{
	struct keel_start asked = {.lease_us = 1000};
	struct keel_gate_state at_gate;
	bool found;
	put_waiting("r", 0);
	succeed(keel_run_start(world.store, text("r"), &asked, &found, &at_gate, NULL, &why));
	assert_int_equal(row("r")->lease_expires_at, world.time + 1000);
}

/* A run that is not there is not found, and a bad id is no question. */
TEST(nobody)
{
	struct keel_start asked = {0};
	struct keel_gate_state at_gate;
	bool found = true;
	succeed(keel_run_start(world.store, text("nobody"), &asked, &found, &at_gate, NULL, &why));
	assert_false(found);
	succeed(keel_run_gate(world.store, text("nobody"), &found, &at_gate, &why));
	assert_false(found);
	refuse_field("run_id", keel_run_start(world.store, text(""), &asked, &found, &at_gate, NULL, &why));
	refuse_field("run_id", keel_run_gate(world.store, text("a\nb"), &found, &at_gate, &why));
}

/* An interrupted run that was not started through the gate has nothing to settle. */
TEST(only_gated_runs_settle)
{
	put_waiting("set", 0);
	change_status("set", KEEL_RUN_RUNNING);
	interrupt("set");
	assert_false(settle("set"));
	assert_string_equal(kinds_of("set"), "run_created run_started run_finished");
	put_waiting("gated", 0);
	assert_string_equal(start_of("gated"), "open");
	interrupt("gated");
	assert_true(settle("gated"));
	assert_string_equal(kinds_of("gated"), "run_created run_started run_finished run_settled");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(gates_have_names),
		WITH_STORE(starts_are_written),
		WITH_STORE(waits_are_not_written),
		WITH_STORE(queue_order),
		WITH_STORE(places),
		WITH_STORE(a_place_within_a_transaction),
		WITH_STORE(delays),
		WITH_STORE(who_does_not_wait),
		WITH_STORE(afters),
		WITH_STORE(started_once),
		WITH_STORE(not_wanted_any_more),
		WITH_STORE(whose_start),
		WITH_STORE(leases),
		WITH_STORE(nobody),
		WITH_STORE(only_gated_runs_settle),
	};
	return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
