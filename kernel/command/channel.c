/* channel.c - keel.command for Lua: lines between processes, and descriptors that are passed on. Uses: command.h. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
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

/* A byte, and the descriptor that came with it, if one did. As recv. */
static ssize_t receive(int from, char *byte, int *descriptor, int flags)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t got;
	do
		got = recvmsg(from, &message, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (*descriptor >= 0)
			close(*descriptor);
		memcpy(descriptor, CMSG_DATA(header), sizeof(int));
	}
	return got;
}

/* command.hear(socket, waits): a line that somebody has told, without its end, and the descriptor that was passed with
 * it, or nil; nil and whether he is gone, when there is no line yet. With `waits` it waits for one, and keeps the
 * socket from those we start. */
static int hear(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1), descriptor = -1;
	bool waits = lua_toboolean(L, 2);
	luaL_Buffer text;
	if (waits)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	luaL_buffinit(L, &text);
	for (;;) {
		char byte;
		ssize_t got = receive(fd, &byte, &descriptor, waits ? 0 : MSG_DONTWAIT);
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
	if (descriptor < 0)
		return 1;
	lua_pushinteger(L, descriptor);
	return 2;
}

/* command.pass(socket, line, descriptor): tells a line, with a newline at its end, and passes the descriptor with it.
 * Returns true. Fails with the system's text. */
static int pass(lua_State *L)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	size_t size;
	int to = (int)luaL_checkinteger(L, 1), descriptor = (int)luaL_checkinteger(L, 3);
	const char *text = luaL_checklstring(L, 2, &size);
	struct iovec part = {(void *)(uintptr_t)text, size};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	memset(&control, 0, sizeof control);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
	if (sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
		return command_fail(L, errno);
	lua_pushboolean(L, true);
	return 1;
}

static const luaL_Reg functions[] = {
	{"tell", tell},
	{"hear", hear},
	{"pass", pass},
	{NULL, NULL},
};

void command_add_channels(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
