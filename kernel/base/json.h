/* base/json.h - reading the members of a JSON object, as far as the kernel must look into one.
 *
 * Made for texts that are JSON. Of others it may find members or none, but never reads beyond the text.
 */
#ifndef KEEL_BASE_JSON_H
#define KEEL_BASE_JSON_H

#include "base/buffer.h"

/* An object being read. */
struct keel_json {
	const char *next, *end;
	bool begun;  /* a member was read */
	bool failed; /* the text is no object: stays true */
};

void keel_json_begin(struct keel_json *json, struct keel_text text);

/* Goes to the next member; false behind the last, or when reading failed: it is not called again then. The name is as
 * written, with its escapes; the value is its text. */
bool keel_json_member(struct keel_json *json, struct keel_text *name, struct keel_text *value);

/* Reads a value that is a whole number from 0 to INT64_MAX; false for anything else. */
bool keel_json_count(struct keel_text value, int64_t *count);

/* Adds a name to a buffer, its escapes resolved. False: one of them is none, or stands for a zero byte. */
bool keel_json_unescape(struct keel_text name, struct keel_buffer *buffer);

#endif
