/* statement.c - statements with their values, and the wait that the first step of a reader may need. Uses: handle. */
#include "store/statement.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"

enum keel_code keel_store_prepare(struct keel_store *store, const char *text, struct keel_statement **statement,
								  struct keel_error *err)
{
	return store->sql->driver->prepare(store->sql, text, statement, err);
}

enum keel_code keel_query_values(struct keel_store *store, const char *text, struct keel_statement **statement,
								 struct keel_error *err, const struct keel_value *values, size_t count)
{
	KEEL_ASSERT((size_t)keel_sql_parameters(text) == count);
	enum keel_code code = keel_store_prepare(store, text, statement, err);
	for (size_t i = 0; code == KEEL_OK && i < count; i++) {
		int parameter = (int)i + 1;
		KEEL_ASSERT((values[i].kind == KEEL_VALUE_TEXT) == (values[i].text.data != NULL));
		switch (values[i].kind) {
		case KEEL_VALUE_NULL:
			code = keel_bind_null(*statement, parameter, err);
			break;
		case KEEL_VALUE_INT:
			code = keel_bind_int(*statement, parameter, values[i].number, err);
			break;
		case KEEL_VALUE_TEXT:
			code = keel_bind_text(*statement, parameter, values[i].text, err);
			break;
		}
	}
	return code;
}

enum keel_code keel_execute_values(struct keel_store *store, const char *text, struct keel_error *err,
								   const struct keel_value *values, size_t count)
{
	struct keel_statement *statement;
	enum keel_code code = keel_query_values(store, text, &statement, err, values, count);
	KEEL_ASSERT(code != KEEL_OK || store->open || store->sql->driver->in_transaction(store->sql));
	return code == KEEL_OK ? keel_run_statement(statement, err) : code;
}

enum keel_code keel_first_step(struct keel_store *store, struct keel_statement *query, bool *row,
							   struct keel_error *err)
{
	int64_t deadline = 0;
	struct keel_error why;
	enum keel_code code;
	KEEL_ASSERT(!store->side.forked);
	while ((code = keel_step(query, row, &why)) != KEEL_OK && why.transient && !store->open &&
		   keel_store_wait(store, &deadline))
		keel_reset(query);
	return keel_fail_as(err, code, &why);
}

enum keel_code keel_first_number(struct keel_store *store, struct keel_statement *query, bool *found, int64_t *number,
								 struct keel_error *err)
{
	bool row = false;
	enum keel_code code = keel_first_step(store, query, &row, err);
	if (code == KEEL_OK && row)
		*number = keel_column_int(query, 0);
	keel_reset(query);
	if (found)
		*found = row;
	return code;
}

enum keel_code keel_column_copy(struct keel_statement *select, int column, char *to, size_t room,
								struct keel_error *err)
{
	struct keel_text text;
	KEEL_ASSERT(to && room > 0);
	to[0] = '\0';
	if (!keel_column_read(select, column, &text))
		return keel_fail_memory(err);
	if (text.size >= room)
		return keel_fail(err, KEEL_STORE_CORRUPT, "a row is damaged: it has a text of %zu bytes for an id", text.size);
	if (text.size)
		memcpy(to, text.data, text.size);
	to[text.size] = '\0';
	return KEEL_OK;
}
