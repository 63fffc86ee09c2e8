/* sqlite_program.c - what the keel program decides about SQLite, which is the whole process's. */
#include "sql/sqlite_parts.h"

void keel_sqlite_set_up_program(void)
{
	/* Nobody asks how much memory SQLite has in use; counting it takes a lock for each allocation. A library must not
	 * decide that for its host. Refused, it is counted. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}
