/* tokens.c - what the runs of a thread have used. */
#include "support.h"

static struct keel_token_totals totals;

static int clear_totals(void **state)
{
	keel_token_totals_clear(&totals);
	return world_close(state);
}
#define COUNTED(test) cmocka_unit_test_setup_teardown(test, world_open, clear_totals)

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

/* A run of thread t with these tokens; usage NULL: none by model. */
static void use(const char *run_id, enum keel_run_status status, const char *model, int64_t tokens, const char *usage)
{
	struct keel_run run = run_of(run_id, "t");
	SET(&run, STATUS, status, status);
	SET(&run, TOTAL_TOKENS, total_tokens, tokens);
	if (model)
		SET(&run, MODEL_NAME, model_name, text(model));
	if (usage)
		SET(&run, TOKEN_USAGE_BY_MODEL, token_usage_by_model, text(usage));
	put(&run);
}

static void sum_up(bool include_active)
{
	succeed(keel_tokens_of_thread(world.store, text("t"), include_active, &totals, &why));
}

static const struct keel_model_tokens *model(const char *name)
{
	for (size_t i = 0; i < totals.models_count; i++)
		if (same_text(totals.models[i].name, text(name)))
			return &totals.models[i];
	fail_msg("no model %s", name);
	return NULL;
}

#define check_model(name, tokens_, runs_) \
	(assert_int_equal(model(name)->tokens, tokens_), assert_int_equal(model(name)->runs, runs_))

/* Whether a token_usage_by_model is believed. */
static bool believed(const char *usage)
{
	static int number;
	char id[16], update[256];
	snprintf(id, sizeof id, "b%d", ++number);
	raw("DELETE FROM runs; DELETE FROM live; DELETE FROM outcomes");
	use(id, KEEL_RUN_SUCCESS, "fallback", 1, NULL);
	/* Past the kernel: what is not JSON does not get in, but may be in the file. */
	snprintf(update, sizeof update, "UPDATE outcomes SET token_usage_by_model = '%s'", usage);
	raw(update);
	world.damaged = true;
	sum_up(false);
	return totals.models_count != 1 || !same_text(totals.models[0].name, text("fallback"));
}

/* --- Sums -------------------------------------------------------------------------------------------------------- */

/* RUN-35 */
/* Of a thread without runs all is zero. */
TEST(empty_threads)
{
	struct keel_token_totals zero = {0};
	sum_up(true);
	assert_memory_equal(&totals, &zero, sizeof zero);
}

/* RUN-35 */
/* Every counter is summed up; every final status counts, running ones on demand, pending and null ones never. */
TEST(every_final_status_counts)
{
	for (int status = KEEL_RUN_PENDING; status < KEEL_RUN_STATUS_COUNT; status++) {
		struct keel_run run = run_of(keel_run_status_name((enum keel_run_status)status), "t");
		int64_t unit = INT64_C(1) << 8 * status;
		SET(&run, STATUS, status, status);
		SET(&run, TOTAL_TOKENS, total_tokens, unit);
		SET(&run, TOTAL_INPUT_TOKENS, total_input_tokens, 2 * unit);
		SET(&run, TOTAL_OUTPUT_TOKENS, total_output_tokens, 3 * unit);
		SET(&run, LEAD_AGENT_TOKENS, lead_agent_tokens, 4 * unit);
		SET(&run, SUBAGENT_TOKENS, subagent_tokens, 5 * unit);
		SET(&run, MIDDLEWARE_TOKENS, middleware_tokens, 6 * unit);
		put(&run);
	}
	put_pending("null", "t");
	put_with_status("elsewhere", "u", KEEL_RUN_SUCCESS);
	for (int active = 0; active < 2; active++) {
		int64_t unit = INT64_C(0x10101010000) + active * 0x100;
		sum_up(active);
		assert_int_equal(totals.total_tokens, unit);
		assert_int_equal(totals.total_input_tokens, 2 * unit);
		assert_int_equal(totals.total_output_tokens, 3 * unit);
		assert_int_equal(totals.lead_agent_tokens, 4 * unit);
		assert_int_equal(totals.subagent_tokens, 5 * unit);
		assert_int_equal(totals.middleware_tokens, 6 * unit);
		assert_int_equal(totals.total_runs, 4 + active);
		check_model("unknown", unit, 4 + active);
		for (int status = KEEL_RUN_PENDING; status < KEEL_RUN_STATUS_COUNT; status++)
			assert_int_equal(totals.runs_by_status[status], status >= KEEL_RUN_RUNNING + !active);
	}
}

