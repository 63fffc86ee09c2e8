/* base/memory.h - memory through the allocator that the host may set, and arenas for results. */
#ifndef KEEL_BASE_MEMORY_H
#define KEEL_BASE_MEMORY_H

#include <keel/value.h>

/* NULL when there is none; memory is zeroed by keel_new only. */
void *keel_new(size_t size);
void *keel_resize(void *memory, size_t size);
void keel_free(void *memory); /* NULL is fine */

/* The items of a list, with room for one more behind `count`: the list doubles when it is full. NULL: out of memory,
 * and the list is as it was. */
void *keel_make_room(void *items, size_t count, size_t *capacity, size_t item_size);

/* A copy of a zero-terminated text, to be freed with keel_free; NULL when out of memory. */
char *keel_copy_text(const char *text);

/* An arena: memory handed out piece by piece and freed at once. A pointer to one starts as NULL and is what the lists
 * of the public interface keep in `memory`. */
struct keel_arena;

void *keel_arena_get(struct keel_arena **arena, size_t size); /* aligned for any type; NULL: out of memory */

/* Copies a text into the arena, with a zero behind it. False: out of memory. A NULL text stays NULL. */
bool keel_arena_text(struct keel_arena **arena, struct keel_text from, struct keel_text *to);

/* Forgets everything but keeps one block for the next use; keel_arena_free gives that back too. */
void keel_arena_reset(struct keel_arena **arena);
void keel_arena_free(struct keel_arena **arena);

#endif
