/* sqlite.c - the SQLite driver: connections, statements, transactions. Uses: sqlite_file, sqlite_copy, error, memory.
 *
 * Journal in WAL mode, so that readers and the one writer do not wait for each other; writing transactions begin
 * IMMEDIATE, so that none dies at the upgrade from a read lock. No busy handler: waiting is the caller's.
 */
#include "sql/sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/room.h"
#include "base/trace.h"
#include "sql/sqlite_schema.h"

enum {
	LOG_BYTES = 4 * 1024 * 1024, /* the log is cut to so much when it is begun anew; it needs that much all the time */
	CACHE_KIB = 16 * 1024,       /* pages kept: the inner nodes of the indexes over some millions of runs */
	ROW_MAX = 256 * 1024 * 1024, /* bytes of a row or text: a run with every text as long as may be */
	ROW_OPENING = 1024 * 1024,   /* of one that is read while the schema is a stranger's */
	LOOK_EVERY = 100000,         /* steps of SQLite's machine between two looks at how many there were */
	LOOKS_OPENING = 1000,        /* of one statement, while the schema is a stranger's: seconds */
	LOOKS_MAX = 100000           /* of one later on: minutes, where verify looks at ten million runs in one */
};

struct sqlite_statement {
	struct keel_statement head;
	struct sqlite_sql *sql;
	const char *text; /* NULL: forgotten */
	sqlite3_stmt *stmt;
};

static struct sqlite_statement *own_statement(struct keel_statement *statement)
{
	return (struct sqlite_statement *)statement;
}

/* --- Errors ------------------------------------------------------------------------------------------------------ */

/* Whether an error of a statement is about its use. Our statements are always the same and fit the schema: what SQLite
 * finds wrong with one otherwise (no such table, unknown function, a syntax error in an index) is in the file. */
static bool is_about_use(const char *message)
{
	return strncmp(message, "cannot ", 7) == 0 || strcmp(message, sqlite3_errstr(SQLITE_ERROR)) == 0;
}

static enum keel_code classify(int rc, const char *message)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return KEEL_NO_MEMORY;
	switch (rc & 0xFF) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return KEEL_BUSY;
	case SQLITE_NOMEM:
		return KEEL_NO_MEMORY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT: /* the domain checks first: what the schema refuses is damage */
		return KEEL_STORE_CORRUPT;
	case SQLITE_READONLY:
		return KEEL_STORE_READONLY;
	case SQLITE_FULL:
		return KEEL_STORE_FULL;
	case SQLITE_TOOBIG:
		return KEEL_LIMIT_TOO_LARGE;
	case SQLITE_ERROR:
		return is_about_use(message) ? KEEL_IO : KEEL_STORE_CORRUPT;
	default:
		return KEEL_IO;
	}
}

/* SQLite knows one way for a disk to be full (ENOSPC); a quota and a limit of the process are others. What the system
 * said is often gone when SQLite has cleaned up: then, under a limit, a write that failed for another reason than a
 * failing device has met it. */
