/* policy.c - calling a policy of the host's, under a budget of instructions and time.
 *
 * The policy runs on a thread of its own, with a debug hook that counts. When the budget is spent the hook raises, and
 * goes on raising at every instruction until the call has ended, so that a pcall inside cannot swallow the stop; what
 * decides in the end is a flag here, not the error value. Coroutines made inside inherit the hook. The caller's thread
 * keeps its own hook, and where that is in its count: Lua can set a count, but not read how much of one has passed, so
 * taking the hook away and putting it back would make a host's watchdog begin anew at each call. On its thread the
 * policy is called by lua_pcall, so one that yields fails cleanly.
 */
#include "binding.h"

#include <string.h>

#include "base/monotonic.h"

enum { HOOK_EVERY = 1000 }; /* instructions between two looks: a few microseconds */

static const char CURRENT; /* its address is the key of the call under way in the registry */
static const char THREAD;  /* that of a thread that is free */

struct call {
	lua_Integer instructions_left;
	int64_t deadline_ns;
	const char *exceeded; /* NULL, or the limit: "instructions" or "seconds" */
	int line;             /* where the error was raised; 0: unknown */
	struct call *outer;
};

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
	if (!call->exceeded && keel_monotonic_ns() > call->deadline_ns)
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

/* What the thread runs: gets the policy and its arguments. Returns whether it succeeded, and its result or why not. */
static int run(lua_State *T)
{
	lua_pushcfunction(T, handle);
	lua_insert(T, 1);
	int status = lua_pcall(T, lua_gettop(T) - 2, 1, 1);
	lua_pushboolean(T, status == LUA_OK);
	lua_replace(T, 1);
	return 2;
}

/* Pushes a thread: the one that is kept for the next call, or a new one where that is in use. [-0, +1, m] */
static lua_State *take_thread(lua_State *L)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &THREAD) != LUA_TTHREAD) {
		lua_pop(L, 1);
		return lua_newthread(L);
	}
	lua_pushboolean(L, 0);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &THREAD);
	return lua_tothread(L, -1);
}

/* Keeps the thread at `index`. Its key is there, so no memory is needed. [-0, +0, -] */
static void give_thread(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &THREAD);
}

/* Calls the policy at index 4 with what is above it on the thread T at index 1, and pushes its result or why there is
 * none. Returns whether it succeeded. [-n, +1, -] */
static bool call_on(lua_State *L, lua_State *T, lua_Integer instructions)
{
	int given = lua_gettop(L) - 3, results;
	lua_pushcfunction(T, run);
	lua_xmove(L, T, given);
	lua_sethook(T, hook, LUA_MASKCOUNT, instructions < HOOK_EVERY ? (int)instructions + 1 : HOOK_EVERY);
	int status = lua_resume(T, L, given, &results);
	lua_sethook(T, NULL, 0, 0);
	bool succeeded = status == LUA_OK && lua_toboolean(T, -2);
	lua_xmove(T, L, 1); /* the result, or why: where `run` itself failed, too */
	lua_settop(T, 0);
	if (status == LUA_OK)
		give_thread(L, 1);
	return succeeded;
}

/* bounded_call(fn, instructions, seconds, ...): calls fn(...) under a budget.
 * Returns true and the one result of fn; or false, what went wrong ("failed" or "budget"), the reason (a text; for
 * "budget" the name of the limit) and the line of the policy, if known. Raises for wrong types only. */
static int bounded_call(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	struct call call = {.instructions_left = luaL_checkinteger(L, 2)};
	lua_Number seconds = luaL_checknumber(L, 3);
	call.deadline_ns = keel_monotonic_ns() + (int64_t)((seconds > 0 && seconds < 1e6 ? seconds : 1e6) * 1e9);
	call.outer = current(L);
	lua_State *T = take_thread(L);
	if (!lua_checkstack(T, lua_gettop(L) + LUA_MINSTACK))
		return luaL_error(L, "stack overflow (too many arguments)");
	lua_insert(L, 1);
	lua_pushvalue(L, 2);
	lua_replace(L, 4); /* behind the thread and two arguments that were read: the policy, in place of the seconds */
	set_current(L, &call);
	bool succeeded = call_on(L, T, call.instructions_left);
	set_current(L, call.outer);
	if (succeeded && !call.exceeded) {
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
	lua_pushboolean(L, 0);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &THREAD);
	luaL_setfuncs(L, functions, 0);
}
