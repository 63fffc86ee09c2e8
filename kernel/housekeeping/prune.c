/* prune.c - deleting what is old, step by step. Uses: event, runtime.
 *
 * The log loses its beginning and nothing else, so that ids stay without gaps from the low-water mark on. Runs and
 * workers are walked in order of insertion: no index knows when they ended, as finished ones are to cost nothing until
 * then. Nothing of this is an event.
 */
#include <keel/housekeeping.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "event/event.h"
#include "run/write.h"
#include "worker/runtime.h"

/* --- Events ------------------------------------------------------------------------------------------------------ */

/* Events looked at in one call where a clock was ahead: they are read, and not deleted, so they may be more. */
enum { AHEAD_MAX = 64 * KEEL_PRUNE_MAX };

/* Finds the first event that stays, among the oldest `limit`. An event from a clock that was ahead is as old as
 * the first after it whose time has come: it would keep the log from being cut until its own time comes. */
static enum keel_code first_kept(struct keel_store *store, const struct keel_prune *prune, int64_t low, int64_t newest,
								 int64_t *kept, struct keel_error *err)
{
	static const char text[] = "SELECT id, at FROM events WHERE id >= ?1 ORDER BY id LIMIT ?2";
	struct keel_statement *select;
	int64_t now = keel_store_now(store), last = low + prune->limit;
	bool row;
	*kept = low;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(low), keel_value_int(AHEAD_MAX));
	if (code != KEEL_OK)
		return code;
	while (*kept < last && (code = keel_step(select, &row, err)) == KEEL_OK && row) {
		int64_t id = keel_column_int(select, 0), at = keel_column_int(select, 1);
		bool is_old = at < prune->before;
		if (newest - id < prune->keep_last || (!is_old && at <= now))
			break;
		if (is_old)
			*kept = id + 1;
	}
	if (*kept > last)
		*kept = last;
	keel_reset(select);
	return code;
}

/* The newest event stays, below the low-water mark if need be: its id is what the next one is counted from. It goes
 * with the next that are dropped. What says where events are goes first, while they tell of whom it is. */
static enum keel_code drop_events(struct keel_store *store, int64_t kept, struct keel_error *err)
{
	static const char *const texts[] = {
		"DELETE FROM events_of_run WHERE (run_id, block) IN (SELECT run_id, (id + 63) / 64 FROM events e WHERE id < ?1"
		" AND NOT EXISTS (SELECT 1 FROM events n WHERE n.id >= ?1 AND n.id <= (e.id + 63) / 64 * 64"
		" AND n.run_id = e.run_id))",
		"DELETE FROM events_of_thread WHERE (thread_id, block) IN (SELECT thread_id, (id + 63) / 64 FROM events e"
		" WHERE id < ?1 AND NOT EXISTS (SELECT 1 FROM events n WHERE n.id >= ?1 AND n.id <= (e.id + 63) / 64 * 64"
		" AND n.thread_id = e.thread_id))",
		"DELETE FROM events_of_runtime WHERE (runtime_id, id) IN (SELECT runtime_id, id FROM events WHERE id < ?1)",
		"DELETE FROM events_of_worker WHERE (worker_ref, id) IN (SELECT " KEEL_WORKER_REF_KEY(
			"worker_ref") ", id FROM events WHERE id < ?1)",
		"DELETE FROM events WHERE id < ?1 AND id < (SELECT max(id) FROM events)",
	};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof texts / sizeof texts[0]; i++)
		code = keel_execute(store, texts[i], err, keel_value_int(kept));
	return code;
}

static enum keel_code prune_events(struct keel_store *store, struct keel_prune *prune, struct keel_pruned *pruned,
								   int64_t *low, struct keel_error *err)
{
	int64_t newest, kept;
	enum keel_code code = keel_event_ends(store, low, &newest, err);
	if (code == KEEL_OK && prune->dry && *low < prune->next_event)
		*low = prune->next_event;
	if (code == KEEL_OK)
		code = first_kept(store, prune, *low, newest, &kept, err);
	if (code != KEEL_OK || kept == *low)
		return code;
	if (!prune->dry)
		code = drop_events(store, kept, err);
	if (code == KEEL_OK && !prune->dry)
		code = keel_execute(store, "UPDATE store SET event_low_water = ?1", err, keel_value_int(kept));
	pruned->events = kept - *low;
	pruned->more = pruned->events == prune->limit;
	*low = prune->next_event = kept;
	return code;
}

/* --- Runs and workers -------------------------------------------------------------------------------------------- */

