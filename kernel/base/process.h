/* base/process.h - what tells one process from another on this machine, for judging sessions whose lock cannot. */
#ifndef KEEL_BASE_PROCESS_H
#define KEEL_BASE_PROCESS_H

#include <keel/value.h>

enum { KEEL_BOOT_ID_SIZE = 64 };

struct keel_process {
	char boot[KEEL_BOOT_ID_SIZE]; /* the boot of the machine; "" when the system does not tell */
	int64_t space;                /* the name space process ids are counted in; 0 when the system does not tell */
	int64_t pid;
	int64_t start; /* clock ticks between the boot and the start of the process; 0 when the system does not tell */
};

void keel_process_self(struct keel_process *self);

/* Whether a process is certainly gone: another boot, or a process id of this name space that is not there or is
 * another's by now. False when in doubt. */
bool keel_process_gone(const struct keel_process *process, const struct keel_process *self);

#endif
