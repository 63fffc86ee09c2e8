/* restore.c - putting a backup in the place of a store. Uses: sql, files, copy.
 *
 * The copy grows beside the store and comes into its place by one rename, with everybody kept from opening the store.
 * Only then the old log and the files beside it go: whoever finds the new file and the old log, because the process was
 * killed between the two, is told (store/files.h) and restores again.
 */
#include <keel/housekeeping.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"
#include "base/path.h"
#include "base/wake.h"
#include "housekeeping/copy.h"
#include "schema/schema.h"

enum { BESIDE_MAX = 8 };

/* The place of the store, and what keeps others out of it. */
struct place {
	const struct keel_store_options *options;
	const struct keel_sql_driver *driver;
	char *path; /* resolved */
	char *side_path, *wake_path, *folder;
	char *beside[BESIDE_MAX]; /* the database's own */
	struct keel_sidefile side, wake;
	struct keel_rights rights;
	bool is_there;
	int64_t device, inode;
};

/* --- The backup -------------------------------------------------------------------------------------------------- */

static enum keel_code open_backup(const struct keel_sql_driver *driver, const char *backup, struct keel_sql **sql,
								  struct keel_error *err)
{
	const struct keel_sql_config config = {.uri = backup, .readonly = true, .finished = true};
	int64_t version = 0;
	bool ours = false;
	enum keel_code code = driver->open(&config, sql, err);
	if (code == KEEL_OK)
		code = driver->start(*sql, &config, err);
	if (code == KEEL_OK)
		code = driver->identify(*sql, &version, &ours, err);
	if (code != KEEL_OK)
		return code;
	if (!ours || version < 1)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: this is not a backup of a store", backup);
	if (version <= KEEL_SCHEMA_BASE)
		return keel_fail(err, KEEL_STORE_VERSION, "%s: the backup was made by a Keel from before the first release",
						 backup);
	if (version > keel_schema_version(driver))
		return keel_fail(err, KEEL_STORE_VERSION, "%s: the backup has schema version %lld, this library knows up to %d",
						 backup, (long long)version, keel_schema_version(driver));
	/* One of an older version is looked at when it is opened and brought up to date. */
	return version == keel_schema_version(driver) ? driver->check_schema(*sql, err) : KEEL_OK;
}

static bool keep_first(void *data, const char *sentence)
{
	snprintf(data, 256, "%s", sentence);
	return false;
}

static void tell_nobody(void *data, int64_t done, int64_t total)
{
	(void)data, (void)done, (void)total;
}

/* Copies a sound backup into the file `made`. */
static enum keel_code copy_backup(const struct place *place, const char *backup, const char *made,
								  struct keel_error *err)
{
	const struct keel_sql_driver *driver = place->driver;
	struct keel_sql *sql = NULL;
	char problem[256] = "";
	enum keel_code code = open_backup(driver, backup, &sql, err);
	if (code == KEEL_OK)
		code = driver->begin(sql, NULL, false, NULL, err);
	if (code == KEEL_OK)
		code = driver->check(sql, keep_first, problem, err);
	if (code == KEEL_OK && problem[0])
		code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the backup is damaged: %s", backup, problem);
	if (code == KEEL_OK)
		code = driver->copy(sql, made, tell_nobody, NULL, err);
	if (sql)
		driver->close(sql);
	return code == KEEL_OK ? keel_copy_own(driver, made, &place->options->ids, err) : code;
}

/* --- The place --------------------------------------------------------------------------------------------------- */

/* The store's own name, whatever links lead to it. */
static enum keel_code resolve(struct place *place, const char *path, struct keel_error *err)
{
	char name[PATH_MAX], folder[PATH_MAX];
	if (realpath(path, name)) {
		place->path = keel_copy_text(name);
		return place->path ? KEEL_OK : keel_fail_memory(err);
	}
	if (errno != ENOENT)
		return keel_copy_fail(err, path, errno);
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	char *parent = keel_path_folder(path);
	char *rest = keel_path_add("/", base);
	bool found = parent && rest && realpath(parent, folder);
	if (found)
		place->path = keel_path_add(strcmp(folder, "/") == 0 ? "" : folder, rest);
	enum keel_code code = KEEL_OK;
	if (!parent || !rest || (found && !place->path))
		code = keel_fail_memory(err);
	else if (!found || !base[0])
		code = keel_fail(err, KEEL_STORE_MISSING, "cannot restore %s: no such directory", path);
	keel_free(parent);
	keel_free(rest);
	return code;
}

