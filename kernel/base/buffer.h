/* base/buffer.h - text that grows: SQL made from the field list, JSON of an event. */
#ifndef KEEL_BASE_BUFFER_H
#define KEEL_BASE_BUFFER_H

#include <keel/value.h>

/* Starts as {0}. Once memory ran out, `failed` stays true and further additions do nothing: check it at the end. */
struct keel_buffer {
	char *data; /* zero-terminated once anything was added */
	size_t size;
	size_t capacity;
	bool failed;
};

void keel_buffer_add(struct keel_buffer *buffer, const char *data, size_t size);
void keel_buffer_put(struct keel_buffer *buffer, const char *text);
void keel_buffer_format(struct keel_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds `"key":` and a JSON string, a comma before it when something but an opening brace stands before. The text must
 * be valid UTF-8. A NULL text adds nothing. */
void keel_buffer_json(struct keel_buffer *buffer, const char *key, struct keel_text text);

/* Adds a JSON string. The text must be valid UTF-8. */
void keel_buffer_json_text(struct keel_buffer *buffer, struct keel_text text);

struct keel_text keel_buffer_text(const struct keel_buffer *buffer);
void keel_buffer_clear(struct keel_buffer *buffer); /* empty, memory kept */
void keel_buffer_free(struct keel_buffer *buffer);

#endif