/* Reservations do not count; runs that say they are runs do. */
TEST(reservations_do_not_count)
{
	static const char *const kinds[] = {"run", "checkpoint_write", "artifact_write", "delete"};
	for (int i = 0; i < 4; i++) {
		struct keel_run run = run_of(kinds[i], "t");
		SET(&run, STATUS, status, KEEL_RUN_SUCCESS);
		SET(&run, OPERATION_KIND, operation_kind, text(kinds[i]));
		SET(&run, TOTAL_TOKENS, total_tokens, 10);
		put(&run);
	}
	sum_up(true);
	assert_true(totals.total_runs == 1 && totals.total_tokens == 10);
}

/* Sums up to the largest number are right, one more is refused by name, and nothing of it is left. */
TEST(overflow)
{
	use("a", KEEL_RUN_SUCCESS, NULL, INT64_MAX, NULL);
	sum_up(false);
	assert_int_equal(totals.total_tokens, INT64_MAX);
	use("b", KEEL_RUN_SUCCESS, NULL, 1, NULL);
	refuse(LIMIT_TOO_LARGE, keel_tokens_of_thread(world.store, text("t"), false, &totals, &why));
	assert_string_equal(why.field, "total_tokens");
	assert_true(why.max == INT64_MAX && totals.total_tokens == 0 && totals.models_count == 0);
	raw("DELETE FROM outcomes WHERE seq = (SELECT seq FROM runs WHERE run_id = 'a');"
		"DELETE FROM runs WHERE run_id = 'a'");
	use("c", KEEL_RUN_SUCCESS, NULL, 1, "{\"m\":9223372036854775807}");
	use("d", KEEL_RUN_SUCCESS, "m", 1, NULL);
	refuse(LIMIT_TOO_LARGE, keel_tokens_of_thread(world.store, text("t"), false, &totals, &why));
	assert_string_equal(why.field, "by_model");
}

/* --- Models ------------------------------------------------------------------------------------------------------ */

/* RUN-35 */
/* Runs count for the model they name; without a name, or with an empty one, for "unknown". */
TEST(models_by_name)
{
	use("a", KEEL_RUN_SUCCESS, "m", 5, NULL);
	use("b", KEEL_RUN_ERROR, "m", 6, NULL);
	use("c", KEEL_RUN_SUCCESS, "n", 7, NULL);
	use("d", KEEL_RUN_SUCCESS, NULL, 8, NULL);
	use("e", KEEL_RUN_SUCCESS, "", 9, NULL);
	sum_up(false);
	assert_int_equal(totals.models_count, 3);
	check_model("m", 11, 2);
	check_model("n", 7, 1);
	check_model("unknown", 17, 2);
}

/* RUN-35 */
/* A run that says what each model used counts for each of them; the thread's sum stays that of the runs. */
TEST(models_by_usage)
{
	use("a", KEEL_RUN_SUCCESS, "m", 100, "{\"m\":30,\"n\" : 40}");
	use("b", KEEL_RUN_SUCCESS, "m", 100,
		"{\"n\":{\"input\":[1,{\"total_tokens\":2}],\"total_tokens\":5,\"x\":\"}\"},\"\":1}");
	use("c", KEEL_RUN_SUCCESS, "m", 7, NULL);
	sum_up(false);
	assert_int_equal(totals.total_tokens, 207);
	assert_int_equal(totals.models_count, 3);
	check_model("m", 37, 2);
	check_model("n", 45, 2);
	check_model("unknown", 1, 1);
}

/* Usage of another shape is not believed: the run counts for its model. */
TEST(usage_of_other_shapes)
{
	static const char *const good[] = {"{\"m\":0}", " { \"m\" : 1 } ", "{\"m\":{\"total_tokens\":9223372036854775807}}",
									   "{\"m\":1,\"n\":{\"a\":null,\"total_tokens\":2}}"};
	static const char *const bad[] = {"{}",
									  "[]",
									  "[1]",
									  "null",
									  "7",
									  "\"m\"",
									  "{\"m\":-1}",
									  "{\"m\":1.5}",
									  "{\"m\":1e3}",
									  "{\"m\":\"1\"}",
									  "{\"m\":null}",
									  "{\"m\":[1]}",
									  "{\"m\":{}}",
									  "{\"m\":{\"input_tokens\":1}}",
									  "{\"m\":{\"total_tokens\":\"1\"}}",
									  "{\"m\":{\"total_tokens\":{\"total_tokens\":1}}}",
									  "{\"m\":9223372036854775808}",
									  "{\"m\":1,\"n\":true}",
									  "{\"m\\u0000\":1}",
									  "",
									  "{",
									  "{\"m\"",
									  "{\"m\":",
									  "{\"m\":1",
									  "{\"m\":1,",
									  "{\"m\":1}x",
									  "{\"m\":01}"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!believed(good[i]))
			fail_msg("not believed: %s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (believed(bad[i]))
			fail_msg("believed: %s", bad[i]);
}

/* Names of models are cut as model names are, on a character boundary, and equal ones meet. */
TEST(long_model_names)
{
	char name[600] = "", cut[300] = "", usage[700];
	for (int i = 0; i < 200; i++)
		strcat(name, "é");
	for (int i = 0; i < KEEL_MODEL_NAME_MAX; i++)
		strcat(cut, "é");
	snprintf(usage, sizeof usage, "{\"%s\":1}", name);
	use("a", KEEL_RUN_SUCCESS, NULL, 0, usage);
	use("b", KEEL_RUN_SUCCESS, name, 2, NULL);
	use("c", KEEL_RUN_SUCCESS, NULL, 0, "{\"\\u00e9\\n\":3,\"é\\u000A\":4}");
	sum_up(false);
	assert_int_equal(totals.models_count, 2);
	check_model(cut, 3, 2);
	check_model("é\n", 7, 2);
}

/* Many models, each met several times. */
TEST(many_models)
{
	char id[16], name[16];
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < 3000; i++) {
		snprintf(id, sizeof id, "r%d", i);
		snprintf(name, sizeof name, "m%d", i % 1000);
		use(id, KEEL_RUN_SUCCESS, name, i, NULL);
	}
	succeed(keel_store_commit(world.store, &why));
	sum_up(false);
	assert_int_equal(totals.models_count, 1000);
	assert_int_equal(totals.total_tokens, 2999 * 3000 / 2);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "m%d", i);
		check_model(name, 3 * i + 3000, 3);
	}
}

