/* line.c - the lines of what may be claimed. Uses: gate, starts, wants. */
#include "run/line.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/gate.h"
#include "run/predicates.h"
#include "run/starts.h"
#include "run/wants.h"
#include "store/transaction.h"

static struct keel_text handler_of(const struct keel_run_core *core)
{
	return core->handler.data ? core->handler : keel_text_of(KEEL_HANDLER_DEFAULT);
}

static bool waits(const struct keel_run_core *core)
{
	return core->concurrency > 0 || keel_run_is_limited(core);
}

/* Whether a run belongs to line 0, which has no row: it waits for nothing, and names no handler. */
static bool is_plain(const struct keel_run_core *core)
{
	return !waits(core) && keel_text_is(handler_of(core), KEEL_HANDLER_DEFAULT);
}

/* A line whose runs are on one thread is that thread's; others are shared, and whoever changes one has to have the
 * whole store. */
static enum keel_code cover_line(struct keel_store *store, const struct keel_run_core *core, bool apart,
								 struct keel_error *err)
{
	bool own = (core->concurrency > 0 || apart) && !core->waits_for.data && !keel_run_is_limited(core);
	KEEL_ASSERT(apart || !is_plain(core));
	return own ? KEEL_OK : keel_write_cover_all(store, err);
}

/* --- Places ------------------------------------------------------------------------------------------------------- */

/* A line that is set apart waits for a pause of its thread to be over, besides. */
#define APART "pause "

/* What the runs of a line wait for. */
static enum keel_code name_places(const struct keel_run_core *core, bool apart, struct keel_buffer *places,
								  struct keel_error *err)
{
	struct keel_want_place place = {0};
	struct keel_want want;
	if (core->concurrency > 0)
		keel_buffer_format(places, "%s %lld ", core->strict ? "strict" : "thread", (long long)core->concurrency);
	else if (apart)
		keel_buffer_put(places, APART);
	if (core->concurrency > 0 || apart)
		keel_buffer_add(places, core->thread_id.data, core->thread_id.size);
	while (keel_want_walk(core, &place, &want)) {
		keel_buffer_format(places, "\n%s %lld", want.is_rate ? "rate" : "slot", (long long)want.max);
		if (want.is_rate)
			keel_buffer_format(places, " %lld", (long long)want.per_us);
		keel_buffer_put(places, " ");
		keel_buffer_add(places, want.name.data, want.name.size);
	}
	KEEL_ASSERT(places->failed || apart || waits(core) == (places->size > 0));
	if (!places->size)
		keel_buffer_put(places, "");
	return places->failed ? keel_fail_memory(err) : KEEL_OK;
}

enum { KEY_MAX = 64 };

/* Where a line is parked: a name and a key. */
struct spot {
	char name[KEEL_ID_MAX + 8];
	char key[KEY_MAX];
};

static const char *const prefixes[] = {[KEEL_AT_THREAD] = "thread:", [KEEL_AT_RUN] = "run:", [KEEL_AT_NAME] = "at:"};

static void set_spot(struct spot *spot, enum keel_line_at at, struct keel_text name)
{
	size_t begun = strlen(prefixes[at]), size = name.size < KEEL_ID_MAX ? name.size : KEEL_ID_MAX;
	memcpy(spot->name, prefixes[at], begun);
	memcpy(spot->name + begun, name.data, size);
	spot->name[begun + size] = '\0';
	spot->key[0] = '\0';
}

static bool same_spot(const struct spot *a, const struct spot *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->key, b->key) == 0;
}

