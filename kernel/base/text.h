/* base/text.h - looking at texts. */
#ifndef KEEL_BASE_TEXT_H
#define KEEL_BASE_TEXT_H

#include <string.h>

#include <keel/value.h>

static inline struct keel_text keel_text_of(const char *text)
{
	return (struct keel_text){text, text ? strlen(text) : 0};
}

/* Whether two texts are the same bytes, or both none: an empty text is another than none. */
static inline bool keel_text_same(struct keel_text a, struct keel_text b)
{
	return a.size == b.size && !a.data == !b.data && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The first `characters` characters of a valid UTF-8 text. */
struct keel_text keel_text_cut(struct keel_text text, size_t characters);

/* Takes the first line off a text, without its end; false when nothing is left. */
bool keel_text_line(struct keel_text *rest, struct keel_text *line);

/* Checks an input; `field` names it in the error. An id has 1 to KEEL_ID_MAX bytes and no control characters. */
enum keel_code keel_check_id(struct keel_text text, const char *field, struct keel_error *err);
enum keel_code keel_check_text(struct keel_text text, const char *field, struct keel_error *err);

/* Checks those of several ids that are given. */
struct keel_id_field {
	struct keel_text id; /* data NULL: it is not given */
	const char *field;
};
enum keel_code keel_check_ids(const struct keel_id_field *ids, size_t count, struct keel_error *err);

/* The same of an id that was read from a store: what is wrong with it is damage, KEEL_STORE_CORRUPT. */
enum keel_code keel_check_stored_id(struct keel_text id, const char *field, struct keel_error *err);

/* Checks a limit: at least 1, at most `max`. */
enum keel_code keel_check_limit(int64_t limit, int64_t max, struct keel_error *err);

#endif
