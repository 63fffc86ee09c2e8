/* support_disk.h - a disk that loses power: a VFS of SQLite that records what is asked of it, and can make the files as
 * they may be after the power went at any point of that.
 *
 * What was synced is there. Of what was written since, each sector of 512 bytes is there or is not, in any combination;
 * a file's new length, a deletion, a file that was made are there or are not. Reads and locks are the real file
 * system's, on which the program goes on as if nothing had happened.
 */
#ifndef KEEL_TESTS_SUPPORT_DISK_H
#define KEEL_TESTS_SUPPORT_DISK_H

#include "support.h"

/* Which of the calls are made to fail. */
enum disk_fault {
	DISK_SOUND,
	DISK_IOERR,      /* a write fails, and writes nothing */
	DISK_SHORT,      /* a write fails when half of it is written */
	DISK_FULL,       /* a write finds no room */
	DISK_SYNC_FAILS, /* a sync fails, and syncs nothing */
	DISK_FAULTS
};

/* Which of the unsynced sectors survive. */
enum disk_luck { LUCK_NONE, LUCK_ALL, LUCK_CHANCE, LUCK_KINDS };

void disk_begin(void); /* forgets what was recorded, and records the files of the world's store from now on */
void disk_end(void);
size_t disk_calls(void); /* writes, syncs, truncations and deletions so far */

/* From the N-th call on, which must be one that it can happen to: once, or for good. */
void disk_fail(enum disk_fault fault, size_t n, bool for_good);
bool disk_has_failed(void);

/* A bug planted in the disk's user: syncs that are not made. */
void disk_leave_out_syncs(bool leave_out);

/* Makes the files of the world's store as they may be when the power went after so many calls. Nothing more is recorded
 * then. */
void disk_cut(size_t calls, enum disk_luck luck, uint64_t *chance);

#endif
