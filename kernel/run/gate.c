/* gate.c - the gate that starts runs: whether one may. Uses: core, edges, wants.
 *
 * What the gate counts is counted in the transaction that starts the run; there are no counters to go wrong.
 */
#include "run/gate.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/edges.h"
#include "run/predicates.h"
#include "run/rows.h"
#include "run/wants.h"

const char *keel_gate_name(enum keel_gate gate)
{
	static const char *const names[KEEL_GATE_COUNT] = {"open",        "delay", "after", "queue",
													   "concurrency", "slot",  "rate",  "paused"};
	return (unsigned)gate < KEEL_GATE_COUNT ? names[gate] : NULL;
}

/* What a look at the gate has found so far. */
struct finding {
	struct keel_store *store;
	const struct keel_run_core *core;
	struct keel_gate_state *list;
	size_t room, count;
};

static bool has_enough(const struct finding *found)
{
	return found->count == found->room;
}

static void copy_text(char *to, size_t room, const char *prefix, struct keel_text text)
{
	size_t begun = strlen(prefix), size = text.size < room - 1 - begun ? text.size : room - 1 - begun;
	memcpy(to, prefix, begun);
	if (size)
		memcpy(to + begun, text.data, size);
	to[begun + size] = '\0';
}

void keel_gate_set(struct keel_gate_state *state, enum keel_gate gate, struct keel_text run_id)
{
	KEEL_ASSERT(gate > KEEL_GATE_OPEN && gate < KEEL_GATE_COUNT);
	*state = (struct keel_gate_state){.gate = gate};
	copy_text(state->run_id, sizeof state->run_id, "", run_id);
}

/* Notes what is in the way, if there is room for it; who it is may be written into what comes back. */
static struct keel_gate_state *note(struct finding *found, enum keel_gate gate)
{
	KEEL_ASSERT(!has_enough(found) && gate > KEEL_GATE_OPEN && gate < KEEL_GATE_COUNT);
	struct keel_gate_state *state = &found->list[found->count++];
	*state = (struct keel_gate_state){.gate = gate};
	return state;
}

/* The first row of a query, a place and the id of who is in the way there. *row is false when there is none. */
static enum keel_code first_row(struct keel_statement *select, char text[KEEL_ID_MAX + 1], int64_t *number, bool *row,
								struct keel_error *err)
{
	enum keel_code code = keel_run_first(select, number, text, row, err);
	return code == KEEL_OK && *row ? keel_check_stored_id(keel_text_of(text), "run_id", err) : code;
}

static enum keel_code check_dependencies(struct finding *found, struct keel_error *err)
{
	int64_t source = 0;
	bool row = true;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && row && !has_enough(found)) {
		char run_id[KEEL_ID_MAX + 1];
		code = keel_edges_next(found->store, found->core, &source, run_id, &row, err);
		if (code == KEEL_OK && row)
			keel_gate_set(note(found, KEEL_GATE_AFTER), KEEL_GATE_AFTER, keel_text_of(run_id));
	}
	return code;
}

/* --- The turn of a run on its thread ------------------------------------------------------------------------------ */

/* Of a pending run of thread ?1: whether it is ahead of the one with the priority ?2 and the place ?3, at ?4. */
#define AHEAD "(priority > ?2 OR priority = ?2 AND seq < ?3)"
#define DUE "coalesce(scheduled_at, ?4) <= ?4"
#define DUE_OR_TRIED "(" DUE " OR attempt > 1 OR losses > 0 OR snoozes > 0)"

/* The first with a status in `live`. */
#define HEAD(status, which, name)                                                                           \
	"SELECT * FROM (SELECT seq, priority FROM live WHERE thread_id = ?1 AND status = " status " AND " which \
	" ORDER BY priority DESC, seq LIMIT 1) AS " name

/* Those that have become due since somebody looked. */
#define BECOME_DUE(status, which)                                                          \
	" UNION ALL SELECT seq, priority FROM live WHERE thread_id = ?1 AND +status = " status \
	" AND seq IN (SELECT seq FROM later WHERE at <= ?4) AND " which
#define UNLIMITED "seq NOT IN (SELECT seq FROM runs WHERE seq = live.seq AND (slots IS NOT NULL OR rates IS NOT NULL))"

#define FIRST_AHEAD(heads)                                                                                             \
	"SELECT seq, run_id FROM runs WHERE seq = (SELECT seq FROM (" heads ") AS heads WHERE " AHEAD " ORDER BY priority" \
	" DESC, seq LIMIT 1)"

/* Ahead of everybody is what waits for its thread alone. */
static const char plain_ahead[] =
	FIRST_AHEAD(HEAD("0", DUE, "due") BECOME_DUE("-1", UNLIMITED) BECOME_DUE("-2", UNLIMITED));

