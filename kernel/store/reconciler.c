/* reconciler.c - the store's own choice of what becomes of orphans. Uses: store. */
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "store/store.h"

enum keel_code keel_store_set_reconciler(struct keel_store *store, struct keel_text name, struct keel_error *err)
{
	enum keel_code code = name.data ? keel_check_id(name, "reconciler", err) : KEEL_OK;
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	KEEL_ASSERT(name.size <= KEEL_ID_MAX);
	code = keel_execute(store, "UPDATE store SET reconciler = ?1", err, keel_value_text(name));
	return keel_write_end(store, code, true, err);
}

enum keel_code keel_store_reconciler(struct keel_store *store, char name[KEEL_ID_MAX + 1], struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	name[0] = '\0';
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_store_prepare(store, "SELECT reconciler FROM store", &select, err);
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row) {
		struct keel_text found;
		if (!keel_column_read(select, 0, &found))
			code = keel_fail_memory(err);
		else if (found.size > KEEL_ID_MAX)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the store's reconciler is damaged", keel_store_path(store));
		else if (found.data)
			memcpy(name, found.data, found.size + 1);
	}
	keel_reset(select);
	return code;
}
