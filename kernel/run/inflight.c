/* inflight.c - which runs are in flight: of a thread, of a session, at all, and those that nobody may be looking
 * after. Uses: rows.
 */
#include <keel/run.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "run/predicates.h"
#include "run/rows.h"

/* The run to go on behind may have ended meanwhile: its row still has its place; if it was deleted, the listing starts
 * over. */
#define PLACE "coalesce((SELECT seq FROM runs WHERE run_id = ?3), 0)"
#define BEFORE "(created_at <= ?2 OR ?2 IS NULL)"
#define RUN_BEFORE "(r.created_at <= ?2 OR ?2 IS NULL)"

/* Rows by their places, which a walk of `live` gives, as many as are wanted. */
#define RUNS_OF_SEQS(walk) KEEL_RUN_LIVE_SELECT "WHERE r.seq IN (" walk " LIMIT ?4) ORDER BY r.seq"
#define RUNS_OF(walk) RUNS_OF_SEQS("SELECT seq FROM live WHERE " walk)

/* In the order of admission. */
static const char of_thread[] = RUNS_OF("thread_id = ?1 AND seq > " PLACE " AND status < 2 AND " BEFORE
										" AND (session_id = ?5 OR ?5 IS NULL) ORDER BY seq");
static const char of_session[] =
	RUNS_OF("session_id = ?1 AND seq > " PLACE " AND status < 2 AND " BEFORE " ORDER BY seq");

static const char of_batch[] = RUNS_OF_SEQS(
	"SELECT b.seq FROM batches AS b JOIN runs AS m ON m.seq = b.seq JOIN live AS n ON n.thread_id = m.thread_id AND"
	" n.seq = m.seq WHERE b.batch_id = ?1 AND b.dispatch = 0 AND b.seq > " PLACE " AND n.status < 2"
	" AND (m.created_at <= ?2 OR ?2 IS NULL) ORDER BY b.seq");

/* By age, which is not the order of admission when clocks were set back: a walk of all that is in flight. */
static const char by_age[] = KEEL_RUN_LIVE_SELECT "WHERE r.seq IN (SELECT seq FROM live WHERE status < 2 AND " BEFORE
												  " ORDER BY created_at, seq LIMIT ?4) ORDER BY r.created_at, r.seq";
static const char by_age_after[] =
	KEEL_RUN_LIVE_SELECT "WHERE r.seq IN (SELECT seq FROM live WHERE status < 2 AND " BEFORE " AND (created_at, seq) >"
						 " (coalesce((SELECT created_at FROM runs WHERE run_id = ?3), -9223372036854775807), " PLACE ")"
						 " ORDER BY created_at, seq LIMIT ?4) ORDER BY r.created_at, r.seq";

/* What runs or is finalizing on a thread. The + keeps the order by place from choosing a walk of the whole thread. */
static const char holding_on_thread[] = RUNS_OF("thread_id = ?1 AND status > 0 ORDER BY +seq");
static const char holding_slot[] =
	RUNS_OF_SEQS("SELECT seq FROM holds WHERE name = ?1 AND state = 1 ORDER BY max, seq");
static const char finalizing_on_thread[] = RUNS_OF("thread_id = ?1 AND status > 1 ORDER BY +seq");

/* Whose time is over, and what is nobody's; ?5 are the runs whose leases were lost, between commas. */
static const char overdue[] =
	KEEL_RUN_LIVE_SELECT "WHERE r.seq IN (SELECT seq FROM due WHERE at <= ?1"
						 " UNION SELECT seq FROM leased WHERE ?5 <> ',' AND ?5 LIKE '%,' || CAST(seq AS TEXT) || ',%'"
						 " UNION SELECT seq FROM live WHERE session_id = 0 AND status < 2)"
						 " AND " RUN_BEFORE " AND r.seq > " PLACE " ORDER BY r.seq LIMIT ?4";

/* The run that is next on each thread where somebody was asked to stop, or stopped and has not settled. */
#define BEST_CLAIM(status)                                                                                             \
	"SELECT * FROM (SELECT seq, priority FROM live AS l WHERE l.thread_id = stopping.thread_id AND l.status = " status \
	" AND l.session_id IS NULL ORDER BY priority DESC, seq LIMIT 1) AS best"
#define BECOME_DUE                                                                                        \
	"SELECT seq, priority FROM live AS l WHERE l.thread_id = stopping.thread_id AND l.session_id IS NULL" \
	" AND +l.status < 0 AND l.seq IN (SELECT seq FROM later WHERE at <= ?1)"

