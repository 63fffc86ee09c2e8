/* json.c - JSON text to Lua values, through Jansson; the marks of arrays and null; copies. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

static const char ARRAY[] = "keel.array", BOX[] = "keel.json", NULL_KEY[] = "keel.null";

/* --- Marks ------------------------------------------------------------------------------------------------------- */

bool keel_lua_is_null(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TUSERDATA)
		return false;
	lua_pushvalue(L, index);
	lua_getfield(L, LUA_REGISTRYINDEX, NULL_KEY);
	bool is = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return is;
}

void keel_lua_push_null(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, NULL_KEY);
}

bool keel_lua_is_array(lua_State *L, int index)
{
	if (!lua_getmetatable(L, index))
		return false;
	luaL_getmetatable(L, ARRAY);
	bool is = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return is;
}

/* array(t): marks a table as a JSON array, so that an empty one is written [] and not {}.
 * Parameters: t (table; nil: a new one). Raises for another type, or a table with a metatable of its own.
 * Returns t. */
static int array(lua_State *L)
{
	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		lua_newtable(L);
	}
	keel_lua_check_type(L, 1, "t", LUA_TTABLE);
	lua_settop(L, 1);
	if (lua_getmetatable(L, 1)) {
		luaL_argcheck(L, keel_lua_is_array(L, 1), 1, "the table has a metatable of its own");
		lua_pop(L, 1);
	}
	luaL_setmetatable(L, ARRAY);
	return 1;
}

static int null_tostring(lua_State *L)
{
	lua_pushliteral(L, "null");
	return 1;
}

/* --- A Jansson value that survives a raise ----------------------------------------------------------------------- */

static void empty_box(json_t **box)
{
	json_decref(*box);
	*box = NULL;
}

static int box_gc(lua_State *L)
{
	empty_box(lua_touserdata(L, 1));
	return 0;
}

static json_t **new_box(lua_State *L)
{
	return keel_lua_take(L, BOX, sizeof(json_t *), box_gc);
}

/* Empties the box at `index`, and takes it off the stack. */
static void drop_box(lua_State *L, int index)
{
	empty_box(lua_touserdata(L, index));
	keel_lua_give_back(L, index, BOX);
	lua_remove(L, index);
}

/* --- Decoding ---------------------------------------------------------------------------------------------------- */

static void push(lua_State *L, json_t *value)
{
	luaL_checkstack(L, 6, "JSON is nested too deeply");
	int top = lua_gettop(L);
	switch (json_typeof(value)) {
	case JSON_NULL:
		lua_getfield(L, LUA_REGISTRYINDEX, NULL_KEY);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(value));
		break;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(value));
		break;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(value));
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(value), json_string_length(value));
		break;
	case JSON_ARRAY: {
		size_t size = json_array_size(value);
		lua_createtable(L, (int)(size < 1 << 16 ? size : 1 << 16), 0);
		for (size_t i = 0; i < size; i++) {
			push(L, json_array_get(value, i));
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		luaL_setmetatable(L, ARRAY);
		break;
	}
	case JSON_OBJECT: {
		const char *key;
		json_t *item;
		size_t size = json_object_size(value);
		lua_createtable(L, 0, (int)(size < 1 << 16 ? size : 1 << 16));
		json_object_foreach(value, key, item)
		{
			lua_pushstring(L, key);
			push(L, item);
			lua_rawset(L, -3);
		}
		break;
	}
	}
	KEEL_LUA_PUSHED(L, top, 1);
}

/* Pushes the value of a text, or nothing, with the reason in `why`. [-0, +(0|1), m] */
static bool decode(lua_State *L, struct keel_text text, size_t flags, char *why, size_t why_size)
{
	json_error_t error;
	if (text.size == 2 && memcmp(text.data, "{}", 2) == 0) {
		lua_newtable(L);
		return true;
	}
	/* Asked first: Jansson reads up to 2048 levels, and takes as much stack for a text that is deeper. */
	if (keel_json_is_deep(text)) {
		snprintf(why, why_size, "nested too deeply: at most %d levels are read", KEEL_JSON_DEPTH_MAX);
		return false;
	}
	int top = lua_gettop(L);
	json_t **box = new_box(L);
	*box = json_loadb(text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL | flags, &error);
	if (!*box && json_error_code(&error) == json_error_out_of_memory)
		luaL_error(L, "not enough memory");
	if (!*box) {
		snprintf(why, why_size, "%s (byte %d)", error.text, error.position);
		drop_box(L, -1);
		KEEL_LUA_PUSHED(L, top, 0);
		return false;
	}
	push(L, *box);
	drop_box(L, -2);
	KEEL_LUA_PUSHED(L, top, 1);
	return true;
}

