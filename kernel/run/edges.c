/* edges.c - what a run waits for of other runs: noting what has become of those. Uses: core. */
#include "run/edges.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"

static enum keel_code note(struct keel_store *store, struct keel_text run_id, int64_t seq, enum keel_run_status status,
						   bool settled, struct keel_error *err)
{
	static const char text[] =
		"INSERT INTO resolving (source, status, settled, run_id) VALUES (?1, ?2, ?3, ?4)"
		" ON CONFLICT (source) DO UPDATE SET status = excluded.status, settled = excluded.settled";
	KEEL_ASSERT(keel_run_status_is_final(status));
	return keel_execute(store, text, err, keel_value_int(seq), keel_value_int((int64_t)status), keel_value_int(settled),
						keel_value_text(run_id));
}

enum keel_code keel_edges_change(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *before,
								 const struct keel_run_core *after, struct keel_error *err)
{
	static const char forget[] = "DELETE FROM edges WHERE dependent = ?1";
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(before);
	if (before->blocked && (!after || after->status != KEEL_RUN_PENDING))
		code = keel_execute(store, forget, err, keel_value_int(before->seq));
	if (code != KEEL_OK || !before->depended)
		return code;
	if (!after) /* one that was deleted in flight counts as interrupted */
		return note(store, run_id, before->seq,
					keel_run_status_is_final(before->status) ? before->status : KEEL_RUN_INTERRUPTED, true, err);
	return keel_run_status_is_final(after->status)
			   ? note(store, run_id, before->seq, after->status, !after->finalizing, err)
			   : KEEL_OK;
}

enum keel_code keel_edges_next(struct keel_store *store, const struct keel_run_core *core, int64_t *source,
							   char run_id[KEEL_ID_MAX + 1], bool *found, struct keel_error *err)
{
	static const char text[] = "SELECT source, (SELECT run_id FROM runs WHERE seq = source) FROM edges"
							   " WHERE dependent = ?1 AND source > ?2 AND " KEEL_EDGE_HOLDS " ORDER BY source LIMIT 1";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(core->seq), keel_value_int(*source));
	return code == KEEL_OK ? keel_run_first(select, source, run_id, found, err) : code;
}
