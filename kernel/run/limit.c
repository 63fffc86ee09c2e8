/* limit.c - limits by name, and pauses: setting and listing them. Uses: line, wants, event. */
#include <keel/limit.h>

#include <stdio.h>
#include <string.h>

#include <keel/run.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"
#include "run/line.h"
#include "run/wants.h"

#define THREAD "thread:"

static bool is_thread(struct keel_text name)
{
	return name.size > sizeof THREAD - 1 && memcmp(name.data, THREAD, sizeof THREAD - 1) == 0;
}

static struct keel_text thread_of(struct keel_text name)
{
	KEEL_ASSERT(is_thread(name));
	return (struct keel_text){name.data + sizeof THREAD - 1, name.size - (sizeof THREAD - 1)};
}

static enum keel_code check(struct keel_text name, const struct keel_limit_change *change, struct keel_error *err)
{
	bool only_pauses = is_thread(name) || keel_text_is(name, "*");
	enum keel_code code = keel_check_id(is_thread(name) ? thread_of(name) : name, "name", err);
	if (code == KEEL_OK && keel_text_is(name, THREAD))
		code = keel_fail_field(err, "name", "name must have the id of a thread behind '" THREAD "'");
	if (code == KEEL_OK && change->gives_reason && change->reason.data)
		code = keel_check_text(change->reason, "reason", err);
	if (code == KEEL_OK && change->gives_max && change->max > KEEL_PLACES_MAX)
		code = keel_fail_field(err, "max", "max must be a whole number from 0 to %d", KEEL_PLACES_MAX);
	if (code == KEEL_OK && change->gives_per && change->per_us == 0)
		code = keel_fail_field(err, "per", "per must be a number of seconds greater than 0");
	if (code == KEEL_OK && only_pauses && change->gives_max && change->max >= 0)
		code = keel_fail_field(err, "max", "threads and * can only be paused: they have no max");
	if (code == KEEL_OK && only_pauses && change->gives_per && change->per_us >= 0)
		code = keel_fail_field(err, "per", "threads and * can only be paused: they have no per");
	return code;
}

/* Reads what is set for a name, `reason` as a copy in the arena. */
static enum keel_code read_limit(struct keel_store *store, struct keel_text name, struct keel_arena **arena,
								 struct keel_limit *limit, struct keel_error *err)
{
	static const char text[] =
		"SELECT coalesce(max, -1), coalesce(per, -1), paused, reason FROM limits WHERE name = ?1";
	struct keel_statement *select;
	bool row;
	*limit = (struct keel_limit){.name = name, .max = -1, .per_us = -1};
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(name));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row) {
		struct keel_text reason;
		limit->max = keel_column_int(select, 0);
		limit->per_us = keel_column_int(select, 1);
		limit->paused = keel_column_int(select, 2) != 0;
		if (!keel_column_read(select, 3, &reason) || !keel_arena_text(arena, reason, &limit->reason))
			code = keel_fail_memory(err);
	}
	keel_reset(select);
	return code;
}

static enum keel_code write_limit(struct keel_store *store, const struct keel_limit *limit, struct keel_error *err)
{
	static const char write[] =
		"INSERT INTO limits (name, max, per, paused, reason) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE"
		" SET max = excluded.max, per = excluded.per, paused = excluded.paused, reason = excluded.reason";
	if (limit->max < 0 && limit->per_us < 0 && !limit->paused && !limit->reason.data)
		return keel_execute(store, "DELETE FROM limits WHERE name = ?1", err, keel_value_text(limit->name));
	return keel_execute(store, write, err, keel_value_text(limit->name),
						limit->max < 0 ? keel_value_null() : keel_value_int(limit->max),
						limit->per_us < 0 ? keel_value_null() : keel_value_int(limit->per_us),
						keel_value_int(limit->paused), keel_value_text(limit->reason));
}

static enum keel_code tell(struct keel_store *store, const struct keel_limit *limit, struct keel_error *err)
{
	struct keel_buffer *data;
	enum keel_code code = keel_event_draft(store, &data, err);
	if (code != KEEL_OK)
		return code;
	keel_buffer_put(data, "{");
	keel_buffer_json(data, "name", limit->name);
	if (limit->max >= 0)
		keel_buffer_format(data, ",\"max\":%lld", (long long)limit->max);
	if (limit->per_us >= 0)
		keel_buffer_format(data, ",\"per\":%lld.%06lld", (long long)(limit->per_us / 1000000),
						   (long long)(limit->per_us % 1000000));
	keel_buffer_format(data, ",\"paused\":%s", limit->paused ? "true" : "false");
	keel_buffer_json(data, "reason", limit->reason);
	keel_buffer_put(data, "}");
	if (data->failed)
		return keel_fail_memory(err);
	struct keel_event event = {.kind = keel_text_of("limit_changed"),
							   .at = keel_store_now(store),
							   .thread_id =
								   is_thread(limit->name) ? thread_of(limit->name) : (struct keel_text){NULL, 0},
							   .data = keel_buffer_text(data)};
	return keel_event_write(store, &event, NULL, err);
}

static bool differ(const struct keel_limit *a, const struct keel_limit *b)
{
	return a->max != b->max || a->per_us != b->per_us || a->paused != b->paused ||
		   !keel_text_same(a->reason, b->reason);
}

