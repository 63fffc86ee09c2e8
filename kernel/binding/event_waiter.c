/* event_waiter.c - store:event_waiter(): what an event loop needs to hear of what is committed. */
#include "binding.h"

static const char WAITER[] = "keel.event_waiter";

enum { SELF = 1, CURSOR, STORE }; /* on the stack of a method */

struct event_waiter {
	struct keel_event_waiter *waiter; /* NULL: closed */
};

/* Raises when it is closed, or its store is, which is pushed to index STORE. */
static struct event_waiter *check(lua_State *L)
{
	struct event_waiter *self = keel_lua_check_self(L, SELF, WAITER);
	luaL_argcheck(L, self->waiter, SELF, "the waiter is closed");
	lua_settop(L, CURSOR);
	lua_getiuservalue(L, SELF, 1);
	keel_lua_check_store(L, STORE);
	return self;
}

/* waiter:look(cursor): whether read_events has something for the cursor, as far as is known: most looks do not touch
 * the database. Never waits. Returns a boolean. Fails with invalid_request, wrong_runtime, and busy, transient. */
static int waiter_look(lua_State *L)
{
	struct keel_error err;
	struct event_waiter *self = check(L);
	int64_t next_event_id;
	bool ready;
	if (!keel_lua_read_cursor(L, keel_lua_check_store(L, STORE), &next_event_id, &err))
		return keel_lua_fail(L, &err);
	keel_event_waiter_move(self->waiter, next_event_id);
	if (keel_event_waiter_look(self->waiter, &ready, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, ready);
	return 1;
}

/* waiter:descriptor(): the number of a descriptor that is readable when it is time for a look; nil: there is none. */
static int waiter_descriptor(lua_State *L)
{
	int descriptor = keel_event_waiter_descriptor(check(L)->waiter);
	if (descriptor < 0)
		return 0;
	lua_pushinteger(L, descriptor);
	return 1;
}

static int waiter_close(lua_State *L)
{
	struct event_waiter *self = keel_lua_check_self(L, SELF, WAITER);
	keel_event_waiter_close(self->waiter);
	self->waiter = NULL;
	return 0;
}

/* store:event_waiter(): makes one. Fails with no_memory, and with busy while a transaction of the handle is open. */
int keel_lua_event_waiter(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__gc", waiter_close}, {"__close", waiter_close}, {NULL, NULL}};
	static const luaL_Reg functions[] = {
		{"look", waiter_look}, {"descriptor", waiter_descriptor}, {"close", waiter_close}, {NULL, NULL}};
	struct keel_error err;
	struct keel_store *store = keel_lua_check_store(L, 1);
	struct event_waiter *self = lua_newuserdatauv(L, sizeof *self, 1);
	self->waiter = NULL;
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	if (luaL_newmetatable(L, WAITER)) {
		luaL_setfuncs(L, meta, 0);
		luaL_newlib(L, functions);
		lua_setfield(L, -2, "__index");
	}
	lua_setmetatable(L, -2);
	if (keel_event_waiter_open(store, 1, &self->waiter, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	return 1;
}
