/* sqlite.c - the SQLite driver. The only file that knows SQLite. Uses: error, memory.
 *
 * Journal in WAL mode, so that readers and the one writer do not wait for each other; writing transactions begin
 * IMMEDIATE, so that none dies at the upgrade from a read lock. No busy handler: waiting is the caller's.
 */
#include "sql/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/sidefile.h"
#include "base/trace.h"

enum {
	APPLICATION_ID = 0x4B45454C, /* "KEEL", in the file's header */
	SMALLEST_FILE = 512,         /* bytes of the smallest page: SQLite takes a file of one byte for an empty one */
	CACHE_KIB = 16 * 1024        /* pages kept: the inner nodes of the indexes over some millions of runs */
};

struct sqlite_sql {
	struct keel_sql head;
	sqlite3 *db;
	bool memory;
	/* The statement cache: open addressing by the address of the text, a power of two, at most half full. */
	struct sqlite_statement **slots;
	size_t slots_count;
	size_t used; /* slots that are or were taken */
};

struct sqlite_statement {
	struct keel_statement head;
	struct sqlite_sql *sql;
	const char *text; /* NULL: forgotten */
	sqlite3_stmt *stmt;
};

static struct sqlite_sql *own(struct keel_sql *sql)
{
	return (struct sqlite_sql *)sql;
}

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

static enum keel_code fail(struct sqlite_sql *sql, int rc, struct keel_error *err)
{
	/* The connection's message belongs to the last call that failed on it: take it only if that was this one. */
	const char *message =
		sql->db && sqlite3_extended_errcode(sql->db) == rc ? sqlite3_errmsg(sql->db) : sqlite3_errstr(rc);
	const char *path = sql->db ? sqlite3_db_filename(sql->db, "main") : NULL;
	enum keel_code code = classify(rc, message);
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
	struct sqlite_sql *sql = own(base);
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
		return fail(sql, rc, err);
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
	struct sqlite_statement *found = cached(own(base), text);
	if (!found)
		return;
	sqlite3_finalize(found->stmt);
	found->stmt = NULL;
	found->text = NULL; /* its slot keeps the chain of others together until the next sweep */
}

static enum keel_code bound(struct keel_statement *statement, int rc, struct keel_error *err)
{
	return rc == SQLITE_OK ? KEEL_OK : fail(own_statement(statement)->sql, rc, err);
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
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? KEEL_OK : fail(own_statement(statement)->sql, rc, err);
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
}

static int64_t sqlite_changes(struct keel_sql *sql)
{
	return sqlite3_changes(own(sql)->db);
}

static int64_t sqlite_inserted(struct keel_sql *sql)
{
	return sqlite3_last_insert_rowid(own(sql)->db);
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
	return !sqlite3_get_autocommit(own(sql)->db);
}

static const char begin_read[] = "BEGIN", begin_write[] = "BEGIN IMMEDIATE";
static const char commit[] = "COMMIT", rollback[] = "ROLLBACK";

static void sqlite_rollback(struct keel_sql *sql)
{
	if (!sqlite_in_transaction(sql))
		return;
	run_text(own(sql), rollback, NULL);
	/* A ROLLBACK that fails (memory, the disk) leaves the transaction open; the plain call is the last means. */
	if (sqlite_in_transaction(sql))
		sqlite3_exec(own(sql)->db, rollback, NULL, NULL, NULL);
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
		code = run_text(own(sql), write ? begin_write : begin_read, err);
	return code;
}

static enum keel_code sqlite_commit(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = run_text(own(sql), commit, err);
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
		code = run_text(own(sql), savepoint, err);
	return code;
}

static enum keel_code sqlite_release(struct keel_sql *sql, struct keel_error *err)
{
	return run_text(own(sql), release, err);
}

static enum keel_code sqlite_rollback_to(struct keel_sql *sql, struct keel_error *err)
{
	enum keel_code code = run_text(own(sql), rollback_to, err);
	return code == KEEL_OK ? run_text(own(sql), release, err) : code;
}

/* --- The file ---------------------------------------------------------------------------------------------------- */

/* Creates the file with mode 0600 if there is none. Closing any descriptor of a database file by hand drops the POSIX
 * locks of this whole process on it, so this happens before SQLite can have it open: O_EXCL for other processes, the
 * mutex for other threads. */
static enum keel_code create_file(const char *path, struct keel_error *err)
{
	static pthread_mutex_t creating = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&creating);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int failure = fd < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&creating);
	switch (failure) {
	case 0:
	case EEXIST:
		return KEEL_OK;
	case ENOENT:
	case ENOTDIR:
		return keel_fail(err, KEEL_STORE_MISSING, "cannot create %s: no such directory", path);
	case EROFS:
		return keel_fail(err, KEEL_STORE_READONLY, "cannot create %s: %s", path, strerror(failure));
	case ENOSPC:
	case EDQUOT:
		return keel_fail(err, KEEL_STORE_FULL, "cannot create %s: %s", path, strerror(failure));
	default:
		return keel_fail(err, KEEL_IO, "cannot create %s: %s", path, strerror(failure));
	}
}

