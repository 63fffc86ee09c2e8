/* sqlite_file.c - the file of a SQLite database: what it must be, and who has it open. Uses: sqlite_log, sqlite_copies,
 * path, sidefile.
 *
 * SQLite's locks belong to the process, and closing any descriptor of the file drops them all: so nothing here opens
 * the file by hand, but for making it.
 */
#include "sql/sqlite_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/room.h"
#include "base/path.h"
#include "base/sidefile.h"

/* --- What it must be --------------------------------------------------------------------------------------------- */

/* Guards the making of files, and which descriptors of database files are this library's. */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

/* Creates the file with mode 0600 if there is none. This happens before SQLite can have it open: O_EXCL for other
 * processes, the mutex for other threads. */
static enum keel_code create_file(const char *path, struct keel_error *err)
{
	pthread_mutex_lock(&files_lock);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int failure = fd < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&files_lock);
	switch (failure) {
	case 0:
	case EEXIST:
		return KEEL_OK;
	case ENOENT:
	case ENOTDIR:
		return keel_fail(err, KEEL_STORE_MISSING, "cannot create %s: no such directory", path);
	case EROFS:
		return keel_fail(err, KEEL_STORE_READONLY, "cannot create %s: %s", path, strerror(failure));
	case ENOSPC:
	case EDQUOT:
		return keel_fail(err, KEEL_STORE_FULL, "cannot create %s: %s", path, keel_room_words(path, failure));
	default:
		return keel_fail(err, KEEL_IO, "cannot create %s: %s", path, strerror(failure));
	}
}

/* A second name of the file, or a mount of the file alone, has another log beside it: two processes that come by
 * different names would each write without knowing of the other. */
static enum keel_code check_names(const char *path, const struct stat *info, struct keel_error *err)
{
	if (info->st_nlink > 1)
		return keel_fail(
			err, KEEL_IO,
			"cannot open %s: the file has %lld names (hard links), each with a log of its own: leave it one"
			" name, or use a symbolic link",
			path, (long long)info->st_nlink);
	if (keel_path_is_mount(path))
		return keel_fail(
			err, KEEL_IO,
			"cannot open %s: the file alone is mounted here, without its log: mount the folder that it is in", path);
	return KEEL_OK;
}

static enum keel_code check_kind(const char *path, const struct stat *info, struct keel_error *err)
{
	if (S_ISDIR(info->st_mode))
		return keel_fail(err, KEEL_IO, "cannot open %s: it is a directory", path);
	/* SQLite's notes of the locks this process holds went to the child, the locks did not: it would write without. */
	if (keel_sidefile_inherited((int64_t)info->st_dev, (int64_t)info->st_ino))
		return keel_fail(err, KEEL_FORKED, "%s was open when this process was forked: " KEEL_FORK_ADVICE, path);
	if (!S_ISREG(info->st_mode))
		return keel_fail(err, KEEL_IO, "cannot open %s: it is not a regular file", path);
	return KEEL_OK;
}

enum keel_code sqlite_check_file(const struct keel_sql_config *config, struct keel_error *err)
{
	const char *path = config->uri;
	struct stat info;
	if (stat(path, &info) != 0) {
		if (errno != ENOENT)
			return keel_fail(err, errno == ENOTDIR ? KEEL_STORE_MISSING : KEEL_IO, "cannot open %s: %s", path,
							 strerror(errno));
		if (config->readonly || !config->create)
			return keel_fail(err, KEEL_STORE_MISSING, "cannot open %s: no such file", path);
		enum keel_code code = create_file(path, err);
		if (code != KEEL_OK)
			return code;
		if (stat(path, &info) != 0)
			return keel_fail(err, KEEL_IO, "cannot open %s: %s", path, strerror(errno));
	}
	enum keel_code code = check_kind(path, &info, err);
	if (code == KEEL_OK && !config->finished)
		code = check_names(path, &info, err);
	if (code != KEEL_OK)
		return code;
	if (info.st_size > 0 && info.st_size < SQLITE_SMALLEST_FILE)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: file is not a database, or was truncated", path);
	if (faccessat(AT_FDCWD, path, config->readonly ? R_OK : R_OK | W_OK, AT_EACCESS) != 0)
		return keel_fail(err, errno == EROFS ? KEEL_STORE_READONLY : KEEL_IO, "cannot open %s: %s", path,
						 strerror(errno));
	return KEEL_OK;
}

bool sqlite_may_write(const char *path)
{
	char *folder = keel_path_folder(path);
	bool may = folder && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 &&
			   faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0;
	keel_free(folder);
	return may;
}

