/* files.c - the files of a store: which they are, whether they are what they were. Uses: record, sidefile, wake,
 * path.
 */
#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"
#include "store/handle.h"
#include "store/record.h"

/* --- Names and rights --------------------------------------------------------------------------------------------- */

/* The files beside the store are named after the path the database resolved, so that every name of the store leads to
 * the same. */
static enum keel_code name_files(struct keel_store *store, struct keel_error *err)
{
	keel_free(store->side_path);
	keel_free(store->wake_path);
	KEEL_ASSERT(keel_store_is_file(store)); /* others have none */
	store->side_path = keel_path_add(keel_store_path(store), "-sessions");
	store->wake_path = keel_path_add(keel_store_path(store), "-wake");
	return store->side_path && store->wake_path ? KEEL_OK : keel_fail_memory(err);
}

/* Which file the connection has open, whose it is, and for children made by fork, that they must not open it. */
static enum keel_code note_file(struct keel_store *store, struct keel_error *err)
{
	struct keel_files *files = &store->files;
	const char *path = keel_store_path(store);
	struct stat info;
	if (stat(path, &info) != 0)
		return keel_fail(err, KEEL_IO, "cannot look at %s: %s", path, strerror(errno));
	files->device = store->side.device = (int64_t)info.st_dev;
	files->inode = store->side.inode = (int64_t)info.st_ino;
	store->side.rights = store->wake.file.rights = (struct keel_rights){info.st_uid, info.st_gid, info.st_mode & 0666};
	if (store->sql->driver->has_moved(store->sql))
		return keel_fail(err, KEEL_BUSY, "%s: another file has just come into its place", path);
	if (files->folder >= 0)
		return KEEL_OK;
	char *folder = keel_path_folder(path);
	if (!folder)
		return keel_fail_memory(err);
	files->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	keel_free(folder);
	if (stat("/", &info) == 0) {
		files->root_device = (int64_t)info.st_dev;
		files->root_inode = (int64_t)info.st_ino;
	}
	return KEEL_OK;
}

/* What stands there already is a file of the store's, or nothing is opened. */
static enum keel_code check_beside(struct keel_store *store, bool *index, struct keel_error *err)
{
	const char *const *endings = store->sql->driver->beside;
	enum keel_code code = keel_sidefile_check(&store->side.rights, store->side_path, err);
	*index = false;
	for (int i = 0; code == KEEL_OK && endings[i]; i++) {
		struct stat info;
		char *path = keel_path_add(keel_store_path(store), endings[i]);
		code = path ? keel_sidefile_check(&store->side.rights, path, err) : keel_fail_memory(err);
		*index = *index || (path && lstat(path, &info) == 0);
		keel_free(path);
	}
	return code;
}

