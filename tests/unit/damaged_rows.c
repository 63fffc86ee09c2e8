/* damaged_rows.c - rows that no statement of the kernel writes, as flipped bytes make them: what is read of them is
 * damage, neither a lack of memory nor a mistake of the caller, and nothing goes on for ever because of them.
 */
#include "support.h"

#include <keel/lease.h>
#include <keel/limit.h>
#include <keel/worker.h>

#define SECOND INT64_C(1000000)

/* Sets a column of a table to null, where `which` holds, as no statement of the kernel could. */
static void make_null(const char *table, const char *column, const char *which)
{
	char sql[512];
	world.damaged = true;
	snprintf(sql, sizeof sql,
			 "PRAGMA writable_schema = ON;"
			 "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = '%s'",
			 table);
	raw(sql);
	snprintf(sql, sizeof sql, "UPDATE %s SET %s = NULL WHERE %s", table, column, which);
	raw(sql);
}

static void put_queued(const char *run_id)
{
	struct keel_run run = run_of(run_id, "t");
	SET(&run, CONCURRENCY, concurrency, 1);
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
}

TEST(run_in_the_way)
{
	struct keel_gate_state gate;
	bool found;
	put_queued("first");
	put_queued("second");
	make_null("runs", "run_id", "run_id = 'first'");
	refuse(STORE_CORRUPT, keel_run_gate(world.store, text("second"), &found, &gate, &why));
}

TEST(run_to_claim)
{
	struct keel_claim claim = {.limit = 10};
	struct keel_runs list = {0};
	put_queued("first");
	make_null("runs", "run_id", "run_id = 'first'");
	refuse(STORE_CORRUPT, keel_run_claim_next(world.store, &claim, &list, &why));
	keel_runs_clear(&list);
}

TEST(owner_of_a_session)
{
	struct keel_sessions list = {0};
	put_owned("r", "t");
	make_null("sessions", "owner", "true");
	refuse(STORE_CORRUPT, keel_store_sessions(world.store, &list, &why));
}

TEST(owner_of_a_lease)
{
	struct keel_lease lease;
	succeed(keel_lease_acquire(world.store, text("n"), nothing, SECOND, &lease, &why));
	make_null("leases", "owner", "true");
	refuse(STORE_CORRUPT, keel_lease_acquire(world.store, text("n"), nothing, SECOND, &lease, &why));
}

TEST(role_of_an_input)
{
	struct keel_runtime runtime;
	struct keel_workers workers = {0};
	struct keel_worker_ref ref = {text("rt"), text("w")};
	struct keel_worker_request request = request_of(ref.worker_id.data);
	struct keel_input input = {.role = text("user"), .content = text("hi"), .idempotency_key = text("k")};
	struct keel_input_ack ack;
	bool reused;
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	succeed(keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why));
	make_null("transcripts", "role", "true");
	refuse(STORE_CORRUPT, keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why));
	keel_workers_clear(&workers);
}

/* --- Ids and lists ------------------------------------------------------------------------------------------------ */

static void damage(const char *sql)
{
	world.damaged = true;
	raw(sql);
}

/* An id that is none would come back as that of a caller, who goes on behind it. */
TEST(ids_of_a_listing)
{
	static const char *const texts[] = {"''", "'a' || char(7)", "CAST(x'8877' AS TEXT)"};
	struct keel_runs runs = {0};
	struct keel_inflight_query query = {.limit = 10};
	put_pending("r", "t");
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		char sql[128];
		snprintf(sql, sizeof sql, "UPDATE runs SET run_id = %s", texts[i]);
		damage(sql);
		refuse(STORE_CORRUPT, keel_run_list_by_thread(world.store, text("t"), nothing, 10, &runs, &why));
		refuse(STORE_CORRUPT, keel_run_list_inflight(world.store, &query, &runs, &why));
	}
	keel_runs_clear(&runs);
}

TEST(ids_of_workers)
{
	struct keel_runtime runtime;
	struct keel_workers workers = {0};
	struct keel_worker_query query = {.limit = 10};
	struct keel_worker_request request = request_of("w");
	bool reused, found;
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	damage("UPDATE workers SET worker_id = ''");
	refuse(STORE_CORRUPT, keel_worker_list(world.store, text("rt"), &query, &workers, &why));
	damage("UPDATE runtimes SET runtime_id = 'r' || char(7)");
	refuse(STORE_CORRUPT, keel_runtime_next(world.store, nothing, &runtime, &found, &why));
	keel_workers_clear(&workers);
}

TEST(names_of_limits)
{
	struct keel_limit_change change = {.gives_max = true, .max = 1};
	struct keel_limits list = {0};
	bool changed;
	succeed(keel_limit_set(world.store, text("thread:t"),
						   &(struct keel_limit_change){.gives_paused = true, .paused = true}, &changed, &why));
	succeed(keel_limit_set(world.store, text("n"), &change, &changed, &why));
	succeed(keel_limit_list(world.store, nothing, 10, &list, &why));
	assert_int_equal(list.count, 2);
	damage("UPDATE limits SET name = 'n' || char(7) WHERE name = 'n'");
	refuse(STORE_CORRUPT, keel_limit_list(world.store, nothing, 10, &list, &why));
	keel_limits_clear(&list);
}