/* When nobody has the index open and it cannot be made, SQLite's words are about writing, which nobody asked for. */
bool sqlite_lacks_index(const struct sqlite_sql *sql)
{
	const char *path = sql->db ? sqlite3_db_filename(sql->db, "main") : NULL;
	char *index = path && path[0] ? keel_path_add(path, "-shm") : NULL;
	char *folder = index ? keel_path_folder(path) : NULL;
	bool lacks = folder && access(index, F_OK) != 0 && faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) != 0;
	keel_free(index);
	keel_free(folder);
	return lacks;
}

/* --- Who has it open --------------------------------------------------------------------------------------------- */

/* One of this library's descriptors of a database file. SQLite keeps that of a closed connection while others in the
 * process hold locks on the file: then this stays too. */
struct sqlite_descriptor {
	int fd; /* -1: it uses one that was kept */
	int64_t device, inode;
	bool open;
	struct sqlite_descriptor *next;
};

static struct sqlite_descriptor *descriptors; /* under files_lock */

static bool is_ours(int fd, const struct stat *info)
{
	for (const struct sqlite_descriptor *known = descriptors; known; known = known->next)
		if (known->fd == fd && known->device == (int64_t)info->st_dev && known->inode == (int64_t)info->st_ino)
			return true;
	return false;
}

/* A descriptor of the file that is not known; -1: there is none. What was handed down by the program that started this
 * one may name the file (a redirection, flock(1)) and is nobody's database: that has not the flag to close at exec. */
static int find_unknown(const struct stat *file)
{
	int found = -1;
	DIR *folder = opendir("/proc/self/fd");
	for (struct dirent *entry; folder && found < 0 && (entry = readdir(folder)) != NULL;) {
		struct stat info;
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] == '.' || fd == dirfd(folder) || fstat(fd, &info) != 0)
			continue;
		if (info.st_dev == file->st_dev && info.st_ino == file->st_ino && !is_ours(fd, &info) &&
			(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			found = fd;
	}
	if (folder)
		closedir(folder);
	return found;
}

/* Forgets those of a file that nobody has open. */
static void sweep(int64_t device, int64_t inode)
{
	for (const struct sqlite_descriptor *known = descriptors; known; known = known->next)
		if (known->open && known->device == device && known->inode == inode)
			return;
	for (struct sqlite_descriptor **at = &descriptors; *at;) {
		struct sqlite_descriptor *known = *at;
		if (known->device == device && known->inode == inode) {
			*at = known->next;
			keel_free(known);
		} else {
			at = &known->next;
		}
	}
}

static enum keel_code connect_alone(struct sqlite_sql *sql, const char *path, int flags, struct keel_error *err)
{
	struct sqlite_descriptor *mine = keel_new(sizeof *mine);
	struct stat info;
	if (!mine)
		return keel_fail_memory(err);
	bool known = stat(path, &info) == 0;
	enum keel_code code = KEEL_OK;
	if (known && find_unknown(&info) >= 0 && sqlite_has_other_copy())
		code = keel_fail(err, KEEL_IO,
						 "cannot open %s: another copy of SQLite in this process has it open, and closing either would"
						 " drop the locks of both: link the program with one copy",
						 path);
	if (code == KEEL_OK) {
		int rc = sqlite_join_frames(&sql->files);
		if (rc == SQLITE_OK)
			rc = sqlite3_open_v2(path, &sql->db, flags, sql->files.name);
		code = rc == SQLITE_OK ? KEEL_OK : sqlite_fail(sql, rc, err);
	}
	if (code != KEEL_OK || !known) {
		keel_free(mine);
		return code;
	}
	*mine =
		(struct sqlite_descriptor){find_unknown(&info), (int64_t)info.st_dev, (int64_t)info.st_ino, true, descriptors};
	descriptors = sql->descriptor = mine;
	return KEEL_OK;
}

enum keel_code sqlite_connect(struct sqlite_sql *sql, const char *path, int flags, struct keel_error *err)
{
	if (sql->memory) {
		int rc = sqlite3_open_v2(path, &sql->db, flags, NULL);
		return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(sql, rc, err);
	}
	pthread_mutex_lock(&files_lock);
	enum keel_code code = connect_alone(sql, path, flags, err);
	pthread_mutex_unlock(&files_lock);
	return code;
}

void sqlite_disconnect(struct sqlite_sql *sql)
{
	struct sqlite_descriptor *mine = sql->descriptor;
	pthread_mutex_lock(&files_lock);
	sqlite3_close_v2(sql->db);
	if (sql->files.real)
		sqlite3_vfs_unregister(&sql->files.vfs);
	if (mine) {
		mine->open = false;
		sweep(mine->device, mine->inode);
	}
	pthread_mutex_unlock(&files_lock);
	sql->db = NULL;
	sql->descriptor = NULL;
}
