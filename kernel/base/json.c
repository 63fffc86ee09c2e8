/* json.c - reading the members of a JSON object (RFC 8259). Uses: buffer. */
#include "base/json.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct keel_json *json)
{
	while (json->next < json->end && is_space(*json->next))
		json->next++;
}

/* Whether the next character behind white space is this one; then it is taken. */
static bool take(struct keel_json *json, char c)
{
	skip_space(json);
	if (json->next == json->end || *json->next != c)
		return false;
	json->next++;
	return true;
}

/* Takes a string; *text is what stands between the quotes. */
static bool take_string(struct keel_json *json, struct keel_text *text)
{
	if (!take(json, '"'))
		return false;
	const char *start = json->next;
	for (; json->next < json->end && *json->next != '"'; json->next++)
		if (*json->next == '\\' && ++json->next == json->end)
			return false;
	if (json->next == json->end)
		return false;
	*text = (struct keel_text){start, (size_t)(json->next - start)};
	json->next++;
	return true;
}

/* Takes a value: up to the comma or bracket that is not inside of it. */
static bool take_value(struct keel_json *json, struct keel_text *value)
{
	struct keel_text unused;
	size_t depth = 0;
	skip_space(json);
	const char *start = json->next;
	while (json->next < json->end) {
		char c = *json->next;
		bool closes = c == '}' || c == ']';
		if (depth == 0 && (closes || c == ','))
			break;
		if (c == '"') {
			if (!take_string(json, &unused))
				return false;
			continue;
		}
		if (closes)
			depth--;
		else if (c == '{' || c == '[')
			depth++;
		json->next++;
	}
	const char *end = json->next;
	while (end > start && is_space(end[-1]))
		end--;
	*value = (struct keel_text){start, (size_t)(end - start)};
	return depth == 0 && end > start;
}

void keel_json_begin(struct keel_json *json, struct keel_text text)
{
	json->next = text.data;
	json->end = text.data + text.size;
	json->begun = false;
	json->failed = !take(json, '{');
}

bool keel_json_member(struct keel_json *json, struct keel_text *name, struct keel_text *value)
{
	if (json->failed)
		return false;
	if (take(json, '}')) {
		skip_space(json);
		json->failed = json->next != json->end;
		json->next = json->end;
		return false;
	}
	json->failed =
		(json->begun && !take(json, ',')) || !take_string(json, name) || !take(json, ':') || !take_value(json, value);
	json->begun = true;
	return !json->failed;
}

bool keel_json_count(struct keel_text value, int64_t *count)
{
	int64_t number = 0;
	if (value.size == 0 || (value.size > 1 && value.data[0] == '0'))
		return false;
	for (size_t i = 0; i < value.size; i++) {
		int digit = value.data[i] - '0';
		if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*count = number;
	return true;
}

/* --- Escapes ------------------------------------------------------------------------------------------------------ */

static bool read_hex(const char *digits, const char *end, unsigned *unit)
{
	if (end - digits < 4)
		return false;
	*unit = 0;
	for (int i = 0; i < 4; i++) {
		char c = digits[i];
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
						 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
						 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
												: 16;
		if (digit == 16)
			return false;
		*unit = *unit * 16 + digit;
	}
	return true;
}

static void add_character(struct keel_buffer *buffer, unsigned character)
{
	char bytes[4];
	size_t size = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
	static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (size_t i = size - 1; i > 0; i--, character >>= 6)
		bytes[i] = (char)(0x80 | (character & 0x3F));
	bytes[0] = (char)(leads[size] | character);
	keel_buffer_add(buffer, bytes, size);
}

/* A \u escape, two of them for a character beyond the first plane; *p stands behind the u. */
static bool add_unicode(const char **p, const char *end, struct keel_buffer *buffer)
{
	unsigned high, low;
	if (!read_hex(*p, end, &high) || high == 0 || (high >= 0xDC00 && high <= 0xDFFF))
		return false;
	*p += 4;
	if (high < 0xD800 || high > 0xDBFF) {
		add_character(buffer, high);
		return true;
	}
	if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || !read_hex(*p + 2, end, &low) || low < 0xDC00 ||
		low > 0xDFFF)
		return false;
	*p += 6;
	add_character(buffer, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
	return true;
}

bool keel_json_unescape(struct keel_text name, struct keel_buffer *buffer)
{
	static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
	const char *p = name.data, *end = name.data + name.size;
	while (p < end) {
		const char *start = p;
		while (p < end && *p != '\\')
			p++;
		keel_buffer_add(buffer, start, (size_t)(p - start));
		if (p == end)
			return true;
		if (++p == end)
			return false;
		char letter = *p++;
		const char *found = letter ? strchr(letters, letter) : NULL;
		if (found)
			keel_buffer_add(buffer, &characters[found - letters], 1);
		else if (letter != 'u' || !add_unicode(&p, end, buffer))
			return false;
	}
	return true;
}
