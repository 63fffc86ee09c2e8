/* document.c - one document of a run, for those who put off reading it. Uses: rows. */
#include <keel/run.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/rows.h"

static enum keel_code read(struct keel_store *store, struct keel_text run_id, enum keel_run_field field,
						   struct keel_runs *list, struct keel_error *err)
{
	static const char text[] = KEEL_RUN_SELECT "WHERE r.run_id = ?1";
	struct keel_statement *select;
	keel_run_set wanted = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_RUN_ID);
	keel_run_set_add(&wanted, field);
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(run_id));
	if (code == KEEL_OK)
		code = keel_run_read_fields(store, select, wanted, list, err);
	KEEL_ASSERT(code != KEEL_OK || list->count <= 1);
	return code;
}

/* In one transaction: another process may write a larger document between the look at its size and the read, or delete
 * the run, and its place be another's. */
static enum keel_code read_if_small(struct keel_store *store, struct keel_text run_id, enum keel_run_field field,
									int64_t max_bytes, struct keel_runs *list, int64_t *size, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	struct keel_error why;
	int64_t seq;
	enum keel_code code = keel_run_place(store, run_id, &seq, &why);
	if (code == KEEL_NOT_FOUND)
		return KEEL_OK;
	if (code != KEEL_OK)
		return keel_fail_as(err, code, &why);
	const char *table = keel_run_set_has(keel_run_parts[KEEL_PART_FIXED], field) ? "runs" : "outcomes";
	code = driver->text_size(store->sql, table, keel_run_field_name(field), seq, size, err);
	if (code != KEEL_OK)
		return code;
	return read(store, run_id, *size > max_bytes ? KEEL_RUN_FIELD_RUN_ID : field, list, err);
}

enum keel_code keel_run_get_document(struct keel_store *store, struct keel_text run_id, enum keel_run_field field,
									 int64_t max_bytes, struct keel_runs *list, int64_t *size, struct keel_error *err)
{
	list->count = 0;
	*size = 0;
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK && !keel_run_set_has(KEEL_RUN_DOCUMENTS, field))
		code = keel_fail_field(err, "field", "%s is not a document of a run", keel_run_field_name(field));
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = read_if_small(store, run_id, field, max_bytes, list, size, err);
	keel_read_end(store);
	return code;
}
