/* environment.c - the environment of a sandboxed script: what it may name, and that it can change none of it.
 * Uses: base, string, match, table.
 */
#include "sandbox/box.h"

#include <lualib.h>

static int refuse_write(lua_State *S)
{
	return luaL_error(S, "the globals and libraries of a policy are read-only: '%s' cannot be set; use a local",
					  lua_type(S, 2) == LUA_TSTRING ? lua_tostring(S, 2) : luaL_typename(S, 2));
}

/* Puts an empty table that shows the one on the top in its place: writing always finds no such key. [-1, +1, m] */
static void protect(lua_State *S)
{
	lua_newtable(S);
	lua_createtable(S, 0, 2);
	lua_pushvalue(S, -3);
	lua_setfield(S, -2, "__index");
	lua_pushcfunction(S, refuse_write);
	lua_setfield(S, -2, "__newindex");
	lua_setmetatable(S, -2);
	lua_replace(S, -2);
}

/* Pushes a table of those of a library's functions that may be used; none of them has upvalues. [-0, +1, m] */
static void push_some(lua_State *S, lua_CFunction library, const char *const *names)
{
	int top = lua_gettop(S);
	lua_pushcfunction(S, library);
	lua_call(S, 0, 1);
	lua_newtable(S);
	for (; *names; names++) {
		lua_getfield(S, -2, *names);
		if (lua_iscfunction(S, -1)) { /* else it is a number */
			keel_sandbox_push_function(S, lua_tocfunction(S, -1));
			lua_replace(S, -2);
		}
		lua_setfield(S, -2, *names);
	}
	lua_remove(S, -2);
	KEEL_LUA_PUSHED(S, top, 1);
}

void keel_sandbox_push_environment(lua_State *S)
{
	static const char *const basic[] = {"assert", "error",    "rawequal", "rawget", "rawlen",
										"select", "tonumber", "type",     NULL};
	static const char *const strings[] = {"byte", "char", "len", "lower", "reverse", "sub", "upper", NULL};
	/* Neither random nor randomseed: the same picture gives the same decision. */
	static const char *const numbers[] = {"abs",       "acos",       "asin",       "atan", "ceil", "cos", "deg",
										  "exp",       "floor",      "fmod",       "huge", "log",  "max", "min",
										  "modf",      "maxinteger", "mininteger", "pi",   "rad",  "sin", "sqrt",
										  "tointeger", "tan",        "type",       "ult",  NULL};
	push_some(S, luaopen_base, basic);
	keel_sandbox_add_base(S);
	lua_pushliteral(S, "");
	push_some(S, luaopen_string, strings);
	keel_sandbox_add_string(S);
	keel_sandbox_add_match(S);
	/* The metatable of texts is luaopen_string's, for arithmetic; methods are found in ours. */
	lua_getmetatable(S, -2);
	lua_pushvalue(S, -2);
	lua_setfield(S, -2, "__index");
	lua_pop(S, 1);
	lua_remove(S, -2);
	protect(S);
	lua_setfield(S, -2, "string");
	push_some(S, luaopen_math, numbers);
	protect(S);
	lua_setfield(S, -2, "math");
	lua_newtable(S);
	keel_sandbox_add_table(S);
	protect(S);
	lua_setfield(S, -2, "table");
	protect(S);
}
