/* table.c - `table` for sandboxed scripts: raw, and charged for what it goes through. Without move: with huge
 * ranges it is a loop that nobody counts.
 */
#include "sandbox/box.h"

#include <string.h>

static lua_Integer check_list(lua_State *S)
{
	luaL_checktype(S, 1, LUA_TTABLE);
	lua_Integer size = (lua_Integer)lua_rawlen(S, 1);
	/* A table with nothing but 1, 2, 4, 8 and so on has any border one likes; size + 1 is to be a number, too. */
	luaL_argcheck(S, size < LUA_MAXINTEGER, 1, "the list is too long");
	return size;
}

/* Moves the items from `from` to `to` one place, up or down, last or first. */
static void shift(lua_State *S, lua_Integer from, lua_Integer to, int by)
{
	for (lua_Integer i = by > 0 ? to : from; i >= from && i <= to; i -= by) {
		keel_sandbox_step(S);
		lua_rawgeti(S, 1, i);
		lua_rawseti(S, 1, i + by);
	}
}

/* table.insert(t, [pos,] value) */
static int table_insert(lua_State *S)
{
	lua_Integer end = check_list(S) + 1;
	keel_sandbox_check_writable(S, 1);
	lua_Integer at = end;
	int value = lua_gettop(S);
	if (value == 3) {
		at = luaL_checkinteger(S, 2);
		luaL_argcheck(S, at >= 1 && at <= end, 2, "position out of bounds");
	} else if (value != 2) {
		return luaL_error(S, "wrong number of arguments to 'insert'");
	}
	shift(S, at, end - 1, 1);
	lua_settop(S, value);
	lua_rawseti(S, 1, at);
	return 0;
}

/* table.remove(t, [pos]) */
static int table_remove(lua_State *S)
{
	lua_Integer size = check_list(S), at = luaL_optinteger(S, 2, size);
	keel_sandbox_check_writable(S, 1);
	lua_settop(S, 1);
	if (at != size)
		luaL_argcheck(S, at >= 1 && at <= size + 1, 2, "position out of bounds");
	lua_rawgeti(S, 1, at);
	if (at < size) {
		shift(S, at + 1, size, -1);
		at = size;
	}
	lua_pushnil(S);
	lua_rawseti(S, 1, at);
	return 1;
}

/* table.concat(list, sep, i, j) */
static int table_concat(lua_State *S)
{
	enum { COPIED = 64 }; /* bytes that count as an instruction */
	lua_Integer size = check_list(S);
	size_t between, item;
	const char *separator = luaL_optlstring(S, 2, "", &between);
	lua_Integer first = luaL_optinteger(S, 3, 1), last = luaL_optinteger(S, 4, size);
	luaL_Buffer buffer;
	luaL_buffinit(S, &buffer);
	for (lua_Integer i = first; i <= last; i++) {
		keel_sandbox_step(S);
		int type = lua_rawgeti(S, 1, i);
		if (type != LUA_TSTRING && type != LUA_TNUMBER)
			return luaL_error(S, "invalid value (at index %I) in table for 'concat'", i);
		lua_tolstring(S, -1, &item);
		keel_sandbox_charge(S, (item + between) / COPIED);
		luaL_addvalue(&buffer);
		if (i == last)
			break; /* i + 1 may not exist */
		luaL_addlstring(&buffer, separator, between);
	}
	luaL_pushresult(&buffer);
	return 1;
}

/* table.pack(...) */
static int table_pack(lua_State *S)
{
	int count = lua_gettop(S);
	keel_sandbox_charge(S, (size_t)count);
	lua_createtable(S, count, 1);
	lua_insert(S, 1);
	for (int i = count; i >= 1; i--)
		lua_rawseti(S, 1, i);
	lua_pushinteger(S, count);
	lua_setfield(S, 1, "n");
	return 1;
}

