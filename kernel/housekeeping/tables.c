/* tables.c - the rows of a store, table by table, on their way into another database. Uses: store, buffer.
 *
 * Nothing here names a table or a column but those of sessions, which stay: what there is to copy is asked of the
 * database. Rows are read and written many at a time: a page has twice as many as one that was small, and half as many
 * as one of more than a few megabytes.
 */
#include "housekeeping/tables.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

enum {
	CELLS_MAX = 2048,            /* of one INSERT: databases take some thousands of parameters */
	ROWS_MAX = 256,              /* of one, too: more are no faster */
	BYTES_MAX = 4 * 1024 * 1024, /* of the texts that are kept; one row may have more */
};

struct column {
	struct keel_text table, name;
	bool is_number;
	int64_t key; /* its place in the key by which the table is read in pages, from 1; 0: none */
};

/* A table on its way. */
struct table {
	struct keel_store *from;
	struct keel_sql *to;
	const struct column *columns;
	size_t count; /* of columns */
	size_t keys;  /* of these in the key; 0: its rows come one by one, and are read in one go */
	struct keel_buffer first, next, insert, insert_many;
	size_t rows_max;
	struct keel_value *cells; /* of `rows` rows */
	size_t rows, bytes;
	struct keel_arena *texts;
	struct keel_value *last; /* the key of the last row, in order; its texts live in the other arena */
	struct keel_arena *last_texts;
};

/* --- Statements -------------------------------------------------------------------------------------------------- */

/* Adds the columns in quotes: all, or those of the key in its order. */
static void put_columns(struct keel_buffer *out, const struct table *table, bool key)
{
	const char *comma = "";
	for (size_t place = 0; place < (key ? table->keys : table->count); place++) {
		size_t i = place;
		for (i = key ? 0 : i; key && table->columns[i].key != (int64_t)place + 1; i++)
			continue;
		keel_buffer_format(out, "%s\"%.*s\"", comma, (int)table->columns[i].name.size, table->columns[i].name.data);
		comma = ", ";
	}
}

static void put_parameters(struct keel_buffer *out, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		keel_buffer_format(out, "%s?%zu", i ? ", " : "(", first + i);
	keel_buffer_put(out, ")");
}

static void put_select(struct keel_buffer *out, const struct table *table, bool is_first)
{
	struct keel_text name = table->columns[0].table;
	size_t parameters = 0;
	keel_buffer_put(out, "SELECT ");
	put_columns(out, table, false);
	keel_buffer_format(out, " FROM \"%.*s\"", (int)name.size, name.data);
	if (!table->keys)
		return;
	if (!is_first) {
		keel_buffer_put(out, " WHERE (");
		put_columns(out, table, true);
		keel_buffer_put(out, ") > ");
		put_parameters(out, 1, parameters = table->keys);
	}
	keel_buffer_put(out, " ORDER BY ");
	put_columns(out, table, true);
	keel_buffer_format(out, " LIMIT ?%zu", parameters + 1);
}

static void put_insert(struct keel_buffer *out, const struct table *table, size_t rows)
{
	struct keel_text name = table->columns[0].table;
	keel_buffer_format(out, "INSERT INTO \"%.*s\" (", (int)name.size, name.data);
	put_columns(out, table, false);
	keel_buffer_put(out, ") VALUES ");
	for (size_t i = 0; i < rows; i++) {
		keel_buffer_put(out, i ? ", " : "");
		put_parameters(out, i * table->count + 1, table->count);
	}
}

static enum keel_code begin_table(struct table *table, struct keel_error *err)
{
	table->rows_max = CELLS_MAX / table->count < ROWS_MAX ? CELLS_MAX / table->count : ROWS_MAX;
	for (size_t i = 0; i < table->count; i++)
		table->keys += table->columns[i].key > 0;
	KEEL_ASSERT(table->rows_max > 0);
	put_select(&table->first, table, true);
	put_select(&table->next, table, false);
	put_insert(&table->insert, table, 1);
	put_insert(&table->insert_many, table, table->rows_max);
	table->cells = keel_new(table->rows_max * table->count * sizeof *table->cells);
	table->last = keel_new((table->keys + 1) * sizeof *table->last);
	bool failed = table->first.failed || table->next.failed || table->insert.failed || table->insert_many.failed ||
				  !table->cells || !table->last;
	return failed ? keel_fail_memory(err) : KEEL_OK;
}

static void end_table(struct table *table)
{
	struct keel_buffer *const selects[] = {&table->first, &table->next};
	struct keel_buffer *const inserts[] = {&table->insert, &table->insert_many};
	for (int i = 0; i < 2; i++) {
		if (selects[i]->data)
			table->from->sql->driver->forget(table->from->sql, selects[i]->data);
		if (inserts[i]->data)
			table->to->driver->forget(table->to, inserts[i]->data);
		keel_buffer_free(selects[i]);
		keel_buffer_free(inserts[i]);
	}
	keel_free(table->cells);
	keel_free(table->last);
	keel_arena_free(&table->texts);
	keel_arena_free(&table->last_texts);
}

/* --- Rows -------------------------------------------------------------------------------------------------------- */

static enum keel_code bind(struct keel_statement *statement, int first, const struct keel_value *values, size_t count,
						   struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < count; i++) {
		int parameter = first + (int)i;
		code = values[i].kind == KEEL_VALUE_INT ? keel_bind_int(statement, parameter, values[i].number, err)
												: keel_bind_text(statement, parameter, values[i].text, err);
	}
	return code;
}

static enum keel_code insert(struct table *table, const char *text, size_t first, size_t rows, struct keel_error *err)
{
	struct keel_statement *statement;
	enum keel_code code = table->to->driver->prepare(table->to, text, &statement, err);
	if (code == KEEL_OK)
		code = bind(statement, 1, table->cells + first * table->count, rows * table->count, err);
	return code == KEEL_OK ? keel_run_statement(statement, err) : code;
}