/* The spot of a slot or rate of a run. */
static void find_want_spot(const struct keel_run_core *core, const struct keel_gate_state *state, struct spot *spot)
{
	struct keel_want_place place = {0};
	struct keel_want want;
	set_spot(spot, KEEL_AT_NAME, keel_text_of(state->name));
	while (keel_want_walk(core, &place, &want)) {
		if (!keel_text_is(want.name, state->name) || (state->gate == KEEL_GATE_SLOT && want.is_rate) ||
			(state->gate == KEEL_GATE_RATE && !want.is_rate))
			continue;
		if (want.is_rate)
			snprintf(spot->key, sizeof spot->key, "rate %lld %lld", (long long)want.max, (long long)want.per_us);
		else
			snprintf(spot->key, sizeof spot->key, "slot %lld", (long long)want.max);
		return;
	}
}

static bool is_pause_of_thread(const struct keel_gate_state *state)
{
	return state->gate == KEEL_GATE_PAUSED && strncmp(state->name, "thread:", 7) == 0;
}

/* The spot of what is in the way of a line's head. */
static void find_spot(int64_t line, const struct keel_run_core *core, const struct keel_gate_state *state,
					  struct spot *spot)
{
	KEEL_ASSERT(state->gate != KEEL_GATE_OPEN);
	if (state->gate == KEEL_GATE_AFTER) {
		set_spot(spot, KEEL_AT_RUN, keel_text_of(state->run_id));
		return;
	}
	if (state->gate == KEEL_GATE_SLOT || state->gate == KEEL_GATE_RATE ||
		(state->gate == KEEL_GATE_PAUSED && !is_pause_of_thread(state))) {
		find_want_spot(core, state, spot);
		return;
	}
	set_spot(spot, KEEL_AT_THREAD, core->thread_id);
	if (state->gate == KEEL_GATE_CONCURRENCY)
		snprintf(spot->key, sizeof spot->key, "room %lld", (long long)core->concurrency);
	else if (state->gate == KEEL_GATE_PAUSED)
		snprintf(spot->key, sizeof spot->key, "pause");
	else if (core->strict || state->alike)
		snprintf(spot->key, sizeof spot->key, "turn %lld", (long long)line);
	else
		snprintf(spot->key, sizeof spot->key, "queue");
}

/* Whether there is room for those who are parked at a name of slots or rates, by their key; or when. */
static enum keel_code has_room(struct keel_store *store, const struct spot *spot, bool *room, int64_t *until,
							   struct keel_error *err)
{
	struct keel_want want = {.name = keel_text_of(spot->name + strlen(prefixes[KEEL_AT_NAME]))};
	long long max = 0, per_us = 0;
	bool paused = false;
	*until = INT64_MAX;
	want.is_rate = sscanf(spot->key, "rate %lld %lld", &max, &per_us) == 2;
	if (!want.is_rate && sscanf(spot->key, "slot %lld", &max) != 1)
		return keel_fail(err, KEEL_STORE_CORRUPT, "a line is parked at %s with the key %s", spot->name, spot->key);
	want.max = max;
	want.per_us = per_us;
	enum keel_code code = keel_name_paused(store, "", want.name, &paused, err);
	*room = false;
	return code == KEEL_OK && !paused ? keel_want_room(store, &want, room, until, err) : code;
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

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
	return keel_execute(store, "UPDATE lines SET priority = ?2, seq = ?3, " KEEL_LINE_READY " WHERE line = ?1", err,
						keel_value_int(head->line), keel_value_int(head->priority), keel_value_int(head->seq));
}

enum keel_code keel_line_wake_one(struct keel_store *store, int64_t line, struct keel_error *err)
{
	return keel_execute(store, "UPDATE lines SET " KEEL_LINE_READY " WHERE line = ?1", err, keel_value_int(line));
}

/* Those that are parked at one spot and for one handler. */
struct group {
	struct spot spot;
	char handler[KEEL_ID_MAX + 1];
	int64_t best; /* the line */
};

