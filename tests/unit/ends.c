/* ends.c - numbers that only grow, at the end of their range: a typed error, and nothing is written. */
#include "support.h"

#include <keel/lease.h>

/* Sets numbers past the kernel, to where nobody gets by counting. */
static void set(const char *sql)
{
	world.damaged = true;
	raw(sql);
}

static void used_up(const char *words)
{
	if (!strstr(why.message, words))
		fail_msg("%s: %s", words, why.message);
}

/* F-51 */
/* A run whose fences are used up gets no other owner: it is neither claimed, nor given back, nor taken over. */
TEST(fences)
{
	struct keel_requeue requeue = {0};
	struct keel_takeover takeover = {.status = KEEL_RUN_ERROR};
	struct keel_claim claim = {.limit = 10};
	struct keel_runs list = {0};
	bool found;
	put_owned("r", "t");
	set("UPDATE live SET fence = 9223372036854775807");
	int64_t before = newest_event();
	refuse(STORE_FULL, keel_run_requeue(world.store, text("r"), &requeue, &found, NULL, &why));
	used_up("the fences of run r are used up");
	set("UPDATE live SET session_id = 0, claimable = 0");
	refuse(STORE_FULL, keel_run_claim_for_takeover(world.store, text("r"), &takeover, &found, &why));
	set("UPDATE live SET claimable = 1, status = 0, session_id = NULL;"
		"INSERT INTO claims (line, priority, seq, thread_id, handler) SELECT 0, 0, seq, thread_id, 'default'"
		" FROM runs");
	refuse(STORE_FULL, keel_run_claim_next(world.store, &claim, &list, &why));
	assert_int_equal(newest_event(), before);
	assert_true(raw_number("SELECT fence FROM live") == INT64_MAX);
	keel_runs_clear(&list);
}

/* F-51 */
TEST(revisions)
{
	put_pending("r", "t");
	set("UPDATE live SET revision = 9223372036854775807");
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	bool found;
	refuse(STORE_FULL, keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	used_up("the revisions of run r are used up");
	assert_true(raw_number("SELECT revision FROM live") == INT64_MAX);
}

/* F-51 */
TEST(tokens_of_leases)
{
	struct keel_lease lease;
	succeed(keel_lease_acquire(world.store, text("n"), nothing, 5, &lease, &why));
	set("UPDATE leases SET token = 9223372036854775807, expires_at = NULL");
	refuse(STORE_CORRUPT, keel_lease_acquire(world.store, text("n"), nothing, 5, &lease, &why));
	assert_int_equal(lease.token, 0);
}

/* F-51 */
/* The log: no event is written, so no change is made either; readers are told. */
TEST(ids_of_events)
{
	struct keel_event event = {.kind = text("k")};
	struct keel_event_query query = {.limit = 10, .from_oldest = true};
	struct keel_events page = {0};
	int64_t id;
	append("first", NULL);
	set("UPDATE events SET id = 9223372036854775806");
	refuse(STORE_FULL, keel_event_append(world.store, &event, &id, &why));
	struct keel_run run = run_of("r", "t");
	refuse(STORE_FULL, keel_run_put(world.store, &run, nothing, NULL, &why));
	assert_int_equal(raw_number("SELECT count(*) FROM runs"), 0);
	set("UPDATE events SET id = 9223372036854775807; UPDATE store SET event_low_water = 9223372036854775807");
	refuse(STORE_FULL, keel_event_read(world.store, &query, &page, &why));
	used_up("the ids of events are used up");
	keel_events_clear(&page);
}

/* F-51 */
TEST(entries_of_transcripts)
{
	struct keel_worker_request request = request_of("w");
	struct keel_runtime about = {0};
	struct keel_workers list = {0};
	struct keel_input_ack ack;
	struct keel_input input = {.role = text("user"), .content = text("hello")};
	bool reused;
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &about, &why));
	succeed(keel_worker_create(world.store, text("rt"), &request, &list, &reused, &why));
	set("UPDATE workers SET transcript_len = 9223372036854775807; UPDATE runtimes SET diagnostic_last ="
		" 9223372036854775807");
	struct keel_worker_ref ref = {text("rt"), text("w")};
	refuse(STORE_FULL, keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why));
	used_up("the entries of worker w are used up");
	struct keel_diagnostic diagnostic = {.severity = text("info"), .code = text("c"), .message = text("m")};
	int64_t id;
	refuse(STORE_FULL, keel_diagnostic_record(world.store, text("rt"), &diagnostic, &id, &why));
	keel_workers_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(fences),
		WITH_STORE(revisions),
		WITH_STORE(tokens_of_leases),
		WITH_STORE(ids_of_events),
		WITH_STORE(entries_of_transcripts),
	};
	return cmocka_run_group_tests_name("ends", tests, NULL, NULL);
}
