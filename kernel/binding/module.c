/* module.c - keel.kernel: the kernel as a Lua module. lua/keel/_meta/kernel.lua describes it for editors. */
#include <keel/module.h>

#include "binding.h"

/* The operations of stores and transactions; those that write are in module.writes as well. */
static void add_methods(lua_State *L)
{
	static const struct keel_lua_method *const lists[] = {
		keel_lua_run_methods,     keel_lua_listing_methods,      keel_lua_ownership_methods, keel_lua_event_methods,
		keel_lua_session_methods, keel_lua_token_methods,        keel_lua_lease_methods,     keel_lua_worker_methods,
		keel_lua_runtime_methods, keel_lua_housekeeping_methods, keel_lua_schedule_methods,  keel_lua_limit_methods};
	static const luaL_Reg functions[] = {
		{"wait_events", keel_lua_wait_events}, {"event_waiter", keel_lua_event_waiter}, {NULL, NULL}};
	lua_newtable(L);
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		keel_lua_store_add(L, lists[i]);
		for (const struct keel_lua_method *method = lists[i]; method->name; method++)
			if (method->kind == KEEL_LUA_WRITES) {
				lua_pushboolean(L, true);
				lua_setfield(L, -2, method->name);
			}
	}
	lua_setfield(L, -2, "writes");
	keel_lua_store_add_functions(L, functions);
}

int luaopen_keel_kernel(lua_State *L)
{
	luaL_checkversion(L);
	lua_newtable(L);
	keel_lua_set_word(L, "version", keel_version());
	keel_lua_error_open(L);
	keel_lua_error_metatable(L);
	lua_setfield(L, -2, "error_metatable");
	keel_lua_json_open(L);
	keel_lua_encode_open(L);
	keel_lua_functions_open(L);
	keel_lua_sleep_open(L);
	keel_lua_suggest_open(L);
	keel_lua_run_open(L);
	keel_lua_store_open(L);
	add_methods(L);
	keel_lua_policy_open(L);
	keel_lua_sandbox_open(L);
	keel_lua_script_open(L);
	return 1;
}
