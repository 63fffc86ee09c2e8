/* memory.c - the allocator and arenas. Uses: nothing. */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static void *libc_resize(void *data, void *memory, size_t size)
{
	(void)data;
	return realloc(memory, size);
}

static void libc_release(void *data, void *memory)
{
	(void)data;
	free(memory);
}

static const struct keel_allocator libc_allocator = {libc_resize, libc_release, NULL};
static struct keel_allocator current = {libc_resize, libc_release, NULL};

void keel_set_allocator(const struct keel_allocator *allocator)
{
	current = allocator ? *allocator : libc_allocator;
}

void *keel_resize(void *memory, size_t size)
{
	return current.resize(current.data, memory, size);
}

void *keel_make_room(void *items, size_t count, size_t *capacity, size_t item_size)
{
	if (count < *capacity)
		return items;
	size_t more = *capacity ? *capacity * 2 : 4;
	void *moved = keel_resize(items, more * item_size);
	if (moved)
		*capacity = more;
	return moved;
}

void *keel_new(size_t size)
{
	void *memory = keel_resize(NULL, size);
	if (memory)
		memset(memory, 0, size);
	return memory;
}

void keel_free(void *memory)
{
	if (memory)
		current.release(current.data, memory);
}

char *keel_copy_text(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = keel_resize(NULL, size);
	if (copy)
		memcpy(copy, text, size);
	return copy;
}

/* Blocks form a list, the one in use first. */
struct keel_arena {
	struct keel_arena *next;
	size_t size; /* bytes of memory */
	size_t used;
	max_align_t memory[];
};

/* The first block is as large as what the C library hands out fastest: most arenas hold the texts of one row. */
enum { ARENA_BLOCK = 1024 - sizeof(struct keel_arena), ARENA_KEPT = 256 << 10 };

void *keel_arena_get(struct keel_arena **arena, size_t size)
{
	struct keel_arena *block = *arena;
	size_t align = sizeof(max_align_t);
	if (size > SIZE_MAX - sizeof *block - align)
		return NULL;
	size = (size + align - 1) / align * align;
	if (!block || block->size - block->used < size) {
		/* Each block is twice the one before, so that a long list costs few of them. */
		size_t room = block ? block->size * 2 : ARENA_BLOCK;
		if (room < size)
			room = size;
		struct keel_arena *fresh = keel_resize(NULL, sizeof *fresh + room);
		if (!fresh)
			return NULL;
		fresh->next = block;
		fresh->size = room;
		fresh->used = 0;
		*arena = block = fresh;
	}
	void *memory = (char *)block->memory + block->used;
	block->used += size;
	return memory;
}

bool keel_arena_text(struct keel_arena **arena, struct keel_text from, struct keel_text *to)
{
	*to = (struct keel_text){NULL, 0};
	if (!from.data)
		return true;
	char *copy = keel_arena_get(arena, from.size + 1);
	if (!copy)
		return false;
	if (from.size)
		memcpy(copy, from.data, from.size);
	copy[from.size] = '\0';
	*to = (struct keel_text){copy, from.size};
	return true;
}

void keel_arena_reset(struct keel_arena **arena)
{
	struct keel_arena *kept = NULL;
	/* The largest blocks come first; a huge one is not worth keeping. */
	while (*arena) {
		struct keel_arena *block = *arena;
		*arena = block->next;
		if (!kept && block->size <= (size_t)ARENA_KEPT)
			kept = block;
		else
			keel_free(block);
	}
	if (kept) {
		kept->next = NULL;
		kept->used = 0;
	}
	*arena = kept;
}

void keel_arena_free(struct keel_arena **arena)
{
	while (*arena) {
		struct keel_arena *next = (*arena)->next;
		keel_free(*arena);
		*arena = next;
	}
}