/* What is there may be a store, a damaged one or none; another program's database is nobody's to replace. */
static enum keel_code look_at_old(struct place *place, const char *backup, struct keel_error *err)
{
	const struct keel_sql_config config = {.uri = place->path};
	struct keel_sql *sql = NULL;
	struct stat info, from;
	if (lstat(place->path, &info) != 0) {
		place->rights = (struct keel_rights){(uint32_t)geteuid(), (uint32_t)getegid(), 0600};
		return errno == ENOENT ? KEEL_OK : keel_copy_fail(err, place->path, errno);
	}
	place->is_there = true;
	place->device = (int64_t)info.st_dev;
	place->inode = (int64_t)info.st_ino;
	place->rights = (struct keel_rights){info.st_uid, info.st_gid, info.st_mode & 0666};
	if (stat(backup, &from) == 0 && from.st_dev == info.st_dev && from.st_ino == info.st_ino)
		return keel_fail_field(err, "backup", "backup: %s is the store itself", backup);
	struct keel_error why;
	enum keel_code code = place->driver->open(&config, &sql, &why);
	if (code == KEEL_OK && place->driver->is_foreign(sql))
		code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: this is another application's database", place->path);
	else if (code != KEEL_STORE_CORRUPT) /* too short to be one, so nothing is lost */
		code = keel_fail_as(err, code, &why);
	else
		code = KEEL_OK;
	if (sql)
		place->driver->close(sql);
	return code;
}

static enum keel_code try_door(struct place *place, struct keel_error *err)
{
	keel_sidefile_drop(&place->side);
	keel_sidefile_drop(&place->wake);
	enum keel_code code = keel_sidefile_open(&place->side, place->side_path, true, err);
	if (code == KEEL_OK)
		code = keel_sidefile_open(&place->wake, place->wake_path, true, err);
	if (code == KEEL_OK)
		code = keel_sidefile_lock(&place->wake, KEEL_DOOR_BYTE, err);
	if (code == KEEL_OK && !keel_sidefile_is_at(&place->wake, place->wake_path))
		code = keel_fail(err, KEEL_BUSY, "%s: the store is being restored", place->path);
	return code;
}

/* From here on nobody opens the store or makes a session, until `release`. */
static enum keel_code take_door(struct place *place, struct keel_error *err)
{
	int64_t deadline = keel_later(keel_monotonic_us(), place->options->lock_timeout_us);
	struct keel_error why;
	enum keel_code code;
	while ((code = try_door(place, &why)) == KEEL_BUSY && keel_monotonic_us() < deadline)
		place->options->sleep(place->options->sleep_data, 1000);
	if (code == KEEL_BUSY)
		return keel_fail(err, code, "%s: the store is being opened, again and again", place->path);
	if (code != KEEL_OK)
		return keel_fail_as(err, code, &why);
	int64_t session = keel_sidefile_find(&place->side, 1, INT64_MAX - 1);
	if (session)
		return keel_fail(err, KEEL_BUSY, "%s: session %lld has the store open: end its process first", place->path,
						 (long long)session);
	return keel_files_elsewhere(place->path, place->wake_path, &place->wake, err);
}

/* All that needs memory comes before anything is replaced. */
static enum keel_code name_files(struct place *place, struct keel_error *err)
{
	const char *const *endings = place->driver->beside;
	place->side_path = keel_path_add(place->path, "-sessions");
	place->wake_path = keel_path_add(place->path, "-wake");
	place->folder = keel_path_folder(place->path);
	bool named = place->side_path && place->wake_path && place->folder;
	for (int i = 0; named && endings[i] && i < BESIDE_MAX; i++) {
		place->beside[i] = keel_path_add(place->path, endings[i]);
		named = place->beside[i] != NULL;
	}
	return named ? KEEL_OK : keel_fail_memory(err);
}

