/* intake.c - values that go from the host into a sandbox, as copies, without metamethods. Uses: limits, keys.
 *
 * They come from the host, but there are documents in them that others wrote: the metadata of runs. A document over the
 * bounds is left out, and its name stands in the record's `omitted`; otherwise whoever attaches a large one could make
 * every decision fail.
 */
#include "sandbox/box.h"

/* Whether the host's value at `index` is within bounds. Looked at before anything is copied: what does not fit is to
 * cost nothing of the script's bytes. On false something may be on the host's stack. */
static bool fits(const struct intake *in, int index, int depth, lua_Integer *nodes, lua_Integer *bytes)
{
	lua_State *L = in->host;
	if (--*nodes < 0)
		return false;
	switch (lua_type(L, index)) {
	case LUA_TNIL:
	case LUA_TBOOLEAN:
	case LUA_TNUMBER:
		return true;
	case LUA_TSTRING:
		*bytes -= (lua_Integer)lua_rawlen(L, index);
		return *bytes >= 0;
	case LUA_TUSERDATA:
		return lua_touserdata(L, index) == in->null;
	case LUA_TTABLE:
		break;
	default:
		return false;
	}
	if (depth >= SANDBOX_DEPTH_MAX || lua_rawlen(L, index) > (lua_Unsigned)*nodes)
		return false;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		int key = lua_gettop(L) - 1;
		if (lua_type(L, key) == LUA_TTABLE || !fits(in, key, depth, nodes, bytes) ||
			!fits(in, key + 1, depth + 1, nodes, bytes))
			return false;
	}
	return true;
}

/* Makes room for another key. Its memory is the box's: a raise leaks nothing. [-0, +0, v] */
static void make_room(lua_State *S, struct intake *in)
{
	struct sandbox *box = keel_sandbox_of(S);
	if (in->used < box->key_room)
		return;
	size_t room = box->key_room ? 2 * box->key_room : 64;
	struct key *keys = box->alloc(box->alloc_data, box->keys, box->key_room * sizeof *keys, room * sizeof *keys);
	if (!keys)
		keel_sandbox_stop(S, "memory");
	box->keys = keys;
	const char **names = box->alloc(box->alloc_data, box->names, box->key_room * sizeof *names, room * sizeof *names);
	if (!names) {
		/* Both have the same room: the larger one is made small again, which cannot fail in a host's allocator. */
		box->keys = box->alloc(box->alloc_data, keys, room * sizeof *keys, box->key_room * sizeof *keys);
		keel_sandbox_stop(S, "memory");
	}
	box->names = names;
	box->key_room = room;
}

/* Pushes the names and values of the host's table at `index` there, pair by pair, and puts the names, with their places
 * on that stack, behind the keys that are in use, in their order. `texts`: other keys are left out. Returns how many.
 */
static size_t read_pairs(lua_State *S, struct intake *in, int index, bool texts)
{
	lua_State *L = in->host;
	struct sandbox *box = keel_sandbox_of(S);
	size_t first = in->used;
	bool in_order = true;
	lua_checkstack(L, 4);
	for (lua_pushnil(L); lua_next(L, index);) {
		if (texts && lua_type(L, -2) != LUA_TSTRING) {
			lua_pop(L, 1);
			continue;
		}
		make_room(S, in);
		struct key *key = &box->keys[in->used];
		keel_key_read(L, -2, key);
		key->place = lua_gettop(L) - 1;
		in_order = in_order && (in->used == first || keel_key_less(key - 1, key));
		in->used++;
		if (!lua_checkstack(L, 4))
			keel_sandbox_stop(S, "memory");
		lua_pushvalue(L, -2);
	}
	if (!in_order)
		keel_key_sort(&box->keys[first], in->used - first);
	return in->used - first;
}

/* How many of the keys from `first` on are 1, 2, 3 and so on. */
static int listed(const struct sandbox *box, size_t first, size_t count)
{
	size_t i = 0;
	while (i < count && box->keys[first + i].kind == KEY_NUMBER && box->keys[first + i].is_integer &&
		   box->keys[first + i].as.integer == (lua_Integer)i + 1)
		i++;
	return (int)i;
}

