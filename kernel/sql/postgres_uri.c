/* postgres_uri.c - our own part of a uri. Uses: memory, error.
 *
 * A uri is libpq's, but for the parameter `schema`: a store is a schema of a database, so that one database can have
 * several.
 */
#include "sql/postgres_parts.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"

static const char own[] = "schema=";

/* The beginning of our parameter; NULL: it is not there. */
static char *find_own(char *uri)
{
	char *query = strchr(uri, '?');
	for (char *at = query; at; at = strchr(at + 1, '&'))
		if (strncmp(at + 1, own, sizeof own - 1) == 0)
			return at + 1;
	return NULL;
}

static bool is_name(const char *name)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyz_", any[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
	size_t size = strlen(name);
	return size > 0 && size <= POSTGRES_SCHEMA_MAX && strspn(name, first) > 0 && strspn(name, any) == size &&
		   strncmp(name, "pg_", 3) != 0;
}

enum keel_code postgres_read_uri(const char *uri, char **for_libpq, char schema[POSTGRES_SCHEMA_MAX + 1],
								 struct keel_error *err)
{
	strcpy(schema, "keel");
	*for_libpq = keel_copy_text(uri);
	if (!*for_libpq)
		return keel_fail_memory(err);
	char *parameter = find_own(*for_libpq);
	if (!parameter)
		return KEEL_OK;
	char *end = parameter + strcspn(parameter, "&");
	char next = *end;
	*end = '\0';
	const char *name = parameter + sizeof own - 1;
	if (!is_name(name)) {
		enum keel_code code =
			keel_fail_field(err, "uri",
							"schema must be a name of the letters a to z, digits and _, at most %d of them, that does"
							" not begin with a digit or pg_",
							POSTGRES_SCHEMA_MAX);
		keel_free(*for_libpq);
		*for_libpq = NULL;
		return code;
	}
	memcpy(schema, name, strlen(name) + 1);
	/* What follows moves up; without it the mark before goes. */
	if (next == '&')
		memmove(parameter, end + 1, strlen(end + 1) + 1);
	else
		parameter[-1] = '\0';
	return KEEL_OK;
}
