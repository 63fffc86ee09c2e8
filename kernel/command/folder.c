/* folder.c - keel.command for Lua: folders and files that are the user's own. Uses: command.h. */
#include "command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

/* command.make_own_directory(path): makes a directory, 0700. Returns true, also when there is one, if it is a directory
 * and no link to one, the user's own, and nobody else may write to it. */
static int make_own_directory(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat about;
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return command_fail(L, errno);
	if (lstat(path, &about) != 0)
		return command_fail(L, errno);
	if (!S_ISDIR(about.st_mode))
		return command_fail(L, ENOTDIR);
	if (about.st_uid != geteuid() || (about.st_mode & (S_IWGRP | S_IWOTH)))
		return command_fail(L, EPERM);
	lua_pushboolean(L, 1);
	return 1;
}

/* command.entries(path): the names in a directory, in no order, without those that begin with a dot. Fails with the
 * system's text and number. */
static int entries(lua_State *L)
{
	DIR *directory = opendir(luaL_checkstring(L, 1));
	lua_Integer count = 0;
	if (!directory)
		return command_fail(L, errno);
	lua_newtable(L);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_name[0] != '.') {
			lua_pushstring(L, entry->d_name);
			lua_rawseti(L, -2, ++count);
		}
	closedir(directory);
	return 1;
}

/* command.remove_directory(path): removes a directory and the files in it; one that has directories in it stays, and so
 * does what a link leads to. Returns true. Fails with the system's text. */
static int remove_directory(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return command_fail(L, errno);
	DIR *directory = fdopendir(fd);
	if (!directory) {
		int failure = errno;
		close(fd);
		return command_fail(L, failure);
	}
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(fd, entry->d_name, 0); /* what stays keeps the directory: that is told */
	closedir(directory);
	if (rmdir(path) != 0)
		return command_fail(L, errno);
	lua_pushboolean(L, 1);
	return 1;
}

static int close_file(lua_State *L)
{
	luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
	return luaL_fileresult(L, fclose(stream->f) == 0, NULL);
}

/* A file of Lua's io on the stack, without its descriptor yet. */
static luaL_Stream *new_stream(lua_State *L)
{
	luaL_Stream *stream = lua_newuserdatauv(L, sizeof *stream, 0);
	stream->closef = NULL;
	luaL_setmetatable(L, LUA_FILEHANDLE);
	return stream;
}

/* Gives it the descriptor, or closes that. Returns 0, or an errno: then `failure`, if that is one. */
static int take_descriptor(luaL_Stream *stream, int fd, const char *how, int failure)
{
	stream->f = failure ? NULL : fdopen(fd, how);
	if (stream->f) {
		stream->closef = close_file;
		return 0;
	}
	failure = failure ? failure : errno;
	if (fd >= 0)
		close(fd);
	return failure;
}

/* command.open_file(path): a plain file, to be read; whatever else is there is neither waited for nor touched. Returns
 * a file of Lua's io, and the number of the user that it belongs to. Fails with the system's text and number. */
static int open_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat about;
	luaL_Stream *stream = new_stream(L);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int failure = fd < 0 || fstat(fd, &about) != 0 ? errno : S_ISREG(about.st_mode) ? 0 : EINVAL;
	failure = take_descriptor(stream, fd, "r", failure);
	if (failure)
		return command_fail(L, failure);
	lua_pushinteger(L, about.st_uid);
	return 2;
}

/* command.create_file(path, mode): makes a file with these permissions, whatever the umask is, to be written; one that
 * is there, or a link, is not touched. Returns a file of Lua's io. Fails with the system's text and number. */
static int create_file(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	mode_t mode = (mode_t)luaL_checkinteger(L, 2) & 0777;
	luaL_Stream *stream = new_stream(L);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int failure = fd < 0 || fchmod(fd, mode) != 0 ? errno : 0;
	failure = take_descriptor(stream, fd, "w", failure);
	if (failure)
		return command_fail(L, failure);
	return 1;
}

static const luaL_Reg functions[] = {
	{"make_own_directory", make_own_directory},
	{"entries", entries},
	{"remove_directory", remove_directory},
	{"open_file", open_file},
	{"create_file", create_file},
	{NULL, NULL},
};

void command_add_folders(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
