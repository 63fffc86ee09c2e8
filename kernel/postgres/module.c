/* module.c - what libkeel_postgres and the Lua module keel.postgres have besides the driver: a way to it. */
#include <keel/postgres.h>

#include <lua.h>

#include "sql/postgres.h"

const struct keel_sql_driver *keel_postgres(void)
{
	return &keel_postgres_driver;
}

/* require "keel.postgres": the driver, which keel.kernel asks for by itself. */
KEEL_API int luaopen_keel_postgres(lua_State *L);

int luaopen_keel_postgres(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)(uintptr_t)&keel_postgres_driver);
	return 1;
}
