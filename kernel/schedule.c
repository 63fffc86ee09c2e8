/* schedule.c - schedules as rows, and what becomes due by time. Uses: store, event. */
#include <keel/schedule.h>

#include <string.h>

#include "base/assert.h"
#include "base/document.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"
#include "store/page.h"

/* Tells those who sleep until something is due. */
static enum keel_code tell_change(struct keel_store *store, struct keel_text name, bool removed, struct keel_error *err)
{
	struct keel_buffer *data;
	enum keel_code code = keel_event_draft(store, &data, err);
	if (code != KEEL_OK)
		return code;
	keel_buffer_put(data, "{");
	keel_buffer_json(data, "schedule", name);
	keel_buffer_put(data, removed ? ",\"removed\":true}" : "}");
	if (data->failed)
		return keel_fail_memory(err);
	struct keel_event event = {
		.kind = keel_text_of("schedule_changed"), .at = keel_store_now(store), .data = keel_buffer_text(data)};
	return keel_event_write(store, &event, NULL, err);
}

static enum keel_code check(const struct keel_schedule *schedule, struct keel_error *err)
{
	enum keel_code code = keel_check_id(schedule->name, "name", err);
	if (code == KEEL_OK && !schedule->definition.data)
		code = keel_fail_field(err, "definition", "definition must be given");
	if (code == KEEL_OK)
		code = keel_check_document(schedule->definition, "definition", err);
	if (code == KEEL_OK)
		code = keel_check_text(schedule->problem, "problem", err);
	if (code == KEEL_OK && schedule->period_us < 1)
		code = keel_fail_field(err, "period", "period must be more than 0");
	if (code == KEEL_OK && schedule->revision < 0)
		code = keel_fail_field(err, "revision", "revision must be at least 0");
	return code;
}

/* What there is under a name: its revision, 0 when there is none, and whether it has this definition. */
static enum keel_code look(struct keel_store *store, const struct keel_schedule *schedule, int64_t *revision,
						   bool *same, struct keel_error *err)
{
	static const char text[] = "SELECT revision, CASE WHEN definition = ?2 THEN 1 ELSE 0 END FROM schedules WHERE name"
							   " = ?1";
	struct keel_statement *select;
	bool row;
	*revision = 0;
	*same = false;
	enum keel_code code =
		keel_query(store, text, &select, err, keel_value_text(schedule->name), keel_value_text(schedule->definition));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row) {
		*revision = keel_column_int(select, 0);
		*same = keel_column_int(select, 1) == 1;
	}
	keel_reset(select);
	return code;
}

