/* guard.h - keel's side of a command: it is started, signalled and heard of through its guardian. Uses: guardian. */
#ifndef KEEL_COMMAND_GUARD_H
#define KEEL_COMMAND_GUARD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "guardian.h"

struct guard {
	pid_t guardian; /* 0: closed, or gone */
	struct guardian_start *start;
	int talk;
	int held;        /* what guardians are to keep open; -1: nothing */
	bool is_fresh;   /* no command was started yet */
	bool runs;       /* the command was started, and its end not heard of */
	bool ended;      /* it was heard of */
	bool is_lost;    /* somebody has killed the guardian, and with it the command */
	bool is_stopped; /* the command, as far as is known */
	int status;      /* of the end, as waitpid has it */
	int refusal;     /* the errno that signals were refused with; 0: they were not */
	int failure;     /* the errno of `step`; 0: nothing has failed */
	enum guardian_step step;
	struct family_count left; /* after the end: who is there besides */
};

/* Forks the guardian: early, when there is little to copy and no store is open. `start` needs no more than command,
 * mask and the signals' treatment, and has to stay. Returns 0 or an errno. */
int guard_open(struct guard *guard, struct guardian_start *start);

/* Has it and its successors keep a descriptor open for as long as anything of the command is there. Returns 0 or an
 * errno. */
int guard_hold(struct guard *guard, int descriptor);

/* Starts the command; `output` are descriptors for its standard output and error, -1: ours. One at a time. Whether it
 * could be run is heard of with its end. Returns 0 or an errno. */
int guard_start(struct guard *guard, const int output[2]);

/* Takes note of what the guardian has to say. Does not wait. */
void guard_hear(struct guard *guard);

/* Has the guardian signal the command and its family. Safe in a signal handler. */
void guard_signal(const struct guard *guard, int signal, enum family_scope scope, pid_t spared);

/* Lets the guardian go: no command runs, or will. Daemons are left alone. */
void guard_leave(struct guard *guard);

/* Ends what is there by SIGKILL, unless guard_leave was called, and waits for the guardian. Twice is fine. */
void guard_close(struct guard *guard);

/* What a step is called in a message. */
const char *guard_step_name(enum guardian_step step);

#endif
