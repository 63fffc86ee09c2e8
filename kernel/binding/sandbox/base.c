/* base.c - the basic functions of a sandboxed script, and what those of its libraries share. Uses: limits, keys.
 *
 * The basic functions are Lua's where one call of theirs is bounded by what it is given. Ours differ where Lua's would
 * show an address or an order that is another one in the next state, or would let a script go on after its stop.
 */
#include "sandbox/box.h"

/* --- Text -------------------------------------------------------------------------------------------------------- */

void keel_sandbox_push_text(lua_State *S, int index)
{
	index = lua_absindex(S, index);
	switch (lua_type(S, index)) {
	case LUA_TSTRING:
	case LUA_TNUMBER:
		lua_pushvalue(S, index);
		lua_tolstring(S, -1, NULL);
		break;
	case LUA_TBOOLEAN:
		lua_pushstring(S, lua_toboolean(S, index) ? "true" : "false");
		break;
	case LUA_TLIGHTUSERDATA:
		lua_pushliteral(S, "null");
		break;
	default:
		lua_pushstring(S, luaL_typename(S, index));
	}
}

static int base_tostring(lua_State *S)
{
	luaL_checkany(S, 1);
	keel_sandbox_push_text(S, 1);
	return 1;
}

/* --- Iteration --------------------------------------------------------------------------------------------------- */

/* Reads the key at `index`; raises for one that has no order. What it points to belongs to the table. */
static struct key read_key(lua_State *S, int index)
{
	struct key key;
	if (!keel_key_read(S, index, &key))
		luaL_error(S, "a table with a %s as a key has no order to go through it in", luaL_typename(S, index));
	return key;
}

static void push_key(lua_State *S, const struct key *key)
{
	if (key->kind == KEY_TEXT)
		lua_pushlstring(S, key->as.text.data, key->as.text.size);
	else if (key->kind == KEY_FLAG)
		lua_pushboolean(S, key->as.integer != 0);
	else if (key->is_integer)
		lua_pushinteger(S, key->as.integer);
	else
		lua_pushnumber(S, key->as.number);
}

/* The iterator of pairs: upvalues are the list of keys, how far it is, and the table. A script can call it with
 * anything: its arguments are not looked at. */
static int next_pair(lua_State *S)
{
	lua_Integer i = lua_tointeger(S, lua_upvalueindex(2));
	for (;;) {
		lua_settop(S, 0);
		if (lua_rawgeti(S, lua_upvalueindex(1), ++i) == LUA_TNIL)
			return 1;
		lua_pushvalue(S, 1);
		if (lua_rawget(S, lua_upvalueindex(3)) != LUA_TNIL)
			break; /* else it was taken away meanwhile */
		keel_sandbox_step(S);
	}
	lua_pushinteger(S, i);
	lua_replace(S, lua_upvalueindex(2));
	return 2;
}

/* pairs(t): in the order of the keys. Keys that come during the loop are not seen. */
static int base_pairs(lua_State *S)
{
	luaL_checktype(S, 1, LUA_TTABLE);
	lua_settop(S, 1);
	size_t count = 0, logarithm = 1;
	for (lua_pushnil(S); lua_next(S, 1); lua_pop(S, 1)) {
		keel_sandbox_check_time(S);
		count++;
	}
	while (count >> logarithm)
		logarithm++;
	keel_sandbox_charge(S, count * logarithm / 4); /* a comparison is less than an instruction */
	struct key *keys = lua_newuserdatauv(S, (count + 1) * sizeof *keys, 0);
	size_t read = 0;
	for (lua_pushnil(S); lua_next(S, 1); lua_pop(S, 1)) {
		keel_sandbox_check_time(S);
		keys[read++] = read_key(S, -2);
	}
	keel_key_sort(keys, count);
	lua_createtable(S, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		keel_sandbox_check_time(S);
		push_key(S, &keys[i]);
		lua_rawseti(S, -2, (lua_Integer)i + 1);
	}
	lua_pushinteger(S, 0);
	lua_pushvalue(S, 1);
	lua_pushcclosure(S, next_pair, 3);
	lua_pushvalue(S, 1);
	lua_pushnil(S);
	return 3;
}

/* next(t, key): the first key after the given one, in their order, and its value. It looks at all of them: loops use
 * pairs, this is for `next(t) == nil`. */
static int base_next(lua_State *S)
{
	luaL_checktype(S, 1, LUA_TTABLE);
	lua_settop(S, 2);
	bool first = lua_isnil(S, 2), found = false;
	struct key after = {.kind = KEY_NUMBER}, best = after;
	if (!first)
		after = read_key(S, 2);
	for (lua_pushnil(S); lua_next(S, 1); lua_pop(S, 1)) {
		struct key key = read_key(S, -2);
		keel_sandbox_step(S);
		if ((first || keel_key_less(&after, &key)) && (!found || keel_key_less(&key, &best))) {
			found = true;
			best = key;
		}
	}
	if (!found) {
		lua_pushnil(S);
		return 1;
	}
	push_key(S, &best);
	lua_pushvalue(S, -1);
	lua_rawget(S, 1);
	return 2;
}

static int next_item(lua_State *S)
{
	lua_Integer i = (lua_Integer)((lua_Unsigned)luaL_checkinteger(S, 2) + 1);
	lua_pushinteger(S, i);
	return lua_geti(S, 1, i) == LUA_TNIL ? 1 : 2;
}

/* ipairs(t): as Lua's, but for the iterator, which a script can take for a key: it is a closure, one for all. */
static int base_ipairs(lua_State *S)
{
	luaL_checkany(S, 1);
	lua_pushvalue(S, lua_upvalueindex(1));
	lua_pushvalue(S, 1);
	lua_pushinteger(S, 0);
	return 3;
}

/* --- Errors ------------------------------------------------------------------------------------------------------ */

/* pcall(fn, ...): does not return from a script that was stopped. */
static int base_pcall(lua_State *S)
{
	luaL_checkany(S, 1);
	int status = keel_sandbox_pcall(S, lua_gettop(S) - 1, LUA_MULTRET);
	if (keel_sandbox_of(S)->exceeded)
		return keel_sandbox_stop(S, "instructions"); /* the first limit stays */
	luaL_checkstack(S, 1, NULL);
	lua_pushboolean(S, status == LUA_OK);
	lua_insert(S, 1);
	return lua_gettop(S);
}

void keel_sandbox_push_function(lua_State *S, lua_CFunction function)
{
	lua_pushboolean(S, 1);
	lua_pushcclosure(S, function, 1);
}

void keel_sandbox_set_functions(lua_State *S, const luaL_Reg *functions)
{
	for (; functions->name; functions++) {
		keel_sandbox_push_function(S, functions->func);
		lua_setfield(S, -2, functions->name);
	}
}

void keel_sandbox_add_base(lua_State *S)
{
	static const luaL_Reg functions[] = {
		{"tostring", base_tostring}, {"pairs", base_pairs}, {"next", base_next}, {"pcall", base_pcall}, {NULL, NULL}};
	keel_sandbox_set_functions(S, functions);
	keel_sandbox_push_function(S, next_item);
	lua_pushcclosure(S, base_ipairs, 1);
	lua_setfield(S, -2, "ipairs");
	lua_pushlightuserdata(S, KEEL_SANDBOX_NULL);
	lua_setfield(S, -2, "null");
}

void keel_sandbox_check_writable(lua_State *S, int index)
{
	if (lua_getmetatable(S, index))
		luaL_error(S, "the libraries of a policy are read-only");
}
