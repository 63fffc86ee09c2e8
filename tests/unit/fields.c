/* fields.c - the fields of a run: names, types, access by number, values, and the way through a store and back. */
#include "support.h"

/* Fixture: which of the two kinds of member a type has. */
static bool is_text_type(enum keel_field_type type)
{
	return type == KEEL_TYPE_ID || type == KEEL_TYPE_TEXT || type == KEEL_TYPE_JSON || type == KEEL_TYPE_VALUE ||
		   type == KEEL_TYPE_IDS || type == KEEL_TYPE_SLOTS || type == KEEL_TYPE_RATES || type == KEEL_TYPE_AFTER ||
		   type == KEEL_TYPE_WORD;
}

static bool is_null(const struct keel_run *run, int field)
{
	return !keel_run_set_has(run->valued, (enum keel_run_field)field);
}

/* A value for every field, each another one. */
static struct keel_run full_run(void)
{
	static char texts[KEEL_RUN_FIELD_COUNT][64];
	struct keel_run run = {0};
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		enum keel_run_field field = (enum keel_run_field)i;
		keel_run_set_add(&run.given, field);
		if (is_text_type(keel_run_field_type(field))) {
			snprintf(texts[i], sizeof texts[i], "{\"value\":\"%s €\"}", keel_run_field_name(field));
			*keel_run_text(&run, field) = text(texts[i]);
		} else {
			*keel_run_number(&run, field) = 1000 + i;
		}
	}
	run.valued = run.given;
	run.status = KEEL_RUN_TIMEOUT;
	run.claimable = run.shared = run.strict = 1;
	run.finalizing = 0; /* what was not started by the gate holds no slots */
	run.operation_kind = text("artifact_write");
	run.on_disconnect = text("continue");
	run.cancel_action = text("rollback");
	run.slots = text("3 {\"value\":\"slots €\"}\n10000 a b");
	run.after = text("success run {\"value\":\"after €\"}\nfinal batch b c");
	run.rates = text("0 1 {\"value\":\"rates €\"}");
	return run;
}

static void check_same(const struct keel_run *a, const struct keel_run *b, keel_run_set except)
{
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		enum keel_run_field field = (enum keel_run_field)i;
		struct keel_run left = *a, right = *b;
		if (keel_run_set_has(except, field))
			continue;
		bool same = is_null(a, i) == is_null(b, i) &&
					(is_null(a, i) || (is_text_type(keel_run_field_type(field))
										   ? same_text(*keel_run_text(&left, field), *keel_run_text(&right, field))
										   : *keel_run_number(&left, field) == *keel_run_number(&right, field)));
		if (!same)
			fail_msg("field %s differs", keel_run_field_name(field));
	}
}

static void check_bad_number(const struct keel_run *good, enum keel_run_field field, int64_t value)
{
	struct keel_run run = *good;
	*keel_run_number(&run, field) = value;
	refuse_field(keel_run_field_name(field), keel_run_check(&run, &why));
}

static void check_bad_text(const struct keel_run *good, enum keel_run_field field, const char *value)
{
	struct keel_run run = *good;
	*keel_run_text(&run, field) = text(value);
	refuse_field(keel_run_field_name(field), keel_run_check(&run, &why));
}

/* --- Names and access -------------------------------------------------------------------------------------------- */

/* Fields have the names of the list, each another. */
TEST(fields_have_names)
{
	static const char *const names[] = {
#define NAME(NAME_, member, type, giver, part) #member,
		KEEL_RUN_FIELD_MAP(NAME)
#undef NAME
	};
	assert_int_equal(sizeof names / sizeof names[0], KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		assert_string_equal(keel_run_field_name((enum keel_run_field)i), names[i]);
		for (int other = 0; other < i; other++)
			assert_string_not_equal(names[i], names[other]);
	}
}

