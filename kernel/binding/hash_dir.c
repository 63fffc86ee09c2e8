/* hash_dir.c - the hash of what a directory holds, whoever owns it and whenever it was written. Uses: libmd.
 *
 * SHA-256 over one entry for each regular file and symbolic link below the directory, in the byte order of their
 * relative paths:
 *   path, a zero byte, "file ", the SHA-256 of the content in hexadecimal, a line feed
 *   path, a zero byte, "link ", the SHA-256 of the target's text in hexadecimal, a line feed
 * A path has no zero byte, so no two directories give the same bytes. Links are not followed; directories, pipes,
 * sockets and devices have no entry. One block of a file is in memory at a time, and the names of the directories that
 * are being walked.
 *
 * A file that this process has open is refused: it may be a store, and closing any descriptor of a store's file drops
 * the locks that SQLite holds on it in this process.
 */
#include "binding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sha2.h>

enum {
	PATH_SIZE = 4096,      /* of a relative path, with its zero: what the system takes; also bounds the depth */
	BLOCK_SIZE = 64 * 1024 /* read at once */
};

struct place {
	dev_t device;
	ino_t inode;
};

/* All that is needed between the first entry and the last. Nothing in here calls Lua, so the memory that is not freed
 * by `finish` is freed by the functions that took it. */
struct walk {
	const char *root;
	enum keel_code code;    /* of the failure, */
	char why[128];          /* in words, */
	char failed[PATH_SIZE]; /* and where it was */
	SHA2_CTX whole;
	struct place *open; /* the regular files that this process has open */
	size_t open_count;
	size_t size;          /* of path */
	char path[PATH_SIZE]; /* where the walk is, relative to the root; a directory ends with a slash */
	uint8_t block[BLOCK_SIZE];
};

/* --- Failing ----------------------------------------------------------------------------------------------------- */

static bool fail(struct walk *walk, enum keel_code code, const char *why)
{
	walk->code = code;
	snprintf(walk->why, sizeof walk->why, "%s", why);
	snprintf(walk->failed, sizeof walk->failed, "%s", walk->path);
	return false;
}

static bool fail_system(struct walk *walk, int number)
{
	return fail(walk, number == ENOMEM ? KEEL_NO_MEMORY : KEEL_IO, strerror(number));
}

/* --- Names ------------------------------------------------------------------------------------------------------- */

/* The names of a directory; one that is a directory ends with a slash, so that sorting names sorts paths. */
struct names {
	char **items;
	size_t count, room;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

static bool add_name(struct names *names, const char *name, bool directory)
{
	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 64;
		char **items = realloc(names->items, room * sizeof *items);
		if (!items)
			return false;
		names->items = items;
		names->room = room;
	}
	size_t size = strlen(name);
	char *item = malloc(size + 2);
	if (!item)
		return false;
	memcpy(item, name, size);
	memcpy(item + size, directory ? "/" : "", directory ? 2 : 1);
	names->items[names->count++] = item;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b); /* as unsigned bytes */
}

/* Appends a name to the path. */
static bool enter(struct walk *walk, const char *name)
{
	size_t size = strlen(name);
	if (walk->size + size >= sizeof walk->path)
		return fail_system(walk, ENAMETOOLONG);
	memcpy(walk->path + walk->size, name, size + 1);
	walk->size += size;
	return true;
}

static void leave(struct walk *walk, size_t size)
{
	walk->size = size;
	walk->path[size] = '\0';
}

static bool read_names(struct walk *walk, DIR *directory, struct names *names)
{
	size_t here = walk->size;
	struct dirent *entry;
	while ((errno = 0, entry = readdir(directory)) != NULL) {
		struct stat about;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(directory), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
			int number = errno;
			if (enter(walk, entry->d_name))
				fail_system(walk, number);
			leave(walk, here);
			return false;
		}
		bool counts = S_ISREG(about.st_mode) || S_ISLNK(about.st_mode) || S_ISDIR(about.st_mode);
		if (counts && !add_name(names, entry->d_name, S_ISDIR(about.st_mode)))
			return fail_system(walk, ENOMEM);
	}
	if (errno != 0)
		return fail_system(walk, errno);
	if (names->count > 1)
		qsort(names->items, names->count, sizeof *names->items, compare_names);
	return true;
}

/* --- Entries ----------------------------------------------------------------------------------------------------- */

static void add_entry(struct walk *walk, const char *kind, SHA2_CTX *content)
{
	char digest[SHA256_DIGEST_STRING_LENGTH];
	SHA256End(content, digest);
	SHA256Update(&walk->whole, (const uint8_t *)walk->path, walk->size + 1);
	SHA256Update(&walk->whole, (const uint8_t *)kind, strlen(kind));
	SHA256Update(&walk->whole, (const uint8_t *)digest, strlen(digest));
	SHA256Update(&walk->whole, (const uint8_t *)"\n", 1);
}

static bool is_open(const struct walk *walk, const struct stat *about)
{
	for (size_t i = 0; i < walk->open_count; i++)
		if (walk->open[i].device == about->st_dev && walk->open[i].inode == about->st_ino)
			return true;
	return false;
}

static bool hash_content(struct walk *walk, int fd)
{
	SHA2_CTX content;
	ssize_t size;
	SHA256Init(&content);
	while ((size = read(fd, walk->block, sizeof walk->block)) != 0) {
		if (size < 0 && errno != EINTR)
			return fail_system(walk, errno);
		if (size > 0)
			SHA256Update(&content, walk->block, (size_t)size);
	}
	add_entry(walk, "file ", &content);
	return true;
}

