/* store.c - stores and transactions as userdata, and how an operation waits for the lock.
 *
 * A store is created closed, gets its metatable and callbacks, and is opened last: whatever raises on the way leaves
 * nothing behind. `close`, `__gc` and `__close` lead to one release function.
 *
 * The kernel is told not to wait. When it says busy, the operation waits here, through the host's `sleep` if it gave
 * one (which may yield: the C function then goes on in a continuation), and is tried again from the beginning.
 */
#include "binding.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

static const char STORE[] = "keel.store", TRANSACTION[] = "keel.transaction";

/* User values of a store. What PROGRESS raises takes its place until the operation is over. */
enum { SLEEP = 1, CLOCK, MONOTONIC, LOG, CALLBACKS = LOG, PROGRESS, DAMAGE, USER_VALUES = DAMAGE };

enum { TOLD_MAX = 1000 }; /* damaged documents that a handle tells of: of more, verify knows */

struct keel_lua_store {
	struct keel_store *store; /* NULL: closed */
	bool closing;             /* closed by a finalizer, perhaps in the middle of an operation: to be released */
	char closed_at[96];       /* where: "file.lua:12"; empty: not known */
	int64_t lock_timeout_us;
	bool bounded;             /* the next operation waits no longer than bound_us */
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

/* --- Handles ----------------------------------------------------------------------------------------------------- */

static void check_process(lua_State *L, const struct keel_lua_store *self)
{
	struct keel_error err;
	if (keel_store_check_usable(self->store, &err) != KEEL_OK)
		keel_lua_fail(L, &err);
}

static void release(struct keel_lua_store *self)
{
	struct keel_store *store = self->store;
	self->store = NULL;
	keel_store_close(store);
}

/* Whether a finalizer is running: the collector may have called it while an operation made its result, or read its
 * arguments. (Before Lua 5.4.4 there is no telling.) */
static bool in_finalizer(lua_State *L)
{
	return lua_gc(L, LUA_GCISRUNNING) < 0;
}

/* Releases what a finalizer closed, once that is over. False: the store is closed. */
static bool is_usable(lua_State *L, struct keel_lua_store *self)
{
	if (self->closing && !self->telling && !in_finalizer(L))
		release(self);
	return self->store && !self->closing;
}

/* Who is told of progress is called from the middle of an operation. */
static void check_idle(lua_State *L, const struct keel_lua_store *self, int argument)
{
	luaL_argcheck(L, !self->telling, argument, "the store is at work, and tells of its progress");
}

/* Raises for a closed store, and says where it was closed. */
static void raise_closed(lua_State *L, const struct keel_lua_store *self, int argument, const char *whose)
{
	const char *at = self && self->closed_at[0] ? lua_pushfstring(L, ": it was closed at %s", self->closed_at) : "";
	luaL_argerror(L, argument, lua_pushfstring(L, "the store%s is closed%s", whose, at));
}

static struct keel_lua_store *check_store(lua_State *L, int argument)
{
	struct keel_lua_store *self = keel_lua_check_self(L, argument, STORE);
	if (!is_usable(L, self))
		raise_closed(L, self, argument, "");
	check_idle(L, self, argument);
	check_process(L, self);
	return self;
}

struct keel_store *keel_lua_check_store(lua_State *L, int argument)
{
	return check_store(L, argument)->store;
}

int keel_lua_push_sleep(lua_State *L, int argument)
{
	return lua_getiuservalue(L, argument, SLEEP);
}

/* The store of a transaction, which its user value keeps alive. Its address is good as long as the transaction is on
 * the stack. */
static struct keel_lua_store *store_of(lua_State *L, int argument)
{
	lua_getiuservalue(L, argument, 1);
	struct keel_lua_store *store = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return store;
}

static bool is_open(const struct keel_lua_transaction *self, const struct keel_lua_store *store)
{
	return !self->over && store->store && store->transactions == self->number &&
		   keel_store_in_transaction(store->store);
}

static struct keel_lua_store *check_transaction(lua_State *L, int argument)
{
	struct keel_lua_transaction *self = keel_lua_check_self(L, argument, TRANSACTION);
	struct keel_lua_store *store = store_of(L, argument);
	if (!store || !is_usable(L, store))
		raise_closed(L, store, argument, " of the transaction");
	check_process(L, store);
	luaL_argcheck(L, is_open(self, store), argument, "the transaction is over");
	return store;
}

static int64_t given_now(void *data)
{
	return ((struct keel_lua_store *)data)->now;
}

static int64_t given_monotonic(void *data)
{
	return ((struct keel_lua_store *)data)->monotonic;
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

/* Asks the host's clocks, if there are any: from here and never from the kernel's middle. */
static void ask_clock(lua_State *L, struct keel_lua_store *self, int argument)
{
	if (self->has_clock)
		self->now = ask_one(L, argument, CLOCK, "clock");
	if (self->has_monotonic)
		self->monotonic = ask_one(L, argument, MONOTONIC, "monotonic");
}

/* --- Waiting ----------------------------------------------------------------------------------------------------- */

/* Seconds to wait before the next try: what the kernel advises, or, while the store is not open yet, by chance between
 * half and one and a half milliseconds. 0: the time is over. *until is the end of the wait; below 0, before the first
 * one, it says how long that may be. */
static lua_Number next_step(const struct keel_lua_store *self, int64_t *until)
{
	int64_t now = keel_lua_monotonic_us();
	if (*until < 0) {
		int64_t limit = -1 - *until;
		*until = limit < INT64_MAX - now ? now + limit : INT64_MAX;
	}
	int64_t left = *until - now;
	int64_t step = self->store ? keel_store_retry_us(self->store) : 500 + now % 1000;
	if (left <= 0)
		return 0;
	return (lua_Number)(step < left ? step : left) / 1e6;
}

/* Tells the store's log of a sleep that cannot wait here. What it raises is dropped: the wait goes on. */
static void tell_of_blocking(lua_State *L, int argument)
{
	if (lua_getiuservalue(L, argument, LOG) == LUA_TNIL) {
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

/* What a call that may wait is: tried until it is not busy, or the time is over. `self` is the store at index
 * `holder`; the arguments stand at 1 to KEEL_LUA_ARGUMENTS + 1, the time of the first wait behind them. */
struct attempt {
	int (*try)(lua_State *L, struct keel_lua_store *self, struct keel_error *err);
	int holder;
};

static int go_on(lua_State *L, int status, lua_KContext context)
{
	const struct attempt *attempt = (const struct attempt *)context;
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
		if (err.code != KEEL_BUSY || (self->store && keel_store_in_transaction(self->store)))
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
		if (lua_getiuservalue(L, attempt->holder, SLEEP) == LUA_TNIL) {
			keel_lua_block(seconds);
			continue;
		}
		if (keel_lua_slept_outside(L, attempt->holder, seconds) != KEEL_LUA_MAY_YIELD)
			continue;
		lua_pushnumber(L, seconds);
		lua_callk(L, 1, 0, context, go_on);
	}
}

static int start(lua_State *L, const struct attempt *attempt)
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

/* --- Opening and closing ----------------------------------------------------------------------------------------- */

static int store_gc(lua_State *L)
{
	release(keel_lua_check_self(L, 1, STORE));
	return 0;
}

static const struct {
	const char *name;
	enum keel_durability durability;
} durabilities[] = {{"full", KEEL_DURABILITY_FULL}, {"normal", KEEL_DURABILITY_NORMAL}, {"off", KEEL_DURABILITY_OFF}};

/* Reads the option into *durability, which stays as it is when it is not given. False when it names none. */
static bool read_durability(lua_State *L, enum keel_durability *durability)
{
	struct keel_text name = keel_lua_option_text(L, 2, "durability");
	for (size_t i = 0; name.data && i < sizeof durabilities / sizeof durabilities[0]; i++)
		if (keel_text_is(name, durabilities[i].name)) {
			*durability = durabilities[i].durability;
			return true;
		}
	return !name.data;
}

/* One try at opening: uri at 1, options at 2, the closed store at 3. */
static int try_open(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	struct keel_store_options options;
	keel_store_options_init(&options);
	read_durability(L, &options.durability);
	if (keel_lua_option(L, 2, "readonly", LUA_TBOOLEAN) != LUA_TNIL)
		options.readonly = lua_toboolean(L, -1);
	if (keel_lua_option(L, 2, "create", LUA_TBOOLEAN) != LUA_TNIL)
		options.create = lua_toboolean(L, -1);
	lua_pop(L, 2);
	options.owner = keel_lua_option_text(L, 2, "owner").data;
	options.lock_timeout_us = 0;
	if (self->has_clock)
		options.clock = (struct keel_clock){given_now, self};
	if (self->has_monotonic)
		options.monotonic = (struct keel_clock){given_monotonic, self};
	ask_clock(L, self, 3);
	if (keel_store_open(lua_tostring(L, 1), &options, &self->store, err) != KEEL_OK)
		return -1;
	lua_pushvalue(L, 3);
	return 1;
}

/* open(uri, options): see keel.open. */
static int store_open(lua_State *L)
{
	static const struct attempt opening = {try_open, 3};
	static const char *const known[] = {"durability", "readonly", "create", "lock_timeout", "sleep", "clock",
										"monotonic",  "log",      "owner",  NULL};
	static const char *const callbacks[] = {
		[SLEEP] = "sleep", [CLOCK] = "clock", [MONOTONIC] = "monotonic", [LOG] = "log"};
	struct keel_text uri = keel_lua_check_text(L, 1, "uri");
	lua_settop(L, 2);
	keel_lua_check_options(L, 2, known);
	if (memchr(uri.data, '\0', uri.size) || !keel_text_is_utf8(uri))
		return keel_lua_fail_field(L, "uri", "must be UTF-8 without zero bytes");
	enum keel_durability durability;
	if (!read_durability(L, &durability))
		return keel_lua_fail_field(L, "durability", "must be one of: full, normal, off");
	struct keel_text owner = keel_lua_option_text(L, 2, "owner");
	if (owner.data && memchr(owner.data, '\0', owner.size))
		return keel_lua_fail_field(L, "owner", "has a control character");
	int64_t lock_timeout = 5000000;
	if (keel_lua_option(L, 2, "lock_timeout", LUA_TNUMBER) != LUA_TNIL &&
		!keel_lua_duration(lua_tonumber(L, -1), &lock_timeout))
		return keel_lua_fail_field(L, "lock_timeout", "must be a number of seconds, at least 0");
	lua_settop(L, 2);
	struct keel_lua_store *self = lua_newuserdatauv(L, sizeof *self, USER_VALUES);
	memset(self, 0, sizeof *self);
	luaL_setmetatable(L, STORE);
	self->lock_timeout_us = lock_timeout;
	for (int i = SLEEP; i <= CALLBACKS; i++) {
		int found = keel_lua_option(L, 2, callbacks[i], LUA_TFUNCTION);
		if (i == CLOCK)
			self->has_clock = found != LUA_TNIL;
		if (i == MONOTONIC)
			self->has_monotonic = found != LUA_TNIL;
		lua_setiuservalue(L, 3, i);
	}
	return start(L, &opening);
}

/* Keeps who closes the store: the line that called close, or whose scope is left. */
static void note_place(lua_State *L, struct keel_lua_store *self)
{
	lua_Debug where;
	if (!lua_getstack(L, 1, &where) || !lua_getinfo(L, "Sl", &where) || where.currentline <= 0)
		return;
	snprintf(self->closed_at, sizeof self->closed_at, "%s:%d", where.short_src, where.currentline);
}

/* store:close(): ends the session and closes the file. Safe to call again. */
static int store_close(lua_State *L)
{
	struct keel_lua_store *self = keel_lua_check_self(L, 1, STORE);
	check_idle(L, self, 1);
	if (self->store && !self->closing)
		note_place(L, self);
	self->closing = self->store && in_finalizer(L);
	if (!self->closing)
		release(self);
	return 0;
}

static int store_tostring(lua_State *L)
{
	struct keel_lua_store *self = keel_lua_check_self(L, 1, STORE);
	if (!self->store || self->closing)
		lua_pushliteral(L, "keel.store (closed)");
	else if (!keel_store_usable(self->store))
		lua_pushliteral(L, "keel.store (of another process)");
	else if (keel_store_path(self->store)[0])
		lua_pushfstring(L, "keel.store (%s)", keel_store_path(self->store));
	else
		lua_pushliteral(L, "keel.store (:memory:)");
	return 1;
}

/* --- Operations -------------------------------------------------------------------------------------------------- */

/* Methods are closures over their entry in a list of operations. */
static const struct keel_lua_method *method(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

/* What every try begins with. False, with *err: the handle's own transaction is in the way. */
static bool may_try(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (!is_usable(L, self)) /* perhaps closed while it waited, or by the clock */
		raise_closed(L, self, 1, "");
	if (!keel_store_in_transaction(self->store))
		return true;
	memset(err, 0, sizeof *err);
	err->code = KEEL_BUSY;
	err->transient = true;
	strcpy(err->message, "this handle has a transaction open: use the transaction, or end it first");
	return false;
}

/* Calls who watches. No error of Lua may leave through the kernel: it is kept, and raised when the operation is
 * over. */
static void tell_progress(void *data, int64_t done, int64_t total)
{
	struct keel_lua_store *self = data;
	lua_State *L = self->caller;
	if (!L || self->raised || !lua_checkstack(L, 4))
		return;
	lua_getiuservalue(L, 1, PROGRESS);
	lua_pushinteger(L, done);
	lua_pushinteger(L, total);
	self->telling = true;
	self->raised = lua_pcall(L, 2, 0, 0) != LUA_OK;
	self->telling = false;
	if (self->raised)
		lua_setiuservalue(L, 1, PROGRESS);
}

/* store:watch(fn): calls fn(done, total) now and then while the store makes a backup or verifies; nil: nobody. fn must
 * not use the store and cannot yield; what it raises passes through when the operation is over. */
static int store_watch(lua_State *L)
{
	struct keel_lua_store *self = check_store(L, 1);
	if (!lua_isnoneornil(L, 2))
		luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	keel_store_watch(self->store, lua_isnil(L, 2) ? NULL : tell_progress, self);
	lua_setiuservalue(L, 1, PROGRESS);
	return 0;
}

/* --- Damage ------------------------------------------------------------------------------------------------------ */

/* The user value DAMAGE is a table: the sentences to be told, in order; each sentence that was noted, as a name; under
 * `true` the function that hears of it when the store was given no `log`. */

static void push_damage(lua_State *L, int store)
{
	if (lua_getiuservalue(L, store, DAMAGE) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, store, DAMAGE);
}

void keel_lua_note_damage(lua_State *L)
{
	luaL_checkstack(L, 8, "there is damage to note");
	if (luaL_testudata(L, 1, STORE))
		lua_pushvalue(L, 1);
	else
		lua_getiuservalue(L, 1, 1);
	struct keel_lua_store *self = luaL_checkudata(L, -1, STORE);
	push_damage(L, lua_gettop(L));
	lua_pushvalue(L, -3);
	if (lua_rawget(L, -2) == LUA_TNIL && lua_rawlen(L, -2) < TOLD_MAX) {
		self->damaged = true;
		lua_pushvalue(L, -4);
		lua_pushvalue(L, -1);
		lua_rawseti(L, -4, (lua_Integer)lua_rawlen(L, -4) + 1);
		lua_pushboolean(L, 1);
		lua_rawset(L, -4);
	}
	lua_pop(L, 4);
}

/* Tells the host of the damage that was noted for the store at an index. What it raises is dropped: what was read is
 * worth more. */
static void tell_damage(lua_State *L, struct keel_lua_store *self, int store)
{
	self->damaged = false;
	luaL_checkstack(L, 10, "there is damage to tell of");
	push_damage(L, store);
	int notes = lua_gettop(L);
	if (lua_getiuservalue(L, store, LOG) == LUA_TNIL) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
		lua_rawget(L, notes);
	}
	const int log = notes + 1;
	for (lua_Integer i = 1, count = (lua_Integer)lua_rawlen(L, notes); i <= count; i++) {
		lua_pushvalue(L, log);
		lua_pushliteral(L, "error");
		int type = lua_rawgeti(L, notes, i);
		lua_newtable(L);
		if (type == LUA_TSTRING && !lua_isnil(L, log))
			lua_pcall(L, 3, 0, 0);
		lua_settop(L, log);
		lua_pushboolean(L, 0); /* it was told */
		lua_rawseti(L, notes, i);
	}
	lua_settop(L, notes - 1);
}

/* store:tell_damage(fn): who hears of damaged documents, as fn(level, message, fields), when the store was opened
 * without `log`. */
static int store_tell_damage(lua_State *L)
{
	check_store(L, 1);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	push_damage(L, 1);
	lua_pushboolean(L, 1);
	lua_pushvalue(L, 2);
	lua_rawset(L, -3);
	return 0;
}

static int try_operation(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (self->store)
		ask_clock(L, self, 1);
	if (!may_try(L, self, err))
		return -1;
	self->caller = L;
	int results = method(L)->operation(L, self->store, err);
	if (self->raised) {
		self->raised = false;
		keel_store_watch(self->store, NULL, NULL);
		lua_getiuservalue(L, 1, PROGRESS);
		lua_error(L);
	}
	if (self->damaged)
		tell_damage(L, self, 1);
	return results;
}

static int call_on_store(lua_State *L)
{
	static const struct attempt operation = {try_operation, 1};
	check_store(L, 1);
	return start(L, &operation);
}

/* In a transaction nothing waits: the lock is held. */
static int call_in_transaction(lua_State *L)
{
	struct keel_error err;
	struct keel_lua_store *store = check_transaction(L, 1);
	lua_settop(L, KEEL_LUA_ARGUMENTS + 1);
	if (store->has_clock || store->has_monotonic) {
		lua_getiuservalue(L, 1, 1);
		ask_clock(L, store, lua_gettop(L));
		lua_pop(L, 1);
		/* The clock is the host's code: it may have ended the transaction. */
		store = check_transaction(L, 1);
	}
	store->caller = NULL;
	int results = method(L)->operation(L, store->store, &err);
	if (store->damaged) {
		lua_getiuservalue(L, 1, 1);
		lua_insert(L, 1);
		tell_damage(L, store, 1);
		lua_remove(L, 1);
	}
	return results >= 0 ? results : keel_lua_fail(L, &err);
}

/* --- Transactions ------------------------------------------------------------------------------------------------ */

/* store:begin({ wait }): begins a writing transaction; with wait = false it tries once. Meanwhile every other operation
 * on the store is busy, and no other process writes. Returns the transaction: the store's operations, commit and
 * rollback; leaving the scope of a `local tx <close>` rolls back what was not committed. Fails with busy. */
static int try_begin(lua_State *L, struct keel_lua_store *self, struct keel_error *err)
{
	if (self->store)
		ask_clock(L, self, 1);
	if (!may_try(L, self, err))
		return -1;
	struct keel_lua_transaction *tx = lua_newuserdatauv(L, sizeof *tx, 1);
	tx->number = 0;
	tx->over = true;
	luaL_setmetatable(L, TRANSACTION);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	if (keel_store_begin(self->store, err) != KEEL_OK)
		return -1;
	tx->number = ++self->transactions;
	tx->over = false;
	return 1;
}

static int store_begin(lua_State *L)
{
	static const struct attempt beginning = {try_begin, 1};
	static const char *const known[] = {"wait", NULL};
	struct keel_lua_store *self = check_store(L, 1);
	lua_settop(L, 2);
	keel_lua_check_options(L, 2, known);
	bool waits = keel_lua_option(L, 2, "wait", LUA_TBOOLEAN) == LUA_TNIL || lua_toboolean(L, -1);
	lua_settop(L, 2);
	if (waits)
		return start(L, &beginning);
	self->bounded = false;
	struct keel_error err;
	int results = try_begin(L, self, &err);
	return results >= 0 ? results : keel_lua_fail(L, &err);
}

/* tx:commit(): true when all of it is durable. On failure all of it is undone. */
static int transaction_commit(lua_State *L)
{
	struct keel_error err;
	struct keel_lua_store *store = check_transaction(L, 1);
	struct keel_lua_transaction *tx = lua_touserdata(L, 1);
	tx->over = true;
	if (keel_store_commit(store->store, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, 1);
	return 1;
}

/* tx:rollback(), tx:close(): undoes all of it. Safe to call again, and after commit, when it does nothing. */
static int transaction_rollback(lua_State *L)
{
	struct keel_lua_transaction *tx = keel_lua_check_self(L, 1, TRANSACTION);
	struct keel_lua_store *store = store_of(L, 1);
	if (store && is_open(tx, store))
		keel_store_rollback(store->store);
	tx->over = true;
	return 0;
}

/* tx:savepoint(): marks a place to come back to. Returns the mark. Fails with limit_too_large. */
static int transaction_savepoint(lua_State *L)
{
	struct keel_error err;
	int mark;
	struct keel_lua_store *store = check_transaction(L, 1);
	if (keel_store_savepoint(store->store, &mark, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushinteger(L, mark);
	return 1;
}

static int end_savepoint(lua_State *L,
						 enum keel_code (*end)(struct keel_store *store, int mark, struct keel_error *err))
{
	struct keel_error err;
	struct keel_lua_store *store = check_transaction(L, 1);
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
	struct keel_lua_transaction *tx = keel_lua_check_self(L, 1, TRANSACTION);
	struct keel_lua_store *store = store_of(L, 1);
	lua_pushstring(L, store && is_open(tx, store) ? "keel.transaction (open)" : "keel.transaction (over)");
	return 1;
}

/* --- The rest ---------------------------------------------------------------------------------------------------- */

/* store:now(): what the store's clock says, as a time. */
static int store_now(lua_State *L)
{
	struct keel_lua_store *self = check_store(L, 1);
	ask_clock(L, self, 1);
	self = check_store(L, 1); /* the clock is the host's code: it may have closed the store */
	keel_lua_push_time(L, keel_store_now(self->store));
	return 1;
}

/* store:backend(): "sqlite" or "memory". store:path(): the resolved path, "" in memory. */
static int store_backend(lua_State *L)
{
	lua_pushstring(L, keel_store_backend(check_store(L, 1)->store));
	return 1;
}

static int store_path(lua_State *L)
{
	lua_pushstring(L, keel_store_path(check_store(L, 1)->store));
	return 1;
}

static int slept(lua_State *L, int status, lua_KContext context)
{
	(void)L, (void)status, (void)context;
	return 0;
}

/* store:sleep(seconds): waits as the store does: through the host's `sleep` if it gave one, else blocking. */
static int store_sleep(lua_State *L)
{
	int64_t duration;
	keel_lua_check_self(L, 1, STORE);
	keel_lua_check_type(L, 2, "seconds", LUA_TNUMBER);
	luaL_argcheck(L, keel_lua_duration(lua_tonumber(L, 2), &duration), 2, "seconds must be at least 0");
	if (lua_getiuservalue(L, 1, SLEEP) == LUA_TNIL) {
		keel_lua_block((lua_Number)duration / 1e6);
		return 0;
	}
	if (keel_lua_slept_outside(L, 1, (lua_Number)duration / 1e6) != KEEL_LUA_MAY_YIELD)
		return 0;
	lua_pushvalue(L, 2);
	lua_callk(L, 1, 0, 0, slept);
	return 0;
}

/* store:wait_at_most(seconds): the next operation of this handle waits no longer than that for other writers; its
 * lock_timeout holds as well. For callers that try several times within one bound. */
static int store_wait_at_most(lua_State *L)
{
	/* Of a closed store, too: the operation is what says so. */
	struct keel_lua_store *self = keel_lua_check_self(L, 1, STORE);
	keel_lua_check_type(L, 2, "seconds", LUA_TNUMBER);
	luaL_argcheck(L, keel_lua_duration(lua_tonumber(L, 2), &self->bound_us), 2, "seconds must be at least 0");
	self->bounded = true;
	return 0;
}

/* store:log(level, message, fields): calls the host's `log`, if it gave one. */
static int store_log(lua_State *L)
{
	keel_lua_check_self(L, 1, STORE);
	keel_lua_check_type(L, 2, "level", LUA_TSTRING);
	keel_lua_check_type(L, 3, "message", LUA_TSTRING);
	lua_settop(L, 4);
	if (lua_getiuservalue(L, 1, LOG) == LUA_TNIL)
		return 0;
	lua_insert(L, 2);
	lua_call(L, 3, 0);
	return 0;
}

/* --- Metatables -------------------------------------------------------------------------------------------------- */

/* Pushes the methods of a metatable. [-0, +1, -] */
static void push_methods(lua_State *L, const char *metatable)
{
	luaL_getmetatable(L, metatable);
	lua_getfield(L, -1, "__index");
	lua_remove(L, -2);
}

void keel_lua_store_add(lua_State *L, const struct keel_lua_method *operations)
{
	push_methods(L, TRANSACTION);
	push_methods(L, STORE);
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

void keel_lua_store_add_functions(lua_State *L, const luaL_Reg *functions)
{
	push_methods(L, STORE);
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
}

void keel_lua_store_open(lua_State *L)
{
	static const luaL_Reg store_meta[] = {
		{"__gc", store_gc}, {"__close", store_close}, {"__tostring", store_tostring}, {NULL, NULL}};
	static const luaL_Reg store_functions[] = {{"close", store_close},
											   {"begin", store_begin},
											   {"now", store_now},
											   {"path", store_path},
											   {"backend", store_backend},
											   {"sleep", store_sleep},
											   {"wait_at_most", store_wait_at_most},
											   {"log", store_log},
											   {"watch", store_watch},
											   {"tell_damage", store_tell_damage},
											   {NULL, NULL}};
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
	if (luaL_newmetatable(L, STORE)) {
		luaL_setfuncs(L, store_meta, 0);
		luaL_newlib(L, store_functions);
		lua_setfield(L, -2, "__index");
	}
	lua_getfield(L, -1, "__index");
	lua_setfield(L, -3, "store_methods"); /* lua/keel/store.lua adds what is better said in Lua */
	lua_pop(L, 1);
	if (luaL_newmetatable(L, TRANSACTION)) {
		luaL_setfuncs(L, transaction_meta, 0);
		luaL_newlib(L, transaction_functions);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, store_open);
	lua_setfield(L, -2, "open");
	lua_pushcfunction(L, keel_lua_restore);
	lua_setfield(L, -2, "restore");
}
