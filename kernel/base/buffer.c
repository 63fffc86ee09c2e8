/* buffer.c - text that grows. Uses: memory. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* Makes room for `size` more bytes and a zero. */
static bool reserve(struct keel_buffer *buffer, size_t size)
{
	if (buffer->failed)
		return false;
	if (buffer->capacity - buffer->size > size)
		return true;
	if (size > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4) {
		buffer->failed = true;
		return false;
	}
	size_t capacity = buffer->capacity ? buffer->capacity * 2 : 256;
	if (capacity <= buffer->size + size)
		capacity = buffer->size + size + 1;
	char *data = keel_resize(buffer->data, capacity);
	if (!data) {
		buffer->failed = true;
		return false;
	}
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

void keel_buffer_add(struct keel_buffer *buffer, const char *data, size_t size)
{
	if (!reserve(buffer, size))
		return;
	if (size)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
}

void keel_buffer_put(struct keel_buffer *buffer, const char *text)
{
	keel_buffer_add(buffer, text, strlen(text));
}

void keel_buffer_format(struct keel_buffer *buffer, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	int size = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= sizeof text)
		buffer->failed = true; /* our own formats are short: a longer one is a mistake, not an input */
	else
		keel_buffer_add(buffer, text, (size_t)size);
}

void keel_buffer_json(struct keel_buffer *buffer, const char *key, struct keel_text text)
{
	if (!text.data)
		return;
	if (buffer->size && buffer->data[buffer->size - 1] != '{')
		keel_buffer_put(buffer, ",");
	keel_buffer_put(buffer, "\"");
	keel_buffer_put(buffer, key);
	keel_buffer_put(buffer, "\":");
	keel_buffer_json_text(buffer, text);
}

void keel_buffer_json_text(struct keel_buffer *buffer, struct keel_text text)
{
	keel_buffer_put(buffer, "\"");
	size_t start = 0;
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		keel_buffer_add(buffer, text.data + start, i - start);
		start = i + 1;
		if (c == '"' || c == '\\')
			keel_buffer_format(buffer, "\\%c", c);
		else
			keel_buffer_format(buffer, "\\u%04x", c);
	}
	keel_buffer_add(buffer, text.data + start, text.size - start);
	keel_buffer_put(buffer, "\"");
}

struct keel_text keel_buffer_text(const struct keel_buffer *buffer)
{
	return (struct keel_text){buffer->data, buffer->size};
}

void keel_buffer_clear(struct keel_buffer *buffer)
{
	buffer->size = 0;
	buffer->failed = false;
}

void keel_buffer_free(struct keel_buffer *buffer)
{
	keel_free(buffer->data);
	memset(buffer, 0, sizeof *buffer);
}
