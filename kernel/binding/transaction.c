/* transaction.c - transactions of a store, as values that roll back when their scope is left. Uses: attempt. */
#include "attempt.h"

/* What the transaction is about, of its options. False: nothing is said, and it may be about anything. */
static bool read_scope(lua_State *L, int argument, struct keel_scope *scope)
{
	*scope = (struct keel_scope){.thread_id = keel_lua_option_text(L, argument, "thread_id"),
								 .run_id = keel_lua_option_text(L, argument, "run_id"),
								 .idempotency_key = keel_lua_option_text(L, argument, "idempotency_key"),
								 .user_id = keel_lua_option_text(L, argument, "user_id")};
	return scope->thread_id.data || scope->run_id.data;
}

/* store:begin({ wait, thread_id | run_id, idempotency_key, user_id }): begins a writing transaction; with wait = false
 * it tries once. Meanwhile every other operation on the store is busy, and no other process writes; on a server others
 * write on other threads when it is said what it is about (keel_store_begin_on). Returns the transaction: the store's
 * operations, commit and rollback; leaving the scope of a `local tx <close>` rolls back what was not committed. Fails
 * with busy. */
static int try_begin(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (self->store)
		keel_lua_ask_clock(L, self, 1);
	if (!keel_lua_may_try(L, self, err))
		return -1;
	struct keel_lua_transaction *tx = lua_newuserdatauv(L, sizeof *tx, 1);
	tx->number = 0;
	tx->over = true;
	luaL_setmetatable(L, KEEL_LUA_TRANSACTION);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	struct keel_scope scope;
	bool is_scoped = read_scope(L, 2, &scope);
	if (keel_store_begin_on(self->store, is_scoped ? &scope : NULL, err) != KEEL_OK)
		return -1;
	tx->number = ++self->transactions;
	tx->over = false;
	return 1;
}

int keel_lua_store_begin(lua_State *L)
{
	static const struct keel_lua_attempt beginning = {try_begin, 1};
	static const char *const known[] = {"wait", "thread_id", "run_id", "idempotency_key", "user_id", NULL};
	struct keel_lua_store *self = keel_lua_check_handle(L, 1);
	lua_settop(L, 2);
	keel_lua_check_options(L, 2, known);
	bool waits = keel_lua_option(L, 2, "wait", LUA_TBOOLEAN) == LUA_TNIL || lua_toboolean(L, -1);
	lua_settop(L, 2);
	if (waits)
		return keel_lua_try(L, &beginning);
	self->bounded = false;
	struct keel_error err;
	int results = try_begin(L, self, &err);
	return results >= 0 ? results : keel_lua_fail(L, &err);
}

/* tx:commit(): true when all of it is durable; and a list of the runs of this session that were changed besides those
 * that it was about, if there are any. On failure all of it is undone. */
static int transaction_commit(lua_State *L)
{
	struct keel_error err;
	struct keel_lua_store *store = keel_lua_check_transaction(L, 1);
	struct keel_lua_transaction *tx = lua_touserdata(L, 1);
	tx->over = true;
	if (keel_store_commit(store->store, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	struct keel_text changed = keel_run_take_changed(store->store);
	lua_pushboolean(L, 1);
	if (changed.data)
		keel_lua_push_ids(L, changed);
	return changed.data ? 2 : 1;
}

/* tx:rollback(), tx:close(): undoes all of it. Safe to call again, and after commit, when it does nothing. */
static int transaction_rollback(lua_State *L)
{
	struct keel_lua_transaction *tx = keel_lua_check_self(L, 1, KEEL_LUA_TRANSACTION);
	struct keel_lua_store *store = keel_lua_store_of(L, 1);
	if (store && keel_lua_is_open(tx, store))
		keel_store_rollback(store->store);
	tx->over = true;
	return 0;
}

/* tx:savepoint(): marks a place to come back to. Returns the mark. Fails with limit_too_large. */
static int transaction_savepoint(lua_State *L)
{
	struct keel_error err;
	int mark;
	struct keel_lua_store *store = keel_lua_check_transaction(L, 1);
	if (keel_store_savepoint(store->store, &mark, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushinteger(L, mark);
	return 1;
}

static int end_savepoint(lua_State *L,
						 enum keel_code (*end)(struct keel_store *store, int mark, struct keel_error *err))
{
	struct keel_error err;
	struct keel_lua_store *store = keel_lua_check_transaction(L, 1);
	lua_Integer mark = keel_lua_check_integer(L, 2, "mark");
	if (end(store->store, mark > 0 && mark <= KEEL_SAVEPOINTS_MAX ? (int)mark : 0, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, 1);
	return 1;
}

/* tx:release(mark): forgets a savepoint, and those made after it. Fails with invalid_request (mark). */
static int transaction_release(lua_State *L)
{
	return end_savepoint(L, keel_store_release);
}

/* tx:rollback_to(mark): undoes what was done since a savepoint, which it ends. Fails with invalid_request (mark). */
static int transaction_rollback_to(lua_State *L)
{
	return end_savepoint(L, keel_store_rollback_to);
}

static int transaction_tostring(lua_State *L)
{
	struct keel_lua_transaction *tx = keel_lua_check_self(L, 1, KEEL_LUA_TRANSACTION);
	struct keel_lua_store *store = keel_lua_store_of(L, 1);
	lua_pushstring(L, store && keel_lua_is_open(tx, store) ? "keel.transaction (open)" : "keel.transaction (over)");
	return 1;
}

void keel_lua_transaction_open(lua_State *L)
{
	static const luaL_Reg transaction_meta[] = {{"__gc", transaction_rollback},
												{"__close", transaction_rollback},
												{"__tostring", transaction_tostring},
												{NULL, NULL}};
	static const luaL_Reg transaction_functions[] = {{"commit", transaction_commit},
													 {"rollback", transaction_rollback},
													 {"close", transaction_rollback},
													 {"savepoint", transaction_savepoint},
													 {"release", transaction_release},
													 {"rollback_to", transaction_rollback_to},
													 {NULL, NULL}};
	if (luaL_newmetatable(L, KEEL_LUA_TRANSACTION)) {
		luaL_setfuncs(L, transaction_meta, 0);
		luaL_newlib(L, transaction_functions);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
}