/* And the heads of lines that wait for a slot of such a one. */
#define WAITING_AT                                                                                                     \
	"SELECT h.seq FROM lines AS h WHERE " KEEL_LINE_PARKED " AND h.parked_name IN (SELECT 'at:' || name FROM stopping" \
	" AS s JOIN holds ON holds.seq = s.seq WHERE state = 1)"

/* And what starts after such a one. */
#define WAITING_AFTER "SELECT e.dependent FROM edges AS e JOIN stopping AS s ON s.seq = e.source"
static const char held_up[] =
	KEEL_RUN_LIVE_SELECT "WHERE r.seq IN (SELECT (SELECT seq FROM (" BEST_CLAIM("0") "_plain UNION ALL " BEST_CLAIM(
		"-4") "_limited UNION ALL " BECOME_DUE
			  ") AS heads ORDER BY priority DESC, seq LIMIT 1) FROM stopping UNION " WAITING_AT " UNION " WAITING_AFTER
			  ") AND " RUN_BEFORE " AND r.seq > " PLACE " ORDER BY r.seq LIMIT ?4";

/* Looks at all leases in flight, and adds the first runs of the listing that have lost theirs to `lost`: that is how a
 * handle comes to know for how long each went unrenewed. What is gone is forgotten. */
static enum keel_code look_at_leases(struct keel_store *store, const struct keel_inflight_query *query,
									 struct keel_buffer *lost, struct keel_error *err)
{
	static const char leases[] =
		"SELECT l.seq, l.fence, l.lease_expires_at, coalesce(l.lease_us, 0),"
		" coalesce((SELECT beat FROM sessions WHERE id = l.session_id), 0), l.seq > " PLACE " AND " RUN_BEFORE
		" " KEEL_RUN_LIVE_FROM "WHERE r.seq IN (SELECT seq FROM leased) ORDER BY r.seq";
	struct keel_statement *select;
	bool row;
	int64_t looks = store->watched.looks, left = query->limit;
	enum keel_code code =
		keel_query(store, leases, &select, err, keel_value_null(),
				   query->bounded ? keel_value_int(query->before) : keel_value_null(), keel_value_text(query->after));
	keel_buffer_put(lost, ",");
	if (code != KEEL_OK)
		return code;
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;
		 code = keel_step(select, &row, err)) {
		int64_t seq = keel_column_int(select, 0);
		struct keel_watched_state state = {keel_column_int(select, 1), keel_column_int(select, 2),
										   keel_column_int(select, 4)};
		bool over = keel_store_watched(store, KEEL_WATCHED_LEASE, seq, state) >= keel_column_int(select, 3);
		if (over && keel_column_int(select, 5) && left-- > 0)
			keel_buffer_format(lost, "%lld,", (long long)seq);
	}
	keel_reset(select);
	if (code == KEEL_OK)
		keel_watched_forget(&store->watched, KEEL_WATCHED_LEASE, looks);
	return code == KEEL_OK && lost->failed ? keel_fail_memory(err) : code;
}

/* The same of what was asked to stop, and of what has stopped and is not settled: nobody waits longer for them than the
 * time that he has to settle, counted from when he could have known. */
static enum keel_code look_at_stopping(struct keel_store *store, struct keel_error *err)
{
	static const char stopping[] = "SELECT l.seq, fence, status < 2, cancel_requested_at, ended_at FROM stopping"
								   " JOIN live AS l ON l.thread_id = stopping.thread_id AND l.seq = stopping.seq";
	struct keel_statement *select;
	bool row;
	int64_t looks = store->watched.looks;
	enum keel_code code = keel_store_prepare(store, stopping, &select, err);
	if (code != KEEL_OK)
		return code;
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;
		 code = keel_step(select, &row, err)) {
		bool is_asked = keel_column_int(select, 2) != 0;
		struct keel_watched_state state = {keel_column_int(select, 1), keel_column_int(select, is_asked ? 3 : 4), 0};
		enum keel_watched_kind kind = is_asked ? KEEL_WATCHED_REQUEST : KEEL_WATCHED_ENDED;
		keel_store_watched(store, kind, keel_column_int(select, 0), state);
	}
	keel_reset(select);
	if (code == KEEL_OK) {
		keel_watched_forget(&store->watched, KEEL_WATCHED_REQUEST, looks);
		keel_watched_forget(&store->watched, KEEL_WATCHED_ENDED, looks);
	}
	return code;
}