static enum keel_code open_files(struct keel_store *store, struct keel_error *err)
{
	keel_sidefile_drop(&store->side);
	keel_sidefile_drop(&store->wake.file);
	if (store->options.readonly) {
		/* One who may not read it, or finds none, reads the store all the same. */
		enum keel_code code = keel_sidefile_check(&store->wake.file.rights, store->wake_path, err);
		if (code == KEEL_OK)
			keel_sidefile_open(&store->wake.file, store->wake_path, false, NULL);
		return code;
	}
	enum keel_code code = keel_sidefile_open(&store->side, store->side_path, true, err);
	return code == KEEL_OK ? keel_wake_open(&store->wake, store->wake_path, err) : code;
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

/* Nobody restores the store while the door is held, and the name still led to this file when it was. */
static enum keel_code take_door(struct keel_store *store, struct keel_error *err)
{
	struct keel_error why;
	if (store->wake.file.fd < 0)
		return KEEL_OK;
	enum keel_code code = keel_sidefile_share(&store->wake.file, KEEL_DOOR_BYTE, &why);
	if (code == KEEL_BUSY || (code == KEEL_OK && !keel_sidefile_is_at(&store->wake.file, store->wake_path)))
		return keel_fail(err, KEEL_BUSY, "%s: the store is being restored", keel_store_path(store));
	KEEL_ASSERT(!store->files.entered);
	store->files.entered = code == KEEL_OK;
	return keel_fail_as(err, code, &why);
}

/* For a handle that wants the store alone: nobody who may write has it open, or can open it from now on. */
static enum keel_code take_presence(struct keel_store *store, struct keel_error *err)
{
	struct keel_error why;
	enum keel_code code = keel_sidefile_lock(&store->wake.file, KEEL_PRESENT_BYTE, &why);
	return code == KEEL_BUSY ? keel_files_fail_busy(store, err) : keel_fail_as(err, code, &why);
}

enum keel_code keel_files_fail_busy(struct keel_store *store, struct keel_error *err)
{
	const char *path = keel_store_path(store);
	bool alone = false;
	if (store->options.exclusive)
		return keel_fail(err, KEEL_BUSY, "%s: others have the store open, and exclusive = true wants it alone", path);
	if (store->wake.file.fd >= 0 && keel_sidefile_held(&store->wake.file, KEEL_PRESENT_BYTE, &alone, NULL) == KEEL_OK &&
		alone)
		return keel_fail(err, KEEL_BUSY, "%s: a process has the store open with exclusive = true", path);
	return keel_fail(err, KEEL_BUSY, "%s: the database is locked", path);
}

enum keel_code keel_files_enter(struct keel_store *store, struct keel_error *err)
{
	bool index;
	if (!keel_store_is_file(store))
		return KEEL_OK;
	store->files.entered = false;
	enum keel_code code = name_files(store, err);
	if (code == KEEL_OK)
		code = note_file(store, err);
	if (code == KEEL_OK)
		code = check_beside(store, &index, err);
	if (code == KEEL_OK)
		code = open_files(store, err);
	if (code == KEEL_OK)
		code = take_door(store, err);
	if (code == KEEL_OK)
		code = keel_record_check(store, index, err);
	if (code == KEEL_OK && store->options.exclusive)
		code = take_presence(store, err);
	if (code != KEEL_OK || keel_sidefile_find(&store->wake.file, KEEL_PRESENT_BYTE, 1) != 0)
		return code;
	/* Somebody who has it open would have been seen by the lock, unless by another way the locks are others. */
	store->files.left = store->options.readonly && store->sql->driver->has_log(store->sql);
	return index ? keel_files_elsewhere(keel_store_path(store), store->wake_path, &store->wake.file, err) : KEEL_OK;
}

void keel_files_leave_door(struct keel_store *store)
{
	if (store->files.entered)
		keel_sidefile_unlock(&store->wake.file, KEEL_DOOR_BYTE);
	store->files.entered = false;
}

static enum keel_code find_page(struct keel_store *store, struct keel_error *err)
{
	return store->sql->driver->find(store->sql, "store", keel_text_of(store->epoch), &store->files.page, err);
}

static void note_change(struct keel_files *files, const struct stat *info)
{
	files->changed_s = (int64_t)info->st_ctim.tv_sec;
	files->changed_ns = (int64_t)info->st_ctim.tv_nsec;
	files->size = (int64_t)info->st_size;
}

enum keel_code keel_files_settle(struct keel_store *store, struct keel_error *err)
{
	struct stat info;
	if (!store->wake_path)
		return KEEL_OK;
	enum keel_code code = find_page(store, err);
	if (code == KEEL_OK && !store->options.readonly)
		code = keel_record_write(store, store->files.page, err);
	if (code == KEEL_OK && !store->options.readonly && !store->options.exclusive)
		code = keel_sidefile_share(&store->wake.file, KEEL_PRESENT_BYTE, err);
	keel_files_leave_door(store);
	if (store->options.readonly)
		keel_sidefile_drop(&store->wake.file);
	if (code == KEEL_OK && stat(keel_store_path(store), &info) == 0)
		note_change(&store->files, &info);
	return code;
}

enum keel_code keel_files_unsettle(struct keel_store *store, struct keel_error *err)
{
	return store->wake_path ? keel_record_write(store, 0, err) : KEEL_OK;
}

/* --- While it is open --------------------------------------------------------------------------------------------- */

/* Looks again by the folder that the file was opened in, if the root of this process is another by now. */
static bool is_behind_the_root(const struct keel_store *store, struct stat *info)
{
	const struct keel_files *files = &store->files;
	const char *name = strrchr(keel_store_path(store), '/');
	struct stat root;
	if (files->folder < 0 || !name || stat("/", &root) != 0)
		return false;
	return ((int64_t)root.st_dev != files->root_device || (int64_t)root.st_ino != files->root_inode) &&
		   fstatat(files->folder, name + 1, info, 0) == 0;
}

/* The file has changed: by a log written back, or by another that was copied into it. */
static enum keel_code check_content(struct keel_store *store, const struct stat *info, struct keel_error *err)
{
	struct keel_error why;
	struct keel_sidefile wake = {.fd = -1};
	const struct keel_text epoch = keel_text_of(store->epoch);
	if (!store->sql->driver->holds(store->sql, store->files.page, epoch)) {
		/* Or its pages were moved: whoever does that says so first. */
		struct keel_record record;
		wake.rights = store->wake.file.rights;
		enum keel_code code = keel_sidefile_open(&wake, store->wake_path, false, &why);
		bool known = code == KEEL_OK && keel_record_read(&wake, &record) && strcmp(record.epoch, store->epoch) == 0;
		keel_sidefile_drop(&wake);
		if (!known || (record.page && !store->sql->driver->holds(store->sql, record.page, epoch)))
			return keel_fail(err, KEEL_REPLACED,
							 "%s: another file was copied into it while it was open, and nothing was written into that:"
							 " close the store; put backups in place with 'keel restore'",
							 keel_store_path(store));
		if (!record.page)
			return KEEL_OK; /* they are being moved */
		store->files.page = record.page;
	}
	note_change(&store->files, info);
	return KEEL_OK;
}

enum keel_code keel_files_check(struct keel_store *store, struct keel_error *err)
{
	const struct keel_files *files = &store->files;
	struct stat info;
	if (!store->wake_path)
		return KEEL_OK;
	const char *path = keel_store_path(store);
	if (stat(path, &info) != 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return KEEL_OK; /* it cannot be told: who has given up the right to look there may go on */
		if (!is_behind_the_root(store, &info))
			return keel_fail(err, KEEL_REPLACED,
							 "%s: the file is gone, it or its folder was deleted or renamed, and nothing was written"
							 " into it: close the store and open it where it is now",
							 path);
	}
	if ((int64_t)info.st_ino != files->inode || (int64_t)info.st_dev != files->device)
		return keel_fail(err, KEEL_REPLACED,
						 "%s: another file is in its place, and nothing was written into either: close the store and"
						 " open it again",
						 path);
	if (!files->page || (files->changed_s == (int64_t)info.st_ctim.tv_sec &&
						 files->changed_ns == (int64_t)info.st_ctim.tv_nsec && files->size == (int64_t)info.st_size))
		return KEEL_OK;
	return check_content(store, &info, err);
}

enum keel_code keel_files_enter_session(struct keel_store *store, struct keel_error *err)
{
	struct keel_error why;
	struct stat info;
	enum keel_code code = keel_sidefile_share(&store->wake.file, KEEL_DOOR_BYTE, &why);
	if (code == KEEL_BUSY)
		return keel_fail(err, code, "%s: the store is being restored", keel_store_path(store));
	if (code != KEEL_OK)
		return keel_fail_as(err, code, &why);
	store->files.entered = true;
	if (keel_sidefile_is_at(&store->side, store->side_path) ||
		(store->side.fd >= 0 && is_behind_the_root(store, &info)))
		return KEEL_OK;
	keel_sidefile_drop(&store->side);
	return keel_sidefile_open(&store->side, store->side_path, true, err);
}

void keel_files_close(struct keel_store *store)
{
	keel_wake_close(&store->wake);
	if (store->files.folder >= 0)
		close(store->files.folder);
	store->files.folder = -1;
	keel_free(store->side_path);
	keel_free(store->wake_path);
}
