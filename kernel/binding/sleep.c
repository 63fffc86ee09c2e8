/* sleep.c - waiting through the host's `sleep`, which may yield, also where nothing may.
 *
 * A `sleep` that yields cannot do so in the main thread, in a callback of an event loop, or below a C function. There
 * it is called once in a coroutine of its own: one that does not yield has then waited, as any blocking `sleep` has.
 * One that yields is left alone from then on, and the thread is blocked for as long: late is better than an error that
 * only contention shows. The coroutine stays as it is; who resumes it later finds nothing left to do. What a sleep
 * raises passes through: it is how a host ends a wait.
 */
#include "binding.h"

#include <errno.h>
#include <time.h>

static const char YIELDING[] = "keel.sleep.yielding"; /* in the registry: weak, the functions that yield */

void keel_lua_block(lua_Number seconds)
{
	struct timespec left = {.tv_sec = (time_t)seconds,
							.tv_nsec = (long)((seconds - (lua_Number)(time_t)seconds) * 1e9)};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

/* Whether the function at `index` is known to yield. [-0, +0, m] */
static bool is_yielding(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	lua_getfield(L, LUA_REGISTRYINDEX, YIELDING);
	lua_insert(L, -2);
	bool known = lua_rawget(L, -2) != LUA_TNIL;
	lua_pop(L, 2);
	return known;
}

static void remember(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	lua_getfield(L, LUA_REGISTRYINDEX, YIELDING);
	lua_insert(L, -2);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

enum keel_lua_wait keel_lua_sleep_outside(lua_State *L, int index, lua_Number seconds)
{
	int results;
	index = lua_absindex(L, index);
	luaL_checkstack(L, 4, "to wait");
	if (is_yielding(L, index)) {
		keel_lua_block(seconds);
		return KEEL_LUA_BLOCKED;
	}
	lua_State *thread = lua_newthread(L);
	lua_pushvalue(L, index);
	lua_xmove(L, thread, 1);
	lua_pushnumber(thread, seconds);
	int status = lua_resume(thread, L, 1, &results);
	if (status != LUA_OK && status != LUA_YIELD) {
		lua_xmove(thread, L, 1);
		lua_error(L);
	}
	lua_pop(L, 1);
	if (status == LUA_OK)
		return KEEL_LUA_SLEPT;
	remember(L, index);
	keel_lua_block(seconds);
	return KEEL_LUA_BLOCKED_FIRST;
}

static int slept(lua_State *L, int status, lua_KContext context)
{
	(void)L, (void)status, (void)context;
	return 0;
}

/* sleep_through(sleep, seconds, tell): waits through a host's function, wherever this is called. Calls tell(message)
 * when that function turns out to yield where nothing may. */
static int sleep_through(lua_State *L)
{
	lua_Number seconds = luaL_checknumber(L, 2);
	lua_settop(L, 3);
	if (lua_isyieldable(L)) {
		lua_pushvalue(L, 1);
		lua_pushnumber(L, seconds);
		lua_callk(L, 1, 0, 0, slept);
		return 0;
	}
	if (keel_lua_sleep_outside(L, 1, seconds) == KEEL_LUA_BLOCKED_FIRST && !lua_isnil(L, 3)) {
		lua_pushstring(L, KEEL_LUA_BLOCKING);
		lua_call(L, 1, 0);
	}
	return 0;
}

/* sleep(seconds): blocks the whole process's thread. For hosts without an event loop.
 * Parameters: seconds (number, at least 0). Raises for anything else. */
static int sleep_seconds(lua_State *L)
{
	int64_t duration = 0;
	luaL_argcheck(L, keel_lua_duration(luaL_checknumber(L, 1), &duration), 1, "seconds must be at least 0");
	keel_lua_block((lua_Number)duration / 1e6);
	return 0;
}

void keel_lua_sleep_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"sleep", sleep_seconds}, {"sleep_through", sleep_through}, {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, YIELDING);
}
