/* postgres.c - the PostgreSQL driver: what a store is there. Uses: postgres_uri, postgres_connect, postgres_session,
 * postgres_statement, postgres_transaction.
 *
 * A store is a schema of a database. One connection a handle: it does the work and holds the locks.
 */
#include "sql/postgres_parts.h"

#include <keel/postgres.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "sql/postgres.h"

/* --- Opening ----------------------------------------------------------------------------------------------------- */

static void postgres_close(struct keel_sql *base)
{
	struct postgres_sql *sql = postgres_own(base);
	postgres_take_back(sql); /* the server would not notice, while it waits, that nobody asks any more */
	postgres_let_go(sql);
	if (sql->descriptor)
		*sql->descriptor = -1;
	postgres_drop_statements(sql);
	PQfinish(sql->db);
	keel_buffer_free(&sql->threads);
	keel_buffer_free(&sql->events.values);
	keel_buffer_free(&sql->events.witness);
	keel_free(sql->path);
	keel_free(sql);
}

static enum keel_code postgres_open(const struct keel_sql_config *config, struct keel_sql **out, struct keel_error *err)
{
	char *uri;
	*out = NULL;
	struct postgres_sql *sql = keel_new(sizeof *sql);
	if (!sql)
		return keel_fail_memory(err);
	sql->head.driver = &keel_postgres_driver;
	sql->event = -1;
	sql->answer_s = POSTGRES_ANSWER_S;
	sql->readonly = config->readonly;
	sql->flushes = config->durability == KEEL_DURABILITY_FULL;
	enum keel_code code = postgres_read_uri(config->uri, &uri, sql->schema, err);
	if (code == KEEL_OK)
		code = postgres_connect(sql, uri, err);
	keel_free(uri);
	if (code != KEEL_OK) {
		postgres_close(&sql->head);
		return code;
	}
	*out = &sql->head;
	return KEEL_OK;
}

/* --- The schema -------------------------------------------------------------------------------------------------- */

/* The store's lock is a number of its own in this database: the schema's, which no other has. */
static enum keel_code find_schema(struct postgres_sql *sql, int64_t *oid, struct keel_error *err)
{
	char text[160];
	snprintf(text, sizeof text, "SELECT coalesce(to_regnamespace('%s')::oid::bigint, 0)", sql->schema);
	enum keel_code code = postgres_numbers(sql, text, oid, 1, err);
	sql->lock = (int64_t)((uint64_t)*oid << 32);
	return code;
}

static enum keel_code postgres_start(struct keel_sql *base, const struct keel_sql_config *config,
									 struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	int64_t oid = 0;
	enum keel_code code = find_schema(sql, &oid, err);
	if (code == KEEL_OK && !oid && (!config->create || config->readonly))
		code = keel_fail(err, KEEL_STORE_MISSING, "%s: there is no such schema", sql->path);
	return code;
}

static enum keel_code postgres_identify(struct keel_sql *base, int64_t *version, bool *ours, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[512];
	int64_t found[3] = {0, 0, 0}; /* our mark, anything, whether we may look */
	*version = 0;
	snprintf(text, sizeof text,
			 "SELECT count(*) FILTER (WHERE relname = 'schema_version'), count(*),"
			 " coalesce(has_schema_privilege(to_regnamespace('%s'), 'USAGE'), true) FROM pg_class"
			 " WHERE oid = ANY (ARRAY(" POSTGRES_TABLES
			 "to_regnamespace('%s'))) AND relkind IN ('r', 'p', 'v', 'm', 'f')",
			 sql->schema, sql->schema);
	enum keel_code code = postgres_numbers(sql, text, found, 3, err);
	if (code == KEEL_OK && !found[2])
		code = keel_fail(err, KEEL_IO, "%s: the role has no right to the schema (USAGE)", sql->path);
	*ours = found[0] || !found[1];
	if (code == KEEL_OK && found[0])
		code = postgres_numbers(sql, "SELECT max(version) FROM schema_version WHERE application = 'keel'", version, 1,
								err);
	*ours = *ours && (!found[0] || *version != 0);
	return code;
}

/* Makes the schema. Two who say IF NOT EXISTS at once would collide: one after the other, then. */
static enum keel_code postgres_make_ready(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[256];
	int64_t oid = 0;
	enum keel_code code = sql->lock ? KEEL_OK : find_schema(sql, &oid, err);
	if (code != KEEL_OK || sql->lock)
		return code;
	snprintf(text, sizeof text,
			 "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('keel %s', 0)); CREATE SCHEMA IF NOT EXISTS \"%s\";"
			 " COMMIT",
			 sql->schema, sql->schema);
	code = postgres_exec(sql, text, NULL, err);
	if (code != KEEL_OK) {
		postgres_exec(sql, "ROLLBACK", NULL, NULL);
		return code;
	}
	return find_schema(sql, &oid, err);
}

