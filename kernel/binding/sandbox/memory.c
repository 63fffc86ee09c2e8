/* memory.c - the memory of a box: counted, and put back after each call as it was before.
 *
 * A Lua state is plain memory that refers to nothing outside of itself, so a copy of it, taken when the script has been
 * loaded, is all it takes to undo a call: no collector has to run, nothing a script did can be there for the next one,
 * and a call that was stopped half-way costs no more than another. Small blocks are cut off chunks one after the other
 * and never given back one by one; large ones are the host's. What was cut off counts until the call ends.
 */
#include "sandbox/sandbox.h"

#include <string.h>

enum {
	CHUNK_SIZE = 128 * 1024,
	ALIGNMENT = 16,
#if defined(__SANITIZE_ADDRESS__)
	LARGE = 1 /* so that the sanitizer sees the borders of each block */
#else
	LARGE = 16 * 1024
#endif
};

struct chunk {
	struct chunk *older;
	size_t size, used; /* bytes behind this header */
	size_t kept;       /* of these, the bytes that the image has */
};

struct large {
	struct large *next, *previous;
	size_t size, padding;
};

static char *bytes_of(struct chunk *chunk)
{
	return (char *)(chunk + 1);
}

static void *host(struct sandbox *box, void *block, size_t old, size_t size)
{
	return box->alloc(box->alloc_data, block, old, size);
}

/* Whether a block can still grow to a size, for which so many bytes more are needed. After the stop what is small still
 * may: the next instruction raises, and refusing would make Lua collect all garbage first, which takes longer than what
 * is left to do. */
static bool may_grow(struct sandbox *box, size_t size, size_t more)
{
	if (size >= SANDBOX_LARGE)
		keel_sandbox_hasten(box);
	if (!box->exceeded) {
		if (more > box->limit || box->used > box->limit - more)
			keel_sandbox_trip(box, "bytes");
		else if (size > SANDBOX_BLOCK_MAX)
			keel_sandbox_trip(box, "block");
		else
			keel_sandbox_look(box, more);
	}
	return !box->exceeded || (size <= SANDBOX_SMALL && box->used < box->limit + SANDBOX_SLACK);
}

static void count(struct sandbox *box, size_t bytes)
{
	box->used += bytes;
	if (box->used > box->peak)
		box->peak = box->used;
}

/* --- Small ------------------------------------------------------------------------------------------------------- */