static const char *statement_for(const struct keel_inflight_query *query)
{
	if (query->finalizing)
		return finalizing_on_thread;
	if (query->holding)
		return query->slot.data ? holding_slot : holding_on_thread;
	if (query->overdue)
		return overdue;
	if (query->held_up)
		return held_up;
	if (query->batch_id.data)
		return of_batch;
	if (query->thread_id.data)
		return of_thread;
	if (query->session_id)
		return of_session;
	return query->after.data ? by_age_after : by_age;
}

static enum keel_code check(const struct keel_inflight_query *query, struct keel_error *err)
{
	bool of_a_thread = (query->holding && !query->slot.data) || query->finalizing,
		 at_large = query->overdue || query->held_up;
	const struct keel_id_field ids[] = {
		{query->thread_id, "thread_id"}, {query->slot, "slot"}, {query->after, "after"}, {query->batch_id, "batch_id"}};
	enum keel_code code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_check_ids(ids, sizeof ids / sizeof ids[0], err);
	if (code == KEEL_OK && query->batch_id.data &&
		(query->thread_id.data || query->session_id || query->holding || query->finalizing || at_large))
		code = keel_fail_field(err, "batch_id", "batch_id goes with before, after, limit and brief alone");
	if (code == KEEL_OK && of_a_thread && !query->thread_id.data)
		code = keel_fail_field(err, "thread_id", "thread_id must be given to list what holds it");
	if (code == KEEL_OK && at_large && query->thread_id.data)
		code = keel_fail_field(err, "thread_id", "thread_id does not go with overdue and held_up");
	if (code == KEEL_OK && at_large && query->session_id)
		code = keel_fail_field(err, "session_id", "session_id does not go with overdue and held_up");
	return code;
}

enum keel_code keel_run_list_inflight(struct keel_store *store, const struct keel_inflight_query *query,
									  struct keel_runs *list, struct keel_error *err)
{
	struct keel_statement *select;
	list->count = 0;
	enum keel_code code = check(query, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	const char *text = statement_for(query);
	bool at_large = text == overdue || text == held_up;
	struct keel_buffer lost = {0};
	if (text == overdue)
		code = look_at_leases(store, query, &lost, err);
	if (code == KEEL_OK && text == overdue)
		code = look_at_stopping(store, err);
	if (code != KEEL_OK) {
		keel_buffer_free(&lost);
		return code;
	}
	const struct keel_value values[] = {
		text == of_session     ? keel_value_int(query->session_id)
		: at_large             ? keel_value_int(keel_store_now(store))
		: text == of_batch     ? keel_value_text(query->batch_id)
		: text == holding_slot ? keel_value_text(query->slot)
							   : keel_value_text(query->thread_id),
		query->bounded ? keel_value_int(query->before) : keel_value_null(),
		keel_value_text(query->after),
		keel_value_int(query->limit),
		text == overdue     ? keel_value_text(keel_buffer_text(&lost))
		: query->session_id ? keel_value_int(query->session_id)
							: keel_value_null(),
	};
	code = keel_query_values(store, text, &select, err, values, text == of_thread || text == overdue ? 5 : 4);
	const keel_run_set all = keel_run_set_all();
	if (code == KEEL_OK)
		code = keel_run_read_fields(store, select, query->brief ? keel_run_set_without(all, KEEL_RUN_DOCUMENTS) : all,
									list, err);
	keel_buffer_free(&lost);
	KEEL_ASSERT(code != KEEL_OK || list->count <= (size_t)query->limit);
	return code;
}

enum keel_code keel_run_next_owner(struct keel_store *store, int64_t after, int64_t *session_id, struct keel_error *err)
{
	static const char text[] = "SELECT session_id FROM live WHERE session_id > ?1 AND status < 2"
							   " ORDER BY session_id LIMIT 1";
	struct keel_statement *select;
	*session_id = 0;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_int(after));
	return code == KEEL_OK ? keel_first_number(store, select, NULL, session_id, err) : code;
}

enum keel_code keel_run_count_inflight(struct keel_store *store, struct keel_text thread_id, int64_t *count,
									   struct keel_error *err)
{
	static const char text[] = "SELECT count(*) FROM live WHERE thread_id = ?1 AND status < 2";
	struct keel_statement *select;
	*count = 0;
	enum keel_code code = keel_check_id(thread_id, "thread_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(thread_id));
	return code == KEEL_OK ? keel_first_number(store, select, NULL, count, err) : code;
}
