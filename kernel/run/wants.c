/* wants.c - the slots and rates of runs: their texts, their room, and the rows that say who waits and who holds. Uses:
 * core, starts, store.
 *
 * Room is counted from rows, in the transaction that starts a run; nothing is remembered that could go wrong.
 */
#include "run/wants.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "run/starts.h"

/* What a row of `holds` says. */
enum { WAITS = 0, HOLDS = 1, RATED = 2 };

/* --- Texts -------------------------------------------------------------------------------------------------------- */

/* A whole number, or "-", and the space behind it. */
static bool take_number(struct keel_text *line, int64_t *number)
{
	bool minus = line->size > 0 && line->data[0] == '-';
	size_t i = minus, digits = i;
	int64_t value = 0;
	for (; i < line->size && line->data[i] >= '0' && line->data[i] <= '9'; i++) {
		if (value > (INT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (line->data[i] - '0');
	}
	if ((i == digits && !minus) || i >= line->size || line->data[i] != ' ')
		return false;
	/* A number below 0 is refused by whoever checks: it must not be taken for an open one. */
	*number = i == digits ? KEEL_WANT_OPEN : minus ? -value - 1 : value;
	line->data += i + 1;
	line->size -= i + 1;
	return true;
}

bool keel_want_next(struct keel_text *rest, bool is_rate, struct keel_want *want)
{
	struct keel_text line;
	if (!rest->data || !keel_text_line(rest, &line))
		return false;
	*want = (struct keel_want){.is_rate = is_rate, .max = 0, .per_us = KEEL_WANT_OPEN};
	bool is_sound = take_number(&line, &want->max) && (!is_rate || take_number(&line, &want->per_us));
	want->name = is_sound ? line : (struct keel_text){NULL, 0};
	return true;
}

bool keel_want_walk(const struct keel_run_core *core, struct keel_want_place *place, struct keel_want *want)
{
	if (!place->begun) {
		place->begun = true;
		place->rest = core->slots;
	}
	if (!place->in_rates) {
		if (keel_want_next(&place->rest, false, want))
			return true;
		place->in_rates = true;
		place->rest = core->rates;
	}
	return keel_want_next(&place->rest, true, want);
}

static bool is_reserved(struct keel_text name)
{
	static const char prefix[] = "thread:";
	return keel_text_is(name, "*") || (name.size >= sizeof prefix - 1 && !memcmp(name.data, prefix, sizeof prefix - 1));
}

static enum keel_code check_want(const struct keel_want *want, const char *field, int place, struct keel_error *err)
{
	struct keel_error why;
	if (keel_check_id(want->name, "name", &why) != KEEL_OK)
		return keel_fail_field(err, field, "%s[%d].%s", field, place, why.message);
	if (is_reserved(want->name))
		return keel_fail_field(err, field, "%s[%d].name must not be %.*s: threads and * can only be paused", field,
							   place, (int)want->name.size, want->name.data);
	if (want->max < KEEL_WANT_OPEN || want->max > KEEL_PLACES_MAX)
		return keel_fail_field(err, field, "%s[%d].max must be a whole number from 0 to %d", field, place,
							   KEEL_PLACES_MAX);
	if (want->is_rate && (want->per_us == 0 || want->per_us < KEEL_WANT_OPEN))
		return keel_fail_field(err, field, "%s[%d].per must be a number of seconds greater than 0", field, place);
	return KEEL_OK;
}

enum keel_code keel_wants_check(struct keel_text text, bool is_rate, const char *field, struct keel_error *err)
{
	struct keel_text names[KEEL_WANTS_MAX], rest = text;
	struct keel_want want;
	int count = 0;
	KEEL_ASSERT(field && text.data);
	while (keel_want_next(&rest, is_rate, &want)) {
		if (count == KEEL_WANTS_MAX)
			return keel_fail_field(err, field, "%s has more than %d entries", field, KEEL_WANTS_MAX);
		enum keel_code code = check_want(&want, field, count + 1, err);
		if (code != KEEL_OK)
			return code;
		for (int i = 0; i < count; i++)
			if (keel_text_same(names[i], want.name))
				return keel_fail_field(err, field, "%s[%d].name is that of %s[%d], too", field, count + 1, field,
									   i + 1);
		names[count++] = want.name;
	}
	return count ? KEEL_OK : keel_fail_field(err, field, "%s must not be empty", field);
}

/* Takes a word and the space behind it off a line, if that is how it begins. */
static bool take_word(struct keel_text *line, const char *word)
{
	size_t size = strlen(word);
	if (line->size <= size || memcmp(line->data, word, size) != 0 || line->data[size] != ' ')
		return false;
	line->data += size + 1;
	line->size -= size + 1;
	return true;
}

bool keel_source_next(struct keel_text *rest, struct keel_source *source)
{
	struct keel_text line;
	if (!rest->data || !keel_text_line(rest, &line))
		return false;
	bool success = take_word(&line, "success"), final = !success && take_word(&line, "final");
	bool batch = take_word(&line, "batch"), run = !batch && take_word(&line, "run");
	*source = (struct keel_source){success ? KEEL_WANTED_SUCCESS : KEEL_WANTED_FINAL, batch, line};
	if (!(success || final) || !(batch || run))
		source->id = (struct keel_text){NULL, 0};
	return true;
}

enum keel_code keel_after_check(struct keel_text text, const char *field, struct keel_error *err)
{
	struct keel_source source;
	struct keel_error why;
	int count = 0;
	KEEL_ASSERT(field && text.data);
	while (keel_source_next(&text, &source)) {
		if (++count > KEEL_AFTER_MAX)
			return keel_fail_field(err, field, "%s has more than %d entries", field, KEEL_AFTER_MAX);
		if (keel_check_id(source.id, source.is_batch ? "batch_id" : "run_id", &why) != KEEL_OK)
			return keel_fail_field(err, field, "%s[%d].%s", field, count, why.message);
	}
	return count ? KEEL_OK : keel_fail_field(err, field, "%s must not be empty", field);
}

/* --- What is set for a name --------------------------------------------------------------------------------------- */

/* max and per_us: KEEL_WANT_OPEN where nothing is set. */
static enum keel_code read_limit(struct keel_store *store, struct keel_text name, int64_t *max, int64_t *per_us,
								 struct keel_error *err)
{
	static const char text[] = "SELECT coalesce(max, -1), coalesce(per, -1) FROM limits WHERE name = ?1";
	struct keel_statement *select;
	bool row;
	*max = *per_us = KEEL_WANT_OPEN;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(name));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row) {
		*max = keel_column_int(select, 0);
		*per_us = keel_column_int(select, 1);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_name_paused(struct keel_store *store, const char *prefix, struct keel_text name, bool *paused,
								struct keel_error *err)
{
	struct keel_statement *select;
	int64_t one;
	enum keel_code code = keel_query(store, "SELECT 1 FROM limits WHERE name = ?1 || ?2 AND paused > 0", &select, err,
									 keel_value_text(keel_text_of(prefix)), keel_value_text(name));
	return code == KEEL_OK ? keel_first_number(store, select, paused, &one, err) : code;
}

struct completed {
	struct keel_kept kept;
	struct keel_buffer slots, rates;
};

static void release_completed(struct keel_kept *kept)
{
	struct completed *completed = (struct completed *)kept;
	keel_buffer_free(&completed->slots);
	keel_buffer_free(&completed->rates);
}

/* Whether a text leaves a number open. */
static bool is_open(struct keel_text text, bool is_rate)
{
	struct keel_want want;
	while (keel_want_next(&text, is_rate, &want))
		if (want.max == KEEL_WANT_OPEN || (is_rate && want.per_us == KEEL_WANT_OPEN))
			return true;
	return false;
}

static enum keel_code complete(struct keel_store *store, struct keel_text *text, bool is_rate,
							   struct keel_buffer *buffer, struct keel_error *err)
{
	const char *field = is_rate ? "rates" : "slots";
	struct keel_text rest = *text;
	struct keel_want want;
	keel_buffer_clear(buffer);
	for (int place = 1; keel_want_next(&rest, is_rate, &want); place++) {
		int64_t max, per_us;
		enum keel_code code = read_limit(store, want.name, &max, &per_us, err);
		if (code != KEEL_OK)
			return code;
		if (is_rate != (per_us != KEEL_WANT_OPEN)) /* it is set for the other kind */
			max = per_us = KEEL_WANT_OPEN;
		want.max = want.max == KEEL_WANT_OPEN ? max : want.max;
		want.per_us = want.per_us == KEEL_WANT_OPEN ? per_us : want.per_us;
		if (want.max == KEEL_WANT_OPEN || (is_rate && want.per_us == KEEL_WANT_OPEN))
			return keel_fail_field(err, field, "%s[%d].%s must be given: no limit is set for %.*s", field, place,
								   want.max == KEEL_WANT_OPEN ? "max" : "per", (int)want.name.size, want.name.data);
		keel_buffer_format(buffer, "%s%lld ", place > 1 ? "\n" : "", (long long)want.max);
		if (is_rate)
			keel_buffer_format(buffer, "%lld ", (long long)want.per_us);
		keel_buffer_add(buffer, want.name.data, want.name.size);
	}
	*text = keel_buffer_text(buffer);
	return buffer->failed ? keel_fail_memory(err) : KEEL_OK;
}

enum keel_code keel_wants_complete(struct keel_store *store, struct keel_run *run, struct keel_error *err)
{
	struct keel_text none = {NULL, 0};
	bool slots = is_open(KEEL_RUN_HAS(run, SLOTS) ? run->slots : none, false);
	bool rates = is_open(KEEL_RUN_HAS(run, RATES) ? run->rates : none, true);
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	if (!slots && !rates)
		return KEEL_OK;
	struct completed *completed = keel_store_keep(store, sizeof *completed, release_completed);
	if (!completed)
		return keel_fail_memory(err);
	enum keel_code code = slots ? complete(store, &run->slots, false, &completed->slots, err) : KEEL_OK;
	return code == KEEL_OK && rates ? complete(store, &run->rates, true, &completed->rates, err) : code;
}

/* --- Room --------------------------------------------------------------------------------------------------------- */

static enum keel_code fail_damaged(struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "the slots or rates of a run are damaged");
}

static enum keel_code slot_room(struct keel_store *store, const struct keel_want *want, bool *room,
								struct keel_error *err)
{
	static const char least[] = "SELECT max FROM holds WHERE name = ?1 AND state = 1 ORDER BY max LIMIT 1";
	static const char count[] =
		"SELECT count(*) FROM (SELECT 1 FROM holds WHERE name = ?1 AND state = 1 LIMIT ?2) AS counted";
	struct keel_statement *select;
	int64_t max, per_us, others = INT64_MAX, holding = 0;
	enum keel_code code = read_limit(store, want->name, &max, &per_us, err);
	if (code == KEEL_OK && (max == KEEL_WANT_OPEN || per_us != KEEL_WANT_OPEN)) {
		code = keel_query(store, least, &select, err, keel_value_text(want->name));
		if (code == KEEL_OK)
			code = keel_first_number(store, select, NULL, &others, err);
		max = want->max < others ? want->max : others;
	}
	if (code == KEEL_OK && max < 0)
		return fail_damaged(err);
	if (code == KEEL_OK)
		code = keel_query(store, count, &select, err, keel_value_text(want->name), keel_value_int(max));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &holding, err);
	KEEL_ASSERT(code != KEEL_OK || holding <= max);
	*room = code == KEEL_OK && holding < max;
	return code;
}