/* What a run wants is taken apart by whoever reads it, and by whoever starts it. */
TEST(lists_of_a_run)
{
	static const char *const columns[] = {"slots", "rates", "after", "waits_for"};
	static const char *const texts[] = {"''", "'[]'"};
	struct keel_runs runs = {0};
	struct keel_gate_state gate;
	bool found;
	put_pending("r", "t");
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 2; j++) {
			char sql[128];
			bool is_list = i == 3 && j == 1; /* an id like others */
			snprintf(sql, sizeof sql, "UPDATE runs SET %s = %s", columns[i], texts[j]);
			damage(sql);
			if (!is_list)
				refuse(STORE_CORRUPT, keel_run_get(world.store, text("r"), nothing, &runs, &why));
			if (i < 2)
				refuse(STORE_CORRUPT, keel_run_gate(world.store, text("r"), &found, &gate, &why));
			snprintf(sql, sizeof sql, "UPDATE runs SET %s = NULL", columns[i]);
			damage(sql);
		}
	keel_runs_clear(&runs);
}

/* --- What is worked off ------------------------------------------------------------------------------------------- */

static void put_after(const char *run_id, const char *after)
{
	struct keel_run run = run_of(run_id, run_id);
	SET(&run, AFTER, after, text(after));
	put(&run);
}

/* Who waits for a run is gone: what is left of it goes with the end of the run. */
TEST(edges_of_nobody)
{
	put_pending("source", "t");
	put_after("dependent", "success run source");
	damage("INSERT INTO edges (source, dependent, wanted) VALUES (1, 99, 2), (1, 98, 0)");
	change_status("source", KEEL_RUN_ERROR);
	assert_int_equal(raw_number("SELECT count(*) FROM edges"), 0);
	assert_int_equal(raw_number("SELECT count(*) FROM resolving"), 0);
	assert_int_equal(status_of("dependent"), KEEL_RUN_ERROR);
}

/* A run that cannot change any more undoes the whole operation: nobody is told of others that it had changed. */
TEST(changed_by_one_that_failed)
{
	struct keel_run mine = run_of("mine", "u");
	struct keel_status_change change = {.status = KEEL_RUN_ERROR};
	int64_t session;
	bool found;
	succeed(keel_store_session(world.store, &session, &why));
	put_pending("source", "t");
	SET(&mine, SESSION_ID, session_id, session);
	SET(&mine, AFTER, after, text("success run source"));
	put(&mine);
	put_after("last", "success run source");
	damage("UPDATE live SET revision = 9223372036854775807 WHERE seq = 3");
	refuse(STORE_FULL, keel_run_update_status(world.store, text("source"), &change, &found, NULL, &why));
	assert_int_equal(status_of("mine"), KEEL_RUN_PENDING);
	must(!keel_run_take_changed(world.store).data);
	damage("UPDATE live SET revision = 1 WHERE seq = 3");
	succeed(keel_run_update_status(world.store, text("source"), &change, &found, NULL, &why));
	must(same_text(keel_run_take_changed(world.store), text("mine")));
}

/* One that has started all the same. */
TEST(edges_of_one_that_goes_on)
{
	put_pending("source", "t");
	put_owned("other", "u");
	damage("INSERT INTO edges (source, dependent, wanted) VALUES (1, 2, 2);"
		   "UPDATE live SET depended = 1 WHERE seq = 1");
	change_status("source", KEEL_RUN_ERROR);
	assert_int_equal(raw_number("SELECT count(*) FROM edges"), 0);
	assert_int_equal(status_of("other"), KEEL_RUN_RUNNING);
}

/* A child that says it has another parent is not stopped, nor looked at for ever. */
TEST(children_of_another)
{
	struct keel_run child = run_of("child", "u");
	const char *winner;
	put_pending("parent", "t");
	put_pending("other", "t");
	SET(&child, PARENT_RUN_ID, parent_run_id, text("other"));
	put(&child);
	damage("INSERT INTO children (parent_run_id, seq) VALUES ('parent', 3), ('parent', 99)");
	succeed(keel_run_request_cancel(world.store, text("parent"), text("interrupt"), &winner, &why));
	assert_int_equal(raw_number("SELECT count(*) FROM children WHERE parent_run_id = 'parent'"), 0);
	assert_int_equal(raw_number("SELECT count(*) FROM children"), 1);
	assert_int_equal(status_of("child"), KEEL_RUN_PENDING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(run_in_the_way),
		WITH_STORE(run_to_claim),
		WITH_STORE(owner_of_a_session),
		WITH_STORE(owner_of_a_lease),
		WITH_STORE(role_of_an_input),
		WITH_STORE(ids_of_a_listing),
		WITH_STORE(ids_of_workers),
		WITH_STORE(names_of_limits),
		WITH_STORE(lists_of_a_run),
		WITH_STORE(edges_of_nobody),
		WITH_STORE(changed_by_one_that_failed),
		WITH_STORE(edges_of_one_that_goes_on),
		WITH_STORE(children_of_another),
	};
	return cmocka_run_group_tests_name("damaged_rows", tests, NULL, NULL);
}
