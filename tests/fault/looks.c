/* looks.c - faults while events are appended and read, and while anything is looked at. */
#include "support_fault.h"

#include <unistd.h>

/* --- Fixtures ---------------------------------------------------------------------------------------------------- */

static void some_runs(void)
{
	struct keel_run run = run_of("waiting", "t");
	SET(&run, CONCURRENCY, concurrency, 1);
	SET(&run, WAITS_FOR, waits_for, text("pending"));
	SET(&run, IDEMPOTENCY_KEY, idempotency_key, text("key"));
	SET(&run, USER_ID, user_id, text("somebody"));
	put_owned("owned", "t");
	put_pending("pending", "t");
	put(&run);
	put_with_status("done", "u", KEEL_RUN_SUCCESS);
	append("note", "done");
}

static void damaged(void)
{
	some_runs();
	raw("UPDATE outcomes SET fence = 0 WHERE seq = (SELECT seq FROM runs WHERE run_id = 'done');"
		"DELETE FROM events WHERE id = 2");
}

/* Another handle lives; the file that holds its lock is gone, so that its row has to tell. */
static struct keel_store *other;

static void live_owner(void)
{
	int64_t session;
	other = open_another();
	succeed(keel_store_session(other, &session, &why));
	struct keel_run run = run_of("live", "t");
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	SET(&run, SESSION_ID, session_id, session);
	put(&run);
	close_store();
	unlink(in_folder("store-sessions"));
	reopen_store();
}

static void end_live_owner(void)
{
	keel_store_close(other);
	other = NULL;
}

/* --- Operations -------------------------------------------------------------------------------------------------- */

static enum keel_code append_event(void)
{
	struct keel_event event = {.kind = text("note"),
							   .runtime_id = text("r"),
							   .thread_id = text("t"),
							   .run_id = text("owned"),
							   .message = text("hello"),
							   .data = text("{}")};
	int64_t id = 0;
	enum keel_code code = keel_event_append(world.store, &event, &id, &why);
	if (code == KEEL_OK)
		answer("%lld", (long long)id);
	return code;
}

static enum keel_code read_events_by(struct keel_event_query query)
{
	query.next_event_id = 1;
	query.limit = 10;
	enum keel_code code = keel_event_read(world.store, &query, &answered_events, &why);
	for (size_t i = 0; code == KEEL_OK && i < answered_events.count; i++)
		answer("%lld %s %s\n", (long long)answered_events.items[i].id, answered_events.items[i].kind.data,
			   answered_events.items[i].run_id.data);
	if (code == KEEL_OK)
		answer("%lld %d", (long long)answered_events.next_event_id, answered_events.has_more);
	return code;
}

static enum keel_code read_events(void)
{
	return read_events_by((struct keel_event_query){0});
}

static enum keel_code read_some_events(void)
{
	const struct keel_text kinds[] = {text("run_created"), text("other")};
	return read_events_by(
		(struct keel_event_query){.run_id = text("owned"), .thread_id = text("t"), .kinds = kinds, .kinds_count = 2});
}

static enum keel_code runs_are(enum keel_code code)
{
	if (code == KEEL_OK)
		answer("%s", ids_of(&answered_runs));
	return code;
}

static enum keel_code get(void)
{
	return runs_are(keel_run_get(world.store, text("waiting"), text("somebody"), &answered_runs, &why));
}

static enum keel_code list_thread(void)
{
	return runs_are(keel_run_list_by_thread(world.store, text("t"), nothing, 10, &answered_runs, &why));
}

static enum keel_code read_document(void)
{
	int64_t size;
	return runs_are(
		keel_run_get_document(world.store, text("waiting"), KEEL_RUN_FIELD_KWARGS, 100, &answered_runs, &size, &why));
}

static enum keel_code list_inflight(void)
{
	struct keel_inflight_query query = {.limit = 10, .after = text("owned")};
	return runs_are(keel_run_list_inflight(world.store, &query, &answered_runs, &why));
}

