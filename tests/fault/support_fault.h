/* support_fault.h - sweeps: every allocation and every call of SQLite that an operation makes fails in turn.
 *
 * A sweep repeats an operation from the same beginning with the N-th chance to fail taken, N = 1, 2, 3 … until there is
 * no N-th: first so that only this one fails, then so that all from there on do. After each round
 *
 *   - the code is the one that the fault stands for, with its words, or KEEL_OK with the whole effect and the answer;
 *   - runs, events and leases are exactly as before, or exactly as after;
 *   - the operation, repeated without faults, succeeds: on the same handle, and on one opened anew;
 *   - verify finds nothing, no session lives but the handle's, and no memory of Keel or SQLite is left.
 *
 * An operation that writes is swept inside a transaction of the caller's too, which then is committed whatever the
 * operation came to: what failed must not come with it.
 */
#ifndef KEEL_TESTS_SUPPORT_FAULT_H
#define KEEL_TESTS_SUPPORT_FAULT_H

#include "support.h"

/* Traits of an operation. */
enum {
	OPENS = 1,        /* acts on a closed store, and opens it */
	CREATES = 2,      /* there is no file yet; with OPENS */
	READS = 4,        /* changes nothing */
	TRANSACTS = 8,    /* begins and commits by itself */
	OWNS = 16,        /* acts on what its session owns: another handle could not */
	UNSOUND = 32,     /* its fixture is damaged: verify finds that */
	UNLOCKED = 64,    /* loses the locks of sessions: who lives is a guess */
	LITTLE_SQL = 128, /* makes too few calls for the usual minimum */
	MANY = 256        /* of the places to fail, which are thousands, not just a few are taken */
};

struct operation {
	const char *name;
	unsigned traits;
	void (*fixture)(void);       /* fills the store, once; with OPENS there is none open. NULL: an empty store */
	void (*ready)(void);         /* before every round, with the store open unless OPENS. NULL: nothing */
	enum keel_code (*act)(void); /* the operation: its detail goes to `why`, what it gives to `answer` */
	void (*finish)(void);        /* after every round, also a failed one. NULL: nothing */
};

/* What an operation gave, as a text: must be the same whenever it succeeds. */
void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Lists kept over a sweep; cleared behind it. */
extern struct keel_runs answered_runs;
extern struct keel_events answered_events;

/* Sweeps every operation with every fault; the result of main. */
int sweep_operations(const char *name, const struct operation *operations, size_t count);
#define SWEEP(name, operations) sweep_operations(name, operations, sizeof(operations) / sizeof(operations)[0])

#endif
