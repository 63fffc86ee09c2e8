/* system.c - what the command asks the system: about files, terminals and itself. */
#include "command.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <lauxlib.h>

int command_fail(lua_State *L, int number)
{
	lua_pushnil(L);
	lua_pushstring(L, strerror(number));
	lua_pushinteger(L, number);
	return 3;
}

/* command.make_directory(path): makes a directory, 0700. Returns true, also when there is one. */
static int make_directory(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat about;
	if (mkdir(path, 0700) != 0 && !(errno == EEXIST && stat(path, &about) == 0 && S_ISDIR(about.st_mode)))
		return command_fail(L, errno);
	lua_pushboolean(L, 1);
	return 1;
}

/* command.stat(path): { kind, size, mode, uid, inode, device } of what is there, kind being "file", "directory" or
 * "other", and device as /proc/locks has it; nil and a text when there is nothing. Opens nothing. */
static int stat_path(lua_State *L)
{
	struct stat about;
	if (stat(luaL_checkstring(L, 1), &about) != 0)
		return command_fail(L, errno);
	lua_createtable(L, 0, 6);
	lua_pushstring(L, S_ISREG(about.st_mode) ? "file" : S_ISDIR(about.st_mode) ? "directory" : "other");
	lua_setfield(L, -2, "kind");
	lua_pushinteger(L, about.st_size);
	lua_setfield(L, -2, "size");
	lua_pushinteger(L, about.st_mode & 07777);
	lua_setfield(L, -2, "mode");
	lua_pushinteger(L, about.st_uid);
	lua_setfield(L, -2, "uid");
	lua_pushinteger(L, (lua_Integer)about.st_ino);
	lua_setfield(L, -2, "inode");
	char device[32];
	snprintf(device, sizeof device, "%02x:%02x", major(about.st_dev), minor(about.st_dev));
	lua_pushstring(L, device);
	lua_setfield(L, -2, "device");
	return 1;
}

/* command.space(path): bytes that are free where the path is, and whether the file system is known to be another
 * machine's, on which a store does not work. */
static int space(lua_State *L)
{
	static const unsigned long remote[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */,
										   0x01021997 /* 9P */, 0};
	struct statfs about;
	int is_remote = 0;
	if (statfs(luaL_checkstring(L, 1), &about) != 0)
		return command_fail(L, errno);
	for (const unsigned long *type = remote; *type; type++)
		is_remote |= ((unsigned long)about.f_type & 0xffffffff) == *type;
	lua_pushinteger(L, (lua_Integer)about.f_bavail * (lua_Integer)about.f_bsize);
	lua_pushboolean(L, is_remote);
	return 2;
}

/* command.directory(): where we are. */
static int directory(lua_State *L)
{
	char path[PATH_MAX];
	if (!getcwd(path, sizeof path))
		return command_fail(L, errno);
	lua_pushstring(L, path);
	return 1;
}

/* command.last_directory(): where we are, or were before somebody removed it; nil when the system does not tell. */
static int last_directory(lua_State *L)
{
	static const char gone[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t size = readlink("/proc/self/cwd", path, sizeof path);
	size_t end = sizeof gone - 1;
	if (size <= 0 || path[0] != '/')
		return 0;
	if ((size_t)size > end && memcmp(path + size - end, gone, end) == 0)
		size -= (ssize_t)end;
	lua_pushlstring(L, path, (size_t)size);
	return 1;
}

/* command.change_directory(path) */
static int change_directory(lua_State *L)
{
	if (chdir(luaL_checkstring(L, 1)) != 0)
		return command_fail(L, errno);
	lua_pushboolean(L, 1);
	return 1;
}

/* command.set_environment(name, value): for this process and those it starts. */
static int set_environment(lua_State *L)
{
	if (setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1) != 0)
		return command_fail(L, errno);
	return 0;
}

/* command.is_terminal(fd) */
static int is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* command.is_broken(fd): whether nobody reads any more what is written there. */
static int is_broken(lua_State *L)
{
	struct pollfd pipe = {.fd = (int)luaL_checkinteger(L, 1)};
	lua_pushboolean(L, poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR));
	return 1;
}

/* command.size(): columns and rows of the terminal on standard output; nil when it is none. */
static int size(lua_State *L)
{
	struct winsize window;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0)
		return 0;
	lua_pushinteger(L, window.ws_col);
	lua_pushinteger(L, window.ws_row);
	return 2;
}

/* command.user_id(): of the user we work for. */
static int user_id(lua_State *L)
{
	lua_pushinteger(L, geteuid());
	return 1;
}

/* command.die_of(number): ends us as that signal does, so that who started us hears of it: a shell that runs a script
 * stops it after SIGINT. */
static int die_of(lua_State *L)
{
	int number = (int)luaL_checkinteger(L, 1);
	signal(number, SIG_DFL);
	raise(number);
	return 0;
}

static const luaL_Reg functions[] = {
	{"make_directory", make_directory},
	{"stat", stat_path},
	{"space", space},
	{"directory", directory},
	{"last_directory", last_directory},
	{"change_directory", change_directory},
	{"set_environment", set_environment},
	{"is_terminal", is_terminal},
	{"is_broken", is_broken},
	{"size", size},
	{"user_id", user_id},
	{"die_of", die_of},
	{NULL, NULL},
};

void command_add_system(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