/* The group behind a key and handler at the name of a group. *row false: there is none. */
static enum keel_code next_group(struct keel_store *store, struct group *group, bool *row, struct keel_error *err)
{
	static const char text[] =
		"SELECT parked_key, handler, line FROM lines WHERE parked_name = ?1 AND " KEEL_LINE_PARKED
		" AND (parked_key, handler) > (?2, ?3)"
		" ORDER BY parked_key, handler, priority DESC, seq LIMIT 1";
	struct keel_statement *select;
	enum keel_code code =
		keel_query(store, text, &select, err, keel_value_text(keel_text_of(group->spot.name)),
				   keel_value_text(keel_text_of(group->spot.key)), keel_value_text(keel_text_of(group->handler)));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, row, err);
	if (code == KEEL_OK && *row) {
		code = keel_column_copy(select, 0, group->spot.key, sizeof group->spot.key, err);
		if (code == KEEL_OK)
			code = keel_column_copy(select, 1, group->handler, sizeof group->handler, err);
		group->best = keel_column_int(select, 2);
	}
	keel_reset(select);
	return code;
}

/* A rate is full until then: a claim makes the line ready at that time. */
static enum keel_code wake_at(struct keel_store *store, int64_t line, int64_t until, struct keel_error *err)
{
	static const char text[] = "INSERT INTO later (at, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
	KEEL_ASSERT(line > 0);
	return until == INT64_MAX ? KEEL_OK : keel_execute(store, text, err, keel_value_int(until), keel_value_int(-line));
}

/* Makes a line ready, if there is room where it is parked. */
static enum keel_code make_ready(struct keel_store *store, const struct group *group, struct keel_error *err)
{
	bool room = true;
	int64_t until = INT64_MAX;
	enum keel_code code = KEEL_OK;
	if (strncmp(group->spot.name, prefixes[KEEL_AT_NAME], strlen(prefixes[KEEL_AT_NAME])) == 0)
		code = has_room(store, &group->spot, &room, &until, err);
	if (code != KEEL_OK)
		return code;
	return room ? keel_line_wake_one(store, group->best, err) : wake_at(store, group->best, until, err);
}

enum keel_code keel_line_wake(struct keel_store *store, enum keel_line_at at, struct keel_text name,
							  struct keel_error *err)
{
	struct group group = {.best = 0};
	bool row = true;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(name.data);
	set_spot(&group.spot, at, name);
	while (code == KEEL_OK && row) {
		code = next_group(store, &group, &row, err);
		if (code == KEEL_OK && row)
			code = make_ready(store, &group, err);
	}
	return code;
}

enum keel_code keel_line_meet(struct keel_store *store, struct keel_text name, bool *met, struct keel_error *err)
{
	enum keel_code code = keel_starts_meet(store, name, met, err);
	return code == KEEL_OK && *met ? keel_line_wake(store, KEEL_AT_NAME, name, err) : code;
}

/* What a row of a line says of it besides its head. */
struct state {
	bool found, ready, parked; /* parked: it was, when it was last looked at */
	bool apart;
	struct group from;
};

static enum keel_code read_state(struct keel_store *store, int64_t line, struct state *state, struct keel_error *err)
{
	static const char text[] =
		"SELECT ready, parked_name IS NOT NULL, parked_name, parked_key, handler, substr(places, 1,"
		" 6) = '" APART "' FROM lines WHERE line = ?1";
	struct keel_statement *select;
	*state = (struct state){.found = false};
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(line));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &state->found, err);
	if (code == KEEL_OK && state->found) {
		state->ready = keel_column_int(select, 0) != 0;
		state->parked = keel_column_int(select, 1) != 0;
		state->apart = keel_column_int(select, 5) != 0;
		code = keel_column_copy(select, 2, state->from.spot.name, sizeof state->from.spot.name, err);
		if (code == KEEL_OK)
			code = keel_column_copy(select, 3, state->from.spot.key, sizeof state->from.spot.key, err);
		if (code == KEEL_OK)
			code = keel_column_copy(select, 4, state->from.handler, sizeof state->from.handler, err);
	}
	keel_reset(select);
	return code;
}

