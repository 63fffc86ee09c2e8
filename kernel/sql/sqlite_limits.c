/* sqlite_limits.c - what a file may cost and do: little, while its schema is a stranger's. */
#include "sql/sqlite_parts.h"

enum {
	ROW_MAX = 256 * 1024 * 1024, /* bytes of a row or text: a run with every text as long as may be */
	ROW_OPENING = 1024 * 1024,   /* of one that is read while the schema is a stranger's */
	LOOK_EVERY = 100000,         /* steps of SQLite's machine between two looks at how many there were */
	LOOKS_MAX = 100000           /* of one statement once the schema is known: minutes, where verify looks at ten
	                              * million runs in one */
};

/* Stops a statement that does not end: not all that a file holds is data. */
static int look(void *data)
{
	struct sqlite_sql *sql = data;
	return ++sql->looks > sql->looks_max;
}

void sqlite_limit(struct sqlite_sql *sql)
{
	/* A damaged or hostile file may misuse neither the schema nor the library. */
	sql->looks_max = SQLITE_LOOKS_OPENING;
	sqlite3_progress_handler(sql->db, LOOK_EVERY, look, sql);
	sqlite3_limit(sql->db, SQLITE_LIMIT_LENGTH, ROW_OPENING);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, (int *)NULL);
}

void sqlite_trust(struct sqlite_sql *sql)
{
	sql->looks_max = LOOKS_MAX;
	sqlite3_limit(sql->db, SQLITE_LIMIT_LENGTH, ROW_MAX);
}
