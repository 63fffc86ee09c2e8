/* texts.h - INSERT and UPDATE of runs, made from sets of fields. For the domain only. */
#ifndef KEEL_KERNEL_RUN_TEXTS_H
#define KEEL_KERNEL_RUN_TEXTS_H

#include <keel/run.h>

#include "store/store.h"

/* The INSERT or UPDATE of the fields of a set, which are its parameters in their order; in an UPDATE the row's seq
 * comes last. Stays until the store is closed, or many other sets were asked for. */
enum keel_code keel_run_text_for(struct keel_store *store, bool update, keel_run_set set, const char **text,
								 struct keel_error *err);

#endif
