/* terminal.h - job control as a plain command under a shell has it. Uses: nothing. */
#ifndef KEEL_COMMAND_TERMINAL_H
#define KEEL_COMMAND_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
	int fd; /* /dev/tty; -1: there is none */
	bool is_saved;
	struct termios modes;
};

/* Remembers the terminal's modes if it is ours at the moment. */
void terminal_open(struct terminal *terminal);

/* Whether our process group is in the foreground. */
bool terminal_is_ours(const struct terminal *terminal);

/* Sets the modes as they were, if it is ours. */
void terminal_restore(const struct terminal *terminal);

void terminal_close(struct terminal *terminal);

/* Has us stopped by a signal that is blocked, as the system would have done; returns when we go on. In a process group
 * that nobody could continue (an orphaned one) the system ignores SIGTSTP, SIGTTIN and SIGTTOU, and so it returns at
 * once. */
void terminal_stop(int number);

#endif
