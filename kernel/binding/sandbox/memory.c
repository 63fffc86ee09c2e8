/* memory.c - the memory of a box: counted, and put back after each call as it was before.
 *
 * A Lua state is plain memory that refers to nothing outside of itself, so a copy of it, taken when the script has been
 * loaded, is all it takes to undo a call: no collector has to run, nothing a script did can be there for the next one,
 * and a call that was stopped half-way costs no more than another. Small blocks are cut off an arena (arena.c) one
 * after the other and never given back one by one; large ones are the host's. What was cut off counts until the call
 * ends.
 *
 * Lua answers a refused block by collecting all garbage before it asks again, which takes tens of milliseconds when
 * there is much, inside of one instruction. So nothing is simply refused: what the stop comes too late for is granted,
 * when it is small or a vector that Lua was about to let grow, and for an object that is too large, or the hash part of
 * a table, the stop is raised at once, where Lua itself would raise its error of memory.
 */
#include "sandbox/box.h"

#include <string.h>

enum {
	LARGE = 16 * 1024, /* bytes of a block that is the host's */
	REHASHED = 256,    /* nodes from which on it matters how long it takes to fill a hash part when all keys collide */
	STEP_NS = 3,       /* from one node to the next */
	VECTOR_MAX = 2 * SANDBOX_BLOCK_MAX + 64 * 1024
};

struct large {
	struct large *next, *previous;
	size_t size, padding;
};

static void *host(struct sandbox *box, void *block, size_t old, size_t size)
{
	return box->alloc(box->alloc_data, block, old, size);
}

/* --- What is granted --------------------------------------------------------------------------------------------- */

/* How many nodes a new vector has if it is the hash part of a table, else 0. A vector of another kind is taken for one
 * if its size is just that of so many nodes. */
static size_t nodes_of(const struct sandbox *box, const void *block, size_t kind, size_t size)
{
	if (block || kind != 0 || box->node_size == 0 || size % box->node_size != 0)
		return 0;
	size_t nodes = size / box->node_size;
	return (nodes & (nodes - 1)) == 0 ? nodes : 0;
}

/* Sees to it that the clock is read more often when one instruction may take longer: when there is a long text, as two
 * of them may be compared; or when there is much, as all short texts may be in one chain of Lua's table of them. */
static void adapt(struct sandbox *box, size_t kind, size_t size)
{
	size_t pace = SANDBOX_EVERY;
	if (box->used >= SANDBOX_MUCH)
		pace = 1;
	else if (box->used >= SANDBOX_HUGE)
		pace = SANDBOX_EVERY_HUGE;
	if (kind == LUA_TSTRING) {
		if (size > box->longest)
			box->longest = size;
		if (pace > SANDBOX_PACED / size)
			pace = size < SANDBOX_PACED ? SANDBOX_PACED / size : 1;
	}
	keel_sandbox_hasten(box, (int)pace);
}

/* Stops the script if a block may not be had for which so many bytes more are needed. */
static void check(struct sandbox *box, const void *block, size_t kind, size_t size, size_t more)
{
	size_t nodes = nodes_of(box, block, kind, size);
	if (more > box->limit || box->used > box->limit - more)
		keel_sandbox_trip(box, "bytes");
	else if (size > SANDBOX_BLOCK_MAX || nodes > SANDBOX_HASH_MAX)
		keel_sandbox_trip(box, "block");
	else
		keel_sandbox_look(box, more, nodes >= REHASHED ? (int64_t)(nodes * nodes / 2) * STEP_NS : 0);
}

/* Whether a block is granted. `kind` is what Lua says that a new one is for: an object has a type, a vector 0. */
static bool may_grow(struct sandbox *box, const void *block, size_t kind, size_t size, size_t more)
{
	if (size > SANDBOX_PACED / SANDBOX_EVERY || box->used >= SANDBOX_HUGE)
		adapt(box, block ? 0 : kind, size);
	if (!box->exceeded)
		check(box, block, kind, size, more);
	if (!box->exceeded)
		return true;
	if (strcmp(box->exceeded, "memory") == 0)
		return false;
	if (size <= SANDBOX_SMALL)
		return box->used < box->limit + SANDBOX_SLACK;
	if (!block && (kind != 0 || nodes_of(box, block, kind, size) > 0) && box->running && !box->raised) {
		box->raised = true; /* once: calling what notes the line may need more of the stack, which is to be granted */
		keel_sandbox_stop(box->S, box->exceeded); /* does not return */
	}
	return size <= VECTOR_MAX && box->used < box->limit + SANDBOX_SLACK;
}

/* What is granted after the stop is not the script's any more. */
static void count(struct sandbox *box, size_t bytes)
{
	box->used += bytes;
	if (box->used > box->peak && !box->exceeded)
		box->peak = box->used;
}

/* --- Small ------------------------------------------------------------------------------------------------------- */

/* Cuts a block off, or lets the one that was cut off last grow in its place. */
static void *cut(struct sandbox *box, void *block, size_t old, size_t size)
{
	size_t before = box->arena.used;
	char *made = keel_arena_cut(&box->arena, block, old, size);
	if (!made) {
		keel_sandbox_trip(box, "memory");
		return NULL;
	}
	count(box, box->arena.used - before);
	if (block && made != block)
		memcpy(made, block, old < size ? old : size);
	return made;
}

/* --- Large ------------------------------------------------------------------------------------------------------- */

/* Whether a block is a large one. Before there is an image none is. */
static bool is_large(const struct sandbox *box, const void *block, size_t size)
{
	return block && size >= LARGE && !keel_arena_has(&box->arena, block);
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
	if (!box->S && box->blocks++ == 1)
		keel_seed_set(&box->seed, box->arena.start);
	if (!block && before == 0)
		box->vector = size;
	if (size > old && !may_grow(box, block, block ? 0 : before, size, large ? size - old : size))
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
	box->image = host(box, NULL, 0, box->arena.used);
	if (!box->image)
		return false;
	box->image_size = box->arena.used;
	box->image_used = box->used;
	keel_arena_save(&box->arena, box->image);
	return true;
}

void keel_sandbox_restore(struct sandbox *box)
{
	while (box->large)
		free_large(box, box->large);
	keel_arena_load(&box->arena, box->image, box->image_size);
	box->used = box->image_used;
}

void keel_sandbox_drop(struct sandbox *box)
{
	while (box->large)
		free_large(box, box->large);
	keel_arena_close(&box->arena);
	if (box->image)
		host(box, box->image, box->image_size, 0);
	if (box->keys)
		host(box, box->keys, box->key_room * sizeof *box->keys, 0);
	if (box->names)
		host(box, box->names, box->key_room * sizeof *box->names, 0);
	box->keys = NULL;
	box->names = NULL;
	box->key_room = 0;
	box->image = NULL;
	box->used = 0;
	box->blocks = 0;
	box->node_size = 0;
	box->S = NULL;
}
