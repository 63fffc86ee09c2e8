/* gate.c - the gate that starts runs: whether one may. Uses: core, rows.
 *
 * What the gate counts is counted in the transaction that starts the run; there are no counters to go wrong.
 */
#include "run/gate.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/rows.h"

const char *keel_gate_name(enum keel_gate gate)
{
	static const char *const names[KEEL_GATE_COUNT] = {"open", "delay", "after", "queue", "concurrency"};
	return (unsigned)gate < KEEL_GATE_COUNT ? names[gate] : NULL;
}

void keel_gate_set(struct keel_gate_state *state, enum keel_gate gate, struct keel_text run_id)
{
	KEEL_ASSERT(gate > KEEL_GATE_OPEN && gate < KEEL_GATE_COUNT);
	state->gate = gate;
	size_t size = run_id.size < KEEL_ID_MAX ? run_id.size : KEEL_ID_MAX;
	if (size)
		memcpy(state->run_id, run_id.data, size);
	state->run_id[size] = '\0';
}

/* The first row of a query, as a text and a number. *row is false when there is none. */
static enum keel_code first_row(struct keel_statement *select, char text[KEEL_ID_MAX + 1], int64_t *number, bool *row,
								struct keel_error *err)
{
	enum keel_code code = keel_step(select, row, err);
	if (code == KEEL_OK && *row) {
		struct keel_text found;
		code = keel_run_read_id(select, 0, &found, err);
		size_t size = found.size < KEEL_ID_MAX ? found.size : KEEL_ID_MAX;
		if (code == KEEL_OK)
			memcpy(text, found.data, size);
		text[size] = '\0';
		*number = keel_column_int(select, 1);
	}
	keel_reset(select);
	return code;
}

static enum keel_code check_dependencies(struct keel_store *store, const struct keel_run_core *core,
										 struct keel_gate_state *state, struct keel_error *err)
{
	static const char unsettled[] =
		"SELECT run_id, seq FROM runs AS r WHERE run_id = ?1 AND EXISTS (SELECT 1 FROM live AS l"
		" WHERE l.thread_id = r.thread_id AND l.seq = r.seq)";
	struct keel_text left = core->waits_for, id;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(left.data && state->gate == KEEL_GATE_OPEN);
	while (code == KEEL_OK && state->gate == KEEL_GATE_OPEN && keel_text_line(&left, &id)) {
		struct keel_statement *select;
		int64_t seq;
		bool row = false;
		code = keel_query(store, unsettled, &select, err, keel_value_text(id));
		if (code == KEEL_OK)
			code = first_row(select, state->run_id, &seq, &row, err);
		if (code == KEEL_OK && row && seq != core->seq)
			keel_gate_set(state, KEEL_GATE_AFTER, id);
	}
	return code;
}

/* The head of a thread's queue: of what was due when somebody last looked, and of what has become due since. Its place
 * is 0 if it is early: the clock was set back after somebody had looked. */
#define QUEUE_HEAD                                                                                                    \
	"SELECT r.run_id, CASE WHEN l.scheduled_at > ?2 THEN 0 ELSE r.seq END " KEEL_RUN_LIVE_FROM "WHERE r.seq ="        \
	" (SELECT seq FROM (SELECT * FROM (SELECT seq, priority FROM live WHERE thread_id = ?1 AND status = 0"            \
	" ORDER BY priority DESC, seq LIMIT 1) AS head UNION ALL SELECT seq, priority FROM live WHERE thread_id = ?1"     \
	" AND +status < 0 AND seq IN (SELECT seq FROM later WHERE at <= ?2)) AS heads ORDER BY priority DESC, seq LIMIT " \
	"1)"

/* The head without those that are early. A strict run (?3) waits behind a retry, early or not. */
#define QUEUE_HEAD_DUE                                                                                \
	"SELECT run_id, seq FROM runs WHERE seq = (SELECT seq FROM live WHERE thread_id = ?1"             \
	" AND status <= 0 AND (coalesce(scheduled_at, ?2) <= ?2 OR ?3 = 1 AND (attempt > 1 OR losses > 0" \
	" OR snoozes > 0)) ORDER BY priority DESC, seq LIMIT 1)"

/* A run of the same thread that a strict one waits behind: ahead of it, and put off after a start. */
static enum keel_code check_retries(struct keel_store *store, const struct keel_run_core *core,
									struct keel_gate_state *state, struct keel_error *err)
{
	static const char first[] =
		"SELECT r.run_id, r.seq " KEEL_RUN_LIVE_FROM
		"WHERE r.seq = (SELECT seq FROM live WHERE thread_id = ?1 AND status = -2 ORDER BY priority DESC, seq LIMIT 1)"
		" AND (l.priority > ?2 OR l.priority = ?2 AND l.seq < ?3)";
	struct keel_statement *select;
	int64_t seq;
	bool row;
	KEEL_ASSERT(core->strict);
	enum keel_code code = keel_query(store, first, &select, err, keel_value_text(core->thread_id),
									 keel_value_int(core->priority), keel_value_int(core->seq));
	if (code == KEEL_OK)
		code = first_row(select, state->run_id, &seq, &row, err);
	if (code == KEEL_OK && row)
		state->gate = KEEL_GATE_QUEUE;
	return code;
}

