/* gate.h - the gate that starts runs: whether one may. For the domain only. */
#ifndef KEEL_KERNEL_RUN_GATE_H
#define KEEL_KERNEL_RUN_GATE_H

#include "run/core.h"

/* What is in the way of a pending run. */
enum keel_code keel_run_look_at_gate(struct keel_store *store, const struct keel_run_core *core,
									 struct keel_gate_state *state, struct keel_error *err);

/* Notes what is in the way, and whose run it is. */
void keel_gate_set(struct keel_gate_state *state, enum keel_gate gate, struct keel_text run_id);

#endif
