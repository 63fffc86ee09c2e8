/* line.h - the lines of what may be claimed. For the domain only.
 *
 * A line is the runs that wait for the same, for the same handler, by priority and age; all of them are blocked or none
 * is, so only its head is looked at. A line whose head was blocked is parked at the name of what is in its way, and is
 * looked at again when something happens there. Where to look is all that lines are: whether a run may start is counted
 * from rows, in the transaction that starts it.
 */
#ifndef KEEL_KERNEL_RUN_LINE_H
#define KEEL_KERNEL_RUN_LINE_H

#include "run/core.h"

/* The handler of a run that names none. */
#define KEEL_HANDLER_DEFAULT "default"

/* Puts a run into its line, and takes it out: pending, due, claimable. */
enum keel_code keel_line_join(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err);
enum keel_code keel_line_leave(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err);

/* What a line is parked at waits no longer for a thread, a run: look again. Data NULL: neither. */
enum keel_code keel_line_wake(struct keel_store *store, struct keel_text thread_id, struct keel_text run_id,
							  struct keel_error *err);

/* The best head of the lines that may be able to start; line -1: there is none. */
struct keel_line_head {
	int64_t line;
	int64_t priority;
	int64_t seq;
};
enum keel_code keel_line_best(struct keel_store *store, const struct keel_text *handlers, size_t handlers_count,
							  int64_t now, struct keel_line_head *head, struct keel_error *err);

/* The time of a head is over. If its runs wait for nothing, the first whose time is not takes its place: *passed. */
enum keel_code keel_line_pass(struct keel_store *store, const struct keel_run_core *core,
							  const struct keel_line_head *head, int64_t now, bool *passed, struct keel_error *err);

/* Parks a line at what is in the way of its head. */
struct keel_gate_state;
enum keel_code keel_line_park(struct keel_store *store, int64_t line, const struct keel_run_core *core,
							  const struct keel_gate_state *state, struct keel_error *err);

#endif
