/* fields.c - the fields of a run: names, types, access, and what values they take. Uses: wants. */
#include <keel/run.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/document.h"
#include "base/error.h"
#include "base/text.h"
#include "run/fields.h"
#include "run/wants.h"

static const struct {
	const char *name;
	enum keel_field_type type;
	enum keel_field_giver giver;
	size_t offset;
} fields[KEEL_RUN_FIELD_COUNT] = {
#define FIELD_ENTRY(NAME, member, type, giver, part) \
	{#member, KEEL_TYPE_##type, KEEL_GIVEN_BY_##giver, offsetof(struct keel_run, member)},
	KEEL_RUN_FIELD_MAP(FIELD_ENTRY)
#undef FIELD_ENTRY
};

_Static_assert(KEEL_RUN_FIELD_COUNT > 64 && KEEL_RUN_FIELD_COUNT <= 128, "a set of fields is two words");

/* The bit of a field in a word of the set of a part, if it is there. */
#define IN_PART(NAME, word, part, of)                                             \
	| (KEEL_PART_##part == KEEL_PART_##of && KEEL_RUN_FIELD_##NAME / 64 == (word) \
		   ? UINT64_C(1) << KEEL_RUN_FIELD_##NAME % 64                            \
		   : 0)
#define FIXED_0(NAME, member, type, giver, part) IN_PART(NAME, 0, part, FIXED)
#define FIXED_1(NAME, member, type, giver, part) IN_PART(NAME, 1, part, FIXED)
#define STATE_0(NAME, member, type, giver, part) IN_PART(NAME, 0, part, STATE)
#define STATE_1(NAME, member, type, giver, part) IN_PART(NAME, 1, part, STATE)
#define WORK_0(NAME, member, type, giver, part) IN_PART(NAME, 0, part, WORK)
#define WORK_1(NAME, member, type, giver, part) IN_PART(NAME, 1, part, WORK)
const keel_run_set keel_run_parts[KEEL_PART_COUNT] = {
	[KEEL_PART_FIXED] = {{0 KEEL_RUN_FIELD_MAP(FIXED_0), 0 KEEL_RUN_FIELD_MAP(FIXED_1)}},
	[KEEL_PART_STATE] = {{0 KEEL_RUN_FIELD_MAP(STATE_0), 0 KEEL_RUN_FIELD_MAP(STATE_1)}},
	[KEEL_PART_WORK] = {{0 KEEL_RUN_FIELD_MAP(WORK_0), 0 KEEL_RUN_FIELD_MAP(WORK_1)}},
};

static const char *const statuses[KEEL_RUN_STATUS_COUNT] = {
#define STATUS_ENTRY(name, number, text) [number] = text,
	KEEL_RUN_STATUS_MAP(STATUS_ENTRY)
#undef STATUS_ENTRY
};

const char *keel_run_status_name(enum keel_run_status status)
{
	return (unsigned)status < KEEL_RUN_STATUS_COUNT ? statuses[status] : NULL;
}

bool keel_run_status_find(struct keel_text name, enum keel_run_status *status)
{
	for (int i = 0; i < KEEL_RUN_STATUS_COUNT; i++) {
		if (keel_text_is(name, statuses[i])) {
			*status = (enum keel_run_status)i;
			return true;
		}
	}
	return false;
}

bool keel_run_status_is_final(enum keel_run_status status)
{
	return status >= KEEL_RUN_SUCCESS;
}

const char *keel_run_field_name(enum keel_run_field field)
{
	KEEL_ASSERT((unsigned)field < KEEL_RUN_FIELD_COUNT);
	return fields[field].name;
}

enum keel_field_type keel_run_field_type(enum keel_run_field field)
{
	KEEL_ASSERT((unsigned)field < KEEL_RUN_FIELD_COUNT);
	return fields[field].type;
}

bool keel_run_is_text(enum keel_field_type type)
{
	return type == KEEL_TYPE_ID || type == KEEL_TYPE_TEXT || type == KEEL_TYPE_JSON || type == KEEL_TYPE_VALUE ||
		   type == KEEL_TYPE_IDS || type == KEEL_TYPE_SLOTS || type == KEEL_TYPE_RATES || type == KEEL_TYPE_AFTER ||
		   type == KEEL_TYPE_WORD;
}

enum keel_field_giver keel_run_field_giver(enum keel_run_field field)
{
	KEEL_ASSERT((unsigned)field < KEEL_RUN_FIELD_COUNT);
	return fields[field].giver;
}

struct keel_text *keel_run_text(struct keel_run *run, enum keel_run_field field)
{
	return (struct keel_text *)(void *)((char *)run + fields[field].offset);
}

int64_t *keel_run_number(struct keel_run *run, enum keel_run_field field)
{
	return (int64_t *)(void *)((char *)run + fields[field].offset);
}

/* --- Checking ---------------------------------------------------------------------------------------------------- */

static const char *const on_disconnect_words[] = {"cancel", "continue", NULL};
static const char *const operation_kind_words[] = {"run",    "dispatch", "checkpoint_write", "artifact_write",
												   "delete", NULL};
static const char *const cancel_action_words[] = {"interrupt", "rollback", NULL};

static const char *const *words_of(enum keel_run_field field)
{
	switch (field) {
	case KEEL_RUN_FIELD_ON_DISCONNECT:
		return on_disconnect_words;
	case KEEL_RUN_FIELD_OPERATION_KIND:
		return operation_kind_words;
	default:
		return cancel_action_words;
	}
}

static enum keel_code check_word(struct keel_text text, enum keel_run_field field, struct keel_error *err)
{
	const char *const *words = words_of(field);
	KEEL_ASSERT(fields[field].type == KEEL_TYPE_WORD);
	for (int i = 0; words[i]; i++)
		if (keel_text_is(text, words[i]))
			return KEEL_OK;
	char list[128] = "";
	for (int i = 0; words[i]; i++) {
		size_t size = strlen(list);
		snprintf(list + size, sizeof list - size, "%s%s", i > 0 ? ", " : "", words[i]);
	}
	return keel_fail_field(err, fields[field].name, "%s must be one of: %s", fields[field].name, list);
}

static enum keel_code check_ids(struct keel_text ids, const char *name, struct keel_error *err)
{
	struct keel_text id;
	enum keel_code code = ids.size > 0 ? keel_check_text(ids, name, err) : keel_check_id(ids, name, err);
	while (code == KEEL_OK && keel_text_line(&ids, &id))
		code = keel_check_id(id, name, err);
	return code;
}

static enum keel_code check_field(struct keel_run *run, enum keel_run_field field, struct keel_error *err)
{
	const char *name = fields[field].name;
	switch (fields[field].type) {
	case KEEL_TYPE_ID:
		return keel_check_id(*keel_run_text(run, field), name, err);
	case KEEL_TYPE_IDS:
		return check_ids(*keel_run_text(run, field), name, err);
	case KEEL_TYPE_AFTER:
		return keel_after_check(*keel_run_text(run, field), name, err);
	case KEEL_TYPE_SLOTS:
	case KEEL_TYPE_RATES:
		return keel_wants_check(*keel_run_text(run, field), fields[field].type == KEEL_TYPE_RATES, name, err);
	case KEEL_TYPE_WORD:
		return check_word(*keel_run_text(run, field), field, err);
	case KEEL_TYPE_JSON:
	case KEEL_TYPE_VALUE:
		if (!keel_run_set_has(run->sound, field))
			return keel_check_document(*keel_run_text(run, field), name, err);
		/* fall through */
	case KEEL_TYPE_TEXT:
		return keel_check_text(*keel_run_text(run, field), name, err);
	case KEEL_TYPE_STATUS:
		if (*keel_run_number(run, field) < 0 || *keel_run_number(run, field) >= KEEL_RUN_STATUS_COUNT)
			return keel_fail_field(err, name, "%s %lld is unknown", name, (long long)*keel_run_number(run, field));
		return KEEL_OK;
	case KEEL_TYPE_COUNT:
	case KEEL_TYPE_SPAN:
		if (*keel_run_number(run, field) < 0)
			return keel_fail_field(err, name, "%s must not be negative", name);
		return KEEL_OK;
	case KEEL_TYPE_FLAG:
		if (*keel_run_number(run, field) != 0 && *keel_run_number(run, field) != 1)
			return keel_fail_field(err, name, "%s must be true or false", name);
		return KEEL_OK;
	case KEEL_TYPE_INT:
	case KEEL_TYPE_TIME:
		return KEEL_OK;
	}
	return KEEL_OK;
}

enum keel_code keel_run_check_stored(struct keel_run *run, struct keel_error *err)
{
	const keel_run_set names = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID, KEEL_RUN_FIELD_THREAD_ID);
	const keel_run_set lists =
		KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SLOTS, KEEL_RUN_FIELD_RATES, KEEL_RUN_FIELD_AFTER, KEEL_RUN_FIELD_WAITS_FOR);
	struct keel_error why;
	enum keel_run_field field;
	keel_run_set left =
		keel_run_set_union(keel_run_set_common(names, run->given), keel_run_set_common(lists, run->valued));
	while (keel_run_set_take(&left, &field))
		if (check_field(run, field, &why) != KEEL_OK)
			return keel_fail(err, KEEL_STORE_CORRUPT, "the row of a run is damaged: %s", why.message);
	return KEEL_OK;
}

enum keel_code keel_run_check(struct keel_run *run, struct keel_error *err)
{
	enum keel_run_field field;
	KEEL_ASSERT(keel_run_is_whole(run));
	for (keel_run_set left = run->valued; keel_run_set_take(&left, &field);) {
		enum keel_code code = check_field(run, field, err);
		if (code != KEEL_OK)
			return code;
	}
	if (KEEL_RUN_HAS(run, RESULT) && run->result.size > KEEL_RESULT_MAX)
		return keel_fail_limit(err, "result", (int64_t)run->result.size, KEEL_RESULT_MAX);
	if (KEEL_RUN_HAS(run, MODEL_NAME))
		run->model_name = keel_text_cut(run->model_name, KEEL_MODEL_NAME_MAX);
	if (KEEL_RUN_HAS(run, LAST_AI_MESSAGE))
		run->last_ai_message = keel_text_cut(run->last_ai_message, KEEL_EXCERPT_MAX);
	if (KEEL_RUN_HAS(run, FIRST_HUMAN_MESSAGE))
		run->first_human_message = keel_text_cut(run->first_human_message, KEEL_EXCERPT_MAX);
	return KEEL_OK;
}
