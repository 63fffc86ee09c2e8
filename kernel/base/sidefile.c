/* sidefile.c - byte locks in a file beside the store. Uses: error, path. */
#include "base/sidefile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/room.h"
#include "base/path.h"

/* The watched files of this process, for the fork handlers. */
static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct keel_sidefile *watched_files;
static bool handlers_registered;

static void before_fork(void)
{
	pthread_mutex_lock(&watch_lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&watch_lock);
}

static void after_fork_in_child(void)
{
	for (struct keel_sidefile *file = watched_files; file; file = file->next) {
		if (file->fd >= 0)
			close(file->fd);
		file->fd = -1;
		file->forked = true;
	}
	pthread_mutex_unlock(&watch_lock);
}

enum keel_code keel_sidefile_watch(struct keel_sidefile *file, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	pthread_mutex_lock(&watch_lock);
	if (!handlers_registered && pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0)
		code = keel_fail_memory(err);
	else {
		handlers_registered = true;
		file->watched = true;
		file->previous = NULL;
		file->next = watched_files;
		if (watched_files)
			watched_files->previous = file;
		watched_files = file;
	}
	pthread_mutex_unlock(&watch_lock);
	return code;
}

bool keel_sidefile_inherited(int64_t device, int64_t inode)
{
	bool found = false;
	pthread_mutex_lock(&watch_lock);
	for (const struct keel_sidefile *file = watched_files; file && !found; file = file->next)
		found = file->forked && file->device == device && file->inode == inode;
	pthread_mutex_unlock(&watch_lock);
	return found;
}

/* --- Opening ----------------------------------------------------------------------------------------------------- */

static enum keel_code fail_open(const char *path, int failure, struct keel_error *err)
{
	enum keel_code code = KEEL_IO;
	if (failure == ELOOP)
		return keel_fail(err, code, "cannot open %s: it is a symbolic link, and would lead elsewhere; remove it", path);
	if (failure == ENOENT)
		code = KEEL_STORE_MISSING;
	else if (failure == EROFS)
		code = KEEL_STORE_READONLY;
	else if (keel_is_no_room(failure))
		code = KEEL_STORE_FULL;
	return keel_fail(err, code, "cannot open %s: %s", path, keel_room_words(path, failure));
}

/* Whether a file of this user may stand beside a store of these rights. Whoever may write the store may make them. */
static bool is_of_the_store(const struct keel_rights *rights, const struct stat *info)
{
	if (!rights->mode || info->st_uid == rights->owner || info->st_uid == 0 || info->st_uid == geteuid())
		return true;
	return (rights->mode & S_IWOTH) || ((rights->mode & S_IWGRP) && info->st_gid == rights->group);
}

static enum keel_code check_kind(const struct keel_rights *rights, const char *path, const struct stat *info,
								 struct keel_error *err)
{
	if (S_ISLNK(info->st_mode))
		return fail_open(path, ELOOP, err);
	if (!S_ISREG(info->st_mode))
		return keel_fail(err, KEEL_IO, "cannot open %s: it is not a regular file; remove it", path);
	if (info->st_nlink > 1)
		return keel_fail(err, KEEL_IO, "cannot open %s: it is a hard link, another name of the same file; remove it",
						 path);
	if (!is_of_the_store(rights, info))
		return keel_fail(err, KEEL_IO, "cannot open %s: it belongs to user %lld, the store to user %lld; remove it",
						 path, (long long)info->st_uid, (long long)rights->owner);
	if (keel_path_is_mount(path))
		return keel_fail(err, KEEL_IO, "cannot open %s: the file alone is mounted here: mount the folder that it is in",
						 path);
	return KEEL_OK;
}

enum keel_code keel_sidefile_check(const struct keel_rights *rights, const char *path, struct keel_error *err)
{
	struct stat info;
	return lstat(path, &info) == 0 ? check_kind(rights, path, &info, err) : KEEL_OK;
}

/* Gives the file the rights of the store, as far as this process may: as SQLite does with its log. */
static void give_rights(int fd, const struct keel_rights *rights)
{
	struct stat info;
	if (!rights->mode || fstat(fd, &info) != 0 || (geteuid() != 0 && info.st_uid != geteuid()))
		return;
	bool owned = info.st_uid == rights->owner || geteuid() != 0;
	if (!owned || info.st_gid != rights->group) {
		int failed = fchown(fd, owned ? (uid_t)-1 : rights->owner, rights->group);
		(void)failed; /* who may not give it to the group leaves it as it is */
	}
	if ((info.st_mode & 0777) != rights->mode)
		fchmod(fd, rights->mode);
}

static int open_descriptor(const char *path, bool create)
{
	const int always = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(path, (create ? O_RDWR : O_RDONLY) | always);
	if (fd >= 0 || !create || errno != ENOENT)
		return fd;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | always, 0600);
	return fd >= 0 || errno != EEXIST ? fd : open(path, O_RDWR | always); /* somebody else was first */
}

