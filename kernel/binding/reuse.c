/* reuse.c - userdata that hold C memory over a call, used again and again. */
#include "binding.h"

#include <string.h>

void *keel_lua_take(lua_State *L, const char *metatable, size_t size, lua_CFunction gc)
{
	int top = lua_gettop(L);
	if (luaL_newmetatable(L, metatable)) {
		lua_pushcfunction(L, gc);
		lua_setfield(L, -2, "__gc");
	}
	/* The free one stands in its metatable; taking it leaves false behind, so that giving back needs no memory. */
	if (lua_rawgeti(L, -1, 1) == LUA_TUSERDATA) {
		lua_pushboolean(L, 0);
		lua_rawseti(L, -3, 1);
		lua_remove(L, -2);
		KEEL_LUA_PUSHED(L, top, 1);
		return lua_touserdata(L, -1);
	}
	lua_pop(L, 1);
	void *memory = lua_newuserdatauv(L, size, 0);
	memset(memory, 0, size);
	lua_insert(L, -2);
	lua_pushboolean(L, 0);
	lua_rawseti(L, -2, 1);
	lua_setmetatable(L, -2);
	KEEL_LUA_PUSHED(L, top, 1);
	return memory;
}

void keel_lua_give_back(lua_State *L, int index, const char *metatable)
{
	int top = lua_gettop(L);
	lua_pushvalue(L, index);
	luaL_getmetatable(L, metatable);
	lua_insert(L, -2);
	lua_rawseti(L, -2, 1);
	lua_pop(L, 1);
	KEEL_LUA_PUSHED(L, top, 0);
}