/* --- Refusals ---------------------------------------------------------------------------------------------------- */

/* A thread id that is none; a read-only store is as good as any, and so is a transaction. */
TEST(asking)
{
	refuse_field("thread_id", keel_tokens_of_thread(world.store, text(""), false, &totals, &why));
	refuse_field("thread_id", keel_tokens_of_thread(world.store, nothing, false, &totals, &why));
	succeed(keel_store_begin(world.store, &why));
	use("a", KEEL_RUN_SUCCESS, "m", 5, NULL);
	sum_up(false);
	assert_int_equal(totals.total_tokens, 5);
	succeed(keel_store_commit(world.store, &why));
	world.options.readonly = true;
	reopen_store();
	sum_up(false);
	check_model("m", 5, 1);
	keel_token_totals_clear(&totals);
	keel_token_totals_clear(&totals);
}

/* --- Memory ------------------------------------------------------------------------------------------------------ */

static struct {
	int left;  /* requests before one is refused; below 0: none is */
	long live; /* what is not freed yet */
} memory;

static void *scarce_resize(void *data, void *old, size_t size)
{
	(void)data;
	if (memory.left == 0) {
		memory.left = -1;
		return NULL;
	}
	memory.left -= memory.left > 0;
	memory.live += old == NULL;
	return realloc(old, size);
}

static void scarce_release(void *data, void *old)
{
	(void)data;
	memory.live--;
	free(old);
}

/* Whichever request for memory fails, the answer is no_memory, nothing leaks, and the next call is right. */
TEST(scarce_memory)
{
	static const struct keel_allocator scarce = {scarce_resize, scarce_release, NULL};
	struct keel_token_totals sums = {0};
	enum keel_code code = KEEL_NO_MEMORY;
	int failures = 0;
	memory.left = -1;
	keel_set_allocator(&scarce);
	succeed(keel_store_open(":memory:", NULL, &world.store, &why));
	for (int i = 0; i < 20; i++) {
		char id[16], usage[32];
		snprintf(id, sizeof id, "r%d", i);
		snprintf(usage, sizeof usage, "{\"m%d\":1}", i);
		use(id, KEEL_RUN_SUCCESS, NULL, 1, usage);
	}
	for (int i = 0; code != KEEL_OK; i++) {
		memory.left = i;
		code = keel_tokens_of_thread(world.store, text("t"), false, &sums, &why);
		failures += code != KEEL_OK;
		memory.left = -1;
		if (code != KEEL_OK)
			assert_true(code == KEEL_NO_MEMORY && sums.total_runs == 0 && sums.models_count == 0);
	}
	assert_true(failures >= 6);
	assert_true(sums.models_count == 20 && sums.total_tokens == 20);
	keel_token_totals_clear(&sums);
	keel_store_close(world.store);
	assert_int_equal(memory.live, 0);
	world.store = NULL;
	keel_set_allocator(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		COUNTED(empty_threads),
		COUNTED(every_final_status_counts),
		COUNTED(reservations_do_not_count),
		COUNTED(overflow),
		COUNTED(models_by_name),
		COUNTED(models_by_usage),
		COUNTED(usage_of_other_shapes),
		COUNTED(long_model_names),
		COUNTED(many_models),
		COUNTED(asking),
		ALONE(scarce_memory),
	};
	return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
