/* postgres_text.c - the one body of SQL, and the texts in it, as the server reads them. Uses: buffer. */
#include "sql/postgres_parts.h"

#include <string.h>

#include "base/assert.h"

/* The tables whose keys the database makes, and the key. */
static const struct {
	const char *begins, *key;
} keyed[] = {
	{"INSERT INTO runs ", " RETURNING seq"},     {"INSERT INTO events ", " RETURNING id"},
	{"INSERT INTO sessions ", " RETURNING id"},  {"INSERT INTO lines ", " RETURNING line"},
	{"INSERT INTO runtimes ", " RETURNING seq"}, {"INSERT INTO workers ", " RETURNING seq"},
};

static bool begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Adds `$N` for the number of a parameter; returns what follows the number. */
static const char *put_parameter(const char *at, struct keel_buffer *out, int *numbers, int *count)
{
	int number = 0;
	for (at++; *at >= '0' && *at <= '9'; at++)
		number = number * 10 + (*at - '0');
	KEEL_ASSERT(number > 0);
	if (!numbers[number])
		numbers[number] = ++*count;
	keel_buffer_format(out, "$%d", numbers[number]);
	return at;
}

bool postgres_translate(const char *text, struct keel_buffer *out, int *numbers, int *count, bool *returns_key)
{
	static const char hint[] = " INDEXED BY ";
	bool quoted = false;
	*count = 0;
	*returns_key = false;
	for (const char *at = text; *at;) {
		if (*at == '\'')
			quoted = !quoted;
		if (!quoted && *at == '?') {
			at = put_parameter(at, out, numbers, count);
		} else if (!quoted && begins_with(at, hint)) {
			at += sizeof hint - 1;
			at += strcspn(at, " ");
		} else {
			keel_buffer_add(out, at++, 1);
		}
	}
	KEEL_ASSERT(!quoted);
	for (size_t i = 0; i < sizeof keyed / sizeof keyed[0] && !strstr(text, " RETURNING "); i++) {
		if (!begins_with(text, keyed[i].begins))
			continue;
		keel_buffer_put(out, keyed[i].key);
		*returns_key = true;
	}
	return !out->failed;
}

void postgres_encode(struct keel_buffer *out, struct keel_text text)
{
	size_t plain = 0;
	for (size_t i = 0; i < text.size; i++) {
		if ((unsigned char)text.data[i] > 1)
			continue;
		keel_buffer_add(out, text.data + plain, i - plain);
		keel_buffer_add(out, text.data[i] ? "\0011" : "\0010", 2);
		plain = i + 1;
	}
	keel_buffer_add(out, text.data + plain, text.size - plain);
	keel_buffer_add(out, "", 1);
}

size_t postgres_decode(char *data, size_t size)
{
	char *to = memchr(data, 1, size);
	if (!to)
		return size;
	for (const char *from = to; from < data + size; from++) {
		if (*from != 1) {
			*to++ = *from;
			continue;
		}
		if (++from < data + size)
			*to++ = (char)(*from - '0');
	}
	*to = '\0';
	return (size_t)(to - data);
}
