/* sqlite_contents.c - what is in the file of a SQLite database, past its log. Uses: sqlite.
 *
 * It is read through SQLite's own descriptor: closing another one would drop the locks of the process.
 */
#include "sql/sqlite_parts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"

enum {
	LARGEST_PAGE = 65536,
	HEADER = 100,
	APPLICATION_AT = 68, /* in the header */
	PAGE_SIZE_AT = 16,   /* where the header of the file tells it, in two bytes; 1 means the largest */
	LOG_HEADER = 32      /* bytes of a log without content */
};

bool sqlite_has_log(struct keel_sql *sql)
{
	const char *path = sqlite3_db_filename(sqlite_own(sql)->db, "main");
	struct stat log;
	/* The log's name follows the database's in SQLite's memory; see sqlite3_filename_wal. */
	return path && path[0] && stat(sqlite3_filename_wal(path), &log) == 0 && log.st_size > LOG_HEADER;
}

/* SQLite itself notices only when the missing part is read. */
enum keel_code sqlite_check_size(struct sqlite_sql *sql, struct keel_error *err)
{
	const char *path = sqlite3_db_filename(sql->db, "main");
	struct stat file;
	int64_t pages, page_size;
	if (!path || !path[0] || stat(path, &file) != 0 || file.st_size == 0)
		return KEEL_OK;
	/* Somebody may be creating it: what is not empty has a header, which the count reads. */
	enum keel_code code = sqlite_int_once(sql, "PRAGMA page_count", &pages, err);
	if (code == KEEL_OK)
		code = sqlite_int_once(sql, "PRAGMA page_size", &page_size, err);
	if (code != KEEL_OK)
		return code;
	if (!sqlite_has_log(&sql->head) && page_size > 0 && file.st_size % page_size != 0)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the file was truncated", path);
	return KEEL_OK;
}

/* Reads from the file itself, past the log. */
static bool read_file(struct sqlite_sql *sql, int64_t place, void *bytes, int size)
{
	sqlite3_file *file = NULL;
	if (sqlite3_file_control(sql->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file ||
		!file->pMethods)
		return false;
	return file->pMethods->xRead(file, bytes, size, place) == SQLITE_OK;
}

bool sqlite_holds(struct keel_sql *base, int64_t page, struct keel_text text)
{
	struct sqlite_sql *sql = sqlite_own(base);
	unsigned char size[2], bytes[LARGEST_PAGE];
	if (page < 1 || page > INT32_MAX || !read_file(sql, PAGE_SIZE_AT, size, sizeof size))
		return false;
	int page_size = size[0] << 8 | size[1];
	page_size = page_size == 1 ? LARGEST_PAGE : page_size;
	return page_size >= SQLITE_SMALLEST_FILE && page_size <= LARGEST_PAGE &&
		   read_file(sql, (page - 1) * page_size, bytes, page_size) &&
		   memmem(bytes, (size_t)page_size, text.data, text.size);
}

enum keel_code sqlite_find(struct keel_sql *sql, const char *table, struct keel_text text, int64_t *page,
						   struct keel_error *err)
{
	char select[128];
	snprintf(select, sizeof select, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
	enum keel_code code = sqlite_int_once(sqlite_own(sql), select, page, err);
	if (code != KEEL_OK || !sqlite_holds(sql, *page, text))
		*page = 0;
	return code;
}

bool sqlite_is_foreign(struct keel_sql *sql)
{
	static const char magic[] = "SQLite format 3";
	unsigned char header[HEADER];
	if (!read_file(sqlite_own(sql), 0, header, sizeof header) || memcmp(header, magic, sizeof magic) != 0)
		return false;
	const unsigned char *id = header + APPLICATION_AT;
	uint32_t application = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
	return application != SQLITE_APPLICATION_ID;
}

bool sqlite_has_moved(struct keel_sql *sql)
{
	int moved = 0;
	return sqlite3_file_control(sqlite_own(sql)->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

void sqlite_leave_log(struct keel_sql *sql)
{
	sqlite3_db_config(sqlite_own(sql)->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
}

enum keel_code sqlite_size(struct keel_sql *base, struct keel_sql_size *size, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	int64_t pages, page_size = 0, unused = 0;
	enum keel_code code = sqlite_int(sql, "PRAGMA page_count", &pages, err);
	if (code == KEEL_OK)
		code = sqlite_int(sql, "PRAGMA page_size", &page_size, err);
	if (code == KEEL_OK)
		code = sqlite_int(sql, "PRAGMA freelist_count", &unused, err);
	size->bytes = pages * page_size;
	size->unused = unused * page_size;
	return code;
}
