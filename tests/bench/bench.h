/* bench.h - what the benchmarks share: how they fail, the time, medians, and a folder of their own. */
#ifndef KEEL_BENCH_H
#define KEEL_BENCH_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn static inline void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
	exit(1);
}

/* Seconds by the monotonic clock. */
static inline double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Sorts the values. */
static inline double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof *values, ascending);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

enum { FOLDER_SIZE = 256 };

/* Makes a new folder in `parent`; NULL: in $TMPDIR, or /tmp. */
static inline void make_folder(char folder[FOLDER_SIZE], const char *parent)
{
	if (!parent)
		parent = getenv("TMPDIR");
	if (snprintf(folder, FOLDER_SIZE, "%s/keel-bench-XXXXXX", parent ? parent : "/tmp") >= FOLDER_SIZE)
		die(parent, "too long for a path");
	if (!mkdtemp(folder))
		die(folder, strerror(errno));
}

/* Deletes the folder with the files in it. */
static inline void drop_folder(const char *folder)
{
	DIR *files = opendir(folder);
	struct dirent *file;
	while (files && (file = readdir(files))) {
		char path[FOLDER_SIZE + sizeof file->d_name];
		snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
		unlink(path); /* refuses . and .. */
	}
	if (files)
		closedir(files);
	if (rmdir(folder) != 0)
		die(folder, strerror(errno));
}

#endif
