/* text.c - UTF-8 and the checks every text from outside goes through. Uses: error. */
#include "base/text.h"

#include "base/error.h"

/* Bytes of the UTF-8 sequence at p, 0 when it is not valid. RFC 3629, table of section 4. */
static size_t sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t size;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xC2 && p[0] <= 0xDF)
		size = 2;
	else if (p[0] >= 0xE0 && p[0] <= 0xEF)
		size = 3;
	else if (p[0] >= 0xF0 && p[0] <= 0xF4)
		size = 4;
	else
		return 0;
	if (left < size)
		return 0;
	switch (p[0]) {
	case 0xE0:
		low = 0xA0; /* overlong */
		break;
	case 0xED:
		high = 0x9F; /* surrogates */
		break;
	case 0xF0:
		low = 0x90; /* overlong */
		break;
	case 0xF4:
		high = 0x8F; /* above U+10FFFF */
		break;
	default:
		break;
	}
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if (p[i] < 0x80 || p[i] > 0xBF)
			return 0;
	return size;
}

bool keel_text_is(struct keel_text text, const char *other)
{
	return text.data && text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

bool keel_text_is_utf8(struct keel_text text)
{
	const unsigned char *p = (const unsigned char *)text.data;
	size_t i = 0;
	while (i < text.size) {
		/* Most text is ASCII: eight bytes at a time. */
		uint64_t word;
		if (text.size - i >= sizeof word) {
			memcpy(&word, p + i, sizeof word);
			if (!(word & UINT64_C(0x8080808080808080))) {
				i += sizeof word;
				continue;
			}
		}
		size_t step = sequence(p + i, text.size - i);
		if (!step)
			return false;
		i += step;
	}
	return true;
}

/* The characters with the property White_Space beyond ASCII, as UTF-8. */
static bool is_wide_space(const unsigned char *p, size_t size)
{
	if (size == 2) /* U+0085, U+00A0 */
		return p[0] == 0xC2 && (p[1] == 0x85 || p[1] == 0xA0);
	if (size != 3)
		return false;
	if (p[0] == 0xE2 && p[1] == 0x80) /* U+2000 to U+200A, U+2028, U+2029, U+202F */
		return p[2] <= 0x8A || p[2] == 0xA8 || p[2] == 0xA9 || p[2] == 0xAF;
	return (p[0] == 0xE1 && p[1] == 0x9A && p[2] == 0x80) || /* U+1680 */
		   (p[0] == 0xE2 && p[1] == 0x81 && p[2] == 0x9F) || /* U+205F */
		   (p[0] == 0xE3 && p[1] == 0x80 && p[2] == 0x80);   /* U+3000 */
}

bool keel_text_is_blank(struct keel_text text)
{
	const unsigned char *p = (const unsigned char *)text.data;
	for (size_t i = 0; i < text.size;) {
		size_t size = sequence(p + i, text.size - i);
		bool space = size == 1 ? p[i] == ' ' || (p[i] >= '\t' && p[i] <= '\r') : is_wide_space(p + i, size);
		if (!space)
			return false;
		i += size;
	}
	return true;
}

struct keel_text keel_text_cut(struct keel_text text, size_t characters)
{
	if (text.size <= characters)
		return text;
	size_t i = 0;
	for (; i < text.size; i++) {
		bool starts = ((unsigned char)text.data[i] & 0xC0) != 0x80;
		if (starts && characters-- == 0)
			break;
	}
	return (struct keel_text){text.data, i};
}

bool keel_text_line(struct keel_text *rest, struct keel_text *line)
{
	if (rest->size == 0)
		return false;
	const char *end = memchr(rest->data, '\n', rest->size);
	size_t size = end ? (size_t)(end - rest->data) : rest->size;
	*line = (struct keel_text){rest->data, size};
	size += end != NULL;
	rest->data += size;
	rest->size -= size;
	return true;
}

/* Whether there is a control character at a place: U+0000 to U+001F, U+007F, or U+0080 to U+009F, which take two bytes
 * and are as good as ESC to a terminal. */
static bool is_control(struct keel_text text, size_t i)
{
	unsigned char c = (unsigned char)text.data[i];
	if (c == 0xC2 && i + 1 < text.size)
		return (unsigned char)text.data[i + 1] >= 0x80 && (unsigned char)text.data[i + 1] <= 0x9F;
	return c < 0x20 || c == 0x7F;
}

enum keel_code keel_check_id(struct keel_text text, const char *field, struct keel_error *err)
{
	if (!text.data || text.size == 0)
		return keel_fail_field(err, field, "%s must not be empty", field);
	if (text.size > KEEL_ID_MAX)
		return keel_fail_field(err, field, "%s has %zu bytes, at most %d are allowed", field, text.size, KEEL_ID_MAX);
	for (size_t i = 0; i < text.size; i++)
		if (is_control(text, i))
			return keel_fail_field(err, field, "%s has a control character (byte %zu)", field, i + 1);
	if (!keel_text_is_utf8(text))
		return keel_fail_field(err, field, "%s is not valid UTF-8", field);
	return KEEL_OK;
}

enum keel_code keel_check_ids(const struct keel_id_field *ids, size_t count, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < count; i++)
		if (ids[i].id.data)
			code = keel_check_id(ids[i].id, ids[i].field, err);
	return code;
}

enum keel_code keel_check_stored_id(struct keel_text id, const char *field, struct keel_error *err)
{
	struct keel_error why;
	return keel_check_id(id, field, &why) == KEEL_OK
			   ? KEEL_OK
			   : keel_fail(err, KEEL_STORE_CORRUPT, "a row is damaged: %s", why.message);
}

enum keel_code keel_check_text(struct keel_text text, const char *field, struct keel_error *err)
{
	if (text.size > KEEL_TEXT_MAX)
		return keel_fail_limit(err, field, (int64_t)text.size, KEEL_TEXT_MAX);
	if (!keel_text_is_utf8(text))
		return keel_fail_field(err, field, "%s is not valid UTF-8", field);
	return KEEL_OK;
}

enum keel_code keel_check_limit(int64_t limit, int64_t max, struct keel_error *err)
{
	if (limit < 1)
		return keel_fail_field(err, "limit", "limit must be at least 1");
	if (limit > max)
		return keel_fail_limit(err, "limit", limit, max);
	return KEEL_OK;
}
