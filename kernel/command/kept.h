/* kept.h - what a command says, kept in files: one that grows, or a beginning and an end of bounded size.
 * Uses: nothing.
 *
 * Bounded, the file at `path` has the beginning, and the files `path.1`, `path.2`, … the parts that follow it, each as
 * long as the beginning may be. Only the newest two parts are kept, so the last part's worth of bytes is always there.
 * Nothing is ever renamed or cut: who reads a part reads it to its end, and sees by the numbers what was left out.
 */
#ifndef KEEL_COMMAND_KEPT_H
#define KEEL_COMMAND_KEPT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct kept {
	int file;               /* -1: nothing to keep any more */
	int failure;            /* the errno that keeping failed with */
	size_t part_size, size; /* of a part, 0: no bound; of the file that is written */
	unsigned part;          /* its number; 0: the beginning */
	bool takes_errors;      /* our standard error goes along with it */
	char path[PATH_MAX];    /* the beginning's */
};

/* Opens the file, 0600, or the newest part there is, to append to it. With `takes_errors` our standard error is written
 * there, too, from now on. Returns 0 or an errno. */
int kept_open(struct kept *kept, const char *path, size_t part_size, bool takes_errors);

/* Appends. A file that cannot be written (a full disk) is given up. */
void kept_write(struct kept *kept, const char *data, size_t size);

void kept_close(struct kept *kept);

#endif
