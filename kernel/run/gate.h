/* gate.h - the gate that starts runs, for the domain only. */
#ifndef KEEL_KERNEL_RUN_GATE_H
#define KEEL_KERNEL_RUN_GATE_H

#include "run/change.h"

/* What is in the way of a pending run. */
enum keel_code keel_run_look_at_gate(struct keel_store *store, const struct keel_run_core *core,
                                     struct keel_gate_state *state, struct keel_error *err);

/* Notes what is in the way, and whose run it is. */
void keel_gate_set(struct keel_gate_state *state, enum keel_gate gate, struct keel_text run_id);

/* Writes into the delta what every run that starts gets; lease_us as in struct keel_start. */
void keel_run_begin(struct keel_store *store, struct keel_run *delta, int64_t lease_us);

#endif
