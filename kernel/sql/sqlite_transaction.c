/* sqlite_transaction.c - the transactions of the SQLite driver. Uses: sqlite_statement.
 *
 * Writing transactions begin IMMEDIATE, so that none dies at the upgrade from a read lock. No busy handler: waiting is
 * the caller's.
 */
#include "sql/sqlite_parts.h"

bool sqlite_in_transaction(struct keel_sql *sql)
{
	return !sqlite3_get_autocommit(sqlite_own(sql)->db);
}

static const char begin_read[] = "BEGIN", begin_write[] = "BEGIN IMMEDIATE";
static const char commit[] = "COMMIT", rollback[] = "ROLLBACK";

void sqlite_rollback(struct keel_sql *sql)
{
	if (!sqlite_in_transaction(sql))
		return;
	sqlite_run(sqlite_own(sql), rollback, NULL);
	/* A ROLLBACK that fails (memory, the disk) leaves the transaction open; the plain call is the last means. */
	if (sqlite_in_transaction(sql))
		sqlite3_exec(sqlite_own(sql)->db, rollback, NULL, NULL, NULL);
}

enum keel_code sqlite_begin(struct keel_sql *sql, const struct keel_sql_scope *scope, bool write,
							struct keel_statement *first, struct keel_error *err)
{
	(void)scope, (void)first;
	/* What ends a transaction is prepared before one begins, so that ending it needs no memory for that. */
	struct keel_statement *unused;
	sqlite_rollback(sql); /* one that failed left its transaction open */
	enum keel_code code = sqlite_prepare(sql, commit, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_prepare(sql, rollback, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_run(sqlite_own(sql), write ? begin_write : begin_read, err);
	return code;
}

enum keel_code sqlite_commit(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = sqlite_run(sqlite_own(sql), commit, err);
	if (code != KEEL_OK)
		sqlite_rollback(sql);
	return code;
}

/* Savepoints of one name are a stack: the name means the newest. */
static const char savepoint[] = "SAVEPOINT keel", release[] = "RELEASE keel", rollback_to[] = "ROLLBACK TO keel";

enum keel_code sqlite_savepoint(struct keel_sql *sql, struct keel_error *err)
{
	/* As with begin: what ends it is prepared first. */
	struct keel_statement *unused;
	enum keel_code code = sqlite_prepare(sql, release, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_prepare(sql, rollback_to, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_run(sqlite_own(sql), savepoint, err);
	return code;
}

enum keel_code sqlite_release(struct keel_sql *sql, struct keel_error *err)
{
	return sqlite_run(sqlite_own(sql), release, err);
}

enum keel_code sqlite_rollback_to(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = sqlite_run(sqlite_own(sql), rollback_to, err);
	return code == KEEL_OK ? sqlite_run(sqlite_own(sql), release, err) : code;
}
