/* value.c - texts, times, durations and options between Lua and C. */
#include "binding.h"

#include <string.h>

void keel_lua_check_type(lua_State *L, int argument, const char *name, int type)
{
	if (lua_type(L, argument) != type)
		luaL_argerror(
			L, argument,
			lua_pushfstring(L, "%s: %s expected, got %s", name, lua_typename(L, type), luaL_typename(L, argument)));
}

void *keel_lua_check_self(lua_State *L, int argument, const char *metatable)
{
	void *self = luaL_testudata(L, argument, metatable);
	if (!self)
		luaL_argerror(L, argument,
					  lua_pushfstring(L, "%s expected, got %s: call methods with a colon", metatable,
									  luaL_typename(L, argument)));
	return self;
}

struct keel_text keel_lua_check_text(lua_State *L, int argument, const char *name)
{
	struct keel_text text;
	keel_lua_check_type(L, argument, name, LUA_TSTRING);
	text.data = lua_tolstring(L, argument, &text.size);
	return text;
}

lua_Integer keel_lua_check_integer(lua_State *L, int argument, const char *name)
{
	int whole;
	keel_lua_check_type(L, argument, name, LUA_TNUMBER);
	lua_Integer value = lua_tointegerx(L, argument, &whole);
	if (!whole) {
		keel_lua_push_number_text(L, argument, -1);
		luaL_argerror(L, argument, lua_pushfstring(L, "%s: whole number expected, got %s", name, lua_tostring(L, -1)));
	}
	return value;
}

bool keel_lua_duration(lua_Number seconds, int64_t *duration_us)
{
	/* A century is for ever, and keeps sums of times within 64 bits. */
	const lua_Number longest = 100.0 * 366 * 86400;
	if (!(seconds >= 0))
		return false;
	*duration_us = (int64_t)((seconds < longest ? seconds : longest) * 1e6 + 0.5);
	return true;
}

/* Raises about the key below the top. */
static void unknown_option(lua_State *L, int argument, const char *const *known)
{
	struct keel_lua_guess guess;
	const char *name = luaL_tolstring(L, -2, NULL);
	keel_lua_guess_start(&guess, name);
	for (int i = 0; known[i]; i++)
		keel_lua_guess_try(&guess, known[i]);
	luaL_argerror(L, argument, lua_pushfstring(L, "unknown option '%s'%s", name, keel_lua_guess_text(L, &guess)));
}

void keel_lua_check_options(lua_State *L, int argument, const char *const *known)
{
	if (lua_isnoneornil(L, argument))
		return;
	keel_lua_check_type(L, argument, "options", LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, argument)) {
		struct keel_text name = {NULL, 0};
		if (lua_type(L, -2) == LUA_TSTRING)
			name.data = lua_tolstring(L, -2, &name.size);
		int i = 0;
		while (name.data && known[i] && !keel_text_is(name, known[i]))
			i++;
		if (!name.data || !known[i])
			unknown_option(L, argument, known);
		lua_pop(L, 1);
	}
}

int keel_lua_member(lua_State *L, int table, const char *name)
{
	table = lua_absindex(L, table);
	lua_pushstring(L, name);
	return lua_rawget(L, table);
}

int keel_lua_option(lua_State *L, int argument, const char *name, int type)
{
	if (lua_isnoneornil(L, argument)) {
		lua_pushnil(L);
		return LUA_TNIL;
	}
	int found = keel_lua_member(L, argument, name);
	if (found != LUA_TNIL && found != type)
		luaL_argerror(L, argument,
					  lua_pushfstring(L, "option '%s' must be a %s, got %s", name, lua_typename(L, type),
									  lua_typename(L, found)));
	return found;
}

lua_Integer keel_lua_option_integer(lua_State *L, int argument, const char *name, lua_Integer otherwise)
{
	lua_Integer value = otherwise;
	int whole = 1;
	if (keel_lua_option(L, argument, name, LUA_TNUMBER) != LUA_TNIL)
		value = lua_tointegerx(L, -1, &whole);
	if (!whole) {
		keel_lua_push_number_text(L, -1, -1);
		luaL_argerror(L, argument,
					  lua_pushfstring(L, "option '%s' must be a whole number, got %s", name, lua_tostring(L, -1)));
	}
	lua_pop(L, 1);
	return value;
}

bool keel_lua_option_flag(lua_State *L, int argument, const char *name)
{
	keel_lua_option(L, argument, name, LUA_TBOOLEAN);
	bool flag = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return flag;
}

bool keel_lua_option_duration(lua_State *L, int argument, const char *name, int64_t *duration_us,
							  struct keel_error *err)
{
	*duration_us = 0;
	int type = keel_lua_option(L, argument, name, LUA_TNUMBER);
	lua_Number seconds = lua_tonumber(L, -1);
	lua_pop(L, 1);
	if (type == LUA_TNIL || keel_lua_duration(seconds, duration_us))
		return true;
	keel_lua_refuse(err, name, "must be a number of seconds, at least 0");
	return false;
}

const char *keel_lua_read_time(lua_State *L, int index, struct keel_store *store, int64_t *time)
{
	struct keel_text text;
	if (lua_type(L, index) == LUA_TSTRING) {
		text.data = lua_tolstring(L, index, &text.size);
		return keel_time_parse(text, time) == KEEL_OK ? NULL : "is not an RFC 3339 time";
	}
	const lua_Number century = 100.0 * 366 * 86400;
	lua_Number seconds = lua_tonumber(L, index);
	if (!(seconds >= -century && seconds <= century))
		return "is not a number of seconds from now, at most a century";
	*time = keel_store_now(store) + (int64_t)(seconds * 1e6 + (seconds < 0 ? -0.5 : 0.5));
	return NULL;
}

bool keel_lua_option_time(lua_State *L, int argument, const char *name, struct keel_store *store, int64_t *time,
						  bool *given, struct keel_error *err)
{
	*given = false;
	if (lua_isnoneornil(L, argument))
		return true;
	int type = keel_lua_member(L, argument, name);
	if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TNUMBER)
		luaL_argerror(L, argument,
					  lua_pushfstring(L, "option '%s' must be a time, got %s", name, lua_typename(L, type)));
	*given = type != LUA_TNIL;
	const char *why = *given ? keel_lua_read_time(L, -1, store, time) : NULL;
	lua_pop(L, 1);
	if (why)
		keel_lua_refuse(err, name, why);
	return !why;
}

struct keel_text keel_lua_option_text(lua_State *L, int argument, const char *name)
{
	struct keel_text text = {NULL, 0};
	if (keel_lua_option(L, argument, name, LUA_TSTRING) != LUA_TNIL)
		text.data = lua_tolstring(L, -1, &text.size);
	lua_pop(L, 1); /* the table keeps it */
	return text;
}

struct keel_text keel_lua_take_line(struct keel_text *text)
{
	struct keel_text line = *text;
	if (!text->size)
		return (struct keel_text){NULL, 0};
	const char *over = memchr(line.data, '\n', line.size);
	if (over)
		line.size = (size_t)(over - line.data);
	size_t taken = line.size + (over ? 1 : 0);
	*text = (struct keel_text){text->data + taken, text->size - taken};
	return line;
}
