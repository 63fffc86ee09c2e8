/* list.c - the newest runs of a store, for people who look at it. Uses: rows. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/rows.h"

/* What is filtered out is passed over one by one, so an answer takes time in proportion to how far back its last run
 * is. For what is in flight there is another listing. */
#define PASSES                                                                             \
	" AND coalesce(r.operation_kind, 'run') IN ('run', 'dispatch')"                        \
	" AND (CASE WHEN l.status < 0 THEN 0 ELSE coalesce(l.status, o.status, 0) END = ?3 OR" \
	" ?3 IS NULL) AND (r.user_id = ?4 OR ?4 IS NULL)"

/* Back in the order of insertion from a place on. */
static const char of_store[] = KEEL_RUN_SELECT "WHERE r.seq < ?1" PASSES " ORDER BY r.seq DESC LIMIT ?2";

/* In the order of the index, which is that of the thread's own listing. Without a place ?1 is no run's. */
#define CREATED "coalesce((SELECT created_at FROM runs WHERE seq = ?1), 9223372036854775807)"
static const char of_thread[] =
	KEEL_RUN_SELECT "WHERE r.thread_id = ?5 AND r.created_at <= " CREATED " AND (r.created_at < " CREATED
					" OR r.seq > ?1)" PASSES " ORDER BY r.created_at DESC, r.seq LIMIT ?2";

/* The same of a batch; its index has those of machines apart. */
static const char of_batch[] =
	KEEL_RUN_SELECT "JOIN batches AS b ON b.seq = r.seq WHERE b.batch_id = ?5 AND b.dispatch = 0 AND b.seq < ?1" PASSES
					" ORDER BY b.seq DESC LIMIT ?2";

static enum keel_code check(const struct keel_run_query *query, struct keel_error *err)
{
	enum keel_code code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK && query->user_id.data)
		code = keel_check_id(query->user_id, "user_id", err);
	if (code == KEEL_OK && query->thread_id.data)
		code = keel_check_id(query->thread_id, "thread_id", err);
	if (code == KEEL_OK && query->batch_id.data)
		code = keel_check_id(query->batch_id, "batch_id", err);
	if (code == KEEL_OK && query->batch_id.data && query->thread_id.data)
		code = keel_fail_field(err, "batch_id", "batch_id does not go with a thread_id");
	return code;
}

enum keel_code keel_run_list(struct keel_store *store, const struct keel_run_query *query, struct keel_runs *list,
							 struct keel_error *err)
{
	struct keel_statement *select;
	int64_t before = INT64_MAX;
	list->count = 0;
	enum keel_code code = check(query, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK && query->after.data)
		code = keel_run_place(store, query->after, &before, err);
	if (code != KEEL_OK)
		return code;
	struct keel_value status = query->by_status ? keel_value_int(query->status) : keel_value_null();
	if (query->thread_id.data || query->batch_id.data)
		code = keel_query(store, query->batch_id.data ? of_batch : of_thread, &select, err, keel_value_int(before),
						  keel_value_int(query->limit), status, keel_value_text(query->user_id),
						  keel_value_text(query->batch_id.data ? query->batch_id : query->thread_id));
	else
		code = keel_query(store, of_store, &select, err, keel_value_int(before), keel_value_int(query->limit), status,
						  keel_value_text(query->user_id));
	if (code == KEEL_OK)
		code = keel_run_read(store, select, list, err);
	KEEL_ASSERT(code != KEEL_OK || list->count <= (size_t)query->limit);
	return code;
}
