/* kept.c - what a command says, kept in files. */
#include "kept.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PARTS = 2 };

static int part_path(const struct kept *kept, unsigned part, char *path, size_t size)
{
	int length = part ? snprintf(path, size, "%s.%u", kept->path, part) : snprintf(path, size, "%s", kept->path);
	return length < 0 || (size_t)length >= size ? ENAMETOOLONG : 0;
}

/* The number of the newest part in the folder; 0: there is none. */
static unsigned newest_part(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	unsigned newest = 0;
	size_t length = strlen(name);
	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	DIR *entries = opendir(folder);
	if (!entries)
		return 0;
	for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
		if (strncmp(entry->d_name, name, length) == 0 && entry->d_name[length] == '.') {
			unsigned long number = strtoul(entry->d_name + length + 1, NULL, 10);
			if (number > newest && number < UINT_MAX)
				newest = (unsigned)number;
		}
	}
	closedir(entries);
	return newest;
}

/* Opens a part to append to it. Only a plain file is one: what else may be there is not ours. */
static int open_part(struct kept *kept, unsigned part)
{
	char path[PATH_MAX];
	struct stat about;
	int failure = part_path(kept, part, path, sizeof path);
	if (failure)
		return failure;
	int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	if (file < 0)
		return errno;
	failure = fstat(file, &about) != 0 ? errno : S_ISREG(about.st_mode) ? 0 : EINVAL;
	if (failure || (kept->takes_errors && dup2(file, STDERR_FILENO) < 0)) {
		failure = failure ? failure : errno;
		close(file);
		return failure;
	}
	kept->file = file;
	kept->part = part;
	kept->size = (size_t)about.st_size;
	return 0;
}

int kept_open(struct kept *kept, const char *path, size_t part_size, bool takes_errors)
{
	*kept = (struct kept){.file = -1, .part_size = part_size, .takes_errors = takes_errors};
	if (strlen(path) >= sizeof kept->path)
		return ENAMETOOLONG;
	strcpy(kept->path, path);
	return open_part(kept, part_size ? newest_part(path) : 0);
}

static void give_up(struct kept *kept, int failure)
{
	kept->failure = failure;
	kept_close(kept);
}

/* Begins the next part, and drops the one that is too many. */
static void begin_part(struct kept *kept)
{
	char path[PATH_MAX];
	int failure;
	close(kept->file);
	kept->file = -1;
	failure = open_part(kept, kept->part + 1);
	if (failure)
		give_up(kept, failure);
	else if (kept->part > PARTS && part_path(kept, kept->part - PARTS, path, sizeof path) == 0)
		unlink(path);
}

void kept_write(struct kept *kept, const char *data, size_t size)
{
	while (kept->file >= 0 && size > 0) {
		size_t room = size;
		if (kept->part_size && kept->size >= kept->part_size) {
			begin_part(kept);
			continue;
		}
		if (kept->part_size && kept->part_size - kept->size < room)
			room = kept->part_size - kept->size;
		ssize_t written = write(kept->file, data, room);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0) {
			give_up(kept, errno);
			return;
		}
		data += written;
		size -= (size_t)written;
		kept->size += (size_t)written;
	}
}

void kept_close(struct kept *kept)
{
	if (kept->file >= 0)
		close(kept->file);
	kept->file = -1;
}
