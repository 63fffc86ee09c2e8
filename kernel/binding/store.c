/* store.c - stores as userdata: opening, closing, and what they are asked outside of operations. Uses: attempt,
 * operation, transaction, damage.
 *
 * A store is created closed, gets its metatable and callbacks, and is opened last: whatever raises on the way leaves
 * nothing behind. `close`, `__gc` and `__close` lead to one release function.
 */
#include "attempt.h"

#include <stdio.h>
#include <string.h>

static int64_t given_now(void *data)
{
	return ((struct keel_lua_store *)data)->now;
}

static int64_t given_monotonic(void *data)
{
	return ((struct keel_lua_store *)data)->monotonic;
}

/* --- Opening and closing ----------------------------------------------------------------------------------------- */

static int store_gc(lua_State *L)
{
	keel_lua_release(keel_lua_check_self(L, 1, KEEL_LUA_STORE));
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
	if (keel_lua_option(L, 2, "exclusive", LUA_TBOOLEAN) != LUA_TNIL)
		options.exclusive = lua_toboolean(L, -1);
	lua_pop(L, 3);
	options.owner = keel_lua_option_text(L, 2, "owner").data;
	options.lock_timeout_us = 0;
	if (self->has_clock)
		options.clock = (struct keel_clock){given_now, self};
	if (self->has_monotonic)
		options.monotonic = (struct keel_clock){given_monotonic, self};
	keel_lua_ask_clock(L, self, 3);
	enum keel_code code = keel_store_open(lua_tostring(L, 1), &options, &self->store, err);
	if (code == KEEL_NOT_SUPPORTED && keel_lua_bring_driver(L, err))
		code = keel_store_open(lua_tostring(L, 1), &options, &self->store, err);
	if (code != KEEL_OK)
		return -1;
	lua_pushvalue(L, 3);
	return 1;
}

/* open(uri, options): see keel.open. */
static int store_open(lua_State *L)
{
	static const struct keel_lua_attempt opening = {try_open, 3};
	static const char *const known[] = {"durability",   "readonly", "create", "exclusive",
										"lock_timeout", "sleep",    "clock",  "monotonic",
										"log",          "owner",    NULL};
	static const char *const callbacks[] = {[KEEL_LUA_SLEEP] = "sleep",
											[KEEL_LUA_CLOCK] = "clock",
											[KEEL_LUA_MONOTONIC] = "monotonic",
											[KEEL_LUA_LOG] = "log"};
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
	struct keel_lua_store *self = lua_newuserdatauv(L, sizeof *self, KEEL_LUA_USER_VALUES);
	memset(self, 0, sizeof *self);
	luaL_setmetatable(L, KEEL_LUA_STORE);
	self->lock_timeout_us = lock_timeout;
	for (int i = KEEL_LUA_SLEEP; i <= KEEL_LUA_CALLBACKS; i++) {
		int found = keel_lua_option(L, 2, callbacks[i], LUA_TFUNCTION);
		if (i == KEEL_LUA_CLOCK)
			self->has_clock = found != LUA_TNIL;
		if (i == KEEL_LUA_MONOTONIC)
			self->has_monotonic = found != LUA_TNIL;
		lua_setiuservalue(L, 3, i);
	}
	return keel_lua_try(L, &opening);
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
	struct keel_lua_store *self = keel_lua_check_self(L, 1, KEEL_LUA_STORE);
	keel_lua_check_idle(L, self, 1);
	if (self->store && !self->closing)
		note_place(L, self);
	self->closing = self->store && keel_lua_in_finalizer(L);
	if (!self->closing)
		keel_lua_release(self);
	return 0;
}

static int store_tostring(lua_State *L)
{
	struct keel_lua_store *self = keel_lua_check_self(L, 1, KEEL_LUA_STORE);
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

/* --- The rest ---------------------------------------------------------------------------------------------------- */

/* store:now(): what the store's clock says, as a time. */
static int store_now(lua_State *L)
{
	struct keel_lua_store *self = keel_lua_check_handle(L, 1);
	keel_lua_ask_clock(L, self, 1);
	self = keel_lua_check_handle(L, 1); /* the clock is the host's code: it may have closed the store */
	keel_lua_push_time(L, keel_store_now(self->store));
	return 1;
}

/* store:backend(): "sqlite" or "memory". store:path(): the resolved path, "" in memory. */
static int store_backend(lua_State *L)
{
	lua_pushstring(L, keel_store_backend(keel_lua_check_handle(L, 1)->store));
	return 1;
}

static int store_path(lua_State *L)
{
	lua_pushstring(L, keel_store_path(keel_lua_check_handle(L, 1)->store));
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
	keel_lua_check_self(L, 1, KEEL_LUA_STORE);
	keel_lua_check_type(L, 2, "seconds", LUA_TNUMBER);
	luaL_argcheck(L, keel_lua_duration(lua_tonumber(L, 2), &duration), 2, "seconds must be at least 0");
	if (lua_getiuservalue(L, 1, KEEL_LUA_SLEEP) == LUA_TNIL) {
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
	struct keel_lua_store *self = keel_lua_check_self(L, 1, KEEL_LUA_STORE);
	keel_lua_check_type(L, 2, "seconds", LUA_TNUMBER);
	luaL_argcheck(L, keel_lua_duration(lua_tonumber(L, 2), &self->bound_us), 2, "seconds must be at least 0");
	self->bounded = true;
	return 0;
}

/* store:log(level, message, fields): calls the host's `log`, if it gave one. */
static int store_log(lua_State *L)
{
	keel_lua_check_self(L, 1, KEEL_LUA_STORE);
	keel_lua_check_type(L, 2, "level", LUA_TSTRING);
	keel_lua_check_type(L, 3, "message", LUA_TSTRING);
	lua_settop(L, 4);
	if (lua_getiuservalue(L, 1, KEEL_LUA_LOG) == LUA_TNIL)
		return 0;
	lua_insert(L, 2);
	lua_call(L, 3, 0);
	return 0;
}

/* --- Metatables -------------------------------------------------------------------------------------------------- */

void keel_lua_store_add_functions(lua_State *L, const luaL_Reg *functions)
{
	keel_lua_push_methods(L, KEEL_LUA_STORE);
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
}

void keel_lua_store_open(lua_State *L)
{
	static const luaL_Reg store_meta[] = {
		{"__gc", store_gc}, {"__close", store_close}, {"__tostring", store_tostring}, {NULL, NULL}};
	static const luaL_Reg store_functions[] = {{"close", store_close},
											   {"begin", keel_lua_store_begin},
											   {"now", store_now},
											   {"path", store_path},
											   {"backend", store_backend},
											   {"sleep", store_sleep},
											   {"wait_at_most", store_wait_at_most},
											   {"log", store_log},
											   {"watch", keel_lua_store_watch},
											   {"tell_damage", keel_lua_store_tell_damage},
											   {NULL, NULL}};
	if (luaL_newmetatable(L, KEEL_LUA_STORE)) {
		luaL_setfuncs(L, store_meta, 0);
		luaL_newlib(L, store_functions);
		lua_setfield(L, -2, "__index");
	}
	lua_getfield(L, -1, "__index");
	lua_setfield(L, -3, "store_methods"); /* lua/keel/store.lua adds what is better said in Lua */
	lua_pop(L, 1);
	keel_lua_transaction_open(L);
	lua_pushcfunction(L, store_open);
	lua_setfield(L, -2, "open");
	lua_pushcfunction(L, keel_lua_restore);
	lua_setfield(L, -2, "restore");
}
