/* schema/schema.h - the versions of the schema. The migrations, in a folder a driver, are embedded at build by
 * embed.cmake; those of one number do the same.
 */
#ifndef KEEL_SCHEMA_H
#define KEEL_SCHEMA_H

#include "sql/sql.h"

/* Versions up to this one are those of stores from before the first release, which nobody can read any more. Migration
 * number i + 1 brings the schema from version KEEL_SCHEMA_BASE + i to the next. */
enum { KEEL_SCHEMA_BASE = 114 };

/* The version that this library writes. */
static inline int keel_schema_version(const struct keel_sql_driver *driver)
{
	int count = 0;
	while (driver->script(count))
		count++;
	return KEEL_SCHEMA_BASE + count;
}

#endif
