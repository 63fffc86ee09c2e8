/* error.c - errors as Lua values: { code, message, transient, … } with a __tostring. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

static const char METATABLE[] = "keel.error";

void keel_lua_error_metatable(lua_State *L)
{
	lua_getfield(L, LUA_REGISTRYINDEX, METATABLE);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
	if (text && text[0])
		keel_lua_set_word(L, name, text);
}

/* Pushes the error table. [-0, +1, m] */
static void push_error(lua_State *L, const struct keel_error *err)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 6);
	set_text(L, "code", keel_code_name(err->code));
	set_text(L, "message", err->message);
	keel_lua_set_flag(L, "transient", err->transient);
	set_text(L, "field", err->field);
	set_text(L, "from", err->from);
	set_text(L, "to", err->to);
	set_text(L, "expected", err->expected);
	set_text(L, "actual", err->actual);
	set_text(L, "run_id", err->run_id);
	set_text(L, "thread_id", err->thread_id);
	if (err->code == KEEL_LIMIT_TOO_LARGE) {
		keel_lua_set_integer(L, "requested", err->requested);
		keel_lua_set_integer(L, "max", err->max);
	}
	keel_lua_error_metatable(L);
	lua_setmetatable(L, -2);
	KEEL_LUA_PUSHED(L, top, 1);
}

int keel_lua_fail(lua_State *L, const struct keel_error *err)
{
	if (err->code == KEEL_MISUSE)
		return luaL_error(L, "%s", err->message);
	if (err->code == KEEL_FORKED) {
		push_error(L, err);
		return lua_error(L);
	}
	int top = lua_gettop(L);
	luaL_pushfail(L);
	push_error(L, err);
	KEEL_LUA_PUSHED(L, top, 2);
	return 2;
}

int keel_lua_fail_field(lua_State *L, const char *field, const char *message)
{
	int top = lua_gettop(L);
	luaL_pushfail(L);
	lua_createtable(L, 0, 4);
	set_text(L, "code", keel_code_name(KEEL_INVALID_REQUEST));
	lua_pushfstring(L, "%s %s", field, message);
	lua_setfield(L, -2, "message");
	keel_lua_set_flag(L, "transient", false);
	set_text(L, "field", field);
	keel_lua_error_metatable(L);
	lua_setmetatable(L, -2);
	KEEL_LUA_PUSHED(L, top, 2);
	return 2;
}

int keel_lua_refuse(struct keel_error *err, const char *field, const char *why)
{
	memset(err, 0, sizeof *err);
	err->code = KEEL_INVALID_REQUEST;
	snprintf(err->field, sizeof err->field, "%s", field);
	snprintf(err->message, sizeof err->message, "%s %s", field, why);
	return -1;
}

/* "code: message", so that assert(...) reads well. */
static int error_tostring(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_getfield(L, 1, "code");
	lua_getfield(L, 1, "message");
	const char *code = luaL_tolstring(L, 2, NULL);
	const char *message = luaL_tolstring(L, 3, NULL);
	lua_pushfstring(L, "%s: %s", code, message);
	return 1;
}

void keel_lua_error_open(lua_State *L)
{
	if (luaL_newmetatable(L, METATABLE)) {
		lua_pushcfunction(L, error_tostring);
		lua_setfield(L, -2, "__tostring");
	}
	lua_pop(L, 1);
}
