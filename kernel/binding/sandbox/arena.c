/* arena.c - where the small blocks of a box are: in every process at the same place, as far as Lua can tell.
 *
 * A table finds an object that is a key by the lower 32 bits of its address, so these decide in which order the nodes
 * of a table fill, when it grows, and what `#` says of one with holes. An arena begins in every box at the same of
 * them, in some 4 GiB of its own, and grows upwards: a script that does the same has the same blocks at the same
 * places. Which 4 GiB these are is chance, and nothing that a script can see depends on it.
 */
#include "sandbox/box.h"

#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(const volatile void *at, size_t size);
void __asan_unpoison_memory_region(const volatile void *at, size_t size);
#define CLOSE(at, size) __asan_poison_memory_region(at, size)
#define OPEN(at, size) __asan_unpoison_memory_region(at, size)
enum { GAP = 16 }; /* bytes behind each block that nobody may touch */
#else
#define CLOSE(at, size) ((void)(at), (void)(size))
#define OPEN(at, size) ((void)(at), (void)(size))
enum { GAP = 0 };
#endif

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* older kernels take the address for a hint, which is all that is needed */
#endif

enum {
	ALIGNMENT = 16,
	PIECE = 128 * 1024, /* bytes that are mapped at least */
	SPARE = 512 * 1024, /* bytes that stay mapped between two calls */
	PLACE = 0x10000000, /* the lower 32 bits of where it begins */
	TRIES = 64          /* of places that may be taken */
};

static size_t rounded(size_t size, size_t to)
{
	return (size + to - 1) / to * to;
}

static bool map_at(void *at, size_t size)
{
	void *got = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (got == MAP_FAILED)
		return false;
	if (got != at)
		munmap(got, size);
	return got == at;
}

/* Maps the first piece. The system begins to map at the upper end of the addresses there are, and programs are loaded
 * below: around the middle everything is free. */
static bool begin(struct arena *arena)
{
	void *somewhere = mmap(NULL, PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (somewhere == MAP_FAILED)
		return false;
	munmap(somewhere, PIECE);
	uint64_t middle = (uint64_t)(uintptr_t)somewhere >> 33, width = middle / 2 + 1;
	/* The place of the box tells boxes apart, so that they do not all try the same. */
	uint64_t first = ((uint64_t)(uintptr_t)arena >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	for (uint64_t i = 0; i < TRIES; i++) {
		uint64_t at = ((middle + (first + i) % width) << 32) + PLACE;
		if (at > UINTPTR_MAX)
			break;
		if (map_at((void *)(uintptr_t)at, PIECE)) {
			arena->start = (char *)(uintptr_t)at;
			arena->mapped = PIECE;
			CLOSE(arena->start, arena->mapped);
			return true;
		}
	}
	return false;
}

/* Makes room for so many bytes behind what is used. */
static bool grow(struct arena *arena, size_t needed)
{
	if (!arena->start && !begin(arena))
		return false;
	if (needed <= arena->mapped - arena->used)
		return true;
	size_t more = rounded(needed > arena->mapped / 2 ? needed : arena->mapped / 2, PIECE);
	if (more > UINT32_MAX - PLACE - arena->mapped || !map_at(arena->start + arena->mapped, more))
		return false;
	CLOSE(arena->start + arena->mapped, more);
	arena->mapped += more;
	return true;
}

bool keel_arena_has(const struct arena *arena, const void *block)
{
	return arena->start && (const char *)block >= arena->start && (const char *)block < arena->start + arena->used;
}

char *keel_arena_cut(struct arena *arena, char *block, size_t old, size_t size)
{
	size_t needed = rounded(size, ALIGNMENT) + GAP, had = rounded(old, ALIGNMENT) + GAP;
	bool last = block && block + had == arena->start + arena->used;
	if (size > UINT32_MAX || !grow(arena, needed - (last ? had : 0)))
		return NULL;
	char *made = last ? block : arena->start + arena->used;
	arena->used = (size_t)(made - arena->start) + needed;
	OPEN(made, size);
	return made;
}

void keel_arena_save(struct arena *arena, void *image)
{
	OPEN(arena->start, arena->used);
	memcpy(image, arena->start, arena->used);
}

void keel_arena_load(struct arena *arena, const void *image, size_t size)
{
	size_t kept = rounded(size, PIECE) + SPARE;
	memcpy(arena->start, image, size);
	if (arena->mapped > kept) {
		OPEN(arena->start + kept, arena->mapped - kept);
		munmap(arena->start + kept, arena->mapped - kept);
		arena->mapped = kept;
	}
	arena->used = size;
	CLOSE(arena->start + size, arena->mapped - size);
}

void keel_arena_close(struct arena *arena)
{
	if (arena->start) {
		OPEN(arena->start, arena->mapped);
		munmap(arena->start, arena->mapped);
	}
	*arena = (struct arena){0};
}