/* What a walk has found: rows that may go. */
struct found {
	int64_t seq[KEEL_PRUNE_MAX];
	int64_t owner[KEEL_PRUNE_MAX]; /* of a worker: its runtime */
	int64_t status[KEEL_PRUNE_MAX];
	int count;
};

/* Reads the rows of a walk: seq, whether it may go, owner, status. Moves the place. */
static enum keel_code walk(struct keel_statement *select, struct found *found, int64_t limit, int64_t *place,
						   bool *more, struct keel_error *err)
{
	enum keel_code code;
	int looked_at = 0;
	bool row;
	found->count = 0;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		*place = keel_column_int(select, 0);
		looked_at++;
		if (found->count == KEEL_PRUNE_MAX || keel_column_int(select, 1) != 1)
			continue;
		found->seq[found->count] = *place;
		found->owner[found->count] = keel_column_int(select, 2);
		found->status[found->count++] = keel_column_int(select, 3);
	}
	keel_reset(select);
	*more = *more || looked_at == limit;
	return code;
}

static enum keel_code prune_runs(struct keel_store *store, struct keel_prune *prune, struct found *found,
								 struct keel_pruned *pruned, struct keel_error *err)
{
	static const char text[] =
		"SELECT r.seq, coalesce(o.status, 0) > 1 AND (?2 >> coalesce(o.status, 0)) & 1 = 1"
		" AND coalesce(o.ended_at, o.updated_at) < ?3" /* a run may have been put in with its end, and no time of it */
		" AND (SELECT count(*) FROM (SELECT 1 FROM runs n WHERE n.thread_id = r.thread_id"
		" AND n.created_at >= r.created_at AND (n.created_at > r.created_at OR n.seq > r.seq) LIMIT ?4) AS newer) >= "
		"?4,"
		" 0, o.status FROM runs r LEFT JOIN outcomes o ON o.seq = r.seq WHERE r.seq > ?1 ORDER BY r.seq LIMIT ?5";
	struct keel_statement *select;
	enum keel_code code =
		keel_query(store, text, &select, err, keel_value_int(prune->next_run), keel_value_int(prune->runs),
				   keel_value_int(prune->before), keel_value_int(prune->keep_last), keel_value_int(prune->limit));
	if (code == KEEL_OK)
		code = walk(select, found, prune->limit, &prune->next_run, &pruned->more, err);
	for (int i = 0; code == KEEL_OK && i < found->count && !prune->dry; i++)
		code = keel_run_remove_ended(store, found->seq[i], err);
	pruned->runs = found->count;
	return code;
}

/* Deletes a worker and what belongs to it. */
static enum keel_code drop_worker(struct keel_store *store, int64_t worker, int64_t runtime,
								  enum keel_worker_status status, struct keel_pruned *pruned, struct keel_error *err)
{
	static const char uncount[] = "UPDATE runtimes SET diagnostic_count = diagnostic_count - ?2 WHERE seq = ?1";
	const struct keel_sql_driver *driver = store->sql->driver;
	int64_t entries, diagnostics = 0;
	enum keel_code code = keel_execute(store, "DELETE FROM transcripts WHERE worker = ?1", err, keel_value_int(worker));
	if (code == KEEL_OK)
		code = driver->changes(store->sql, &entries, err);
	if (code == KEEL_OK) {
		pruned->entries += entries;
		code = keel_execute(store, "DELETE FROM diagnostics WHERE worker = ?1", err, keel_value_int(worker));
	}
	if (code == KEEL_OK)
		code = driver->changes(store->sql, &diagnostics, err);
	if (code == KEEL_OK) {
		pruned->diagnostics += diagnostics;
		code = keel_execute(store, "DELETE FROM workers WHERE seq = ?1", err, keel_value_int(worker));
	}
	if (code == KEEL_OK && diagnostics > 0)
		code = keel_execute(store, uncount, err, keel_value_int(runtime), keel_value_int(diagnostics));
	if (code == KEEL_OK)
		code = keel_runtime_count_worker(store, runtime, status, KEEL_WORKER_NONE, err);
	return code;
}

/* Counts what would go with a worker. */
static enum keel_code count_worker(struct keel_store *store, int64_t worker, struct keel_pruned *pruned,
								   struct keel_error *err)
{
	static const char text[] = "SELECT (SELECT count(*) FROM transcripts WHERE worker = ?1),"
							   " (SELECT count(*) FROM diagnostics WHERE worker = ?1)";
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(worker));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row) {
		pruned->entries += keel_column_int(select, 0);
		pruned->diagnostics += keel_column_int(select, 1);
	}
	keel_reset(select);
	return code;
}

