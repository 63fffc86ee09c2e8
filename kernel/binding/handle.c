/* handle.c - stores and transactions as userdata: whether they may be used, and what the host's clocks say to them.
 *
 * Uses: value, error.
 */
#include "handle.h"

#include <string.h>

static void check_process(lua_State *L, const struct keel_lua_store *self)
{
	struct keel_error err;
	if (keel_store_check_usable(self->store, &err) != KEEL_OK)
		keel_lua_fail(L, &err);
}

void keel_lua_release(struct keel_lua_store *self)
{
	struct keel_store *store = self->store;
	self->store = NULL;
	keel_store_close(store);
}

bool keel_lua_in_finalizer(lua_State *L)
{
	return lua_gc(L, LUA_GCISRUNNING) < 0;
}

bool keel_lua_is_usable(lua_State *L, struct keel_lua_store *self)
{
	if (self->closing && !self->telling && !keel_lua_in_finalizer(L))
		keel_lua_release(self);
	return self->store && !self->closing;
}

void keel_lua_check_idle(lua_State *L, const struct keel_lua_store *self, int argument)
{
	luaL_argcheck(L, !self->telling, argument, "the store is at work, and tells of its progress");
}

/* Raises for a closed store, and says where it was closed. */
static void raise_closed(lua_State *L, const struct keel_lua_store *self, int argument, const char *whose)
{
	const char *at = self && self->closed_at[0] ? lua_pushfstring(L, ": it was closed at %s", self->closed_at) : "";
	luaL_argerror(L, argument, lua_pushfstring(L, "the store%s is closed%s", whose, at));
}

struct keel_lua_store *keel_lua_check_handle(lua_State *L, int argument)
{
	struct keel_lua_store *self = keel_lua_check_self(L, argument, KEEL_LUA_STORE);
	if (!keel_lua_is_usable(L, self))
		raise_closed(L, self, argument, "");
	keel_lua_check_idle(L, self, argument);
	check_process(L, self);
	return self;
}

struct keel_store *keel_lua_check_store(lua_State *L, int argument)
{
	return keel_lua_check_handle(L, argument)->store;
}

int keel_lua_push_sleep(lua_State *L, int argument)
{
	return lua_getiuservalue(L, argument, KEEL_LUA_SLEEP);
}

struct keel_lua_store *keel_lua_store_of(lua_State *L, int argument)
{
	lua_getiuservalue(L, argument, 1);
	struct keel_lua_store *store = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return store;
}

bool keel_lua_is_open(const struct keel_lua_transaction *self, const struct keel_lua_store *store)
{
	return !self->over && store->store && store->transactions == self->number &&
		   keel_store_in_transaction(store->store);
}

struct keel_lua_store *keel_lua_check_transaction(lua_State *L, int argument)
{
	struct keel_lua_transaction *self = keel_lua_check_self(L, argument, KEEL_LUA_TRANSACTION);
	struct keel_lua_store *store = keel_lua_store_of(L, argument);
	if (!store || !keel_lua_is_usable(L, store))
		raise_closed(L, store, argument, " of the transaction");
	check_process(L, store);
	luaL_argcheck(L, keel_lua_is_open(self, store), argument, "the transaction is over");
	return store;
}

/* What one of the host's clocks says, in microseconds. */
static int64_t ask_one(lua_State *L, int argument, int which, const char *name)
{
	lua_getiuservalue(L, argument, which);
	lua_call(L, 0, 1);
	if (!lua_isnumber(L, -1))
		luaL_error(L, "the store's %s returned a %s, not a number", name, luaL_typename(L, -1));
	lua_Number seconds = lua_tonumber(L, -1);
	if (!(seconds > -1e11 && seconds < 1e12))
		luaL_error(L, "the store's %s returned a time out of range", name);
	lua_pop(L, 1);
	return (int64_t)(seconds * 1e6 + (seconds < 0 ? -0.5 : 0.5));
}

void keel_lua_ask_clock(lua_State *L, struct keel_lua_store *self, int argument)
{
	if (self->has_clock)
		self->now = ask_one(L, argument, KEEL_LUA_CLOCK, "clock");
	if (self->has_monotonic)
		self->monotonic = ask_one(L, argument, KEEL_LUA_MONOTONIC, "monotonic");
}

bool keel_lua_may_try(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (!keel_lua_is_usable(L, self)) /* perhaps closed while it waited, or by the clock */
		raise_closed(L, self, 1, "");
	if (!keel_store_in_transaction(self->store))
		return true;
	memset(err, 0, sizeof *err);
	err->code = KEEL_BUSY;
	err->transient = true;
	strcpy(err->message, "this handle has a transaction open: use the transaction, or end it first");
	return false;
}

void keel_lua_push_methods(lua_State *L, const char *metatable)
{
	int top = lua_gettop(L);
	luaL_getmetatable(L, metatable);
	lua_getfield(L, -1, "__index");
	lua_remove(L, -2);
	KEEL_LUA_PUSHED(L, top, 1);
}
