/* main.c - the smallest host: a Lua state of its own with the module preloaded, and the C library called directly. */
#include <stdio.h>

#include <lauxlib.h>
#include <lualib.h>

#include <keel/keel.h>

int main(void)
{
	struct keel_store *store;
	struct keel_error err;
	if (keel_store_open(":memory:", NULL, &store, &err) != KEEL_OK) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	keel_store_close(store);

	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	if (luaL_dostring(L, "assert(require('keel').open(':memory:')):close()")) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		return 1;
	}
	lua_close(L);
	return 0;
}