/* Ahead of a strict run is all but a first start in the future. */
static const char any_ahead[] =
	FIRST_AHEAD(HEAD("0", DUE_OR_TRIED, "due") " UNION ALL " HEAD("-4", DUE_OR_TRIED, "limited") " UNION ALL " HEAD(
		"-2", "1 = 1", "retries") " UNION ALL " HEAD("-3", DUE_OR_TRIED, "blocked") BECOME_DUE("-1", "1 = 1"));

/* Ahead of a run that wants slots or rates is what wants the same, ?5 and ?6; among the first so many. */
static const char alike_ahead[] =
	"SELECT seq, run_id FROM runs WHERE seq = (SELECT r.seq FROM (SELECT seq, priority FROM (SELECT seq, priority FROM"
	" live WHERE thread_id = ?1 AND status = -4 AND " DUE
	" ORDER BY priority DESC, seq LIMIT 64) AS limited" BECOME_DUE("-1", "1 = 1") BECOME_DUE(
		"-2", "1 = 1") ") AS heads JOIN runs AS r ON r.seq = heads.seq WHERE"
					   " (heads.priority > ?2 OR heads.priority = ?2 AND r.seq < ?3) AND coalesce(r.slots, '') = ?5 AND"
					   " coalesce(r.rates, '') = ?6 ORDER BY heads.priority DESC, r.seq LIMIT 1)";

static enum keel_code check_ahead(struct finding *found, const char *text, bool alike, struct keel_error *err)
{
	const struct keel_run_core *core = found->core;
	const struct keel_text none = keel_text_of("");
	struct keel_statement *select;
	char run_id[KEEL_ID_MAX + 1];
	int64_t seq;
	bool row;
	const struct keel_value values[] = {keel_value_text(core->thread_id),
										keel_value_int(core->priority),
										keel_value_int(core->seq),
										keel_value_int(keel_store_now(found->store)),
										keel_value_text(core->slots.data ? core->slots : none),
										keel_value_text(core->rates.data ? core->rates : none)};
	enum keel_code code = keel_query_values(found->store, text, &select, err, values, alike ? 6 : 4);
	if (code == KEEL_OK)
		code = first_row(select, run_id, &seq, &row, err);
	if (code != KEEL_OK || !row)
		return code;
	struct keel_gate_state *state = note(found, KEEL_GATE_QUEUE);
	keel_gate_set(state, KEEL_GATE_QUEUE, keel_text_of(run_id));
	state->alike = alike;
	return KEEL_OK;
}

static enum keel_code check_turn(struct finding *found, struct keel_error *err)
{
	const struct keel_run_core *core = found->core;
	size_t before = found->count;
	if (core->strict)
		return check_ahead(found, any_ahead, false, err);
	enum keel_code code = check_ahead(found, plain_ahead, false, err);
	return code == KEEL_OK && found->count == before && keel_run_is_limited(core)
			   ? check_ahead(found, alike_ahead, true, err)
			   : code;
}

/* As many of the thread as may run or are finalizing do. */
static enum keel_code check_room(struct finding *found, struct keel_error *err)
{
	static const char count[] =
		"SELECT count(*) FROM (SELECT 1 FROM live WHERE thread_id = ?1 AND status > 0 LIMIT ?2) AS counted";
	static const char oldest[] = "SELECT seq, run_id FROM runs WHERE seq = (SELECT seq FROM live WHERE thread_id = ?1"
								 " AND status > 0 ORDER BY +seq LIMIT 1)";
	const struct keel_run_core *core = found->core;
	struct keel_statement *select;
	int64_t seq, holding = 0;
	bool row;
	KEEL_ASSERT(core->concurrency > 0); /* 0: any number of them */
	enum keel_code code = keel_query(found->store, count, &select, err, keel_value_text(core->thread_id),
									 keel_value_int(core->concurrency));
	if (code == KEEL_OK)
		code = keel_first_number(found->store, select, NULL, &holding, err);
	KEEL_ASSERT(holding <= core->concurrency);
	if (code != KEEL_OK || holding < core->concurrency)
		return code;
	struct keel_gate_state *state = note(found, KEEL_GATE_CONCURRENCY);
	code = keel_query(found->store, oldest, &select, err, keel_value_text(core->thread_id));
	return code == KEEL_OK ? first_row(select, state->run_id, &seq, &row, err) : code;
}

/* --- Slots, rates, pauses ----------------------------------------------------------------------------------------- */

static enum keel_code name_holder(struct keel_store *store, struct keel_text name, char run_id[KEEL_ID_MAX + 1],
								  struct keel_error *err)
{
	static const char text[] = "SELECT seq, run_id FROM runs WHERE seq = (SELECT seq FROM holds WHERE name = ?1 AND"
							   " state = 1 ORDER BY max, seq LIMIT 1)";
	struct keel_statement *select;
	int64_t seq;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(name));
	return code == KEEL_OK ? first_row(select, run_id, &seq, &row, err) : code;
}

