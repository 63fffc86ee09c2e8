/* sqlite_log.c - how the write-ahead log is written: the frames of a commit at once. Uses: sqlite.
 *
 * SQLite writes each frame of its log in two calls, the header and the page, and a commit is some six frames. Here they
 * are held until the frame that ends the transaction is whole, and go to the file in one call.
 *
 *   header page header page header* page      * names the size of the database: this frame commits
 *   '------------- held -----------------' -> one write
 *
 * This changes nothing about what may be lost. Nobody reads a frame before the index of the log names it, and SQLite
 * writes the index after the frame that commits. Whatever else is done with the log (a read, a sync, a write elsewhere)
 * first writes what is held. A write that fails is told one call later than it was asked for, in the same transaction.
 * What a crash or the loss of power leaves of the frames is up to the disk, as it was before: their checksums tell.
 */
#include "sql/sqlite_parts.h"

#include <stdio.h>
#include <string.h>

enum {
	LOG_HEADER = 32,   /* bytes at the start of the log */
	FRAME_HEADER = 24, /* before each page */
	COMMITS_AT = 4,    /* in the header of a frame: four bytes, zeros unless it ends a transaction */
	ROOM = 32 * 1024   /* bytes that are held at most: 15 frames with pages of 2 KiB */
};

struct log_file {
	sqlite3_file head;
	sqlite3_file *real;
	unsigned char *held;
	int size;
	sqlite3_int64 place; /* where the held bytes belong */
	bool commits;        /* the last held header is of a frame that ends a transaction */
};

static struct log_file *own(sqlite3_file *file)
{
	return (struct log_file *)(void *)file;
}

/* Writes what is held. If that fails it is forgotten: SQLite undoes the transaction. */
static int write_held(struct log_file *log)
{
	int size = log->size;
	log->size = 0;
	log->commits = false;
	return size > 0 ? log->real->pMethods->xWrite(log->real, log->held, size, log->place) : SQLITE_OK;
}

static int log_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 place)
{
	struct log_file *log = own(file);
	bool is_header = size == FRAME_HEADER && place >= LOG_HEADER;
	bool follows = log->size > 0 && place == log->place + log->size;
	if (!follows || size > ROOM - log->size) {
		int rc = write_held(log);
		if (rc != SQLITE_OK)
			return rc;
		/* A page without its header before it, or one too large: not the way frames are written one after another. */
		if (!is_header)
			return log->real->pMethods->xWrite(log->real, bytes, size, place);
		log->place = place;
	}
	memcpy(log->held + log->size, bytes, (size_t)size);
	log->size += size;
	if (is_header) {
		static const unsigned char nothing[4];
		log->commits = memcmp((const unsigned char *)bytes + COMMITS_AT, nothing, sizeof nothing) != 0;
		return SQLITE_OK;
	}
	return log->commits ? write_held(log) : SQLITE_OK;
}

static int log_read(sqlite3_file *file, void *bytes, int size, sqlite3_int64 place)
{
	int rc = write_held(own(file));
	return rc == SQLITE_OK ? own(file)->real->pMethods->xRead(own(file)->real, bytes, size, place) : rc;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int rc = write_held(own(file));
	return rc == SQLITE_OK ? own(file)->real->pMethods->xTruncate(own(file)->real, size) : rc;
}

static int log_sync(sqlite3_file *file, int flags)
{
	int rc = write_held(own(file));
	return rc == SQLITE_OK ? own(file)->real->pMethods->xSync(own(file)->real, flags) : rc;
}

static int log_size(sqlite3_file *file, sqlite3_int64 *size)
{
	int rc = write_held(own(file));
	return rc == SQLITE_OK ? own(file)->real->pMethods->xFileSize(own(file)->real, size) : rc;
}

/* What is held now is of a transaction that did not commit. */
static int log_close(sqlite3_file *file)
{
	sqlite3_free(own(file)->held);
	return own(file)->real->pMethods->xClose(own(file)->real);
}

static int log_lock(sqlite3_file *file, int level)
{
	return own(file)->real->pMethods->xLock(own(file)->real, level);
}

static int log_unlock(sqlite3_file *file, int level)
{
	return own(file)->real->pMethods->xUnlock(own(file)->real, level);
}

static int log_check_lock(sqlite3_file *file, int *locked)
{
	return own(file)->real->pMethods->xCheckReservedLock(own(file)->real, locked);
}

static int log_control(sqlite3_file *file, int operation, void *argument)
{
	return own(file)->real->pMethods->xFileControl(own(file)->real, operation, argument);
}

static int log_sector(sqlite3_file *file)
{
	return own(file)->real->pMethods->xSectorSize(own(file)->real);
}

static int log_traits(sqlite3_file *file)
{
	return own(file)->real->pMethods->xDeviceCharacteristics(own(file)->real);
}

static const sqlite3_io_methods log_methods = {
	.iVersion = 1, /* the functions for shared and mapped memory are the database's, not the log's */
	.xClose = log_close,
	.xRead = log_read,
	.xWrite = log_write,
	.xTruncate = log_truncate,
	.xSync = log_sync,
	.xFileSize = log_size,
	.xLock = log_lock,
	.xUnlock = log_unlock,
	.xCheckReservedLock = log_check_lock,
	.xFileControl = log_control,
	.xSectorSize = log_sector,
	.xDeviceCharacteristics = log_traits,
};

/* Files that are no log are the system's own: nothing stands between them and SQLite. */
static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
	sqlite3_vfs *real = ((struct sqlite_files *)(void *)vfs)->real;
	if (!(flags & SQLITE_OPEN_WAL))
		return real->xOpen(real, name, file, flags, flags_out);
	struct log_file *log = own(file);
	*log = (struct log_file){.real = (sqlite3_file *)(void *)(log + 1), .held = sqlite3_malloc(ROOM)};
	int rc = log->held ? real->xOpen(real, name, log->real, flags, flags_out) : SQLITE_NOMEM;
	if (rc == SQLITE_OK)
		log->head.pMethods = &log_methods;
	else
		sqlite3_free(log->held);
	return rc;
}

int sqlite_join_frames(struct sqlite_files *files)
{
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);
	if (!real)
		return SQLITE_ERROR;
	files->vfs = *real;
	files->real = real;
	/* SQLite finds it by name when it attaches another file (VACUUM does). */
	snprintf(files->name, sizeof files->name, "keel-%p", (void *)files);
	files->vfs.zName = files->name;
	files->vfs.szOsFile = (int)sizeof(struct log_file) + real->szOsFile;
	files->vfs.xOpen = open_file;
	return sqlite3_vfs_register(&files->vfs, 0);
}
