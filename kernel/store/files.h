/* store/files.h - the files of a store: the one place that names, opens, checks and owns them. For the domain only.
 *
 *   STORE            the database
 *   STORE-wal, -shm  its log and the index of that, the driver's; -journal while it is made
 *   STORE-sessions   a locked byte for each live session
 *   STORE-wake       who waits, whose turn it is (base/wake.h, base/turn.h), and which file all of this stands beside
 *                    (record.h)
 */
#ifndef KEEL_STORE_FILES_H
#define KEEL_STORE_FILES_H

#include "base/sidefile.h"

struct keel_store;

/* Of a handle; starts as {.folder = -1}. */
struct keel_files {
	int64_t device, inode;         /* of the file that is open */
	int64_t changed_s, changed_ns; /* when it was changed last, as far as it is known to be the store's; size, too */
	int64_t size;
	int64_t page;                    /* where the epoch is in the file; 0: not known */
	int folder;                      /* for a process that has changed its root; -1: none */
	int64_t root_device, root_inode; /* as it was */
	bool entered;                    /* the door is held */
	bool left;                       /* by a process that was killed: the log, when a reader opened the store */
};

/* Between connecting and the first look into the file: names the files, makes those that are missing (unless readonly),
 * and sees that they are what they must be. Does nothing for a store that is no file. KEEL_REPLACED: the log is another
 * store's, or others have the file open that was here; KEEL_BUSY: the store is being restored, or open and wanted for
 * this handle alone; KEEL_IO. */
enum keel_code keel_files_enter(struct keel_store *store, struct keel_error *err);

/* After `enter`, the database was locked: says by whom, as far as that can be told. Always KEEL_BUSY. */
enum keel_code keel_files_fail_busy(struct keel_store *store, struct keel_error *err);

/* The handle is ready and knows its epoch: notes which file it is, for everybody who comes later. */
enum keel_code keel_files_settle(struct keel_store *store, struct keel_error *err);

/* Whether the name of the store still leads to what the handle has open: KEEL_REPLACED if not. One stat, mostly. */
enum keel_code keel_files_check(struct keel_store *store, struct keel_error *err);

/* Around what moves the pages of the file: meanwhile nobody can tell it by them. `done` notes where they are. */
enum keel_code keel_files_unsettle(struct keel_store *store, struct keel_error *err);

/* Before a session is made: opens STORE-sessions again if somebody has removed it, and keeps out who would restore the
 * store until the session's lock is there to be seen. KEEL_BUSY: the store is being restored. */
enum keel_code keel_files_enter_session(struct keel_store *store, struct keel_error *err);
void keel_files_leave_door(struct keel_store *store);

/* Releases everything but the session's lock. */
void keel_files_close(struct keel_store *store);

/* store/elsewhere.c: whether a process has the store at `path` open by a way on which its locks are not seen here:
 * KEEL_IO. `wake` is its STORE-wake, open. */
enum keel_code keel_files_elsewhere(const char *path, const char *wake_path, const struct keel_sidefile *wake,
									struct keel_error *err);

#endif
