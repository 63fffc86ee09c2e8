/* becoming.h - the last steps of a process before it is the command. Uses: guardian.h. */
#ifndef KEEL_COMMAND_BECOMING_H
#define KEEL_COMMAND_BECOMING_H

#include "guardian.h"

/* Runs in the fork: waits for the start, and becomes the command. Tells keel why it could not. */
_Noreturn void become_command(const struct guardian_start *start, pid_t guardian);

#endif