void keel_lua_set_document(lua_State *L, const char *name, struct keel_text text, const char *kind, const char *of)
{
	char why[KEEL_JSON_WHY_SIZE];
	int top = lua_gettop(L);
	if (!text.data)
		return;
	/* What the kernel took may have a name twice: the last one counts. */
	if (decode(L, text, 0, why, sizeof why)) {
		lua_setfield(L, -2, name);
	} else {
		lua_pushfstring(L, "the %s of %s %s is damaged and left out: %s", name, kind, of, why);
		keel_lua_note_damage(L);
	}
	KEEL_LUA_PUSHED(L, top, 0);
}

/* json.decode(text): the value of a JSON text. Arrays come marked as by keel.array, null as keel.null.
 * Parameters: text (string). Returns the value. Fails with invalid_request (field "text") for what is not JSON, has a
 * name twice, or a whole number beyond 64 bits. */
static int decode_text(lua_State *L)
{
	char why[KEEL_JSON_WHY_SIZE];
	struct keel_text text = keel_lua_check_text(L, 1, "text");
	return decode(L, text, JSON_REJECT_DUPLICATES, why, sizeof why) ? 1 : keel_lua_fail_field(L, "text", why);
}

/* Pushes a copy of the value at `index`. What is nested beyond what JSON may be raises. [-0, +1, e] */
static void copy(lua_State *L, int index, int depth)
{
	if (lua_type(L, index) != LUA_TTABLE) {
		lua_pushvalue(L, index);
		return;
	}
	if (depth >= KEEL_JSON_DEPTH_MAX)
		luaL_error(L, "the value is nested too deeply, or holds itself");
	luaL_checkstack(L, 6, "the value is nested too deeply");
	/* Counted first: growing a table step by step costs more. Room for one name more, for who adds to the copy. */
	int listed = (int)lua_rawlen(L, index), count = 0;
	for (lua_pushnil(L); lua_next(L, index); count++)
		lua_pop(L, 1);
	lua_createtable(L, listed, count > listed ? count - listed + 1 : 0);
	int made = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, index)) {
		lua_pushvalue(L, -2);
		copy(L, lua_gettop(L) - 1, depth + 1);
		lua_rawset(L, made);
		lua_pop(L, 1);
	}
	if (lua_getmetatable(L, index))
		lua_setmetatable(L, made);
	KEEL_LUA_PUSHED(L, made, 0);
}

/* json.copy(value): a copy that shares no table with the value, marks kept.
 * Raises for nesting beyond 1000. Returns the copy. */
static int copy_value(lua_State *L)
{
	luaL_checkany(L, 1);
	copy(L, 1, 0);
	return 1;
}

void keel_lua_json_open(lua_State *L)
{
	luaL_newmetatable(L, ARRAY);
	lua_pop(L, 1);
	if (lua_getfield(L, LUA_REGISTRYINDEX, NULL_KEY) == LUA_TNIL) {
		lua_pop(L, 1);
		lua_newuserdatauv(L, 0, 0);
		lua_createtable(L, 0, 2);
		lua_pushliteral(L, "keel.null");
		lua_setfield(L, -2, "__name");
		lua_pushcfunction(L, null_tostring);
		lua_setfield(L, -2, "__tostring");
		lua_setmetatable(L, -2);
		lua_pushvalue(L, -1);
		lua_setfield(L, LUA_REGISTRYINDEX, NULL_KEY);
	}
	lua_setfield(L, -2, "null");
	lua_pushcfunction(L, array);
	lua_setfield(L, -2, "array");
	static const luaL_Reg functions[] = {{"decode", decode_text}, {"copy", copy_value}, {NULL, NULL}};
	luaL_newlib(L, functions);
	lua_setfield(L, -2, "json");
}
