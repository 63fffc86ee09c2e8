/* metrics.c - what goes on, in figures for who watches over a store. Uses: store. */
#include <keel/housekeeping.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/line.h"
#include "run/rows.h"

enum { EVENTS_MAX = 100000 }; /* of the log that are looked at */

void keel_metrics_clear(struct keel_metrics *metrics)
{
	struct keel_arena *arena = metrics->memory;
	keel_arena_free(&arena);
	keel_free(metrics->handlers);
	*metrics = (struct keel_metrics){.handlers = NULL};
}

/* The first event that is looked at, and from when on all is told by those. */
static enum keel_code find_since(struct keel_store *store, int64_t window_us, int64_t *first,
								 struct keel_metrics *metrics, struct keel_error *err)
{
	static const char text[] =
		"SELECT first.id, e.at FROM (SELECT CASE WHEN event_low_water > last.id - ?1 THEN event_low_water ELSE last.id"
		" - ?1 + 1 END AS id FROM store CROSS JOIN (SELECT coalesce((SELECT max(id) FROM events), 0) AS id) AS last)"
		" AS first LEFT JOIN events AS e ON e.id = first.id";
	struct keel_statement *select;
	bool row;
	int64_t now = keel_store_now(store);
	metrics->since = window_us < now ? now - window_us : 0;
	*first = 1;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(EVENTS_MAX));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row) {
		*first = keel_column_int(select, 0);
		if (*first > 1 && (keel_column_null(select, 1) || keel_column_int(select, 1) > metrics->since))
			metrics->since = keel_column_null(select, 1) ? now : keel_column_int(select, 1);
	}
	keel_reset(select);
	return code;
}

static enum keel_code count_events(struct keel_store *store, int64_t first, struct keel_metrics *metrics,
								   struct keel_error *err)
{
	static const char text[] =
		"SELECT count(CASE WHEN kind = 'run_created' THEN 1 END), count(CASE WHEN kind = 'run_started' THEN 1 END),"
		" count(CASE WHEN kind = 'run_requeued' THEN 1 END) FROM events WHERE id >= ?1 AND at >= ?2";
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(first), keel_value_int(metrics->since));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row) {
		metrics->created = keel_column_int(select, 0);
		metrics->started = keel_column_int(select, 1);
		metrics->requeued = keel_column_int(select, 2);
	}
	keel_reset(select);
	return code;
}

static enum keel_code count_runs(struct keel_store *store, struct keel_metrics *metrics, struct keel_error *err)
{
	static const char text[] =
		"SELECT status, count(*), count(CASE WHEN ended_at >= ?1 THEN 1 END) FROM (SELECT CASE WHEN status < 0 THEN 0"
		" ELSE status END AS status, ended_at FROM live UNION ALL SELECT status, ended_at FROM outcomes WHERE status IS"
		" NOT NULL) AS each_run GROUP BY status ORDER BY status";
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(metrics->since));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		int64_t status = keel_column_int(select, 0);
		if (status < 0 || status >= KEEL_RUN_STATUS_COUNT)
			continue; /* of a damaged file: verify tells */
		metrics->runs[status] = keel_column_int(select, 1);
		metrics->ended[status] = keel_column_int(select, 2);
	}
	keel_reset(select);
	return code;
}

static enum keel_code add_handler(struct keel_statement *select, struct keel_metrics *metrics,
								  struct keel_arena **arena, struct keel_error *err)
{
	struct keel_text handler;
	struct keel_handler_count *items =
		keel_make_room(metrics->handlers, metrics->count, &metrics->capacity, sizeof *items);
	if (!items)
		return keel_fail_memory(err);
	metrics->handlers = items;
	struct keel_handler_count *one = &items[metrics->count];
	*one = (struct keel_handler_count){.waiting = keel_column_int(select, 1), .running = keel_column_int(select, 2)};
	if (!keel_column_read(select, 0, &handler) || !keel_arena_text(arena, handler, &one->handler))
		return keel_fail_memory(err);
	metrics->count++;
	return KEEL_OK;
}

static enum keel_code count_handlers(struct keel_store *store, int64_t handlers, struct keel_metrics *metrics,
									 struct keel_error *err)
{
	static const char text[] =
		"SELECT handler, count(CASE WHEN status <= 0 THEN 1 END), count(CASE WHEN status > 0 THEN 1 END) FROM (SELECT"
		" coalesce(r.handler, '" KEEL_HANDLER_DEFAULT "') AS handler, l.status " KEEL_RUN_LIVE_FROM
		"WHERE l.status < 2) AS each_run GROUP BY handler ORDER BY count(*) DESC, handler LIMIT ?1";
	struct keel_statement *select;
	struct keel_arena *arena = NULL;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(handlers));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		code = add_handler(select, metrics, &arena, err);
		if (code != KEEL_OK)
			break;
	}
	keel_reset(select);
	metrics->memory = arena;
	return code;
}

enum keel_code keel_store_metrics(struct keel_store *store, int64_t handlers, int64_t window_us,
								  struct keel_metrics *metrics, struct keel_error *err)
{
	int64_t first;
	keel_metrics_clear(metrics);
	if (handlers < 0 || handlers > KEEL_HANDLERS_MAX)
		return keel_fail_field(err, "handlers", "handlers must be a whole number from 0 to %d", KEEL_HANDLERS_MAX);
	if (window_us < 1)
		return keel_fail_field(err, "window", "window must be a number of seconds greater than 0");
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	keel_store_be_patient(store, true);
	code = find_since(store, window_us, &first, metrics, err);
	if (code == KEEL_OK)
		code = count_events(store, first, metrics, err);
	if (code == KEEL_OK)
		code = count_runs(store, metrics, err);
	if (code == KEEL_OK)
		code = count_handlers(store, handlers, metrics, err);
	keel_store_be_patient(store, false);
	KEEL_ASSERT(code != KEEL_OK || metrics->count <= (size_t)handlers);
	if (code != KEEL_OK)
		keel_metrics_clear(metrics);
	return code;
}
