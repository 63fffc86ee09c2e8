/* document.c - checking that a text is a JSON document (RFC 8259). Uses: error, text.
 *
 * Accepts what the Lua side can read again: whole numbers of 64 bits, other numbers within a double, no lone
 * surrogates, no zero byte in a name, at most KEEL_JSON_DEPTH_MAX levels. Reads no number through the C library, whose
 * decimal point is the locale's.
 */
#include "base/document.h"

#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

struct cursor {
	const char *next, *end;
};

static bool at(const struct cursor *c, char wanted)
{
	return c->next < c->end && *c->next == wanted;
}

static bool take(struct cursor *c, char wanted)
{
	if (!at(c, wanted))
		return false;
	c->next++;
	return true;
}

static void skip_space(struct cursor *c)
{
	while (at(c, ' ') || at(c, '\n') || at(c, '\t') || at(c, '\r'))
		c->next++;
}

static bool take_word(struct cursor *c, const char *word)
{
	size_t size = strlen(word);
	if ((size_t)(c->end - c->next) < size || memcmp(c->next, word, size) != 0)
		return false;
	c->next += size;
	return true;
}

/* --- Strings ------------------------------------------------------------------------------------------------------ */

/* The four digits of a \u escape. */
static bool take_unit(struct cursor *c, unsigned *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++, c->next++) {
		if (c->next == c->end)
			return false;
		char digit = *c->next;
		if (digit >= '0' && digit <= '9')
			*unit = *unit * 16 + (unsigned)(digit - '0');
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			*unit = *unit * 16 + (unsigned)((digit | 0x20) - 'a') + 10;
		else
			return false;
	}
	return true;
}

/* What follows a backslash. */
static bool take_escape(struct cursor *c, bool name)
{
	unsigned unit, low;
	if (c->next == c->end)
		return false;
	char letter = *c->next++;
	if (letter != 'u')
		return letter && strchr("\"\\/bfnrt", letter);
	if (!take_unit(c, &unit) || (name && unit == 0) || (unit >= 0xDC00 && unit <= 0xDFFF))
		return false;
	if (unit < 0xD800 || unit > 0xDBFF)
		return true;
	return take(c, '\\') && take(c, 'u') && take_unit(c, &low) && low >= 0xDC00 && low <= 0xDFFF;
}

static bool take_string(struct cursor *c, bool name)
{
	if (!take(c, '"'))
		return false;
	while (c->next < c->end) {
		char character = *c->next++;
		if (character == '"')
			return true;
		if ((unsigned char)character < 0x20 || (character == '\\' && !take_escape(c, name)))
			return false;
	}
	return false;
}

/* --- Numbers ------------------------------------------------------------------------------------------------------ */

static size_t take_digits(struct cursor *c)
{
	const char *start = c->next;
	while (c->next < c->end && *c->next >= '0' && *c->next <= '9')
		c->next++;
	return (size_t)(c->next - start);
}

/* Whether the digits of a whole number are within 64 bits. */
static bool fits_integer(const char *digits, size_t count, bool negative)
{
	static const char most[] = "9223372036854775807", least[] = "9223372036854775808";
	const size_t longest = sizeof most - 1;
	return count < longest || (count == longest && memcmp(digits, negative ? least : most, longest) <= 0);
}

/* Whether a number with a fraction or an exponent is within a double: its first 17 digits that count and its power of
 * ten are compared with the largest there is. */
static bool fits_real(const char *text, const char *end, int64_t exponent)
{
	static const char most[] = "17976931348623157";
	char first[sizeof most - 1];
	size_t count = 0;
	int64_t whole = 0; /* digits before the point, from the first that is not 0; below 0: zeros behind the point */
	bool point = false;
	memset(first, '0', sizeof first);
	for (; text < end && (*text == '.' || (*text >= '0' && *text <= '9')); text++) {
		if (*text == '.') {
			point = true;
			continue;
		}
		if (count == 0 && *text == '0') {
			whole -= point;
			continue;
		}
		if (count < sizeof first)
			first[count] = *text;
		count++;
		whole += !point;
	}
	const int64_t digits = 309; /* of the largest double */
	if (count == 0 || whole + exponent < digits)
		return true;
	return whole + exponent == digits && memcmp(first, most, sizeof first) <= 0;
}