/* A field's number leads to its own member and to no other. */
TEST(numbers_lead_to_members)
{
	struct keel_run run;
#define CHECK(NAME, member, type, giver, part)                                                              \
	assert_int_equal(keel_run_field_giver(KEEL_RUN_FIELD_##NAME), KEEL_GIVEN_BY_##giver);                   \
	assert_int_equal(keel_run_field_type(KEEL_RUN_FIELD_##NAME), KEEL_TYPE_##type);                         \
	assert_ptr_equal(is_text_type(KEEL_TYPE_##type) ? (void *)keel_run_text(&run, KEEL_RUN_FIELD_##NAME)    \
													: (void *)keel_run_number(&run, KEEL_RUN_FIELD_##NAME), \
					 &run.member);
	KEEL_RUN_FIELD_MAP(CHECK)
#undef CHECK
}

/* What an owner writes is what its owner gives; the name of a model may be known before. */
TEST(owners_give_what_they_write)
{
	const keel_run_set written =
		keel_run_set_union(KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS), KEEL_RUN_FIELDS(KEEL_RUN_OUTCOME));
	keel_run_set given = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_MODEL_NAME);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++)
		if (keel_run_field_giver((enum keel_run_field)i) == KEEL_GIVEN_BY_OWNER)
			keel_run_set_add(&given, (enum keel_run_field)i);
	assert_true(keel_run_set_equal(given, written));
	assert_int_equal(keel_run_field_giver(KEEL_RUN_FIELD_MODEL_NAME), KEEL_GIVEN_BY_CALLER);
}

/* Statuses are found by the names they have; a number that is none has no name. */
TEST(statuses_have_names)
{
	static const char *const names[] = {"pending", "running", "success", "error", "timeout", "interrupted"};
	enum keel_run_status found;
	for (int i = 0; i < KEEL_RUN_STATUS_COUNT; i++) {
		assert_string_equal(keel_run_status_name((enum keel_run_status)i), names[i]);
		assert_true(keel_run_status_find(text(names[i]), &found) && found == (enum keel_run_status)i);
		assert_int_equal(keel_run_status_is_final(found), i >= 2);
	}
	assert_null(keel_run_status_name(KEEL_RUN_STATUS_COUNT));
	assert_null(keel_run_status_name((enum keel_run_status) - 1));
	assert_false(keel_run_status_find(text("Running"), &found));
	assert_false(keel_run_status_find(text("runnin"), &found));
	assert_false(keel_run_status_find(nothing, &found));
}

/* --- Values ------------------------------------------------------------------------------------------------------ */

/* A record with a good value in every field passes. */
TEST(good_values_pass)
{
	struct keel_run run = full_run();
	succeed(keel_run_check(&run, &why));
}

/* A document that an encoder wrote is not read through; that it is not too long, and UTF-8, is still looked at. */
TEST(sound_documents_are_not_read)
{
	struct keel_run run = full_run();
	run.metadata = text("{");
	refuse_field("metadata", keel_run_check(&run, &why));
	keel_run_set_add(&run.sound, KEEL_RUN_FIELD_METADATA);
	succeed(keel_run_check(&run, &why));
	run.metadata = text("{\"\xff\"}");
	refuse_field("metadata", keel_run_check(&run, &why));
	run.metadata.size = KEEL_TEXT_MAX + 1;
	refuse(LIMIT_TOO_LARGE, keel_run_check(&run, &why));
}

/* Every field refuses, by name, what its type does not take. */
TEST(bad_values_are_named)
{
	struct keel_run run = full_run();
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		enum keel_run_field field = (enum keel_run_field)i;
		enum keel_field_type type = keel_run_field_type(field);
		if (is_text_type(type))
			check_bad_text(&run, field, "\xC3(");
		if (type == KEEL_TYPE_ID || type == KEEL_TYPE_WORD || type == KEEL_TYPE_IDS || type == KEEL_TYPE_SLOTS ||
			type == KEEL_TYPE_RATES || type == KEEL_TYPE_AFTER)
			check_bad_text(&run, field, "");
		if (type == KEEL_TYPE_ID)
			check_bad_text(&run, field, "a\nb");
		if (type == KEEL_TYPE_WORD)
			check_bad_text(&run, field, "perhaps");
		if (type == KEEL_TYPE_COUNT || type == KEEL_TYPE_SPAN || type == KEEL_TYPE_FLAG || type == KEEL_TYPE_STATUS)
			check_bad_number(&run, field, -1);
		if (type == KEEL_TYPE_FLAG)
			check_bad_number(&run, field, 2);
		if (type == KEEL_TYPE_STATUS)
			check_bad_number(&run, field, KEEL_RUN_STATUS_COUNT);
	}
}

/* Slots and rates have names, once each, and numbers; how many is bounded. */
TEST(wants_have_names_and_numbers)
{
	static const char *const bad[] = {"gpu",
									  "1",
									  "1 ",
									  " gpu",
									  "x gpu",
									  "-2 gpu",
									  "1.5 gpu",
									  "10001 gpu",
									  "1 *",
									  "1 thread:a",
									  "1 a\tb",
									  "1 a\n2 a",
									  "99999999999999999999 gpu",
									  "1 a\n1 b\n1 c\n1 d\n1 e\n1 f\n1 g\n1 h\n1 i"};
	static const char *const bad_rates[] = {"1 gpu", "1 0 gpu", "1 -5 gpu", "-2 5 gpu"};
	struct keel_run run = full_run();
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		check_bad_text(&run, KEEL_RUN_FIELD_SLOTS, bad[i]);
	for (size_t i = 0; i < sizeof bad_rates / sizeof bad_rates[0]; i++)
		check_bad_text(&run, KEEL_RUN_FIELD_RATES, bad_rates[i]);
	run.slots = text("0 a\n- b\n1 thread");
	run.rates = text("- - a\n1 1 b c");
	succeed(keel_run_check(&run, &why));
}

/* A field that is not valued is not looked at. */
TEST(null_values_pass)
{
	struct keel_run run = full_run();
	run.metadata = (struct keel_text){NULL, SIZE_MAX};
	run.status = 77;
	run.valued = keel_run_set_without(run.valued, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_METADATA, KEEL_RUN_FIELD_STATUS));
	succeed(keel_run_check(&run, &why));
}

/* A result is bounded. */
TEST(large_results_are_refused)
{
	struct keel_run run = full_run();
	char *large = calloc(1, KEEL_RESULT_MAX + 1);
	memset(large, 'x', KEEL_RESULT_MAX + 1);
	large[0] = large[KEEL_RESULT_MAX - 1] = '"';
	run.result = (struct keel_text){large, KEEL_RESULT_MAX};
	succeed(keel_run_check(&run, &why));
	large[KEEL_RESULT_MAX - 1] = 'x';
	large[KEEL_RESULT_MAX] = '"';
	run.result.size++;
	refuse(LIMIT_TOO_LARGE, keel_run_check(&run, &why));
	assert_string_equal(why.field, "result");
	assert_int_equal(why.max, KEEL_RESULT_MAX);
	free(large);
}

/* RUN-28, RUN-36 */
/* Long names of models and long messages are cut, between characters; the caller's own texts stay. */
TEST(some_texts_are_cut)
{
	struct keel_run run = full_run();
	char letters[3 * 2001];
	for (size_t i = 0; i < sizeof letters; i += 3)
		memcpy(letters + i, "€", 3);
	run.model_name = run.last_ai_message = run.first_human_message = (struct keel_text){letters, sizeof letters};
	succeed(keel_run_check(&run, &why));
	assert_int_equal(run.model_name.size, 3 * KEEL_MODEL_NAME_MAX);
	assert_int_equal(run.last_ai_message.size, 3 * KEEL_EXCERPT_MAX);
	assert_int_equal(run.first_human_message.size, 3 * KEEL_EXCERPT_MAX);
}

/* --- Through a store --------------------------------------------------------------------------------------------- */

/* RUN-15 */
/* A record with every field set comes back with every field, from another process's point of view too. */
TEST(every_field_survives)
{
	struct keel_run run = full_run();
	put(&run);
	reopen_store();
	run.revision = 1; /* the store's own */
	check_same(row(run.run_id.data), &run, (keel_run_set){{0}});
	struct keel_run again = run;
	again.thread_id = text("{\"value\":\"thread_id €\"}");
	again.fence++;
	put(&again);
	check_same(row(run.run_id.data), &again, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_REVISION));
	assert_int_equal(row(run.run_id.data)->revision, 2);
}

