/* postgres_transaction.c - the transactions of the PostgreSQL driver. Uses: postgres_queue, postgres_statement,
 * postgres_doubt.
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

#include "base/assert.h"
#include "base/error.h"
#include "base/monotonic.h"

enum { ASK_US = 5000 }; /* how long one try at the lock waits */

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

/* The begin goes out with the first question. */
static enum keel_code begin_reading(struct postgres_sql *sql, struct keel_error *err)
{
	sql->transaction[0] = '\0';
	enum keel_code code =
		postgres_send_plain(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", POSTGRES_SENT_WRITE, err);
	sql->open = code == KEEL_OK;
	return code;
}

/* Sends a text of the driver's own that gives rows, with its values. */
static enum keel_code send_locks(struct postgres_sql *sql, const char *text, const struct keel_text *texts,
								 int64_t number, struct keel_statement **statement, struct keel_error *err)
{
	enum keel_code code = postgres_prepare(&sql->head, text, statement, err);
	int parameters = code == KEEL_OK ? keel_sql_parameters(text) : 0;
	for (int i = 1; code == KEEL_OK && i < parameters; i++)
		code = postgres_bind_text(*statement, i, texts[i - 1], err);
	if (code == KEEL_OK && parameters > 0)
		code = postgres_bind_int(*statement, parameters, number, err);
	return code == KEEL_OK ? postgres_send(sql, (struct postgres_statement *)*statement, POSTGRES_SENT_ROWS, err)
						   : code;
}

/* What the locks of a transaction came to. */
static void read_locks(struct postgres_sql *sql)
{
	const struct postgres_statement *statement = (const struct postgres_statement *)sql->locks;
	if (statement->rows && PQntuples(statement->rows) > 0)
		snprintf(sql->transaction, sizeof sql->transaction, "%s", PQgetvalue(statement->rows, 0, 0));
	postgres_reset(sql->locks);
}

/* Asks for the lock, or looks whether it was given. */
static enum keel_code begin_writing(struct postgres_sql *sql, struct keel_error *err)
{
	/* Said in words, whatever is set for the role: another level would look at what was before the lock. */
	static const char begin[] = "BEGIN ISOLATION LEVEL READ COMMITTED",
					  relaxed[] = "SET LOCAL synchronous_commit = off",
					  all[] = "SELECT pg_current_xact_id(), pg_advisory_xact_lock(?1)";
	enum keel_code code = KEEL_OK;
	if (!sql->waits) {
		if (sql->locks)
			postgres_reset(sql->locks); /* of a try that was taken back */
		sql->open = true;
		sql->transaction[0] = '\0';
		code = postgres_send_plain(sql, begin, POSTGRES_SENT_WRITE, err);
		if (code == KEEL_OK)
			code = postgres_send_plain(sql, relaxed, POSTGRES_SENT_WRITE, err);
		if (code == KEEL_OK)
			code = send_locks(sql, all, NULL, sql->lock, &sql->locks, err);
		sql->waits = code == KEEL_OK;
	}
	if (code == KEEL_OK)
		code = postgres_drain_until(sql, keel_later(keel_monotonic_us(), ASK_US), err);
	if (code == KEEL_BUSY && postgres_is_waiting(sql))
		return keel_fail(err, KEEL_BUSY, "%s: others are writing", sql->path);
	if (code == KEEL_OK)
		read_locks(sql);
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

/* A transaction that does nothing but wait for the disk, as the server is set to. */
static enum keel_code send_flush(struct postgres_sql *sql, struct keel_error *err)
{
	static const char *const texts[] = {"BEGIN", "SELECT pg_logical_emit_message(true, 'keel', '')", "COMMIT"};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof texts / sizeof texts[0]; i++)
		code = postgres_send_plain(sql, texts[i], POSTGRES_SENT_WRITE, err);
	return code;
}

enum keel_code postgres_commit(struct keel_sql *base, struct keel_error *err)
{
	static const char commit[] = "COMMIT ";
	struct postgres_sql *sql = postgres_own(base);
	struct keel_error why;
	bool writes = sql->transaction[0];
	KEEL_ASSERT(!sql->waits);
	if (!sql->open)
		return keel_fail(err, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	sql->queue.committed = false;
	enum keel_code code = sql->failed ? postgres_drain(sql, &why) : KEEL_OK;
	if (code == KEEL_OK)
		code = postgres_send_plain(sql, commit, POSTGRES_SENT_COMMIT, &why);
	bool sent = code == KEEL_OK;
	if (code == KEEL_OK && sql->flushes && writes)
		code = send_flush(sql, &why);
	if (code == KEEL_OK)
		code = postgres_drain(sql, &why);
	bool committed = sql->queue.committed;
	if (code == KEEL_OK && !committed)
		code = keel_fail(&why, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	if (committed && code == KEEL_OK)
		sql->open = false; /* there is nothing to undo */
	/* What was not answered may have been done; and what was done may not be on the disk of a server that fell. */
	bool doubtful = code != KEEL_OK && sent && writes && (committed || PQstatus(sql->db) != CONNECTION_OK);
	postgres_undo(sql);
	if (doubtful)
		return postgres_resolve(sql, code, &why, err);
	return keel_fail_as(err, code, &why);
}

enum keel_code postgres_durable(struct keel_sql *base, struct keel_error *err)
{
	/* Who wrote flushes within the moment: mostly there is nothing to wait for. A standby has only what is flushed. */
	static const char unless_it_is[] =
		"SELECT CASE WHEN pg_is_in_recovery() OR pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() THEN NULL"
		" ELSE pg_logical_emit_message(true, 'keel', '') END";
	struct postgres_sql *sql = postgres_own(base);
	return sql->flushes && !sql->open ? postgres_send_plain(sql, unless_it_is, POSTGRES_SENT_WRITE, err) : KEEL_OK;
}

/* They have one name: the newest hides those before it until it is released. */
static enum keel_code put_off(struct postgres_sql *sql, const char *text, struct keel_error *err)
{
	return sql->failed ? postgres_drain(sql, err) : postgres_send_plain(sql, text, POSTGRES_SENT_WRITE, err);
}

static const char release[] = "RELEASE keel";

enum keel_code postgres_savepoint(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	enum keel_code code = put_off(sql, "SAVEPOINT keel", err);
	sql->savepoints += code == KEEL_OK;
	return code;
}

enum keel_code postgres_release(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	enum keel_code code = put_off(sql, release, err);
	sql->savepoints -= code == KEEL_OK;
	return code;
}

enum keel_code postgres_rollback_to(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	/* What failed came after it, or else it is not there any more and going back fails, too. */
	postgres_drain(sql, NULL);
	sql->failed = PQstatus(sql->db) != CONNECTION_OK;
	sql->queue.code = KEEL_OK;
	enum keel_code code = put_off(sql, "ROLLBACK TO keel", err);
	if (code == KEEL_OK)
		code = put_off(sql, release, err);
	if (code == KEEL_OK)
		code = postgres_drain(sql, err);
	sql->savepoints -= code == KEEL_OK;
	return code;
}
