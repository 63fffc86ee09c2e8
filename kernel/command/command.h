/* command.h - the parts of keel.command, the C side of the keel command. */
#ifndef KEEL_COMMAND_COMMAND_H
#define KEEL_COMMAND_COMMAND_H

#include <lua.h>

/* Pushes the module's table, with what each file here adds to it. */
int command_open(lua_State *L);

/* Each adds its functions to the table on top. */
void command_add_system(lua_State *L);
void command_add_folders(lua_State *L);
void command_add_detach(lua_State *L);
void command_add_channels(lua_State *L);
void command_add_feeding(lua_State *L);
void command_add_interrupts(lua_State *L);
void command_add_history(lua_State *L);
void command_add_screen(lua_State *L);
void command_add_width(lua_State *L);
void command_add_prompt(lua_State *L); /* nothing, if the command was built without libedit */

/* sql/sqlite_program.c: before the first store is opened. */
void keel_sqlite_set_up_program(void);

/* [-0, +3, -] nil, the text of an errno, the errno. */
int command_fail(lua_State *L, int number);

#endif
