/* preload.c - a host that only hands the module to Lua, and calls nothing else of Keel. */
#include <lauxlib.h>
#include <lualib.h>

#include <keel/module.h>

int main(void)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	int failed = luaL_dostring(L, "assert(require('keel').open(':memory:')):close()");
	lua_close(L);
	return failed;
}
