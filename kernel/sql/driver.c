/* driver.c - which driver a uri means. Uses: sqlite. */
#include "sql/sql.h"

#include <string.h>

#include "base/error.h"

/* The one for stores on a server, which is in a module of its own; NULL: nobody has brought it. A process has one, so
 * that setting it twice does no harm. */
static const struct keel_sql_driver *_Atomic server_driver;

enum keel_code keel_store_use_driver(const struct keel_sql_driver *driver, struct keel_error *err)
{
	if (!driver || driver->version != keel_sqlite_driver.version)
		return keel_fail(err, KEEL_NOT_SUPPORTED, "the driver is of another version of Keel");
	server_driver = driver;
	return KEEL_OK;
}

static bool is_scheme(const char *uri, const char *scheme, size_t size)
{
	return strlen(scheme) == size && memcmp(uri, scheme, size) == 0;
}

enum keel_code keel_sql_find(const char *uri, const struct keel_sql_driver **driver, struct keel_error *err)
{
	static const char expected[] = "uri must be a path, \":memory:\" or postgresql://…";
	if (!uri || !uri[0])
		return keel_fail_field(err, "uri", "%s", expected);
	const char *end = strstr(uri, "://");
	*driver = &keel_sqlite_driver;
	if (!end || memchr(uri, '/', (size_t)(end - uri)))
		return KEEL_OK;
	size_t size = (size_t)(end - uri);
	if (!is_scheme(uri, "postgresql", size) && !is_scheme(uri, "postgres", size))
		return keel_fail_field(err, "uri", "there is no driver for %.*s: %s", (int)size, uri, expected);
	*driver = server_driver;
	return *driver ? KEEL_OK
				   : keel_fail(err, KEEL_NOT_SUPPORTED,
							   "stores on PostgreSQL need the module keel.postgres (in C: libkeel_postgres and"
							   " keel_store_use_driver), which is not here");
}