/* A ready line does not stand for those any more that it was parked with: the best of them does. */
static enum keel_code pass_on(struct keel_store *store, const struct state *state, struct keel_error *err)
{
	static const char text[] = "SELECT line FROM lines WHERE parked_name = ?1 AND parked_key = ?2 AND handler = ?3"
							   " AND " KEEL_LINE_PARKED " ORDER BY priority DESC, seq LIMIT 1";
	struct keel_statement *select;
	struct group group = state->from;
	bool row;
	if (!state->ready || !state->parked)
		return KEEL_OK;
	KEEL_ASSERT(state->found && state->from.handler[0]);
	enum keel_code code =
		keel_query(store, text, &select, err, keel_value_text(keel_text_of(group.spot.name)),
				   keel_value_text(keel_text_of(group.spot.key)), keel_value_text(keel_text_of(group.handler)));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, &row, &group.best, err);
	return code == KEEL_OK && row ? make_ready(store, &group, err) : code;
}

/* --- Joining and leaving ------------------------------------------------------------------------------------------ */

/* Makes the line of a run, or gives it a new head. *looks: the head has to be looked at. */
static enum keel_code line_for(struct keel_store *store, const struct keel_run_core *core, bool apart, int64_t *line,
							   bool *looks, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO lines (places, handler, priority, seq, ready) VALUES (?1, ?2, ?3, ?4, 1)";
	/* Its head may be one whose time is over, and which nobody goes behind: see keel_line_pass. */
	static const char wait_over[] = "UPDATE lines SET " KEEL_LINE_READY " WHERE line = ?1 AND " KEEL_LINE_PARKED
									" AND substr(parked_name, 1, 4) = 'run:'";
	struct keel_buffer places = {0};
	struct keel_line_head head = {.line = -1};
	KEEL_ASSERT(apart || !is_plain(core));
	enum keel_code code = cover_line(store, core, apart, err);
	if (code == KEEL_OK)
		code = name_places(core, apart, &places, err);
	if (code == KEEL_OK)
		code = find(store, core, keel_buffer_text(&places), &head, err);
	if (code == KEEL_OK && head.line < 0) {
		code =
			keel_execute(store, insert, err, keel_value_text(keel_buffer_text(&places)),
						 keel_value_text(handler_of(core)), keel_value_int(core->priority), keel_value_int(core->seq));
		head.line = store->sql->driver->inserted(store->sql);
		*looks = apart || waits(core);
	} else if (code == KEEL_OK && is_better(core->priority, core->seq, &head)) {
		head = (struct keel_line_head){head.line, core->priority, core->seq};
		code = set_head(store, &head, err);
		*looks = apart || waits(core);
	} else if (code == KEEL_OK && core->concurrency == 0) {
		code = keel_execute(store, wait_over, err, keel_value_int(head.line));
	}
	*line = head.line;
	keel_buffer_free(&places);
	return code;
}

static enum keel_code join(struct keel_store *store, const struct keel_run_core *core, bool apart,
						   struct keel_error *err)
{
	static const char insert[] = "INSERT INTO claims (line, priority, seq, thread_id, handler, deadline)"
								 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	struct keel_gate_state state;
	bool looks = false;
	int64_t line = 0;
	KEEL_ASSERT(core->status == KEEL_RUN_PENDING && core->claimable && !core->cancel_requested);
	enum keel_code code = !apart && is_plain(core) ? KEEL_OK : line_for(store, core, apart, &line, &looks, err);
	if (code == KEEL_OK)
		code =
			keel_execute(store, insert, err, keel_value_int(line), keel_value_int(core->priority),
						 keel_value_int(core->seq), keel_value_text(core->thread_id), keel_value_text(handler_of(core)),
						 core->deadline == INT64_MIN ? keel_value_null() : keel_value_int(core->deadline));
	if (code != KEEL_OK || !looks)
		return code;
	/* Whoever comes while the line is blocked must not cost a claim a look. */
	struct keel_run_core looked_at = *core;
	looked_at.pauses = true; /* of a new run it is not known */
	code = keel_run_look_at_gate(store, &looked_at, &state, err);
	return code == KEEL_OK && state.gate != KEEL_GATE_OPEN ? keel_line_park(store, line, core, &state, err) : code;
}

