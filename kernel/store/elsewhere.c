/* elsewhere.c - whether a process has the store open by a way on which its locks are not seen here. Uses: sidefile.
 *
 * A FUSE or network mount of a folder keeps locks of its own: two processes, one through it and one directly, each
 * believe themselves alone, and ruin the log between them. What this one sees is an index of the log that nobody here
 * seems to use: left by a process that was killed, or in use at another end. So it looks for a process that has a file
 * of the name of STORE-wake open, writes a token into its own, and if that can be read at the other end, tries a lock
 * through both. Processes of other users or pid name spaces cannot be asked.
 */
#include "store/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/wake.h"

enum { TOKEN_SIZE = 16, NAME_SIZE = 4096 };

struct trial {
	struct keel_sidefile *own;
	const char *name; /* of the file, with the slash before it */
	int64_t device, inode;
	unsigned char token[TOKEN_SIZE];
	bool written; /* the token; only once there is somebody to ask */
	bool denied;
};

/* Somebody has a store open at the other end, and the token is there too: it is the same file. Is a lock that is taken
 * here? */
static bool is_apart(struct trial *trial, int fd)
{
	unsigned char found[TOKEN_SIZE];
	KEEL_ASSERT(fd != trial->own->fd);
	struct keel_sidefile other = {.fd = fd};
	/* A FUSE server has the file open for its clients, and no store. */
	if (keel_sidefile_find(&other, KEEL_PRESENT_BYTE, 1) == 0)
		return false;
	if (!trial->written) {
		if (getrandom(trial->token, TOKEN_SIZE, 0) != TOKEN_SIZE ||
			pwrite(trial->own->fd, trial->token, TOKEN_SIZE, KEEL_WAKE_TOKEN) != TOKEN_SIZE)
			trial->denied = true;
		trial->written = true;
	}
	if (trial->denied || pread(fd, found, TOKEN_SIZE, KEEL_WAKE_TOKEN) != TOKEN_SIZE ||
		memcmp(found, trial->token, TOKEN_SIZE) != 0)
		return false;
	int64_t byte = KEEL_TRIAL_BYTE + trial->token[0];
	if (keel_sidefile_lock(trial->own, byte, NULL) != KEEL_OK)
		return false;
	bool seen = keel_sidefile_find(&other, byte, 1) == byte;
	keel_sidefile_unlock(trial->own, byte);
	return !seen;
}

/* Looks at a descriptor of another process. True: it is the same file, and its locks are not. */
static bool is_other_end(struct trial *trial, const char *link)
{
	char target[NAME_SIZE];
	struct stat info;
	ssize_t size = readlink(link, target, sizeof target);
	size_t length = strlen(trial->name);
	if (size < (ssize_t)length || memcmp(target + size - length, trial->name, length) != 0)
		return false;
	int fd = open(link, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool apart = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
				 ((int64_t)info.st_dev != trial->device || (int64_t)info.st_ino != trial->inode) && is_apart(trial, fd);
	close(fd);
	return apart;
}

static bool look_at_process(struct trial *trial, long pid)
{
	char path[64], link[128];
	snprintf(path, sizeof path, "/proc/%ld/fd", pid);
	DIR *folder = opendir(path);
	bool found = false;
	for (struct dirent *entry; folder && !found && (entry = readdir(folder)) != NULL;) {
		snprintf(link, sizeof link, "%s/%.32s", path, entry->d_name);
		found = entry->d_name[0] != '.' && is_other_end(trial, link);
	}
	if (folder)
		closedir(folder);
	return found;
}

enum keel_code keel_files_elsewhere(const char *path, const char *wake_path, const struct keel_sidefile *wake,
									struct keel_error *err)
{
	const char *name = strrchr(wake_path, '/');
	struct keel_sidefile own = {.fd = -1, .rights = wake->rights};
	struct trial trial = {.own = &own, .name = name};
	bool found = false;
	if (!name || wake->fd < 0)
		return KEEL_OK;
	/* A descriptor that may write, also for one who only reads; without it nothing can be tried. */
	if (keel_sidefile_open(&own, wake_path, true, NULL) != KEEL_OK ||
		keel_sidefile_identity(&own, &trial.device, &trial.inode, NULL) != KEEL_OK) {
		keel_sidefile_drop(&own);
		return KEEL_OK;
	}
	DIR *folder = opendir("/proc");
	for (struct dirent *entry; folder && !found && (entry = readdir(folder)) != NULL;) {
		long pid = strtol(entry->d_name, NULL, 10);
		found = pid > 0 && pid != (long)getpid() && look_at_process(&trial, pid);
	}
	if (folder)
		closedir(folder);
	keel_sidefile_drop(&own);
	if (!found)
		return KEEL_OK;
	return keel_fail(
		err, KEEL_IO,
		"%s: a process has the same store open by another way, a network or FUSE mount, with which locks are"
		" not shared: use one of the two for all",
		path);
}
