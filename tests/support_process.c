/* support_process.c - children that play a role, and the lines they and the test exchange. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 12, LINE_SIZE = 1024 };

struct child start(const char *role, ...)
{
	char self[PATH_MAX] = "";
	char *arguments[ARGUMENTS_MAX + 1] = {self, "--role", (char *)(uintptr_t)role};
	int count = 3, down[2], up[2];
	char *argument;
	va_list rest;
	va_start(rest, role);
	while ((argument = va_arg(rest, char *)) != NULL && count < ARGUMENTS_MAX)
		arguments[count++] = argument;
	va_end(rest);
	/* The name behind the link: valgrind would run itself through the link. */
	assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	assert_int_equal(pipe2(down, O_CLOEXEC), 0);
	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(down[0], STDIN_FILENO);
		dup2(up[1], STDOUT_FILENO);
		execv(arguments[0], arguments);
		_exit(97);
	}
	assert_true(pid > 0);
	close(down[0]);
	close(up[1]);
	signal(SIGPIPE, SIG_IGN); /* a child that has gone is seen by what it does not say */
	return (struct child){pid, down[1], up[0]};
}

void say(struct child *child, const char *line)
{
	char message[LINE_SIZE];
	int size = snprintf(message, sizeof message, "%s\n", line);
	ssize_t written = write(child->to, message, (size_t)size);
	(void)written;
}

/* Byte by byte, so that nothing said later is read too early; false at the end. */
static bool read_line(int fd, char *line, size_t size)
{
	size_t count = 0;
	for (;;) {
		char c;
		ssize_t got = read(fd, &c, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || c == '\n') {
			line[count] = '\0';
			return got > 0 || count > 0;
		}
		if (count + 1 < size)
			line[count++] = c;
	}
}

const char *hear(struct child *child)
{
	static char line[LINE_SIZE];
	read_line(child->from, line, sizeof line);
	return line;
}

void await(struct child *child, const char *line)
{
	assert_string_equal(hear(child), line);
}

static int wait_for(struct child *child)
{
	int status = 0;
	if (child->to >= 0)
		close(child->to);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	close(child->from);
	child->pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void kill_child(struct child *child)
{
	assert_int_equal(kill(child->pid, SIGKILL), 0);
	assert_int_equal(wait_for(child), -1);
}

int finish_child(struct child *child)
{
	close(child->to);
	child->to = -1;
	return wait_for(child);
}

void child_says(const char *format, ...)
{
	char line[LINE_SIZE];
	va_list args;
	va_start(args, format);
	int size = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (size < 0 || size >= (int)sizeof line - 1)
		_exit(96);
	line[size++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t)size) != size) /* in one piece, or the test is no more */
		_exit(95);
}

bool child_hears(char *line, size_t size)
{
	return read_line(STDIN_FILENO, line, size);
}