static size_t rounded(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool add_chunk(struct sandbox *box, size_t size)
{
	size = size > CHUNK_SIZE ? size : CHUNK_SIZE;
	struct chunk *chunk = host(box, NULL, 0, sizeof *chunk + size);
	if (!chunk) {
		keel_sandbox_trip(box, "memory");
		return false;
	}
	*chunk = (struct chunk){.older = box->chunk, .size = size};
	box->chunk = chunk;
	return true;
}

/* Cuts a block off, or lets the one that was cut off last grow in its place. */
static void *cut(struct sandbox *box, void *block, size_t old, size_t size)
{
	struct chunk *chunk = box->chunk;
	size_t needed = rounded(size), had = rounded(old);
	if (block && chunk && (char *)block + had == bytes_of(chunk) + chunk->used &&
		needed - had <= chunk->size - chunk->used) {
		chunk->used += needed - had;
		count(box, needed - had);
		return block;
	}
	if (!chunk || needed > chunk->size - chunk->used) {
		if (!add_chunk(box, needed))
			return NULL;
		chunk = box->chunk;
	}
	char *made = bytes_of(chunk) + chunk->used;
	chunk->used += needed;
	count(box, needed);
	if (block)
		memcpy(made, block, old < size ? old : size);
	return made;
}

/* --- Large ------------------------------------------------------------------------------------------------------- */

/* Whether a block is a large one. Before there is an image none is; of those in it, none is. */
static bool is_large(const struct sandbox *box, const void *block, size_t size)
{
	if (!block || !box->image || size < LARGE)
		return false;
	for (struct chunk *chunk = box->chunk; chunk; chunk = chunk->older)
		if ((const char *)block >= bytes_of(chunk) && (const char *)block < bytes_of(chunk) + chunk->kept)
			return false;
	return true;
}

static void unlink_large(struct sandbox *box, struct large *large)
{
	if (large->previous)
		large->previous->next = large->next;
	else
		box->large = large->next;
	if (large->next)
		large->next->previous = large->previous;
}

/* Makes a large block, or changes the size of one; NULL: the old one is as it was. */
static void *resize_large(struct sandbox *box, void *block, size_t size)
{
	struct large *old = block ? (struct large *)block - 1 : NULL;
	size_t before = old ? old->size : 0;
	struct large *made = host(box, old, old ? sizeof *old + before : 0, sizeof *made + size);
	if (!made) {
		keel_sandbox_trip(box, "memory");
		return NULL;
	}
	if (!old)
		*made = (struct large){.next = box->large};
	if (made->previous)
		made->previous->next = made;
	else
		box->large = made;
	if (made->next)
		made->next->previous = made;
	made->size = size;
	box->used -= before;
	count(box, size);
	return made + 1;
}

static void free_large(struct sandbox *box, struct large *large)
{
	unlink_large(box, large);
	box->used -= large->size;
	host(box, large, sizeof *large + large->size, 0);
}

void *keel_sandbox_allocate(void *data, void *block, size_t before, size_t size)
{
	struct sandbox *box = data;
	size_t old = block ? before : 0; /* without a block it says what the new one is for */
	bool large = is_large(box, block, old), to_be_large = box->image && size >= LARGE;
	if (size == 0) {
		if (large)
			free_large(box, (struct large *)block - 1);
		return NULL;
	}
	if (size > old && !may_grow(box, size, large ? size - old : size))
		return NULL;
	if (block && !large && size <= old)
		return block;
	if (large == to_be_large || !block)
		return to_be_large ? resize_large(box, block, size) : cut(box, block, old, size);
	void *made = to_be_large ? resize_large(box, NULL, size) : cut(box, NULL, 0, size);
	if (!made)
		return NULL;
	memcpy(made, block, old < size ? old : size);
	if (large)
		free_large(box, (struct large *)block - 1);
	return made;
}

/* --- The image --------------------------------------------------------------------------------------------------- */

bool keel_sandbox_keep(struct sandbox *box)
{
	size_t size = 0;
	for (struct chunk *chunk = box->chunk; chunk; chunk = chunk->older)
		size += chunk->used;
	char *image = host(box, NULL, 0, size);
	if (!image)
		return false;
	box->image = image;
	box->image_size = size;
	box->image_used = box->used;
	for (struct chunk *chunk = box->chunk; chunk; chunk = chunk->older) {
		chunk->kept = chunk->used;
		memcpy(image, bytes_of(chunk), chunk->kept);
		image += chunk->kept;
	}
	return true;
}

static void drop_chunk(struct sandbox *box)
{
	struct chunk *chunk = box->chunk;
	box->chunk = chunk->older;
	host(box, chunk, sizeof *chunk + chunk->size, 0);
}

void keel_sandbox_restore(struct sandbox *box)
{
	const char *image = box->image;
	while (box->large)
		free_large(box, box->large);
	while (box->chunk && box->chunk->kept == 0)
		drop_chunk(box);
	for (struct chunk *chunk = box->chunk; chunk; chunk = chunk->older) {
		memcpy(bytes_of(chunk), image, chunk->kept);
		image += chunk->kept;
		chunk->used = chunk->kept;
	}
	box->used = box->image_used;
}

void keel_sandbox_drop(struct sandbox *box)
{
	while (box->large)
		free_large(box, box->large);
	while (box->chunk)
		drop_chunk(box);
	if (box->image)
		host(box, box->image, box->image_size, 0);
	box->image = NULL;
	box->used = 0;
	box->S = NULL;
}
