/* ref.c - the refs of workers: which runtime and which worker, as a table. */
#include "binding.h"

#include <string.h>

bool keel_lua_read_ref(lua_State *L, int index, struct keel_worker_ref *ref)
{
	memset(ref, 0, sizeof *ref);
	if (lua_type(L, index) != LUA_TTABLE)
		return false;
	bool good = keel_lua_member(L, index, "runtime_id") == LUA_TSTRING;
	if (good)
		ref->runtime_id.data = lua_tolstring(L, -1, &ref->runtime_id.size);
	lua_pop(L, 1); /* the table keeps it */
	good = keel_lua_member(L, index, "worker_id") == LUA_TSTRING && good;
	if (good)
		ref->worker_id.data = lua_tolstring(L, -1, &ref->worker_id.size);
	lua_pop(L, 1);
	return good;
}

struct keel_worker_ref keel_lua_check_ref(lua_State *L, int argument)
{
	struct keel_worker_ref ref;
	keel_lua_check_type(L, argument, "worker_ref", LUA_TTABLE);
	if (!keel_lua_read_ref(L, argument, &ref))
		luaL_argerror(L, argument, "worker_ref: runtime_id and worker_id must be strings");
	return ref;
}

/* Puts the ref in the place of the detail or summary of a worker on the top; any other table stays. [-1, +1, m] */
static void reduce(lua_State *L)
{
	int top = lua_gettop(L);
	static const char *const names[] = {"runtime_id", "worker_id"};
	bool reduce = keel_lua_member(L, -1, "worker_ref") == LUA_TTABLE;
	for (int i = 0; reduce && i < 2; i++) {
		reduce = keel_lua_member(L, -1, names[i]) == LUA_TSTRING;
		keel_lua_member(L, -3, names[i]);
		reduce = reduce && lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	lua_remove(L, reduce ? -2 : -1);
	KEEL_LUA_PUSHED(L, top, 0);
}

void keel_lua_push_ref(lua_State *L, struct keel_text runtime_id, struct keel_text worker_id)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 2);
	keel_lua_set_text(L, "runtime_id", runtime_id);
	keel_lua_set_text(L, "worker_id", worker_id);
	KEEL_LUA_PUSHED(L, top, 1);
}

bool keel_lua_option_ref(lua_State *L, int argument, struct keel_text *json, struct keel_error *err)
{
	static const char name[] = "worker_ref";
	int top = lua_gettop(L);
	*json = (struct keel_text){NULL, 0};
	if (keel_lua_option(L, argument, name, LUA_TTABLE) == LUA_TNIL)
		return true;
	reduce(L);
	KEEL_LUA_PUSHED(L, top, 1);
	return keel_lua_take_json(L, name, json, err);
}
