/* detach.c - keel.command for Lua: a process in the background, which says when it has got so far. Uses: command.h. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>

enum { TOLD_FD = 3, TOLD_MAX = 64 * 1024 };

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, 0};

/* In the child: nothing of the login's is left, neither its terminal nor any file. */
static int leave_login(int told)
{
	if (setsid() < 0)
		return errno;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return errno;
	if (told != TOLD_FD && dup2(told, TOLD_FD) < 0)
		return errno;
	if (close_range(TOLD_FD + 1, ~0U, 0) != 0)
		for (int fd = TOLD_FD + 1; fd < 1024; fd++)
			close(fd);
	return fcntl(TOLD_FD, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

/* command.detach(): forks a process with a session of its own, without terminal, standard input, output and errors, and
 * without any descriptor of ours. There it returns "child" and a descriptor for `tell`; here "parent", a descriptor and
 * a process for `told`. Fails with the system's text. */
static int detach(lua_State *L)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return command_fail(L, errno);
	fflush(NULL);
	pid_t child = fork();
	if (child < 0) {
		int failure = errno;
		close(ends[0]);
		close(ends[1]);
		return command_fail(L, failure);
	}
	if (child == 0) {
		int failure = leave_login(ends[1]);
		if (failure)
			return command_fail(L, failure);
		lua_pushliteral(L, "child");
		lua_pushinteger(L, TOLD_FD);
		return 2;
	}
	close(ends[1]);
	lua_pushliteral(L, "parent");
	lua_pushinteger(L, ends[0]);
	lua_pushinteger(L, child);
	return 3;
}

/* Passes signals on that came meanwhile. */
static void pass_signals(int heard, pid_t child)
{
	struct signalfd_siginfo info;
	while (read(heard, &info, sizeof info) == sizeof info)
		kill(child, (int)info.ssi_signo);
}

/* Reads the answer, a line: a guardian may have the other end, too. Signals that would end us are the child's until
 * then. */
static void hear_answer(luaL_Buffer *text, int told, int heard, pid_t child)
{
	size_t size = 0;
	for (;;) {
		struct pollfd descriptors[2] = {{.fd = told, .events = POLLIN}, {.fd = heard, .events = POLLIN}};
		if (poll(descriptors, 2, -1) < 0 && errno != EINTR)
			return;
		if (descriptors[1].revents)
			pass_signals(heard, child);
		if (!descriptors[0].revents)
			continue;
		char *room = luaL_prepbuffer(text);
		ssize_t got = read(told, room, LUAL_BUFFERSIZE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || (size += (size_t)got) > TOLD_MAX)
			return;
		luaL_addsize(text, (size_t)got);
		if (room[got - 1] == '\n')
			return;
	}
}

/* The exit code of the child as a shell has it, once it has ended. */
static int wait_for_end(pid_t child)
{
	int status = 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* command.told(descriptor, process): waits for what the child tells, and passes HUP, INT, QUIT and TERM on to it until
 * then. Returns the line; or an empty one and the exit code, when it has ended before. */
static int told(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1);
	pid_t child = (pid_t)luaL_checkinteger(L, 2);
	luaL_Buffer text;
	sigset_t set, before;
	lua_Integer code = 0;
	sigemptyset(&set);
	for (const int *number = passed_on; *number; number++)
		sigaddset(&set, *number);
	sigprocmask(SIG_BLOCK, &set, &before);
	int heard = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	luaL_buffinit(L, &text);
	hear_answer(&text, fd, heard, child);
	luaL_pushresult(&text);
	close(fd);
	if (heard >= 0) {
		pass_signals(heard, child);
		close(heard);
	}
	if (lua_rawlen(L, -1) == 0)
		code = wait_for_end(child);
	sigprocmask(SIG_SETMASK, &before, NULL);
	lua_pushinteger(L, code);
	return 2;
}

static const luaL_Reg functions[] = {
	{"detach", detach},
	{"told", told},
	{NULL, NULL},
};

void command_add_detach(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
