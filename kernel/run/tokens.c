/* tokens.c - what the runs of a thread have used. Uses: store, run fields, json.
 *
 * One statement gives the rows, in one picture of the store, and they are added up here: grouping them in SQL would
 * sort the whole thread, could not look into token_usage_by_model, and knows no overflow that can be told by name.
 */
#include <keel/tokens.h>

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/rows.h"
#include "store/store.h"

/* A sum in the making. */
struct adding {
	struct keel_token_totals *totals;
	struct keel_arena *arena;
	struct keel_buffer name; /* of a model, its escapes resolved */
	size_t *slots;           /* models by name: numbers from 1, open addressing, at most half full */
	size_t slots_count;      /* a power of two */
};

static enum keel_code add(int64_t *sum, int64_t more, const char *name, struct keel_error *err)
{
	if (more < 0 || *sum <= INT64_MAX - more) {
		*sum += more > 0 ? more : 0;
		return KEEL_OK;
	}
	keel_fail(err, KEEL_LIMIT_TOO_LARGE, "%s: the sum is beyond 64 bits", name);
	if (err) {
		strcpy(err->field, name);
		err->requested = err->max = INT64_MAX;
	}
	return KEEL_LIMIT_TOO_LARGE;
}

/* --- Models ------------------------------------------------------------------------------------------------------- */

static size_t hash(struct keel_text name)
{
	uint64_t value = UINT64_C(0xCBF29CE484222325); /* FNV-1a */
	for (size_t i = 0; i < name.size; i++)
		value = (value ^ (unsigned char)name.data[i]) * UINT64_C(0x100000001B3);
	return (size_t)(value ^ value >> 32);
}

/* The slot of a name, or the free one where it belongs. */
static size_t *slot_of(const struct adding *to, struct keel_text name)
{
	KEEL_ASSERT((to->slots_count & (to->slots_count - 1)) == 0 && to->totals->models_count < to->slots_count);
	size_t i = hash(name) & (to->slots_count - 1);
	for (; to->slots[i]; i = (i + 1) & (to->slots_count - 1)) {
		struct keel_text other = to->totals->models[to->slots[i] - 1].name;
		if (other.size == name.size && memcmp(other.data, name.data, name.size) == 0)
			break;
	}
	return &to->slots[i];
}

/* Makes room for one model more. */
static bool grow(struct adding *to)
{
	struct keel_token_totals *totals = to->totals;
	if (totals->models_count < totals->capacity)
		return true;
	size_t capacity = totals->capacity ? totals->capacity * 2 : 8;
	struct keel_model_tokens *models = keel_resize(totals->models, capacity * sizeof *models);
	if (!models)
		return false;
	totals->models = models;
	size_t *slots = keel_new(capacity * 2 * sizeof *slots);
	if (!slots)
		return false;
	totals->capacity = capacity;
	keel_free(to->slots);
	to->slots = slots;
	to->slots_count = capacity * 2;
	for (size_t i = 0; i < totals->models_count; i++)
		*slot_of(to, models[i].name) = i + 1;
	return true;
}

static enum keel_code add_model(struct adding *to, struct keel_text name, int64_t tokens, struct keel_error *err)
{
	struct keel_token_totals *totals = to->totals;
	name = name.size ? keel_text_cut(name, KEEL_MODEL_NAME_MAX) : keel_text_of("unknown");
	if (!grow(to))
		return keel_fail_memory(err);
	size_t *slot = slot_of(to, name);
	if (!*slot) {
		struct keel_model_tokens *fresh = &totals->models[totals->models_count];
		memset(fresh, 0, sizeof *fresh);
		if (!keel_arena_text(&to->arena, name, &fresh->name))
			return keel_fail_memory(err);
		*slot = ++totals->models_count;
	}
	struct keel_model_tokens *model = &totals->models[*slot - 1];
	model->runs++;
	return add(&model->tokens, tokens, "by_model", err);
}

/* The tokens of one model in a token_usage_by_model. */
static bool read_usage(struct keel_text value, int64_t *tokens)
{
	struct keel_json json;
	struct keel_text name, member;
	bool found = false;
	if (keel_json_count(value, tokens))
		return true;
	keel_json_begin(&json, value);
	while (keel_json_member(&json, &name, &member))
		if (keel_text_is(name, "total_tokens") && !(found = keel_json_count(member, tokens)))
			return false;
	return found && !json.failed;
}

