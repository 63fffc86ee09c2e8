/* line.h - the lines of what may be claimed. For the domain only.
 *
 * A line is the runs that wait for the same, for the same handler, by priority and age; all of them are blocked or none
 * is, so only its head is looked at. A line whose head was blocked is parked at the name of what is in its way, with a
 * key: all that are parked at a name with one key and for one handler are blocked alike, so only the best of them is
 * made ready when something happens there. A ready line goes on saying where it was parked: when it is looked at and
 * parked elsewhere, or is gone, the next best of those takes its place. So the best ready line that can start is the
 * best of all that can.
 *
 * Where to look is all that lines are: whether a run may start is counted from rows, in the transaction that starts
 * it.
 */
#ifndef KEEL_KERNEL_RUN_LINE_H
#define KEEL_KERNEL_RUN_LINE_H

#include "run/core.h"

/* The handler of a run that names none. */
#define KEEL_HANDLER_DEFAULT "default"

/* Puts a run into its line, and takes it out: pending, due, claimable. */
enum keel_code keel_line_join(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err);
enum keel_code keel_line_leave(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err);

/* Something has happened at a name that lines are parked at. */
enum keel_line_at { KEEL_AT_THREAD, KEEL_AT_RUN, KEEL_AT_NAME };
enum keel_code keel_line_wake(struct keel_store *store, enum keel_line_at at, struct keel_text name,
							  struct keel_error *err);

/* Moves the starts of a name that lie in the future, for the clock was put back, to now: a rate waits `per` at most.
 * *met: there were some; whoever is parked there then learns until when it waits. */
enum keel_code keel_line_meet(struct keel_store *store, struct keel_text name, bool *met, struct keel_error *err);

/* The time until which a rate was full has come for a line. */
enum keel_code keel_line_wake_one(struct keel_store *store, int64_t line, struct keel_error *err);

/* The best head of the lines that may be able to start; line -1: there is none. */
struct keel_line_head {
	int64_t line;
	int64_t priority;
	int64_t seq;
};
enum keel_code keel_line_best(struct keel_store *store, const struct keel_text *handlers, size_t handlers_count,
							  int64_t now, struct keel_line_head *head, struct keel_error *err);

/* The time of a head is over. If its runs do not wait for their turn, the first whose time is not takes its place:
 * *passed. */
enum keel_code keel_line_pass(struct keel_store *store, const struct keel_run_core *core,
							  const struct keel_line_head *head, int64_t now, bool *passed, struct keel_error *err);

/* Parks a line at what is in the way of its head; if that is a pause of its thread, which others of the line need not
 * be on, the head gets a line of its own. Where everything is paused, nothing is done. */
struct keel_gate_state;
enum keel_code keel_line_park(struct keel_store *store, int64_t line, const struct keel_run_core *core,
							  const struct keel_gate_state *state, struct keel_error *err);

/* Puts claimable runs of a paused thread that would wait for nothing of it into lines of their own, so that nobody
 * looks at one after the other: at most 1000 of one line at once. *line begins as -1 and says how far it came; *more:
 * go on. */
enum keel_code keel_line_set_apart(struct keel_store *store, struct keel_text thread_id, int64_t *line, bool *more,
								   struct keel_error *err);

#endif
