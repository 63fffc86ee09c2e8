/* starts.h - the starts that rates count. For the domain only. */
#ifndef KEEL_KERNEL_RUN_STARTS_H
#define KEEL_KERNEL_RUN_STARTS_H

#include "store/store.h"

struct keel_arena;

/* Notes a start of a name, now. */
enum keel_code keel_starts_add(struct keel_store *store, struct keel_text name, struct keel_error *err);

/* Sees to it that starts of a name are kept for as long as somebody looks back, if that is the longest so far. */
enum keel_code keel_starts_keep(struct keel_store *store, struct keel_text name, int64_t per_us,
								struct keel_error *err);

/* Moves starts of a name that lie in the future to now, see keel_line_meet. *met: there were some. */
enum keel_code keel_starts_meet(struct keel_store *store, struct keel_text name, bool *met, struct keel_error *err);

/* The name of such starts, in the arena; data NULL: there are none. */
enum keel_code keel_starts_ahead(struct keel_store *store, struct keel_arena **arena, struct keel_text *name,
								 struct keel_error *err);

/* What is left of a name that nobody may count any more. */
struct keel_starts_left {
	char name[KEEL_ID_MAX + 1];
	bool is_old;    /* it has starts that are out of every window */
	bool is_unused; /* it has none, and nobody waits for it */
};

/* Reads what is left of the names behind `after`, in their order; *count KEEL_STARTS_NAMES: there may be more. */
enum { KEEL_STARTS_NAMES = 64 };
enum keel_code keel_starts_left(struct keel_store *store, struct keel_text after,
								struct keel_starts_left list[KEEL_STARTS_NAMES], size_t *count, struct keel_error *err);

/* Forgets what is left of a name, as it is now: at most `most` of its starts. */
enum keel_code keel_starts_forget(struct keel_store *store, struct keel_text name, int64_t most,
								  struct keel_error *err);

#endif
