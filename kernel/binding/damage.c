/* damage.c - documents of a store that are damaged: noting them while one reads, and telling of them. Uses: handle. */
#include "handle.h"

enum { TOLD_MAX = 1000 }; /* damaged documents that a handle tells of: of more, verify knows */

/* The user value KEEL_LUA_DAMAGE is a table: the sentences to be told, in order; each sentence that was noted, as a
 * name; under `true` the function that hears of it when the store was given no `log`. */
static void push_damage(lua_State *L, int store)
{
	if (lua_getiuservalue(L, store, KEEL_LUA_DAMAGE) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	int top = lua_gettop(L);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, store, KEEL_LUA_DAMAGE);
	KEEL_LUA_PUSHED(L, top, 1);
}

void keel_lua_note_damage(lua_State *L)
{
	int top = lua_gettop(L);
	luaL_checkstack(L, 8, "there is damage to note");
	if (luaL_testudata(L, 1, KEEL_LUA_STORE))
		lua_pushvalue(L, 1);
	else
		lua_getiuservalue(L, 1, 1);
	struct keel_lua_store *self = luaL_checkudata(L, -1, KEEL_LUA_STORE);
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
	KEEL_LUA_PUSHED(L, top, -1);
}

void keel_lua_tell_damage(lua_State *L, struct keel_lua_store *self, int store)
{
	int top = lua_gettop(L);
	self->damaged = false;
	luaL_checkstack(L, 10, "there is damage to tell of");
	push_damage(L, store);
	int notes = lua_gettop(L);
	if (lua_getiuservalue(L, store, KEEL_LUA_LOG) == LUA_TNIL) {
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
	KEEL_LUA_PUSHED(L, top, 0);
}

int keel_lua_store_tell_damage(lua_State *L)
{
	keel_lua_check_handle(L, 1);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	push_damage(L, 1);
	lua_pushboolean(L, 1);
	lua_pushvalue(L, 2);
	lua_rawset(L, -3);
	return 0;
}
