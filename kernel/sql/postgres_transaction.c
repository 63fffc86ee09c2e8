/* postgres_transaction.c - the transactions of the PostgreSQL driver. Uses: postgres_answer.
 *
 * A writing transaction holds the store's lock, an advisory one, until it ends. The server has a queue for it: who asks
 * is not sent away but asks again whether it is his turn. It commits without waiting for the disk; in the same message
 * a second, tiny one follows that does, and its flush covers all that was written before. So nobody holds the lock
 * while a disk turns.
 */
#include "sql/postgres_parts.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/monotonic.h"

enum { ASK_US = 5000 }; /* how long one try at the lock waits */

bool postgres_in_transaction(struct keel_sql *base)
{
	return postgres_own(base)->open && !postgres_own(base)->failed;
}

/* Takes back the question for the lock. */
static void cancel(struct postgres_sql *sql)
{
	char unused[256];
	PGresult *result = NULL;
	PGcancel *request = PQgetCancel(sql->db);
	if (request)
		PQcancel(request, unused, sizeof unused);
	PQfreeCancel(request);
	postgres_wait(sql, &result, NULL);
	PQclear(result);
	sql->waits = false;
}

void postgres_rollback(struct keel_sql *base)
{
	struct postgres_sql *sql = postgres_own(base);
	if (sql->waits)
		cancel(sql);
	if (sql->open)
		postgres_exec(sql, "ROLLBACK", NULL, NULL);
	sql->open = sql->failed = false;
	sql->savepoints = 0;
}

static enum keel_code begin_reading(struct postgres_sql *sql, struct keel_error *err)
{
	enum keel_code code = postgres_exec(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err);
	sql->open = code == KEEL_OK;
	return code;
}

/* Asks for the lock, or looks whether it was given. */
static enum keel_code begin_writing(struct postgres_sql *sql, struct keel_error *err)
{
	char text[128];
	PGresult *result;
	if (!sql->waits) {
		snprintf(text, sizeof text,
				 "BEGIN; SET LOCAL synchronous_commit = off; SELECT pg_advisory_xact_lock(%" PRId64 ")", sql->lock);
		if (!PQsendQuery(sql->db, text))
			return postgres_fail(sql, NULL, err);
		sql->open = sql->waits = true;
	}
	enum keel_code code = postgres_answer(sql, keel_later(keel_monotonic_us(), ASK_US), &result, err);
	if (code == KEEL_OK)
		PQclear(result);
	else if (PQstatus(sql->db) == CONNECTION_OK && PQisBusy(sql->db))
		return keel_fail(err, KEEL_BUSY, "%s: others are writing", sql->path);
	sql->waits = false;
	return code;
}

enum keel_code postgres_begin(struct keel_sql *base, bool write, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	if (!sql->waits || !write)
		postgres_rollback(base); /* one that failed left its transaction open */
	enum keel_code code = write ? begin_writing(sql, err) : begin_reading(sql, err);
	if (code != KEEL_OK && !sql->waits)
		postgres_rollback(base);
	return code;
}

enum keel_code postgres_commit(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(!sql->waits);
	/* The server would take a COMMIT of what has failed for a ROLLBACK, and call that a success. */
	if (!sql->open || sql->failed || PQtransactionStatus(sql->db) != PQTRANS_INTRANS) {
		postgres_rollback(base);
		return keel_fail(err, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	}
	enum keel_code code = postgres_exec(sql,
										sql->flushes ? "COMMIT; BEGIN; SELECT pg_logical_emit_message(true, 'keel',"
													   " ''); COMMIT"
													 : "COMMIT",
										NULL, err);
	if (code != KEEL_OK)
		postgres_rollback(base);
	sql->open = sql->failed = false;
	sql->savepoints = 0;
	return code;
}

/* Each has a name of its own: those of one name would pile up until they are released. */
static enum keel_code at_savepoint(struct postgres_sql *sql, const char *format, struct keel_error *err)
{
	char text[64];
	snprintf(text, sizeof text, format, sql->savepoints, sql->savepoints);
	return postgres_exec(sql, text, NULL, err);
}

enum keel_code postgres_savepoint(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	sql->savepoints++;
	enum keel_code code = at_savepoint(sql, "SAVEPOINT keel%d", err);
	if (code != KEEL_OK)
		sql->savepoints--;
	return code;
}

enum keel_code postgres_release(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	enum keel_code code = at_savepoint(sql, "RELEASE keel%d", err);
	sql->savepoints -= code == KEEL_OK;
	return code;
}

enum keel_code postgres_rollback_to(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	enum keel_code code = at_savepoint(sql, "ROLLBACK TO keel%d; RELEASE keel%d", err);
	if (code != KEEL_OK)
		return code;
	sql->failed = false; /* what failed came after it */
	sql->savepoints--;
	return KEEL_OK;
}