static enum keel_code list_overdue(void)
{
	struct keel_inflight_query query = {.limit = 10, .overdue = true};
	return runs_are(keel_run_list_inflight(world.store, &query, &answered_runs, &why));
}

static enum keel_code next_owner(void)
{
	int64_t session;
	enum keel_code code = keel_run_next_owner(world.store, 0, &session, &why);
	if (code == KEEL_OK)
		answer("%lld", (long long)session);
	return code;
}

static enum keel_code find_by_key(void)
{
	return runs_are(keel_run_find_by_key(world.store, text("key"), text("somebody"), &answered_runs, &why));
}

static enum keel_code list_newest(void)
{
	struct keel_run_query query = {.by_status = true, .limit = 10};
	return runs_are(keel_run_list(world.store, &query, &answered_runs, &why));
}

static void runs_of_machines(void)
{
	for (int i = 0; i < 2; i++) {
		struct keel_run run = run_of(i ? "second" : "first", KEEL_MACHINE_PREFIX "m");
		SET(&run, OPERATION_KIND, operation_kind, text("dispatch"));
		SET(&run, BATCH_ID, batch_id, text("b"));
		put(&run);
	}
}

static enum keel_code list_dispatched(void)
{
	struct keel_dispatch_query query = {.batch_id = text("b"), .after = text("first"), .limit = 10};
	return runs_are(keel_run_list_dispatched(world.store, &query, &answered_runs, &why));
}

static enum keel_code count(void)
{
	int64_t inflight = 0;
	enum keel_code code = keel_run_count_inflight(world.store, text("t"), &inflight, &why);
	answer("%lld", (long long)inflight);
	return code;
}

static enum keel_code count_as_asked(void)
{
	const struct keel_count_query queries[] = {{.count = KEEL_COUNT_PENDING},
											   {.count = KEEL_COUNT_RUNNING, .user_id = text("u")},
											   {.count = KEEL_COUNT_STARTED, .rate = text("api"), .per_us = 1}};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof queries / sizeof queries[0]; i++) {
		int64_t number = 0;
		code = keel_run_count(world.store, &queries[i], &number, &why);
		answer("%lld ", (long long)number);
	}
	return code;
}

static enum keel_code look_at_gate(void)
{
	struct keel_gate_state gate;
	bool found = false;
	enum keel_code code = keel_run_gate(world.store, text("waiting"), &found, &gate, &why);
	if (code == KEEL_OK)
		answer("%d %s %s %lld", found, keel_gate_name(gate.gate), gate.run_id, (long long)gate.position);
	return code;
}

static enum keel_code list_sessions(void)
{
	struct keel_sessions sessions = {0};
	enum keel_code code = keel_store_sessions(world.store, &sessions, &why);
	for (size_t i = 0; i < sessions.count; i++)
		answer("%lld %d %s\n", (long long)sessions.items[i].session_id, sessions.items[i].alive,
			   sessions.items[i].owner.data);
	keel_sessions_clear(&sessions);
	return code;
}

static enum keel_code verify(void)
{
	struct keel_problems problems = {0};
	enum keel_code code = keel_store_verify(world.store, &problems, &why);
	for (size_t i = 0; i < problems.count; i++)
		answer("%s\n", problems.items[i].text.data);
	keel_problems_clear(&problems);
	return code;
}

static enum keel_code judge_live_owner(void)
{
	struct keel_sessions sessions = {0};
	bool alive = false;
	enum keel_code code = keel_store_sessions(world.store, &sessions, &why);
	if (code == KEEL_OK)
		code = keel_store_session_alive(world.store, sessions.items[sessions.count - 1].session_id, &alive, &why);
	keel_sessions_clear(&sessions);
	answer("%d", alive);
	return code;
}

