/* extras.c - the tables of what few runs have: idempotency keys, batches, retries, fingerprints, machines. Uses: rows.
 *
 * They are tables, and no partial indexes of runs, because every write of a run would look at those.
 */
#include "run/extras.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"

/* Each is taken out of, and put in, from the row itself. */
static const struct {
	enum keel_run_field fields[3]; /* what it is made of; without the first there is nothing to put in */
	size_t count;
	bool machines; /* only runs of machines are in it */
	const char *remove, *add;
} tables[] = {
	{{KEEL_RUN_FIELD_IDEMPOTENCY_KEY, KEEL_RUN_FIELD_USER_ID, KEEL_RUN_FIELD_IDEMPOTENCY_EXPIRES_AT},
	 3,
	 false,
	 "DELETE FROM keys WHERE (idempotency_key, user_id, seq) IN"
	 " (SELECT idempotency_key, coalesce(user_id, ''), seq FROM runs WHERE seq = ?1)",
	 "INSERT INTO keys (idempotency_key, user_id, seq, expires_at) SELECT idempotency_key, coalesce(user_id, ''), seq,"
	 " idempotency_expires_at FROM runs WHERE seq = ?1 AND idempotency_key IS NOT NULL"},
	{{KEEL_RUN_FIELD_BATCH_ID, KEEL_RUN_FIELD_OPERATION_KIND},
	 2,
	 false,
	 "DELETE FROM batches WHERE (batch_id, dispatch, seq) IN"
	 " (SELECT batch_id, CASE operation_kind WHEN 'dispatch' THEN 1 ELSE 0 END, seq FROM runs WHERE seq = ?1)",
	 "INSERT INTO batches (batch_id, dispatch, seq) SELECT batch_id,"
	 " CASE operation_kind WHEN 'dispatch' THEN 1 ELSE 0 END, seq FROM runs WHERE seq = ?1 AND batch_id IS NOT NULL"},
	{{KEEL_RUN_FIELD_RETRY_OF},
	 1,
	 false,
	 "DELETE FROM retries WHERE retry_of = (SELECT retry_of FROM runs WHERE seq = ?1) AND seq = ?1",
	 "INSERT INTO retries (retry_of, seq) SELECT retry_of, seq FROM runs WHERE seq = ?1 AND retry_of IS NOT NULL"},
	{{KEEL_RUN_FIELD_FINGERPRINT, KEEL_RUN_FIELD_OPERATION_KIND},
	 2,
	 true,
	 "DELETE FROM fingerprints WHERE (fingerprint, thread_id, seq) IN"
	 " (SELECT fingerprint, thread_id, seq FROM runs WHERE seq = ?1)",
	 "INSERT INTO fingerprints (fingerprint, thread_id, seq) SELECT fingerprint, thread_id, seq FROM runs"
	 " WHERE seq = ?1 AND fingerprint IS NOT NULL AND operation_kind = 'dispatch'"},
	{{KEEL_RUN_FIELD_OPERATION_KIND},
	 1,
	 true,
	 "DELETE FROM dispatched WHERE seq = ?1",
	 "INSERT INTO dispatched (seq) SELECT seq FROM runs WHERE seq = ?1 AND operation_kind = 'dispatch'"},
};

static bool concerns(const struct keel_run *delta, size_t table)
{
	for (size_t i = 0; delta && i < tables[table].count; i++)
		if (keel_run_set_has(delta->given, tables[table].fields[i]))
			return true;
	return !delta;
}

enum keel_code keel_extras_remove(struct keel_store *store, int64_t seq, const struct keel_run *delta,
								  struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(seq > 0 && store->sql->driver->in_transaction(store->sql));
	for (size_t i = 0; code == KEEL_OK && i < sizeof tables / sizeof tables[0]; i++)
		if (concerns(delta, i))
			code = keel_execute(store, tables[i].remove, err, keel_value_int(seq));
	return code;
}

enum keel_code keel_extras_add(struct keel_store *store, int64_t seq, const struct keel_run *delta,
							   struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof tables / sizeof tables[0]; i++)
		if (concerns(delta, i))
			code = keel_execute(store, tables[i].add, err, keel_value_int(seq));
	return code;
}

/* Whether a new run is in a table. */
static bool has(const struct keel_run *run, size_t table)
{
	return keel_run_set_has(run->valued, tables[table].fields[0]) &&
		   (!tables[table].machines ||
			(KEEL_RUN_HAS(run, OPERATION_KIND) && keel_text_is(run->operation_kind, "dispatch")));
}

enum keel_code keel_extras_insert(struct keel_store *store, int64_t seq, const struct keel_run *run,
								  struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof tables / sizeof tables[0]; i++)
		if (has(run, i))
			code = keel_execute(store, tables[i].add, err, keel_value_int(seq));
	return code;
}