static enum keel_code check_wants(struct finding *found, struct keel_error *err)
{
	struct keel_want_place place = {0};
	struct keel_want want;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && !has_enough(found) && keel_want_walk(found->core, &place, &want)) {
		int64_t until;
		bool room;
		code = keel_want_room(found->store, &want, &room, &until, err);
		if (code != KEEL_OK || room)
			continue;
		struct keel_gate_state *state = note(found, want.is_rate ? KEEL_GATE_RATE : KEEL_GATE_SLOT);
		state->until = until;
		copy_text(state->name, sizeof state->name, "", want.name);
		if (!want.is_rate)
			code = name_holder(found->store, want.name, state->run_id, err);
	}
	return code;
}

static enum keel_code check_pause(struct finding *found, const char *prefix, struct keel_text name,
								  struct keel_error *err)
{
	bool paused;
	if (has_enough(found))
		return KEEL_OK;
	enum keel_code code = keel_name_paused(found->store, prefix, name, &paused, err);
	if (code == KEEL_OK && paused) {
		struct keel_gate_state *state = note(found, KEEL_GATE_PAUSED);
		copy_text(state->name, sizeof state->name, prefix, name);
	}
	return code;
}

static enum keel_code check_pauses(struct finding *found, struct keel_error *err)
{
	struct keel_want_place place = {0};
	struct keel_want want;
	KEEL_ASSERT(found->core->pauses);
	enum keel_code code = check_pause(found, "", keel_text_of("*"), err);
	if (code == KEEL_OK)
		code = check_pause(found, "thread:", found->core->thread_id, err);
	while (code == KEEL_OK && keel_want_walk(found->core, &place, &want))
		code = check_pause(found, "", want.name, err);
	return code;
}

/* --- The whole gate ----------------------------------------------------------------------------------------------- */

static enum keel_code look(struct finding *found, struct keel_error *err)
{
	const struct keel_run_core *core = found->core;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(keel_run_invariant(core));
	if (core->scheduled_at > keel_store_now(found->store))
		note(found, KEEL_GATE_DELAY)->until = core->scheduled_at;
	if (core->blocked)
		code = check_dependencies(found, err);
	if (code == KEEL_OK && !has_enough(found) && core->concurrency > 0)
		code = check_turn(found, err);
	if (code == KEEL_OK && !has_enough(found) && core->concurrency > 0)
		code = check_room(found, err);
	if (code == KEEL_OK && keel_run_is_limited(core))
		code = check_wants(found, err);
	return code == KEEL_OK && core->pauses ? check_pauses(found, err) : code;
}

enum keel_code keel_run_look_at_gate(struct keel_store *store, const struct keel_run_core *core,
									 struct keel_gate_state *state, struct keel_error *err)
{
	struct finding found = {store, core, state, 1, 0};
	*state = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	return look(&found, err);
}

static enum keel_code look_at_position(struct keel_store *store, const struct keel_run_core *core, int64_t *position,
									   struct keel_error *err)
{
	static const char ahead[] =
		"SELECT 1 + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = 0 AND priority > ?2)"
		" + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = 0 AND priority = ?2 AND seq < ?3)"
		" + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = -4 AND priority > ?2)"
		" + (SELECT count(*) FROM live WHERE thread_id = ?1 AND status = -4 AND priority = ?2 AND seq < ?3)";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, ahead, &select, err, keel_value_text(core->thread_id),
									 keel_value_int(core->priority), keel_value_int(core->seq));
	return code == KEEL_OK ? keel_first_number(store, select, NULL, position, err) : code;
}

/* Looks at the gate of a run that is pending; `list` has room for `room`, at least 1. */
static enum keel_code look_at(struct keel_store *store, struct keel_text run_id, bool *found,
							  struct keel_gate_state *list, size_t room, size_t *count, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	int64_t position;
	*found = false;
	*count = 0;
	list[0] = (struct keel_gate_state){.gate = KEEL_GATE_OPEN};
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found && core.status == KEEL_RUN_PENDING) {
		struct finding finding = {store, &core, list, room, 0};
		code = look(&finding, err);
		if (code == KEEL_OK)
			code = look_at_position(store, &core, &position, err);
		list[0].position = code == KEEL_OK ? position : 0;
		*count = finding.count;
	}
	keel_arena_free(&arena);
	keel_read_end(store);
	*found = code == KEEL_OK && core.found;
	return code;
}

enum keel_code keel_run_gate(struct keel_store *store, struct keel_text run_id, bool *found,
							 struct keel_gate_state *state, struct keel_error *err)
{
	size_t count;
	return look_at(store, run_id, found, state, 1, &count, err);
}

enum keel_code keel_run_reasons(struct keel_store *store, struct keel_text run_id, bool *found,
								struct keel_gate_state list[KEEL_REASONS_MAX], size_t *count, struct keel_error *err)
{
	return look_at(store, run_id, found, list, KEEL_REASONS_MAX, count, err);
}
