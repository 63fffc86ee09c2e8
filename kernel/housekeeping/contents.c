/* contents.c - looking at every text of a store: whether it is UTF-8, and JSON where a document is meant. Uses: store.
 *
 * The database checks neither, and nothing that went through this library is otherwise; what others wrote may be.
 */
#include "housekeeping/contents.h"

#include <stdio.h>
#include <string.h>

#include "base/document.h"
#include "base/error.h"
#include "base/text.h"
#include "run/rows.h"

enum { COLUMNS_MAX = 8 };

/* Large tables are read in pages, as a server sends all that it was asked for: each behind a key, the last column. */
#define PAGE_ROWS 1000
#define TEXT_OF(number) #number
#define ROWS_TEXT(number) TEXT_OF(number)
#define PAGES(columns, table, key) \
	"SELECT " columns ", " key " FROM " table " WHERE " key " > ?1 ORDER BY " key " LIMIT " ROWS_TEXT(PAGE_ROWS)

/* The first column of each query names the row. A column that ends with ":" is a document. */
static const struct {
	const char *row;
	const char *columns[COLUMNS_MAX + 1];
	const char *sql;
	bool has_pages;
} tables[] = {
	{"the store", {"epoch", "reconciler"}, "SELECT epoch, epoch, reconciler FROM store", false},
	{"session", {"owner", "boot", "token"}, "SELECT id, owner, boot, token FROM sessions", false},
	{"lease", {"name", "owner"}, "SELECT name, name, owner FROM leases", false},
	{"schedule", {"name", "definition:", "problem"}, "SELECT name, name, definition, problem FROM schedules", false},
	{"event",
	 {"kind", "runtime_id", "thread_id", "run_id", "message", "worker_ref:", "data:"},
	 PAGES("id, kind, runtime_id, thread_id, run_id, message, worker_ref, data", "events", "id"),
	 true},
	{"runtime", {"runtime_id", "display_name"}, PAGES("runtime_id, runtime_id, display_name", "runtimes", "seq"), true},
	{"worker",
	 {"worker_id", "idempotency_key",
	  "intent:", "profile:", "config_bundle:", "requested_capabilities:", "workspace_refs:", "mount_refs:"},
	 PAGES("worker_id, worker_id, idempotency_key, intent, profile, config_bundle, requested_capabilities,"
		   " workspace_refs, mount_refs",
		   "workers", "seq"),
	 true},
	{"transcript entry with event",
	 {"role", "content", "run_id", "idempotency_key"},
	 PAGES("event_id, role, content, run_id, idempotency_key", "transcripts", "event_id"),
	 true},
	{"diagnostic",
	 {"severity", "code", "message", "run_id"},
	 "SELECT id, severity, code, message, run_id FROM diagnostics",
	 false},
};

/* A text to look at: the column `column` of a row, which the first column names. */
struct place {
	const char *row; /* what kind of row it is */
	const char *column;
	size_t size; /* of the column's name */
	bool document;
};

/* Looks at one text of the row under a statement. Null says nothing here: that is for the schema and the readers. */
static enum keel_code look(struct keel_collector *to, struct keel_statement *select, int column, struct place at,
						   struct keel_error *err)
{
	char sentence[128];
	struct keel_text text, name;
	if (!keel_column_read(select, column, &text))
		return keel_fail_memory(err);
	bool utf8 = !text.data || keel_text_is_utf8(text);
	if (!text.data || (utf8 && (!at.document || keel_document_is_valid(text))))
		return KEEL_OK;
	snprintf(sentence, sizeof sentence, "the %.*s is not valid %s: %s", (int)at.size, at.column,
			 utf8 ? "JSON" : "UTF-8", at.row);
	if (!keel_column_read(select, 0, &name))
		return keel_fail_memory(err);
	keel_collect(to, KEEL_STORE_CORRUPT, sentence, name);
	return KEEL_OK;
}

/* Looks at the rows of a page, or of a table without pages. *rows is how many there are, *key that of the last one. */
static enum keel_code look_at_rows(struct keel_store *store, size_t i, struct keel_collector *to, int64_t *rows,
								   int64_t *key, struct keel_error *err)
{
	struct keel_statement *select;
	bool row = true;
	int column = 0;
	*rows = 0;
	enum keel_code code = keel_store_prepare(store, tables[i].sql, &select, err);
	if (code == KEEL_OK && tables[i].has_pages)
		code = keel_bind_int(select, 1, *key, err);
	if (code != KEEL_OK)
		return code;
	while (code == KEEL_OK && !keel_has_enough(to) && (code = keel_step(select, &row, err)) == KEEL_OK && row) {
		for (column = 0; code == KEEL_OK && !keel_has_enough(to) && tables[i].columns[column]; column++) {
			const char *name = tables[i].columns[column];
			size_t size = strcspn(name, ":");
			code = look(to, select, column + 1, (struct place){tables[i].row, name, size, name[size] == ':'}, err);
		}
		if (code == KEEL_OK && !keel_has_enough(to) && tables[i].has_pages)
			*key = keel_column_int(select, column + 1);
		++*rows;
	}
	keel_reset(select);
	return code;
}

static enum keel_code look_at_table(struct keel_store *store, size_t i, struct keel_collector *to,
									struct keel_error *err)
{
	int64_t key = INT64_MIN, rows = PAGE_ROWS;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && !keel_has_enough(to) && rows == PAGE_ROWS) {
		code = look_at_rows(store, i, to, &rows, &key, err);
		rows = tables[i].has_pages ? rows : 0;
	}
	return code;
}

static enum keel_code look_at_runs_behind(struct keel_store *store, struct keel_collector *to, int64_t *rows,
										  int64_t *key, struct keel_error *err)
{
	static const char text[] = KEEL_RUN_SELECT "WHERE r.seq > ?1 ORDER BY r.seq LIMIT " ROWS_TEXT(PAGE_ROWS);
	struct keel_statement *select;
	bool row = true;
	*rows = 0;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(*key));
	if (code != KEEL_OK)
		return code;
	while (code == KEEL_OK && !keel_has_enough(to) && (code = keel_step(select, &row, err)) == KEEL_OK && row) {
		*key = keel_column_int(select, KEEL_RUN_FIELD_COUNT);
		++*rows;
		for (int i = 0; code == KEEL_OK && !keel_has_enough(to) && i < KEEL_RUN_FIELD_COUNT; i++) {
			enum keel_run_field field = (enum keel_run_field)i;
			enum keel_field_type type = keel_run_field_type(field);
			bool document = type == KEEL_TYPE_JSON || type == KEEL_TYPE_VALUE;
			const char *name = keel_run_field_name(field);
			if (keel_run_is_text(type))
				code = look(to, select, i, (struct place){"run", name, strlen(name), document}, err);
		}
	}
	keel_reset(select);
	return code;
}

static enum keel_code look_at_runs(struct keel_store *store, struct keel_collector *to, struct keel_error *err)
{
	int64_t key = INT64_MIN, rows = PAGE_ROWS;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && !keel_has_enough(to) && rows == PAGE_ROWS)
		code = look_at_runs_behind(store, to, &rows, &key, err);
	return code;
}

enum keel_code keel_verify_contents(struct keel_store *store, struct keel_collector *to, struct keel_error *err)
{
	enum keel_code code = look_at_runs(store, to, err);
	for (size_t i = 0; code == KEEL_OK && !keel_has_enough(to) && i < sizeof tables / sizeof tables[0]; i++)
		code = look_at_table(store, i, to, err);
	return code;
}
