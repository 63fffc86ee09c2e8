/* driver.c - which driver a uri means. Uses: sqlite. */
#include "sql/sql.h"

#include <string.h>

#include "base/error.h"

enum keel_code keel_sql_find(const char *uri, const struct keel_sql_driver **driver, struct keel_error *err)
{
	if (!uri || !uri[0])
		return keel_fail_field(err, "uri", "uri must be a path or \":memory:\"");
	const char *scheme = strstr(uri, "://");
	if (scheme && !memchr(uri, '/', (size_t)(scheme - uri)))
		return keel_fail_field(err, "uri", "there is no driver for %.*s: uri must be a path or \":memory:\"",
							   (int)(scheme - uri), uri);
	*driver = &keel_sqlite_driver;
	return KEEL_OK;
}
