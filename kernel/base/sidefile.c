/* sidefile.c - byte locks in a file beside the store. Uses: error. */
#include "base/sidefile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

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

enum keel_code keel_sidefile_open(struct keel_sidefile *file, const char *path, bool create, struct keel_error *err)
{
	if (file->fd >= 0)
		return KEEL_OK;
	/* A fork must not come between: its child would keep a descriptor that it does not know of. */
	pthread_mutex_lock(&watch_lock);
	int fd = create ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : open(path, O_RDONLY | O_CLOEXEC);
	int failure = fd < 0 ? errno : 0;
	file->fd = fd;
	pthread_mutex_unlock(&watch_lock);
	if (failure)
		return keel_fail(err, failure == ENOENT ? KEEL_STORE_MISSING : KEEL_IO, "cannot open %s: %s", path,
						 strerror(failure));
	return KEEL_OK;
}

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
