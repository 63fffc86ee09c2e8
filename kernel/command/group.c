/* group.c - one command in a process group of its own. Uses: Linux. */
#include "group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- The guardian ------------------------------------------------------------------------------------------------ */

/* Deaf to all signals but SIGKILL and SIGSTOP: those for the command go to the whole group. */
_Noreturn static void guard(int lifeline)
{
	sigset_t all;
	char byte;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setpgid(0, 0);
	dup2(lifeline, 0); /* it must hold no pipe open that somebody reads to the end */
	if (close_range(1, ~0U, 0) != 0)
		for (int fd = 1; fd < 1024; fd++)
			close(fd);
	while (read(0, &byte, 1) < 0 && errno == EINTR)
		;
	kill(0, SIGKILL);
	_exit(0);
}

int group_open(struct group *group, const sigset_t *before)
{
	int ends[2];
	*group = (struct group){.lifeline = -1, .terminal = -1, .before = *before};
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0)
		return errno;
	pid_t child = fork();
	if (child == 0)
		guard(ends[0]);
	int failure = errno;
	close(ends[0]);
	if (child < 0) {
		close(ends[1]);
		return failure;
	}
	setpgid(child, child); /* both do it: whoever comes second finds it done */
	group->leader = child;
	group->lifeline = ends[1];
	return 0;
}

/* --- The command ------------------------------------------------------------------------------------------------- */

int group_start(struct group *group, char *const command[], const int output[2])
{
	volatile int failure = 0; /* the child shares our memory until it is the command */
	pid_t self = getpid();
	pid_t child = vfork();
	if (child == 0) {
		bool ready = setpgid(0, group->leader) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
		if (getppid() != self) /* we were killed before it could be told */
			_exit(1);
		for (int i = 0; ready && i < 2; i++)
			ready = output[i] < 0 || dup2(output[i], i + 1) >= 0;
		if (ready && sigprocmask(SIG_SETMASK, &group->before, NULL) == 0)
			execvp(command[0], command);
		failure = errno;
		_exit(127);
	}
	if (child < 0)
		return errno;
	if (failure) {
		waitpid(child, NULL, 0);
		return failure;
	}
	group->command = child;
	return 0;
}

/* --- Job control ------------------------------------------------------------------------------------------------- */

/* The command has stopped. In a background group it is, for the terminal, so that signals from the keyboard reach us
 * first; it gets the terminal when it asks for it. */
static void on_stop(struct group *group, int number)
{
	bool wants = number == SIGTTIN || number == SIGTTOU;
	if (!wants && number != SIGTSTP)
		return; /* somebody's SIGSTOP: he will know when to go on */
	if (group->terminal < 0)
		group->terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (group->terminal < 0)
		return;
	if (!wants || tcgetpgrp(group->terminal) != getpgrp()) {
		if (group->lent)
			tcsetpgrp(group->terminal, getpgrp());
		raise(SIGSTOP); /* so that our shell sees the job stop; here it goes on */
		if (!wants && !group->lent) {
			group_signal(group, SIGCONT);
			return;
		}
	}
	if (tcgetpgrp(group->terminal) == getpgrp())
		group->lent = tcsetpgrp(group->terminal, group->leader) == 0;
	group_signal(group, SIGCONT);
}

void group_look(struct group *group)
{
	siginfo_t info;
	/* The guardian is never reaped here, whatever has become of it: its number has to stay ours. */
	while (info.si_pid = 0, waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		bool guardian = info.si_pid == group->leader;
		pid_t pid = guardian ? group->command : info.si_pid;
		int status;
		if (pid == 0 || waitpid(pid, &status, WUNTRACED | WNOHANG) <= 0)
			return;
		if (pid != group->command)
			continue;
		if (WIFSTOPPED(status)) {
			on_stop(group, WSTOPSIG(status));
		} else {
			group->ended = true;
			group->status = status;
			group->command = 0;
		}
	}
}

bool group_has_others(const struct group *group)
{
	char path[64];
	long pid;
	bool found = false;
	snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fscanf(file, "%ld", &pid) == 1)
		/* What has ended is reaped: group_look gets no further than the guardian when somebody has killed that. */
		found = pid != group->leader && pid != group->command && waitpid((pid_t)pid, NULL, WNOHANG) == 0 &&
				getpgid((pid_t)pid) == group->leader;
	fclose(file);
	return found;
}

void group_signal(const struct group *group, int number)
{
	if (group->leader)
		kill(-group->leader, number);
}

void group_close(struct group *group)
{
	if (!group->leader)
		return;
	kill(-group->leader, SIGKILL);
	while (waitpid(group->leader, NULL, 0) < 0 && errno == EINTR)
		;
	if (group->command)
		while (waitpid(group->command, NULL, 0) < 0 && errno == EINTR)
			;
	if (group->terminal >= 0) {
		if (group->lent)
			tcsetpgrp(group->terminal, getpgrp());
		close(group->terminal);
	}
	close(group->lifeline);
	group->leader = group->command = 0;
}