static bool is_full(const struct sqlite_sql *sql, int rc)
{
	struct rlimit limit;
	int number = sql->db ? sqlite3_system_errno(sql->db) : 0;
	if ((rc & 0xFF) != SQLITE_IOERR || number == EIO)
		return false;
	if (number == EFBIG || number == EDQUOT || number == ENOSPC)
		return true;
	bool writes = rc == SQLITE_IOERR_WRITE || rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_TRUNCATE;
	return writes && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* A file system that was mounted for writing and cannot be written: an image that became read-only. */
static bool is_read_only(const struct sqlite_sql *sql, int rc)
{
	return sql->db && ((rc & 0xFF) == SQLITE_IOERR || (rc & 0xFF) == SQLITE_CANTOPEN) &&
		   sqlite3_system_errno(sql->db) == EROFS;
}

enum keel_code sqlite_fail(struct sqlite_sql *sql, int rc, struct keel_error *err)
{
	/* The connection's message belongs to the last call that failed on it: take it only if that was this one. */
	const char *message =
		sql->db && sqlite3_extended_errcode(sql->db) == rc ? sqlite3_errmsg(sql->db) : sqlite3_errstr(rc);
	const char *path = sql->db ? sqlite3_db_filename(sql->db, "main") : NULL;
	enum keel_code code = classify(rc, message);
	/* Its log, or the index of that, cannot be made, where it could be opened. */
	int number = sql->db && (rc & 0xFF) == SQLITE_CANTOPEN ? sqlite3_system_errno(sql->db) : 0;
	if (path && keel_is_no_room(number)) {
		code = KEEL_STORE_FULL;
		message = keel_room_words(path, number);
	} else if (is_read_only(sql, rc)) {
		code = KEEL_STORE_READONLY;
		message = "its file system cannot be written (any more)";
	} else if (is_full(sql, rc)) {
		code = KEEL_STORE_FULL;
		message = "there is no room to write: the disk, a quota or a limit on the size of files (ulimit -f)";
	}
	if (rc == SQLITE_INTERRUPT) {
		message = "a statement took longer than any should";
		code = KEEL_LIMIT_TOO_LARGE;
	}
	if (code == KEEL_LIMIT_TOO_LARGE && sql->looks_max == LOOKS_OPENING)
		code = KEEL_STORE_CORRUPT;
	if (path && path[0])
		return keel_fail(err, code, "%s: %s", path, message);
	return keel_fail(err, code, "%s", message);
}

/* --- Statements -------------------------------------------------------------------------------------------------- */

static size_t slot_of(const struct sqlite_sql *sql, const char *text)
{
	uint64_t hash = (uint64_t)(uintptr_t)text * UINT64_C(0x9E3779B97F4A7C15);
	return (size_t)(hash >> 32) & (sql->slots_count - 1);
}

static struct sqlite_statement *cached(const struct sqlite_sql *sql, const char *text)
{
	if (!sql->slots_count)
		return NULL;
	for (size_t i = slot_of(sql, text); sql->slots[i]; i = (i + 1) & (sql->slots_count - 1))
		if (sql->slots[i]->text == text)
			return sql->slots[i];
	return NULL;
}

static void place(struct sqlite_sql *sql, struct sqlite_statement *statement)
{
	size_t i = slot_of(sql, statement->text);
	while (sql->slots[i])
		i = (i + 1) & (sql->slots_count - 1);
	sql->slots[i] = statement;
	sql->used++;
}

/* Makes room for one more; forgotten statements are swept out on the way. */
static bool grow(struct sqlite_sql *sql)
{
	if (sql->slots_count && sql->used + 1 <= sql->slots_count / 2)
		return true;
	size_t old_count = sql->slots_count;
	struct sqlite_statement **old = sql->slots;
	size_t live = 0;
	for (size_t i = 0; i < old_count; i++)
		live += old[i] && old[i]->text;
	size_t count = 64;
	while (count < (live + 1) * 2)
		count *= 2;
	struct sqlite_statement **slots = keel_new(count * sizeof(struct sqlite_statement *));
	if (!slots)
		return false;
	sql->slots = slots;
	sql->slots_count = count;
	sql->used = 0;
	for (size_t i = 0; i < old_count; i++) {
		if (old[i] && old[i]->text)
			place(sql, old[i]);
		else
			keel_free(old[i]);
	}
	keel_free(old);
	return true;
}

static enum keel_code sqlite_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
									 struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	struct sqlite_statement *found = cached(sql, text);
	if (found) {
		*statement = &found->head;
		return KEEL_OK;
	}
	*statement = NULL;
	if (!grow(sql))
		return keel_fail_memory(err);
	struct sqlite_statement *fresh = keel_new(sizeof *fresh);
	if (!fresh)
		return keel_fail_memory(err);
	int rc = sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, &fresh->stmt, NULL);
	if (rc != SQLITE_OK) {
		keel_free(fresh);
		return sqlite_fail(sql, rc, err);
	}
	fresh->head.driver = base->driver;
	fresh->sql = sql;
	fresh->text = text;
	place(sql, fresh);
	*statement = &fresh->head;
	return KEEL_OK;
}

static void sqlite_forget(struct keel_sql *base, const char *text)
{
	struct sqlite_statement *found = cached(sqlite_own(base), text);
	if (!found)
		return;
	sqlite3_finalize(found->stmt);
	found->stmt = NULL;
	found->text = NULL; /* its slot keeps the chain of others together until the next sweep */
}

static enum keel_code bound(struct keel_statement *statement, int rc, struct keel_error *err)
{
	return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(own_statement(statement)->sql, rc, err);
}

