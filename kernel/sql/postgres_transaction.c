/* postgres_transaction.c - the transactions of the PostgreSQL driver. Uses: postgres_answer.
 *
 * A writing transaction holds the store's lock, an advisory one, until it ends. The server has a queue for it: who asks
 * is not sent away but asks again whether its turn has come. It commits without waiting for the disk; in the same
 * message a second, tiny one follows that does, and its flush covers all that was written before. So nobody holds the
 * lock while a disk turns.
 */
#include "sql/postgres_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/monotonic.h"

enum { ASK_US = 5000 }; /* how long one try at the lock waits */

/* A transaction that does nothing but wait for the disk, as the server is set to. */
#define FLUSH "BEGIN; SELECT pg_logical_emit_message(true, 'keel', ''); COMMIT"

static void pause_for(int64_t duration_us)
{
	struct timespec left = {.tv_nsec = duration_us * 1000};
	nanosleep(&left, NULL);
}

bool postgres_in_transaction(struct keel_sql *base)
{
	return postgres_own(base)->open && !postgres_own(base)->failed;
}

void postgres_rollback(struct keel_sql *base)
{
	struct postgres_sql *sql = postgres_own(base);
	postgres_take_back(sql);
	postgres_undo(sql);
}

static enum keel_code begin_reading(struct postgres_sql *sql, struct keel_error *err)
{
	sql->transaction[0] = '\0';
	enum keel_code code = postgres_exec(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err);
	sql->open = code == KEEL_OK;
	return code;
}

/* Asks for the lock, or looks whether it was given. */
static enum keel_code begin_writing(struct postgres_sql *sql, struct keel_error *err)
{
	char text[192];
	PGresult *result;
	if (!sql->waits) {
		/* Said in words, whatever is set for the role: another level would look at what was before the lock. */
		snprintf(text, sizeof text,
				 "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; SELECT "
				 "pg_advisory_xact_lock(%" PRId64 "); SELECT pg_current_xact_id()",
				 sql->lock);
		if (!PQsendQuery(sql->db, text))
			return postgres_fail(sql, NULL, err);
		sql->open = sql->waits = true;
	}
	enum keel_code code = postgres_answer(sql, keel_later(keel_monotonic_us(), ASK_US), &result, err);
	if (code == KEEL_OK) {
		snprintf(sql->transaction, sizeof sql->transaction, "%s", PQgetvalue(result, 0, 0));
		PQclear(result);
	} else if (PQstatus(sql->db) == CONNECTION_OK && PQisBusy(sql->db)) {
		return keel_fail(err, KEEL_BUSY, "%s: others are writing", sql->path);
	}
	sql->waits = false;
	return code;
}

enum keel_code postgres_begin(struct keel_sql *base, bool write, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	if (!sql->waits || !write)
		postgres_rollback(base); /* one that failed left its transaction open */
	enum keel_code code = postgres_revive(sql, err);
	if (code == KEEL_OK)
		code = write ? begin_writing(sql, err) : begin_reading(sql, err);
	if (code != KEEL_OK && !sql->waits)
		postgres_rollback(base);
	return code;
}

/* Waits for the disk once the transaction is known to have committed. Trying again would do all of it twice. */
static enum keel_code flush(struct postgres_sql *sql, struct keel_error *err)
{
	struct keel_error why = {0};
	if (!sql->flushes || postgres_exec(sql, FLUSH, NULL, &why) == KEEL_OK)
		return KEEL_OK;
	postgres_undo(sql);
	return keel_fail(err, KEEL_IO, "it is committed, and not known to be on the disk: %s", why.message);
}

/* A COMMIT was on its way when the connection was lost, or something failed behind it: the server knows what became of
 * it. The process that served us may still be at it; by now its number may be another's, who is not ours to end. */
static enum keel_code resolve(struct postgres_sql *sql, enum keel_code failed, const struct keel_error *why,
							  struct keel_error *err)
{
	enum { TRIES = 50, PAUSE_US = 100000 };
	char text[192];
	PGresult *answer;
	int64_t unused;
	enum keel_code code = postgres_revive(sql, err);
	if (code == KEEL_OK) {
		snprintf(text, sizeof text,
				 "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
				 " AND backend_xid = '%s'::xid8::xid",
				 sql->transaction);
		postgres_numbers(sql, text, &unused, 1, NULL);
	}
	for (int i = 0; code == KEEL_OK && i < TRIES; i++) {
		snprintf(text, sizeof text, "SELECT pg_xact_status('%s'::xid8)", sql->transaction);
		code = postgres_exec(sql, text, &answer, err);
		if (code != KEEL_OK)
			break;
		bool known = PQntuples(answer) > 0 && !PQgetisnull(answer, 0, 0);
		bool committed = known && strcmp(PQgetvalue(answer, 0, 0), "committed") == 0;
		bool aborted = known && strcmp(PQgetvalue(answer, 0, 0), "aborted") == 0;
		PQclear(answer);
		if (committed)
			return flush(sql, err);
		if (aborted)
			return keel_fail_as(err, failed, why);
		if (!known)
			break;
		pause_for(PAUSE_US);
	}
	return keel_fail(err, KEEL_IO, "%s: the commit failed, and it is not known whether it was done", sql->path);
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
	struct keel_error why;
	enum keel_code code =
		postgres_exec(sql, sql->flushes && sql->transaction[0] ? "COMMIT; " FLUSH : "COMMIT", NULL, &why);
	postgres_undo(sql);
	if (code != KEEL_OK && sql->transaction[0])
		return resolve(sql, code, &why, err);
	return keel_fail_as(err, code, &why);
}

enum keel_code postgres_durable(struct keel_sql *base, struct keel_error *err)
{
	/* Who wrote flushes within the moment: mostly there is nothing to wait for. A standby has only what is flushed. */
	static const char unless_it_is[] =
		"SELECT CASE WHEN pg_is_in_recovery() OR pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() THEN NULL"
		" ELSE pg_logical_emit_message(true, 'keel', '') END";
	struct postgres_sql *sql = postgres_own(base);
	return sql->flushes && !sql->open ? postgres_exec(sql, unless_it_is, NULL, err) : KEEL_OK;
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