/* In the open transaction. */
static enum keel_code change_limit(struct keel_store *store, struct keel_text name,
								   const struct keel_limit_change *change, bool *changed, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_limit before, after;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	enum keel_code code = read_limit(store, name, &arena, &before, err);
	after = before;
	if (change->gives_max)
		after.max = change->max < 0 ? -1 : change->max;
	if (change->gives_per)
		after.per_us = change->per_us < 0 ? -1 : change->per_us;
	if (change->gives_paused)
		after.paused = change->paused;
	if (change->gives_reason)
		after.reason = change->reason;
	if (code == KEEL_OK && after.per_us >= 0 && after.max < 0)
		code = keel_fail_field(err, "max", "max must be given with per: so many starts in so long");
	*changed = code == KEEL_OK && differ(&before, &after);
	if (*changed)
		code = write_limit(store, &after, err);
	if (*changed && code == KEEL_OK)
		code = tell(store, &after, err);
	keel_arena_free(&arena);
	if (code == KEEL_OK && is_thread(name))
		return keel_line_wake(store, KEEL_AT_THREAD, thread_of(name), err);
	return code == KEEL_OK ? keel_line_wake(store, KEEL_AT_NAME, name, err) : code;
}

/* What waits to be claimed on a thread that was paused: the pause holds already, so there is time. */
static enum keel_code set_apart(struct keel_store *store, struct keel_text thread_id, struct keel_error *err)
{
	int64_t line = -1;
	enum keel_code code = KEEL_OK;
	for (bool more = true; code == KEEL_OK && more;) {
		code = keel_write_begin(store, err);
		if (code != KEEL_OK)
			return code;
		code = keel_line_set_apart(store, thread_id, &line, &more, err);
		code = keel_write_end(store, code, true, err);
	}
	return code;
}

enum keel_code keel_limit_set(struct keel_store *store, struct keel_text name, const struct keel_limit_change *change,
							  bool *changed, struct keel_error *err)
{
	*changed = false;
	enum keel_code code = check(name, change, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = change_limit(store, name, change, changed, err);
	code = keel_write_end(store, code, true, err);
	*changed = *changed && code == KEEL_OK;
	return *changed && change->gives_paused && change->paused && is_thread(name)
			   ? set_apart(store, thread_of(name), err)
			   : code;
}

/* --- Listing ------------------------------------------------------------------------------------------------------ */

void keel_limits_clear(struct keel_limits *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	*list = (struct keel_limits){.items = NULL};
}

/* The names, and how many runs hold each and wait for it. */
#define OF_THREAD(which) "(SELECT count(*) FROM live WHERE thread_id = substr(n.name, 8) AND " which ")"
#define COUNT(running, held)                                                     \
	" CASE WHEN n.name = '*' THEN (SELECT count(*) FROM live WHERE " running ")" \
	" WHEN substr(n.name, 1, 7) = 'thread:' THEN " OF_THREAD(                    \
		running) " ELSE (SELECT count(DISTINCT seq) FROM holds WHERE name = n.name AND " held ") END"
static const char listing[] =
	"SELECT n.name, coalesce(l.max, -1), coalesce(l.per, -1), coalesce(l.paused, 0), l.reason," COUNT(
		"status > 0", "state = 1") "," COUNT("status <= 0",
											 "state <> 1") " FROM (SELECT name FROM limits UNION SELECT name FROM "
														   "holds) AS n LEFT JOIN limits AS l ON l.name = n.name"
														   " WHERE n.name > coalesce(?1, '') ORDER BY n.name LIMIT ?2";

static enum keel_code read_row(struct keel_statement *select, struct keel_limits *list, struct keel_arena **arena,
							   struct keel_error *err)
{
	struct keel_text name, reason;
	struct keel_limit *items = keel_make_room(list->items, list->count, &list->capacity, sizeof *items);
	if (!items)
		return keel_fail_memory(err);
	list->items = items;
	struct keel_limit *limit = &items[list->count];
	*limit = (struct keel_limit){.max = keel_column_int(select, 1),
								 .per_us = keel_column_int(select, 2),
								 .paused = keel_column_int(select, 3) != 0,
								 .holding = keel_column_int(select, 5),
								 .waiting = keel_column_int(select, 6)};
	if (!keel_column_read(select, 0, &name) || !keel_column_read(select, 4, &reason) ||
		!keel_arena_text(arena, name, &limit->name) || !keel_arena_text(arena, reason, &limit->reason))
		return keel_fail_memory(err);
	list->count++;
	return keel_check_stored_id(is_thread(limit->name) ? thread_of(limit->name) : limit->name, "name", err);
}

enum keel_code keel_limit_list(struct keel_store *store, struct keel_text after, int64_t limit,
							   struct keel_limits *list, struct keel_error *err)
{
	struct keel_statement *select;
	struct keel_arena *arena = NULL;
	bool row;
	keel_limits_clear(list);
	enum keel_code code = keel_check_limit(limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, listing, &select, err, keel_value_text(after), keel_value_int(limit));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	while (code == KEEL_OK && row) {
		code = read_row(select, list, &arena, err);
		if (code == KEEL_OK)
			code = keel_step(select, &row, err);
	}
	keel_reset(select);
	list->memory = arena;
	if (code != KEEL_OK)
		keel_limits_clear(list);
	return code;
}