/* A run whose owner lives is left to it. */
static enum keel_code leave_to_owner(void)
{
	struct keel_takeover asked = {.status = KEEL_RUN_ERROR};
	bool taken = false;
	enum keel_code code = keel_run_claim_for_takeover(world.store, text("live"), &asked, &taken, &why);
	answer("%d", taken);
	return code;
}

/* --- Leases and sums --------------------------------------------------------------------------------------------- */

static enum keel_code acquire(void)
{
	struct keel_lease lease = {0};
	enum keel_code code = keel_lease_acquire(world.store, text("name"), nothing, 1000000, &lease, &why);
	if (code == KEEL_OK)
		answer("token %lld", (long long)lease.token);
	return code;
}

static void leased_before(void)
{
	succeed(acquire()); /* its session ends with the fixture */
}

static enum keel_code renew_lease(void)
{
	int64_t until = 0;
	enum keel_code code = keel_lease_renew(world.store, text("name"), 1, 5000000, &until, &why);
	answer("%lld", (long long)until);
	return code;
}

static enum keel_code release(void)
{
	return keel_lease_release(world.store, text("name"), 1, &why);
}

static enum keel_code look_at_lease(void)
{
	struct keel_lease lease;
	enum keel_code code = keel_lease_get(world.store, text("name"), &lease, &why);
	if (code == KEEL_OK)
		answer("%lld %d %s", (long long)lease.token, lease.held, lease.owner);
	return code;
}

static void used_tokens(void)
{
	for (int i = 0; i < 3; i++) {
		char run_id[16];
		snprintf(run_id, sizeof run_id, "r%d", i);
		struct keel_run run = run_of(run_id, "t");
		SET(&run, STATUS, status, KEEL_RUN_SUCCESS);
		SET(&run, TOTAL_TOKENS, total_tokens, 5);
		SET(&run, MODEL_NAME, model_name, text("m"));
		if (i)
			SET(&run, TOKEN_USAGE_BY_MODEL, token_usage_by_model, text("{\"a\":2,\"b\":{\"total_tokens\":3}}"));
		put(&run);
	}
}

static enum keel_code sum_tokens(void)
{
	struct keel_token_totals totals = {0};
	enum keel_code code = keel_tokens_of_thread(world.store, text("t"), false, &totals, &why);
	for (size_t i = 0; i < totals.models_count; i++)
		answer("%s %lld\n", totals.models[i].name.data, (long long)totals.models[i].tokens);
	answer("%lld", (long long)totals.total_tokens);
	keel_token_totals_clear(&totals);
	return code;
}

/* --- Schedules --------------------------------------------------------------------------------------------------- */

static struct keel_schedule schedule_of(const char *name)
{
	return (struct keel_schedule){.name = text(name),
								  .definition = text("{\"every\":60}"),
								  .next_at = 2000000,
								  .last_at = 1000000,
								  .period_us = 1000000,
								  .problem = text("it is not known")};
}

static enum keel_code make_schedule(void)
{
	struct keel_schedule schedule = schedule_of("new");
	bool written = false;
	enum keel_code code = keel_schedule_put(world.store, &schedule, &written, &why);
	answer("%d", written);
	return code;
}

static void some_schedules(void)
{
	struct keel_schedule schedule = schedule_of("one");
	bool written;
	succeed(keel_schedule_put(world.store, &schedule, &written, &why));
	schedule.name = text("other");
	succeed(keel_schedule_put(world.store, &schedule, &written, &why));
}

static enum keel_code change_schedule(void)
{
	struct keel_schedule schedule = schedule_of("one");
	bool written = false;
	schedule.definition = text("{}");
	schedule.revision = 1;
	enum keel_code code = keel_schedule_put(world.store, &schedule, &written, &why);
	answer("%d", written);
	return code;
}

static enum keel_code delete_schedule(void)
{
	bool found = false;
	enum keel_code code = keel_schedule_delete(world.store, text("one"), &found, &why);
	answer("%d", found);
	return code;
}

