/* backup.c - copying a store while it is in use. Uses: store.
 *
 * The copy grows under a name of its own and gets the one asked for when it is whole, so that no half copy, and none
 * with the original's epoch, is ever found under it.
 */
#include <keel/housekeeping.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "housekeeping/copy.h"

static void tell(void *data, int64_t done, int64_t total)
{
	keel_store_tell(data, done, total);
}

static enum keel_code copy_to(struct keel_store *store, const char *path, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	enum keel_code code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = driver->copy(store->sql, path, tell, store, err);
	keel_read_end(store);
	return code == KEEL_OK ? keel_copy_own(driver, path, &store->options.ids, err) : code;
}

enum keel_code keel_store_backup(struct keel_store *store, const char *path, struct keel_error *err)
{
	if (!path || !path[0])
		return keel_fail_field(err, "path", "path must not be empty");
	if (strcmp(path, ":memory:") == 0) /* a file that no store could be opened from */
		return keel_fail_field(err, "path", "path must be a file's: a copy in memory would be lost at once");
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	if (code == KEEL_OK && access(path, F_OK) == 0)
		code = keel_copy_fail(err, path, EEXIST);
	if (code != KEEL_OK)
		return code;
	char *made;
	code = keel_copy_begin(path, &made, err);
	if (code != KEEL_OK)
		return code;
	code = copy_to(store, made, err);
	if (code == KEEL_OK)
		code = keel_copy_publish(made, path, err);
	unlink(made);
	keel_free(made);
	return code;
}