/* What the catalog says of the schema, in one text: its tables, columns, indexes and functions. It is noted down when
 * the migrations have run, and compared when the store is opened. */
#define SHAPE                                                                                                    \
	"(SELECT md5(string_agg(part, E'\\n' ORDER BY part COLLATE \"C\")) FROM ("                                   \
	"SELECT c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull" \
	" FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped"       \
	" AND c.relkind IN ('r', 'v') AND c.oid = " POSTGRES_ANY_TABLE                                               \
	" UNION ALL SELECT replace(pg_get_indexdef(i.indexrelid), quote_ident(current_schema()) || '.', '')"         \
	" FROM pg_index i WHERE i.indrelid = " POSTGRES_ANY_TABLE                                                    \
	" UNION ALL SELECT p.proname || ' ' || md5(p.prosrc) FROM pg_proc p WHERE p.oid = " POSTGRES_ANY_FUNCTION    \
	") parts(part))"

static enum keel_code postgres_migrate(struct keel_sql *base, const char *script, int64_t version,
									   struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[2048];
	snprintf(text, sizeof text, "UPDATE schema_version SET version = %" PRId64 ", shape = " SHAPE, version);
	enum keel_code code = postgres_exec(sql, script, NULL, err);
	return code == KEEL_OK ? postgres_exec(sql, text, NULL, err) : code;
}

static enum keel_code postgres_check_schema(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	int64_t same = 0;
	enum keel_code code = postgres_numbers(sql, "SELECT shape = " SHAPE " FROM schema_version", &same, 1, err);
	if (code == KEEL_OK && !same)
		code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: tables, columns or indexes of the store have been changed",
						 sql->path);
	return code;
}

/* --- What there is to know --------------------------------------------------------------------------------------- */

static enum keel_code postgres_check(struct keel_sql *base, bool (*found)(void *data, const char *sentence), void *data,
									 struct keel_error *err)
{
	/* The server checks its pages when it reads them (data_checksums), and what it finds is an error of the query. */
	(void)base, (void)found, (void)data, (void)err;
	return KEEL_OK;
}

static const char *postgres_path(struct keel_sql *base)
{
	return postgres_own(base)->path;
}

static enum keel_code postgres_size(struct keel_sql *base, struct keel_sql_size *size, struct keel_error *err)
{
	static const char text[] = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
							   " WHERE relkind = 'r' AND oid = " POSTGRES_ANY_TABLE;
	size->unused = 0; /* vacuuming finds that */
	return postgres_numbers(postgres_own(base), text, &size->bytes, 1, err);
}

static void postgres_be_patient(struct keel_sql *base, bool patient)
{
	postgres_own(base)->answer_s = patient ? POSTGRES_LONG_S : POSTGRES_ANSWER_S;
}

static enum keel_code postgres_last_key(struct keel_sql *base, struct keel_text table, int64_t *key,
										struct keel_error *err)
{
	char text[192];
	snprintf(text, sizeof text,
			 "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('%.*s', 'id')::regclass), 0)",
			 (int)table.size, table.data);
	return postgres_numbers(postgres_own(base), text, key, 1, err);
}

/* Each column whose values a sequence makes, behind the highest there is. */
static enum keel_code postgres_continue_keys(struct keel_sql *base, struct keel_text table, int64_t last,
											 struct keel_error *err)
{
	char text[1024];
	snprintf(text, sizeof text,
			 "DO $$ DECLARE made record; BEGIN FOR made IN SELECT c.relname, a.attname, CASE c.relname WHEN '%.*s' THEN"
			 " %" PRId64 " ELSE 0 END AS last FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
			 " WHERE c.relkind = 'r' AND a.attidentity <> '' AND c.oid = " POSTGRES_ANY_TABLE " LOOP"
			 " EXECUTE format('SELECT setval(pg_get_serial_sequence(%%L, %%L), greatest(last, 1), last > 0) FROM"
			 " (SELECT greatest(coalesce(max(%%I), 0), %%s) AS last FROM %%I) counted', quote_ident(made.relname),"
			 " made.attname, made.attname, made.last, made.relname);"
			 " END LOOP; END $$",
			 (int)table.size, table.data, last);
	return postgres_exec(postgres_own(base), text, NULL, err);
}

static enum keel_code postgres_text_size(struct keel_sql *base, const char *table, const char *column, int64_t key,
										 int64_t *size, struct keel_error *err)
{
	char text[256];
	bool is_log = strcmp(table, "events") == 0;
	snprintf(text, sizeof text, "SELECT octet_length(%s) FROM %s WHERE %s = %" PRId64, column, table,
			 is_log ? "id" : "seq", key);
	return postgres_numbers(postgres_own(base), text, size, 1, err);
}

