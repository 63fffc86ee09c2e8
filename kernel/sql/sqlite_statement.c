/* sqlite_statement.c - the statements of the SQLite driver, prepared once. Uses: sqlite_error, memory. */
#include "sql/sqlite_parts.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/trace.h"

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

enum keel_code sqlite_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
							  struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	struct sqlite_statement *found = cached(sql, text);
	if (found) {
		KEEL_ASSERT(!sqlite3_stmt_busy(found->stmt)); /* whoever used it before has reset it */
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

void sqlite_forget(struct keel_sql *base, const char *text)
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

int64_t sqlite_changes(struct keel_sql *sql)
{
	return sqlite3_changes(sqlite_own(sql)->db);
}

int64_t sqlite_inserted(struct keel_sql *sql)
{
	return sqlite3_last_insert_rowid(sqlite_own(sql)->db);
}

void sqlite_drop_statements(struct sqlite_sql *sql)
{
	for (size_t i = 0; i < sql->slots_count; i++) {
		if (sql->slots[i])
			sqlite3_finalize(sql->slots[i]->stmt);
		keel_free(sql->slots[i]);
	}
	keel_free(sql->slots);
	sql->slots = NULL;
	sql->slots_count = 0;
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
