/* dispatched.c - the runs of machines: their name space, and their listings. */
#include "support.h"

static struct keel_run machine_run(const char *run_id, const char *machine)
{
	char thread_id[KEEL_ID_MAX];
	static char kept[16][KEEL_ID_MAX]; /* texts of records are borrowed */
	static int next;
	snprintf(thread_id, sizeof thread_id, KEEL_MACHINE_PREFIX "%s", machine);
	char *text_of = memcpy(kept[next++ % 16], thread_id, sizeof thread_id);
	struct keel_run run = run_of(run_id, text_of);
	SET(&run, OPERATION_KIND, operation_kind, text("dispatch"));
	return run;
}

static enum keel_code try_put(const struct keel_run *run)
{
	return keel_run_put(world.store, run, nothing, NULL, &why);
}

/* The ids of a listing, or the name of the code it fails with. */
static const char *listed(struct keel_dispatch_query query)
{
	static struct keel_runs list;
	if (!query.limit)
		query.limit = KEEL_LIST_MAX;
	enum keel_code code = keel_run_list_dispatched(world.store, &query, &list, &why);
	const char *ids = code == KEEL_OK ? ids_of(&list) : keel_code_name(code);
	keel_runs_clear(&list);
	return ids;
}

/* --- The name space ---------------------------------------------------------------------------------------------- */

/* DISPATCH-5 */
/* A run of another kind does not get on the thread of a machine, nor one of a machine on another thread. */
TEST(kinds_and_threads_go_together)
{
	struct keel_run run = machine_run("a", "m"), plain = run_of("b", KEEL_MACHINE_PREFIX "m");
	assert_int_equal(try_put(&run), KEEL_OK);
	assert_int_equal(try_put(&plain), KEEL_INVALID_REQUEST);
	assert_string_equal(why.field, "thread_id");
	SET(&plain, OPERATION_KIND, operation_kind, text("delete"));
	assert_int_equal(try_put(&plain), KEEL_INVALID_REQUEST);
	run = run_of("c", "keel.machin");
	SET(&run, OPERATION_KIND, operation_kind, text("dispatch"));
	assert_int_equal(try_put(&run), KEEL_INVALID_REQUEST);
	assert_string_equal(why.field, "operation_kind");
	run.thread_id = text(KEEL_MACHINE_PREFIX); /* no machine at all */
	assert_int_equal(try_put(&run), KEEL_INVALID_REQUEST);
	assert_int_equal(raw_number("SELECT count(*) FROM runs"), 1);
	assert_int_equal(newest_event(), 1);
}

/* DISPATCH-5 */
/* What a row is, it stays; giving its thread again, or its kind, is no change. */
TEST(a_row_stays_in_its_space)
{
	struct keel_run run = machine_run("a", "m"), again = run_of("a", KEEL_MACHINE_PREFIX "m"), kind = {0};
	put(&run);
	put_pending("b", "t");
	assert_int_equal(try_put(&again), KEEL_OK);
	SET(&again, OPERATION_KIND, operation_kind, text("run"));
	assert_int_equal(try_put(&again), KEEL_INVALID_REQUEST);
	SET(&kind, RUN_ID, run_id, text("b"));
	SET(&kind, OPERATION_KIND, operation_kind, text("dispatch"));
	assert_int_equal(try_put(&kind), KEEL_INVALID_REQUEST);
	SET(&kind, OPERATION_KIND, operation_kind, text("delete"));
	assert_int_equal(try_put(&kind), KEEL_OK);
}

/* DISPATCH-5 */
/* A refusal writes nothing: the transaction can go on. */
TEST(a_refusal_leaves_the_transaction_good)
{
	struct keel_run plain = run_of("b", KEEL_MACHINE_PREFIX "m");
	succeed(keel_store_begin(world.store, &why));
	assert_int_equal(try_put(&plain), KEEL_INVALID_REQUEST);
	put_pending("a", "t");
	succeed(keel_store_commit(world.store, &why));
	assert_true(is_there("a"));
}

/* A row that got there by other means is found by verify. */
TEST(verify_finds_a_stranger)
{
	struct keel_problems problems = {0};
	struct keel_run run = machine_run("a", "m");
	put(&run);
	raw("UPDATE runs SET operation_kind = NULL");
	succeed(keel_store_verify(world.store, &problems, &why));
	assert_int_equal(print_problems(&problems), 2); /* it is among the runs of machines as well */
	world.damaged = true;
}