/* Writes a field of the run alone, and then null where the schema allows: no other is touched. */
static void merge_alone(const char *run_id, enum keel_run_field field)
{
	const keel_run_set required =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_CREATED_AT, KEEL_RUN_FIELD_UPDATED_AT, KEEL_RUN_FIELD_FENCE);
	const keel_run_set stamped = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_REVISION, KEEL_RUN_FIELD_UPDATED_AT,
												 KEEL_RUN_FIELD_LEASE_US); /* goes with the lease */
	keel_run_set others = stamped;
	struct keel_run change = full_run();
	struct keel_runs before = {0};
	succeed(keel_run_get(world.store, text(run_id), nothing, &before, &why));
	change.run_id = text(run_id);
	change.given = change.valued = KEEL_RUN_FIELDS(field, KEEL_RUN_FIELD_RUN_ID);
	put(&change);
	check_same(row(run_id), &change, keel_run_set_without(keel_run_set_all(), KEEL_RUN_FIELDS(field)));
	keel_run_set_add(&others, field);
	check_same(row(run_id), &before.items[0], others);
	change.valued = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID);
	put(&change);
	if (!keel_run_set_has(required, field))
		check_same(row(run_id), &before.items[0],
				   field == KEEL_RUN_FIELD_FINALIZING ? others : stamped); /* null is 0 to a reader */
	keel_runs_clear(&before);
}