enum keel_code keel_line_join(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	bool apart = false;
	enum keel_code code = KEEL_OK;
	if (core->concurrency == 0)
		code = keel_name_paused(store, "thread:", core->thread_id, &apart, err);
	return code == KEEL_OK ? join(store, core, apart, err) : code;
}

/* The line's next head, or its end. */
static enum keel_code move_up(struct keel_store *store, int64_t line, struct keel_error *err)
{
	struct keel_statement *select;
	struct keel_line_head next;
	struct state state;
	enum keel_code code = read_state(store, line, &state, err);
	if (code == KEEL_OK)
		code = keel_query(store,
						  "SELECT line, priority, seq FROM claims WHERE line = ?1 ORDER BY priority DESC, seq LIMIT 1",
						  &select, err, keel_value_int(line));
	if (code == KEEL_OK)
		code = read_head(select, &next, err);
	if (code == KEEL_OK)
		code = next.line < 0 ? keel_execute(store, "DELETE FROM lines WHERE line = ?1", err, keel_value_int(line))
							 : set_head(store, &next, err);
	return code == KEEL_OK ? pass_on(store, &state, err) : code;
}

/* Takes a run out of the line that it is in if it is, or is not, set apart. *left false: it is not in there. */
static enum keel_code leave(struct keel_store *store, const struct keel_run_core *core, bool apart, bool *left,
							struct keel_error *err)
{
	struct keel_line_head head = {0, 0, 0};
	struct keel_buffer places = {0};
	int64_t count = 0;
	enum keel_code code = KEEL_OK;
	*left = false;
	if (apart || !is_plain(core)) {
		code = cover_line(store, core, apart, err);
		if (code == KEEL_OK)
			code = name_places(core, apart, &places, err);
		if (code == KEEL_OK)
			code = find(store, core, keel_buffer_text(&places), &head, err);
		keel_buffer_free(&places);
	}
	if (code != KEEL_OK || head.line < 0)
		return code;
	code = keel_execute(store, "DELETE FROM claims WHERE line = ?1 AND priority = ?2 AND seq = ?3", err,
						keel_value_int(head.line), keel_value_int(core->priority), keel_value_int(core->seq));
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	*left = code == KEEL_OK && count > 0;
	if (*left && head.line > 0 && head.seq == core->seq)
		code = move_up(store, head.line, err);
	return code;
}

enum keel_code keel_line_leave(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	bool left;
	enum keel_code code = leave(store, core, false, &left, err);
	return code == KEEL_OK && !left && core->concurrency == 0 ? leave(store, core, true, &left, err) : code;
}

enum keel_code keel_line_park(struct keel_store *store, int64_t line, const struct keel_run_core *core,
							  const struct keel_gate_state *state, struct keel_error *err)
{
	static const char text[] =
		"UPDATE lines SET " KEEL_LINE_PARKED ", parked_name = ?2, parked_key = ?3 WHERE line = ?1";
	struct state before;
	struct spot spot;
	bool left, met;
	KEEL_ASSERT(line >= 0 && state->gate != KEEL_GATE_OPEN);
	if (state->gate == KEEL_GATE_PAUSED && strcmp(state->name, "*") == 0)
		return KEEL_OK;
	enum keel_code code = read_state(store, line, &before, err);
	if (code == KEEL_OK && is_pause_of_thread(state) && core->concurrency == 0 && !before.apart) {
		code = leave(store, core, false, &left, err);
		return code == KEEL_OK ? join(store, core, true, err) : code;
	}
	find_spot(line, core, state, &spot);
	if (code == KEEL_OK)
		code = keel_execute(store, text, err, keel_value_int(line), keel_value_text(keel_text_of(spot.name)),
							keel_value_text(keel_text_of(spot.key)));
	if (code == KEEL_OK && state->gate == KEEL_GATE_RATE)
		code = wake_at(store, line, state->until, err);
	if (code == KEEL_OK && state->gate == KEEL_GATE_RATE)
		code = keel_line_meet(store, keel_text_of(state->name), &met, err);
	return code == KEEL_OK && !same_spot(&before.from.spot, &spot) ? pass_on(store, &before, err) : code;
}

