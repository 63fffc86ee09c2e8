/* support_connection.c - the kernel's connection to SQLite, for tests that count what a call costs there. */
#include "support.h"

#include <sqlite3.h>

struct sqlite3 *last_connection;

static int see_connection(sqlite3 *db, const char **message, const void *api)
{
	(void)message;
	(void)api;
	last_connection = db;
	return SQLITE_OK;
}

int watch_connections(void **state)
{
	(void)state;
	return sqlite3_auto_extension((void (*)(void))see_connection) == SQLITE_OK ? 0 : -1;
}

int64_t work_of(struct sqlite3 *db, int what)
{
	int64_t sum = 0;
	for (sqlite3_stmt *stmt = NULL; (stmt = sqlite3_next_stmt(db, stmt)) != NULL;)
		sum += sqlite3_stmt_status(stmt, what, 1);
	return sum;
}

int64_t steps_of(struct sqlite3 *db)
{
	return work_of(db, SQLITE_STMTSTATUS_VM_STEP);
}