/* Pushes a copy of the host's value at `index`, which fits. [-0, +1, e] */
static void copy_in(lua_State *S, struct intake *in, int index)
{
	lua_State *L = in->host;
	size_t size;
	switch (lua_type(L, index)) {
	case LUA_TBOOLEAN:
		lua_pushboolean(S, lua_toboolean(L, index));
		return;
	case LUA_TNUMBER:
		if (lua_isinteger(L, index))
			lua_pushinteger(S, lua_tointeger(L, index));
		else
			lua_pushnumber(S, lua_tonumber(L, index));
		return;
	case LUA_TSTRING: {
		const char *text = lua_tolstring(L, index, &size);
		lua_pushlstring(S, text, size);
		return;
	}
	case LUA_TUSERDATA:
		lua_pushlightuserdata(S, KEEL_SANDBOX_NULL);
		return;
	case LUA_TTABLE:
		break;
	default:
		lua_pushnil(S);
		return;
	}
	int top = lua_gettop(L), made = lua_gettop(S) + 1;
	size_t first = in->used, count = read_pairs(S, in, index, false);
	int in_list = listed(keel_sandbox_of(S), first, count);
	luaL_checkstack(S, 4, NULL);
	lua_createtable(S, in_list, (int)count - in_list);
	for (size_t i = first; i < first + count; i++) {
		int place = keel_sandbox_of(S)->keys[i].place;
		keel_sandbox_check_time(S);
		copy_in(S, in, place);
		copy_in(S, in, place + 1);
		lua_rawset(S, -3);
	}
	lua_settop(L, top);
	in->used = first;
	KEEL_LUA_PUSHED(S, made, 0);
}

static void push_list(lua_State *S, struct intake *in, int index, struct record *records, int argument);

static bool is_list_of_tables(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE)
		return false;
	bool is = lua_rawgeti(L, index, 1) == LUA_TTABLE;
	lua_pop(L, 1);
	return is;
}

/* Adds a name to the list of what a record, the table under the value on the top, does not show. [-1, +0, e] */
static void omit(lua_State *S)
{
	if (lua_getfield(S, -2, "omitted") != LUA_TTABLE) {
		lua_pop(S, 1);
		lua_newtable(S);
		lua_pushvalue(S, -1);
		lua_setfield(S, -4, "omitted");
	}
	lua_insert(S, -2);
	lua_rawseti(S, -2, (lua_Integer)lua_rawlen(S, -2) + 1);
	lua_pop(S, 1);
}

/* Sets a field that is a document, or a long text: its value is at `place` of the host's stack. [-1, +0, e], the name
 * on the top, the record below it. */
static void set_document(lua_State *S, struct intake *in, int place)
{
	lua_Integer nodes = in->nodes < SANDBOX_NODES_MAX ? in->nodes : SANDBOX_NODES_MAX;
	lua_Integer bytes = in->bytes < SANDBOX_TEXT_MAX ? in->bytes : SANDBOX_TEXT_MAX;
	lua_Integer nodes_before = nodes, bytes_before = bytes;
	int host = lua_gettop(in->host);
	if (!fits(in, place, 0, &nodes, &bytes)) {
		lua_settop(in->host, host);
		omit(S);
		return;
	}
	copy_in(S, in, place);
	lua_rawset(S, -3);
	in->nodes -= nodes_before - nodes;
	in->bytes -= bytes_before - bytes;
}

/* Sets a field of a record, whose value is at `place` of the host's stack. `level` 0: a list of tables is a list of
 * records. [-1, +0, e], the name on the top, the record below it. */
static void set_field(lua_State *S, struct intake *in, int place, int level)
{
	enum { SHORT = 512 }; /* bytes of a text that nobody counts */
	lua_State *L = in->host;
	size_t size = 0;
	int type = lua_type(L, place);
	const char *text = type == LUA_TSTRING ? lua_tolstring(L, place, &size) : NULL;
	if (type == LUA_TTABLE && level == 0 && is_list_of_tables(L, place)) {
		push_list(S, in, place, NULL, 0);
	} else if (type >= LUA_TTABLE || type == LUA_TLIGHTUSERDATA || size > SHORT) {
		set_document(S, in, place);
		return;
	} else if (text) {
		lua_pushlstring(S, text, size);
	} else {
		copy_in(S, in, place);
	}
	lua_rawset(S, -3);
}

/* A record: its fields, each within bounds of its own. */
static void push_record(lua_State *S, struct intake *in, int index)
{
	struct sandbox *box = keel_sandbox_of(S);
	int top = lua_gettop(in->host), made = lua_gettop(S) + 1;
	size_t first = in->used, count = read_pairs(S, in, index, true);
	lua_createtable(S, 0, (int)count);
	for (size_t i = first; i < first + count; i++) {
		int place = box->keys[i].place;
		lua_pushlstring(S, box->keys[i].as.text.data, box->keys[i].as.text.size);
		set_field(S, in, place + 1, 0);
	}
	lua_settop(in->host, top);
	in->used = first;
	KEEL_LUA_PUSHED(S, made, 0);
}

