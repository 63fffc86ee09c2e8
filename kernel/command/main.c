/* main.c - the keel command: a Lua state with keel.kernel and keel.command in it, which runs lua/keel/cli.
 *
 * What is built to be installed carries its Lua files, compiled (scripts.h). Those it does not carry are found from
 * where this program is: under the prefix it was installed in, or in the source tree it was
 * built in. LUA_PATH and LUA_CPATH are for what else is needed (argparse, a user's modules); they come behind, so
 * that the command never runs with the files of another version.
 */
#include "command.h"
#include "scripts.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include <keel/module.h>

enum { TREE_DEPTH = 4 }; /* how many folders below the source tree a build may be: build/dev, at least */

/* The folder of this program, with a slash at the end. */
static bool find_program(char *folder, size_t size)
{
	ssize_t got = readlink("/proc/self/exe", folder, size - 1);
	if (got <= 0)
		return false;
	folder[got] = '\0';
	char *slash = strrchr(folder, '/');
	if (!slash)
		return false;
	slash[1] = '\0';
	return true;
}

static const char script[] = "keel/cli/init.lua", module[] = "keel/postgres.so";

/* Whether a folder, `root` with `below` after it, has a file of the command's. */
static bool has_file(const char *file, const char *root, const char *below, char *folder, size_t size)
{
	char path[PATH_MAX + 32];
	if (snprintf(folder, size, "%s%s", root, below) >= (int)size)
		return false;
	snprintf(path, sizeof path, "%s/%s", folder, file);
	return access(path, R_OK) == 0;
}

/* KEEL_LUA_FOLDER: where the files are installed, from the folder of the program, or absolute. */
static bool find_files(char *folder, size_t size)
{
	char program[PATH_MAX];
	if (KEEL_LUA_FOLDER[0] == '/' && has_file(script, "", KEEL_LUA_FOLDER, folder, size))
		return true;
	if (!find_program(program, sizeof program))
		return false;
	if (KEEL_LUA_FOLDER[0] != '/' && has_file(script, program, KEEL_LUA_FOLDER, folder, size))
		return true;
	for (int up = 0; up < TREE_DEPTH; up++) {
		program[strlen(program) - 1] = '\0';
		char *slash = strrchr(program, '/');
		if (!slash)
			return false;
		slash[1] = '\0';
		if (has_file(script, program, "lua", folder, size))
			return true;
	}
	return false;
}

/* KEEL_MODULE_FOLDER: where the module for stores on a server is installed, likewise. Built beside the program. */
static bool find_module(char *folder, size_t size)
{
	char program[PATH_MAX];
	if (KEEL_MODULE_FOLDER[0] == '/' && has_file(module, "", KEEL_MODULE_FOLDER, folder, size))
		return true;
	return find_program(program, sizeof program) && (has_file(module, program, "lua", folder, size) ||
													 has_file(module, program, KEEL_MODULE_FOLDER, folder, size));
}

/* Puts the folder in front of package.cpath. [-0, +0, m] */
static void set_module_path(lua_State *L, const char *folder)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "cpath");
	lua_pushfstring(L, "%s/?.so;%s", folder, lua_tostring(L, -1));
	lua_setfield(L, -3, "cpath");
	lua_pop(L, 2);
}

/* Puts the folder in front of package.path. [-0, +0, m] */
static void set_path(lua_State *L, const char *folder)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", folder, folder, lua_tostring(L, -1));
	lua_setfield(L, -3, "path");
	lua_pop(L, 2);
}

/* What an error that nobody expected shows: a mistake of ours, or a broken installation. */
static int explain(lua_State *L)
{
	luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
	return 1;
}

static int run(lua_State *L)
{
	int argc = (int)lua_tointeger(L, 1);
	char **argv = lua_touserdata(L, 2);
	char folder[PATH_MAX];
	luaL_openlibs(L);
	if (find_files(folder, sizeof folder))
		set_path(L, folder);
	if (find_module(folder, sizeof folder))
		set_module_path(L, folder);
	command_add_scripts(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	luaL_requiref(L, "keel.command", command_open, 0);
	lua_settop(L, 0);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "keel.cli");
	lua_call(L, 1, 1);
	lua_createtable(L, argc, 0);
	for (int i = 1; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	lua_call(L, 1, 2);
	return 2;
}

/* What we were started without, of input, output and errors, must not become the number of a file of ours: messages
 * would end up in it. The command is started without it all the same. Where there is no /dev/null, the number is taken
 * by what can be neither read nor written. */
static bool fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0 && open("/", O_PATH | O_CLOEXEC) < 0)
			return false;
	return true;
}

/* A file that may not grow (ulimit -f) is an error of its write, not our end. Not ignored: those we start would inherit
 * that. */
static void bear_size_limit(int number)
{
	(void)number;
}

static void catch_size_limit(void)
{
	struct sigaction how;
	if (sigaction(SIGXFSZ, NULL, &how) == 0 && how.sa_handler == SIG_DFL) {
		how = (struct sigaction){.sa_handler = bear_size_limit, .sa_flags = SA_RESTART};
		sigaction(SIGXFSZ, &how, NULL);
	}
}

int main(int argc, char **argv)
{
	if (!fill_standard()) {
		perror("keel: cannot stand in for closed input or output");
		return EXIT_FAILURE;
	}
	catch_size_limit();
	keel_sqlite_set_up_program();
	lua_State *L = luaL_newstate();
	if (!L) {
		fputs("keel: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	lua_gc(L, LUA_GCGEN, 100, 0); /* most of what a command makes is gone soon; it is short, and looks less often */
	lua_pushcfunction(L, explain);
	lua_pushcfunction(L, run);
	lua_pushinteger(L, argc);
	lua_pushlightuserdata(L, argv);
	int code = EXIT_FAILURE;
	bool is_finalized = false;
	if (lua_pcall(L, 2, 2, 1) == LUA_OK) {
		code = (int)lua_tointeger(L, -2);
		is_finalized = lua_toboolean(L, -1);
	} else {
		fprintf(stderr, "keel: %s\n", lua_tostring(L, -1));
	}
	/* Our stores are closed by whoever opened them, and the memory goes with the process; but what a user's code has
	 * made may count on its finalizers. */
	if (is_finalized)
		lua_close(L);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	struct pollfd out = {.fd = STDOUT_FILENO};
	bool is_unread = poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
	if (!is_unread) /* a reader that has seen enough is no news */
		fputs("keel: not all of the output could be written: is the disk full?\n", stderr);
	return EXIT_FAILURE;
}