/* Says in good words what SQLite would say in bad ones. */
static enum keel_code check_file(const struct keel_sql_config *config, struct keel_error *err)
{
	const char *path = config->uri;
	struct stat info;
	if (stat(path, &info) != 0) {
		if (errno != ENOENT)
			return keel_fail(err, errno == ENOTDIR ? KEEL_STORE_MISSING : KEEL_IO, "cannot open %s: %s", path,
							 strerror(errno));
		if (config->readonly || !config->create)
			return keel_fail(err, KEEL_STORE_MISSING, "cannot open %s: no such file", path);
		enum keel_code code = create_file(path, err);
		if (code != KEEL_OK)
			return code;
		if (stat(path, &info) != 0)
			return keel_fail(err, KEEL_IO, "cannot open %s: %s", path, strerror(errno));
	}
	if (S_ISDIR(info.st_mode))
		return keel_fail(err, KEEL_IO, "cannot open %s: it is a directory", path);
	/* SQLite's notes of the locks this process holds went to the child, the locks did not: it would write without. */
	if (keel_sidefile_inherited((int64_t)info.st_dev, (int64_t)info.st_ino))
		return keel_fail(err, KEEL_FORKED, "%s was open when this process was forked: " KEEL_FORK_ADVICE, path);
	if (!S_ISREG(info.st_mode))
		return keel_fail(err, KEEL_IO, "cannot open %s: it is not a regular file", path);
	if (info.st_size > 0 && info.st_size < SMALLEST_FILE)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: file is not a database, or was truncated", path);
	if (faccessat(AT_FDCWD, path, config->readonly ? R_OK : R_OK | W_OK, AT_EACCESS) != 0)
		return keel_fail(err, errno == EROFS ? KEEL_STORE_READONLY : KEEL_IO, "cannot open %s: %s", path,
						 strerror(errno));
	return KEEL_OK;
}

static enum keel_code pragma_int(struct sqlite_sql *sql, const char *text, int64_t *value, struct keel_error *err)
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

static enum keel_code exec(struct sqlite_sql *sql, const char *text, struct keel_error *err)
{
	int rc = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
	return rc == SQLITE_OK ? KEEL_OK : fail(sql, rc, err);
}

/* A file that ends inside a page was truncated, unless a write-ahead log is there to complete it: SQLite itself notices
 * only when the missing part is read. */
static enum keel_code check_size(struct sqlite_sql *sql, struct keel_error *err)
{
	const char *path = sqlite3_db_filename(sql->db, "main");
	struct stat file, log;
	int64_t page_size;
	enum keel_code code = pragma_int(sql, "PRAGMA page_size", &page_size, err);
	if (code != KEEL_OK || !path || !path[0])
		return code;
	/* The log's name follows the database's in SQLite's memory; see sqlite3_filename_wal. */
	bool completed = stat(sqlite3_filename_wal(path), &log) == 0 && log.st_size > 0;
	if (!completed && stat(path, &file) == 0 && page_size > 0 && file.st_size % page_size != 0)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the file was truncated", path);
	return KEEL_OK;
}

static enum keel_code configure(struct sqlite_sql *sql, const struct keel_sql_config *config, struct keel_error *err)
{
	static const char *const synchronous[] = {
		[KEEL_DURABILITY_FULL] = "PRAGMA synchronous = FULL",
		[KEEL_DURABILITY_NORMAL] = "PRAGMA synchronous = NORMAL",
		[KEEL_DURABILITY_OFF] = "PRAGMA synchronous = OFF",
	};
	char cache[64];
	snprintf(cache, sizeof cache, "PRAGMA cache_size = -%d", CACHE_KIB);
	/* A damaged or hostile file may misuse neither the schema nor the library. */
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)NULL);
	sqlite3_db_config(sql->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, (int *)NULL);
	enum keel_code code = exec(sql, synchronous[config->durability], err);
	if (code == KEEL_OK)
		code = exec(sql, cache, err);
	if (code == KEEL_OK)
		code = exec(sql, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY", err);
	return code;
}

static void sqlite_close(struct keel_sql *base)
{
	struct sqlite_sql *sql = own(base);
	for (size_t i = 0; i < sql->slots_count; i++) {
		if (sql->slots[i])
			sqlite3_finalize(sql->slots[i]->stmt);
		keel_free(sql->slots[i]);
	}
	sqlite3_close_v2(sql->db);
	keel_free(sql->slots);
	keel_free(sql);
}

/* Readers share the index of the log, in a file beside the database. When nobody has that file open and it cannot be
 * made, SQLite's words are about writing, which nobody asked for. */
