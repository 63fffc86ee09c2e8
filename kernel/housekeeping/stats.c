/* stats.c - how much there is. Uses: store. */
#include <keel/housekeeping.h>

#include <string.h>

#include "base/error.h"
#include "run/predicates.h"
#include "run/rows.h"

enum keel_code keel_store_stats(struct keel_store *store, struct keel_stats *stats, struct keel_error *err)
{
	static const char text[] =
		"SELECT (SELECT count(*) FROM runs),"
		" (SELECT count(*) FROM live WHERE status <= 0),"
		" (SELECT count(*) FROM live WHERE status < 2),"
		" (SELECT count(*) FROM runtimes), (SELECT count(*) FROM workers),"
		" (SELECT count(*) FROM workers WHERE " KEEL_WORKER_ACTIVE "), (SELECT count(*) FROM transcripts),"
		" (SELECT count(*) FROM diagnostics), (SELECT count(*) FROM leases),"
		" (SELECT count(*) FROM schedules),"
		" (SELECT count(*) FROM sessions), event_low_water,"
		" coalesce((SELECT max(id) FROM events), event_low_water - 1) FROM store";
	int64_t *const counts[] = {
		&stats->runs,           &stats->pending_runs,    &stats->running_runs,    &stats->runtimes, &stats->workers,
		&stats->active_workers, &stats->entries,         &stats->diagnostics,     &stats->leases,   &stats->schedules,
		&stats->sessions,       &stats->event_low_water, &stats->event_high_water};
	struct keel_statement *select;
	bool row;
	struct keel_sql_size size = {0, 0};
	memset(stats, 0, sizeof *stats);
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_store_prepare(store, text, &select, err);
	if (code != KEEL_OK)
		return code;
	keel_store_be_patient(store, true);
	code = keel_first_step(store, select, &row, err);
	for (size_t i = 0; code == KEEL_OK && row && i < sizeof counts / sizeof counts[0]; i++)
		*counts[i] = keel_column_int(select, (int)i);
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
