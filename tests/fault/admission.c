/* admission.c - faults while runs are admitted: as the manager does it in one transaction, and each write alone. */
#include "support_fault.h"

static void busy_thread(void)
{
	put_with_status("old", "t", KEEL_RUN_RUNNING);
	put_pending("older", "u");
}

/* Decides by what is in flight: the old run is interrupted by the new one. */
static enum keel_code decide(const char *run_id)
{
	struct keel_inflight_query query = {.thread_id = text("t"), .limit = KEEL_LIST_MAX};
	enum keel_code code = keel_run_list_inflight(world.store, &query, &answered_runs, &why);
	if (code != KEEL_OK)
		return code;
	answer("saw %s\n", ids_of(&answered_runs));
	struct keel_run run = run_of(run_id, "t"), written;
	SET(&run, USER_ID, user_id, text("somebody"));
	SET(&run, METADATA, metadata, text("{\"a\":1}"));
	SET(&run, MULTITASK_STRATEGY, multitask_strategy, text("interrupt"));
	code = keel_run_put(world.store, &run, text("{\"strategy\":\"interrupt\"}"), &written, &why);
	if (code != KEEL_OK)
		return code;
	answer("revision %lld\n", (long long)written.revision);
	for (size_t i = 0; code == KEEL_OK && i < answered_runs.count; i++) {
		struct keel_status_change change = {
			.status = KEEL_RUN_INTERRUPTED, .stop_reason = text("superseded"), .cancel_action = text("interrupt")};
		bool found = false;
		code = keel_run_update_status(world.store, answered_runs.items[i].run_id, &change, &found, &written, &why);
		answer("found %d\n", code == KEEL_OK && found);
	}
	return code;
}

/* What is new since the log was read last: to the end of it. */
static enum keel_code read_news(void)
{
	struct keel_event_query query = {.next_event_id = 2, .limit = 2, .thread_id = text("t")};
	enum keel_code code;
	do {
		code = keel_event_read(world.store, &query, &answered_events, &why);
		for (size_t i = 0; code == KEEL_OK && i < answered_events.count; i++)
			answer("%s ", answered_events.items[i].kind.data);
		query.next_event_id = answered_events.next_event_id;
	} while (code == KEEL_OK && answered_events.has_more);
	if (code == KEEL_OK)
		answer("to %lld\n", (long long)query.next_event_id);
	return code;
}

static enum keel_code admit_as(const char *run_id, bool with_news)
{
	enum keel_code code = keel_store_begin(world.store, &why);
	if (code != KEEL_OK)
		return code;
	code = decide(run_id);
	if (code == KEEL_OK && with_news)
		code = read_news();
	if (code == KEEL_OK)
		return keel_store_commit(world.store, &why);
	keel_store_rollback(world.store);
	return code;
}

static enum keel_code admit(void)
{
	return admit_as("new", false);
}

static enum keel_code admit_and_read(void)
{
	return admit_as("new", true);
}

/* The handle has admitted before: its statements are there. */
static void admitted_before(void)
{
	succeed(admit_as("first", true));
}

static enum keel_code put_new(void)
{
	struct keel_run run = run_of("new", "t"), written;
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	enum keel_code code = keel_run_put(world.store, &run, nothing, &written, &why);
	if (code == KEEL_OK)
		answer("revision %lld", (long long)written.revision);
	return code;
}

static enum keel_code put_changes(void)
{
	struct keel_run run = run_of("old", "t"), written;
	SET(&run, STATUS, status, KEEL_RUN_SUCCESS);
	SET(&run, ENDED_AT, ended_at, world.time);
	SET(&run, MODEL_NAME, model_name, text("m"));
	enum keel_code code = keel_run_put(world.store, &run, nothing, &written, &why);
	if (code == KEEL_OK)
		answer("revision %lld", (long long)written.revision);
	return code;
}

static enum keel_code put_elsewhere(void)
{
	struct keel_run run = run_of("older", NULL);
	SET(&run, PRIORITY, priority, 7);
	return keel_run_put(world.store, &run, nothing, NULL, &why);
}

static enum keel_code delete_run(void)
{
	bool deleted = false;
	enum keel_code code = keel_run_delete(world.store, text("old"), &deleted, &why);
	answer("deleted %d", deleted);
	return code;
}

static const struct operation operations[] = {
	{"admission", TRANSACTS | MANY, busy_thread, NULL, admit, NULL},
	{"admission with news", TRANSACTS, busy_thread, NULL, admit_and_read, NULL},
	{"the second admission", TRANSACTS, busy_thread, admitted_before, admit_and_read, NULL},
	{"a new run", 0, busy_thread, NULL, put_new, NULL},
	{"changes of a run", 0, busy_thread, NULL, put_changes, NULL},
	{"a new place for a run", 0, busy_thread, NULL, put_elsewhere, NULL},
	{"deleting a run", 0, busy_thread, NULL, delete_run, NULL},
};

int main(void)
{
	return SWEEP("faults in admission", operations);
}
