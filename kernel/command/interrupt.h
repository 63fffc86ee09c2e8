/* interrupt.h - Ctrl-C while Lua runs: it ends what runs, and the program goes on. */
#ifndef KEEL_HOST_INTERRUPT_H
#define KEEL_HOST_INTERRUPT_H

#include <stdbool.h>

/* Whether Ctrl-C was pressed since the last host.begin(). */
bool interrupt_is_pending(void);

#endif
