/* sql/postgres.h - the PostgreSQL driver, in a module of its own: it links libpq, which not everybody has. */
#ifndef KEEL_SQL_POSTGRES_H
#define KEEL_SQL_POSTGRES_H

#include "sql/sql.h"

extern const struct keel_sql_driver keel_postgres_driver;

#endif