enum keel_code keel_sidefile_open(struct keel_sidefile *file, const char *path, bool create, struct keel_error *err)
{
	struct stat info;
	if (file->fd >= 0)
		return KEEL_OK;
	/* Before opening: closing another name of the database would drop the locks of this process on it. */
	enum keel_code code = keel_sidefile_check(&file->rights, path, err);
	if (code != KEEL_OK)
		return code;
	/* A fork must not come between: its child would keep a descriptor that it does not know of. */
	pthread_mutex_lock(&watch_lock);
	file->fd = open_descriptor(path, create);
	int failure = file->fd < 0 ? errno : 0;
	pthread_mutex_unlock(&watch_lock);
	if (!failure && fstat(file->fd, &info) != 0)
		failure = errno;
	code = failure ? fail_open(path, failure, err) : check_kind(&file->rights, path, &info, err);
	if (code != KEEL_OK)
		keel_sidefile_drop(file);
	else if (create)
		give_rights(file->fd, &file->rights);
	return code;
}

bool keel_sidefile_is_at(const struct keel_sidefile *file, const char *path)
{
	struct stat open, named;
	return file->fd >= 0 && fstat(file->fd, &open) == 0 && lstat(path, &named) == 0 && open.st_dev == named.st_dev &&
		   open.st_ino == named.st_ino;
}

/* --- Locks ------------------------------------------------------------------------------------------------------- */

static struct flock byte_lock(short type, int64_t byte)
{
	struct flock lock;
	memset(&lock, 0, sizeof lock);
	lock.l_type = type;
	lock.l_whence = SEEK_SET;
	lock.l_start = byte;
	lock.l_len = 1;
	return lock;
}

static enum keel_code take(struct keel_sidefile *file, short type, int64_t byte, struct keel_error *err)
{
	struct flock lock = byte_lock(type, byte);
	if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0)
		return KEEL_OK;
	if (errno == EAGAIN || errno == EACCES)
		return keel_fail(err, KEEL_BUSY, "byte %lld of the side file is locked", (long long)byte);
	return keel_fail(err, KEEL_IO, "cannot lock the side file: %s", strerror(errno));
}

enum keel_code keel_sidefile_lock(struct keel_sidefile *file, int64_t byte, struct keel_error *err)
{
	return take(file, F_WRLCK, byte, err);
}

enum keel_code keel_sidefile_share(struct keel_sidefile *file, int64_t byte, struct keel_error *err)
{
	return take(file, F_RDLCK, byte, err);
}

void keel_sidefile_unlock(struct keel_sidefile *file, int64_t byte)
{
	struct flock lock = byte_lock(F_UNLCK, byte);
	if (file->fd >= 0)
		fcntl(file->fd, F_OFD_SETLK, &lock);
}

int64_t keel_sidefile_find(struct keel_sidefile *file, int64_t first, int64_t count)
{
	struct flock lock = byte_lock(F_WRLCK, first);
	lock.l_len = count;
	if (file->fd < 0 || fcntl(file->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_start > first ? lock.l_start : first;
}

enum keel_code keel_sidefile_held(struct keel_sidefile *file, int64_t byte, bool *held, struct keel_error *err)
{
	/* A read lock conflicts with the holder's write lock, and may be asked for through a read-only descriptor. */
	struct flock lock = byte_lock(F_RDLCK, byte);
	if (fcntl(file->fd, F_OFD_GETLK, &lock) != 0)
		return keel_fail(err, KEEL_IO, "cannot look at the side file's locks: %s", strerror(errno));
	*held = lock.l_type != F_UNLCK;
	return KEEL_OK;
}

enum keel_code keel_sidefile_identity(struct keel_sidefile *file, int64_t *device, int64_t *inode,
									  struct keel_error *err)
{
	struct stat info;
	if (fstat(file->fd, &info) != 0)
		return keel_fail(err, KEEL_IO, "cannot look at the side file: %s", strerror(errno));
	*device = (int64_t)info.st_dev;
	*inode = (int64_t)info.st_ino;
	return KEEL_OK;
}

enum keel_code keel_sidefile_token(struct keel_sidefile *file, char token[KEEL_UUID_SIZE], struct keel_error *err)
{
	ssize_t size;
	do
		size = pread(file->fd, token, KEEL_UUID_SIZE - 1, 0);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return keel_fail(err, KEEL_IO, "cannot read the side file: %s", strerror(errno));
	token[size == KEEL_UUID_SIZE - 1 ? size : 0] = '\0';
	return KEEL_OK;
}

enum keel_code keel_sidefile_set_token(struct keel_sidefile *file, const char *token, bool flush,
									   struct keel_error *err)
{
	ssize_t size = (ssize_t)strlen(token), written;
	do
		written = pwrite(file->fd, token, (size_t)size, 0);
	while (written < 0 && errno == EINTR);
	if (written == size && (!flush || fdatasync(file->fd) == 0))
		return KEEL_OK;
	bool full = written >= 0 ? written < size : errno == ENOSPC || errno == EDQUOT;
	return keel_fail(err, full ? KEEL_STORE_FULL : KEEL_IO, "cannot write the side file: %s",
					 full ? "the disk is full" : strerror(errno));
}

static void drop(struct keel_sidefile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

void keel_sidefile_drop(struct keel_sidefile *file)
{
	pthread_mutex_lock(&watch_lock);
	drop(file);
	pthread_mutex_unlock(&watch_lock);
}

void keel_sidefile_close(struct keel_sidefile *file)
{
	pthread_mutex_lock(&watch_lock);
	drop(file);
	if (file->watched) {
		if (file->previous)
			file->previous->next = file->next;
		else
			watched_files = file->next;
		if (file->next)
			file->next->previous = file->previous;
		file->watched = false;
	}
	pthread_mutex_unlock(&watch_lock);
}
