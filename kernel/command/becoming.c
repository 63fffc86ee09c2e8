/* becoming.c - the last steps of a process before it is the command. Uses: guardian.h.
 *
 * It shares the memory of the guardian until exec. The guardian waits meanwhile; what changes of the environment is
 * meant for the command, and nothing to it.
 */
#include "becoming.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static _Noreturn void fail(struct obstacle *obstacle, enum guardian_step step)
{
	obstacle->step = step;
	obstacle->failure = errno;
	_exit(127);
}

/* A signal that comes before exec must not be treated as keel treats it. */
static void reset_signals(const struct guardian_start *start)
{
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
}

_Noreturn void become_command(const struct guardian_start *start, pid_t guardian, const int outputs[2],
							  struct obstacle *obstacle)
{
	reset_signals(start);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		fail(obstacle, STEP_REAPER);
	if (getppid() != guardian) /* it was killed before the system could be told */
		_exit(127);
	take_over_sockets(start->keel);
	take_over("WATCHDOG_PID", start->keel);
	for (int i = 0; i < 2; i++)
		if (outputs[i] >= 0 && dup2(outputs[i], i + 1) < 0)
			fail(obstacle, STEP_OUTPUT);
	if (sigprocmask(SIG_SETMASK, start->mask, NULL) != 0)
		fail(obstacle, STEP_SIGNALS);
	execvp(start->command[0], start->command);
	fail(obstacle, STEP_EXEC);
}