/* --- What only a file has ---------------------------------------------------------------------------------------- */

static enum keel_code postgres_copy(struct keel_sql *base, const char *path,
									void (*tell)(void *data, int64_t done, int64_t total), void *data,
									struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	const char *host = PQhost(sql->db), *port = PQport(sql->db);
	(void)path, (void)tell, (void)data;
	return keel_fail(
		err, KEEL_NOT_SUPPORTED,
		"%s: the server's own means make a backup: pg_dump --format=custom --schema=%s --file=FILE%s%s%s%s %s",
		sql->path, sql->schema, host && host[0] ? " --host=" : "", host ? host : "", port && port[0] ? " --port=" : "",
		port ? port : "", PQdb(sql->db));
}

static enum keel_code postgres_compact(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	return keel_fail(err, KEEL_NOT_SUPPORTED,
					 "%s: the server makes room by itself (autovacuum); this gives it back to the disk, and keeps"
					 " everybody out meanwhile: vacuumdb --full %s",
					 sql->path, PQdb(sql->db));
}

static enum keel_code postgres_write_back(struct keel_sql *base, int64_t *left, struct keel_error *err)
{
	(void)base, (void)err;
	*left = 0;
	return KEEL_OK;
}

static enum keel_code postgres_find(struct keel_sql *base, const char *table, struct keel_text text, int64_t *page,
									struct keel_error *err)
{
	(void)base, (void)table, (void)text, (void)err;
	*page = 0;
	return KEEL_OK;
}

static bool postgres_holds(struct keel_sql *base, int64_t page, struct keel_text text)
{
	(void)base, (void)page, (void)text;
	return false;
}

static bool postgres_no(struct keel_sql *base)
{
	(void)base;
	return false;
}

static void postgres_leave_log(struct keel_sql *base)
{
	(void)base;
}

static const char *const postgres_beside[] = {NULL};

const struct keel_sql_driver keel_postgres_driver = {
	.version = 1,
	.name = "postgres",
	.open = postgres_open,
	.close = postgres_close,
	.identify = postgres_identify,
	.make_ready = postgres_make_ready,
	.migrate = postgres_migrate,
	.begin = postgres_begin,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.in_transaction = postgres_in_transaction,
	.prepare = postgres_prepare,
	.bind_null = postgres_bind_null,
	.bind_int = postgres_bind_int,
	.bind_text = postgres_bind_text,
	.step = postgres_step,
	.column_null = postgres_column_null,
	.column_int = postgres_column_int,
	.column_text = postgres_column_text,
	.reset = postgres_reset,
	.forget = postgres_forget,
	.changes = postgres_changes,
	.inserted = postgres_inserted,
	.check = postgres_check,
	.path = postgres_path,
	.savepoint = postgres_savepoint,
	.release = postgres_release,
	.rollback_to = postgres_rollback_to,
	.copy = postgres_copy,
	.size = postgres_size,
	.start = postgres_start,
	.beside = postgres_beside,
	.has_log = postgres_no,
	.find = postgres_find,
	.holds = postgres_holds,
	.is_foreign = postgres_no,
	.has_moved = postgres_no,
	.leave_log = postgres_leave_log,
	.compact = postgres_compact,
	.write_back = postgres_write_back,
	.check_schema = postgres_check_schema,
	.script = keel_postgres_script,
	.hold = postgres_hold,
	.judge = postgres_judge,
	.listen = postgres_listen,
	.news = postgres_news,
	.keep_descriptor = postgres_keep_descriptor,
	.asks = postgres_asks,
	.await = postgres_await,
	.connection = postgres_connection,
	.cover = postgres_cover,
	.log = postgres_log,
	.logged = postgres_logged,
	.last_key = postgres_last_key,
	.text_size = postgres_text_size,
	.durable = postgres_durable,
	.catalog =
		"SELECT c.relname, a.attname, a.atttypid IN ('bigint'::regtype, 'integer'::regtype),"
		" coalesce(array_position(i.indkey::int2[], a.attnum), -1) + 1 FROM pg_class c JOIN pg_attribute a"
		" ON a.attrelid = c.oid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary WHERE c.relkind = 'r'"
		" AND c.relname <> 'schema_version' AND a.attname <> 'written_at' AND a.attnum > 0 AND NOT a.attisdropped"
		" AND c.oid = " POSTGRES_ANY_TABLE " ORDER BY c.relname, a.attnum",
	.continue_keys = postgres_continue_keys,
	.be_patient = postgres_be_patient,
	.look_at_server = postgres_look_at_server,
};

const struct keel_sql_driver *keel_postgres(void)
{
	return &keel_postgres_driver;
}
