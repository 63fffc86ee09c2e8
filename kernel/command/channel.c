/* channel.c - keel.command for Lua: lines between processes, and descriptors that are passed on. Uses: command.h. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lauxlib.h>

/* command.tell(descriptor, line): gives the parent its answer, with a newline at its end, and lets it go. */
static int tell(lua_State *L)
{
	size_t size;
	int fd = (int)luaL_checkinteger(L, 1);
	const char *text = luaL_checklstring(L, 2, &size);
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	sigaction(SIGPIPE, &ignore, &before); /* the parent may have been killed */
	while (size > 0) {
		ssize_t written = write(fd, text, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			break;
		text += written;
		size -= (size_t)written;
	}
	sigaction(SIGPIPE, &before, NULL);
	close(fd);
	return 0;
}

/* command.hear(descriptor, waits): a line that somebody has told, without its end; nil and whether he is gone, when
 * there is none yet. With `waits` it waits for one, and keeps the descriptor and the next one from those we start. */
static int hear(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1);
	bool waits = lua_toboolean(L, 2);
	luaL_Buffer text;
	if (waits) {
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd + 1, F_SETFD, FD_CLOEXEC);
	}
	luaL_buffinit(L, &text);
	for (;;) {
		char byte;
		ssize_t got = recv(fd, &byte, 1, waits ? 0 : MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got == 1 && byte == '\n')
			break;
		if (got != 1) {
			lua_pushnil(L);
			lua_pushboolean(L, got == 0 || errno != EAGAIN);
			return 2;
		}
		luaL_addchar(&text, byte);
	}
	luaL_pushresult(&text);
	return 1;
}

/* command.duplicate(descriptor): another number for it, which a fork does not close. Fails with the system's text. */
static int duplicate(lua_State *L)
{
	int fd = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return command_fail(L, errno);
	lua_pushinteger(L, fd);
	return 1;
}

/* command.close(descriptor) */
static int close_descriptor(lua_State *L)
{
	close((int)luaL_checkinteger(L, 1));
	return 0;
}

static const luaL_Reg functions[] = {
	{"tell", tell}, {"hear", hear}, {"duplicate", duplicate}, {"close", close_descriptor}, {NULL, NULL},
};

void command_add_channels(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
