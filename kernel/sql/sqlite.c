/* sqlite.c - the SQLite driver: connections. Uses: sqlite_transaction, sqlite_statement, sqlite_file, sqlite_copy.
 *
 * Journal in WAL mode, so that readers and the one writer do not wait for each other.
 */
#include "sql/sqlite_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "sql/sqlite_schema.h"

enum {
	LOG_BYTES = 4 * 1024 * 1024, /* the log is cut to so much when it is begun anew; it needs that much all the time */
	CACHE_KIB = 16 * 1024        /* pages kept: the inner nodes of the indexes over some millions of runs */
};

static enum keel_code configure(struct sqlite_sql *sql, const struct keel_sql_config *config, struct keel_error *err)
{
	static const char *const synchronous[] = {
		[KEEL_DURABILITY_FULL] = "PRAGMA synchronous = FULL",
		[KEEL_DURABILITY_NORMAL] = "PRAGMA synchronous = NORMAL",
		[KEEL_DURABILITY_OFF] = "PRAGMA synchronous = OFF",
	};
	char limits[96];
	snprintf(limits, sizeof limits, "PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d", CACHE_KIB, LOG_BYTES);
	sqlite_limit(sql);
	/* Before the first look into the file, which the next line takes: then SQLite locks all of it for as long as it is
	 * open, and makes no index of the log that others could read. */
	enum keel_code code = config->exclusive ? sqlite_exec(sql, "PRAGMA locking_mode = EXCLUSIVE", err) : KEEL_OK;
	if (code == KEEL_OK)
		code = sqlite_exec(sql, synchronous[config->durability], err);
	if (code == KEEL_OK)
		code = sqlite_exec(sql, limits, err);
	if (code == KEEL_OK)
		code = sqlite_exec(sql, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY", err);
	if (code == KEEL_OK && config->readonly && !sql->memory)
		code = sqlite_exec(sql, "PRAGMA query_only = ON", err);
	return code;
}

static void sqlite_close(struct keel_sql *base)
{
	struct sqlite_sql *sql = sqlite_own(base);
	sqlite_drop_statements(sql);
	sqlite_disconnect(sql);
	keel_free(sql);
}

static enum keel_code sqlite_open(const struct keel_sql_config *config, struct keel_sql **out, struct keel_error *err)
{
	bool memory = strcmp(config->uri, ":memory:") == 0;
	enum keel_code code = memory ? KEEL_OK : sqlite_check_file(config, err);
	*out = NULL;
	if (code != KEEL_OK)
		return code;
	struct sqlite_sql *sql = keel_new(sizeof *sql);
	/* A relative path gets a "./", so that SQLite never takes it for one of its own uris or names. */
	size_t size = strlen(config->uri) + 3;
	char *path = keel_resize(NULL, size);
	if (!sql || !path) {
		keel_free(sql);
		keel_free(path);
		return keel_fail_memory(err);
	}
	snprintf(path, size, "%s%s", memory || config->uri[0] == '/' ? "" : "./", config->uri);
	sql->head.driver = &keel_sqlite_driver;
	sql->memory = memory;
	/* A reader who may write is connected like a writer, or the last one to close could not clear away the log. */
	bool writes = memory || !config->readonly || sqlite_may_write(path);
	code = sqlite_connect(
		sql, path,
		SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY), err);
	keel_free(path);
	if (code != KEEL_OK) {
		sqlite_close(&sql->head);
		return code;
	}
	*out = &sql->head;
	return KEEL_OK;
}

static enum keel_code sqlite_start(struct keel_sql *base, const struct keel_sql_config *config, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	enum keel_code code = configure(sql, config, err);
	if (code == KEEL_OK)
		code = sqlite_check_size(sql, err);
	if ((code == KEEL_STORE_READONLY || code == KEEL_IO) && config->readonly && sqlite_lacks_index(sql))
		return keel_fail(err, KEEL_IO, "%s: its folder cannot be written, so it is only read while others use it",
						 sqlite3_db_filename(sql->db, "main"));
	return code;
}

