/* keel/module.h - the Lua module, for hosts that preload it with
 * luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0). It is in a library of its own, so that programs without Lua
 * need none: link keel-lua (pkg-config), or keel::keel_lua (CMake). */
#ifndef KEEL_MODULE_H
#define KEEL_MODULE_H

#include <keel/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State;

/* Pushes the module's table. Keeps its state in the Lua state's registry; may be called more than once. */
KEEL_API int luaopen_keel_kernel(struct lua_State *L);

#ifdef __cplusplus
}
#endif
#endif
