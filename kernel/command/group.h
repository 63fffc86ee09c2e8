/* group.h - one command in a process group of its own, and the guardian that sees to it that nothing of it is left.
 *
 * The group is led by a guardian, a child that does nothing but wait for our end. So the group's number belongs to us
 * for as long as we have not reaped the guardian: a signal to it never reaches a stranger. When we are killed, the
 * guardian reads the end of a pipe and kills its group, itself included; the command is told by PR_SET_PDEATHSIG too.
 *
 *   keel ─┬─ guardian    leads the group, waits for keel's end
 *         └─ command ─── what it starts: in the group, unless it leaves it (setsid)
 *
 * What the command leaves behind becomes our child (PR_SET_CHILD_SUBREAPER), so that we can see it.
 */
#ifndef KEEL_HOST_GROUP_H
#define KEEL_HOST_GROUP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct group {
	pid_t leader;    /* the guardian; 0: not open */
	pid_t command;   /* 0: not started */
	int lifeline;    /* a pipe that nobody writes to; the guardian has the other end */
	bool ended;      /* the command has, and was reaped */
	int status;      /* then: as waitpid has it */
	sigset_t before; /* the signal mask that the command gets */
	int terminal;    /* /dev/tty once it was needed; -1 before, or when there is none */
	bool lent;       /* the terminal is the command's */
};

/* Forks the guardian: early, when there is little to copy and no store is open. Returns 0 or an errno. */
int group_open(struct group *group, const sigset_t *before);

/* Starts the command in the group; `output` are descriptors for its standard output and error, -1: ours. Once. Returns
 * 0, or the errno of what failed, exec included. */
int group_start(struct group *group, char *const command[], const int output[2]);

/* Takes note of children that ended. Gives the command the terminal when it stopped for want of it, and stops with it
 * when the user stopped it. */
void group_look(struct group *group);

/* Whether something in the group is there besides guardian and command. Reaps what has ended. */
bool group_has_others(const struct group *group);

/* Sends a signal to all in the group. */
void group_signal(const struct group *group, int number);

/* Kills what is there, and takes the terminal back. Twice is fine. */
void group_close(struct group *group);

#endif
