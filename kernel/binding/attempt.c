/* attempt.c - how an operation waits for the lock. Uses: handle, sleep.
 *
 * The kernel is told not to wait. When it fails with what will pass, an operation waits here, through the host's
 * `sleep` if it gave one (which may yield: the C function then goes on in a continuation), and is tried again from the
 * beginning.
 */
#include "attempt.h"

#include "base/monotonic.h"

/* Seconds to wait before the next try: what the kernel advises, or, while the store is not open yet, by chance between
 * half and one and a half milliseconds. 0: the time is over. *until is the end of the wait; below 0, before the first
 * one, it says how long that may be. */
static lua_Number next_step(const struct keel_lua_store *self, int64_t *until)
{
	int64_t now = keel_monotonic_us();
	if (*until < 0)
		*until = keel_later(now, -1 - *until);
	int64_t left = *until - now;
	int64_t step = self->store ? keel_store_retry_us(self->store) : 500 + now % 1000;
	if (left <= 0)
		return 0;
	return (lua_Number)(step < left ? step : left) / 1e6;
}

/* Tells the store's log of a sleep that cannot wait here. What it raises is dropped: the wait goes on. */
static void tell_of_blocking(lua_State *L, int argument)
{
	if (lua_getiuservalue(L, argument, KEEL_LUA_LOG) == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	lua_pushliteral(L, "warn");
	lua_pushliteral(L, KEEL_LUA_BLOCKING);
	lua_newtable(L);
	if (lua_pcall(L, 3, 0, 0) != LUA_OK)
		lua_pop(L, 1);
}

enum keel_lua_wait keel_lua_slept_outside(lua_State *L, int argument, lua_Number seconds)
{
	if (lua_isyieldable(L))
		return KEEL_LUA_MAY_YIELD;
	enum keel_lua_wait how = keel_lua_sleep_outside(L, -1, seconds);
	if (how == KEEL_LUA_BLOCKED_FIRST)
		tell_of_blocking(L, argument);
	return how;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
	const struct keel_lua_attempt *attempt = (const struct keel_lua_attempt *)context;
	const int base = KEEL_LUA_ARGUMENTS + 2;
	(void)status;
	for (;;) {
		struct keel_error err;
		struct keel_lua_store *self = lua_touserdata(L, attempt->holder);
		lua_settop(L, base);
		int results = attempt->try(L, self, &err);
		if (results >= 0)
			return results;
		lua_settop(L, base);
		/* A server that cannot be reached is waited for by who was there before. */
		bool passing = err.code == KEEL_BUSY || (self->store && err.transient);
		if (!passing || (self->store && keel_store_in_transaction(self->store)))
			return keel_lua_fail(L, &err);
		int64_t until = lua_tointeger(L, base);
		lua_Number seconds = next_step(self, &until);
		if (seconds == 0) {
			if (self->store && self->lock_timeout_us > 0)
				keel_store_give_up(self->store);
			return keel_lua_fail(L, &err);
		}
		lua_pushinteger(L, until);
		lua_replace(L, base);
		if (lua_getiuservalue(L, attempt->holder, KEEL_LUA_SLEEP) == LUA_TNIL) {
			if (self->store)
				keel_store_pause(self->store, until - keel_monotonic_us());
			else
				keel_lua_block(seconds);
			continue;
		}
		if (keel_lua_slept_outside(L, attempt->holder, seconds) != KEEL_LUA_MAY_YIELD)
			continue;
		lua_pushnumber(L, seconds);
		lua_callk(L, 1, 0, context, go_on);
	}
}

int keel_lua_try(lua_State *L, const struct keel_lua_attempt *attempt)
{
	lua_settop(L, KEEL_LUA_ARGUMENTS + 1);
	struct keel_lua_store *self = lua_touserdata(L, attempt->holder);
	int64_t limit = self->lock_timeout_us;
	if (self->bounded && self->bound_us < limit)
		limit = self->bound_us;
	self->bounded = false;
	lua_pushinteger(L, -1 - limit);
	return go_on(L, LUA_OK, (lua_KContext)(intptr_t)attempt);
}
