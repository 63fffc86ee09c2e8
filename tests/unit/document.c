/* document.c - which texts are JSON documents, and that no other gets into a store. */
#include "support.h"

#include "base/document.h"

static bool valid(const char *json)
{
	return keel_document_is_valid(text(json));
}

TEST(documents)
{
	static const char *const good[] = {"{}",
									   "[]",
									   " { } ",
									   "null",
									   "true",
									   "false",
									   "0",
									   "-0",
									   "12",
									   "-7",
									   "0.5",
									   "1e3",
									   "1E+3",
									   "1.25e-3",
									   "\"\"",
									   "\"a\\n\\\"\\\\\\/\\b\\f\\r\\t\"",
									   "\"\\u0041\\uD83D\\uDE00\\u0000\"",
									   "\"\xC3\xA4\x7F\"",
									   "[1,2,[3,{}],{\"a\":[]}]",
									   "{\"a\":1,\"b\":{\"\":null}}",
									   "\t[\r\n1 , 2 ]\n",
									   "9223372036854775807",
									   "-9223372036854775808",
									   "1.7976931348623157e308",
									   "-1.7976931348623157e308",
									   "17976931348623157e292",
									   "0.00001e312",
									   "0e999999999999",
									   "1e-999999999999",
									   "0.0000000000000000000000000000000000000000000000000000000000000000001"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!valid(good[i]))
			fail_msg("%s was refused", good[i]);
}

TEST(no_documents)
{
	static const char *const bad[] = {"",
									  " ",
									  "nope",
									  "{bad",
									  "{",
									  "[",
									  "}",
									  "]",
									  "{]",
									  "[}",
									  "[1,]",
									  "[,1]",
									  "{\"a\"}",
									  "{\"a\":}",
									  "{\"a\":1,}",
									  "{,}",
									  "{a:1}",
									  "{1:1}",
									  "{\"a\":1 \"b\":2}",
									  "[1 2]",
									  "1 2",
									  "{} {}",
									  "nul",
									  "nullx",
									  "tru",
									  "True",
									  "01",
									  "-",
									  "-01",
									  "+1",
									  ".5",
									  "5.",
									  "1.e3",
									  "1e",
									  "1e+",
									  "0x1",
									  "NaN",
									  "Infinity",
									  "1,5",
									  "{\"delay\":1,000000}",
									  "'a'",
									  "\"a",
									  "\"a\nb\"",
									  "\"\\x\"",
									  "\"\\u12\"",
									  "\"\\u12G4\"",
									  "\"\\uD800\"",
									  "\"\\uD800x\"",
									  "\"\\uD800\\u0041\"",
									  "\"\\uDC00\"",
									  "{\"\\u0000\":1}",
									  "\"\xFF\"",
									  "\"\xC3\"",
									  "\"\xED\xA0\x80\"",
									  "9223372036854775808",
									  "-9223372036854775809",
									  "1e309",
									  "1.7976931348623159e308",
									  "10000e305",
									  "123456789012345678901",
									  "// a\n1",
									  "[1]]"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (valid(bad[i]))
			fail_msg("%s passed", bad[i]);
	assert_false(keel_document_is_valid((struct keel_text){"1\0", 2}));
	assert_false(keel_document_is_valid((struct keel_text){"\"a\0\"", 4}));
}

/* Every beginning of a document that is not the whole is none. */
TEST(cut_documents)
{
	static const char whole[] = "{\"a\":[1.5e+3,\"\\uD83D\\uDE00\",{\"b\":null}],\"c\":-2}";
	for (size_t size = 0; size < sizeof whole - 1; size++)
		assert_false(keel_document_is_valid((struct keel_text){whole, size}));
	assert_true(valid(whole));
}

TEST(nesting)
{
	char deep[2 * KEEL_JSON_DEPTH_MAX + 2];
	memset(deep, '[', KEEL_JSON_DEPTH_MAX + 1);
	memset(deep + KEEL_JSON_DEPTH_MAX + 1, ']', KEEL_JSON_DEPTH_MAX + 1);
	assert_true(keel_document_is_valid((struct keel_text){deep + 1, 2 * KEEL_JSON_DEPTH_MAX}));
	assert_false(keel_document_is_valid((struct keel_text){deep, sizeof deep}));
}

/* Failure: what the C interface is given is checked, and nothing is written of it. */

static void refused(enum keel_code code, const struct keel_error *err, const char *field)
{
	assert_int_equal(code, KEEL_INVALID_REQUEST);
	assert_string_equal(err->field, field);
	assert_non_null(strstr(err->message, "is not valid JSON"));
	assert_int_equal(newest_event(), 0);
}

/* F-5 */
TEST(events_are_checked)
{
	struct keel_event event = {.kind = text("k"), .data = text("{bad")};
	struct keel_error err;
	int64_t id;
	refused(keel_event_append(world.store, &event, &id, &err), &err, "data");
	event.data = text("{\"delay\":1,000000}");
	refused(keel_event_append(world.store, &event, &id, &err), &err, "data");
	event.data = text("[]");
	event.worker_ref = text("worker");
	refused(keel_event_append(world.store, &event, &id, &err), &err, "worker_ref");
}

/* F-5 */
TEST(runs_are_checked)
{
	static const enum keel_run_field documents[] = {
		KEEL_RUN_FIELD_METADATA,   KEEL_RUN_FIELD_KWARGS,   KEEL_RUN_FIELD_TOKEN_USAGE_BY_MODEL,
		KEEL_RUN_FIELD_WORKER_REF, KEEL_RUN_FIELD_PROGRESS, KEEL_RUN_FIELD_RESULT};
	struct keel_error err;
	for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
		struct keel_run run = run_of("r", "t");
		*keel_run_text(&run, documents[i]) = text("nope");
		keel_run_set_add(&run.given, documents[i]);
		keel_run_set_add(&run.valued, documents[i]);
		refused(keel_run_put(world.store, &run, text(NULL), NULL, &err), &err, keel_run_field_name(documents[i]));
	}
	struct keel_run run = run_of("r", "t");
	refused(keel_run_put(world.store, &run, text("{\"why\":}"), NULL, &err), &err, "note");
	put_pending("r", "t");
	struct keel_run usage = {0};
	bool found;
	SET(&usage, TOKEN_USAGE_BY_MODEL, token_usage_by_model, text("{\"m\":1"));
	assert_int_equal(keel_run_complete(world.store, text("r"), &usage, &found, NULL, &err), KEEL_INVALID_REQUEST);
	assert_string_equal(err.field, "token_usage_by_model");
}