static enum keel_code write(struct keel_store *store, const struct keel_schedule *schedule, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO schedules (name, definition, next_at, last_at, period_us, problem,"
								 " revision, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)";
	static const char update[] = "UPDATE schedules SET definition = ?2, next_at = ?3, last_at = ?4, period_us = ?5,"
								 " problem = ?6, revision = revision + 1, updated_at = ?7 WHERE name = ?1";
	return keel_execute(store, schedule->revision == 0 ? insert : update, err, keel_value_text(schedule->name),
						keel_value_text(schedule->definition), keel_value_int(schedule->next_at),
						keel_value_int(schedule->last_at), keel_value_int(schedule->period_us),
						keel_value_text(schedule->problem), keel_value_int(keel_store_now(store)));
}

enum keel_code keel_schedule_put(struct keel_store *store, const struct keel_schedule *schedule, bool *written,
								 struct keel_error *err)
{
	int64_t revision = 0;
	bool same = false, wrote = false;
	*written = false;
	enum keel_code code = check(schedule, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = look(store, schedule, &revision, &same, err);
	if (code == KEEL_OK && revision == schedule->revision) {
		wrote = true;
		code = write(store, schedule, err);
		if (code == KEEL_OK && !same)
			code = tell_change(store, schedule->name, false, err);
	}
	code = keel_write_end(store, code, wrote, err);
	*written = code == KEEL_OK && wrote;
	return code;
}

enum keel_code keel_schedule_delete(struct keel_store *store, struct keel_text name, bool *found,
									struct keel_error *err)
{
	bool wrote = false;
	int64_t count = 0;
	*found = false;
	enum keel_code code = keel_check_id(name, "name", err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_execute(store, "DELETE FROM schedules WHERE name = ?1", err, keel_value_text(name));
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	if (code == KEEL_OK && count > 0) {
		wrote = true;
		code = tell_change(store, name, true, err);
	}
	code = keel_write_end(store, code, wrote, err);
	*found = code == KEEL_OK && wrote;
	return code;
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

static enum keel_code read_row(struct keel_store *store, struct keel_statement *select, void *item,
							   struct keel_arena **arena, size_t *bytes, const void *context, struct keel_error *err)
{
	struct keel_schedule *schedule = item;
	(void)context;
	struct keel_text texts[3];
	struct keel_text *const into[] = {&schedule->name, &schedule->definition, &schedule->problem};
	memset(schedule, 0, sizeof *schedule);
	for (int i = 0; i < 3; i++) {
		if (!keel_column_read(select, i, &texts[i]) || !keel_arena_text(arena, texts[i], into[i]))
			return keel_fail_memory(err);
		*bytes += texts[i].size;
	}
	schedule->next_at = keel_column_int(select, 3);
	schedule->last_at = keel_column_int(select, 4);
	schedule->period_us = keel_column_int(select, 5);
	schedule->revision = keel_column_int(select, 6);
	schedule->created_at = keel_column_int(select, 7);
	schedule->updated_at = keel_column_int(select, 8);
	enum keel_code code = keel_check_stored_id(schedule->name, "name", err);
	if (code != KEEL_OK)
		return code;
	if (!schedule->definition.data || schedule->revision < 1 || schedule->period_us < 1)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: a schedule is damaged", keel_store_path(store));
	return KEEL_OK;
}

static enum keel_code read_rows(struct keel_store *store, struct keel_statement *select, struct keel_schedules *list,
								struct keel_error *err)
{
	struct keel_page page = {.items = list->items, .capacity = list->capacity, .memory = list->memory};
	enum keel_code code = keel_page_read(store, select, &page, sizeof *list->items, read_row, NULL, err);
	*list = (struct keel_schedules){page.items, page.count, page.cut, page.capacity, page.memory};
	return code;
}

#define COLUMNS "SELECT name, definition, problem, next_at, last_at, period_us, revision, created_at, updated_at"

enum keel_code keel_schedule_list(struct keel_store *store, const struct keel_schedule_query *query,
								  struct keel_schedules *list, struct keel_error *err)
{
	static const char one[] = COLUMNS " FROM schedules WHERE name = ?1";
	static const char by_name[] = COLUMNS " FROM schedules WHERE name > ?1 ORDER BY name LIMIT ?2";
	static const char by_time[] = COLUMNS " FROM schedules WHERE next_at >= ?1 AND next_at <= ?2 AND (next_at > ?1 OR"
										  " name > ?3) ORDER BY next_at, name LIMIT ?4";
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	struct keel_text after = query->after.data ? query->after : keel_text_of("");
	int64_t from = query->after.data ? query->after_at : INT64_MIN;
	if (query->due)
		code = keel_query(store, by_time, &select, err, keel_value_int(from), keel_value_int(query->until),
						  keel_value_text(after), keel_value_int(query->limit));
	else if (query->name.data)
		code = keel_query(store, one, &select, err, keel_value_text(query->name));
	else
		code = keel_query(store, by_name, &select, err, keel_value_text(after), keel_value_int(query->limit));
	return code == KEEL_OK ? read_rows(store, select, list, err) : code;
}

void keel_schedules_clear(struct keel_schedules *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}

enum keel_code keel_next_due(struct keel_store *store, int64_t after, int64_t *at, bool *found, struct keel_error *err)
{
	static const char text[] = "SELECT min(at) FROM (SELECT min(at) AS at FROM later WHERE at > ?1 UNION ALL"
							   " SELECT min(at) FROM due WHERE at > ?1 UNION ALL"
							   " SELECT min(next_at) FROM schedules WHERE next_at > ?1) AS times";
	struct keel_statement *select;
	bool row;
	*at = 0;
	*found = false;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_int(after));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row && !keel_column_null(select, 0)) {
		*at = keel_column_int(select, 0);
		*found = true;
	}
	keel_reset(select);
	return code;
}