static enum keel_code sqlite_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err)
{
	return bound(statement, sqlite3_bind_null(own_statement(statement)->stmt, parameter), err);
}

static enum keel_code sqlite_bind_int(struct keel_statement *statement, int parameter, int64_t value,
									  struct keel_error *err)
{
	return bound(statement, sqlite3_bind_int64(own_statement(statement)->stmt, parameter, value), err);
}

static enum keel_code sqlite_bind_text(struct keel_statement *statement, int parameter, struct keel_text value,
									   struct keel_error *err)
{
	return bound(statement,
				 sqlite3_bind_text64(own_statement(statement)->stmt, parameter, value.data, value.size, SQLITE_STATIC,
									 SQLITE_UTF8),
				 err);
}

static enum keel_code sqlite_step(struct keel_statement *statement, bool *row, struct keel_error *err)
{
	KEEL_TRACE("sql", "%s", sqlite3_sql(own_statement(statement)->stmt));
	int rc = sqlite3_step(own_statement(statement)->stmt);
	*row = rc == SQLITE_ROW;
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? KEEL_OK : sqlite_fail(own_statement(statement)->sql, rc, err);
}

static bool sqlite_column_null(struct keel_statement *statement, int column)
{
	return sqlite3_column_type(own_statement(statement)->stmt, column) == SQLITE_NULL;
}

static int64_t sqlite_column_int(struct keel_statement *statement, int column)
{
	return sqlite3_column_int64(own_statement(statement)->stmt, column);
}

