/* base/path.h - looking at names of files. */
#ifndef KEEL_BASE_PATH_H
#define KEEL_BASE_PATH_H

#include <keel/value.h>

/* Whether a file is mounted by itself, apart from its folder: then other files stand beside this name of it than beside
 * another. False also when the system does not tell. */
bool keel_path_is_mount(const char *path);

/* A path and an ending; to be freed with keel_free. NULL: out of memory. */
char *keel_path_add(const char *path, const char *ending);

/* The folder a path is in, "." for a bare name; to be freed with keel_free. NULL: out of memory. */
char *keel_path_folder(const char *path);

/* A new name, or the end of one, is on the disk when its folder is. 0, or the number of the system's error. */
int keel_path_flush(const char *folder);

#endif
