/* becoming.c - the last steps of a process before it is the command. Uses: guardian.h.
 *
 * It is forked early, while keel opens the store, so that nothing but exec is left to do when the run has started.
 */
#include "becoming.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Noreturn void fail(const struct guardian_start *start, enum guardian_step step, int failure)
{
	struct report report;
	memset(&report, 0, sizeof report);
	report.kind = REPORT_FAILED;
	report.step = step;
	report.value = failure;
	send(start->starter[1], &report, sizeof report, MSG_NOSIGNAL);
	_exit(127);
}

/* Waits for the start; `outputs` are the descriptors that came with it, -1: inherited. Ends when keel has gone. */
static void wait_for_start(const struct guardian_start *start, int outputs[2])
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct start order;
	int given[2] = {-1, -1}, next = 0;
	struct iovec part = {&order, sizeof order};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t got;
	do
		got = recvmsg(start->starter[1], &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got != sizeof order)
		_exit(127);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	size_t size = header ? header->cmsg_len - CMSG_LEN(0) : 0;
	if (header && size <= sizeof given)
		memcpy(given, CMSG_DATA(header), size);
	for (int i = 0; i < 2; i++) {
		bool is_given = order.outputs & 1 << i && (size_t)next < size / sizeof(int);
		outputs[i] = is_given ? given[next++] : -1;
	}
}

/* What systemd passes on to one process by its number: if it was for keel, it is for the command. */
static void take_over(const char *name, pid_t keel)
{
	char number[32];
	const char *value = getenv(name);
	if (value && strtol(value, NULL, 10) == (long)keel) {
		snprintf(number, sizeof number, "%ld", (long)getpid());
		setenv(name, number, 1);
	}
}

/* The same with the number of the process's descriptor beside it, which may not be known. */
static void take_over_sockets(pid_t keel)
{
	char number[32];
	struct stat about;
	const char *value = getenv("LISTEN_PID");
	if (!value || strtol(value, NULL, 10) != (long)keel)
		return;
	take_over("LISTEN_PID", keel);
	if (!getenv("LISTEN_PIDFDID"))
		return;
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (fd >= 0 && fstat(fd, &about) == 0) {
		snprintf(number, sizeof number, "%llu", (unsigned long long)about.st_ino);
		setenv("LISTEN_PIDFDID", number, 1);
	} else {
		unsetenv("LISTEN_PIDFDID");
	}
	if (fd >= 0)
		close(fd);
}

_Noreturn void become_command(const struct guardian_start *start, pid_t guardian)
{
	int outputs[2];
	/* A signal that comes before exec must not be treated as keel treats it. */
	for (int number = 1; number < 32; number++) {
		struct sigaction how;
		if (sigaction(number, NULL, &how) == 0 && how.sa_handler != SIG_IGN && how.sa_handler != SIG_DFL)
			signal(number, SIG_DFL);
	}
	sigaction(SIGCHLD, start->child, NULL);
	if (start->file_size->sa_handler == SIG_IGN)
		signal(SIGXFSZ, SIG_IGN);
	if (start->alarm->sa_handler == SIG_IGN)
		signal(SIGALRM, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		fail(start, STEP_REAPER, errno);
	if (getppid() != guardian)
		_exit(127);
	take_over_sockets(start->keel);
	take_over("WATCHDOG_PID", start->keel);
	wait_for_start(start, outputs);
	for (int i = 0; i < 2; i++)
		if (outputs[i] >= 0 && dup2(outputs[i], i + 1) < 0)
			fail(start, STEP_OUTPUT, errno);
	if (sigprocmask(SIG_SETMASK, start->mask, NULL) != 0)
		fail(start, STEP_SIGNALS, errno);
	execvp(start->command[0], start->command);
	fail(start, STEP_EXEC, errno);
}