static enum keel_code rate_room(struct keel_store *store, const struct keel_want *want, bool *room, int64_t *until,
								struct keel_error *err)
{
	static const char newest[] = "SELECT at FROM starts WHERE name = ?1 ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?2";
	struct keel_statement *select;
	int64_t max, per_us, at = 0, now = keel_store_now(store);
	bool found = false;
	enum keel_code code = read_limit(store, want->name, &max, &per_us, err);
	if (code != KEEL_OK)
		return code;
	if (max == KEEL_WANT_OPEN || per_us == KEEL_WANT_OPEN) {
		max = want->max;
		per_us = want->per_us;
	}
	*room = false;
	*until = INT64_MAX;
	if (max < 1)
		return KEEL_OK;
	code = keel_query(store, newest, &select, err, keel_value_text(want->name), keel_value_int(max - 1));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, &found, &at, err);
	if (at > now) /* the clock was set back */
		at = now;
	*room = code == KEEL_OK && (!found || now - at >= per_us);
	*until = *room ? now : at > INT64_MAX - per_us ? INT64_MAX : at + per_us;
	return code;
}

enum keel_code keel_want_room(struct keel_store *store, const struct keel_want *want, bool *room, int64_t *until,
							  struct keel_error *err)
{
	*room = false;
	*until = INT64_MAX;
	if (!want->name.data)
		return fail_damaged(err);
	return want->is_rate ? rate_room(store, want, room, until, err) : slot_room(store, want, room, err);
}

