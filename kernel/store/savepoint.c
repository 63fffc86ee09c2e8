/* savepoint.c - places in a transaction to come back to. Uses: handle, sql.
 *
 * They are a stack, and a mark is a place in it, counted from 1. What was done since a mark is undone without ending
 * the transaction, also what failed half-way; only a transaction that the database itself has ended cannot be mended.
 */
#include "store/handle.h"

#include "base/assert.h"
#include "base/error.h"

static enum keel_code check_mark(const struct keel_store *store, int mark, struct keel_error *err)
{
	if (!store->open)
		return keel_fail(err, KEEL_MISUSE, "no transaction is open");
	if (mark < 1 || mark > store->savepoints)
		return keel_fail_field(err, "mark", "is none of an open savepoint");
	return KEEL_OK;
}

enum keel_code keel_store_savepoint(struct keel_store *store, int *mark, struct keel_error *err)
{
	*mark = 0;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && !store->open)
		code = keel_fail(err, KEEL_MISUSE, "no transaction is open");
	if (code == KEEL_OK && store->savepoints == KEEL_SAVEPOINTS_MAX)
		code = keel_fail_limit(err, "savepoints", KEEL_SAVEPOINTS_MAX + 1, KEEL_SAVEPOINTS_MAX);
	if (code == KEEL_OK)
		code = store->sql->driver->savepoint(store->sql, err);
	if (code == KEEL_OK) {
		store->events_at[store->savepoints] = store->events;
		store->last_at[store->savepoints] = store->last_event;
		*mark = ++store->savepoints;
	}
	KEEL_ASSERT(store->savepoints >= 0 && store->savepoints <= KEEL_SAVEPOINTS_MAX);
	return code;
}

enum keel_code keel_store_release(struct keel_store *store, int mark, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = check_mark(store, mark, err);
	while (code == KEEL_OK && store->savepoints >= mark) {
		code = store->sql->driver->release(store->sql, err);
		if (code == KEEL_OK)
			store->savepoints--;
		else
			store->broken = code; /* the caller believes that it is gone */
	}
	KEEL_ASSERT(code != KEEL_OK || store->savepoints == mark - 1);
	return code;
}

enum keel_code keel_store_rollback_to(struct keel_store *store, int mark, struct keel_error *err)
{
	if (!keel_store_usable(store))
		return keel_store_check(store, err);
	enum keel_code code = check_mark(store, mark, err);
	if (code != KEEL_OK)
		return code;
	if (!store->sql->driver->in_transaction(store->sql))
		return keel_store_check(store, err);
	/* What failed half-way failed behind the mark: while a transaction is broken it gets no new one. */
	store->broken = KEEL_OK;
	while (code == KEEL_OK && store->savepoints >= mark) {
		code = store->sql->driver->rollback_to(store->sql, err);
		if (code == KEEL_OK)
			store->savepoints--;
	}
	if (code != KEEL_OK)
		store->broken = code;
	store->events = code == KEEL_OK ? store->events_at[mark - 1] : store->events;
	store->last_event = code == KEEL_OK ? store->last_at[mark - 1] : store->last_event; /* ids are given again */
	KEEL_ASSERT(code != KEEL_OK || (store->savepoints == mark - 1 && store->sql->driver->in_transaction(store->sql)));
	return code;
}