static struct keel_text sqlite_column_text(struct keel_statement *statement, int column)
{
	sqlite3_stmt *stmt = own_statement(statement)->stmt;
	const char *data = (const char *)sqlite3_column_text(stmt, column);
	return (struct keel_text){data, data ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

static void sqlite_reset(struct keel_statement *statement)
{
	sqlite3_reset(own_statement(statement)->stmt); /* repeats the error of the step, which was already reported */
	own_statement(statement)->sql->looks = 0;
}

static int64_t sqlite_changes(struct keel_sql *sql)
{
	return sqlite3_changes(sqlite_own(sql)->db);
}

static int64_t sqlite_inserted(struct keel_sql *sql)
{
	return sqlite3_last_insert_rowid(sqlite_own(sql)->db);
}

/* --- Transactions ------------------------------------------------------------------------------------------------ */

static enum keel_code run_text(struct sqlite_sql *sql, const char *text, struct keel_error *err)
{
	struct keel_statement *statement;
	enum keel_code code = sqlite_prepare(&sql->head, text, &statement, err);
	return code == KEEL_OK ? keel_run_statement(statement, err) : code;
}

static bool sqlite_in_transaction(struct keel_sql *sql)
{
	return !sqlite3_get_autocommit(sqlite_own(sql)->db);
}

static const char begin_read[] = "BEGIN", begin_write[] = "BEGIN IMMEDIATE";
static const char commit[] = "COMMIT", rollback[] = "ROLLBACK";

static void sqlite_rollback(struct keel_sql *sql)
{
	if (!sqlite_in_transaction(sql))
		return;
	run_text(sqlite_own(sql), rollback, NULL);
	/* A ROLLBACK that fails (memory, the disk) leaves the transaction open; the plain call is the last means. */
	if (sqlite_in_transaction(sql))
		sqlite3_exec(sqlite_own(sql)->db, rollback, NULL, NULL, NULL);
}

static enum keel_code sqlite_begin(struct keel_sql *sql, bool write, struct keel_error *err)
{
	/* What ends a transaction is prepared before one begins, so that ending it needs no memory for that. */
	struct keel_statement *unused;
	sqlite_rollback(sql); /* one that failed left its transaction open */
	enum keel_code code = sqlite_prepare(sql, commit, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_prepare(sql, rollback, &unused, err);
	if (code == KEEL_OK)
		code = run_text(sqlite_own(sql), write ? begin_write : begin_read, err);
	return code;
}

static enum keel_code sqlite_commit(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = run_text(sqlite_own(sql), commit, err);
	if (code != KEEL_OK)
		sqlite_rollback(sql);
	return code;
}

/* Savepoints of one name are a stack: the name means the newest. */
static const char savepoint[] = "SAVEPOINT keel", release[] = "RELEASE keel", rollback_to[] = "ROLLBACK TO keel";

static enum keel_code sqlite_savepoint(struct keel_sql *sql, struct keel_error *err)
{
	/* As with begin: what ends it is prepared first. */
	struct keel_statement *unused;
	enum keel_code code = sqlite_prepare(sql, release, &unused, err);
	if (code == KEEL_OK)
		code = sqlite_prepare(sql, rollback_to, &unused, err);
	if (code == KEEL_OK)
		code = run_text(sqlite_own(sql), savepoint, err);
	return code;
}

static enum keel_code sqlite_release(struct keel_sql *sql, struct keel_error *err)
{
	return run_text(sqlite_own(sql), release, err);
}

static enum keel_code sqlite_rollback_to(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = run_text(sqlite_own(sql), rollback_to, err);
	return code == KEEL_OK ? run_text(sqlite_own(sql), release, err) : code;
}

/* --- The file ---------------------------------------------------------------------------------------------------- */

enum keel_code sqlite_int(struct sqlite_sql *sql, const char *text, int64_t *value, struct keel_error *err)
{
	struct keel_statement *statement;
	bool row = false;
	enum keel_code code = sqlite_prepare(&sql->head, text, &statement, err);
	if (code != KEEL_OK)
		return code;
	code = sqlite_step(statement, &row, err);
	*value = code == KEEL_OK && row ? sqlite_column_int(statement, 0) : 0;
	sqlite_reset(statement);
	return code;
}

enum keel_code sqlite_int_once(struct sqlite_sql *sql, const char *text, int64_t *value, struct keel_error *err)
{
	enum keel_code code = sqlite_int(sql, text, value, err);
	sqlite_forget(&sql->head, text);
	return code;
}

enum keel_code sqlite_exec(struct sqlite_sql *sql, const char *text, struct keel_error *err)
{
	int rc = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
	sql->looks = 0;
	return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(sql, rc, err);
}

/* Stops a statement that does not end: not all that a file holds is data. */
static int look(void *data)
{
	struct sqlite_sql *sql = data;
	return ++sql->looks > sql->looks_max;
}

void sqlite_trust(struct sqlite_sql *sql)
{
	sql->looks_max = LOOKS_MAX;
	sqlite3_limit(sql->db, SQLITE_LIMIT_LENGTH, ROW_MAX);
}

static enum keel_code configure(struct sqlite_sql *sql, const struct keel_sql_config *config, struct keel_error *err)
{
	static const char *const synchronous[] = {
		[KEEL_DURABILITY_FULL] = "PRAGMA synchronous = FULL",
		[KEEL_DURABILITY_NORMAL] = "PRAGMA synchronous = NORMAL",
		[KEEL_DURABILITY_OFF] = "PRAGMA synchronous = OFF",
	};
	char limits[96];
	snprintf(limits, sizeof limits, "PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d", CACHE_KIB, LOG_BYTES);
	/* A damaged or hostile file may misuse neither the schema nor the library. */
	sql->looks_max = LOOKS_OPENING;
	sqlite3_progress_handler(sql->db, LOOK_EVERY, look, sql);
	sqlite3_limit(sql->db, SQLITE_LIMIT_LENGTH, ROW_OPENING);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, (int *)NULL);
	enum keel_code code = sqlite_exec(sql, synchronous[config->durability], err);
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
	for (size_t i = 0; i < sql->slots_count; i++) {
		if (sql->slots[i])
			sqlite3_finalize(sql->slots[i]->stmt);
		keel_free(sql->slots[i]);
	}
	sqlite_disconnect(sql);
	keel_free(sql->slots);
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
	code = sqlite_connect(sql, path,
						  SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
							  (writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY),
						  err);
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

static enum keel_code sqlite_check_schema(struct keel_sql *base, keel_script *script, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	struct keel_error why = {.code = KEEL_OK};
	int rc = keel_sqlite_compare_schema(sql->db, script, &why);
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
		if (classify((int)strtol(at + sizeof unreadable - 1, NULL, 10), "") == KEEL_NO_MEMORY)
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
	.let_go = sqlite_let_go,
	.compact = sqlite_compact,
	.write_back = sqlite_write_back,
	.check_schema = sqlite_check_schema,
	.last_key = sqlite_last_key,
	.text_size = sqlite_text_size,
};
