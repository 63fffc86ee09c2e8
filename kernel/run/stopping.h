/* stopping.h - stopping a run with its parent. For the domain only. */
#ifndef KEEL_KERNEL_RUN_STOPPING_H
#define KEEL_KERNEL_RUN_STOPPING_H

#include "run/core.h"

/* Stops a run whose parent was stopped, or asked to, in the open transaction: what is pending, this session's, or an
 * orphan is interrupted, the owner of another is asked. What has ended, or was asked before, or has another parent,
 * stays as it is; *stopped: it is none of these, and among the children no more. */
enum keel_code keel_run_stop_child(struct keel_store *store, struct keel_text run_id, struct keel_text parent,
								   bool rollback, bool *stopped, struct keel_error *err);

#endif
