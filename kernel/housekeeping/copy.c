/* copy.c - whole copies of a store in new files. Uses: sql, path. */
#include "housekeeping/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/room.h"
#include "base/text.h"

enum keel_code keel_copy_fail(struct keel_error *err, const char *path, int failure)
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

enum keel_code keel_copy_begin(const char *path, char **made, struct keel_error *err)
{
	*made = keel_path_add(path, "-XXXXXX");
	if (!*made)
		return keel_fail_memory(err);
	int fd = mkstemp(*made); /* closed before the database opens it */
	if (fd >= 0) {
		close(fd);
		return KEEL_OK;
	}
	enum keel_code code = keel_copy_fail(err, path, errno);
	keel_free(*made);
	*made = NULL;
	return code;
}

enum keel_code keel_copy_make_own(struct keel_sql *copy, const struct keel_ids *ids, struct keel_error *err)
{
	static const char *const texts[] = {"UPDATE store SET epoch = ?1", "DELETE FROM sessions"};
	char epoch[KEEL_UUID_SIZE];
	enum keel_code code = ids->next(ids->data, epoch);
	if (code != KEEL_OK)
		return keel_fail(err, code, "the source of ids failed");
	for (int i = 0; code == KEEL_OK && i < 2; i++) {
		struct keel_statement *statement;
		code = copy->driver->prepare(copy, texts[i], &statement, err);
		if (code == KEEL_OK && i == 0)
			code = keel_bind_text(statement, 1, keel_text_of(epoch), err);
		if (code == KEEL_OK)
			code = keel_run_statement(statement, err);
	}
	return code;
}

enum keel_code keel_copy_own(const struct keel_sql_driver *driver, const char *made, const struct keel_ids *ids,
							 struct keel_error *err)
{
	const struct keel_sql_config config = {.uri = made, .durability = KEEL_DURABILITY_FULL};
	struct keel_sql *copy = NULL;
	enum keel_code code = driver->open(&config, &copy, err);
	if (code == KEEL_OK)
		code = driver->start(copy, &config, err);
	if (code == KEEL_OK)
		code = driver->begin(copy, NULL, true, NULL, err);
	if (code == KEEL_OK) {
		code = keel_copy_make_own(copy, ids, err);
		if (code == KEEL_OK)
			code = driver->commit(copy, err);
		else
			driver->rollback(copy);
	}
	if (copy)
		driver->close(copy);
	return code;
}

enum keel_code keel_copy_flush(const char *path, struct keel_error *err)
{
	char *folder = keel_path_folder(path);
	if (!folder)
		return keel_fail_memory(err);
	int failure = keel_path_flush(folder);
	enum keel_code code = failure ? keel_copy_fail(err, folder, failure) : KEEL_OK;
	keel_free(folder);
	return code;
}

enum keel_code keel_copy_publish(const char *made, const char *path, struct keel_error *err)
{
	/* In one step if the file system can: else the file has two names for a moment, as which a store is not opened. */
	int done = renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE);
	if (done != 0 && (errno == EINVAL || errno == ENOSYS))
		done = link(made, path);
	if (done != 0)
		return keel_copy_fail(err, path, errno);
	enum keel_code code = keel_copy_flush(path, err);
	if (code != KEEL_OK)
		unlink(path);
	return code;
}
