/* wants.h - the slots and rates of a run: reading their texts, whether they have room, and the rows that say who waits
 * and who holds. For the domain only.
 */
#ifndef KEEL_KERNEL_RUN_WANTS_H
#define KEEL_KERNEL_RUN_WANTS_H

#include "run/core.h"

struct keel_want {
	bool is_rate;
	struct keel_text name;
	int64_t max;    /* KEEL_WANT_OPEN: what is set for the name */
	int64_t per_us; /* of a rate; likewise */
};
enum { KEEL_WANT_OPEN = -1 };

/* Takes the first slot or rate off a text; false when nothing is left. */
bool keel_want_next(struct keel_text *rest, bool is_rate, struct keel_want *want);

/* Takes the next one off what a run wants, slots first; `place` starts as {0}. */
struct keel_want_place {
	bool begun, in_rates;
	struct keel_text rest;
};
bool keel_want_walk(const struct keel_run_core *core, struct keel_want_place *place, struct keel_want *want);

/* What is wanted of a source: that it has ended and settled, or that it has succeeded, too. */
enum keel_wanted { KEEL_WANTED_FINAL = 0, KEEL_WANTED_SUCCESS = 2 };

struct keel_source {
	enum keel_wanted wanted;
	bool is_batch;
	struct keel_text id; /* data NULL: the text is damaged */
};

/* Takes the first source off a text of the field `after`; false when nothing is left. */
bool keel_source_next(struct keel_text *rest, struct keel_source *source);

/* Checks such a text. */
enum keel_code keel_after_check(struct keel_text text, const char *field, struct keel_error *err);

/* Puts the numbers that are set for a name into a new run that leaves them open. Fails with KEEL_INVALID_REQUEST where
 * nothing is set. The texts are good until the next call with this handle. */
enum keel_code keel_wants_complete(struct keel_store *store, struct keel_run *run, struct keel_error *err);

/* Whether there is room for one more. Of a rate: from when on, INT64_MAX for never. That the name may be paused does
 * not count. */
enum keel_code keel_want_room(struct keel_store *store, const struct keel_want *want, bool *room, int64_t *until,
							  struct keel_error *err);

/* Whether a name is paused: a slot's, a rate's, thread:ID or *. */
enum keel_code keel_name_paused(struct keel_store *store, const char *prefix, struct keel_text name, bool *paused,
								struct keel_error *err);

/* Keeps the rows with a run that was written; either may be NULL. */
enum keel_code keel_wants_change(struct keel_store *store, const struct keel_run_core *before,
								 const struct keel_run_core *after, struct keel_error *err);

#endif
