/* keel/value.h - the small values everything else is made of: texts, times, ids, and where they come from. */
#ifndef KEEL_VALUE_H
#define KEEL_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include <keel/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A text of known size, UTF-8, possibly with zero bytes inside. `data` NULL means "no value".
 * In arguments it is borrowed for the call; in results it lives as long as the list that holds it. */
struct keel_text {
	const char *data;
	size_t size; /* bytes */
};

enum {
	KEEL_ID_MAX = 256,                 /* bytes of an id or name: it must fit keys, logs and a screen */
	KEEL_RESULT_MAX = 1024 * 1024,     /* bytes of a run's result as JSON */
	KEEL_TEXT_MAX = 16 * 1024 * 1024,  /* bytes of one text or JSON document: a row must fit in memory, twice */
	KEEL_JSON_DEPTH_MAX = 200,         /* arrays and objects in one another: to go through them needs stack, and a
	                                   thread may have 128 KiB of it */
	KEEL_MODEL_NAME_MAX = 128,         /* characters; longer names are cut */
	KEEL_EXCERPT_MAX = 2000,           /* characters kept of the first and last message; longer ones are cut */
	KEEL_PAGE_BYTES = 4 * 1024 * 1024, /* of texts, after which a page ends; it has one row at least */
	KEEL_UUID_SIZE = 37,               /* 36 characters and a zero */
	KEEL_TIME_SIZE = 33                /* "2026-11-21T02:16:41.123456+00:00" and a zero */
};

/* Where "now" comes from. `now` returns microseconds since the epoch, UTC. It must not call back into Keel. */
struct keel_clock {
	int64_t (*now)(void *data);
	void *data;
};

/* The system's clock, made strictly increasing within the process: two changes never share a time. Thread safe. */
KEEL_API struct keel_clock keel_clock_system(void);

/* Where ids come from. `next` writes a zero-terminated id of at most KEEL_UUID_SIZE bytes, unique for ever. */
struct keel_ids {
	enum keel_code (*next)(void *data, char id[KEEL_UUID_SIZE]);
	void *data;
};

/* UUIDs of version 7 (RFC 9562), strictly increasing within the process, from the system's clock and random source.
 * `next` fails with KEEL_IO when the system has no randomness to give. Thread safe, also across fork. */
KEEL_API struct keel_ids keel_ids_uuid7(void);

/* Writes `time` (microseconds since the epoch) as RFC 3339 UTC text, the fraction left out when it is zero.
 * Years 0 to 9999; a time outside is cut to the nearest. Returns the length. */
KEEL_API size_t keel_time_format(int64_t time, char text[KEEL_TIME_SIZE]);

/* Reads an RFC 3339 time with any offset or Z. Digits beyond microseconds are dropped; a leap second counts as the
 * second before it. Fails with KEEL_INVALID_REQUEST, and leaves *time alone, for anything else. */
KEEL_API enum keel_code keel_time_parse(struct keel_text text, int64_t *time);

/* Whether a text is valid UTF-8 (no surrogates, nothing above U+10FFFF, no overlong forms). */
KEEL_API bool keel_text_is_utf8(struct keel_text text);

/* Whether the arrays and objects of a JSON document go deeper than KEEL_JSON_DEPTH_MAX. Of a text that is no JSON it
 * may say either, and never reads beyond it. */
KEEL_API bool keel_json_is_deep(struct keel_text json);

/* Whether a text is this one, to its last byte. */
KEEL_API bool keel_text_is(struct keel_text text, const char *other);

/* Whether a valid UTF-8 text has nothing but white space (as Unicode has it). */
KEEL_API bool keel_text_is_blank(struct keel_text text);

/* Memory of the kernel comes from here. The default is the C library's; set another one before the first handle is
 * opened and leave it. `resize` behaves like realloc with a non-zero size; it may return NULL. */
struct keel_allocator {
	void *(*resize)(void *data, void *memory, size_t size);
	void (*release)(void *data, void *memory);
	void *data;
};
KEEL_API void keel_set_allocator(const struct keel_allocator *allocator); /* NULL: back to the default */

#ifdef __cplusplus
}
#endif
#endif
