/* seed.c - giving a Lua state the hash seed one wants.
 *
 * lua_newstate makes a seed of the time and of addresses, which decides where in a table a text is, so when a table
 * grows, and what `#` says of one with holes. There is no call to set it. But a state is made in the caller's memory:
 * the seed is in its first block, and no text is hashed before the second one is asked for. Then it can be written.
 *
 * Where it is in the block is found by trying, not by knowing Lua's structures: a state is begun twice at the same
 * place, the second time with more on the C stack. What differs then are addresses of the stack, all by the same
 * distance, and the seed, which is made of one.
 */
#include "sandbox/box.h"

#include <stddef.h>
#include <string.h>

enum {
	FIRST_MAX = 4096, /* bytes of the first block: some 1600 in Lua 5.4 */
	PUSHED = 512      /* bytes more on the stack */
};

/* A state that is begun, and refused its second block. */
struct trial {
	void *block;       /* the first one */
	size_t size;       /* bytes of it; 0: it was not asked for yet */
	const char *stack; /* where the allocator was called */
	char *copy;
};

static void *try_to_allocate(void *data, void *block, size_t before, size_t size)
{
	struct trial *trial = data;
	char here;
	(void)before;
	if (size == 0 || block)
		return NULL;
	if (trial->size == 0 && size <= FIRST_MAX) {
		trial->size = size;
		return memset(trial->block, 0, size);
	}
	if (!trial->stack && trial->size > 0) {
		trial->stack = &here;
		memcpy(trial->copy, trial->block, trial->size);
	}
	return NULL;
}

/* Begins a state with so many bytes on the stack before it. */
static __attribute__((noinline)) void begin_behind(struct trial *trial, size_t pushed)
{
	volatile char room[PUSHED];
	room[0] = 0;
	room[PUSHED - 1] = 0;
	if (pushed > 0)
		begin_behind(trial, pushed - PUSHED);
	else
		lua_newstate(try_to_allocate, trial); /* fails */
	room[0] = room[PUSHED - 1];
}

/* Compares two trials. Returns in how many places their first blocks differ that are no addresses of the stack; the
 * last of these in *place. */
static int differences(const struct trial *a, const struct trial *b, size_t *place)
{
	int count = 0;
	for (size_t i = 0; i + sizeof(uintptr_t) <= a->size; i += sizeof(uintptr_t)) {
		uintptr_t one, other;
		memcpy(&one, a->copy + i, sizeof one);
		memcpy(&other, b->copy + i, sizeof other);
		if (one - other == (uintptr_t)a->stack - (uintptr_t)b->stack)
			continue;
		for (size_t half = i; half < i + sizeof(uintptr_t); half += sizeof(unsigned)) {
			if (memcmp(a->copy + half, b->copy + half, sizeof(unsigned)) == 0)
				continue;
			*place = half;
			count++;
		}
	}
	return count;
}

bool keel_seed_find(struct seed *seed)
{
	max_align_t block[FIRST_MAX / sizeof(max_align_t)];
	char copies[2][FIRST_MAX];
	struct trial trial = {.block = block, .copy = copies[0]}; /* one for both: the state has its address */
	begin_behind(&trial, 0);
	struct trial first = trial;
	trial = (struct trial){.block = block, .copy = copies[1]};
	begin_behind(&trial, PUSHED);
	if (!first.stack || !trial.stack || first.size != trial.size)
		return false;
	int count = differences(&first, &trial, &seed->place);
	seed->is_known = count == 1; /* 0: it is the same in all states */
	return count <= 1;
}

void keel_seed_set(const struct seed *seed, char *block)
{
	if (seed->is_known)
		memcpy(block + seed->place, &seed->value, sizeof seed->value);
}
