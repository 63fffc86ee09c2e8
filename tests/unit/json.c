/* json.c - reading the members of a JSON object. */
#include "support.h"

#include "base/json.h"

/* "name=value;…" of a text, names as written; "!" at the end when reading failed. Static text. */
static const char *members_of(struct keel_text json)
{
	static char all[1024];
	struct keel_json reader;
	struct keel_text name, value;
	size_t size = 0;
	all[0] = '\0';
	keel_json_begin(&reader, json);
	while (keel_json_member(&reader, &name, &value)) {
		assert_true(name.data >= json.data && name.data + name.size <= json.data + json.size);
		assert_true(value.size > 0 && value.data >= json.data && value.data + value.size <= json.data + json.size);
		int more = snprintf(all + size, sizeof all - size, "%.*s=%.*s;", (int)name.size, name.data, (int)value.size,
							value.data);
		size += (size_t)more;
		assert_true(size < sizeof all - 2);
	}
	if (reader.failed)
		strcpy(all + size, "!");
	return all;
}

static int64_t count_of(const char *value)
{
	int64_t count = -1;
	assert_true(keel_json_count(text(value), &count) == (count >= 0));
	return count;
}

/* A name without its escapes; NULL when they are none. Static text. */
static const char *unescaped(const char *name)
{
	static char plain[64];
	struct keel_buffer buffer = {0};
	bool good = keel_json_unescape(text(name), &buffer);
	snprintf(plain, sizeof plain, "%s", buffer.data ? buffer.data : "");
	keel_buffer_free(&buffer);
	return good ? plain : NULL;
}

/* Members come in order, with their values' text, whatever is inside of them. */
TEST(members)
{
	assert_string_equal(members_of(text("{}")), "");
	assert_string_equal(members_of(text(" {\n} ")), "");
	assert_string_equal(members_of(text("{\"a\":1}")), "a=1;");
	assert_string_equal(members_of(text("{ \"a\" : 1 , \"b\" : null }\n")), "a=1;b=null;");
	assert_string_equal(members_of(text("{\"a\":{\"x\":[1,{}]},\"b\":[],\"\":\"},{\"}")),
						"a={\"x\":[1,{}]};b=[];=\"},{\";");
	assert_string_equal(members_of(text("{\"a\\\"\":\"\\\\\"}")), "a\\\"=\"\\\\\";");
}

/* What is no object fails, at the latest where it ends. */
TEST(no_objects)
{
	static const char *const texts[] = {"",        " ",        "[]",          "1",        "{",       "{\"a\"",
										"{\"a\":", "{\"a\":}", "{\"a\" 1}",   "{a:1}",    "{\"a:1}", "{,}",
										"{\"a\\",  "{} x",     "{\"a\":\"x}", "{\"a\":[1"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_string_equal(members_of(text(texts[i])), "!");
	assert_string_equal(members_of(text("{\"a\":1,}")), "a=1;!");
	assert_string_equal(members_of(text("{\"a\":1 \"b\":2}")), "a=1 \"b\":2;");
	assert_string_equal(members_of(text("{\"a\":1]")), "a=1;!");
}

/* Counts are whole numbers from 0 to the largest. */
TEST(counts)
{
	assert_int_equal(count_of("0"), 0);
	assert_int_equal(count_of("120"), 120);
	assert_int_equal(count_of("9223372036854775807"), INT64_MAX);
	static const char *const others[] = {"",
										 "-1",
										 "-0",
										 "+1",
										 "01",
										 "1.0",
										 "1e2",
										 "0x1",
										 "1 2",
										 "true",
										 "\"1\"",
										 "9223372036854775808",
										 "99999999999999999999"};
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_int_equal(count_of(others[i]), -1);
}

/* Escapes stand for what RFC 8259 says; those that are none, and the zero byte, are refused. */
TEST(escapes)
{
	assert_string_equal(unescaped(""), "");
	assert_string_equal(unescaped("plain é"), "plain é");
	assert_string_equal(unescaped("\\\"\\\\\\/\\b\\f\\n\\r\\t"), "\"\\/\b\f\n\r\t");
	assert_string_equal(unescaped("x\\u0041\\u00e9\\u20AC\\ud83d\\uDE00y"), "xAé€😀y");
	static const char *const bad[] = {
		"\\",      "\\x",      "\\u",        "\\u12",          "\\u12g4",        "\\u0000",     "\\ude00",
		"\\ud83d", "\\ud83dx", "\\ud83d\\n", "\\ud83d\\u0041", "\\ud83d\\ud83d", "\\ud83d\\u12"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(unescaped(bad[i]));
}

/* Any bytes are read without leaving them: pieces of JSON thrown together, in memory of just their size. */
TEST(any_bytes)
{
	static const char *const pieces[] = {"{", "}", "[", "]", "\"", "\\", ":", ",", "1", "a", "\"a\"", "\"a\":1", "\\u"};
	uint64_t chance = chance_start("json");
	for (int round = 0; round < 20000; round++) {
		char made[256] = "";
		int64_t count = chance_below(&chance, 20);
		for (int64_t i = 0; i < count; i++)
			strcat(made, pieces[chance_below(&chance, sizeof pieces / sizeof pieces[0])]);
		size_t size = strlen(made);
		char *exact = malloc(size + 1); /* at least one byte, which is not the text's */
		assert_non_null(exact);
		memcpy(exact, made, size);
		struct keel_buffer buffer = {0};
		members_of((struct keel_text){exact, size});
		keel_json_unescape((struct keel_text){exact, size}, &buffer);
		keel_buffer_free(&buffer);
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(members), ALONE(no_objects), ALONE(counts), ALONE(escapes), ALONE(any_bytes),
	};
	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
