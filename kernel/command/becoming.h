/* becoming.h - the last steps of a process before it is the command. Uses: guardian.h. */
#ifndef KEEL_COMMAND_BECOMING_H
#define KEEL_COMMAND_BECOMING_H

#include "guardian.h"

/* What could not be done. */
struct obstacle {
	enum guardian_step step;
	int failure; /* an errno; 0: nothing */
};

/* Runs in a child by vfork: becomes the command. `outputs` are descriptors for its standard output and error, -1: those
 * that are there. */
_Noreturn void become_command(const struct guardian_start *start, pid_t guardian, const int outputs[2],
							  struct obstacle *obstacle);

#endif
