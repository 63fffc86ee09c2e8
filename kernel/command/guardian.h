/* guardian.h - the process that stands between keel and a command, and what the two tell each other. Uses: family.
 *
 *   keel ── guardian ── command ── what it starts
 *
 * The guardian is the command's parent and the reaper of all its descendants (PR_SET_CHILD_SUBREAPER). So it knows them
 * all, whatever groups and sessions they make; so keel's death, even by SIGKILL, leaves somebody who ends them and who
 * waits for those it may not signal. Until then it holds the session's lock (ORDER_HOLD): the run counts as owned for
 * as long as anything of the command is there.
 *
 * It has a session of its own, without a terminal: whoever stops or kills keel's group or session misses it, and a
 * group is orphaned with it exactly when it would be without it, so that Ctrl-Z does what it does to a plain command.
 * The command stays in keel's group and session: it has the terminal whenever keel has it. It is made before the
 * guardian leaves that session; so each attempt has a guardian of its own.
 */
#ifndef KEEL_COMMAND_GUARDIAN_H
#define KEEL_COMMAND_GUARDIAN_H

#include <signal.h>
#include <sys/types.h>

#include "family.h"

/* From keel to the guardian: packets. The end of the connection means that keel is gone. */
struct order {
	enum order_kind {
		ORDER_HOLD,  /* a descriptor comes along: keep it open */
		ORDER_START, /* the command; descriptors for its output may come along */
		ORDER_SIGNAL,
		ORDER_LEAVE, /* nothing is to be ended any more: exit, and leave daemons alone */
	} kind;
	int signal;
	enum family_scope scope;
	pid_t spared; /* a process group that is not to be signalled; 0: none */
	int outputs;  /* which descriptors come along: bit 0 for standard output, bit 1 for standard error */
};

/* From the guardian to keel. */
struct report {
	enum report_kind {
		REPORT_FAILED, /* `value` is the errno of `step` */
		REPORT_STOPPED,
		REPORT_CONTINUED,
		REPORT_ENDED,   /* `value` is as waitpid has it */
		REPORT_LEFT,    /* who is still there has changed since */
		REPORT_REFUSED, /* signals were refused */
	} kind;
	int value;
	enum guardian_step {
		STEP_FORK,
		STEP_REAPER,
		STEP_SIGNALS,
		STEP_WAIT,
		STEP_OUTPUT,
		STEP_EXEC,
	} step;
	struct family_count left; /* besides the command: with ENDED, LEFT and REFUSED */
};

/* What a guardian is made of, before the fork. */
struct guardian_start {
	int talk[2];                                       /* [0] is keel's end, [1] the guardian's */
	char *const *command;                              /* of NULL at its end; has to stay */
	const sigset_t *mask;                              /* the command's */
	const struct sigaction *child, *file_size, *alarm; /* how it treats SIGCHLD, SIGXFSZ and SIGALRM */
	pid_t keel;
	int witness; /* a descriptor that stays open until nothing of the command is left; -1: none */
};

/* Runs in the fork. */
_Noreturn void guardian_run(const struct guardian_start *start);

/* Ends the whole family by SIGKILL and returns when nobody is left but strangers' daemons: for who is its reaper. */
void guardian_end_family(struct family *family, int children);

#endif
