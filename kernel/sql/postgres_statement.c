/* postgres_statement.c - the statements of the PostgreSQL driver, prepared once. Uses: cache, postgres_text,
 * postgres_queue, memory.
 *
 * Values travel as text, so that the server finds their types where they are met. A step runs the statement and brings
 * all its rows; those after it look at what is here. One that gives no rows is only put on its way: what it failed with
 * comes from a later call of the transaction, at the latest from the commit.
 */
#include "sql/postgres_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/trace.h"

enum { OID_UNKNOWN = 0, OID_INT8 = 20, OID_TEXT = 25 }; /* src/include/catalog/pg_type.dat */

static struct postgres_statement *own_statement(struct keel_statement *statement)
{
	return (struct postgres_statement *)statement;
}

/* --- Preparing --------------------------------------------------------------------------------------------------- */

/* Frees what is behind the head. */
static void drop(struct keel_statement *base)
{
	struct postgres_statement *statement = own_statement(base);
	PQclear(statement->rows);
	for (int i = 0; statement->values && i < statement->ours; i++)
		keel_buffer_free(&statement->values[i].text);
	keel_arena_free(&statement->texts);
	keel_buffer_free(&statement->translated);
	keel_free(statement->numbers);
	keel_free(statement->values);
	keel_free(statement->pointers);
	keel_free(statement->types);
}

static bool make(struct postgres_sql *sql, const char *text, struct postgres_statement *fresh)
{
	fresh->ours = keel_sql_parameters(text);
	size_t room = (size_t)fresh->ours + 1;
	fresh->head.driver = sql->head.driver;
	fresh->head.text = text;
	fresh->sql = sql;
	fresh->at = -1;
	fresh->numbers = keel_new(room * sizeof *fresh->numbers);
	fresh->values = keel_new(room * sizeof *fresh->values);
	fresh->pointers = keel_new(room * sizeof *fresh->pointers);
	fresh->types = keel_new(room * sizeof *fresh->types);
	fresh->gives_rows = strncmp(text, "SELECT", 6) == 0 || strncmp(text, "WITH", 4) == 0 || strstr(text, " RETURNING ");
	fresh->is_of_log = postgres_is_of_log(text);
	return fresh->numbers && fresh->values && fresh->pointers && fresh->types &&
		   postgres_translate(text, &fresh->translated, fresh->numbers, &fresh->count, &fresh->returns_key);
}

enum keel_code postgres_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
								struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	*statement = keel_cache_find(&sql->statements, text);
	if (*statement) {
		KEEL_ASSERT(!own_statement(*statement)->rows); /* whoever used it before has reset it */
		return KEEL_OK;
	}
	struct postgres_statement *fresh = keel_cache_make_room(&sql->statements) ? keel_new(sizeof *fresh) : NULL;
	if (!fresh)
		return keel_fail_memory(err);
	if (!make(sql, text, fresh)) {
		drop(&fresh->head);
		keel_free(fresh);
		return keel_fail_memory(err);
	}
	keel_cache_add(&sql->statements, &fresh->head);
	*statement = &fresh->head;
	return KEEL_OK;
}

/* The server keeps it until it is told. */
static void deallocate(struct postgres_statement *statement)
{
	struct postgres_sql *sql = statement->sql;
	char text[48];
	if (statement->prepared != sql->connection || sql->failed || sql->waits || PQstatus(sql->db) != CONNECTION_OK)
		return;
	statement->prepared = 0;
	snprintf(text, sizeof text, "DEALLOCATE %s", statement->name);
	postgres_exec(sql, text, NULL, NULL);
}

void postgres_forget(struct keel_sql *base, const char *text)
{
	struct postgres_sql *sql = postgres_own(base);
	struct keel_statement *found = keel_cache_find(&sql->statements, text);
	if (!found)
		return;
	postgres_take_back(sql);
	postgres_drain(sql, NULL); /* it may be on its way; what failed is told later */
	deallocate(own_statement(found));
	drop(found);
	found->text = NULL;
}

void postgres_drop_statements(struct postgres_sql *sql)
{
	keel_cache_clear(&sql->statements, drop);
}

/* --- Values ------------------------------------------------------------------------------------------------------ */

/* The place of a parameter; NULL: it does not occur in what the server reads. */
static struct postgres_value *place_of(struct keel_statement *base, int parameter)
{
	struct postgres_statement *statement = own_statement(base);
	KEEL_ASSERT(parameter > 0 && parameter <= statement->ours);
	int number = statement->numbers[parameter];
	return number ? &statement->values[number - 1] : NULL;
}

enum keel_code postgres_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err)
{
	struct postgres_value *value = place_of(statement, parameter);
	(void)err;
	if (value)
		value->bound = false;
	return KEEL_OK;
}

static enum keel_code bind(struct keel_statement *statement, int parameter, struct keel_text text, Oid type,
						   struct keel_error *err)
{
	struct postgres_value *value = place_of(statement, parameter);
	if (!value)
		return KEEL_OK;
	value->text.failed = false;
	keel_buffer_clear(&value->text);
	postgres_encode(&value->text, text);
	value->bound = !value->text.failed;
	value->type = type;
	return value->bound ? KEEL_OK : keel_fail_memory(err);
}

