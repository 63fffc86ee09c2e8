/* functions.c - the small functions of the module: clocks, ids, hashes, times, numbers. */
#include "binding.h"

#include <sha2.h>

#include "base/monotonic.h"

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

/* number_text(number, decimals): the text that tostring gives where the decimal mark is a point; with decimals (0 to
 * 20), so many of them. Raises for what is no number. */
static int number_text(lua_State *L)
{
	keel_lua_check_type(L, 1, "number", LUA_TNUMBER);
	lua_Integer decimals = luaL_optinteger(L, 2, -1);
	luaL_argcheck(L, decimals >= -1 && decimals <= KEEL_DECIMALS_MAX, 2, "decimals must be from 0 to 20");
	keel_lua_push_number_text(L, 1, (int)decimals);
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
	lua_pushnumber(L, (lua_Number)keel_monotonic_ns() / 1e9);
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

/* The policy that retries go by without another. [-0, +0, m] */
static void set_retry_defaults(lua_State *L)
{
	struct keel_retry retry;
	keel_retry_init(&retry);
	lua_createtable(L, 0, 5);
	keel_lua_set_integer(L, "max_attempts", retry.max_attempts);
	lua_pushnumber(L, (lua_Number)retry.initial_delay_us / 1e6);
	lua_setfield(L, -2, "initial_delay");
	lua_pushnumber(L, (lua_Number)retry.max_delay_us / 1e6);
	lua_setfield(L, -2, "max_delay");
	lua_pushnumber(L, retry.backoff_factor);
	lua_setfield(L, -2, "backoff_factor");
	lua_pushnumber(L, retry.jitter);
	lua_setfield(L, -2, "jitter");
	lua_setfield(L, -2, "retry_defaults");
}

/* The limits that Lua looks at itself: bytes, and entries of a list. [-0, +0, m] */
static void set_limits(lua_State *L)
{
	lua_createtable(L, 0, 4);
	keel_lua_set_integer(L, "id", KEEL_ID_MAX);
	keel_lua_set_integer(L, "list", KEEL_LIST_MAX);
	keel_lua_set_integer(L, "worker_id", KEEL_WORKER_ID_MAX);
	keel_lua_set_integer(L, "result", KEEL_RESULT_MAX);
	lua_setfield(L, -2, "limits");
}

void keel_lua_functions_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"now", now},
										 {"new_id", new_id},
										 {"number_text", number_text},
										 {"sha256", sha256},
										 {"is_blank", is_blank},
										 {"time_seconds", time_seconds},
										 {"time_text", time_text},
										 {"time_utc", time_utc},
										 {"hash_dir", keel_lua_hash_dir},
										 {"monotonic", monotonic},
										 {"committed_events", keel_lua_committed_events},
										 {"retry_delay", retry_delay},
										 {"check_wants", keel_lua_check_wants},
										 {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
	set_retry_defaults(L);
	set_limits(L);
}