static enum keel_code sqlite_identify(struct keel_sql *base, int64_t *version, bool *ours, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	int64_t application = 0, tables = 0;
	*version = 0;
	/* In this order, as another process may create the store between two of them: whoever saw tables sees the rest. */
	enum keel_code code = sqlite_int(sql, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (code == KEEL_OK)
		code = sqlite_int(sql, "PRAGMA user_version", version, err);
	if (code == KEEL_OK)
		code = sqlite_int(sql, "PRAGMA application_id", &application, err);
	*ours = application == SQLITE_APPLICATION_ID || (application == 0 && *version == 0 && tables == 0);
	return code;
}

static enum keel_code sqlite_check_schema(struct keel_sql *base, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	struct keel_error why = {.code = KEEL_OK};
	int rc = keel_sqlite_compare_schema(sql->db, keel_sqlite_script, &why);
	sql->looks = 0;
	if (rc == SQLITE_OK)
		sqlite_trust(sql);
	if (why.code != KEEL_OK)
		return keel_fail_as(err, why.code, &why);
	return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(sql, rc, err);
}

static enum keel_code sqlite_last_key(struct keel_sql *base, struct keel_text table, int64_t *key,
									  struct keel_error *err)
{
	static const char text[] = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
	struct keel_statement *select;
	bool row = false;
	enum keel_code code = sqlite_prepare(base, text, &select, err);
	if (code == KEEL_OK)
		code = sqlite_bind_text(select, 1, table, err);
	if (code != KEEL_OK)
		return code;
	code = sqlite_step(select, &row, err);
	*key = code == KEEL_OK && row ? sqlite_column_int(select, 0) : 0;
	sqlite_reset(select);
	return code;
}

/* The other keys are one more than the highest. */
static enum keel_code sqlite_continue_keys(struct keel_sql *base, struct keel_text table, int64_t last,
										   struct keel_error *err)
{
	static const char *const texts[] = {"DELETE FROM sqlite_sequence WHERE name = ?1",
										"INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)"};
	struct keel_statement *statement;
	enum keel_code code = KEEL_OK;
	for (int i = 0; code == KEEL_OK && i < 2; i++) {
		code = sqlite_prepare(base, texts[i], &statement, err);
		if (code == KEEL_OK)
			code = sqlite_bind_text(statement, 1, table, err);
		if (code == KEEL_OK && i == 1)
			code = sqlite_bind_int(statement, 2, last, err);
		if (code == KEEL_OK)
			code = keel_run_statement(statement, err);
	}
	return code;
}

static enum keel_code sqlite_text_size(struct keel_sql *base, const char *table, const char *column, int64_t key,
									   int64_t *size, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	sqlite3_blob *text = NULL;
	int rc = sqlite3_blob_open(sql->db, "main", table, column, key, 0, &text);
	*size = rc == SQLITE_OK ? sqlite3_blob_bytes(text) : 0;
	sqlite3_blob_close(text);
	/* SQLITE_ERROR: the row is not there, or the value is null. */
	return rc == SQLITE_OK || rc == SQLITE_ERROR ? KEEL_OK : sqlite_fail(sql, rc, err);
}

static enum keel_code sqlite_make_ready(struct keel_sql *base, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	struct keel_statement *statement;
	bool row = false;
	/* Only a file without tables takes it; a store keeps what it was made with. */
	enum keel_code paged = sqlite_exec(sql, sql->memory ? "PRAGMA page_size = 1024" : "PRAGMA page_size = 2048", err);
	if (paged != KEEL_OK || sql->memory)
		return paged;
	/* Asking first: setting what is set already would still wait for locks. */
	static const char *const texts[] = {"PRAGMA journal_mode", "PRAGMA journal_mode = WAL"};
	for (int i = 0; i < 2; i++) {
		enum keel_code code = sqlite_prepare(base, texts[i], &statement, err);
		if (code != KEEL_OK)
			return code;
		code = sqlite_step(statement, &row, err);
		struct keel_text mode = code == KEEL_OK && row ? sqlite_column_text(statement, 0) : (struct keel_text){NULL, 0};
		bool wal = mode.data && strcmp(mode.data, "wal") == 0;
		if (code == KEEL_OK && row && !mode.data)
			code = keel_fail_memory(err);
		sqlite_reset(statement);
		if (code != KEEL_OK || wal)
			return code;
	}
	return keel_fail(err, KEEL_IO, "%s: this file system cannot hold a store (no write-ahead log)",
					 sqlite3_db_filename(sql->db, "main"));
}

static enum keel_code sqlite_migrate(struct keel_sql *base, const char *script, int64_t version, struct keel_error *err)
{
	char text[96];
	snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %lld", SQLITE_APPLICATION_ID,
			 (long long)version);
	enum keel_code code = sqlite_exec(sqlite_own(base), script, err);
	return code == KEEL_OK ? sqlite_exec(sqlite_own(base), text, err) : code;
}