static enum keel_code enter(struct place *place, const char *path, const char *backup, struct keel_error *err)
{
	enum keel_code code = keel_sidefile_watch(&place->side, err);
	if (code == KEEL_OK)
		code = keel_sidefile_watch(&place->wake, err);
	if (code == KEEL_OK)
		code = resolve(place, path, err);
	if (code == KEEL_OK)
		code = look_at_old(place, backup, err);
	if (code != KEEL_OK)
		return code;
	place->side.rights = place->wake.rights = place->rights;
	code = name_files(place, err);
	return code == KEEL_OK ? take_door(place, err) : code;
}

static void leave(struct place *place)
{
	keel_sidefile_close(&place->side);
	keel_sidefile_close(&place->wake);
	keel_free(place->path);
	keel_free(place->side_path);
	keel_free(place->wake_path);
	keel_free(place->folder);
	for (int i = 0; i < BESIDE_MAX; i++)
		keel_free(place->beside[i]);
}

/* --- Replacing --------------------------------------------------------------------------------------------------- */

static enum keel_code drop_file(const char *path, enum keel_code so_far, struct keel_error *err)
{
	if (!path || unlink(path) == 0 || errno == ENOENT || so_far != KEEL_OK)
		return so_far;
	return keel_fail(err, KEEL_IO, "the backup is in place, but %s cannot be removed: %s", path, strerror(errno));
}

/* The old log belongs to nothing any more; the files beside it come anew with the next opening. STORE-wake is last: it
 * says until then whose the log is, and its lock keeps the door. */
static enum keel_code drop_old(const struct place *place, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (int i = 0; i < BESIDE_MAX; i++)
		code = drop_file(place->beside[i], code, err);
	code = drop_file(place->side_path, code, err);
	return code == KEEL_OK ? drop_file(place->wake_path, code, err) : code;
}

/* The new file gets the rights of the old one, as far as this process may give them. */
static enum keel_code replace(const struct place *place, const char *made, struct keel_error *err)
{
	if (chown(made, place->rights.owner, place->rights.group) != 0 && geteuid() == 0)
		return keel_copy_fail(err, made, errno);
	if (chmod(made, place->rights.mode) != 0)
		return keel_copy_fail(err, made, errno);
	if (rename(made, place->path) != 0)
		return keel_copy_fail(err, place->path, errno);
	enum keel_code code = drop_old(place, err);
	int failure = code == KEEL_OK ? keel_path_flush(place->folder) : 0;
	return failure ? keel_fail(err, KEEL_IO, "the backup is in place, but %s cannot be flushed: %s", place->folder,
							   strerror(failure))
				   : code;
}

static enum keel_code restore(struct place *place, const char *backup, struct keel_error *err)
{
	char *made;
	enum keel_code code = keel_copy_begin(place->path, &made, err);
	if (code != KEEL_OK)
		return code;
	code = copy_backup(place, backup, made, err);
	if (code == KEEL_OK)
		code = replace(place, made, err);
	unlink(made);
	keel_free(made);
	return code;
}

enum keel_code keel_store_restore(const char *backup, const char *path, const struct keel_store_options *options,
								  struct keel_error *err)
{
	struct keel_store_options defaults;
	struct place place = {.side = {.fd = -1}, .wake = {.fd = -1}};
	keel_store_options_init(&defaults);
	place.options = options ? options : &defaults;
	if (!backup || !backup[0])
		return keel_fail_field(err, "backup", "backup must not be empty");
	if (path && strcmp(path, ":memory:") == 0)
		return keel_fail_field(err, "path", "path must be a file's: a store in memory has no place");
	enum keel_code code = keel_sql_find(path, &place.driver, err);
	if (code != KEEL_OK)
		return code;
	/* The backup is looked at first: a wrong name must not leave files beside the store. */
	struct keel_sql *sql = NULL;
	code = open_backup(place.driver, backup, &sql, err);
	if (sql)
		place.driver->close(sql);
	if (code == KEEL_OK)
		code = enter(&place, path, backup, err);
	if (code == KEEL_OK)
		code = restore(&place, backup, err);
	leave(&place);
	return code;
}
