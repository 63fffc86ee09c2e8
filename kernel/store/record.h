/* store/record.h - the record in STORE-wake. For the domain only.
 *
 * A log says nothing of the file it belongs to, and neither does a lock. So the record has the store's epoch, the page
 * of the file where that is to be found, the file's inode and its own. A file that has not this epoch in this page, or
 * another inode (while STORE-wake has kept its own, so was not copied along), has come into the place of the store: its
 * log is then another's, and must be neither read nor written back.
 */
#ifndef KEEL_STORE_RECORD_H
#define KEEL_STORE_RECORD_H

#include <keel/value.h>

#include "base/sidefile.h"

struct keel_store;

struct keel_record {
	char epoch[KEEL_UUID_SIZE];
	int64_t page;  /* 0: its pages are being moved */
	int64_t inode; /* of the store */
	int64_t own;   /* of the file that the record is in */
};

/* False: there is none. */
bool keel_record_read(const struct keel_sidefile *file, struct keel_record *record);

/* Writes what is true of the file that the handle has open, unless the record says it already. */
enum keel_code keel_record_write(struct keel_store *store, int64_t page, struct keel_error *err);

/* KEEL_REPLACED: the record is another file's, whose log is there, or which others have open. `index`: that of a log is
 * there. */
enum keel_code keel_record_check(struct keel_store *store, bool index, struct keel_error *err);

#endif