/* Each field is written alone without touching any other, and set back to null where the schema allows: in flight,
 * after the end, and in between. */
TEST(every_field_is_merged_alone)
{
	const keel_run_set kept =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID, KEEL_RUN_FIELD_THREAD_ID, KEEL_RUN_FIELD_REVISION, KEEL_RUN_FIELD_STATUS,
						KEEL_RUN_FIELD_SLOTS, KEEL_RUN_FIELD_RATES, KEEL_RUN_FIELD_AFTER, KEEL_RUN_FIELD_WAITS_FOR,
						KEEL_RUN_FIELD_PARENT_RUN_ID);
	const keel_run_set of_ended = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_ENDED_AT, KEEL_RUN_FIELD_FINALIZING);
	enum { IN_FLIGHT, FINALIZING, ENDED, STAGES };
	for (int stage = IN_FLIGHT; stage < STAGES; stage++)
		for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
			enum keel_run_field field = (enum keel_run_field)i;
			char id[32];
			if (keel_run_set_has(kept, field) || (stage == IN_FLIGHT && keel_run_set_has(of_ended, field)))
				continue;
			snprintf(id, sizeof id, "r%d-%d", stage, i);
			struct keel_run plain = run_of(id, "t");
			SET(&plain, STATUS, status, stage == IN_FLIGHT ? KEEL_RUN_RUNNING : KEEL_RUN_TIMEOUT);
			if (stage == FINALIZING)
				SET(&plain, FINALIZING, finalizing, 1);
			put(&plain);
			merge_alone(id, field);
		}
}

/* What a run has come to before its end is kept through it, and with it the state that it ends in. */
TEST(work_is_kept_through_the_end)
{
	struct keel_run run = run_of("r", "t"), more = run_of("r", "t");
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	keel_run_set_add(&run.given, KEEL_RUN_FIELD_ERROR);
	put(&run);
	assert_int_equal(raw_number("SELECT count(*) FROM outcomes"), 0); /* null is nothing that it has come to */
	SET(&run, MODEL_NAME, model_name, text("m"));
	put(&run);
	assert_int_equal(raw_number("SELECT count(*) FROM outcomes WHERE status IS NULL"), 1);
	SET(&more, TOTAL_TOKENS, total_tokens, 5);
	SET(&more, ATTEMPT, attempt, 3);
	put(&more);
	change_status("r", KEEL_RUN_SUCCESS);
	assert_int_equal(raw_number("SELECT count(*) FROM live"), 0);
	assert_true(row("r")->status == KEEL_RUN_SUCCESS && row("r")->attempt == 3 && row("r")->total_tokens == 5);
	assert_true(same_text(row("r")->model_name, text("m")));
	more.given = more.valued = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID);
	SET(&more, FINALIZING, finalizing, 1);
	put(&more);
	assert_int_equal(raw_number("SELECT count(*) FROM live WHERE status = 2 AND attempt = 3"), 1);
	assert_int_equal(raw_number("SELECT count(*) FROM outcomes WHERE fence IS NULL AND total_tokens = 5"), 1);
	assert_true(row("r")->finalizing == 1 && row("r")->total_tokens == 5 && row("r")->attempt == 3);
}