static bool hash_file(struct walk *walk, int directory, const char *name)
{
	struct stat about;
	/* O_NONBLOCK: a pipe that has taken the file's place must not hold us up. */
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return fail_system(walk, errno);
	bool good = fstat(fd, &about) == 0 ? S_ISREG(about.st_mode) || fail(walk, KEEL_IO, "it changed meanwhile")
									   : fail_system(walk, errno);
	good = good && hash_content(walk, fd);
	close(fd);
	return good;
}

static bool hash_link(struct walk *walk, int directory, const char *name)
{
	SHA2_CTX target;
	ssize_t size = readlinkat(directory, name, (char *)walk->block, sizeof walk->block);
	if (size < 0)
		return fail_system(walk, errno);
	SHA256Init(&target);
	SHA256Update(&target, walk->block, (size_t)size);
	add_entry(walk, "link ", &target);
	return true;
}

static bool hash_directory(struct walk *walk, int fd);

static bool hash_entry(struct walk *walk, int directory, const char *name)
{
	struct stat about;
	size_t size = strlen(name);
	if (name[size - 1] == '/') {
		int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? fail_system(walk, errno) : hash_directory(walk, fd);
	}
	if (fstatat(directory, name, &about, AT_SYMLINK_NOFOLLOW) != 0)
		return fail_system(walk, errno);
	if (S_ISLNK(about.st_mode))
		return hash_link(walk, directory, name);
	if (is_open(walk, &about))
		return fail(walk, KEEL_INVALID_REQUEST, "this process has it open, as a store or otherwise");
	return hash_file(walk, directory, name);
}

/* Takes the descriptor over. */
static bool hash_directory(struct walk *walk, int fd)
{
	struct names names = {0};
	size_t here = walk->size;
	DIR *directory = fdopendir(fd);
	if (!directory) {
		int number = errno;
		close(fd);
		return fail_system(walk, number);
	}
	bool good = read_names(walk, directory, &names);
	for (size_t i = 0; good && i < names.count; i++) {
		good = enter(walk, names.items[i]) && hash_entry(walk, dirfd(directory), names.items[i]);
		leave(walk, here);
	}
	free_names(&names);
	closedir(directory);
	return good;
}

/* --- The whole --------------------------------------------------------------------------------------------------- */

/* Remembers which regular files this process has open. */
static bool look_at_descriptors(struct walk *walk)
{
	size_t room = 0;
	struct dirent *entry;
	DIR *descriptors = opendir("/proc/self/fd");
	if (!descriptors)
		return fail(walk, KEEL_IO, "/proc does not tell which files are open");
	while ((entry = readdir(descriptors)) != NULL) {
		struct stat about;
		char *end;
		long fd = strtol(entry->d_name, &end, 10);
		if (end == entry->d_name || *end || fstat((int)fd, &about) != 0 || !S_ISREG(about.st_mode))
			continue;
		if (walk->open_count == room) {
			room = room ? room * 2 : 32;
			struct place *open = realloc(walk->open, room * sizeof *open);
			if (!open) {
				closedir(descriptors);
				return fail_system(walk, ENOMEM);
			}
			walk->open = open;
		}
		walk->open[walk->open_count++] = (struct place){about.st_dev, about.st_ino};
	}
	closedir(descriptors);
	return true;
}

static bool hash_root(struct walk *walk)
{
	int fd = open(walk->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the root itself may be a link */
	if (fd < 0 && errno == ENOENT)
		return fail(walk, KEEL_NOT_FOUND, "there is no such directory");
	if (fd < 0 && errno == ENOTDIR)
		return fail(walk, KEEL_INVALID_REQUEST, "it is not a directory");
	if (fd < 0)
		return fail_system(walk, errno);
	return hash_directory(walk, fd);
}

/* nil and an error that names the file, however long its path is. Returns 2. [-0, +2, m] */
static int push_failure(lua_State *L, const struct walk *walk)
{
	int top = lua_gettop(L);
	struct keel_error err = {.code = walk->code};
	const char *slash = walk->failed[0] && walk->root[strlen(walk->root) - 1] != '/' ? "/" : "";
	if (walk->code == KEEL_INVALID_REQUEST)
		snprintf(err.field, sizeof err.field, "path");
	keel_lua_fail(L, &err);
	lua_pushfstring(L, "%s%s%s", walk->root, slash, walk->failed);
	lua_pushfstring(L, "cannot hash %s: %s", lua_tostring(L, -1), walk->why);
	lua_setfield(L, -3, "message");
	lua_setfield(L, -2, "path");
	KEEL_LUA_PUSHED(L, top, 2);
	return 2;
}

/* hash_dir(path): the hash of a directory's contents, 64 hexadecimal digits. Blocks while it reads.
 * Parameters: path (string). Raises for other types and a zero byte in the path.
 * Fails with not_found, invalid_request (field "path": not a directory, or a file below it is open in this process), io
 * and no_memory; the error's `path` and message name the file. */
int keel_lua_hash_dir(lua_State *L)
{
	char digest[SHA256_DIGEST_STRING_LENGTH];
	struct keel_text path = keel_lua_check_text(L, 1, "path");
	luaL_argcheck(L, strlen(path.data) == path.size, 1, "path has a zero byte");
	struct walk *walk = lua_newuserdatauv(L, sizeof *walk, 0);
	walk->root = path.data;
	walk->open = NULL;
	walk->open_count = walk->size = 0;
	walk->path[0] = '\0';
	SHA256Init(&walk->whole);
	bool good = look_at_descriptors(walk) && hash_root(walk);
	free(walk->open);
	if (!good)
		return push_failure(L, walk);
	SHA256End(&walk->whole, digest);
	lua_pushstring(L, digest);
	return 1;
}
