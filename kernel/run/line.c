/* line.c - the lines of what may be claimed. Uses: gate. */
#include "run/line.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/gate.h"
#include "run/predicates.h"

static struct keel_text handler_of(const struct keel_run_core *core)
{
	return core->handler.data ? core->handler : keel_text_of(KEEL_HANDLER_DEFAULT);
}

static bool waits(const struct keel_run_core *core)
{
	return core->concurrency > 0 || core->waits_for.data;
}

/* Whether a run belongs to line 0, which has no row: it waits for nothing, and names no handler. */
static bool is_plain(const struct keel_run_core *core)
{
	return !waits(core) && keel_text_is(handler_of(core), KEEL_HANDLER_DEFAULT);
}

/* What the runs of a line wait for; of a run that waits for others it is its own. */
static enum keel_code name_places(const struct keel_run_core *core, struct keel_buffer *places, struct keel_error *err)
{
	if (core->concurrency > 0) {
		keel_buffer_format(places, "thread %lld ", (long long)core->concurrency);
		keel_buffer_add(places, core->thread_id.data, core->thread_id.size);
	}
	if (core->waits_for.data)
		keel_buffer_format(places, "\nafter %lld", (long long)core->seq);
	KEEL_ASSERT(places->failed || waits(core) == (places->size > 0));
	if (!places->size)
		keel_buffer_put(places, "");
	return places->failed ? keel_fail_memory(err) : KEEL_OK;
}

/* The first row of a query as a line and its head; line -1: there is none. */
static enum keel_code read_head(struct keel_statement *select, struct keel_line_head *head, struct keel_error *err)
{
	bool row;
	enum keel_code code = keel_step(select, &row, err);
	head->line = -1;
	if (code == KEEL_OK && row) {
		head->line = keel_column_int(select, 0);
		head->priority = keel_column_int(select, 1);
		head->seq = keel_column_int(select, 2);
	}
	keel_reset(select);
	return code;
}

static bool is_better(int64_t priority, int64_t seq, const struct keel_line_head *than)
{
	return than->line < 0 || (priority != than->priority ? priority > than->priority : seq < than->seq);
}

/* The row of the line that has these places and the run's handler; line -1: there is none. */
static enum keel_code find(struct keel_store *store, const struct keel_run_core *core, struct keel_text places,
						   struct keel_line_head *head, struct keel_error *err)
{
	struct keel_statement *select;
	enum keel_code code = keel_query(store, "SELECT line, priority, seq FROM lines WHERE places = ?1 AND handler = ?2",
									 &select, err, keel_value_text(places), keel_value_text(handler_of(core)));
	return code == KEEL_OK ? read_head(select, head, err) : code;
}

static enum keel_code set_head(struct keel_store *store, const struct keel_line_head *head, struct keel_error *err)
{
	return keel_execute(store, "UPDATE lines SET priority = ?2, seq = ?3, parked_name = NULL WHERE line = ?1", err,
						keel_value_int(head->line), keel_value_int(head->priority), keel_value_int(head->seq));
}

/* Makes the line of a run, or gives it a new head. *looks: the head has to be looked at. */
static enum keel_code line_for(struct keel_store *store, const struct keel_run_core *core, int64_t *line, bool *looks,
							   struct keel_error *err)
{
	static const char insert[] = "INSERT INTO lines (places, handler, priority, seq) VALUES (?1, ?2, ?3, ?4)";
	struct keel_buffer places = {0};
	struct keel_line_head head;
	KEEL_ASSERT(!is_plain(core));
	enum keel_code code = name_places(core, &places, err);
	if (code == KEEL_OK)
		code = find(store, core, keel_buffer_text(&places), &head, err);
	if (code == KEEL_OK && head.line < 0) {
		code =
			keel_execute(store, insert, err, keel_value_text(keel_buffer_text(&places)),
						 keel_value_text(handler_of(core)), keel_value_int(core->priority), keel_value_int(core->seq));
		head.line = store->sql->driver->inserted(store->sql);
		*looks = waits(core);
	} else if (code == KEEL_OK && is_better(core->priority, core->seq, &head)) {
		head = (struct keel_line_head){head.line, core->priority, core->seq};
		code = set_head(store, &head, err);
		*looks = waits(core);
	} else if (code == KEEL_OK && !waits(core)) { /* its head may be one whose time is over */
		code = set_head(store, &head, err);
	}
	*line = head.line;
	keel_buffer_free(&places);
	return code;
}

