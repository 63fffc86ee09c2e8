/* scripts.h - the Lua files that the program carries, compiled: precompile.lua makes the list at build time. Policies
 * are carried as they are, since what is recorded of one is a hash of its source.
 *
 * A command should start as fast as a shell's built-in tools do, and compiling its Lua files would take longer than all
 * the rest. */
#ifndef KEEL_COMMAND_SCRIPTS_H
#define KEEL_COMMAND_SCRIPTS_H

#include <stddef.h>

#include <lua.h>

struct command_script {
	const char *module;        /* NULL ends the list */
	const unsigned char *code; /* or the source */
	size_t size;
};

extern const struct command_script command_scripts[];

/* Lets require find what the program carries before it looks for files, and gives keel.policy the sources, as the
 * module keel.carried. [-0, +0, m] */
void command_add_scripts(lua_State *L);

#endif
