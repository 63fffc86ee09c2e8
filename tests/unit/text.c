/* text.c - which bytes are UTF-8, where texts are cut, and what passes as an id. */
#include "support.h"

static bool valid(const void *bytes, size_t size)
{
	/* Exactly as much memory as there is text, so that a look beyond its end is seen. */
	char *exact = malloc(size ? size : 1);
	assert_non_null(exact);
	if (size)
		memcpy(exact, bytes, size);
	bool is = keel_text_is_utf8((struct keel_text){exact, size});
	free(exact);
	return is;
}

/* The encoding of a number, right or wrong, in `length` bytes. */
static size_t encode(uint32_t number, size_t length, unsigned char bytes[4])
{
	static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (size_t i = length - 1; i > 0; i--, number >>= 6)
		bytes[i] = (unsigned char)(0x80 | (number & 0x3F));
	bytes[0] = (unsigned char)(marks[length] | number);
	return length;
}

static size_t shortest(uint32_t number)
{
	return number < 0x80 ? 1 : number < 0x800 ? 2 : number < 0x10000 ? 3 : 4;
}

/* Every character of Unicode is valid in its shortest form, but for the surrogates. */
TEST(takes_every_character)
{
	unsigned char bytes[4];
	for (uint32_t number = 0; number <= 0x10FFFF; number++) {
		struct keel_text one = {(const char *)bytes, encode(number, shortest(number), bytes)};
		if (keel_text_is_utf8(one) != (number < 0xD800 || number > 0xDFFF))
			fail_msg("U+%04X", number);
	}
}

/* A longer form than needed is not valid, nor is anything above U+10FFFF. */
TEST(refuses_overlong_forms)
{
	unsigned char bytes[4];
	for (size_t length = 2; length <= 4; length++)
		for (uint32_t number = 0; shortest(number) < length; number++)
			assert_false(keel_text_is_utf8((struct keel_text){(const char *)bytes, encode(number, length, bytes)}));
	for (uint32_t number = 0x110000; number < 0x200000; number++)
		assert_false(keel_text_is_utf8((struct keel_text){(const char *)bytes, encode(number, 4, bytes)}));
}

/* Of all pairs and triples of bytes, just those are valid that the table of RFC 3629 gives. */
TEST(agrees_with_the_table)
{
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			unsigned char pair[] = {(unsigned char)a, (unsigned char)b};
			bool is = a < 0x80 ? b < 0x80 : a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF;
			assert_int_equal(keel_text_is_utf8((struct keel_text){(const char *)pair, 2}), is);
			if (a < 0xE0 || a > 0xEF)
				continue;
			for (unsigned c = 0; c < 256; c++) {
				unsigned char triple[] = {(unsigned char)a, (unsigned char)b, (unsigned char)c};
				unsigned low = a == 0xE0 ? 0xA0 : 0x80, high = a == 0xED ? 0x9F : 0xBF;
				is = b >= low && b <= high && c >= 0x80 && c <= 0xBF;
				assert_int_equal(keel_text_is_utf8((struct keel_text){(const char *)triple, 3}), is);
			}
		}
	for (unsigned a = 0xF8; a < 256; a++)
		assert_false(valid((unsigned char[]){(unsigned char)a, 0x80, 0x80, 0x80, 0x80, 0x80}, 6));
}

/* A character cut short at the end is not valid, however much came before it. */
TEST(refuses_half_a_character)
{
	static const char *const characters[] = {"é", "€", "😀"};
	for (size_t before = 0; before < 20; before++)
		for (int i = 0; i < 3; i++) {
			char line[32];
			size_t size = strlen(characters[i]);
			memset(line, 'x', before);
			memcpy(line + before, characters[i], size);
			assert_true(valid(line, before + size));
			for (size_t left = 1; left < size; left++)
				assert_false(valid(line, before + left));
		}
}

/* A bad byte is found wherever it stands among plain ones. */
TEST(finds_a_bad_byte_anywhere)
{
	char line[40];
	for (size_t size = 1; size <= sizeof line; size++)
		for (size_t at = 0; at < size; at++) {
			memset(line, 'x', sizeof line);
			line[at] = '\xFF';
			assert_false(valid(line, size));
			line[at] = '\0'; /* a zero byte is a character as any other */
			assert_true(valid(line, size));
		}
	assert_true(valid("", 0));
	assert_true(keel_text_is_utf8(nothing));
}

