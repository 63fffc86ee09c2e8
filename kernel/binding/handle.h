/* handle.h - stores and transactions as userdata. Private to the binding's files that have to do with them. */
#ifndef KEEL_BINDING_HANDLE_H
#define KEEL_BINDING_HANDLE_H

#include "binding.h"

#define KEEL_LUA_STORE "keel.store"
#define KEEL_LUA_TRANSACTION "keel.transaction"

/* User values of a store. What KEEL_LUA_PROGRESS raises takes its place until the operation is over. */
enum {
	KEEL_LUA_SLEEP = 1,
	KEEL_LUA_CLOCK,
	KEEL_LUA_MONOTONIC,
	KEEL_LUA_LOG,
	KEEL_LUA_CALLBACKS = KEEL_LUA_LOG,
	KEEL_LUA_PROGRESS,
	KEEL_LUA_DAMAGE,
	KEEL_LUA_USER_VALUES = KEEL_LUA_DAMAGE
};

struct keel_lua_store {
	struct keel_store *store; /* NULL: closed */
	bool closing;             /* closed by a finalizer, perhaps in the middle of an operation: to be released */
	char closed_at[96];       /* where: "file.lua:12"; empty: not known */
	int64_t lock_timeout_us;
	bool bounded; /* the next operation waits no longer than bound_us */
	int64_t bound_us;
	bool has_clock, has_monotonic;
	int64_t now, monotonic;   /* what the host's clocks said before this operation */
	lua_Integer transactions; /* how many were begun */
	lua_State *caller;        /* of the operation under way, who may be told of its progress; NULL: nobody */
	bool telling;             /* of progress, just now */
	bool raised;              /* by whom it was told to */
	bool damaged;             /* something was noted that the host has not been told */
};

struct keel_lua_transaction {
	lua_Integer number; /* of the store's transactions; 0: never begun */
	bool over;
};

/* --- handle.c ---------------------------------------------------------------------------------------------------- */

/* The store at an index, open and idle; raises for another value. */
struct keel_lua_store *keel_lua_check_handle(lua_State *L, int argument);

void keel_lua_release(struct keel_lua_store *self);

/* Whether a finalizer is running: the collector may have called it while an operation made its result, or read its
 * arguments. (Before Lua 5.4.4 there is no telling.) */
bool keel_lua_in_finalizer(lua_State *L);

/* Releases what a finalizer closed, once that is over. False: the store is closed. */
bool keel_lua_is_usable(lua_State *L, struct keel_lua_store *self);

/* Who is told of progress is called from the middle of an operation. */
void keel_lua_check_idle(lua_State *L, const struct keel_lua_store *self, int argument);

/* The store of a transaction, which its user value keeps alive. Its address is good as long as the transaction is on
 * the stack. */
struct keel_lua_store *keel_lua_store_of(lua_State *L, int argument);
bool keel_lua_is_open(const struct keel_lua_transaction *self, const struct keel_lua_store *store);

/* The store of the transaction at an index, which is open; raises for another value. */
struct keel_lua_store *keel_lua_check_transaction(lua_State *L, int argument);

/* Asks the host's clocks, if there are any: from here and never from the kernel's middle. */
void keel_lua_ask_clock(lua_State *L, struct keel_lua_store *self, int argument);

/* What every try begins with. False, with *err: the handle's own transaction is in the way. */
bool keel_lua_may_try(lua_State *L, struct keel_lua_store *self, struct keel_error *err);

/* Pushes the methods of a metatable. [-0, +1, -] */
void keel_lua_push_methods(lua_State *L, const char *metatable);

/* --- driver.c ---------------------------------------------------------------------------------------------------- */

/* A store on a server needs a driver that not everybody has. Looks for the module with it, once that is asked for;
 * whether it was found. What is wrong with one that is there goes to *err. */
bool keel_lua_bring_driver(lua_State *L, struct keel_error *err);

/* --- damage.c ---------------------------------------------------------------------------------------------------- */

/* Tells the host of the damage that was noted for the store at an index. What it raises is dropped: what was read is
 * worth more. */
void keel_lua_tell_damage(lua_State *L, struct keel_lua_store *self, int store);

/* store:tell_damage(fn): who hears of damaged documents, as fn(level, message, fields), when the store was opened
 * without `log`. */
int keel_lua_store_tell_damage(lua_State *L);

/* --- operation.c ------------------------------------------------------------------------------------------------- */

/* store:watch(fn): calls fn(done, total) now and then while the store makes a backup or verifies; nil: nobody. fn must
 * not use the store and cannot yield; what it raises passes through when the operation is over. */
int keel_lua_store_watch(lua_State *L);

/* --- transaction.c ----------------------------------------------------------------------------------------------- */

/* store:begin({ wait }). */
int keel_lua_store_begin(lua_State *L);

/* The metatable of transactions. [-0, +0, m] */
void keel_lua_transaction_open(lua_State *L);

#endif
