/* operation.c - operations as methods of stores and transactions, and telling of their progress. Uses: attempt, damage.
 */
#include "attempt.h"

/* Methods are closures over their entry in a list of operations. */
static const struct keel_lua_method *method(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* Calls who watches. No error of Lua may leave through the kernel: it is kept, and raised when the operation is
 * over. */
static void tell_progress(void *data, int64_t done, int64_t total)
{
	struct keel_lua_store *self = data;
	lua_State *L = self->caller;
	if (!L || self->raised || !lua_checkstack(L, 4))
		return;
	lua_getiuservalue(L, 1, KEEL_LUA_PROGRESS);
	lua_pushinteger(L, done);
	lua_pushinteger(L, total);
	self->telling = true;
	self->raised = lua_pcall(L, 2, 0, 0) != LUA_OK;
	self->telling = false;
	if (self->raised)
		lua_setiuservalue(L, 1, KEEL_LUA_PROGRESS);
}

int keel_lua_store_watch(lua_State *L)
{
	struct keel_lua_store *self = keel_lua_check_handle(L, 1);
	if (!lua_isnoneornil(L, 2))
		luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	keel_store_watch(self->store, lua_isnil(L, 2) ? NULL : tell_progress, self);
	lua_setiuservalue(L, 1, KEEL_LUA_PROGRESS);
	return 0;
}

/* What an operation has changed besides is its third result. */
static int add_changed(lua_State *L, struct keel_text ids, int results)
{
	luaL_checkstack(L, 3, NULL);
	for (; results < 2; results++)
		lua_pushnil(L);
	keel_lua_push_ids(L, ids);
	return 3;
}

static int try_operation(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (self->store)
		keel_lua_ask_clock(L, self, 1);
	if (!keel_lua_may_try(L, self, err))
		return -1;
	self->caller = L;
	int results = method(L)->operation(L, self->store, err);
	KEEL_ASSERT(results <= lua_gettop(L) - 1 - KEEL_LUA_ARGUMENTS); /* on the top of the arguments */
	if (self->raised) {
		self->raised = false;
		keel_store_watch(self->store, NULL, NULL);
		lua_getiuservalue(L, 1, KEEL_LUA_PROGRESS);
		lua_error(L);
	}
	if (self->damaged)
		keel_lua_tell_damage(L, self, 1);
	struct keel_text changed = keel_run_take_changed(self->store); /* of one that failed nothing is left */
	return changed.data && results >= 0 && results < 3 ? add_changed(L, changed, results) : results;
}

static int call_on_store(lua_State *L)
{
	static const struct keel_lua_attempt operation = {try_operation, 1};
	keel_lua_check_handle(L, 1);
	return keel_lua_try(L, &operation);
}

/* In a transaction nothing waits: the lock is held. */
static int call_in_transaction(lua_State *L)
{
	struct keel_error err;
	struct keel_lua_store *store = keel_lua_check_transaction(L, 1);
	lua_settop(L, KEEL_LUA_ARGUMENTS + 1);
	if (store->has_clock || store->has_monotonic) {
		lua_getiuservalue(L, 1, 1);
		keel_lua_ask_clock(L, store, lua_gettop(L));
		lua_pop(L, 1);
		/* The clock is the host's code: it may have ended the transaction. */
		store = keel_lua_check_transaction(L, 1);
	}
	store->caller = NULL;
	int results = method(L)->operation(L, store->store, &err);
	KEEL_ASSERT(results <= lua_gettop(L) - 1 - KEEL_LUA_ARGUMENTS);
	if (store->damaged) {
		lua_getiuservalue(L, 1, 1);
		lua_insert(L, 1);
		keel_lua_tell_damage(L, store, 1);
		lua_remove(L, 1);
	}
	return results >= 0 ? results : keel_lua_fail(L, &err);
}

void keel_lua_store_add(lua_State *L, const struct keel_lua_method *operations)
{
	keel_lua_push_methods(L, KEEL_LUA_TRANSACTION);
	keel_lua_push_methods(L, KEEL_LUA_STORE);
	for (; operations->name; operations++) {
		lua_pushlightuserdata(L, (void *)(uintptr_t)operations);
		lua_pushcclosure(L, call_on_store, 1);
		lua_setfield(L, -2, operations->name);
		lua_pushlightuserdata(L, (void *)(uintptr_t)operations);
		lua_pushcclosure(L, call_in_transaction, 1);
		lua_setfield(L, -3, operations->name);
	}
	lua_pop(L, 2);
}
