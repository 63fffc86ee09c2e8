/* keys.h - what comes from the terminal while libedit edits a line: characters, signals, text that is pasted. */
#ifndef KEEL_COMMAND_KEYS_H
#define KEEL_COMMAND_KEYS_H

#include <signal.h>
#include <stdbool.h>

#include <histedit.h>

enum { KEYS_SIGNALS = 6 };

struct keys {
	int margin;      /* columns of the prompt in front of the line */
	int columns;     /* of the terminal for which the line was drawn */
	bool is_pasting; /* what comes was not typed: a tab in it is a tab */
	struct sigaction before[KEYS_SIGNALS];
	sigset_t mask;
};

/* Makes an editor read through here. The editor's EL_CLIENTDATA begins with a struct keys. */
void keys_bind(EditLine *editor);

/* Around each el_gets: signals are heard in between, and only while it waits for a key, so that the terminal is always
 * put back before anything is done about one. */
void keys_begin(struct keys *keys, int margin);

/* Returns the signal that is to end the program, or 0. */
int keys_end(struct keys *keys);

#endif
