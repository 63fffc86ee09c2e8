/* sqlite_schema.c - whether a file has the schema that the migrations make, and nothing else. Uses: error, memory,
 * text.
 *
 * A file may come from a stranger. What its schema has besides ours (generated columns, checks, triggers, views,
 * indexes on expressions) would run in the middle of our statements, for as long and with as much memory as the
 * stranger likes.
 *
 * SQLite keeps the text of each statement that made a table or an index, so what must be there is read off the
 * migrations themselves: each CREATE to the letter, each added column where ALTER TABLE puts it.
 */
#include "sql/sqlite_schema.h"

#include <string.h>

#include <sqlite3.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

/* --- The migrations ----------------------------------------------------------------------------------------------- */

/* A table or an index, as it has to be; or a column that was added to a table. */
struct object {
	enum { TABLE, INDEX, COLUMN } kind;
	struct keel_text name; /* of a column: its table's */
	struct keel_text sql;
	size_t end; /* of a table: where a column is added */
	bool found;
};
static const char *const kind_names[] = {[TABLE] = "table", [INDEX] = "index"};

struct schema {
	struct object *objects;
	size_t count, capacity;
};

/* Takes what is no part of a statement off the front: white space and comments. */
static void skip_between(const char **at)
{
	for (;;) {
		*at += strspn(*at, " \t\n;");
		if (strncmp(*at, "--", 2) != 0)
			return;
		*at += strcspn(*at, "\n");
	}
}

/* The end of the statement that begins here: its semicolon. *bracket is its last closing bracket. */
static const char *end_of(const char *at, const char **bracket)
{
	for (at += strcspn(at, ";-')"); *at && *at != ';'; at += strcspn(at, ";-')")) {
		if (*at == ')')
			*bracket = at;
		else if (*at == '\'')
			at += 1 + strcspn(at + 1, "'");
		else if (at[1] == '-')
			at += strcspn(at, "\n");
		at += *at != '\0';
	}
	return at;
}

/* Takes a word off the front, and the blanks behind it. */
static struct keel_text take_word(const char **at)
{
	struct keel_text word = {*at, strcspn(*at, " \t\n(;")};
	*at += word.size;
	*at += strspn(*at, " \t\n");
	return word;
}

static struct object *find(struct schema *schema, int kind, struct keel_text name)
{
	for (size_t i = 0; i < schema->count; i++)
		if ((int)schema->objects[i].kind == kind && keel_text_same(schema->objects[i].name, name))
			return &schema->objects[i];
	return NULL;
}

/* What a statement of the migrations is about: CREATE or DROP of a table or an index, ALTER TABLE … ADD COLUMN. False:
 * about nothing that is in the schema. *at is moved to what follows the name, of a column to its definition. */
static bool read_head(const char **at, struct keel_text *verb, struct object *object)
{
	*verb = take_word(at);
	if (!keel_text_is(*verb, "CREATE") && !keel_text_is(*verb, "DROP") && !keel_text_is(*verb, "ALTER"))
		return false;
	struct keel_text word = take_word(at);
	if (keel_text_is(word, "UNIQUE"))
		word = take_word(at);
	object->kind = keel_text_is(word, "INDEX") ? INDEX : TABLE;
	object->name = take_word(at);
	if (!keel_text_is(*verb, "ALTER"))
		return object->kind == INDEX || keel_text_is(word, "TABLE");
	object->kind = COLUMN;
	return keel_text_is(take_word(at), "ADD") && keel_text_is(take_word(at), "COLUMN");
}

/* Notes what a statement makes, or takes away. */
static bool read_statement(struct schema *schema, const char *start, const char *end, const char *bracket)
{
	const char *at = start;
	struct keel_text verb;
	struct object object = {0};
	if (!read_head(&at, &verb, &object))
		return true;
	if (keel_text_is(verb, "DROP")) {
		struct object *gone = find(schema, (int)object.kind, object.name);
		if (gone)
			*gone = schema->objects[--schema->count];
		return true;
	}
	const char *from = object.kind == COLUMN ? at : start;
	object.sql = (struct keel_text){from, (size_t)(end - from)};
	object.end = (size_t)(bracket - start);
	struct object *objects = keel_make_room(schema->objects, schema->count, &schema->capacity, sizeof *objects);
	if (!objects)
		return false;
	schema->objects = objects;
	objects[schema->count++] = object;
	return true;
}

static bool read_scripts(struct schema *schema, keel_script *script)
{
	for (int i = 0; script(i); i++) {
		const char *at = script(i);
		for (skip_between(&at); *at; skip_between(&at)) {
			const char *bracket = at, *end = end_of(at, &bracket);
			if (!read_statement(schema, at, end, bracket))
				return false;
			at = end;
		}
	}
	return true;
}

