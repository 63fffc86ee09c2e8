/* value.c - texts, times, durations and options between Lua and C, and the module's small functions. */
#include "binding.h"

#include <string.h>
#include <time.h>

#include <sha2.h>

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
		luaL_argerror(L, argument,
					  lua_pushfstring(L, "%s: whole number expected, got %s", name, lua_tostring(L, -1)));
	}
	return value;
}

void keel_lua_push_time(lua_State *L, int64_t time)
{
	char text[KEEL_TIME_SIZE];
	lua_pushlstring(L, text, keel_time_format(time, text));
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
	luaL_argerror(L, argument,
				  lua_pushfstring(L, "unknown option '%s'%s", name, keel_lua_guess_text(L, &guess)));
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

bool keel_lua_option_json(lua_State *L, int argument, const char *name, struct keel_text *json, struct keel_error *err)
{
	const char *why;
	*json = (struct keel_text){NULL, 0};
	if (keel_lua_option(L, argument, name, LUA_TTABLE) == LUA_TNIL)
		return true;
	if (strcmp(name, "worker_ref") == 0)
		keel_lua_reduce_to_ref(L);
	if (!keel_lua_json_encode(L, -1, true, &why)) {
		keel_lua_refuse(err, name, why);
		return false;
	}
	lua_remove(L, -2);
	json->data = lua_tolstring(L, -1, &json->size);
	return true;
}

/* now(): the system's clock as a time. */
static int now(lua_State *L)
{
	struct keel_clock clock = keel_clock_system();
	keel_lua_push_time(L, clock.now(clock.data));
	return 1;
}

/* new_id(): a UUID of version 7, greater than any this process made before. Fails with io. */
static int new_id(lua_State *L)
{
	char id[KEEL_UUID_SIZE];
	struct keel_ids ids = keel_ids_uuid7();
	if (ids.next(ids.data, id) != KEEL_OK) {
		struct keel_error err = {.code = KEEL_IO, .message = "the system gives no random bytes"};
		return keel_lua_fail(L, &err);
	}
	lua_pushstring(L, id);
	return 1;
}

/* sha256(text): the hash as 64 hexadecimal digits. */
static int sha256(lua_State *L)
{
	struct keel_text text = keel_lua_check_text(L, 1, "text");
	char digest[SHA256_DIGEST_STRING_LENGTH];
	SHA256Data((const uint8_t *)text.data, text.size, digest);
	lua_pushstring(L, digest);
	return 1;
}

/* is_blank(text): whether it has nothing but white space, as Unicode has it. False for a text that is not UTF-8. */
static int is_blank(lua_State *L)
{
	struct keel_text text = keel_lua_check_text(L, 1, "text");
	lua_pushboolean(L, keel_text_is_utf8(text) && keel_text_is_blank(text));
	return 1;
}

/* time_seconds(text): a time as seconds since the epoch (a float good to a microsecond).
 * Fails with invalid_request (field "time"). */
static int time_seconds(lua_State *L)
{
	int64_t time;
	if (keel_time_parse(keel_lua_check_text(L, 1, "time"), &time) != KEEL_OK)
		return keel_lua_fail_field(L, "time", "is not an RFC 3339 time");
	lua_pushnumber(L, (lua_Number)time / 1e6);
	return 1;
}

/* time_text(seconds): the opposite of time_seconds. */
static int time_text(lua_State *L)
{
	lua_Number seconds = luaL_checknumber(L, 1);
	luaL_argcheck(L, seconds > -1e12 && seconds < 1e12, 1, "seconds out of range");
	keel_lua_push_time(L, (int64_t)(seconds * 1e6 + (seconds < 0 ? -0.5 : 0.5)));
	return 1;
}

/* time_utc(text): the same instant in the form that times are given in. Fails with invalid_request (field "time"). */
static int time_utc(lua_State *L)
{
	int64_t time;
	if (keel_time_parse(keel_lua_check_text(L, 1, "time"), &time) != KEEL_OK)
		return keel_lua_fail_field(L, "time", "is not an RFC 3339 time");
	keel_lua_push_time(L, time);
	return 1;
}

/* monotonic(): seconds on a clock that nobody sets; only differences mean something. */
static int monotonic(lua_State *L)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
	return 1;
}

/* retry_delay(policy, attempt, chance): the delay in seconds after failed call number `attempt`; chance in [0, 1).
 * Parameters: policy { max_attempts, initial_delay, max_delay, backoff_factor, jitter }, as checked by
 * keel.retry_policy. */
static int retry_delay(lua_State *L)
{
	struct keel_retry retry;
	static const char *const names[] = {"initial_delay", "max_delay", "backoff_factor", "jitter"};
	lua_Number values[4];
	luaL_checktype(L, 1, LUA_TTABLE);
	for (int i = 0; i < 4; i++) {
		lua_getfield(L, 1, names[i]);
		values[i] = luaL_checknumber(L, -1);
		lua_pop(L, 1);
	}
	keel_retry_init(&retry);
	keel_lua_duration(values[0], &retry.initial_delay_us);
	keel_lua_duration(values[1], &retry.max_delay_us);
	retry.backoff_factor = values[2];
	retry.jitter = values[3];
	lua_pushnumber(L, (lua_Number)keel_retry_delay(&retry, luaL_checkinteger(L, 2), luaL_optnumber(L, 3, 0)) / 1e6);
	return 1;
}

void keel_lua_value_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"now", now},
										 {"new_id", new_id},
										 {"sha256", sha256},
										 {"is_blank", is_blank},
										 {"time_seconds", time_seconds},
										 {"time_text", time_text},
										 {"time_utc", time_utc},
										 {"hash_dir", keel_lua_hash_dir},
										 {"monotonic", monotonic},
										 {"retry_delay", retry_delay},
										 {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
}

/* --- Fields ------------------------------------------------------------------------------------------------------ */

void keel_lua_set_count(lua_State *L, const char *name, int64_t count)
{
	lua_pushinteger(L, count);
	lua_setfield(L, -2, name);
}

void keel_lua_set_text(lua_State *L, const char *name, struct keel_text text)
{
	if (text.data) {
		lua_pushlstring(L, text.data, text.size);
		lua_setfield(L, -2, name);
	}
}
