/* verify.c - looking a store over: the database's own check, then every invariant of the schema. Uses: store. */
#include <keel/run.h>

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"
#include "housekeeping/contents.h"
#include "run/line.h"
#include "run/predicates.h"
#include "run/rows.h"
#include "store/store.h"

/* What of a state stands in outcomes. */
#define HAS_STATE_FIXED(member)
#define HAS_STATE_STATE(member) "o." #member " IS NOT NULL OR "
#define HAS_STATE_WORK(member)
#define HAS_STATE(NAME, member, type, giver, part) HAS_STATE_##part(member)

/* Of a run r: its thread is a machine's; nothing counts it for what it has in a column. */
#define ON_MACHINE "(substr(r.thread_id, 1, length('" KEEL_MACHINE_PREFIX "')) = '" KEEL_MACHINE_PREFIX "')"
#define IS_UNCOUNTED(what, column)                                                                               \
	"(" column " IS NOT NULL AND NOT EXISTS (SELECT 1 FROM counted c WHERE c.what = " what " AND c.id = " column \
	" AND c.running = CASE l.status WHEN 1 THEN 1 ELSE 0 END AND c.seq = r.seq))"

/* Each gives a row, with a name to show, for every breach. */
static const struct {
	enum keel_code code;
	const char *sentence;
	const char *sql;
} invariants[] = {
	{KEEL_STORE_CORRUPT, "the store has not exactly one epoch", "SELECT count(*) FROM store HAVING count(*) <> 1"},
	{KEEL_STORE_CORRUPT, "a run has not exactly one state, in flight or after its end: run",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE CASE WHEN l.seq IS NULL THEN o.status IS NULL OR o.fence IS NULL OR"
	 " o.revision IS NULL OR o.updated_at IS NULL"
	 " ELSE " KEEL_RUN_FIELD_MAP(HAS_STATE) "1 = 0 END"},
	{KEEL_STORE_CORRUPT, "a run has an unknown status",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE l.status NOT BETWEEN -4 AND 5 OR o.status NOT BETWEEN 0 AND 5"},
	{KEEL_STORE_CORRUPT, "a run in flight has an end",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE coalesce(l.status, o.status) < 2 AND (l.ended_at IS NOT NULL OR o.ended_at"
	 " IS NOT NULL)"},
	{KEEL_STORE_CORRUPT, "a run is in flight and has ended, or the other way round: run",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE l.status < 2 AND l.finalizing = 1 OR l.status > 1 AND"
	 " coalesce(l.finalizing, 0) <> 1 OR o.status < 2 OR o.finalizing = 1"},
	{KEEL_STORE_CORRUPT, "a run is on a machine's thread and of another kind, or the other way round",
	 "SELECT run_id FROM runs AS r WHERE (coalesce(operation_kind, 'run') = 'dispatch') <> " ON_MACHINE},
/* Half the numbers there are: whoever got so far did not get there by counting. */
#define NEAR_END "4611686018427387904"
	{KEEL_STORE_CORRUPT, "a fence or revision is near the end of its range: run",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE coalesce(l.fence, o.fence) > " NEAR_END
	 " OR coalesce(l.revision, o.revision) > " NEAR_END},
	{KEEL_STORE_CORRUPT, "a token is near the end of its range: lease",
	 "SELECT name FROM leases WHERE token > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the ids of diagnostics are near the end of their range: runtime",
	 "SELECT runtime_id FROM runtimes WHERE diagnostic_last > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the numbers of its entries are near the end of their range: worker",
	 "SELECT worker_id FROM workers WHERE transcript_len > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the keys of runs are near the end of their range",
	 "SELECT max(seq) FROM runs HAVING max(seq) > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the keys of runtimes are near the end of their range",
	 "SELECT max(seq) FROM runtimes HAVING max(seq) > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the keys of workers are near the end of their range",
	 "SELECT max(seq) FROM workers HAVING max(seq) > " NEAR_END},
	{KEEL_STORE_CORRUPT, "a run has no fence or revision",
	 "SELECT r.run_id " KEEL_RUN_FROM "WHERE coalesce(l.fence, o.fence) < 1 OR coalesce(l.revision, o.revision) < 1"},
	{KEEL_STORE_CORRUPT, "a lease has no token or session",
	 "SELECT name FROM leases WHERE token < 1 OR session_id < 1"},
	{KEEL_STORE_CORRUPT, "a schedule has no revision or period, or happens next before it happened last: schedule",
	 "SELECT name FROM schedules WHERE revision < 1 OR period_us < 1 OR next_at <= last_at OR revision > " NEAR_END},
	{KEEL_STORE_CORRUPT, "the log has a hole before event",
	 "SELECT id FROM (SELECT id, lag(id) OVER (ORDER BY id) AS previous FROM events) AS pairs WHERE id <> previous + "
	 "1"},
	{KEEL_STORE_CORRUPT, "the log does not begin at its low-water mark but at event",
	 "SELECT min(id) FROM events HAVING min(id) <> (SELECT event_low_water FROM store)"
	 " AND min(id) <> (SELECT event_low_water - 1 FROM store)"}, /* the newest stays when all the others go */
	{KEEL_STORE_CORRUPT, "events are not found by their run",
	 "SELECT DISTINCT run_id FROM (SELECT run_id, (id + 63) / 64 AS block FROM events WHERE run_id IS NOT NULL"
	 " AND id >= (SELECT event_low_water FROM store) AND id <= (SELECT (max(id) - 1) / 64 * 64 FROM events)"
	 " EXCEPT SELECT run_id, block FROM events_of_run) AS lost"},
	{KEEL_STORE_CORRUPT, "events are not found by their thread",
	 "SELECT DISTINCT thread_id FROM (SELECT thread_id, (id + 63) / 64 AS block FROM events WHERE thread_id IS NOT NULL"
	 " AND id >= (SELECT event_low_water FROM store) AND id <= (SELECT (max(id) - 1) / 64 * 64 FROM events)"
	 " EXCEPT SELECT thread_id, block FROM events_of_thread) AS lost"},
	{KEEL_STORE_CORRUPT, "events are not found by their runtime or worker",
	 "SELECT key FROM (SELECT runtime_id AS key, id FROM events WHERE runtime_id IS NOT NULL AND id >="
	 " (SELECT event_low_water FROM store) EXCEPT SELECT runtime_id, id FROM events_of_runtime) AS lost UNION"
	 " SELECT key FROM (SELECT " KEEL_WORKER_REF_KEY(
		 "worker_ref") " AS key, id FROM events WHERE worker_ref IS NOT NULL AND id >="
					   " (SELECT event_low_water FROM store) EXCEPT SELECT worker_ref, id FROM events_of_worker) AS "
					   "lost"},
	{KEEL_STORE_CORRUPT, "what is in flight is not looked for where it is: run",
	 "SELECT run_id " KEEL_RUN_LIVE_FROM "WHERE l.created_at <> r.created_at"
	 " OR CASE WHEN l.claimable = 1 THEN l.session_id = 0 ELSE l.session_id IS NULL END"
	 " OR (l.status IN (-1, -2)) <> EXISTS (SELECT 1 FROM later WHERE at = l.scheduled_at AND seq = l.seq)"
	 " OR l.status IN (0, -4) AND (l.status = -4) <> (r.slots IS NOT NULL OR r.rates IS NOT NULL)"},
	{KEEL_STORE_CORRUPT, "something is in flight, or has ended, without a run: at",
	 "SELECT seq FROM live AS l WHERE NOT EXISTS (SELECT 1 FROM runs WHERE seq = l.seq AND thread_id = l.thread_id)"
	 " UNION SELECT seq FROM outcomes WHERE seq NOT IN (SELECT seq FROM runs)"
	 " UNION SELECT seq FROM later WHERE seq > 0 AND NOT EXISTS (SELECT 1 FROM live AS l WHERE l.seq = later.seq"
	 " AND l.status <= 0)"},
	{KEEL_STORE_CORRUPT, "its deadline or lease is not what its run says: run",
	 "SELECT run_id " KEEL_RUN_FROM "WHERE (coalesce(l.status, 9) < 2 AND deadline IS NOT NULL) <>"
	 " EXISTS (SELECT 1 FROM due WHERE at = r.deadline AND seq = r.seq) OR"
	 " (coalesce(l.status, 9) < 2 AND l.lease_expires_at IS NOT NULL) <>"
	 " EXISTS (SELECT 1 FROM leased WHERE seq = r.seq)"},
	{KEEL_STORE_CORRUPT, "a deadline or lease without a run: at",
	 "SELECT seq FROM due WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.seq = due.seq AND deadline = at) UNION"
	 " SELECT seq FROM leased WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.seq = leased.seq)"},
	{KEEL_STORE_CORRUPT, "what is to stop is not what its run says: run",
	 "SELECT run_id " KEEL_RUN_FROM "WHERE CASE WHEN l.seq IS NULL THEN 1 = 0 WHEN l.status < 2 THEN"
	 " l.cancel_requested_at IS NOT NULL ELSE 1 = 1 END <> EXISTS (SELECT 1 FROM stopping s"
	 " WHERE s.thread_id = r.thread_id AND s.seq = r.seq)"},
	{KEEL_STORE_CORRUPT, "it may be claimed and is not where it is looked for, or the other way round: run",
	 "SELECT run_id " KEEL_RUN_FROM "WHERE (l.seq IS NOT NULL AND l.status IN (0, -4) AND coalesce(l.claimable, 0) = 1"
	 " AND l.cancel_action IS NULL) <> (r.seq IN (SELECT seq FROM claims)) UNION"
	 " SELECT run_id FROM claims c JOIN runs r ON r.seq = c.seq JOIN live l ON l.thread_id = r.thread_id AND l.seq = "
	 "r.seq"
	 " WHERE c.thread_id <> r.thread_id OR c.priority <> l.priority OR coalesce(c.deadline, -1) <> "
	 "coalesce(r.deadline, "
	 "-1) OR c.handler <> coalesce(r.handler, '" KEEL_HANDLER_DEFAULT "')"},
	{KEEL_STORE_CORRUPT, "a line has no head, or runs have no line: line",
	 "SELECT line FROM lines l WHERE NOT EXISTS (SELECT 1 FROM claims c WHERE c.line = l.line AND c.priority ="
	 " l.priority AND c.seq = l.seq) OR " KEEL_LINE_PARKED " AND parked_name IS NULL"
	 " UNION SELECT line FROM claims WHERE line > 0 AND line NOT IN (SELECT line FROM lines)"},
	{KEEL_STORE_CORRUPT, "the slots and rates that it holds or waits for are not counted as they are: run",
	 "SELECT run_id " KEEL_RUN_LIVE_FROM "WHERE (r.slots IS NOT NULL OR r.rates IS NOT NULL) AND l.status < 1 AND NOT"
	 " EXISTS (SELECT 1 FROM holds h WHERE h.seq = l.seq AND h.state <> 1) OR r.slots IS NOT NULL AND l.status > 0 AND"
	 " NOT EXISTS (SELECT 1 FROM holds h WHERE h.seq = l.seq AND h.state = 1)"},
	{KEEL_STORE_CORRUPT, "it waits for other runs and is not counted so, or the other way round: run",
	 "SELECT run_id " KEEL_RUN_FROM "WHERE coalesce(l.status = -3, 1 = 0) <> (r.seq IN (SELECT dependent FROM edges))"},
	{KEEL_STORE_CORRUPT, "something waits for a run that has settled: at",
	 "SELECT source FROM edges WHERE source NOT IN (SELECT seq FROM live) AND source NOT IN (SELECT source FROM"
	 " resolving)"},
	{KEEL_STORE_CORRUPT, "what waits for a run is not there: at",
	 "SELECT dependent FROM edges WHERE dependent NOT IN (SELECT seq FROM runs)"},
	{KEEL_STORE_CORRUPT, "it is not found as a child of its parent, or is one no more: run",
	 "SELECT run_id " KEEL_RUN_FROM "WHERE (r.parent_run_id IS NOT NULL AND coalesce(l.status, 9) < 2 AND"
	 " l.cancel_action IS NULL) <> (r.seq IN (SELECT seq FROM children)) UNION SELECT run_id FROM runs r JOIN"
	 " children c ON c.seq = r.seq WHERE c.parent_run_id <> coalesce(r.parent_run_id, '')"},
	{KEEL_STORE_CORRUPT, "a child is there without a run: at",
	 "SELECT seq FROM children WHERE seq NOT IN (SELECT seq FROM runs)"},
	{KEEL_STORE_CORRUPT, "it goes on although its parent was stopped: run",
	 "SELECT (SELECT run_id FROM runs WHERE seq = c.seq) " KEEL_RUN_FROM "JOIN children c ON c.parent_run_id = r.run_id"
	 " WHERE coalesce(l.cancel_action, o.cancel_action) IS NOT NULL AND r.seq NOT IN (SELECT source FROM resolving"
	 " WHERE cancelled IS NOT NULL)"},
	{KEEL_STORE_CORRUPT, "others wait for a run that does not know it: at",
	 "SELECT e.source FROM edges e JOIN runs r ON r.seq = e.source JOIN live l ON l.thread_id = r.thread_id AND l.seq ="
	 " r.seq WHERE coalesce(l.depended, 0) <> 1"},
	{KEEL_STORE_CORRUPT, "a slot is held, or waited for, by nobody who could: at",
	 "SELECT h.seq FROM holds h LEFT JOIN runs r ON r.seq = h.seq LEFT JOIN live l ON l.thread_id = r.thread_id AND"
	 " l.seq = r.seq WHERE l.seq IS NULL OR (h.state = 1) <> (l.status > 0)"},
	{KEEL_STORE_CORRUPT, "it is not counted for its user, handler or batch: run",
	 "SELECT run_id " KEEL_RUN_LIVE_FROM "WHERE l.status < 2 AND NOT " ON_MACHINE " AND (" IS_UNCOUNTED(
		 "1", "r.user_id") " OR " IS_UNCOUNTED("2", "r.handler") " OR " IS_UNCOUNTED("3", "r.batch_id") ")"},
	{KEEL_STORE_CORRUPT, "something is counted that is not in flight: at",
	 "SELECT c.seq FROM counted c LEFT JOIN runs r ON r.seq = c.seq LEFT JOIN live l ON l.thread_id = r.thread_id AND"
	 " l.seq = r.seq WHERE l.seq IS NULL OR l.status > 1 OR (l.status = 1) <> (c.running = 1) OR"
	 " c.id <> coalesce(CASE c.what WHEN 1 THEN r.user_id WHEN 2 THEN r.handler WHEN 3 THEN r.batch_id END, '') OR"
	 " " ON_MACHINE},
	{KEEL_STORE_CORRUPT, "its key, batch, retry, fingerprint or machine is not found: run",
	 "SELECT run_id FROM runs r WHERE (idempotency_key IS NOT NULL) <> EXISTS (SELECT 1 FROM keys k WHERE"
	 " k.idempotency_key = r.idempotency_key AND k.user_id = coalesce(r.user_id, '') AND k.seq = r.seq AND"
	 " coalesce(k.expires_at, -1) = coalesce(r.idempotency_expires_at, -1)) OR (batch_id IS NOT NULL) <> EXISTS "
	 "(SELECT 1 FROM batches b WHERE b.batch_id ="
	 " r.batch_id AND b.dispatch = CASE r.operation_kind WHEN 'dispatch' THEN 1 ELSE 0 END AND b.seq = r.seq) OR"
	 " (retry_of IS NOT NULL) <> EXISTS (SELECT 1 FROM retries t WHERE t.retry_of = r.retry_of AND t.seq = r.seq) OR"
	 " (fingerprint IS NOT NULL AND coalesce(operation_kind, 'run') = 'dispatch') <> EXISTS (SELECT 1 FROM "
	 "fingerprints f WHERE f.fingerprint = r.fingerprint AND"
	 " f.thread_id = r.thread_id AND f.seq = r.seq) OR (coalesce(operation_kind, 'run') = 'dispatch') <> EXISTS"
	 " (SELECT 1 FROM dispatched d WHERE d.seq = r.seq)"},
	{KEEL_STORE_CORRUPT, "a runtime has an unknown status or counts its workers wrong",
	 "SELECT runtime_id FROM runtimes r WHERE status NOT BETWEEN 0 AND 1"
	 " OR active_count <> (SELECT count(*) FROM workers WHERE runtime = r.seq AND " KEEL_WORKER_ACTIVE ")"
	 " OR stopped_count <> (SELECT count(*) FROM workers WHERE runtime = r.seq AND status = 1)"
	 " OR cancelled_count <> (SELECT count(*) FROM workers WHERE runtime = r.seq AND status = 2)"},
	{KEEL_STORE_CORRUPT, "a runtime counts its diagnostics wrong",
	 "SELECT runtime_id FROM runtimes r WHERE diagnostic_count <>"
	 " (SELECT count(*) FROM diagnostics WHERE runtime = r.seq) OR diagnostic_last <"
	 " (SELECT coalesce(max(id), 0) FROM diagnostics WHERE runtime = r.seq)"},
	{KEEL_STORE_CORRUPT, "a stopped runtime has an active worker",
	 "SELECT worker_id FROM workers w WHERE " KEEL_WORKER_ACTIVE
	 " AND EXISTS (SELECT 1 FROM runtimes WHERE seq = w.runtime AND status = 1)"},
	{KEEL_STORE_CORRUPT, "a worker has an unknown status, or an end that does not go with it",
	 "SELECT worker_id FROM workers WHERE status NOT BETWEEN 0 AND 2 OR (" KEEL_WORKER_ACTIVE
	 ") <> (ended_at IS NULL)"},
	{KEEL_STORE_CORRUPT, "a transcript has not the entries 1 to its length: worker",
	 "SELECT worker_id FROM workers w WHERE transcript_len <> (SELECT count(*) FROM transcripts WHERE worker = w.seq)"
	 " OR transcript_len <> (SELECT coalesce(max(sequence), 0) FROM transcripts WHERE worker = w.seq)"
	 " OR EXISTS (SELECT 1 FROM transcripts WHERE worker = w.seq AND sequence < 1)"},
	{KEEL_STORE_MISSING, "the row of its runtime is gone: worker",
	 "SELECT worker_id FROM workers w WHERE NOT EXISTS (SELECT 1 FROM runtimes WHERE seq = w.runtime)"},
	{KEEL_STORE_MISSING, "the row of its worker is gone: transcript entry with event",
	 "SELECT min(event_id) FROM transcripts t WHERE NOT EXISTS (SELECT 1 FROM workers WHERE seq = t.worker)"
	 " GROUP BY worker"},
	{KEEL_STORE_MISSING, "the row of its worker or runtime is gone: diagnostic",
	 "SELECT id FROM diagnostics d WHERE NOT EXISTS (SELECT 1 FROM runtimes WHERE seq = d.runtime)"
	 " OR (worker IS NOT NULL AND NOT EXISTS (SELECT 1 FROM workers WHERE seq = d.worker))"},
	{KEEL_STORE_MISSING, "the event of its newest change is gone: worker",
	 "SELECT worker_id FROM workers w WHERE last_event_id >= (SELECT event_low_water FROM store)"
	 " AND NOT EXISTS (SELECT 1 FROM events WHERE id = w.last_event_id)"},
	{KEEL_STORE_MISSING, "its event is gone: transcript entry",
	 "SELECT event_id FROM transcripts t WHERE event_id >= (SELECT event_low_water FROM store)"
	 " AND NOT EXISTS (SELECT 1 FROM events WHERE id = t.event_id)"},
	/* As keel_runtime_write_event writes a ref; ids have no characters that JSON escapes but these two. */
	{KEEL_STORE_MISSING, "the row of its worker is gone: events of",
	 "SELECT worker_ref FROM events WHERE worker_ref IS NOT NULL AND runtime_id IS NOT NULL"
	 " AND id >= (SELECT event_low_water FROM store) AND kind IN"
	 " ('worker_created', 'worker_input_accepted', 'worker_stopped', 'worker_cancelled')"
	 " EXCEPT SELECT '{\"runtime_id\":\"' || replace(replace(r.runtime_id, '\\', '\\\\'), '\"', '\\\"')"
	 " || '\",\"worker_id\":\"' || replace(replace(w.worker_id, '\\', '\\\\'), '\"', '\\\"') || '\"}'"
	 " FROM workers w JOIN runtimes r ON r.seq = w.runtime"},
	{KEEL_STORE_MISSING, "a run has no event that created it",
	 "SELECT run_id FROM runs WHERE (SELECT min(id) FROM events) = 1"
	 " AND run_id NOT IN (SELECT run_id FROM events WHERE kind = 'run_created' AND run_id IS NOT NULL)"},
};

static bool found(void *data, const char *sentence)
{
	return keel_collect(data, KEEL_STORE_CORRUPT, sentence, (struct keel_text){NULL, 0});
}

static enum keel_code check_invariant(struct keel_store *store, size_t i, struct keel_collector *to,
									  struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_store_prepare(store, invariants[i].sql, &select, err);
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		struct keel_text name;
		if (!keel_column_read(select, 0, &name)) {
			code = keel_fail_memory(err);
			break;
		}
		if (!keel_collect(to, invariants[i].code, invariants[i].sentence, name))
			break;
	}
	keel_reset(select);
	return code;
}

static enum keel_code read_number(struct keel_store *store, const char *text, int64_t *number, struct keel_error *err)
{
	struct keel_statement *select;
	enum keel_code code = keel_store_prepare(store, text, &select, err);
	return code == KEEL_OK ? keel_first_number(store, select, NULL, number, err) : code;
}

/* Keys that are never used again: the next one is higher than any there is or was, and there are many left. */
static enum keel_code check_keys(struct keel_store *store, struct keel_collector *to, struct keel_error *err)
{
	static const struct {
		const char *table; /* whose keys the database counts itself; NULL: from the newest row */
		const char *newest, *highest, *behind, *near_end;
	} tables[] = {
		{NULL, "SELECT coalesce(max(id), 0) FROM events", "SELECT event_low_water - 1 FROM store",
		 "the next event would get an id that was used before", "the ids of events are near the end of their range"},
		{"sessions", NULL, "SELECT coalesce(max(id), 0) FROM sessions",
		 "the next session would get an id that was used before",
		 "the ids of sessions are near the end of their range"},
	};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && !keel_has_enough(to) && i < sizeof tables / sizeof tables[0]; i++) {
		int64_t last = 0, highest = 0;
		code = tables[i].table ? store->sql->driver->last_key(store->sql, keel_text_of(tables[i].table), &last, err)
							   : read_number(store, tables[i].newest, &last, err);
		if (code == KEEL_OK)
			code = read_number(store, tables[i].highest, &highest, err);
		if (code == KEEL_OK && last < highest)
			keel_collect(to, KEEL_STORE_CORRUPT, tables[i].behind, (struct keel_text){NULL, 0});
		if (code == KEEL_OK && (last > INT64_MAX / 2 || highest > INT64_MAX / 2))
			keel_collect(to, KEEL_STORE_CORRUPT, tables[i].near_end, (struct keel_text){NULL, 0});
	}
	return code;
}

