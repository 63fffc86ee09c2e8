/* sql/sqlite_schema.h - comparing the schema of a file with the migrations; for the SQLite driver only. */
#ifndef KEEL_SQLITE_SCHEMA_H
#define KEEL_SQLITE_SCHEMA_H

#include "sql/sql.h"

struct sqlite3;

/* Looks whether the schema is what the scripts make. A code of SQLite's; with SQLITE_CORRUPT and a KEEL_STORE_CORRUPT
 * in *err when it is another, which says what is strange. */
int keel_sqlite_compare_schema(struct sqlite3 *db, keel_script *script, struct keel_error *err);

#endif
