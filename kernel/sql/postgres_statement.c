/* postgres_statement.c - the statements of the PostgreSQL driver, prepared once. Uses: cache, postgres_text,
 * postgres_answer, memory.
 *
 * Values travel as text, so that the server finds their types where they are met. A step runs the statement and brings
 * all its rows; those after it look at what is here.
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

struct postgres_value {
	struct keel_buffer text;
	bool bound; /* has a value; else it is null */
	Oid type;   /* of the value, or of those before: a null has none */
};

struct postgres_statement {
	struct keel_statement head;
	struct postgres_sql *sql;
	char name[24];
	struct keel_buffer translated;
	int *numbers; /* the server's, by ours from 1; 0: it does not occur */
	int ours, count;
	struct postgres_value *values; /* by the server's number - 1 */
	const char **pointers;         /* to them, as libpq wants it */
	Oid *types;                    /* as they were when it was prepared */
	PGresult *rows;
	int at;                   /* the row that is looked at, from 0; -1: none */
	struct keel_arena *texts; /* of this row, where they had to be decoded */
	int64_t prepared;         /* on which connection; 0: not yet */
	bool returns_key, lacks_memory;
};

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

/* The server keeps it until it is told. In a transaction that failed it cannot be: there it stays, unused. */
static enum keel_code deallocate(struct postgres_statement *statement, struct keel_error *err)
{
	struct postgres_sql *sql = statement->sql;
	char text[48];
	if (statement->prepared != sql->connection || sql->failed || sql->waits)
		return KEEL_OK;
	statement->prepared = 0;
	snprintf(text, sizeof text, "DEALLOCATE %s", statement->name);
	return postgres_exec(sql, text, NULL, err);
}

void postgres_forget(struct keel_sql *base, const char *text)
{
	struct postgres_sql *sql = postgres_own(base);
	struct keel_statement *found = keel_cache_find(&sql->statements, text);
	if (!found)
		return;
	deallocate(own_statement(found), NULL);
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

/* Left alone the server would take the number in `?1 + 63` for a short one, as 63 is. Of a parameter that was always
 * null so far it finds the type by itself. */
static enum keel_code prepare_there(struct postgres_statement *statement, struct keel_error *err)
{
	struct postgres_sql *sql = statement->sql;
	PGresult *unused;
	bool same = statement->prepared == sql->connection;
	for (int i = 0; i < statement->count; i++)
		same = same && statement->types[i] == statement->values[i].type;
	if (same)
		return KEEL_OK;
	enum keel_code closed = deallocate(statement, err);
	if (closed != KEEL_OK)
		return closed;
	for (int i = 0; i < statement->count; i++)
		statement->types[i] = statement->values[i].type;
	/* A new name each time: whether the server has kept one that failed here is not known. */
	snprintf(statement->name, sizeof statement->name, "k%" PRIu64, ++sql->made);
	if (!PQsendPrepare(sql->db, statement->name, statement->translated.data, statement->count, statement->types))
		return postgres_fail(sql, NULL, err);
	enum keel_code code = postgres_wait(sql, &unused, err);
	if (code != KEEL_OK)
		return code;
	PQclear(unused);
	statement->prepared = sql->connection;
	return KEEL_OK;
}

static int64_t number_in(const PGresult *rows, int row, int column)
{
	const char *value = PQgetvalue(rows, row, column);
	if (value[0] == 't' || value[0] == 'f') /* a comparison */
		return value[0] == 't';
	return strtoll(value, NULL, 10);
}

static enum keel_code execute(struct postgres_statement *statement, struct keel_error *err)
{
	struct postgres_sql *sql = statement->sql;
	KEEL_TRACE("sql", "%s", statement->translated.data);
	postgres_take_back(sql);
	if (sql->failed)
		return keel_fail(err, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	enum keel_code code = sql->open ? KEEL_OK : postgres_revive(sql, err);
	if (code == KEEL_OK)
		code = prepare_there(statement, err);
	if (code != KEEL_OK)
		return code;
	for (int i = 0; i < statement->count; i++)
		statement->pointers[i] = statement->values[i].bound ? statement->values[i].text.data : NULL;
	if (!PQsendQueryPrepared(sql->db, statement->name, statement->count, statement->pointers, NULL, NULL, 0))
		return postgres_fail(sql, NULL, err);
	code = postgres_wait(sql, &statement->rows, err);
	if (code != KEEL_OK)
		return code;
	sql->changes = strtoll(PQcmdTuples(statement->rows), NULL, 10);
	if (statement->returns_key && PQntuples(statement->rows) > 0)
		sql->inserted = number_in(statement->rows, PQntuples(statement->rows) - 1, 0);
	return KEEL_OK;
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
	if (code != KEEL_OK)
		return code;
	keel_arena_reset(&statement->texts);
	statement->at++;
	*row = !statement->returns_key && statement->at < PQntuples(statement->rows);
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

int64_t postgres_changes(struct keel_sql *sql)
{
	return postgres_own(sql)->changes;
}

int64_t postgres_inserted(struct keel_sql *sql)
{
	return postgres_own(sql)->inserted;
}
