/* housekeeping/copy.h - whole copies of a store in new files, for backups and for restoring them. */
#ifndef KEEL_HOUSEKEEPING_COPY_H
#define KEEL_HOUSEKEEPING_COPY_H

#include "store/store.h"

/* The error of a file that cannot be made: `failure` is the system's number. */
enum keel_code keel_copy_fail(struct keel_error *err, const char *path, int failure);

/* Makes an empty file beside `path`, mode 0600, to become a copy: *made is its name, to be unlinked and freed with
 * keel_free; NULL on failure. */
enum keel_code keel_copy_begin(const char *path, char **made, struct keel_error *err);

/* Makes a copy of a database a store of its own: with a new epoch and without sessions. */
enum keel_code keel_copy_own(const struct keel_sql_driver *driver, const char *made, const struct keel_ids *ids,
							 struct keel_error *err);

/* The same within its open transaction. */
enum keel_code keel_copy_make_own(struct keel_sql *copy, const struct keel_ids *ids, struct keel_error *err);

/* Gives the whole copy `made` the name `path`, which must still be free, and that on the disk. */
enum keel_code keel_copy_publish(const char *made, const char *path, struct keel_error *err);

/* What was done to names in the folder of `path` is on the disk. */
enum keel_code keel_copy_flush(const char *path, struct keel_error *err);

#endif
