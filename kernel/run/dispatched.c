/* dispatched.c - listing the runs of machines. Uses: rows. */
#include <keel/run.h>

#include "base/error.h"
#include "base/text.h"
#include "run/rows.h"

/* Rows by their places, which a walk of a narrow table gives, as many as are wanted. */
#define RUNS_OF(walk) \
	KEEL_RUN_SELECT "WHERE r.seq IN (SELECT seq FROM " walk " AND seq > ?1 ORDER BY seq LIMIT ?2) ORDER BY r.seq"

static const char all[] = RUNS_OF("dispatched WHERE 1 = 1");
static const char of_batch[] = RUNS_OF("batches WHERE batch_id = ?3 AND dispatch = 1");
static const char of_fingerprint[] = RUNS_OF("fingerprints WHERE fingerprint = ?3 AND thread_id = ?4");

static enum keel_code check_query(const struct keel_dispatch_query *query, struct keel_error *err)
{
	enum keel_code code = keel_check_limit(query->limit, KEEL_LIST_MAX, err);
	if (code == KEEL_OK && query->batch_id.data)
		code = keel_check_id(query->batch_id, "batch_id", err);
	if (code == KEEL_OK && query->batch_id.data && query->fingerprint.data)
		code = keel_fail_field(err, "fingerprint", "fingerprint does not go with a batch_id");
	if (code == KEEL_OK && query->fingerprint.data)
		code = keel_check_id(query->fingerprint, "fingerprint", err);
	if (code == KEEL_OK && query->thread_id.data)
		code = keel_check_id(query->thread_id, "thread_id", err);
	if (code == KEEL_OK && !query->fingerprint.data != !query->thread_id.data)
		code = keel_fail_field(err, "thread_id", "thread_id and fingerprint go together");
	return code;
}

enum keel_code keel_run_list_dispatched(struct keel_store *store, const struct keel_dispatch_query *query,
										struct keel_runs *list, struct keel_error *err)
{
	struct keel_statement *select;
	int64_t after = 0;
	list->count = 0;
	enum keel_code code = check_query(query, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK && query->after.data)
		code = keel_run_place(store, query->after, &after, err);
	if (code != KEEL_OK)
		return code;
	if (query->batch_id.data)
		code = keel_query(store, of_batch, &select, err, keel_value_int(after), keel_value_int(query->limit),
						  keel_value_text(query->batch_id));
	else if (query->fingerprint.data)
		code = keel_query(store, of_fingerprint, &select, err, keel_value_int(after), keel_value_int(query->limit),
						  keel_value_text(query->fingerprint), keel_value_text(query->thread_id));
	else
		code = keel_query(store, all, &select, err, keel_value_int(after), keel_value_int(query->limit));
	return code == KEEL_OK ? keel_run_read(store, select, list, err) : code;
}
