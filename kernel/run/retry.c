/* retry.c - runs that are another try of others: which may be tried again, and which is the newest try. Uses: rows. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/line.h"
#include "run/rows.h"

/* In the order of insertion. What the filters leave out is passed over one by one. ?3 are statuses, a bit each. */
#define PASSES                                                                                         \
	" AND coalesce(r.operation_kind, 'run') = 'run'"                                                   \
	" AND coalesce(l.status, o.status, 0) > 1 AND (?3 >> coalesce(l.status, o.status, 0)) & 1 = 1"     \
	" AND (r.user_id = ?4 OR ?4 IS NULL) AND (coalesce(r.handler, '" KEEL_HANDLER_DEFAULT "') = ?5 OR" \
	" ?5 IS NULL) AND (r.created_at <= ?6 OR ?6 IS NULL)"                                              \
	" AND NOT EXISTS (SELECT 1 FROM retries AS t WHERE t.retry_of = r.run_id)"
static const char of_store[] = KEEL_RUN_SELECT "WHERE r.seq > ?1" PASSES " ORDER BY r.seq LIMIT ?2";
static const char of_thread[] =
	KEEL_RUN_SELECT "WHERE r.thread_id = ?7 AND r.seq > ?1" PASSES " ORDER BY r.seq LIMIT ?2";
static const char of_batch[] =
	KEEL_RUN_SELECT "JOIN batches AS b ON b.seq = r.seq WHERE b.batch_id = ?7 AND b.dispatch = 0 AND b.seq > ?1" PASSES
					" ORDER BY b.seq LIMIT ?2";

/* The statuses of runs that have ended, a bit each. */
enum { FINAL = 1 << KEEL_RUN_SUCCESS | 1 << KEEL_RUN_ERROR | 1 << KEEL_RUN_TIMEOUT | 1 << KEEL_RUN_INTERRUPTED };

static enum keel_code check(const struct keel_retriable_query *query, struct keel_error *err)
{
	const struct keel_id_field ids[] = {{query->thread_id, "thread_id"},
										{query->user_id, "user_id"},
										{query->batch_id, "batch_id"},
										{query->handler, "handler"}};
	enum keel_code code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK)
		code = keel_check_ids(ids, sizeof ids / sizeof ids[0], err);
	if (code == KEEL_OK && !(query->statuses & FINAL))
		code = keel_fail_field(err, "statuses", "statuses must have one at least that is final");
	if (code == KEEL_OK && query->batch_id.data && query->thread_id.data)
		code = keel_fail_field(err, "batch_id", "batch_id does not go with a thread_id");
	return code;
}

enum keel_code keel_run_list_retriable(struct keel_store *store, const struct keel_retriable_query *query,
									   struct keel_runs *list, struct keel_error *err)
{
	const char *text = query->batch_id.data ? of_batch : query->thread_id.data ? of_thread : of_store;
	struct keel_statement *select;
	int64_t after = 0;
	list->count = 0;
	enum keel_code code = check(query, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK && query->after.data)
		code = keel_run_place(store, query->after, &after, err);
	const struct keel_value values[] = {
		keel_value_int(after),
		keel_value_int(query->limit),
		keel_value_int(query->statuses),
		keel_value_text(query->user_id),
		keel_value_text(query->handler),
		query->bounded ? keel_value_int(query->before) : keel_value_null(),
		keel_value_text(query->batch_id.data ? query->batch_id : query->thread_id),
	};
	if (code == KEEL_OK)
		code = keel_query_values(store, text, &select, err, values, text == of_store ? 6 : 7);
	if (code == KEEL_OK)
		code = keel_run_read_fields(store, select, keel_run_set_without(keel_run_set_all(), KEEL_RUN_DOCUMENTS), list,
									err);
	KEEL_ASSERT(code != KEEL_OK || list->count <= (size_t)query->limit);
	return code;
}

enum keel_code keel_run_newest_retry(struct keel_store *store, struct keel_text run_id, char retry[KEEL_ID_MAX + 1],
									 bool *found, struct keel_error *err)
{
	/* A try is newer than what it tries again: the chain cannot go in a circle. */
	static const char text[] =
		"WITH RECURSIVE chain (seq) AS (SELECT max(seq) FROM retries WHERE retry_of = ?1 UNION ALL SELECT (SELECT"
		" max(t.seq) FROM retries AS t WHERE t.retry_of = (SELECT run_id FROM runs WHERE seq = chain.seq) AND t.seq >"
		" chain.seq) FROM chain WHERE chain.seq IS NOT NULL) SELECT run_id FROM runs WHERE seq = (SELECT max(seq) FROM"
		" chain)";
	struct keel_statement *select;
	retry[0] = '\0';
	*found = false;
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(run_id));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, found, err);
	if (code == KEEL_OK && *found) {
		code = keel_column_copy(select, 0, retry, KEEL_ID_MAX + 1, err);
		if (code == KEEL_OK)
			code = keel_check_stored_id(keel_text_of(retry), "run_id", err);
	}
	KEEL_ASSERT(code != KEEL_OK || *found == (retry[0] != '\0'));
	keel_reset(select);
	return code;
}
