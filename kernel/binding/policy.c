/* policy.c - calling a policy of the host's, under a budget of instructions and time.
 *
 * A debug hook counts. When the budget is spent it raises, and goes on raising at every instruction until the call has
 * ended, so that a pcall inside cannot swallow the stop; what decides in the end is a flag here, not the error value.
 * Coroutines made inside inherit the hook. The host's own hook is put back afterwards. The call is made by lua_pcall,
 * so a policy that yields fails cleanly.
 */
#include "binding.h"

#include <string.h>
#include <time.h>

enum { HOOK_EVERY = 1000 }; /* instructions between two looks: a few microseconds */

static const char CURRENT; /* its address is the key of the call under way in the registry */

struct call {
	lua_Integer instructions_left;
	int64_t deadline_ns;
	const char *exceeded; /* NULL, or the limit: "instructions" or "seconds" */
	int line;             /* where the error was raised; 0: unknown */
	struct call *outer;
};

static int64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct call *current(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &CURRENT);
	struct call *call = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return call;
}

/* Makes a call the current one. Setting a key that is there needs no memory, so ending a call cannot fail. */
static void set_current(lua_State *L, struct call *call)
{
	lua_pushlightuserdata(L, call);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &CURRENT);
}

static void hook(lua_State *L, lua_Debug *ar)
{
	struct call *call = current(L);
	(void)ar;
	if (!call) {
		/* A coroutine that outlived the call it was made in. */
		lua_sethook(L, NULL, 0, 0);
		return;
	}
	call->instructions_left -= HOOK_EVERY;
	if (!call->exceeded && call->instructions_left < 0)
		call->exceeded = "instructions";
	if (!call->exceeded && monotonic_ns() > call->deadline_ns)
		call->exceeded = "seconds";
	if (call->exceeded) {
		lua_sethook(L, hook, LUA_MASKCOUNT, 1);
		luaL_error(L, "the policy's budget of %s is spent", call->exceeded);
	}
}

/* Notes the line before the stack unwinds, and makes any error a text. */
static int handle(lua_State *L)
{
	lua_Debug ar;
	struct call *call = current(L);
	for (int level = 1; call && !call->line && lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar); level++)
		if (ar.currentline > 0 && strcmp(ar.what, "C") != 0)
			call->line = ar.currentline;
	luaL_tolstring(L, 1, NULL);
	return 1;
}

/* bounded_call(fn, instructions, seconds, ...): calls fn(...) under a budget.
 * Returns true and the one result of fn; or false, what went wrong ("failed" or "budget"), the reason (a text; for
 * "budget" the name of the limit) and the line of the policy, if known. Raises for wrong types only. */
static int bounded_call(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	struct call call = {.instructions_left = luaL_checkinteger(L, 2)};
	lua_Number seconds = luaL_checknumber(L, 3);
	call.deadline_ns = monotonic_ns() + (int64_t)((seconds > 0 && seconds < 1e6 ? seconds : 1e6) * 1e9);
	call.outer = current(L);
	lua_Hook outer_hook = lua_gethook(L);
	int outer_mask = lua_gethookmask(L), outer_count = lua_gethookcount(L);
	int arguments = lua_gettop(L) - 3;
	lua_pushcfunction(L, handle);
	lua_insert(L, 1);
	lua_pushvalue(L, 2);
	lua_replace(L, 4);
	set_current(L, &call);
	lua_Integer every = call.instructions_left < HOOK_EVERY ? call.instructions_left + 1 : HOOK_EVERY;
	lua_sethook(L, hook, LUA_MASKCOUNT, (int)every);
	int status = lua_pcall(L, arguments, 1, 1);
	set_current(L, call.outer);
	lua_sethook(L, outer_hook, outer_mask, outer_count);
	if (status == LUA_OK && !call.exceeded) {
		lua_pushboolean(L, 1);
		lua_insert(L, -2);
		return 2;
	}
	lua_pushboolean(L, 0);
	lua_pushstring(L, call.exceeded ? "budget" : "failed");
	if (call.exceeded)
		lua_pushstring(L, call.exceeded);
	else
		lua_pushvalue(L, -3);
	if (call.line)
		lua_pushinteger(L, call.line);
	else
		lua_pushnil(L);
	return 4;
}

/* pcall(fn, ...): like Lua's, but fn cannot yield: for what must not be left half-way, a transaction. */
static int plain_pcall(lua_State *L)
{
	luaL_checkany(L, 1);
	int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	lua_pushboolean(L, status == LUA_OK);
	lua_insert(L, 1);
	return lua_gettop(L);
}

void keel_lua_policy_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"bounded_call", bounded_call}, {"pcall", plain_pcall}, {NULL, NULL}};
	set_current(L, current(L));
	luaL_setfuncs(L, functions, 0);
}