static enum keel_code list_schedules(void)
{
	struct keel_schedules list = {0};
	struct keel_schedule_query query = {.due = true, .until = 3000000, .limit = 10};
	enum keel_code code = keel_schedule_list(world.store, &query, &list, &why);
	for (size_t i = 0; i < list.count; i++)
		answer("%s %s\n", list.items[i].name.data, list.items[i].definition.data);
	keel_schedules_clear(&list);
	return code;
}

static enum keel_code look_at_due(void)
{
	int64_t at = 0;
	bool found = false;
	enum keel_code code = keel_next_due(world.store, 0, &at, &found, &why);
	answer("%d %lld", found, (long long)at);
	return code;
}

static const struct operation operations[] = {
	{"appending an event", 0, some_runs, NULL, append_event, NULL},
	{"reading events", READS | LITTLE_SQL, some_runs, NULL, read_events, NULL},
	{"reading some events", READS | LITTLE_SQL, some_runs, NULL, read_some_events, NULL},
	{"reading a run", READS | LITTLE_SQL, some_runs, NULL, get, NULL},
	{"listing a thread", READS | LITTLE_SQL, some_runs, NULL, list_thread, NULL},
	{"reading a document", READS | LITTLE_SQL, some_runs, NULL, read_document, NULL},
	{"listing what is in flight", READS | LITTLE_SQL, some_runs, NULL, list_inflight, NULL},
	{"listing what is overdue", READS | LITTLE_SQL, some_runs, NULL, list_overdue, NULL},
	{"looking for an owner", READS | LITTLE_SQL, some_runs, NULL, next_owner, NULL},
	{"listing the newest", READS | LITTLE_SQL, some_runs, NULL, list_newest, NULL},
	{"listing a batch of machines", READS | LITTLE_SQL, runs_of_machines, NULL, list_dispatched, NULL},
	{"finding by key", READS | LITTLE_SQL, some_runs, NULL, find_by_key, NULL},
	{"counting", READS | LITTLE_SQL, some_runs, NULL, count, NULL},
	{"counting as strategies ask", READS | LITTLE_SQL, some_runs, NULL, count_as_asked, NULL},
	{"looking at the gate", READS, some_runs, NULL, look_at_gate, NULL},
	{"listing sessions", READS | LITTLE_SQL, some_runs, NULL, list_sessions, NULL},
	{"verify", READS | MANY, some_runs, NULL, verify, NULL},
	{"verify of damage", READS | UNSOUND, damaged, NULL, verify, NULL},
	{"judging without the lock", READS | UNLOCKED | LITTLE_SQL, some_runs, live_owner, judge_live_owner,
	 end_live_owner},
	{"leaving a run to its owner", UNLOCKED | LITTLE_SQL, some_runs, live_owner, leave_to_owner, end_live_owner},
	{"acquiring a lease", 0, NULL, NULL, acquire, NULL},
	{"acquiring a dead one's lease", 0, leased_before, NULL, acquire, NULL},
	{"renewing a lease", OWNS | LITTLE_SQL, NULL, leased_before, renew_lease, NULL},
	{"releasing a lease", OWNS | LITTLE_SQL, NULL, leased_before, release, NULL},
	{"looking at a lease", READS | LITTLE_SQL, leased_before, NULL, look_at_lease, NULL},
	{"making a schedule", 0, NULL, NULL, make_schedule, NULL},
	{"changing a schedule", OWNS | LITTLE_SQL, NULL, some_schedules, change_schedule, NULL},
	{"deleting a schedule", OWNS | LITTLE_SQL, NULL, some_schedules, delete_schedule, NULL},
	{"listing what schedules are due", READS | LITTLE_SQL, some_schedules, NULL, list_schedules, NULL},
	{"looking when something is due", READS | LITTLE_SQL, some_schedules, NULL, look_at_due, NULL},
	{"summing up tokens", READS | LITTLE_SQL, used_tokens, NULL, sum_tokens, NULL},
};

int main(void)
{
	return SWEEP("faults in looks", operations);
}
