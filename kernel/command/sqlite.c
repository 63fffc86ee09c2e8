/* sqlite.c - what the program decides about SQLite, which is the whole process's. */
#include "command.h"

#include <sqlite3.h>

void command_set_up_sqlite(void)
{
	/* Nobody asks how much memory SQLite has in use; counting it takes a lock for each allocation. A library must not
	 * decide that for its host. Refused, it is counted. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}
