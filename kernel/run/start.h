/* start.h - starting a run. For the domain only. */
#ifndef KEEL_KERNEL_RUN_START_H
#define KEEL_KERNEL_RUN_START_H

#include <keel/run.h>

/* Writes into the delta what every run that starts gets; lease_us as in struct keel_start. */
void keel_run_begin(struct keel_store *store, struct keel_run *delta, int64_t lease_us);

#endif