/* --- Comparing ---------------------------------------------------------------------------------------------------- */

/* Takes a text off the front; false when there is another. */
static bool take(struct keel_text *rest, const char *text, size_t size)
{
	if (rest->size < size || memcmp(rest->data, text, size) != 0)
		return false;
	rest->data += size;
	rest->size -= size;
	return true;
}

/* Takes off the columns that were added to a table, in order. */
static bool take_added(struct keel_text *rest, const struct schema *schema, struct keel_text table)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct object *column = &schema->objects[i];
		if (column->kind == COLUMN && keel_text_same(column->name, table) &&
			(!take(rest, ", ", 2) || !take(rest, column->sql.data, column->sql.size)))
			return false;
	}
	return true;
}

static bool is_same(const struct schema *schema, const struct object *object, struct keel_text sql)
{
	struct keel_text head = {object->sql.data, object->end}, rest = sql;
	if (object->kind != TABLE)
		return keel_text_same(object->sql, sql);
	struct keel_text tail = {object->sql.data + object->end, object->sql.size - object->end};
	return sql.data && take(&rest, head.data, head.size) && take_added(&rest, schema, object->name) &&
		   keel_text_same(rest, tail);
}

/* What SQLite makes by itself: the counters of AUTOINCREMENT, the indexes behind UNIQUE, and what ANALYZE notes. */
static bool is_sqlites_own(struct keel_text type, struct keel_text name, struct keel_text sql)
{
	static const char *const tables[] = {
		"CREATE TABLE sqlite_sequence(name,seq)",
		"CREATE TABLE sqlite_stat1(tbl,idx,stat)",
		"CREATE TABLE sqlite_stat3(tbl,idx,neq,nlt,ndlt,sample)",
		"CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
	};
	static const char automatic[] = "sqlite_autoindex_";
	if (!sql.data)
		return keel_text_is(type, "index") && take(&name, automatic, sizeof automatic - 1);
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
		if (keel_text_is(type, "table") && keel_text_is(sql, tables[i]))
			return true;
	return false;
}

static struct keel_text column(sqlite3_stmt *select, int i)
{
	const char *data = (const char *)sqlite3_column_text(select, i);
	return (struct keel_text){data, data ? (size_t)sqlite3_column_bytes(select, i) : 0};
}

/* Looks at what there is; what is strange is said, with SQLITE_CORRUPT. */
static int compare(sqlite3_stmt *select, struct schema *schema, struct keel_error *err)
{
	int rc;
	while ((rc = sqlite3_step(select)) == SQLITE_ROW) {
		struct keel_text type = column(select, 0), name = column(select, 1), sql = column(select, 2);
		if ((!type.data && sqlite3_column_type(select, 0) != SQLITE_NULL) ||
			(!name.data && sqlite3_column_type(select, 1) != SQLITE_NULL) ||
			(!sql.data && sqlite3_column_type(select, 2) != SQLITE_NULL))
			return SQLITE_NOMEM;
		int kind = keel_text_is(type, kind_names[INDEX]) ? INDEX : TABLE;
		struct object *object = find(schema, kind, name);
		if (object && !object->found && keel_text_is(type, kind_names[kind]) && is_same(schema, object, sql)) {
			object->found = true;
			continue;
		}
		if (!object && is_sqlites_own(type, name, sql))
			continue;
		keel_fail(err, KEEL_STORE_CORRUPT, "%s %s %.*s %.*s", sqlite3_db_filename(sqlite3_db_handle(select), "main"),
				  object ? "has another" : "has a strange", (int)(type.size < 64 ? type.size : 64),
				  type.data ? type.data : "", (int)(name.size < 64 ? name.size : 64), name.data ? name.data : "");
		return SQLITE_CORRUPT;
	}
	return rc;
}

int keel_sqlite_compare_schema(sqlite3 *db, keel_script *script, struct keel_error *err)
{
	static const char text[] = "SELECT type, name, sql FROM sqlite_schema";
	struct schema schema = {0};
	sqlite3_stmt *select = NULL;
	int rc = read_scripts(&schema, script) ? sqlite3_prepare_v3(db, text, -1, 0, &select, NULL) : SQLITE_NOMEM;
	if (rc == SQLITE_OK)
		rc = compare(select, &schema, err);
	sqlite3_reset(select);
	sqlite3_finalize(select);
	for (size_t i = 0; rc == SQLITE_DONE && i < schema.count; i++) {
		const struct object *object = &schema.objects[i];
		if (object->found || object->kind == COLUMN)
			continue;
		keel_fail(err, KEEL_STORE_CORRUPT, "%s lacks the %s %.*s", sqlite3_db_filename(db, "main"),
				  kind_names[object->kind], (int)object->name.size, object->name.data);
		rc = SQLITE_CORRUPT;
	}
	keel_free(schema.objects);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}