enum keel_code keel_line_join(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO claims (line, priority, seq, thread_id, queued, handler, deadline)"
								 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	struct keel_gate_state state;
	bool looks = false;
	int64_t line = 0;
	KEEL_ASSERT(core->status == KEEL_RUN_PENDING && core->claimable && !core->cancel_requested);
	enum keel_code code = is_plain(core) ? KEEL_OK : line_for(store, core, &line, &looks, err);
	if (code == KEEL_OK)
		code = keel_execute(store, insert, err, keel_value_int(line), keel_value_int(core->priority),
							keel_value_int(core->seq), keel_value_text(core->thread_id),
							keel_value_int(core->concurrency > 0), keel_value_text(handler_of(core)),
							core->deadline == INT64_MIN ? keel_value_null() : keel_value_int(core->deadline));
	KEEL_ASSERT(code != KEEL_OK || (line == 0) == is_plain(core));
	if (code != KEEL_OK || !looks)
		return code;
	/* Whoever comes while the line is blocked must not cost a claim a look. */
	code = keel_run_look_at_gate(store, core, &state, err);
	return code == KEEL_OK && state.gate != KEEL_GATE_OPEN ? keel_line_park(store, line, core, &state, err) : code;
}

/* The line's next head, or its end. */
static enum keel_code move_up(struct keel_store *store, int64_t line, struct keel_error *err)
{
	struct keel_statement *select;
	struct keel_line_head next;
	enum keel_code code =
		keel_query(store, "SELECT line, priority, seq FROM claims WHERE line = ?1 ORDER BY priority DESC, seq LIMIT 1",
				   &select, err, keel_value_int(line));
	if (code == KEEL_OK)
		code = read_head(select, &next, err);
	if (code != KEEL_OK)
		return code;
	return next.line < 0 ? keel_execute(store, "DELETE FROM lines WHERE line = ?1", err, keel_value_int(line))
						 : set_head(store, &next, err);
}

enum keel_code keel_line_leave(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	struct keel_line_head head = {0, 0, 0};
	struct keel_buffer places = {0};
	enum keel_code code = KEEL_OK;
	if (!is_plain(core)) {
		code = name_places(core, &places, err);
		if (code == KEEL_OK)
			code = find(store, core, keel_buffer_text(&places), &head, err);
		keel_buffer_free(&places);
	}
	if (code != KEEL_OK || head.line < 0)
		return code;
	code = keel_execute(store, "DELETE FROM claims WHERE line = ?1 AND priority = ?2 AND seq = ?3", err,
						keel_value_int(head.line), keel_value_int(core->priority), keel_value_int(core->seq));
	if (code == KEEL_OK && head.line > 0 && head.seq == core->seq)
		code = move_up(store, head.line, err);
	return code;
}

enum keel_code keel_line_wake(struct keel_store *store, struct keel_text thread_id, struct keel_text run_id,
							  struct keel_error *err)
{
	static const char text[] = "UPDATE lines SET parked_name = NULL WHERE line IN (SELECT line FROM lines"
							   " WHERE parked_name = ?1 || ?2)";
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(thread_id.data || run_id.data);
	if (thread_id.data)
		code = keel_execute(store, text, err, keel_value_text(keel_text_of("thread:")), keel_value_text(thread_id));
	if (code == KEEL_OK && run_id.data)
		code = keel_execute(store, text, err, keel_value_text(keel_text_of("run:")), keel_value_text(run_id));
	return code;
}