static bool lacks_index(const struct sqlite_sql *sql)
{
	const char *path = sql->db ? sqlite3_db_filename(sql->db, "main") : NULL;
	const char *slash = path ? strrchr(path, '/') : NULL;
	char name[PATH_MAX];
	if (!slash || strlen(path) + sizeof "-shm" > sizeof name)
		return false;
	snprintf(name, sizeof name, "%s-shm", path);
	if (access(name, F_OK) == 0)
		return false;
	snprintf(name, sizeof name, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return faccessat(AT_FDCWD, name, W_OK, AT_EACCESS) != 0;
}

static enum keel_code sqlite_open(const struct keel_sql_config *config, struct keel_sql **out, struct keel_error *err)
{
	bool memory = strcmp(config->uri, ":memory:") == 0;
	enum keel_code code = memory ? KEEL_OK : check_file(config, err);
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
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	flags |= config->readonly && !memory ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	int rc = sqlite3_open_v2(path, &sql->db, flags, NULL);
	code = rc == SQLITE_OK ? configure(sql, config, err) : fail(sql, rc, err);
	if (code == KEEL_OK)
		code = check_size(sql, err);
	if ((code == KEEL_STORE_READONLY || code == KEEL_IO) && config->readonly && lacks_index(sql))
		code = keel_fail(err, KEEL_IO, "%s: its folder cannot be written, so it is only read while others use it",
						 sqlite3_db_filename(sql->db, "main"));
	keel_free(path);
	if (code != KEEL_OK) {
		sqlite_close(&sql->head);
		return code;
	}
	*out = &sql->head;
	return KEEL_OK;
}

static enum keel_code sqlite_identify(struct keel_sql *base, int64_t *version, bool *ours, struct keel_error *err)
{
	struct sqlite_sql *sql = own(base);
	int64_t application = 0, tables = 0;
	*version = 0;
	/* In this order, as another process may create the store between two of them: whoever saw tables sees the rest. */
	enum keel_code code = pragma_int(sql, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (code == KEEL_OK)
		code = pragma_int(sql, "PRAGMA user_version", version, err);
	if (code == KEEL_OK)
		code = pragma_int(sql, "PRAGMA application_id", &application, err);
	*ours = application == APPLICATION_ID || (application == 0 && *version == 0 && tables == 0);
	return code;
}

static enum keel_code sqlite_make_ready(struct keel_sql *base, struct keel_error *err)
{
	struct sqlite_sql *sql = own(base);
	struct keel_statement *statement;
	bool row = false;
	if (sql->memory)
		return KEEL_OK;
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
	snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %lld", APPLICATION_ID,
			 (long long)version);
	enum keel_code code = exec(own(base), script, err);
	return code == KEEL_OK ? exec(own(base), text, err) : code;
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
	const char *path = sqlite3_db_filename(own(base)->db, "main");
	return path ? path : "";
}

/* In steps, to be able to tell of them. The caller's transaction holds the picture: without it, each write of another
 * connection would start the copy anew. */
static enum keel_code copy_pages(struct sqlite_sql *sql, struct sqlite_sql *to,
								 void (*tell)(void *data, int64_t done, int64_t total), void *data,
								 struct keel_error *err)
{
	enum { STEP_PAGES = 256 }; /* a megabyte */
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", sql->db, "main");
	if (!backup)
		return fail(to, sqlite3_extended_errcode(to->db), err);
	while (sqlite3_backup_step(backup, STEP_PAGES) == SQLITE_OK) {
		int64_t total = sqlite3_backup_pagecount(backup);
		tell(data, total - sqlite3_backup_remaining(backup), total);
	}
	int rc = sqlite3_backup_finish(backup);
	return rc == SQLITE_OK ? KEEL_OK : fail(to, rc, err);
}

static enum keel_code sqlite_copy(struct keel_sql *base, const char *path,
								  void (*tell)(void *data, int64_t done, int64_t total), void *data,
								  struct keel_error *err)
{
	const struct keel_sql_config config = {path, KEEL_DURABILITY_FULL, false, false};
	struct keel_sql *to;
	enum keel_code code = sqlite_open(&config, &to, err);
	if (code != KEEL_OK)
		return code;
	code = copy_pages(own(base), own(to), tell, data, err);
	/* As long as it has no log it is one file; making it ready for writing gives it one. */
	if (code == KEEL_OK)
		code = exec(own(to), "PRAGMA journal_mode = DELETE", err);
	sqlite_close(to);
	return code;
}

static enum keel_code sqlite_size(struct keel_sql *base, int64_t *bytes, struct keel_error *err)
{
	int64_t pages, page_size = 0;
	enum keel_code code = pragma_int(own(base), "PRAGMA page_count", &pages, err);
	if (code == KEEL_OK)
		code = pragma_int(own(base), "PRAGMA page_size", &page_size, err);
	*bytes = pages * page_size;
	return code;
}

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
};
