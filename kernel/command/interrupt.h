/* interrupt.h - Ctrl-C while Lua runs: it ends what runs, and the program goes on. */
#ifndef KEEL_COMMAND_INTERRUPT_H
#define KEEL_COMMAND_INTERRUPT_H

#include <stdbool.h>

/* Whether Ctrl-C was pressed since the last command.begin(). */
bool interrupt_is_pending(void);

#endif