/* A text is cut behind a number of characters, never inside one. */
TEST(cuts_between_characters)
{
	struct keel_text mixed = text("aé€😀z");
	static const size_t ends[] = {0, 1, 3, 6, 10, 11, 11, 11};
	for (size_t characters = 0; characters < sizeof ends / sizeof ends[0]; characters++) {
		struct keel_text cut = keel_text_cut(mixed, characters);
		assert_ptr_equal(cut.data, mixed.data);
		assert_int_equal(cut.size, ends[characters]);
	}
	assert_int_equal(keel_text_cut(text(""), 5).size, 0);
}

/* Two texts are the same when their bytes are, zero bytes included; no value is like no text. */
TEST(compares_whole_texts)
{
	assert_true(keel_text_is(text("abc"), "abc"));
	assert_false(keel_text_is(text("abc"), "ab"));
	assert_false(keel_text_is(text("ab"), "abc"));
	assert_false(keel_text_is((struct keel_text){"ab\0c", 4}, "ab"));
	assert_false(keel_text_is(nothing, ""));
	assert_true(keel_text_is(text(""), ""));
}

static enum keel_code check_id(const char *data, size_t size)
{
	return keel_check_id((struct keel_text){data, size}, "run_id", &why);
}

/* An id has 1 to 256 bytes. */
TEST(ids_have_a_length)
{
	char id[KEEL_ID_MAX + 1];
	memset(id, 'x', sizeof id);
	refuse_field("run_id", check_id(NULL, 0));
	refuse_field("run_id", check_id("", 0));
	succeed(check_id(id, 1));
	succeed(check_id(id, KEEL_ID_MAX));
	refuse_field("run_id", check_id(id, KEEL_ID_MAX + 1));
}

/* An id has no control character in it, and is UTF-8. */
TEST(ids_have_no_control_characters)
{
	char id[] = "a_b";
	for (int c = 0; c < 128; c++) {
		id[1] = (char)c;
		if (c < 0x20 || c == 0x7F)
			refuse_field("run_id", check_id(id, 3));
		else
			succeed(check_id(id, 3));
	}
	char two[] = "a\xC2_b"; /* U+0080 to U+00BF; up to U+009F they are control characters, too */
	for (int c = 0x80; c < 0xC0; c++) {
		two[2] = (char)c;
		if (c < 0xA0)
			refuse_field("run_id", check_id(two, 4));
		else
			succeed(check_id(two, 4));
	}
	refuse_field("run_id", check_id("a\xC2", 2));
	refuse_field("run_id", check_id("a\xFFz", 3));
	succeed(check_id("ünï 😀", strlen("ünï 😀")));
}

/* A text has at most 16 MiB; too long a one is a limit, with what was asked for and what is allowed. */
TEST(texts_have_a_limit)
{
	char *long_text = malloc(KEEL_TEXT_MAX + 1);
	assert_non_null(long_text);
	memset(long_text, 'x', KEEL_TEXT_MAX + 1);
	succeed(keel_check_text((struct keel_text){long_text, KEEL_TEXT_MAX}, "error", &why));
	refuse(LIMIT_TOO_LARGE, keel_check_text((struct keel_text){long_text, KEEL_TEXT_MAX + 1}, "error", &why));
	assert_string_equal(why.field, "error");
	assert_true(why.requested == KEEL_TEXT_MAX + 1 && why.max == KEEL_TEXT_MAX);
	free(long_text);
	refuse_field("error", keel_check_text(text("\xC3"), "error", &why));
}

/* Of all characters just those with the property White_Space are blank, alone and between others. */
TEST(knows_every_white_space)
{
	static const struct {
		uint32_t first, last;
	} spaces[] = {{'\t', '\r'},     {' ', ' '},       {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
				  {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
	unsigned char bytes[4];
	for (uint32_t number = 0; number <= 0x10FFFF; number++) {
		bool is = false;
		if (number >= 0xD800 && number <= 0xDFFF)
			continue;
		for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
			is = is || (number >= spaces[i].first && number <= spaces[i].last);
		if (keel_text_is_blank((struct keel_text){(const char *)bytes, encode(number, shortest(number), bytes)}) != is)
			fail_msg("U+%04X", number);
	}
	assert_true(keel_text_is_blank(text("")));
	assert_true(keel_text_is_blank(text(" \xC2\xA0\xE3\x80\x80\n")));
	assert_false(keel_text_is_blank(text(" \xC2\xA0x\xE3\x80\x80")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(takes_every_character),    ALONE(refuses_overlong_forms),    ALONE(agrees_with_the_table),
		ALONE(refuses_half_a_character), ALONE(finds_a_bad_byte_anywhere), ALONE(cuts_between_characters),
		ALONE(compares_whole_texts),     ALONE(ids_have_a_length),         ALONE(ids_have_no_control_characters),
		ALONE(texts_have_a_limit),       ALONE(knows_every_white_space),
	};
	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