/* Goes through a token_usage_by_model; *fits: it says of each model what it used. With `to`, adds that up. */
static enum keel_code read_models(struct keel_text usage, struct adding *to, struct keel_buffer *buffer, bool *fits,
								  struct keel_error *err)
{
	struct keel_json json;
	struct keel_text name, value;
	int64_t tokens;
	enum keel_code code = KEEL_OK;
	*fits = false;
	keel_json_begin(&json, usage);
	while (code == KEEL_OK && keel_json_member(&json, &name, &value)) {
		keel_buffer_clear(buffer);
		*fits = read_usage(value, &tokens) && keel_json_unescape(name, buffer);
		if (buffer->failed)
			return keel_fail_memory(err);
		if (!*fits)
			return KEEL_OK;
		if (to)
			code = add_model(to, keel_buffer_text(buffer), tokens, err);
	}
	*fits = *fits && !json.failed;
	return code;
}

/* --- Runs --------------------------------------------------------------------------------------------------------- */

enum { STATUS, MODEL_NAME, USAGE, TOTAL, INPUT, OUTPUT, LEAD_AGENT, SUBAGENT, MIDDLEWARE };
#define COLUMNS                                                                                         \
	"coalesce(l.status, o.status), model_name, token_usage_by_model, total_tokens, total_input_tokens," \
	" total_output_tokens, lead_agent_tokens, subagent_tokens, middleware_tokens"

static enum keel_code add_run(struct adding *to, struct keel_statement *select, struct keel_error *err)
{
	struct keel_token_totals *totals = to->totals;
	const struct {
		int column;
		int64_t *sum;
		const char *name;
	} sums[] = {
		{TOTAL, &totals->total_tokens, "total_tokens"},
		{INPUT, &totals->total_input_tokens, "total_input_tokens"},
		{OUTPUT, &totals->total_output_tokens, "total_output_tokens"},
		{LEAD_AGENT, &totals->lead_agent_tokens, "lead_agent_tokens"},
		{SUBAGENT, &totals->subagent_tokens, "subagent_tokens"},
		{MIDDLEWARE, &totals->middleware_tokens, "middleware_tokens"},
	};
	enum keel_code code = KEEL_OK;
	bool fits = false;
	for (size_t i = 0; code == KEEL_OK && i < sizeof sums / sizeof sums[0]; i++)
		code = add(sums[i].sum, keel_column_int(select, sums[i].column), sums[i].name, err);
	if (code != KEEL_OK)
		return code;
	KEEL_ASSERT(keel_run_status_name((enum keel_run_status)keel_column_int(select, STATUS)));
	totals->total_runs++;
	totals->runs_by_status[keel_column_int(select, STATUS)]++;
	struct keel_text usage, name;
	if (!keel_column_read(select, USAGE, &usage) || !keel_column_read(select, MODEL_NAME, &name))
		return keel_fail_memory(err);
	if (usage.data)
		code = read_models(usage, NULL, &to->name, &fits, err);
	if (code == KEEL_OK && fits)
		return read_models(usage, to, &to->name, &fits, err);
	return code == KEEL_OK ? add_model(to, name, keel_column_int(select, TOTAL), err) : code;
}

enum keel_code keel_tokens_of_thread(struct keel_store *store, struct keel_text thread_id, bool include_active,
									 struct keel_token_totals *totals, struct keel_error *err)
{
	static const char text[] = "SELECT " COLUMNS " " KEEL_RUN_FROM "WHERE r.thread_id = ?1"
							   " AND coalesce(l.status, o.status) BETWEEN ?2 AND ?3"
							   " AND coalesce(r.operation_kind, 'run') = 'run'";
	struct keel_statement *select;
	struct adding to = {.totals = totals};
	bool row;
	keel_token_totals_clear(totals);
	enum keel_code code = keel_check_id(thread_id, "thread_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(thread_id),
						  keel_value_int(include_active ? KEEL_RUN_RUNNING : KEEL_RUN_SUCCESS),
						  keel_value_int(KEEL_RUN_STATUS_COUNT - 1));
	if (code != KEEL_OK)
		return code;
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;) {
		code = add_run(&to, select, err);
		if (code == KEEL_OK)
			code = keel_step(select, &row, err);
	}
	keel_reset(select);
	keel_buffer_free(&to.name);
	keel_free(to.slots);
	totals->memory = to.arena;
	if (code != KEEL_OK)
		keel_token_totals_clear(totals);
	return code;
}

void keel_token_totals_clear(struct keel_token_totals *totals)
{
	struct keel_arena *arena = totals->memory;
	keel_arena_free(&arena);
	keel_free(totals->models);
	memset(totals, 0, sizeof *totals);
}