enum keel_code keel_line_park(struct keel_store *store, int64_t line, const struct keel_run_core *core,
							  const struct keel_gate_state *state, struct keel_error *err)
{
	static const char text[] = "UPDATE lines SET parked_name = ?2 || ?3 WHERE line = ?1";
	bool after = state->gate == KEEL_GATE_AFTER;
	KEEL_ASSERT(state->gate != KEEL_GATE_OPEN);
	return keel_execute(store, text, err, keel_value_int(line),
						keel_value_text(keel_text_of(after ? "run:" : "thread:")),
						keel_value_text(after ? keel_text_of(state->run_id) : core->thread_id));
}

/* --- The best ---------------------------------------------------------------------------------------------------- */

/* A line whose runs wait for nothing may have a head whose time is over, which stays until somebody recovers it: the
 * first whose time is not over is looked for. */
static enum keel_code best_unexpired(struct keel_store *store, int64_t line, int64_t now, struct keel_line_head *best,
									 struct keel_error *err)
{
	static const char text[] = "SELECT line, priority, seq FROM claims WHERE line = ?1"
							   " AND (deadline IS NULL OR deadline > ?2) ORDER BY priority DESC, seq LIMIT 1";
	struct keel_statement *select;
	struct keel_line_head found;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(line), keel_value_int(now));
	if (code == KEEL_OK)
		code = read_head(select, &found, err);
	if (code == KEEL_OK && found.line >= 0 && is_better(found.priority, found.seq, best))
		*best = found;
	return code;
}

enum keel_code keel_line_pass(struct keel_store *store, const struct keel_run_core *core,
							  const struct keel_line_head *head, int64_t now, bool *passed, struct keel_error *err)
{
	struct keel_line_head next = {.line = -1};
	KEEL_ASSERT(core->deadline != INT64_MIN && core->deadline <= now);
	*passed = false;
	enum keel_code code = waits(core) ? KEEL_OK : best_unexpired(store, head->line, now, &next, err);
	if (code != KEEL_OK || next.line < 0)
		return code;
	*passed = true;
	return set_head(store, &next, err);
}

static enum keel_code best_ready(struct keel_store *store, struct keel_text handler, struct keel_line_head *best,
								 struct keel_error *err)
{
	static const char any[] =
		"SELECT line, priority, seq FROM lines WHERE " KEEL_LINE_READY " ORDER BY priority DESC, seq LIMIT 1";
	static const char one[] = "SELECT line, priority, seq FROM lines WHERE " KEEL_LINE_READY " AND handler = ?1"
							  " ORDER BY priority DESC, seq LIMIT 1";
	struct keel_statement *select;
	struct keel_line_head found;
	enum keel_code code = handler.data ? keel_query(store, one, &select, err, keel_value_text(handler))
									   : keel_store_prepare(store, any, &select, err);
	if (code == KEEL_OK)
		code = read_head(select, &found, err);
	if (code == KEEL_OK && found.line >= 0 && is_better(found.priority, found.seq, best))
		*best = found;
	return code;
}

enum keel_code keel_line_best(struct keel_store *store, const struct keel_text *handlers, size_t handlers_count,
							  int64_t now, struct keel_line_head *head, struct keel_error *err)
{
	bool plain = handlers_count == 0;
	enum keel_code code = KEEL_OK;
	head->line = -1;
	for (size_t i = 0; code == KEEL_OK && i < handlers_count; i++) {
		plain = plain || keel_text_is(handlers[i], KEEL_HANDLER_DEFAULT);
		code = best_ready(store, handlers[i], head, err);
	}
	if (code == KEEL_OK && handlers_count == 0)
		code = best_ready(store, (struct keel_text){NULL, 0}, head, err);
	return code == KEEL_OK && plain ? best_unexpired(store, 0, now, head, err) : code;
}
