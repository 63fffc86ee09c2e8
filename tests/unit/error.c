/* error.c - codes, their names, and the detail that comes with a failure. */
#include "support.h"

#include "base/error.h"
#include "base/memory.h"

static const struct {
	enum keel_code code;
	int number;
	const char *name, *words;
} codes[] = {{KEEL_OK, 0, "ok", "no error"},
#define ENTRY(name, number, text, words) {KEEL_##name, number, text, words},
			 KEEL_CODE_MAP(ENTRY)
#undef ENTRY
};
enum { CODES = sizeof codes / sizeof codes[0] };

/* Every code has the name and the words of the list. */
TEST(codes_have_names_and_words)
{
	for (int i = 0; i < CODES; i++) {
		assert_string_equal(keel_code_name(codes[i].code), codes[i].name);
		assert_string_equal(keel_code_text(codes[i].code), codes[i].words);
		assert_int_equal(codes[i].code, codes[i].number);
	}
}

/* Codes are negative, count down without a gap, and no two share a number, a name or words. */
TEST(codes_are_one_list)
{
	for (int i = 0; i < CODES; i++) {
		assert_int_equal(codes[i].number, -i);
		assert_true(codes[i].name[0] != '\0' && codes[i].words[0] != '\0');
		assert_int_equal(strspn(codes[i].name, "abcdefghijklmnopqrstuvwxyz_"), strlen(codes[i].name));
		for (int other = 0; other < i; other++) {
			assert_string_not_equal(codes[i].name, codes[other].name);
			assert_string_not_equal(codes[i].words, codes[other].words);
		}
	}
}

/* The names that programs compare with are these and stay these. */
TEST(names_are_stable)
{
	static const char *const stable[] = {"ok",
										 "conflict",
										 "not_found",
										 "invalid_request",
										 "invalid_transition",
										 "limit_too_large",
										 "wrong_runtime",
										 "runtime_stopped",
										 "unsupported_strategy",
										 "stale_owner",
										 "lease_held",
										 "idempotency_mismatch",
										 "policy_failed",
										 "policy_budget",
										 "busy",
										 "store_missing",
										 "store_corrupt",
										 "store_version",
										 "store_readonly",
										 "store_full",
										 "io",
										 "no_memory",
										 "cancelled",
										 "timeout",
										 "misuse",
										 "orphan",
										 "forked",
										 "replaced",
										 "not_supported"};
	_Static_assert(CODES == sizeof stable / sizeof stable[0], "a new code has a name here, at the end");
	for (int i = 0; i < CODES; i++)
		assert_string_equal(keel_code_name((enum keel_code) - i), stable[i]);
}

/* A number that is no code has a name too. */
TEST(unknown_codes_are_named_so)
{
	assert_string_equal(keel_code_name((enum keel_code)1), "unknown");
	assert_string_equal(keel_code_name((enum keel_code) - CODES), "unknown");
	assert_string_equal(keel_code_text((enum keel_code) - CODES), "unknown code");
}

/* Only a busy store may be different in a moment. */
TEST(busy_alone_is_transient)
{
	for (int i = 0; i < CODES; i++)
		assert_int_equal(keel_code_is_transient(codes[i].code), codes[i].code == KEEL_BUSY);
	assert_false(keel_code_is_transient((enum keel_code)1));
}

/* A failure fills in the whole record, and nothing of the one before is left. */
TEST(failures_fill_the_record)
{
	struct keel_error err;
	memset(&err, 0x55, sizeof err);
	assert_int_equal(keel_fail(&err, KEEL_BUSY, "run %d", 7), KEEL_BUSY);
	assert_int_equal(err.code, KEEL_BUSY);
	assert_true(err.transient && !err.from && !err.to && err.requested == 0 && err.max == 0);
	assert_string_equal(err.message, "run 7");
	assert_true(!err.field[0] && !err.expected[0] && !err.actual[0]);
	assert_int_equal(keel_fail_memory(&err), KEEL_NO_MEMORY);
	assert_false(err.transient);
}

/* Whoever does not want the detail gets the code all the same. */
TEST(detail_is_optional)
{
	assert_int_equal(keel_fail(NULL, KEEL_IO, "x"), KEEL_IO);
	assert_int_equal(keel_fail_field(NULL, "f", "x"), KEEL_INVALID_REQUEST);
	assert_int_equal(keel_fail_limit(NULL, "f", 2, 1), KEEL_LIMIT_TOO_LARGE);
	assert_int_equal(keel_fail_memory(NULL), KEEL_NO_MEMORY);
}

/* A message or field too long for its place is cut, with its zero. */
TEST(long_messages_are_cut)
{
	struct keel_error err;
	char long_text[2000];
	memset(long_text, 'x', sizeof long_text);
	long_text[sizeof long_text - 1] = '\0';
	keel_fail_field(&err, long_text, "%s", long_text);
	assert_int_equal(strlen(err.message), KEEL_ERROR_MESSAGE_SIZE - 1);
	assert_int_equal(strlen(err.field), KEEL_ERROR_FIELD_SIZE - 1);
}

/* A call that succeeds leaves the record alone. */
TEST(success_writes_nothing)
{
	struct keel_error err, before;
	memset(&err, 0x55, sizeof err);
	before = err;
	bool found;
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	struct keel_run run = run_of("r", "t");
	succeed(keel_run_put(world.store, &run, nothing, NULL, &err));
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &err));
	succeed(keel_store_begin(world.store, &err));
	succeed(keel_store_commit(world.store, &err));
	assert_memory_equal(&err, &before, sizeof err);
}

/* So does one that had to ask again, or to look elsewhere. */
TEST(success_in_the_end_writes_nothing)
{
	struct keel_error err, before;
	struct keel_store *other = open_another();
	int64_t session;
	bool alive;
	memset(&err, 0x55, sizeof err);
	before = err;
	succeed(keel_store_session(world.store, &session, &why));
	assert_int_equal(remove(in_folder("store-sessions")), 0);
	succeed(keel_store_session_alive(other, session, &alive, &err));
	keel_store_close(other);
	assert_memory_equal(&err, &before, sizeof err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(codes_have_names_and_words),
		ALONE(codes_are_one_list),
		ALONE(names_are_stable),
		ALONE(unknown_codes_are_named_so),
		ALONE(busy_alone_is_transient),
		ALONE(failures_fill_the_record),
		ALONE(detail_is_optional),
		ALONE(long_messages_are_cut),
		WITH_STORE(success_writes_nothing),
		WITH_STORE(success_in_the_end_writes_nothing),
	};
	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
