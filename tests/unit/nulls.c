/* nulls.c - null where the schema has none: a flipped byte makes it, and it is damage, not a lack of memory. */
#include "support.h"

#include <keel/lease.h>
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
	struct keel_worker_request request = {.worker_id = ref.worker_id,
										  .intent = text("{}"),
										  .profile = text("{}"),
										  .requested_capabilities = text("[]"),
										  .workspace_refs = text("[]"),
										  .mount_refs = text("[]")};
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(run_in_the_way),   WITH_STORE(run_to_claim),     WITH_STORE(owner_of_a_session),
		WITH_STORE(owner_of_a_lease), WITH_STORE(role_of_an_input),
	};
	return cmocka_run_group_tests_name("nulls", tests, NULL, NULL);
}