static enum keel_code prune_workers(struct keel_store *store, struct keel_prune *prune, struct found *found,
									int64_t low, struct keel_pruned *pruned, struct keel_error *err)
{
	static const char text[] =
		"SELECT seq, status > 0 AND (?2 >> status) & 1 = 1 AND ended_at < ?3 AND last_event_id < ?6"
		" AND (SELECT count(*) FROM (SELECT 1 FROM workers n WHERE n.runtime = w.runtime AND n.seq > w.seq LIMIT ?4)"
		" AS newer)"
		" >= ?4, runtime, status FROM workers w WHERE seq > ?1 ORDER BY seq LIMIT ?5";
	struct keel_statement *select;
	enum keel_code code =
		keel_query(store, text, &select, err, keel_value_int(prune->next_worker), keel_value_int(prune->workers),
				   keel_value_int(prune->before), keel_value_int(prune->keep_last), keel_value_int(prune->limit),
				   keel_value_int(low));
	if (code == KEEL_OK)
		code = walk(select, found, prune->limit, &prune->next_worker, &pruned->more, err);
	for (int i = 0; code == KEEL_OK && i < found->count; i++) {
		if (pruned->entries >= prune->limit) { /* transcripts go whole, but not all of them in one step */
			prune->next_worker = found->seq[i - 1];
			pruned->more = true;
			break;
		}
		enum keel_worker_status status = (enum keel_worker_status)found->status[i];
		code = prune->dry ? count_worker(store, found->seq[i], pruned, err)
						  : drop_worker(store, found->seq[i], found->owner[i], status, pruned, err);
		pruned->workers++;
	}
	return code;
}

/* --- A step ------------------------------------------------------------------------------------------------------ */

static enum keel_code step(struct keel_store *store, struct keel_prune *prune, struct found *found,
						   struct keel_pruned *pruned, struct keel_error *err)
{
	int64_t low;
	enum keel_code code = prune_events(store, prune, pruned, &low, err);
	/* A worker waits for its events, and is passed by once: the log goes first. */
	if (code == KEEL_OK && !pruned->more)
		code = prune_runs(store, prune, found, pruned, err);
	if (code == KEEL_OK && pruned->events < prune->limit)
		code = prune_workers(store, prune, found, low, pruned, err);
	return code;
}

/* What would go, read from one picture. */
static enum keel_code dry_step(struct keel_store *store, struct keel_prune *prune, struct found *found,
							   struct keel_pruned *pruned, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = step(store, prune, found, pruned, err);
	keel_read_end(store);
	return code;
}

static enum keel_code wet_step(struct keel_store *store, struct keel_prune *prune, struct found *found,
							   struct keel_pruned *pruned, struct keel_error *err)
{
	struct keel_sql_size size = {0, 0};
	enum keel_code code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	keel_store_be_patient(store, true); /* a transcript goes whole */
	code = step(store, prune, found, pruned, err);
	if (code == KEEL_OK)
		code = store->sql->driver->size(store->sql, &size, err);
	pruned->unused_bytes = size.unused;
	code = keel_write_end(store, code, true, err);
	keel_store_be_patient(store, false);
	return code;
}

enum keel_code keel_store_prune(struct keel_store *store, struct keel_prune *prune, struct keel_pruned *pruned,
								struct keel_error *err)
{
	struct keel_prune place = *prune;
	memset(pruned, 0, sizeof *pruned);
	if (prune->keep_last < 0)
		return keel_fail_field(err, "keep_last", "keep_last must be at least 0");
	if (prune->limit < 0 || prune->limit > KEEL_PRUNE_MAX)
		return keel_fail_field(err, "limit", "limit must be from 1 to %d", KEEL_PRUNE_MAX);
	if (place.limit == 0)
		place.limit = KEEL_PRUNE_MAX;
	if (prune->runs >> KEEL_RUN_STATUS_COUNT || prune->runs & 3 || prune->workers >> KEEL_WORKER_STATUS_COUNT ||
		prune->workers & 1)
		return keel_fail_field(err, "statuses", "statuses must be final ones");
	struct found *found = keel_new(sizeof *found);
	if (!found)
		return keel_fail_memory(err);
	enum keel_code code = (place.dry ? dry_step : wet_step)(store, &place, found, pruned, err);
	keel_free(found);
	place.limit = prune->limit;
	if (code == KEEL_OK)
		*prune = place;
	else
		memset(pruned, 0, sizeof *pruned);
	return code;
}