/* table.unpack(list, i, j) */
static int table_unpack(lua_State *S)
{
	lua_Integer size = check_list(S);
	lua_Integer first = luaL_optinteger(S, 2, 1), last = luaL_optinteger(S, 3, size);
	if (first > last)
		return 0;
	lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first + 1;
	if (count == 0 || count > 100000 || !lua_checkstack(S, (int)count))
		return luaL_error(S, "too many results to unpack");
	for (lua_Unsigned i = 0; i < count; i++) {
		keel_sandbox_step(S);
		lua_rawgeti(S, 1, (lua_Integer)((lua_Unsigned)first + i));
	}
	return (int)count;
}

/* --- Sorting ----------------------------------------------------------------------------------------------------- */

enum { SORT_MAX = SANDBOX_BLOCK_MAX / 16 }; /* items: what an array of one block holds */

/* Whether the item at `a` of the table at `list` goes before the one at `b`. */
static bool goes_before(lua_State *S, int list, lua_Integer a, lua_Integer b)
{
	enum { COMPARED = 4 }; /* bytes that count as an instruction: texts of zeros are compared one by one */
	bool is;
	if (lua_isnil(S, 2)) {
		bool texts = lua_rawgeti(S, list, a) == LUA_TSTRING;
		texts = lua_rawgeti(S, list, b) == LUA_TSTRING && texts;
		size_t one = texts ? lua_rawlen(S, -2) : 0, other = texts ? lua_rawlen(S, -1) : 0;
		keel_sandbox_charge(S, (one < other ? one : other) / COMPARED);
		is = lua_compare(S, -2, -1, LUA_OPLT);
		lua_pop(S, 2);
	} else {
		lua_pushvalue(S, 2);
		lua_rawgeti(S, list, a);
		lua_rawgeti(S, list, b);
		keel_sandbox_call(S, 2, 1, 1);
		is = lua_toboolean(S, -1);
		lua_pop(S, 1);
	}
	return is;
}

static void merge(lua_State *S, int from, int to, lua_Integer first, lua_Integer middle, lua_Integer end)
{
	lua_Integer left = first, right = middle;
	for (lua_Integer i = first; i < end; i++) {
		/* The right one only if it must come first, so equal ones keep their order. */
		bool take_right = left == middle || (right < end && goes_before(S, from, right, left));
		keel_sandbox_step(S);
		lua_rawgeti(S, from, take_right ? right++ : left++);
		lua_rawseti(S, to, i);
	}
}

/* table.sort(list, before): a merge sort, so it is stable, and an order that contradicts itself does no harm. The list
 * is written when all is done. */
static int table_sort(lua_State *S)
{
	lua_Integer size = check_list(S);
	keel_sandbox_check_writable(S, 1);
	if (!lua_isnoneornil(S, 2))
		luaL_checktype(S, 2, LUA_TFUNCTION);
	lua_settop(S, 2);
	if (size < 2)
		return 0;
	if (size > SORT_MAX) /* a sparse list, whose size says nothing of what is in it: the copies have no room */
		return keel_sandbox_stop(S, "block");
	int from = 3, to = 4;
	lua_createtable(S, (int)size, 0);
	lua_createtable(S, (int)size, 0);
	for (lua_Integer i = 1; i <= size; i++) {
		keel_sandbox_step(S);
		lua_rawgeti(S, 1, i);
		lua_rawseti(S, from, i);
	}
	for (lua_Integer width = 1; width < size; width *= 2) {
		for (lua_Integer first = 1; first <= size; first += 2 * width) {
			lua_Integer middle = first + width <= size ? first + width : size + 1;
			lua_Integer end = first + 2 * width <= size ? first + 2 * width : size + 1;
			merge(S, from, to, first, middle, end);
		}
		int swap = from;
		from = to;
		to = swap;
	}
	for (lua_Integer i = 1; i <= size; i++) {
		keel_sandbox_step(S);
		lua_rawgeti(S, from, i);
		lua_rawseti(S, 1, i);
	}
	return 0;
}

void keel_sandbox_add_table(lua_State *S)
{
	static const luaL_Reg functions[] = {{"insert", table_insert},
										 {"remove", table_remove},
										 {"concat", table_concat},
										 {"pack", table_pack},
										 {"unpack", table_unpack},
										 {"sort", table_sort},
										 {NULL, NULL}};
	keel_sandbox_set_functions(S, functions);
}
