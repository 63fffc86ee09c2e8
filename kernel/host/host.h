/* host.h - the parts of keel.host, the C side of the keel command. */
#ifndef KEEL_HOST_HOST_H
#define KEEL_HOST_HOST_H

#include <lua.h>

/* Pushes the module's table: supervise.c and system.c. */
int host_open(lua_State *L);

/* Adds the functions about the system to the table on top. */
void host_add_system(lua_State *L);

/* [-0, +3, -] nil, the text of an errno, the errno. */
int host_fail(lua_State *L, int number);

#endif