/* Writes the rows that are kept. */
static enum keel_code flush(struct table *table, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	if (table->rows == table->rows_max)
		code = insert(table, table->insert_many.data, 0, table->rows, err);
	else
		for (size_t i = 0; code == KEEL_OK && i < table->rows; i++)
			code = insert(table, table->insert.data, i, 1, err);
	keel_arena_reset(&table->texts);
	table->rows = table->bytes = 0;
	return code;
}

/* Keeps the row under the statement. */
static enum keel_code keep_row(struct table *table, struct keel_statement *select, struct keel_error *err)
{
	struct keel_value *cells = table->cells + table->rows * table->count;
	KEEL_ASSERT(table->rows < table->rows_max);
	for (size_t i = 0; i < table->count; i++) {
		struct keel_text text = {NULL, 0};
		if (table->columns[i].is_number && !keel_column_null(select, (int)i)) {
			cells[i] = keel_value_int(keel_column_int(select, (int)i));
			continue;
		}
		if (!keel_column_read(select, (int)i, &text) || !keel_arena_text(&table->texts, text, &text))
			return keel_fail_memory(err);
		cells[i] = keel_value_text(text);
		table->bytes += text.size;
	}
	table->rows++;
	return KEEL_OK;
}

/* Notes the key of the last row that is kept: the next page begins behind it. */
static bool keep_key(struct table *table)
{
	const struct keel_value *cells = table->cells + (table->rows - 1) * table->count;
	bool kept = true;
	keel_arena_reset(&table->last_texts);
	for (size_t i = 0; kept && i < table->count; i++) {
		if (table->columns[i].key < 1)
			continue;
		struct keel_value *last = &table->last[table->columns[i].key - 1];
		*last = cells[i];
		kept = keel_arena_text(&table->last_texts, cells[i].text, &last->text);
	}
	return kept;
}

/* Reads one page, or a table that has no pages to its end, and writes it; *more says whether there may be another. */
static enum keel_code copy_page(struct table *table, bool is_first, size_t limit, bool *more, struct keel_error *err)
{
	struct keel_statement *select;
	bool row = true;
	size_t keys = is_first ? 0 : table->keys;
	enum keel_code code =
		keel_store_prepare(table->from, is_first ? table->first.data : table->next.data, &select, err);
	if (code != KEEL_OK)
		return code;
	code = bind(select, 1, table->last, keys, err);
	if (code == KEEL_OK && table->keys)
		code = keel_bind_int(select, (int)keys + 1, (int64_t)limit, err);
	while (code == KEEL_OK && (code = keel_step(select, &row, err)) == KEEL_OK && row) {
		code = keep_row(table, select, err);
		if (code == KEEL_OK && !table->keys && (table->rows == table->rows_max || table->bytes > BYTES_MAX))
			code = flush(table, err);
	}
	keel_reset(select);
	*more = table->keys && table->rows == limit;
	if (code == KEEL_OK && *more && !keep_key(table))
		code = keel_fail_memory(err);
	return code;
}

static enum keel_code copy_table(struct table *table, struct keel_error *err)
{
	enum keel_code code = begin_table(table, err);
	size_t limit = 1; /* how large the rows are is not known yet */
	bool more = true;
	for (bool is_first = true; code == KEEL_OK && more; is_first = false) {
		code = copy_page(table, is_first, limit, &more, err);
		limit = table->bytes > BYTES_MAX ? (limit + 1) / 2 : limit * 2 < table->rows_max ? limit * 2 : table->rows_max;
		if (code == KEEL_OK)
			code = flush(table, err);
	}
	end_table(table);
	return code;
}

/* --- Tables ------------------------------------------------------------------------------------------------------ */

struct columns {
	struct column *items;
	size_t count, capacity;
	struct keel_arena *names;
};

static enum keel_code read_columns(struct keel_store *from, struct columns *columns, struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_store_prepare(from, from->sql->driver->catalog, &select, err);
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row) {
		struct keel_text table, name;
		struct column *items = keel_make_room(columns->items, columns->count, &columns->capacity, sizeof *items);
		columns->items = items ? items : columns->items;
		if (!items || !keel_column_read(select, 0, &table) || !keel_column_read(select, 1, &name) ||
			!keel_arena_text(&columns->names, table, &items[columns->count].table) ||
			!keel_arena_text(&columns->names, name, &items[columns->count].name)) {
			code = keel_fail_memory(err);
			break;
		}
		items[columns->count].is_number = keel_column_int(select, 2) != 0;
		items[columns->count++].key = keel_column_int(select, 3);
	}
	keel_reset(select);
	return code;
}

/* How many columns the table that begins with the first of these has. */
static size_t width(const struct column *columns, size_t count)
{
	size_t size = 1;
	while (size < count && keel_text_same(columns[size].table, columns[0].table))
		size++;
	return size;
}

enum keel_code keel_tables_copy(struct keel_store *from, struct keel_sql *to, struct keel_error *err)
{
	struct columns columns = {0};
	enum keel_code code = read_columns(from, &columns, err);
	for (size_t at = 0; code == KEEL_OK && at < columns.count;) {
		struct table table = {.from = from, .to = to, .columns = columns.items + at};
		table.count = width(table.columns, columns.count - at);
		keel_store_tell(from, (int64_t)at, (int64_t)columns.count);
		at += table.count;
		if (!keel_text_is(table.columns[0].table, "sessions"))
			code = copy_table(&table, err);
	}
	keel_store_tell(from, (int64_t)columns.count, (int64_t)columns.count);
	keel_free(columns.items);
	keel_arena_free(&columns.names);
	return code;
}