enum keel_code postgres_bind_int(struct keel_statement *statement, int parameter, int64_t number,
								 struct keel_error *err)
{
	char text[24];
	int size = snprintf(text, sizeof text, "%" PRId64, number);
	return bind(statement, parameter, (struct keel_text){text, (size_t)size}, OID_INT8, err);
}

enum keel_code postgres_bind_text(struct keel_statement *statement, int parameter, struct keel_text text,
								  struct keel_error *err)
{
	return bind(statement, parameter, text, OID_TEXT, err);
}

/* --- Rows -------------------------------------------------------------------------------------------------------- */

static int64_t number_in(const PGresult *rows, int row, int column)
{
	const char *value = PQgetvalue(rows, row, column);
	if (value[0] == 't' || value[0] == 'f') /* a comparison */
		return value[0] == 't';
	return strtoll(value, NULL, 10);
}

/* Runs it. In a transaction a write is only put on its way. */
static enum keel_code execute(struct postgres_statement *statement, struct keel_error *err)
{
	struct postgres_sql *sql = statement->sql;
	postgres_take_back(sql);
	if (sql->failed)
		return postgres_drain(sql, err);
	enum keel_code code = sql->open ? KEEL_OK : postgres_revive(sql, err);
	if (code == KEEL_OK && statement->is_of_log)
		code = postgres_send_events(sql, err);
	if (code == KEEL_OK && sql->open && statement->is_of_log)
		code = postgres_note_witness(sql, statement, err);
	if (code == KEEL_OK)
		code = postgres_send(sql, statement, statement->gives_rows ? POSTGRES_SENT_ROWS : POSTGRES_SENT_WRITE, err);
	/* The key is asked for at once, by a call that cannot fail. */
	if (code == KEEL_OK && (statement->gives_rows || statement->returns_key || !sql->open))
		code = postgres_drain(sql, err);
	if (code == KEEL_OK && statement->gives_rows && !statement->rows)
		code = keel_fail(err, KEEL_IO, "%s: a query got no answer", sql->path);
	return code;
}

enum keel_code postgres_step(struct keel_statement *base, bool *row, struct keel_error *err)
{
	struct postgres_statement *statement = own_statement(base);
	enum keel_code code = KEEL_OK;
	*row = false;
	if (statement->lacks_memory)
		return keel_fail_memory(err);
	if (!statement->rows)
		code = execute(statement, err);
	if (code != KEEL_OK || !statement->gives_rows)
		return code;
	keel_arena_reset(&statement->texts);
	statement->at++;
	*row = statement->at < PQntuples(statement->rows);
	return KEEL_OK;
}

bool postgres_column_null(struct keel_statement *base, int column)
{
	struct postgres_statement *statement = own_statement(base);
	return PQgetisnull(statement->rows, statement->at, column);
}

int64_t postgres_column_int(struct keel_statement *base, int column)
{
	struct postgres_statement *statement = own_statement(base);
	return number_in(statement->rows, statement->at, column);
}

struct keel_text postgres_column_text(struct keel_statement *base, int column)
{
	struct postgres_statement *statement = own_statement(base);
	if (PQgetisnull(statement->rows, statement->at, column))
		return (struct keel_text){NULL, 0};
	struct keel_text text = {PQgetvalue(statement->rows, statement->at, column),
							 (size_t)PQgetlength(statement->rows, statement->at, column)};
	if (!memchr(text.data, 1, text.size))
		return text;
	char *decoded = keel_arena_get(&statement->texts, text.size + 1);
	if (!decoded) {
		statement->lacks_memory = true;
		return (struct keel_text){NULL, 0};
	}
	memcpy(decoded, text.data, text.size + 1);
	return (struct keel_text){decoded, postgres_decode(decoded, text.size)};
}

void postgres_reset(struct keel_statement *base)
{
	struct postgres_statement *statement = own_statement(base);
	PQclear(statement->rows);
	statement->rows = NULL;
	statement->at = -1;
	statement->lacks_memory = false;
	keel_arena_reset(&statement->texts);
}

/* Waits for what is on its way; what failed there is told by whatever comes next. */
enum keel_code postgres_changes(struct keel_sql *base, int64_t *count, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	enum keel_code code = postgres_drain(sql, err);
	*count = code == KEEL_OK ? sql->changes : 0;
	return code;
}

int64_t postgres_inserted(struct keel_sql *base)
{
	return postgres_own(base)->inserted;
}

enum keel_code postgres_log(struct keel_statement *base, struct keel_error *err)
{
	struct postgres_statement *insert = own_statement(base);
	struct postgres_sql *sql = insert->sql;
	return sql->failed ? postgres_drain(sql, err) : postgres_keep_event(sql, insert, err);
}

int64_t postgres_logged(struct keel_sql *base)
{
	return postgres_own(base)->logged;
}
