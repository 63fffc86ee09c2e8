/* sql/sqlite_parts.h - what the files of the SQLite driver share. For them only. */
#ifndef KEEL_SQL_SQLITE_PARTS_H
#define KEEL_SQL_SQLITE_PARTS_H

#include "sql/cache.h"

#include <sqlite3.h>

enum {
	SQLITE_APPLICATION_ID = 0x4B45454C, /* "KEEL", in the file's header */
	SQLITE_LOOKS_OPENING = 1000,        /* of one statement, while the schema is a stranger's: seconds */
	SQLITE_SMALLEST_FILE = 512          /* bytes of a page: SQLite takes a file of one byte for an empty one */
};

/* How a connection opens and writes its files. It is registered with SQLite as long as the connection is open. */
struct sqlite_files {
	sqlite3_vfs vfs; /* first: SQLite hands it back */
	sqlite3_vfs *real;
	char name[32];
};

struct sqlite_sql {
	struct keel_sql head;
	sqlite3 *db;
	struct sqlite_files files; /* not in memory */
	bool memory;
	int looks, looks_max; /* at the statement that runs, while it does; how many it may have */
	struct keel_sql_cache statements;
	struct sqlite_descriptor *descriptor; /* of the file, as this process counts them */
};

static inline struct sqlite_sql *sqlite_own(struct keel_sql *sql)
{
	return (struct sqlite_sql *)sql;
}

/* sqlite_error.c: what a result code means, alone and with SQLite's words and the path. */
enum keel_code sqlite_classify(int rc, const char *message);
enum keel_code sqlite_fail(struct sqlite_sql *sql, int rc, struct keel_error *err);

/* sqlite_statement.c: slots of the driver. */
enum keel_code sqlite_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
							  struct keel_error *err);
void sqlite_forget(struct keel_sql *base, const char *text);
enum keel_code sqlite_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err);
enum keel_code sqlite_bind_int(struct keel_statement *statement, int parameter, int64_t value, struct keel_error *err);
enum keel_code sqlite_bind_text(struct keel_statement *statement, int parameter, struct keel_text value,
								struct keel_error *err);
enum keel_code sqlite_step(struct keel_statement *statement, bool *row, struct keel_error *err);
bool sqlite_column_null(struct keel_statement *statement, int column);
int64_t sqlite_column_int(struct keel_statement *statement, int column);
struct keel_text sqlite_column_text(struct keel_statement *statement, int column);
void sqlite_reset(struct keel_statement *statement);
enum keel_code sqlite_changes(struct keel_sql *sql, int64_t *count, struct keel_error *err);
int64_t sqlite_inserted(struct keel_sql *sql);
void sqlite_drop_statements(struct sqlite_sql *sql);

/* A statement without values or rows; a script; the first column of a query, and of one whose text does not stay. */
enum keel_code sqlite_run(struct sqlite_sql *sql, const char *text, struct keel_error *err);
enum keel_code sqlite_exec(struct sqlite_sql *sql, const char *text, struct keel_error *err);
enum keel_code sqlite_int(struct sqlite_sql *sql, const char *text, int64_t *value, struct keel_error *err);
enum keel_code sqlite_int_once(struct sqlite_sql *sql, const char *text, int64_t *value, struct keel_error *err);

/* sqlite_transaction.c: slots of the driver. */
bool sqlite_in_transaction(struct keel_sql *sql);
void sqlite_rollback(struct keel_sql *sql);
enum keel_code sqlite_begin(struct keel_sql *sql, const struct keel_sql_scope *scope, bool write,
							struct keel_statement *first, struct keel_error *err);
enum keel_code sqlite_commit(struct keel_sql *sql, struct keel_error *err);
enum keel_code sqlite_savepoint(struct keel_sql *sql, struct keel_error *err);
enum keel_code sqlite_release(struct keel_sql *sql, struct keel_error *err);
enum keel_code sqlite_rollback_to(struct keel_sql *sql, struct keel_error *err);

/* sqlite_limits.c: sets the limits that hold while the schema is not known, and lifts them. */
void sqlite_limit(struct sqlite_sql *sql);
void sqlite_trust(struct sqlite_sql *sql);

/* sqlite_file.c: says in good words what SQLite would say in bad ones; makes the file if it is to be made. */
enum keel_code sqlite_check_file(const struct keel_sql_config *config, struct keel_error *err);

/* Opens the connection, and sees that nothing else in this process has the file open. */
enum keel_code sqlite_connect(struct sqlite_sql *sql, const char *path, int flags, struct keel_error *err);

/* Closes it. */
void sqlite_disconnect(struct sqlite_sql *sql);

/* Whether this process may write the file and make others beside it. */
bool sqlite_may_write(const char *path);

/* Readers share an index of the log; whether it is missing and cannot be made. */
bool sqlite_lacks_index(const struct sqlite_sql *sql);

/* sqlite_contents.c: a file that ends inside a page was truncated, unless a log is there to complete it. */
enum keel_code sqlite_check_size(struct sqlite_sql *sql, struct keel_error *err);

/* Slots of the driver. */
bool sqlite_has_log(struct keel_sql *sql);
bool sqlite_holds(struct keel_sql *sql, int64_t page, struct keel_text text);
enum keel_code sqlite_find(struct keel_sql *sql, const char *table, struct keel_text text, int64_t *page,
						   struct keel_error *err);
bool sqlite_is_foreign(struct keel_sql *sql);
bool sqlite_has_moved(struct keel_sql *sql);
void sqlite_leave_log(struct keel_sql *sql);
enum keel_code sqlite_size(struct keel_sql *sql, struct keel_sql_size *size, struct keel_error *err);

/* sqlite_program.c: for the keel program only, before the first store is opened. */
void keel_sqlite_set_up_program(void);

/* sqlite_log.c: makes the files of a connection that is about to be opened. Returns SQLite's code. */
int sqlite_join_frames(struct sqlite_files *files);

/* sqlite_copies.c: whether the process has a second copy of SQLite in it. Takes milliseconds. */
bool sqlite_has_other_copy(void);

/* sqlite_copy.c */
enum keel_code sqlite_copy(struct keel_sql *sql, const char *path,
						   void (*tell)(void *data, int64_t done, int64_t total), void *data, struct keel_error *err);
enum keel_code sqlite_compact(struct keel_sql *sql, struct keel_error *err);
enum keel_code sqlite_write_back(struct keel_sql *sql, int64_t *left, struct keel_error *err);

#endif
