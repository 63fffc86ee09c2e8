/* record.c - the record in STORE-wake: which file the store is, for everybody who comes later. Uses: sql, sidefile. */
#include "store/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "store/handle.h"

_Static_assert(KEEL_UUID_SIZE == 37, "the format below reads an epoch of 36 characters");

bool keel_record_read(const struct keel_sidefile *file, struct keel_record *record)
{
	char text[KEEL_WAKE_RECORD_SIZE + 1] = "", end = 0;
	ssize_t size = file->fd < 0 ? -1 : pread(file->fd, text, KEEL_WAKE_RECORD_SIZE, KEEL_WAKE_RECORD);
	memset(record, 0, sizeof *record);
	return size > 0 &&
		   sscanf(text, "keel 1 %36s %" SCNd64 " %" SCNd64 " %" SCNd64 " %c", record->epoch, &record->page,
				  &record->inode, &record->own, &end) == 5 &&
		   end == '.';
}

enum keel_code keel_record_write(struct keel_store *store, int64_t page, struct keel_error *err)
{
	char text[KEEL_WAKE_RECORD_SIZE] = "";
	struct keel_record old;
	KEEL_ASSERT(page >= 0 && store->files.inode && store->wake.file.fd >= 0);
	int64_t device, own;
	enum keel_code code = keel_sidefile_identity(&store->wake.file, &device, &own, err);
	if (code != KEEL_OK)
		return code;
	if (keel_record_read(&store->wake.file, &old) && strcmp(old.epoch, store->epoch) == 0 && old.page == page &&
		old.inode == store->files.inode && old.own == own)
		return KEEL_OK;
	snprintf(text, sizeof text, "keel 1 %s %" PRId64 " %" PRId64 " %" PRId64 " .\n", store->epoch, page,
			 store->files.inode, own);
	ssize_t written = pwrite(store->wake.file.fd, text, sizeof text, KEEL_WAKE_RECORD);
	if (written == (ssize_t)sizeof text)
		return KEEL_OK;
	return keel_fail(err, written < 0 && errno != ENOSPC && errno != EDQUOT ? KEEL_IO : KEEL_STORE_FULL,
					 "cannot write %s: %s", store->wake_path, written < 0 ? strerror(errno) : "the disk is full");
}

/* Whether the record speaks of the file that is open. */
static bool is_of_this_file(struct keel_store *store, const struct keel_record *record)
{
	int64_t device, own;
	if (record->page && !store->sql->driver->holds(store->sql, record->page, keel_text_of(record->epoch)))
		return false;
	return record->inode == store->files.inode ||
		   keel_sidefile_identity(&store->wake.file, &device, &own, NULL) != KEEL_OK || own != record->own;
}

enum keel_code keel_record_check(struct keel_store *store, bool index, struct keel_error *err)
{
	const char *path = keel_store_path(store);
	struct keel_record record;
	if (!keel_record_read(&store->wake.file, &record) || is_of_this_file(store, &record))
		return KEEL_OK;
	if (store->sql->driver->has_log(store->sql))
		return keel_fail(
			err, KEEL_REPLACED,
			"%s: this is not the file that the log beside it belongs to: if it is a backup, put it in place"
			" with 'keel restore'; else move the log away",
			path);
	if (index && keel_sidefile_find(&store->wake.file, KEEL_PRESENT_BYTE, 1) != 0)
		return keel_fail(err, KEEL_REPLACED,
						 "%s: a process still has the file open that was in its place: end it first", path);
	return KEEL_OK;
}