/* --- Lists of records -------------------------------------------------------------------------------------------- */

/* The fields of the last record of a list. The next one most likely has the same, in the same order of the host's: then
 * they need neither be sorted nor made again in the box. */
struct shape {
	size_t first, count; /* of the box's keys, places counted from where the pairs of a record begin */
	int names;           /* where they begin on the box's stack */
};

/* Pushes the fields of the host's record at `index` there, as long as they are those of the shape; false for others,
 * and some may be on the stack then. */
static bool push_alike(const struct sandbox *box, lua_State *L, int index, const struct shape *shape)
{
	size_t count = 0;
	if (shape->count == 0 || !lua_checkstack(L, 2 * (int)shape->count + 4))
		return false;
	for (lua_pushnil(L); lua_next(L, index); lua_pushvalue(L, -2)) {
		if (count == shape->count || lua_type(L, -2) != LUA_TSTRING ||
			lua_tolstring(L, -2, NULL) != box->names[shape->first + count])
			return false;
		count++;
	}
	return count == shape->count;
}

/* The same for any record, which makes the shape. */
static void push_first(lua_State *S, struct intake *in, int index, struct shape *shape)
{
	struct sandbox *box = keel_sandbox_of(S);
	int top = lua_gettop(in->host);
	in->used = shape->first;
	shape->count = read_pairs(S, in, index, true);
	lua_settop(S, shape->names - 1);
	luaL_checkstack(S, (int)shape->count + 8, NULL);
	for (size_t i = shape->first; i < in->used; i++) {
		struct key *key = &box->keys[i];
		key->place -= top;
		box->names[shape->first + (size_t)key->place / 2] = key->as.text.data;
		lua_pushlstring(S, key->as.text.data, key->as.text.size);
	}
	KEEL_LUA_PUSHED(S, shape->names - 1, (int)shape->count);
}

static void push_list(lua_State *S, struct intake *in, int index, struct record *records, int argument)
{
	lua_State *L = in->host;
	struct sandbox *box = keel_sandbox_of(S);
	lua_Integer count = (lua_Integer)lua_rawlen(L, index);
	luaL_checkstack(S, 8, NULL);
	lua_createtable(S, (int)count, 0);
	int list = lua_gettop(S);
	struct shape shape = {.first = in->used, .names = list + 1};
	for (lua_Integer i = 1; i <= count; i++) {
		int top = lua_gettop(L);
		if (lua_rawgeti(L, index, i) == LUA_TTABLE) {
			if (!push_alike(box, L, top + 1, &shape)) {
				lua_settop(L, top + 1);
				push_first(S, in, top + 1, &shape);
			}
			keel_sandbox_check_time(S);
			lua_createtable(S, 0, (int)shape.count);
			for (size_t k = 0; k < shape.count; k++) {
				lua_pushvalue(S, shape.names + (int)k);
				set_field(S, in, top + 2 + box->keys[shape.first + k].place, 1);
			}
			KEEL_LUA_PUSHED(S, list, (int)shape.count + 1);
			if (records)
				records[in->shown++] = (struct record){lua_topointer(S, -1), argument, (int)i};
			lua_rawseti(S, list, i);
		}
		lua_settop(L, top);
	}
	lua_settop(S, list);
	in->used = shape.first;
}

void keel_sandbox_push_arguments(lua_State *S, struct intake *in)
{
	lua_State *L = in->host;
	size_t count = 0;
	in->nodes = SANDBOX_INTAKE_NODES;
	in->bytes = SANDBOX_INTAKE_TEXT;
	in->shown = 0;
	in->used = 0;
	luaL_checkstack(S, in->last - in->first + 16, NULL);
	for (int i = in->first; i <= in->last; i++)
		if (is_list_of_tables(L, i))
			count += lua_rawlen(L, i);
	struct record *records = lua_newuserdatauv(S, (count + 1) * sizeof *records, 0);
	for (int i = in->first; i <= in->last; i++) {
		if (is_list_of_tables(L, i)) {
			push_list(S, in, i, records, i);
		} else if (lua_type(L, i) == LUA_TTABLE) {
			push_record(S, in, i);
		} else {
			lua_Integer nodes = 1, bytes = SANDBOX_TEXT_MAX;
			if (!fits(in, i, 0, &nodes, &bytes))
				luaL_error(S, "argument %d cannot be shown to the script", i - in->first + 1);
			copy_in(S, in, i);
		}
	}
}