enum keel_code keel_store_verify(struct keel_store *store, struct keel_problems *list, struct keel_error *err)
{
	struct keel_collector to = {list, NULL, false};
	struct keel_error why;
	keel_problems_clear(list);
	enum keel_code code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	const size_t count = sizeof invariants / sizeof invariants[0];
	keel_store_be_patient(store, true);
	keel_store_tell(store, 0, (int64_t)count + 2);
	code = store->sql->driver->check(store->sql, found, &to, &why);
	if (code == KEEL_OK)
		code = store->sql->driver->check_schema(store->sql, &why);
	if (code == KEEL_OK)
		code = check_keys(store, &to, &why);
	for (size_t i = 0; code == KEEL_OK && !to.failed && i < count; i++) {
		keel_store_tell(store, (int64_t)i + 1, (int64_t)count + 2);
		if (list->count < KEEL_PROBLEMS_MAX)
			code = check_invariant(store, i, &to, &why);
	}
	keel_store_tell(store, (int64_t)count + 1, (int64_t)count + 2);
	if (code == KEEL_OK && !keel_has_enough(&to))
		code = keel_verify_contents(store, &to, &why);
	keel_read_end(store);
	keel_store_be_patient(store, false);
	/* Damage that stops the look is what was looked for. */
	if (code == KEEL_STORE_CORRUPT) {
		found(&to, why.message);
		code = KEEL_OK;
	}
	list->memory = to.arena;
	if (to.failed || code != KEEL_OK) {
		keel_problems_clear(list);
		if (to.failed)
			return keel_fail_memory(err);
	}
	return keel_fail_as(err, code, &why);
}

void keel_problems_clear(struct keel_problems *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
