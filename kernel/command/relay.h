/* relay.h - what a command says, shown and kept: from a pipe into a file and on to a descriptor of ours. Uses: kept. */
#ifndef KEEL_COMMAND_RELAY_H
#define KEEL_COMMAND_RELAY_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "kept.h"

struct relay {
	int in;      /* the pipe; -1: it has ended */
	int out;     /* ours, not to be closed; -1: nobody is there to see it */
	int unshown; /* the errno that showing failed with, but for a reader that is gone */
	struct kept kept;
	size_t start, size;
	char buffer[64 * 1024];
};

/* Where a relay goes. */
struct relay_course {
	const char *path;  /* the file */
	size_t part_size;  /* as of kept_open */
	bool takes_errors; /* the same */
	int out;           /* a descriptor to show it on; -1: none */
};

/* Makes the file and the pipe; *end is the command's end. Returns 0 or an errno. */
int relay_open(struct relay *relay, const struct relay_course *course, int *end);

/* A relay that is not used: done, and nothing to close. */
void relay_none(struct relay *relay);

/* What to poll for; false when it is done. */
bool relay_wants(const struct relay *relay, struct pollfd *descriptor);

/* Moves what can be moved without blocking. */
void relay_move(struct relay *relay, short ready);

/* Whether something is left to move: to be shown, or to be read at this moment. */
bool relay_is_busy(const struct relay *relay);

/* Shows no more; what is read from now on is only kept. `failure` is why, an errno. */
void relay_blind(struct relay *relay, int failure);

void relay_close(struct relay *relay);

#endif
