/* field.c - fields of the tables that rows become. */
#include "binding.h"

void keel_lua_push_seconds(lua_State *L, int64_t duration_us)
{
	if (duration_us % 1000000 == 0)
		lua_pushinteger(L, duration_us / 1000000);
	else
		lua_pushnumber(L, (lua_Number)duration_us / 1e6);
}

void keel_lua_push_time(lua_State *L, int64_t time)
{
	char text[KEEL_TIME_SIZE];
	lua_pushlstring(L, text, keel_time_format(time, text));
}

void keel_lua_set_integer(lua_State *L, const char *name, int64_t value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

void keel_lua_set_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

void keel_lua_set_time(lua_State *L, const char *name, int64_t time)
{
	keel_lua_push_time(L, time);
	lua_setfield(L, -2, name);
}

void keel_lua_set_word(lua_State *L, const char *name, const char *word)
{
	lua_pushstring(L, word);
	lua_setfield(L, -2, name);
}

void keel_lua_set_text(lua_State *L, const char *name, struct keel_text text)
{
	if (text.data) {
		lua_pushlstring(L, text.data, text.size);
		lua_setfield(L, -2, name);
	}
}
