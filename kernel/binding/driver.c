/* driver.c - the driver for stores on a server, which is a module of its own. */
#include "handle.h"

bool keel_lua_bring_driver(lua_State *L, struct keel_error *err)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "keel.postgres");
	int status = lua_pcall(L, 1, 1, 0);
	const struct keel_sql_driver *driver = status == LUA_OK ? lua_touserdata(L, -1) : NULL;
	lua_pop(L, 1);
	return driver && keel_store_use_driver(driver, err) == KEEL_OK;
}
