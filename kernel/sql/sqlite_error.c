/* sqlite_error.c - what SQLite's result codes mean. Uses: room, error. */
#include "sql/sqlite_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/room.h"

/* Whether an error of a statement is about its use. Our statements are always the same and fit the schema: what SQLite
 * finds wrong with one otherwise (no such table, unknown function, a syntax error in an index) is in the file. */
static bool is_about_use(const char *message)
{
	return strncmp(message, "cannot ", 7) == 0 || strcmp(message, sqlite3_errstr(SQLITE_ERROR)) == 0;
}

enum keel_code sqlite_classify(int rc, const char *message)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return KEEL_NO_MEMORY;
	switch (rc & 0xFF) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return KEEL_BUSY;
	case SQLITE_NOMEM:
		return KEEL_NO_MEMORY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT: /* the domain checks first: what the schema refuses is damage */
		return KEEL_STORE_CORRUPT;
	case SQLITE_READONLY:
		return KEEL_STORE_READONLY;
	case SQLITE_FULL:
		return KEEL_STORE_FULL;
	case SQLITE_TOOBIG:
		return KEEL_LIMIT_TOO_LARGE;
	case SQLITE_ERROR:
		return is_about_use(message) ? KEEL_IO : KEEL_STORE_CORRUPT;
	default:
		return KEEL_IO;
	}
}

/* SQLite knows one way for a disk to be full (ENOSPC); a quota and a limit of the process are others. What the system
 * said is often gone when SQLite has cleaned up: then, under a limit, a write that failed for another reason than a
 * failing device has met it. */
static bool is_full(const struct sqlite_sql *sql, int rc)
{
	struct rlimit limit;
	int number = sql->db ? sqlite3_system_errno(sql->db) : 0;
	if ((rc & 0xFF) != SQLITE_IOERR || number == EIO)
		return false;
	if (number == EFBIG || number == EDQUOT || number == ENOSPC)
		return true;
	bool writes = rc == SQLITE_IOERR_WRITE || rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_TRUNCATE;
	return writes && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* A file system that was mounted for writing and cannot be written: an image that became read-only. */
static bool is_read_only(const struct sqlite_sql *sql, int rc)
{
	return sql->db && ((rc & 0xFF) == SQLITE_IOERR || (rc & 0xFF) == SQLITE_CANTOPEN) &&
		   sqlite3_system_errno(sql->db) == EROFS;
}

enum keel_code sqlite_fail(struct sqlite_sql *sql, int rc, struct keel_error *err)
{
	/* The connection's message belongs to the last call that failed on it: take it only if that was this one. */
	const char *message =
		sql->db && sqlite3_extended_errcode(sql->db) == rc ? sqlite3_errmsg(sql->db) : sqlite3_errstr(rc);
	const char *path = sql->db ? sqlite3_db_filename(sql->db, "main") : NULL;
	enum keel_code code = sqlite_classify(rc, message);
	/* Its log, or the index of that, cannot be made, where it could be opened. */
	int number = sql->db && (rc & 0xFF) == SQLITE_CANTOPEN ? sqlite3_system_errno(sql->db) : 0;
	if (path && keel_is_no_room(number)) {
		code = KEEL_STORE_FULL;
		message = keel_room_words(path, number);
	} else if (is_read_only(sql, rc)) {
		code = KEEL_STORE_READONLY;
		message = "its file system cannot be written (any more)";
	} else if (is_full(sql, rc)) {
		code = KEEL_STORE_FULL;
		message = "there is no room to write: the disk, a quota or a limit on the size of files (ulimit -f)";
	}
	if (rc == SQLITE_INTERRUPT) {
		message = "a statement took longer than any should";
		code = KEEL_LIMIT_TOO_LARGE;
	}
	if (code == KEEL_LIMIT_TOO_LARGE && sql->looks_max == SQLITE_LOOKS_OPENING)
		code = KEEL_STORE_CORRUPT;
	if (path && path[0])
		return keel_fail(err, code, "%s: %s", path, message);
	return keel_fail(err, code, "%s", message);
}
