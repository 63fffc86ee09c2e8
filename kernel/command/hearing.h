/* hearing.h - the signals that keel exec hears: when it looks, and if it cannot look, all the same. Uses: guard.
 *
 * Signals are blocked and read from a descriptor, so that nothing is interrupted half-way, and none is lost between
 * looking and waiting. Those that were ignored when we were started (nohup) stay ignored. A timer looks whether one
 * waits in vain, as while a call of the store is stuck: it is passed on to the command if one runs, and else ends us.
 */
#ifndef KEEL_COMMAND_HEARING_H
#define KEEL_COMMAND_HEARING_H

#include <signal.h>
#include <stdbool.h>

#include "guard.h"

struct hearing {
	int descriptor; /* -1: closed */
	sigset_t before;
	struct sigaction child, file_size, alarm; /* how we were started to treat SIGCHLD, SIGXFSZ and SIGALRM */
};

struct heard {
	int number;       /* 0: none */
	bool is_keyboard; /* our whole process group got it from the terminal */
	bool is_passed;   /* it was passed on already */
};

/* Returns 0 or an errno. One at a time in a process. */
int hearing_open(struct hearing *hearing);

/* Starts the timer; `guard` is whom signals are passed on to. */
void hearing_attend(const struct guard *guard);

/* The next signal. */
struct heard hearing_next(struct hearing *hearing);

/* Drops what came too late, and lets signals through again. */
void hearing_close(struct hearing *hearing);

#endif
