/* housekeeping/collect.h - collecting what is wrong with a store, for the files that look. */
#ifndef KEEL_KERNEL_COLLECT_H
#define KEEL_KERNEL_COLLECT_H

#include <keel/housekeeping.h>

#include "base/memory.h"

struct keel_collector {
	struct keel_problems *list;
	struct keel_arena *arena;
	bool failed; /* out of memory */
};

/* Adds a problem: a sentence, and the name of what it is about (data NULL: none). False when enough was found, or
 * memory ran out. */
bool keel_collect(struct keel_collector *to, enum keel_code code, const char *sentence, struct keel_text name);

static inline bool keel_has_enough(const struct keel_collector *to)
{
	return to->failed || to->list->count >= KEEL_PROBLEMS_MAX;
}

#endif
