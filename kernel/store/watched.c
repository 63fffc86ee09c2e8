/* watched.c - what a handle has seen others leave unchanged: a sorted array. Uses: memory. */
#include "store/watched.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"

struct keel_watched_item {
	enum keel_watched_kind kind;
	int64_t key;
	struct keel_watched_state state;
	int64_t since; /* microseconds, monotonic */
	int64_t seen;  /* the same, of the last look */
	int64_t look;  /* which look that was */
};

/* The place of a key, or where it belongs. */
static size_t place_of(const struct keel_watched *watched, enum keel_watched_kind kind, int64_t key)
{
	size_t low = 0, high = watched->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct keel_watched_item *item = &watched->items[middle];
		if (item->kind < kind || (item->kind == kind && item->key < key))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void forget_old(struct keel_watched *watched, int64_t now_us)
{
	size_t kept = 0;
	for (size_t i = 0; i < watched->count; i++)
		if (now_us - watched->items[i].seen < KEEL_WATCHED_OLD_US)
			watched->items[kept++] = watched->items[i];
	watched->count = kept;
}

/* Makes room for one more; false without memory. Unless half of it became free it grows, so that what is old is not
 * looked for again at once. */
static bool make_room(struct keel_watched *watched, int64_t now_us)
{
	if (watched->count < watched->capacity)
		return true;
	if (watched->count >= KEEL_WATCHED_MANY)
		forget_old(watched, now_us);
	if (watched->count < watched->capacity / 2)
		return true;
	struct keel_watched_item *items =
		keel_make_room(watched->items, watched->capacity, &watched->capacity, sizeof *watched->items);
	if (items)
		watched->items = items;
	return items || watched->count < watched->capacity;
}

/* Makes a place for one more; false without memory. */
static bool insert(struct keel_watched *watched, enum keel_watched_kind kind, int64_t key, int64_t now_us,
				   size_t *place)
{
	if (!make_room(watched, now_us))
		return false;
	KEEL_ASSERT(watched->count < watched->capacity);
	struct keel_watched_item *items = watched->items;
	*place = place_of(watched, kind, key);
	memmove(&items[*place + 1], &items[*place], (watched->count - *place) * sizeof *items);
	watched->count++;
	return true;
}

int64_t keel_watched_for(struct keel_watched *watched, enum keel_watched_kind kind, int64_t key,
						 struct keel_watched_state state, int64_t now_us)
{
	size_t place = place_of(watched, kind, key);
	bool found = place < watched->count && watched->items[place].kind == kind && watched->items[place].key == key;
	if (!found && !insert(watched, kind, key, now_us, &place))
		return 0;
	struct keel_watched_item *item = &watched->items[place];
	item->look = ++watched->looks;
	item->seen = now_us;
	if (!found || item->state.fence != state.fence || item->state.version != state.version ||
		item->state.beat != state.beat || now_us < item->since) {
		item->kind = kind;
		item->key = key;
		item->state = state;
		item->since = now_us;
	}
	KEEL_ASSERT(watched->count <= watched->capacity && item->kind == kind && item->key == key);
	KEEL_ASSERT(place == place_of(watched, kind, key)); /* still in order */
	return now_us - item->since;
}

void keel_watched_forget(struct keel_watched *watched, enum keel_watched_kind kind, int64_t looks)
{
	size_t kept = 0;
	for (size_t i = 0; i < watched->count; i++)
		if (watched->items[i].kind != kind || watched->items[i].look > looks)
			watched->items[kept++] = watched->items[i];
	watched->count = kept;
}

int64_t keel_watched_name(struct keel_text name)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
	for (size_t i = 0; i < name.size; i++)
		hash = (hash ^ (unsigned char)name.data[i]) * UINT64_C(1099511628211);
	return (int64_t)(hash >> 1);
}

void keel_watched_free(struct keel_watched *watched)
{
	keel_free(watched->items);
	memset(watched, 0, sizeof *watched);
}