/* --- Rows --------------------------------------------------------------------------------------------------------- */

/* What a run's row says for something that it wants; -1: there is none. */
static int state_of(const struct keel_run_core *core, const struct keel_want *want)
{
	if (!core || (core->status >= KEEL_RUN_SUCCESS && !core->finalizing))
		return -1;
	if (want->is_rate)
		return core->status == KEEL_RUN_PENDING ? RATED : -1;
	return core->status == KEEL_RUN_PENDING ? WAITS : HOLDS;
}

static enum keel_code change_row(struct keel_store *store, const struct keel_want *want, int64_t seq, int was, int is,
								 struct keel_error *err)
{
	static const char insert[] = "INSERT INTO holds (name, state, max, seq) VALUES (?1, ?2, ?3, ?4)";
	static const char drop[] = "DELETE FROM holds WHERE name = ?1 AND state = ?2 AND max = ?3 AND seq = ?4";
	enum keel_code code = KEEL_OK;
	if (was >= 0 && was != is)
		code = keel_execute(store, drop, err, keel_value_text(want->name), keel_value_int(was),
							keel_value_int(want->max), keel_value_int(seq));
	if (code == KEEL_OK && is >= 0 && was != is)
		code = keel_execute(store, insert, err, keel_value_text(want->name), keel_value_int(is),
							keel_value_int(want->max), keel_value_int(seq));
	return code;
}

enum keel_code keel_wants_change(struct keel_store *store, const struct keel_run_core *before,
								 const struct keel_run_core *after, struct keel_error *err)
{
	const struct keel_run_core *one = before ? before : after;
	bool starts = before && after && before->status == KEEL_RUN_PENDING && after->status == KEEL_RUN_RUNNING;
	struct keel_want_place place = {0};
	struct keel_want want;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(!before || !after || keel_text_same(before->slots, after->slots));
	KEEL_ASSERT(!before || !after || keel_text_same(before->rates, after->rates));
	while (code == KEEL_OK && keel_want_walk(one, &place, &want)) {
		code = change_row(store, &want, one->seq, state_of(before, &want), state_of(after, &want), err);
		if (code == KEEL_OK && want.is_rate && (!before || starts))
			code = keel_starts_keep(store, want.name, want.per_us, err);
		if (code == KEEL_OK && want.is_rate && starts)
			code = keel_starts_add(store, want.name, err);
	}
	return code;
}
