/* feed.c - keel.command for Lua: a shell's command that reads a text. Uses: command.h. */
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>

/* A file without a name that has the text, to be read from its beginning; -1 and errno. */
static int file_with(const char *text, size_t size)
{
	int fd = memfd_create("keel", MFD_CLOEXEC);
	while (fd >= 0 && size > 0) {
		ssize_t written = write(fd, text, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0) {
			int failure = errno;
			close(fd);
			errno = failure;
			return -1;
		}
		text += written;
		size -= (size_t)written;
	}
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Starts the shell; `input` is its standard input. Returns 0 or an errno. */
static int start_shell(const char *command, int input, pid_t *child)
{
	extern char **environ;
	char *const words[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command, NULL};
	posix_spawn_file_actions_t actions;
	int failure = posix_spawn_file_actions_init(&actions);
	if (failure)
		return failure;
	failure = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	if (!failure)
		failure = posix_spawn(child, "/bin/sh", &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	return failure;
}

/* command.feed(command, text): has the shell run the command, with the text as its standard input, which need not be
 * read; waits for its end. Returns its exit code, as a shell has it. Fails with the system's text. */
static int feed(lua_State *L)
{
	size_t size;
	const char *command = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &size);
	pid_t child;
	int status = 0;
	int input = file_with(text, size);
	if (input < 0)
		return command_fail(L, errno);
	/* Inherited as ignored, children could not be waited for. */
	struct sigaction before, usual = {.sa_handler = SIG_DFL};
	sigaction(SIGCHLD, &usual, &before);
	int failure = start_shell(command, input, &child);
	close(input);
	while (!failure && waitpid(child, &status, 0) < 0)
		failure = errno == EINTR ? 0 : errno;
	sigaction(SIGCHLD, &before, NULL);
	if (failure)
		return command_fail(L, failure);
	lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 1;
}

void command_add_feeding(lua_State *L)
{
	lua_pushcfunction(L, feed);
	lua_setfield(L, -2, "feed");
}