/* RUN-17 */
/* A row with null everywhere reads as pending, cancel, reject, run, empty documents and zeros; the rest is null. */
TEST(nulls_have_meanings)
{
	raw("INSERT INTO runs (run_id, thread_id, created_at) VALUES ('r', 't', 5);"
		"INSERT INTO live (thread_id, seq, status, priority, created_at, session_id, fence, updated_at, revision)"
		" VALUES ('t', 1, 0, 0, 5, 0, 1, 5, 1);"
		"INSERT INTO events (kind, at, run_id) VALUES ('run_created', 5, 'r')");
	const struct keel_run *run = row("r");
	assert_int_equal(run->status, KEEL_RUN_PENDING);
	assert_true(same_text(run->on_disconnect, text("cancel")) && same_text(run->multitask_strategy, text("reject")));
	assert_true(same_text(run->operation_kind, text("run")));
	assert_true(same_text(run->metadata, text("{}")) && same_text(run->kwargs, text("{}")));
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		bool counter = keel_run_set_has(KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS), (enum keel_run_field)i) &&
					   keel_run_field_type((enum keel_run_field)i) == KEEL_TYPE_COUNT;
		if (counter)
			assert_true(!is_null(run, i) &&
						*keel_run_number((struct keel_run *)(uintptr_t)run, (enum keel_run_field)i) == 0);
	}
	assert_true(is_null(run, KEEL_RUN_FIELD_SESSION_ID) && is_null(run, KEEL_RUN_FIELD_ERROR));
	assert_string_equal(ids_of_thread("t", 10), "r");
	assert_string_equal(ids_inflight(NULL), "r");
}

/* EVENT-6 */
/* Texts with zero bytes, newlines, U+2028 and of 4 MiB come back byte for byte. */
TEST(odd_texts_survive)
{
	static const char odd[] = "a\0b\n\xE2\x80\xA8\0";
	size_t size = 4 * 1024 * 1024;
	char *large = malloc(size);
	memset(large, 'x', size);
	large[0] = large[size - 1] = '"';
	struct keel_run run = run_of("r", "t");
	SET(&run, ERROR, error, ((struct keel_text){odd, sizeof odd}));
	SET(&run, METADATA, metadata, ((struct keel_text){large, size}));
	put(&run);
	check_same(
		row("r"), &run,
		keel_run_set_without(keel_run_set_all(), KEEL_RUN_FIELDS(KEEL_RUN_FIELD_ERROR, KEEL_RUN_FIELD_METADATA)));
	free(large);
}

/* 64-bit numbers come back to the bit, from the smallest to the largest. */
TEST(numbers_survive)
{
	static const int64_t numbers[] = {INT64_MIN, -1, 0, 1, INT64_C(1) << 53, (INT64_C(1) << 53) + 1, INT64_MAX};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		struct keel_run run = run_of("r", "t");
		SET(&run, PRIORITY, priority, numbers[i]);
		SET(&run, EXIT_CODE, exit_code, numbers[i]);
		SET(&run, DEADLINE, deadline, numbers[i]);
		put(&run);
		assert_true(row("r")->priority == numbers[i] && row("r")->exit_code == numbers[i]);
		assert_true(row("r")->deadline == numbers[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(fields_have_names),
		ALONE(numbers_lead_to_members),
		ALONE(owners_give_what_they_write),
		ALONE(statuses_have_names),
		ALONE(good_values_pass),
		ALONE(bad_values_are_named),
		ALONE(wants_have_names_and_numbers),
		ALONE(null_values_pass),
		ALONE(sound_documents_are_not_read),
		ALONE(large_results_are_refused),
		ALONE(some_texts_are_cut),
		WITH_STORE(every_field_survives),
		WITH_STORE(every_field_is_merged_alone),
		WITH_STORE(work_is_kept_through_the_end),
		WITH_STORE(nulls_have_meanings),
		WITH_STORE(odd_texts_survive),
		WITH_STORE(numbers_survive),
	};
	return cmocka_run_group_tests_name("fields", tests, NULL, NULL);
}
