/* script.c - reading a policy's file, and telling cheaply whether it is still the same.
 *
 * What is no regular file of at most 16 KiB is never opened: a pipe would block, and closing any descriptor of a
 * store's file would drop this process's locks on it.
 */
#include "sandbox/box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STAMP_SIZE = 160, RACY_NS = 2000000000 };

static int fail(lua_State *L, const char *why)
{
	lua_pushnil(L);
	lua_pushstring(L, why);
	return 2;
}

/* Why a file can be no script; NULL: it can. */
static const char *problem_with(const struct stat *file)
{
	if (!S_ISREG(file->st_mode))
		return "it is not a regular file";
	return file->st_size > SANDBOX_SOURCE_MAX ? "it has more than 16 KiB" : NULL;
}

static void push_stamp(lua_State *L, const struct stat *file)
{
	char stamp[STAMP_SIZE];
	snprintf(stamp, sizeof stamp, "%ju:%ju:%jd:%jd.%09ld:%jd.%09ld", (uintmax_t)file->st_dev, (uintmax_t)file->st_ino,
			 (intmax_t)file->st_size, (intmax_t)file->st_mtim.tv_sec, file->st_mtim.tv_nsec,
			 (intmax_t)file->st_ctim.tv_sec, file->st_ctim.tv_nsec);
	lua_pushstring(L, stamp);
}

/* script_stamp(path): a text that is another one when the file is. Raises for wrong types.
 * Returns the stamp; or nil and why there is none. */
static int script_stamp(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat file;
	if (stat(path, &file) != 0)
		return fail(L, strerror(errno));
	push_stamp(L, &file);
	return 1;
}

static int read_open(lua_State *L, int descriptor)
{
	static const char too_long[] = "it has more than 16 KiB";
	char text[SANDBOX_SOURCE_MAX + 1];
	struct stat before, after;
	size_t size = 0;
	ssize_t got;
	if (fstat(descriptor, &before) != 0)
		return fail(L, strerror(errno));
	const char *problem = problem_with(&before);
	if (problem)
		return fail(L, problem);
	while ((got = read(descriptor, text + size, sizeof text - size)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(L, strerror(errno));
		size += (size_t)got;
		if (size > SANDBOX_SOURCE_MAX)
			return fail(L, too_long);
	}
	struct timespec now;
	if (fstat(descriptor, &after) != 0 || clock_gettime(CLOCK_REALTIME, &now) != 0)
		return fail(L, strerror(errno));
	lua_pushlstring(L, text, size);
	push_stamp(L, &before);
	/* A file's clock ticks in milliseconds at best: a change right after this one may leave the same stamp. */
	int64_t age = ((int64_t)now.tv_sec - after.st_ctim.tv_sec) * 1000000000 + now.tv_nsec - after.st_ctim.tv_nsec;
	lua_pushboolean(L, age > RACY_NS && before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
						   before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
	return 3;
}

/* Protected: reading pushes, which may raise, and the descriptor has to be closed. */
static int read_protected(lua_State *L)
{
	return read_open(L, (int)lua_tointeger(L, 1));
}

/* script_read(path): reads a script. Raises for wrong types.
 * Returns its text, its stamp, and whether an equal stamp means an equal text from now on; or nil and why not. */
static int script_read(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat file;
	if (stat(path, &file) != 0)
		return fail(L, strerror(errno));
	const char *problem = problem_with(&file);
	if (problem)
		return fail(L, problem);
	lua_settop(L, 1);
	lua_pushcfunction(L, read_protected);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return fail(L, strerror(errno));
	lua_pushinteger(L, descriptor);
	int status = lua_pcall(L, 1, LUA_MULTRET, 0);
	close(descriptor);
	return status == LUA_OK ? lua_gettop(L) - 1 : lua_error(L);
}

void keel_lua_script_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"script_stamp", script_stamp}, {"script_read", script_read}, {NULL, NULL}};
	luaL_setfuncs(L, functions, 0);
}
