/* sql.c - which driver a uri means, and what all drivers share. Uses: sqlite. */
#include "sql/sql.h"

#include <string.h>

#include "base/error.h"

enum keel_code keel_sql_find(const char *uri, const struct keel_sql_driver **driver, struct keel_error *err)
{
	if (!uri || !uri[0])
		return keel_fail_field(err, "uri", "uri must be a path or \":memory:\"");
	if (strncmp(uri, "postgresql:", 11) == 0 || strncmp(uri, "postgres:", 9) == 0)
		return keel_fail_field(err, "uri", "this build has no driver for PostgreSQL: uri must be a path or \":memory:\"");
	*driver = &keel_sqlite_driver;
	return KEEL_OK;
}

enum keel_code keel_run_statement(struct keel_statement *statement, struct keel_error *err)
{
	bool row;
	enum keel_code code = keel_step(statement, &row, err);
	keel_reset(statement);
	return code;
}
