/* module.c - keel.kernel: the kernel as a Lua module. lua/keel/_meta/kernel.lua describes it for editors. */
#include <keel/module.h>

#include "binding.h"

int luaopen_keel_kernel(lua_State *L)
{
	luaL_checkversion(L);
	lua_newtable(L);
	lua_pushstring(L, keel_version());
	lua_setfield(L, -2, "version");
	keel_lua_error_open(L);
	keel_lua_error_metatable(L);
	lua_setfield(L, -2, "error_metatable");
	keel_lua_json_open(L);
	keel_lua_value_open(L);
	keel_lua_number_open(L);
	keel_lua_sleep_open(L);
	keel_lua_suggest_open(L);
	keel_lua_run_open(L);
	keel_lua_store_open(L);
	keel_lua_policy_open(L);
	keel_lua_sandbox_open(L);
	keel_lua_script_open(L);
	return 1;
}
