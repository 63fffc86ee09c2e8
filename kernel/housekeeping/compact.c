/* compact.c - giving room back: of the file, and of the log beside it. Uses: store, files. */
#include <keel/housekeeping.h>

#include "base/error.h"
#include "store/store.h"

static enum keel_code check(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	return code == KEEL_OK ? keel_files_check(store, err) : code;
}

enum keel_code keel_store_write_back(struct keel_store *store, int64_t *left, struct keel_error *err)
{
	*left = 0;
	enum keel_code code = check(store, err);
	return code == KEEL_OK ? store->sql->driver->write_back(store->sql, left, err) : code;
}

/* The pages move: until it is known where to, the file is not to be told by them. */
static enum keel_code move_pages(struct keel_store *store, struct keel_error *err)
{
	int64_t deadline = 0, left;
	struct keel_error why;
	enum keel_code code = keel_files_unsettle(store, err);
	if (code != KEEL_OK)
		return code;
	while ((code = store->sql->driver->compact(store->sql, &why)) == KEEL_BUSY && keel_store_wait(store, &deadline))
		continue;
	if (code == KEEL_OK)
		store->sql->driver->write_back(store->sql, &left, NULL); /* or whoever commits next does */
	enum keel_code settled = keel_files_settle(store, err);
	return code == KEEL_OK ? settled : keel_fail_as(err, code, &why);
}

enum keel_code keel_store_compact(struct keel_store *store, int64_t *freed, struct keel_error *err)
{
	struct keel_sql_size before, after;
	*freed = 0;
	enum keel_code code = check(store, err);
	if (code == KEEL_OK && store->options.readonly)
		code = keel_fail(err, KEEL_STORE_READONLY, "%s: the store is open for reading only", keel_store_path(store));
	if (code == KEEL_OK)
		code = store->sql->driver->size(store->sql, &before, err);
	if (code == KEEL_OK)
		code = move_pages(store, err);
	if (code == KEEL_OK)
		code = store->sql->driver->size(store->sql, &after, err);
	if (code == KEEL_OK)
		*freed = before.bytes > after.bytes ? before.bytes - after.bytes : 0; /* packed anew it may need a page more */
	return code;
}
