/* batch.c - how far the runs of a batch are. Uses: rows.
 *
 * A batch is a name that runs have in common: nothing is kept of it but their places.
 */
#include <keel/run.h>

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/rows.h"

enum keel_code keel_run_count_batch(struct keel_store *store, struct keel_text batch_id,
									int64_t counts[KEEL_RUN_STATUS_COUNT], struct keel_error *err)
{
	static const char text[] =
		"SELECT status, count(*) FROM (SELECT CASE WHEN l.status < 0 THEN 0 ELSE coalesce(l.status, o.status, 0) END"
		" AS status " KEEL_RUN_FROM "JOIN batches AS b ON b.seq = r.seq WHERE b.batch_id = ?1 AND b.dispatch = 0)"
		" AS counted GROUP BY status";
	struct keel_statement *select;
	bool row;
	KEEL_ASSERT(counts != NULL);
	memset(counts, 0, KEEL_RUN_STATUS_COUNT * sizeof *counts);
	enum keel_code code = keel_check_id(batch_id, "batch_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(batch_id));
	if (code != KEEL_OK)
		return code;
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row;
		 code = keel_step(select, &row, err)) {
		int64_t status = keel_column_int(select, 0);
		if (!keel_run_status_name((enum keel_run_status)status)) {
			code = keel_fail(err, KEEL_STORE_CORRUPT, "a run of the batch %.*s has the unknown status %lld",
							 (int)batch_id.size, batch_id.data, (long long)status);
			break;
		}
		counts[status] = keel_column_int(select, 1);
		KEEL_ASSERT(counts[status] > 0);
	}
	keel_reset(select);
	return code;
}
