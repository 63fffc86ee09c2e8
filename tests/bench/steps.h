/* steps.h - counting the instructions of SQLite's machine that a benchmark's store takes. */
#ifndef KEEL_BENCH_STEPS_H
#define KEEL_BENCH_STEPS_H

#include <sqlite3.h>

#include <stdint.h>

#include "bench.h"

static sqlite3 *counted; /* the connection of the store that was opened last */

static inline int see_connection(sqlite3 *db, const char **message, const void *api)
{
	(void)message;
	(void)api;
	counted = db;
	return SQLITE_OK;
}

/* Before a store is opened. */
static inline void count_steps(void)
{
	if (sqlite3_auto_extension((void (*)(void))see_connection) != SQLITE_OK)
		die("sqlite", "connections cannot be seen");
}

/* Instructions since the last call. */
static inline int64_t steps(void)
{
	int64_t sum = 0;
	for (sqlite3_stmt *one = NULL; (one = sqlite3_next_stmt(counted, one)) != NULL;)
		sum += sqlite3_stmt_status(one, SQLITE_STMTSTATUS_VM_STEP, 1);
	return sum;
}

#endif
