/* scripts.c - a searcher of require: modules that the program carries. */
#include "scripts.h"

#include <string.h>

#include <lauxlib.h>

static const struct command_script *find(const char *module)
{
	const struct command_script *script = command_scripts;
	while (script->module && strcmp(script->module, module) != 0)
		script++;
	return script->module ? script : NULL;
}

/* carried(module): its source, if that is what is carried. */
static int carried(lua_State *L)
{
	const struct command_script *script = find(luaL_checkstring(L, 1));
	if (!script || script->code[0] == (unsigned char)LUA_SIGNATURE[0])
		return 0;
	lua_pushlstring(L, (const char *)script->code, script->size);
	return 1;
}

/* The loader of a module, or nothing: then the next searcher looks for a file. So it does when liblua is another Lua
 * 5.4 than the one that compiled, and refuses the code. */
static int search(lua_State *L)
{
	const char *module = luaL_checkstring(L, 1);
	const struct command_script *script = find(module);
	if (!script || luaL_loadbufferx(L, (const char *)script->code, script->size, module, "bt") != LUA_OK)
		return 0;
	lua_pushliteral(L, ":keel:"); /* what the loader and package.loaded see as the place of the file */
	return 2;
}

void command_add_scripts(lua_State *L)
{
	if (!command_scripts[0].module)
		return;
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "searchers");
	for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) { /* the first knows package.preload */
		lua_geti(L, -1, i);
		lua_seti(L, -2, i + 1);
	}
	lua_pushcfunction(L, search);
	lua_seti(L, -2, 2);
	lua_pop(L, 1);
	lua_getfield(L, -1, "loaded");
	lua_pushcfunction(L, carried);
	lua_setfield(L, -2, "keel.carried");
	lua_pop(L, 2);
}
