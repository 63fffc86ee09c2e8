/* base/process.h - what tells one process from another on this machine, for judging sessions whose lock cannot. */
#ifndef KEEL_BASE_PROCESS_H
#define KEEL_BASE_PROCESS_H

#include <keel/value.h>

enum { KEEL_BOOT_ID_SIZE = 64 };

struct keel_process {
	char boot[KEEL_BOOT_ID_SIZE]; /* the boot of the machine; "" when the system does not tell */
	int64_t space;                /* the name space process ids are counted in; 0 when the system does not tell */
	int64_t clock;                /* the name space that `start` is counted in; the same */
	int64_t pid;
	int64_t start; /* clock ticks between the boot and the start of the process; 0 when the system does not tell */
};

void keel_process_self(struct keel_process *self);

enum keel_process_fate {
	KEEL_PROCESS_GONE,   /* certainly */
	KEEL_PROCESS_THERE,  /* the same process, as far as can be told */
	KEEL_PROCESS_UNKNOWN /* nothing here can decide it */
};

/* What has become of a process. Its number means something only within its own name space of process ids, and so does
 * the id of its boot, which a container may have of its own; its start only within one name space of time. */
enum keel_process_fate keel_process_fate(const struct keel_process *process, const struct keel_process *self);

/* Whether its number is counted in another name space than ours, or may be: there it is somebody else's here. */
bool keel_process_is_foreign(const struct keel_process *process, const struct keel_process *self);

#endif