/* --- Listings ---------------------------------------------------------------------------------------------------- */

/* m1: a b, m2: c d; b and c are of the batch x, a, b and c of the content f. Others have the same, and do not count. */
static void fill(void)
{
	static const struct {
		const char *id, *machine, *batch, *fingerprint;
	} runs[] = {{"a", "m1", NULL, "f"}, {"b", "m1", "x", "f"}, {"c", "m2", "x", "f"}, {"d", "m2", NULL, NULL}};
	for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
		struct keel_run run = machine_run(runs[i].id, runs[i].machine), other = run_of("other", "m1");
		if (runs[i].batch)
			SET(&run, BATCH_ID, batch_id, text(runs[i].batch));
		if (runs[i].fingerprint)
			SET(&run, FINGERPRINT, fingerprint, text(runs[i].fingerprint));
		SET(&run, CREATED_AT, created_at, 100 - (int64_t)i); /* the order is that of insertion */
		put(&run);
		SET(&other, BATCH_ID, batch_id, text("x"));
		SET(&other, FINGERPRINT, fingerprint, text("f"));
		put(&other);
	}
	change_status("a", KEEL_RUN_ERROR);
}

/* DISPATCH-9 */
/* All runs of machines, of any status, in the order they came, page by page. */
TEST(all_are_listed_in_pages)
{
	fill();
	assert_string_equal(listed((struct keel_dispatch_query){0}), "a b c d");
	assert_string_equal(listed((struct keel_dispatch_query){.limit = 3}), "a b c");
	assert_string_equal(listed((struct keel_dispatch_query){.after = text("c")}), "d");
	assert_string_equal(listed((struct keel_dispatch_query){.after = text("d")}), "");
	assert_string_equal(listed((struct keel_dispatch_query){.after = text("other")}), "b c d");
}

/* DISPATCH-10, DISPATCH-13 */
/* Those of a batch; those of a machine and a content. */
TEST(some_are_listed)
{
	fill();
	assert_string_equal(listed((struct keel_dispatch_query){.batch_id = text("x")}), "b c");
	assert_string_equal(listed((struct keel_dispatch_query){.batch_id = text("x"), .after = text("b")}), "c");
	assert_string_equal(listed((struct keel_dispatch_query){.batch_id = text("y")}), "");
	struct keel_dispatch_query query = {.fingerprint = text("f"), .thread_id = text(KEEL_MACHINE_PREFIX "m1")};
	assert_string_equal(listed(query), "a b");
	query.thread_id = text("m1");
	assert_string_equal(listed(query), "");
}

/* A question that makes no sense is refused; so is going on behind nothing. */
TEST(questions_are_checked)
{
	assert_string_equal(listed((struct keel_dispatch_query){.after = text("gone")}), "not_found");
	assert_string_equal(listed((struct keel_dispatch_query){.after = text("")}), "invalid_request");
	assert_string_equal(listed((struct keel_dispatch_query){.limit = -1}), "invalid_request");
	assert_string_equal(listed((struct keel_dispatch_query){.limit = KEEL_LIST_MAX + 1}), "limit_too_large");
	assert_string_equal(listed((struct keel_dispatch_query){.batch_id = text("")}), "invalid_request");
	assert_string_equal(listed((struct keel_dispatch_query){.fingerprint = text("f")}), "invalid_request");
	assert_string_equal(why.field, "thread_id");
	struct keel_dispatch_query both = {
		.batch_id = text("b"), .fingerprint = text("f"), .thread_id = text(KEEL_MACHINE_PREFIX "m")};
	assert_string_equal(listed(both), "invalid_request");
	both.batch_id = nothing;
	both.fingerprint = text("a\nb");
	assert_string_equal(listed(both), "invalid_request");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(kinds_and_threads_go_together),
		WITH_STORE(a_row_stays_in_its_space),
		WITH_STORE(a_refusal_leaves_the_transaction_good),
		WITH_STORE(verify_finds_a_stranger),
		WITH_STORE(all_are_listed_in_pages),
		WITH_STORE(some_are_listed),
		WITH_STORE(questions_are_checked),
	};
	return cmocka_run_group_tests_name("dispatched", tests, NULL, NULL);
}
