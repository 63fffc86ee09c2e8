/* keel/limit.h - limits by name: how many runs may hold a slot or start at a rate, and what is paused.
 *
 * A name is free text: an id. Slots and rates of runs refer to it (keel/run.h). `thread:ID` means a thread, and `*`
 * everything; those two can only be paused. What is set is kept in the store, and holds for all its processes from the
 * commit on.
 */
#ifndef KEEL_LIMIT_H
#define KEEL_LIMIT_H

#include <keel/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is to be changed of a name; what is not given stays. */
struct keel_limit_change {
	bool gives_max, gives_per, gives_paused, gives_reason;
	int64_t max;             /* 0 to KEEL_PLACES_MAX; below 0: nothing is set any more */
	int64_t per_us;          /* microseconds: it is a rate's then; below 0: it is a slot's */
	bool paused;             /* nothing of it starts; what runs goes on */
	struct keel_text reason; /* for people; data NULL: none */
};

/* Changes what is set for a name. Lets what waits for it be looked at. *changed says whether anything is different from
 * before; then the event limit_changed tells of it.
 * Fails with KEEL_INVALID_REQUEST (name, max, per, reason). */
KEEL_API enum keel_code keel_limit_set(struct keel_store *store, struct keel_text name,
									   const struct keel_limit_change *change, bool *changed, struct keel_error *err);

/* What is set for a name, and how many have to do with it. */
struct keel_limit {
	struct keel_text name;
	int64_t max;    /* -1: nothing is set */
	int64_t per_us; /* -1: it is a slot's */
	bool paused;
	struct keel_text reason; /* data NULL: none */
	int64_t holding;         /* runs that hold the slot; of a thread and of * those that run or are finalizing */
	int64_t waiting;         /* pending ones that want it */
};
struct keel_limits {
	struct keel_limit *items;
	size_t count;
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_limits_clear(struct keel_limits *list);

/* The names for which something is set, or which runs in flight want, in byte order, behind `after` (data NULL: from
 * the first). limit 1 to KEEL_LIST_MAX. Starts with {0}; reading into a list clears it first. */
KEEL_API enum keel_code keel_limit_list(struct keel_store *store, struct keel_text after, int64_t limit,
										struct keel_limits *list, struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
