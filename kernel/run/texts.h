/* texts.h - the statements that write a run, made from sets of fields. For the domain only. */
#ifndef KEEL_KERNEL_RUN_TEXTS_H
#define KEEL_KERNEL_RUN_TEXTS_H

#include <keel/run.h>

#include "store/store.h"

/* What a statement does with the fields of a set, which are its parameters in their order, behind those named here. */
enum keel_run_text {
	KEEL_TEXT_INSERT, /* a row of runs, if there is none with its run_id */
	KEEL_TEXT_UPDATE, /* of runs: seq */
	KEEL_TEXT_ADMIT,  /* a row of live: thread_id, seq, created_at */
	KEEL_TEXT_CHANGE, /* of live: thread_id, seq */
	KEEL_TEXT_END,    /* puts a row of live, with these fields instead of its own, into outcomes: thread_id, seq */
	KEEL_TEXT_REVIVE, /* puts the state in outcomes, likewise, into live: thread_id, seq, created_at */
	KEEL_TEXT_NOTE,   /* in outcomes, where there may be a row: seq */
	KEEL_TEXT_AMEND,  /* of outcomes: seq */
	KEEL_TEXT_COUNT
};

/* The number of the first parameter that is a field. */
int keel_run_text_first(enum keel_run_text kind);

/* The statement. Stays until the store is closed, or many other sets were asked for. */
enum keel_code keel_run_text_for(struct keel_store *store, enum keel_run_text kind, keel_run_set set, const char **text,
								 struct keel_error *err);

#endif