/* A page that SQLite had no memory to read is not damaged, but its check says so, as a line among the others. */
static bool lacked_memory(const char *lines)
{
	static const char unreadable[] = "unable to get the page. error code=";
	for (const char *at = lines; (at = strstr(at, unreadable)) != NULL; at += sizeof unreadable - 1)
		if (sqlite_classify((int)strtol(at + sizeof unreadable - 1, NULL, 10), "") == KEEL_NO_MEMORY)
			return true;
	return false;
}

static enum keel_code sqlite_check(struct keel_sql *base, bool (*found)(void *data, const char *sentence), void *data,
								   struct keel_error *err)
{
	struct keel_statement *statement;
	bool row;
	enum keel_code code = sqlite_prepare(base, "PRAGMA integrity_check", &statement, err);
	if (code != KEEL_OK)
		return code;
	while ((code = sqlite_step(statement, &row, err)) == KEEL_OK && row) {
		struct keel_text line = sqlite_column_text(statement, 0);
		if (!line.data || lacked_memory(line.data)) {
			code = keel_fail_memory(err);
			break;
		}
		if (strcmp(line.data, "ok") != 0 && !found(data, line.data))
			break;
	}
	sqlite_reset(statement);
	return code;
}

static const char *sqlite_path(struct keel_sql *base)
{
	const char *path = sqlite3_db_filename(sqlite_own(base)->db, "main");
	return path ? path : "";
}

static const char *const sqlite_beside[] = {"-wal", "-shm", "-journal", NULL};

const struct keel_sql_driver keel_sqlite_driver = {
	.version = 1,
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.identify = sqlite_identify,
	.make_ready = sqlite_make_ready,
	.migrate = sqlite_migrate,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.in_transaction = sqlite_in_transaction,
	.prepare = sqlite_prepare,
	.bind_null = sqlite_bind_null,
	.bind_int = sqlite_bind_int,
	.bind_text = sqlite_bind_text,
	.step = sqlite_step,
	.column_null = sqlite_column_null,
	.column_int = sqlite_column_int,
	.column_text = sqlite_column_text,
	.reset = sqlite_reset,
	.forget = sqlite_forget,
	.changes = sqlite_changes,
	.inserted = sqlite_inserted,
	.check = sqlite_check,
	.path = sqlite_path,
	.savepoint = sqlite_savepoint,
	.release = sqlite_release,
	.rollback_to = sqlite_rollback_to,
	.copy = sqlite_copy,
	.size = sqlite_size,
	.start = sqlite_start,
	.beside = sqlite_beside,
	.has_log = sqlite_has_log,
	.find = sqlite_find,
	.holds = sqlite_holds,
	.is_foreign = sqlite_is_foreign,
	.has_moved = sqlite_has_moved,
	.leave_log = sqlite_leave_log,
	.compact = sqlite_compact,
	.write_back = sqlite_write_back,
	.check_schema = sqlite_check_schema,
	.script = keel_sqlite_script,
	.last_key = sqlite_last_key,
	.text_size = sqlite_text_size,
	.catalog = "SELECT t.name, c.name, c.type = 'INTEGER', 0 FROM sqlite_schema t JOIN pragma_table_info(t.name) c"
			   " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid",
	.continue_keys = sqlite_continue_keys,
};
