/* path.c - looking at names of files. Uses: memory. */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

bool keel_path_is_mount(const char *path)
{
	struct statx info;
	if (statx(AT_FDCWD, path, 0, STATX_TYPE, &info) != 0)
		return false;
	return (info.stx_attributes_mask & info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

char *keel_path_add(const char *path, const char *ending)
{
	size_t size = strlen(path) + strlen(ending) + 1;
	char *name = keel_resize(NULL, size);
	if (name)
		snprintf(name, size, "%s%s", path, ending);
	return name;
}

char *keel_path_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return keel_copy_text(".");
	size_t size = slash == path ? 1 : (size_t)(slash - path);
	char *folder = keel_new(size + 1);
	if (folder)
		memcpy(folder, path, size);
	return folder;
}

int keel_path_flush(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	return failure == EINVAL ? 0 : failure; /* a file system that cannot flush a folder */
}
