/* sqlite_statement.c - the statements of the SQLite driver, prepared once. Uses: cache, sqlite_error, memory. */
#include "sql/sqlite_parts.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/trace.h"

struct sqlite_statement {
	struct keel_statement head;
	struct sqlite_sql *sql;
	sqlite3_stmt *stmt;
};

static struct sqlite_statement *own_statement(struct keel_statement *statement)
{
	return (struct sqlite_statement *)statement;
}

enum keel_code sqlite_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
							  struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	*statement = keel_cache_find(&sql->statements, text);
	if (*statement) {
		KEEL_ASSERT(!sqlite3_stmt_busy(own_statement(*statement)->stmt)); /* whoever used it before has reset it */
		return KEEL_OK;
	}
	if (!keel_cache_make_room(&sql->statements))
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
	fresh->head.text = text;
	keel_cache_add(&sql->statements, &fresh->head);
	*statement = &fresh->head;
	return KEEL_OK;
}

static void finalize(struct keel_statement *statement)
{
	sqlite3_finalize(own_statement(statement)->stmt);
}

void sqlite_forget(struct keel_sql *base, const char *text)
{
	struct keel_statement *found = keel_cache_find(&sqlite_own(base)->statements, text);
	if (!found)
		return;
	finalize(found);
	found->text = NULL; /* its slot keeps the chain of others together until the next sweep */
}

static enum keel_code bound(struct keel_statement *statement, int rc, struct keel_error *err)
{
	return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(own_statement(statement)->sql, rc, err);
}

enum keel_code sqlite_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err)
{
	return bound(statement, sqlite3_bind_null(own_statement(statement)->stmt, parameter), err);
}

enum keel_code sqlite_bind_int(struct keel_statement *statement, int parameter, int64_t value, struct keel_error *err)
{
	return bound(statement, sqlite3_bind_int64(own_statement(statement)->stmt, parameter, value), err);
}

enum keel_code sqlite_bind_text(struct keel_statement *statement, int parameter, struct keel_text value,
								struct keel_error *err)
{
	return bound(statement,
				 sqlite3_bind_text64(own_statement(statement)->stmt, parameter, value.data, value.size, SQLITE_STATIC,
									 SQLITE_UTF8),
				 err);
}

enum keel_code sqlite_step(struct keel_statement *statement, bool *row, struct keel_error *err)
{
	KEEL_TRACE("sql", "%s", sqlite3_sql(own_statement(statement)->stmt));
	int rc = sqlite3_step(own_statement(statement)->stmt);
	*row = rc == SQLITE_ROW;
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? KEEL_OK : sqlite_fail(own_statement(statement)->sql, rc, err);
}

bool sqlite_column_null(struct keel_statement *statement, int column)
{
	return sqlite3_column_type(own_statement(statement)->stmt, column) == SQLITE_NULL;
}

int64_t sqlite_column_int(struct keel_statement *statement, int column)
{
	return sqlite3_column_int64(own_statement(statement)->stmt, column);
}

struct keel_text sqlite_column_text(struct keel_statement *statement, int column)
{
	sqlite3_stmt *stmt = own_statement(statement)->stmt;
	const char *data = (const char *)sqlite3_column_text(stmt, column);
	return (struct keel_text){data, data ? (size_t)sqlite3_column_bytes(stmt, column) : 0};
}

void sqlite_reset(struct keel_statement *statement)
{
	sqlite3_reset(own_statement(statement)->stmt); /* repeats the error of the step, which was already reported */
	own_statement(statement)->sql->looks = 0;
}

enum keel_code sqlite_changes(struct keel_sql *sql, int64_t *count, struct keel_error *err)
{
	(void)err;
	*count = sqlite3_changes(sqlite_own(sql)->db);
	return KEEL_OK;
}

int64_t sqlite_inserted(struct keel_sql *sql)
{
	return sqlite3_last_insert_rowid(sqlite_own(sql)->db);
}

void sqlite_drop_statements(struct sqlite_sql *sql)
{
	keel_cache_clear(&sql->statements, finalize);
}

enum keel_code sqlite_run(struct sqlite_sql *sql, const char *text, struct keel_error *err)
{
	struct keel_statement *statement;
	enum keel_code code = sqlite_prepare(&sql->head, text, &statement, err);
	return code == KEEL_OK ? keel_run_statement(statement, err) : code;
}

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