/* F-5 */
TEST(workers_are_checked)
{
	struct keel_worker_request request = request_of(NULL);
	const struct {
		struct keel_text *text;
		const char *name;
	} documents[] = {{&request.intent, "intent"},
					 {&request.profile, "profile"},
					 {&request.requested_capabilities, "requested_capabilities"},
					 {&request.workspace_refs, "workspace_refs"},
					 {&request.mount_refs, "mount_refs"},
					 {&request.config_bundle, "config_bundle"}};
	struct keel_workers list = {0};
	struct keel_error err;
	for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
		struct keel_text good = *documents[i].text;
		bool reused;
		*documents[i].text = text("{'a':1}");
		refused(keel_worker_create(world.store, text("rt"), &request, &list, &reused, &err), &err, documents[i].name);
		*documents[i].text = good;
	}
	keel_workers_clear(&list);
}

/* F-5: a delay is written with a point, to the microsecond. */
TEST(delays_are_json)
{
	static const int64_t delays[] = {1, 999999, 1000000, 1500000, 90000000, INT64_C(3600000000) * 24 * 365};
	static const char *const texts[] = {"0.000001", "0.999999", "1.000000", "1.500000", "90.000000", "31536000.000000"};
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		struct keel_requeue requeue = {.delay_us = delays[i]};
		char id[8], wanted[64];
		bool found;
		snprintf(id, sizeof id, "r%zu", i);
		put_owned(id, "t");
		assert_int_equal(keel_run_requeue(world.store, text(id), &requeue, &found, NULL, NULL), KEEL_OK);
		snprintf(wanted, sizeof wanted, "\"delay\":%s}", texts[i]);
		assert_non_null(strstr(last_event().data.data, wanted));
		assert_true(keel_document_is_valid(last_event().data));
	}
}

/* Nesting `levels` deep, with brackets in texts that do not count; static text. */
static struct keel_text nested(int levels, const char *open, const char *close)
{
	static char all[65536];
	size_t size = 0;
	for (int i = 0; i < levels; i++)
		size += (size_t)snprintf(all + size, sizeof all - size, "%s", open);
	size += (size_t)snprintf(all + size, sizeof all - size, "1");
	for (int i = 0; i < levels; i++)
		size += (size_t)snprintf(all + size, sizeof all - size, "%s", close);
	return (struct keel_text){all, size};
}

/* F-44: */
TEST(depth)
{
	assert_false(keel_json_is_deep(nested(KEEL_JSON_DEPTH_MAX, "[", "]")));
	assert_true(keel_json_is_deep(nested(KEEL_JSON_DEPTH_MAX + 1, "[", "]")));
	assert_false(keel_json_is_deep(nested(KEEL_JSON_DEPTH_MAX, "{\"[{\\\"[\\\\\":", "}")));
	assert_true(keel_json_is_deep(nested(KEEL_JSON_DEPTH_MAX + 1, "{\"[{\\\"[\\\\\":", "}")));
	assert_false(keel_json_is_deep(nested(0, "", "")));
	assert_false(keel_json_is_deep(nested(9000, "[],", "")));
	assert_false(keel_json_is_deep(nested(9000, "", "]")));
	struct keel_text cut = nested(400, "\"\\", "");
	for (size_t i = 0; i < 8; i++) {
		cut.size--;
		assert_false(keel_json_is_deep(cut));
	}
	struct keel_error err;
	assert_int_equal(keel_check_document(nested(KEEL_JSON_DEPTH_MAX, "[", "]"), "data", &err), KEEL_OK);
	enum keel_code code = keel_check_document(nested(KEEL_JSON_DEPTH_MAX + 1, "[", "]"), "data", &err);
	assert_int_equal(code, KEEL_INVALID_REQUEST);
	assert_string_equal(err.field, "data");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(documents),
		ALONE(no_documents),
		ALONE(cut_documents),
		ALONE(nesting),
		ALONE(depth),
		WITH_STORE(events_are_checked),
		WITH_STORE(runs_are_checked),
		WITH_STORE(workers_are_checked),
		WITH_STORE(delays_are_json),
	};
	return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
