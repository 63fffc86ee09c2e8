/* keys.c - the order of keys: numbers by value, then texts byte by byte, then false and true. */
#include "sandbox/box.h"

#include <string.h>

static bool number_less(const struct key *a, const struct key *b)
{
	if (a->is_integer && b->is_integer)
		return a->as.integer < b->as.integer;
	lua_Number x = a->is_integer ? (lua_Number)a->as.integer : a->as.number;
	lua_Number y = b->is_integer ? (lua_Number)b->as.integer : b->as.number;
	return x < y || (x == y && a->is_integer && !b->is_integer); /* beyond 2^53 several integers are one float */
}

bool keel_key_less(const struct key *a, const struct key *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind;
	if (a->kind == KEY_TEXT && a->as.text.start != b->as.text.start)
		return a->as.text.start < b->as.text.start;
	if (a->kind == KEY_NUMBER)
		return number_less(a, b);
	if (a->kind == KEY_FLAG)
		return a->as.integer < b->as.integer;
	size_t shorter = a->as.text.size < b->as.text.size ? a->as.text.size : b->as.text.size;
	int order = memcmp(a->as.text.data, b->as.text.data, shorter);
	return order < 0 || (order == 0 && a->as.text.size < b->as.text.size);
}

/* The first eight bytes, the first one counting most; a text that is shorter ends with zeros, as a shorter one comes
 * first. */
static uint64_t start_of(const char *data, size_t size)
{
	uint64_t start = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	if (size >= sizeof start) {
		memcpy(&start, data, sizeof start);
		return __builtin_bswap64(start);
	}
#endif
	for (size_t i = 0; i < sizeof start; i++)
		start = start << 8 | (i < size ? (unsigned char)data[i] : 0);
	return start;
}

bool keel_key_read(lua_State *L, int index, struct key *key)
{
	*key = (struct key){.kind = KEY_NUMBER};
	switch (lua_type(L, index)) {
	case LUA_TNUMBER:
		key->is_integer = lua_isinteger(L, index);
		if (key->is_integer)
			key->as.integer = lua_tointeger(L, index);
		else
			key->as.number = lua_tonumber(L, index);
		return true;
	case LUA_TSTRING:
		key->kind = KEY_TEXT;
		key->as.text.data = lua_tolstring(L, index, &key->as.text.size);
		key->as.text.start = start_of(key->as.text.data, key->as.text.size);
		return true;
	case LUA_TBOOLEAN:
		key->kind = KEY_FLAG;
		key->as.integer = lua_toboolean(L, index);
		return true;
	default:
		return false;
	}
}

static void sift(struct key *keys, size_t at, size_t count)
{
	for (size_t child; (child = 2 * at + 1) < count; at = child) {
		if (child + 1 < count && keel_key_less(&keys[child], &keys[child + 1]))
			child++;
		if (!keel_key_less(&keys[at], &keys[child]))
			return;
		struct key swap = keys[at];
		keys[at] = keys[child];
		keys[child] = swap;
	}
}

enum { FEW = 48 };

/* For a few keys: each goes to its place among those before it, and they are moved once, when all places are known. */
static void insert_each(struct key *keys, size_t count)
{
	struct key sorted[FEW];
	unsigned char order[FEW];
	for (size_t i = 0; i < count; i++) {
		size_t at = i;
		for (; at > 0 && keel_key_less(&keys[i], &keys[order[at - 1]]); at--)
			order[at] = order[at - 1];
		order[at] = (unsigned char)i;
	}
	for (size_t i = 0; i < count; i++)
		sorted[i] = keys[order[i]];
	memcpy(keys, sorted, count * sizeof *keys);
}

/* Heap sort for many: in place, and the same effort for every order. */
void keel_key_sort(struct key *keys, size_t count)
{
	if (count <= FEW) {
		insert_each(keys, count);
		return;
	}
	for (size_t i = count / 2; i-- > 0;)
		sift(keys, i, count);
	for (size_t last = count; last-- > 1;) {
		struct key swap = keys[0];
		keys[0] = keys[last];
		keys[last] = swap;
		sift(keys, 0, last);
	}
}
