/* history.c - keel.command for the prompt: a file of lines that several programs may append to at the same time.
 *
 * Each line is written on its own, under a lock, when it is known: a program that is killed loses nothing, and none
 * writes its picture of the file over what others have added. A file that has grown long is shortened in place, under
 * the same lock.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lauxlib.h>

enum { KEPT = 256 * 1024 }; /* bytes; a file twice as long is shortened to it */

/* Keeps the last KEPT bytes of a file, from the beginning of a line on. */
static int shorten(int file, off_t size)
{
	static char kept[KEPT];
	if (size <= 2 * (off_t)KEPT)
		return 0;
	ssize_t got = pread(file, kept, KEPT, size - KEPT);
	if (got < 0)
		return errno;
	const char *from = memchr(kept, '\n', (size_t)got);
	if (!from)
		return ftruncate(file, 0) == 0 ? 0 : errno;
	size_t left = (size_t)(kept + got - ++from);
	if (pwrite(file, from, left, 0) != (ssize_t)left)
		return errno;
	return ftruncate(file, (off_t)left) == 0 ? 0 : errno;
}

static int append(const char *path, const char *line, size_t size)
{
	struct stat about;
	int failure = 0;
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return errno;
	while (flock(file, LOCK_EX) != 0 && errno == EINTR)
		continue;
	if (fstat(file, &about) != 0)
		failure = errno;
	else if (!S_ISREG(about.st_mode))
		failure = EINVAL;
	if (!failure)
		failure = shorten(file, about.st_size);
	if (!failure && (lseek(file, 0, SEEK_END) < 0 || write(file, line, size) != (ssize_t)size))
		failure = errno;
	close(file); /* and with it the lock */
	return failure;
}

/* command.append_line(path, line): adds a line to a file, which is made if need be, 0600. */
static int append_line(lua_State *L)
{
	size_t size;
	const char *path = luaL_checkstring(L, 1);
	luaL_checkstring(L, 2);
	lua_settop(L, 2);
	lua_pushliteral(L, "\n");
	lua_concat(L, 2);
	const char *line = lua_tolstring(L, 2, &size);
	int failure = append(path, line, size);
	if (failure)
		return command_fail(L, failure);
	lua_pushboolean(L, 1);
	return 1;
}

void command_add_history(lua_State *L)
{
	lua_pushcfunction(L, append_line);
	lua_setfield(L, -2, "append_line");
}