static bool take_exponent(struct cursor *c, int64_t *exponent)
{
	enum { FAR = 100000000 }; /* beyond the length of any text, and of any double */
	c->next++;
	bool negative = at(c, '-');
	if (negative || at(c, '+'))
		c->next++;
	const char *start = c->next;
	if (take_digits(c) == 0)
		return false;
	for (; start < c->next; start++)
		if (*exponent < FAR)
			*exponent = *exponent * 10 + (*start - '0');
	if (negative)
		*exponent = -*exponent;
	return true;
}

static bool take_number(struct cursor *c)
{
	bool negative = take(c, '-');
	const char *start = c->next;
	int64_t exponent = 0;
	size_t count = take_digits(c);
	if (count == 0 || (count > 1 && *start == '0'))
		return false;
	bool real = at(c, '.') || at(c, 'e') || at(c, 'E');
	if (!real)
		return fits_integer(start, count, negative);
	if (take(c, '.') && take_digits(c) == 0)
		return false;
	if ((at(c, 'e') || at(c, 'E')) && !take_exponent(c, &exponent))
		return false;
	return fits_real(start, c->next, exponent);
}

/* --- The whole ---------------------------------------------------------------------------------------------------- */

static bool take_scalar(struct cursor *c)
{
	if (c->next == c->end)
		return false;
	switch (*c->next) {
	case '"':
		return take_string(c, false);
	case 't':
		return take_word(c, "true");
	case 'f':
		return take_word(c, "false");
	case 'n':
		return take_word(c, "null");
	default:
		return take_number(c);
	}
}

static bool take_name(struct cursor *c)
{
	skip_space(c);
	if (!take_string(c, true))
		return false;
	skip_space(c);
	return take(c, ':');
}

/* Without recursion: which of the open brackets are those of objects is a bit each. */
static bool take_document(struct cursor *c)
{
	unsigned char objects[KEEL_JSON_DEPTH_MAX];
	size_t depth = 0;
	for (;;) {
		/* A value is to come. */
		skip_space(c);
		bool object = at(c, '{');
		if (object || at(c, '[')) {
			if (depth == KEEL_JSON_DEPTH_MAX)
				return false;
			objects[depth++] = object;
			c->next++;
			skip_space(c);
			if (!at(c, object ? '}' : ']')) {
				if (object && !take_name(c))
					return false;
				continue;
			}
		} else if (!take_scalar(c)) {
			return false;
		}
		/* A value is over, or a bracket about to close. */
		for (;;) {
			skip_space(c);
			if (depth == 0)
				return c->next == c->end;
			if (take(c, ','))
				break;
			if (!take(c, objects[depth - 1] ? '}' : ']'))
				return false;
			depth--;
		}
		if (objects[depth - 1] && !take_name(c))
			return false;
	}
}

bool keel_document_is_valid(struct keel_text text)
{
	struct cursor cursor = {text.data, text.data + text.size};
	if (text.size == 2 && memcmp(text.data, "{}", 2) == 0)
		return true;
	return keel_text_is_utf8(text) && take_document(&cursor);
}

bool keel_json_is_deep(struct keel_text json)
{
	size_t depth = 0;
	if (json.size <= 2 * KEEL_JSON_DEPTH_MAX) /* what opens closes again: most documents need not be read */
		return false;
	for (size_t i = 0; i < json.size; i++) {
		char c = json.data[i];
		if (c == '"') {
			for (i++; i < json.size && json.data[i] != '"'; i++)
				i += json.data[i] == '\\';
		} else if (c == '[' || c == '{') {
			if (++depth > KEEL_JSON_DEPTH_MAX)
				return true;
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
	}
	return false;
}

enum keel_code keel_check_document(struct keel_text text, const char *field, struct keel_error *err)
{
	if (!text.data)
		return KEEL_OK;
	enum keel_code code = keel_check_text(text, field, err);
	if (code == KEEL_OK && keel_json_is_deep(text))
		code = keel_fail_field(err, field, "%s is nested too deeply: at most %d levels are allowed", field,
							   KEEL_JSON_DEPTH_MAX);
	else if (code == KEEL_OK && !keel_document_is_valid(text))
		code = keel_fail_field(err, field, "%s is not valid JSON", field);
	return code;
}
