/* postgres_error.c - what the server's errors mean. Uses: error.
 *
 * The states are those of the SQL standard and PostgreSQL's appendix A; the first two characters are the class.
 */
#include "sql/postgres_parts.h"

#include <string.h>

#include "base/error.h"

static const struct {
	const char *state; /* a whole one, or a class */
	enum keel_code code;
} meanings[] = {
	{"40001", KEEL_BUSY},           /* serialization_failure */
	{"40P01", KEEL_BUSY},           /* deadlock_detected */
	{"55P03", KEEL_BUSY},           /* lock_not_available: lock_timeout */
	{"57014", KEEL_BUSY},           /* query_canceled: by us */
	{"23505", KEEL_BUSY},           /* unique_violation: somebody else was first */
	{"57P01", KEEL_BUSY},           /* admin_shutdown */
	{"57P02", KEEL_BUSY},           /* crash_shutdown */
	{"57P03", KEEL_BUSY},           /* cannot_connect_now */
	{"57P05", KEEL_BUSY},           /* idle_session_timeout */
	{"25P03", KEEL_BUSY},           /* idle_in_transaction_session_timeout */
	{"08", KEEL_BUSY},              /* the connection */
	{"53100", KEEL_STORE_FULL},     /* disk_full */
	{"53200", KEEL_NO_MEMORY},      /* out_of_memory */
	{"54", KEEL_LIMIT_TOO_LARGE},   /* program_limit_exceeded */
	{"25006", KEEL_STORE_READONLY}, /* read_only_sql_transaction */
	{"42P01", KEEL_STORE_CORRUPT},  /* undefined_table */
	{"42703", KEEL_STORE_CORRUPT},  /* undefined_column */
	{"22", KEEL_STORE_CORRUPT},     /* data_exception: the domain checks first */
	{"23", KEEL_STORE_CORRUPT},     /* what a constraint refuses is damage */
	{"XX001", KEEL_STORE_CORRUPT},  /* data_corrupted */
	{"XX002", KEEL_STORE_CORRUPT},  /* index_corrupted */
	{"3F000", KEEL_STORE_MISSING},  /* invalid_schema_name */
};

enum keel_code postgres_classify(const char *state)
{
	for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
		if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0)
			return meanings[i].code;
	return KEEL_IO;
}

/* The first line, without its end. */
static int line_size(const char *message)
{
	return (int)strcspn(message, "\n");
}

enum keel_code postgres_fail(struct postgres_sql *sql, const PGresult *result, struct keel_error *err)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	if (state && message && strcmp(state, "42501") == 0) /* insufficient_privilege: whose? */
		return keel_fail(err, KEEL_IO, "%s: %.*s; the role is %s", sql->path, line_size(message), message,
						 PQuser(sql->db));
	if (state && message)
		return keel_fail(err, postgres_classify(state), "%s: %.*s", sql->path, line_size(message), message);
	/* No answer of the server's: libpq itself. Without memory it has no result to say so in. */
	if (PQstatus(sql->db) == CONNECTION_OK)
		return keel_fail_memory(err);
	postgres_show_descriptor(sql);
	return keel_fail(err, KEEL_BUSY, "%s: the connection is lost", sql->path);
}
