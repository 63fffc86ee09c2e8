/* cache.c - the statements of a connection, found by the address of their text. Uses: memory. */
#include "sql/cache.h"

#include "base/assert.h"
#include "base/memory.h"

static size_t slot_of(const struct keel_sql_cache *cache, const char *text)
{
	uint64_t hash = (uint64_t)(uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15);
	return (size_t)(hash >> 32) & (cache->slots_count - 1);
}

struct keel_statement *keel_cache_find(const struct keel_sql_cache *cache, const char *text)
{
	if (!cache->slots_count)
		return NULL;
	for (size_t i = slot_of(cache, text); cache->slots[i]; i = (i + 1) & (cache->slots_count - 1))
		if (cache->slots[i]->text == text)
			return cache->slots[i];
	return NULL;
}

void keel_cache_add(struct keel_sql_cache *cache, struct keel_statement *statement)
{
	KEEL_ASSERT(statement->text && cache->used < cache->slots_count / 2);
	size_t i = slot_of(cache, statement->text);
	while (cache->slots[i])
		i = (i + 1) & (cache->slots_count - 1);
	cache->slots[i] = statement;
	cache->used++;
}

bool keel_cache_make_room(struct keel_sql_cache *cache)
{
	if (cache->slots_count && cache->used + 1 <= cache->slots_count / 2)
		return true;
	struct keel_sql_cache old = *cache;
	size_t live = 0, count = 64;
	for (size_t i = 0; i < old.slots_count; i++)
		live += old.slots[i] && old.slots[i]->text;
	while (count < (live + 1) * 2)
		count *= 2;
	struct keel_statement **slots = keel_new(count * sizeof(struct keel_statement *));
	if (!slots)
		return false;
	*cache = (struct keel_sql_cache){slots, count, 0};
	for (size_t i = 0; i < old.slots_count; i++) {
		if (old.slots[i] && old.slots[i]->text)
			keel_cache_add(cache, old.slots[i]);
		else
			keel_free(old.slots[i]);
	}
	keel_free(old.slots);
	return true;
}

void keel_cache_clear(struct keel_sql_cache *cache, void (*drop)(struct keel_statement *statement))
{
	for (size_t i = 0; i < cache->slots_count; i++) {
		if (cache->slots[i] && cache->slots[i]->text)
			drop(cache->slots[i]);
		keel_free(cache->slots[i]);
	}
	keel_free(cache->slots);
	*cache = (struct keel_sql_cache){0};
}
