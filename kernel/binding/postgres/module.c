/* module.c - the Lua module keel.postgres: the driver, which keel.kernel asks for by itself. */
#include <keel/postgres.h>

#include <stdint.h>

#include <lua.h>

KEEL_API int luaopen_keel_postgres(lua_State *L);

int luaopen_keel_postgres(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)keel_postgres());
	return 1;
}
