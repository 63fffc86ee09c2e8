/* stats.c - how much there is. Uses: store. */
#include <keel/housekeeping.h>

#include <string.h>

#include "base/error.h"
#include "run/predicates.h"
#include "run/rows.h"

/* The pending run whose time came first, of those whose time has come by ?1. */
#define OLDEST                                                                                                         \
	"(SELECT run_id, since FROM (SELECT r.run_id, r.seq, CASE WHEN l.scheduled_at > l.created_at THEN"                 \
	" l.scheduled_at ELSE l.created_at END AS since " KEEL_RUN_LIVE_FROM "WHERE l.status <= 0) AS waiting WHERE since" \
	" <= ?1 ORDER BY since, seq LIMIT 1)"

/* Reads the run that has waited for longest, from its columns. */
static enum keel_code read_oldest(const struct keel_store *store, struct keel_statement *select, int column,
								  struct keel_stats *stats, struct keel_error *err)
{
	if (!keel_column_null(select, column))
		stats->oldest_waiting_us = keel_store_now(store) - keel_column_int(select, column + 1);
	return keel_column_copy(select, column, stats->oldest_waiting, sizeof stats->oldest_waiting, err);
}

enum keel_code keel_store_stats(struct keel_store *store, struct keel_stats *stats, struct keel_error *err)
{
	static const char text[] =
		"SELECT (SELECT count(*) FROM runs),"
		" (SELECT count(*) FROM live WHERE status <= 0),"
		" (SELECT count(*) FROM live WHERE status < 2), (SELECT count(*) FROM live WHERE status IN (-1, -2)),"
		" (SELECT count(*) FROM live WHERE status = -3), (SELECT count(*) FROM live WHERE status = -4),"
		" (SELECT count(*) FROM limits), (SELECT count(*) FROM limits WHERE " KEEL_LIMIT_PAUSED "),"
		" (SELECT count(*) FROM runtimes), (SELECT count(*) FROM workers),"
		" (SELECT count(*) FROM workers WHERE " KEEL_WORKER_ACTIVE "), (SELECT count(*) FROM transcripts),"
		" (SELECT count(*) FROM diagnostics), (SELECT count(*) FROM leases),"
		" (SELECT count(*) FROM schedules),"
		" (SELECT count(*) FROM sessions), event_low_water,"
		" coalesce((SELECT max(id) FROM events), event_low_water - 1), oldest.run_id, oldest.since FROM store"
		" LEFT JOIN " OLDEST " AS oldest ON 1 = 1";
	int64_t *const counts[] = {&stats->runs,         &stats->pending_runs,    &stats->running_runs,
							   &stats->delayed_runs, &stats->blocked_runs,    &stats->limited_runs,
							   &stats->limits,       &stats->pauses,          &stats->runtimes,
							   &stats->workers,      &stats->active_workers,  &stats->entries,
							   &stats->diagnostics,  &stats->leases,          &stats->schedules,
							   &stats->sessions,     &stats->event_low_water, &stats->event_high_water};
	struct keel_statement *select;
	bool row;
	struct keel_sql_size size = {0, 0};
	memset(stats, 0, sizeof *stats);
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_int(keel_store_now(store)));
	if (code != KEEL_OK)
		return code;
	keel_store_be_patient(store, true);
	code = keel_first_step(store, select, &row, err);
	for (size_t i = 0; code == KEEL_OK && row && i < sizeof counts / sizeof counts[0]; i++)
		*counts[i] = keel_column_int(select, (int)i);
	if (code == KEEL_OK && row)
		code = read_oldest(store, select, sizeof counts / sizeof counts[0], stats, err);
	keel_reset(select);
	stats->running_runs -= stats->pending_runs; /* counted as in flight */
	if (code == KEEL_OK)
		code = store->sql->driver->size(store->sql, &size, err);
	keel_store_be_patient(store, false);
	stats->bytes = size.bytes;
	stats->unused_bytes = size.unused;
	if (code != KEEL_OK)
		memset(stats, 0, sizeof *stats);
	return code;
}
