/* family.h - the descendants of this process: counting, signalling and ending them. Uses: nothing.
 *
 * A descendant is signalled only while it is certain whom its number means: a child, because nobody but us can reap it;
 * the others by a descriptor of the process (pidfd), opened before parent and start time are compared once more.
 * Without /proc, only the command itself is known.
 */
#ifndef KEEL_COMMAND_FAMILY_H
#define KEEL_COMMAND_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

/* Whom a signal is for. "Near" is who is in the caller's session or in one that the command itself made; the rest has
 * left for a session of its own, as daemons do. */
struct family {
	pid_t command;     /* 0: there is none, or it was reaped */
	pid_t sessions[2]; /* the near ones: the caller's, and the command's number */
};

enum family_scope {
	FAMILY_NEAR,
	FAMILY_ALL,
};

struct family_count {
	int near, all;    /* who is there */
	int refused_near; /* of them, those that may not be signalled (another user's, by a set-user-id program) */
	int refused_all;
	int refusal; /* the errno of the last one */
};

/* Counts. Returns an errno. */
int family_look(const struct family *family, struct family_count *count);

/* Sends a signal to those in the scope that are not in the process group `spared` (0: to all of them), each once; also
 * to those that are made meanwhile. Says who was there. Returns an errno. */
int family_signal(const struct family *family, int signal, enum family_scope scope, pid_t spared,
				  struct family_count *count);

#endif
