/* room.c - what a system that has no room means by it. Uses: nothing. */
#include "base/room.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

bool keel_is_no_room(int failure)
{
	return failure == ENOSPC || failure == EDQUOT;
}

/* The file system of a file that may not be there: its folder's. */
static bool look(const char *path, struct statvfs *info)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	if (statvfs(path, info) == 0)
		return true;
	int size = !slash ? 1 : slash == path ? 1 : (int)(slash - path);
	if (snprintf(folder, sizeof folder, "%.*s", size, slash ? path : ".") >= (int)sizeof folder)
		return false;
	return statvfs(folder, info) == 0;
}

const char *keel_room_words(const char *path, int failure)
{
	struct statvfs info;
	if (failure == ENOSPC && look(path, &info) && info.f_files > 0 && info.f_favail == 0)
		return "the file system has no inodes left, so no file can be made";
	return strerror(failure);
}
