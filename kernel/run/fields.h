/* fields.h - the fields of a run, for the domain only. */
#ifndef KEEL_KERNEL_RUN_FIELDS_H
#define KEEL_KERNEL_RUN_FIELDS_H

#include <keel/run.h>

/* Checks every field that is given: ids, texts, numbers, words. Cuts what is to be cut. */
enum keel_code keel_run_check(struct keel_run *run, struct keel_error *err);

/* Checks what was read of a row as far as it names it, or is a list that others take apart: KEEL_STORE_CORRUPT. */
enum keel_code keel_run_check_stored(struct keel_run *run, struct keel_error *err);

/* The fields by what they tell of a run: `runs` has the fixed ones; the state is in `live` while the run is in flight,
 * afterwards in `outcomes`, which has what its work has come to at any time. */
enum keel_run_part { KEEL_PART_FIXED, KEEL_PART_STATE, KEEL_PART_WORK, KEEL_PART_COUNT };
extern const keel_run_set keel_run_parts[KEEL_PART_COUNT];

/* Those of a part that are given. */
static inline keel_run_set keel_run_given(const struct keel_run *run, enum keel_run_part part)
{
	return keel_run_set_common(run->given, keel_run_parts[part]);
}

/* Whether a field of the type is a text, else it is a number. */
bool keel_run_is_text(enum keel_field_type type);

/* Whether what has a value is given. */
static inline bool keel_run_is_whole(const struct keel_run *run)
{
	return keel_run_set_is_empty(keel_run_set_without(run->valued, run->given));
}

/* The worker a record names; data NULL: none. */
static inline struct keel_text keel_run_worker_ref(const struct keel_run *run)
{
	return KEEL_RUN_HAS(run, WORKER_REF) ? run->worker_ref : (struct keel_text){NULL, 0};
}

/* Gives a field a value. */
#define KEEL_RUN_SET(run, NAME, member_, value)                                        \
	((run)->member_ = (value), keel_run_set_add(&(run)->given, KEEL_RUN_FIELD_##NAME), \
	 keel_run_set_add(&(run)->valued, KEEL_RUN_FIELD_##NAME))

#endif
