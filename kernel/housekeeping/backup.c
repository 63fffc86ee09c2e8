/* backup.c - copying a store while it is in use. Uses: store.
 *
 * The copy grows under a name of its own and gets the one asked for when it is whole, so that no half copy, and none
 * with the original's epoch, is ever found under it.
 */
#include <keel/housekeeping.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/room.h"
#include "base/text.h"
#include "store/store.h"

static enum keel_code fail_file(struct keel_error *err, const char *path, int failure)
{
	enum keel_code code = KEEL_IO;
	if (failure == EEXIST)
		return keel_fail_field(err, "path", "path: %s is there already", path);
	if (failure == ENOENT || failure == ENOTDIR)
		code = KEEL_STORE_MISSING;
	if (failure == EROFS)
		code = KEEL_STORE_READONLY;
	if (keel_is_no_room(failure))
		code = KEEL_STORE_FULL;
	return keel_fail(err, code, "cannot write %s: %s", path, keel_room_words(path, failure));
}

/* Makes the copy a store of its own. */
static enum keel_code make_own(struct keel_store *store, struct keel_sql *copy, struct keel_error *err)
{
	static const char *const texts[] = {"UPDATE store SET epoch = ?1", "DELETE FROM sessions"};
	const struct keel_sql_driver *driver = copy->driver;
	char epoch[KEEL_UUID_SIZE];
	enum keel_code code = keel_store_new_id(store, epoch, err);
	if (code == KEEL_OK)
		code = driver->begin(copy, true, err);
	if (code != KEEL_OK)
		return code;
	for (int i = 0; code == KEEL_OK && i < 2; i++) {
		struct keel_statement *statement;
		code = driver->prepare(copy, texts[i], &statement, err);
		if (code == KEEL_OK && i == 0)
			code = keel_bind_text(statement, 1, keel_text_of(epoch), err);
		if (code == KEEL_OK)
			code = keel_run_statement(statement, err);
	}
	if (code == KEEL_OK)
		return driver->commit(copy, err);
	driver->rollback(copy);
	return code;
}

static void tell(void *data, int64_t done, int64_t total)
{
	keel_store_tell(data, done, total);
}

static enum keel_code copy_to(struct keel_store *store, const char *path, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	const struct keel_sql_config config = {path, KEEL_DURABILITY_FULL, false, false};
	struct keel_sql *copy = NULL;
	enum keel_code code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = driver->copy(store->sql, path, tell, store, err);
	keel_read_end(store);
	if (code == KEEL_OK)
		code = driver->open(&config, &copy, err);
	if (code == KEEL_OK)
		code = driver->start(copy, &config, err);
	if (code == KEEL_OK)
		code = make_own(store, copy, err);
	if (copy)
		driver->close(copy);
	return code;
}

/* A new name is on the disk when its directory is. */
static enum keel_code flush_directory(const char *path, struct keel_error *err)
{
	const char *slash = strrchr(path, '/');
	size_t size = slash ? (size_t)(slash - path) + 1 : 1;
	char *directory = keel_resize(NULL, size + 1);
	if (!directory)
		return keel_fail_memory(err);
	snprintf(directory, size + 1, "%s", slash ? path : ".");
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	enum keel_code code = KEEL_OK;
	if (failure && failure != EINVAL) /* a file system that cannot flush a directory */
		code = fail_file(err, directory, failure);
	keel_free(directory);
	return code;
}

/* Gives the whole copy its name, which must still be free. */
static enum keel_code publish(const char *made, const char *path, struct keel_error *err)
{
	if (link(made, path) != 0)
		return fail_file(err, path, errno);
	enum keel_code code = flush_directory(path, err);
	if (code != KEEL_OK)
		unlink(path);
	return code;
}

enum keel_code keel_store_backup(struct keel_store *store, const char *path, struct keel_error *err)
{
	static const char ending[] = "-XXXXXX";
	if (!path || !path[0])
		return keel_fail_field(err, "path", "path must not be empty");
	if (strcmp(path, ":memory:") == 0) /* a file that no store could be opened from */
		return keel_fail_field(err, "path", "path must be a file's: a copy in memory would be lost at once");
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	if (code == KEEL_OK && access(path, F_OK) == 0)
		code = fail_file(err, path, EEXIST);
	if (code != KEEL_OK)
		return code;
	size_t size = strlen(path) + sizeof ending;
	char *made = keel_resize(NULL, size);
	if (!made)
		return keel_fail_memory(err);
	snprintf(made, size, "%s%s", path, ending);
	int fd = mkstemp(made); /* mode 0600; closed before SQLite opens it */
	if (fd < 0) {
		code = fail_file(err, path, errno);
	} else {
		close(fd);
		code = copy_to(store, made, err);
		if (code == KEEL_OK)
			code = publish(made, path, err);
		unlink(made);
	}
	keel_free(made);
	return code;
}