/* As many of the thread as may run or are finalizing do. */
static enum keel_code check_room(struct keel_store *store, const struct keel_run_core *core,
								 struct keel_gate_state *state, struct keel_error *err)
{
	static const char count[] =
		"SELECT count(*) FROM (SELECT 1 FROM live WHERE thread_id = ?1 AND status > 0 LIMIT ?2) AS counted";
	static const char oldest[] = "SELECT run_id, seq FROM runs WHERE seq = (SELECT seq FROM live WHERE thread_id = ?1"
								 " AND status > 0 ORDER BY +seq LIMIT 1)";
	struct keel_statement *select;
	int64_t seq, holding = 0;
	bool row;
	KEEL_ASSERT(core->concurrency > 0); /* 0: any number of them */
	enum keel_code code =
		keel_query(store, count, &select, err, keel_value_text(core->thread_id), keel_value_int(core->concurrency));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &holding, err);
	KEEL_ASSERT(holding <= core->concurrency);
	if (code != KEEL_OK || holding < core->concurrency)
		return code;
	state->gate = KEEL_GATE_CONCURRENCY;
	code = keel_query(store, oldest, &select, err, keel_value_text(core->thread_id));
	return code == KEEL_OK ? first_row(select, state->run_id, &seq, &row, err) : code;
}

static enum keel_code check_turn(struct keel_store *store, const struct keel_run_core *core,
								 struct keel_gate_state *state, struct keel_error *err)
{
	const struct keel_value now = keel_value_int(keel_store_now(store));
	struct keel_statement *select;
	int64_t seq = 0;
	bool row;
	enum keel_code code = keel_query(store, QUEUE_HEAD, &select, err, keel_value_text(core->thread_id), now);
	if (code == KEEL_OK)
		code = first_row(select, state->run_id, &seq, &row, err);
	if (code == KEEL_OK && row && seq == 0) {
		code = keel_query(store, QUEUE_HEAD_DUE, &select, err, keel_value_text(core->thread_id), now,
						  keel_value_int(core->strict));
		if (code == KEEL_OK)
			code = first_row(select, state->run_id, &seq, &row, err);
	}
	if (code == KEEL_OK && row && seq != core->seq)
		state->gate = KEEL_GATE_QUEUE;
	return code;
}

static enum keel_code look_at_thread(struct keel_store *store, const struct keel_run_core *core,
									 struct keel_gate_state *state, struct keel_error *err)
{
	enum keel_code code = check_turn(store, core, state, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_OPEN && core->strict)
		code = check_retries(store, core, state, err);
	return code == KEEL_OK && state->gate == KEEL_GATE_OPEN ? check_room(store, core, state, err) : code;
}

enum keel_code keel_run_look_at_gate(struct keel_store *store, const struct keel_run_core *core,
									 struct keel_gate_state *state, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(keel_run_invariant(core));
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	if (core->scheduled_at > keel_store_now(store)) {
		state->gate = KEEL_GATE_DELAY;
		state->until = core->scheduled_at;
		return KEEL_OK;
	}
	if (core->waits_for.data)
		code = check_dependencies(store, core, state, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_OPEN && core->concurrency > 0)
		code = look_at_thread(store, core, state, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_OPEN)
		state->run_id[0] = '\0';
	KEEL_ASSERT(code != KEEL_OK || state->gate != KEEL_GATE_OPEN || !state->run_id[0]);
	return code;
}

static enum keel_code look_at_position(struct keel_store *store, const struct keel_run_core *core, int64_t *position,
									   struct keel_error *err)
{
	static const char ahead[] =
		"SELECT 1 + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = 0 AND priority > ?2)"
		" + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = 0 AND priority = ?2 AND seq < ?3)";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, ahead, &select, err, keel_value_text(core->thread_id),
									 keel_value_int(core->priority), keel_value_int(core->seq));
	return code == KEEL_OK ? keel_first_number(store, select, NULL, position, err) : code;
}

enum keel_code keel_run_gate(struct keel_store *store, struct keel_text run_id, bool *found,
							 struct keel_gate_state *state, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	*found = false;
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found && core.status == KEEL_RUN_PENDING) {
		code = keel_run_look_at_gate(store, &core, state, err);
		if (code == KEEL_OK)
			code = look_at_position(store, &core, &state->position, err);
	}
	keel_arena_free(&arena);
	keel_read_end(store);
	*found = code == KEEL_OK && core.found;
	return code;
}