/* --- A thread that is paused -------------------------------------------------------------------------------------- */

enum { APART_MAX = 1000 }; /* runs that are set apart in one transaction */

/* The first line behind *line in which runs of a thread are that do not wait for their thread; and the first of them.
 * *seq 0: there is none. */
static enum keel_code next_to_set_apart(struct keel_store *store, struct keel_text thread_id, int64_t *line,
										char run_id[KEEL_ID_MAX + 1], bool *found, struct keel_error *err)
{
	static const char text[] =
		"SELECT c.line, (SELECT run_id FROM runs WHERE seq = c.seq) FROM claims AS c LEFT JOIN lines AS l ON"
		" l.line = c.line WHERE c.thread_id = ?1 AND c.line > ?2 AND (l.places IS NULL OR NOT (substr(l.places, 1, 7) ="
		" 'thread ' OR substr(l.places, 1, 7) = 'strict ' OR substr(l.places, 1, 6) = '" APART
		"')) ORDER BY c.line, c.priority DESC, c.seq LIMIT 1";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(thread_id), keel_value_int(*line));
	return code == KEEL_OK ? keel_run_first(select, line, run_id, found, err) : code;
}

/* Moves runs of a thread from a line to the one that `core`, the first of them, has when it is set apart. */
static enum keel_code set_apart(struct keel_store *store, const struct keel_run_core *core, int64_t line,
								int64_t *moved, struct keel_error *err)
{
	static const char move[] = "UPDATE claims SET line = ?3 WHERE thread_id = ?1 AND line = ?2 AND seq IN (SELECT seq"
							   " FROM claims WHERE thread_id = ?1 AND line = ?2 ORDER BY priority DESC, seq LIMIT ?4)";
	int64_t to;
	bool looks = false;
	KEEL_ASSERT(core->concurrency == 0 && line >= 0);
	enum keel_code code = line_for(store, core, true, &to, &looks, err);
	if (code == KEEL_OK)
		code = keel_execute(store, move, err, keel_value_text(core->thread_id), keel_value_int(line),
							keel_value_int(to), keel_value_int(APART_MAX));
	*moved = 0;
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, moved, err);
	if (code == KEEL_OK)
		code = move_up(store, to, err);
	return code == KEEL_OK && line > 0 ? move_up(store, line, err) : code;
}

enum keel_code keel_line_set_apart(struct keel_store *store, struct keel_text thread_id, int64_t *line, bool *more,
								   struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	char run_id[KEEL_ID_MAX + 1];
	int64_t moved = 0, before = *line;
	*more = false;
	enum keel_code code = next_to_set_apart(store, thread_id, line, run_id, more, err);
	if (code == KEEL_OK && *more)
		code = keel_run_read_core(store, keel_text_of(run_id), &arena, &core, err);
	if (code == KEEL_OK && *more && !core.found)
		code = keel_fail(err, KEEL_STORE_CORRUPT, "a run that may be claimed is not there: %s", run_id);
	if (code == KEEL_OK && *more)
		code = set_apart(store, &core, *line, &moved, err);
	keel_arena_free(&arena);
	if (moved == APART_MAX)
		*line = before; /* there may be more in it */
	return code;
}

/* --- The best ---------------------------------------------------------------------------------------------------- */

/* A line whose runs do not wait for their turn may have a head whose time is over, which stays until somebody recovers
 * it: the first whose time is not over is looked for. */
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
	enum keel_code code = core->concurrency > 0 ? KEEL_OK : best_unexpired(store, head->line, now, &next, err);
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
