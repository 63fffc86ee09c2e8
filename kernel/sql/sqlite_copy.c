/* sqlite_copy.c - copying a SQLite database, making it smaller, and writing its log back. Uses: sqlite. */
#include "sql/sqlite_parts.h"

#include "base/error.h"

/* In steps, to be able to tell of them. The caller's transaction holds the picture: without it, each write of another
 * connection would start the copy anew. */
static enum keel_code copy_pages(struct sqlite_sql *sql, struct sqlite_sql *to,
								 void (*tell)(void *data, int64_t done, int64_t total), void *data,
								 struct keel_error *err)
{
	enum { STEP_PAGES = 256 }; /* a megabyte */
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", sql->db, "main");
	if (!backup)
		return sqlite_fail(to, sqlite3_extended_errcode(to->db), err);
	while (sqlite3_backup_step(backup, STEP_PAGES) == SQLITE_OK) {
		int64_t total = sqlite3_backup_pagecount(backup);
		tell(data, total - sqlite3_backup_remaining(backup), total);
	}
	int rc = sqlite3_backup_finish(backup);
	return rc == SQLITE_OK ? KEEL_OK : sqlite_fail(to, rc, err);
}

/* Memory would hold the whole database meanwhile; a file does, which the system removes whatever happens. */
static enum keel_code vacuum(struct sqlite_sql *sql, struct keel_error *err)
{
	enum keel_code code = sqlite_exec(sql, "PRAGMA temp_store = FILE", err);
	if (code == KEEL_OK)
		code = sqlite_exec(sql, "VACUUM", err);
	sqlite_exec(sql, "PRAGMA temp_store = MEMORY", NULL);
	return code;
}

/* Leaves out the pages that hold nothing. Nobody else knows of the copy: if this fails, it is thrown away. */
static enum keel_code drop_unused(struct sqlite_sql *copy, struct keel_error *err)
{
	struct keel_sql_size size;
	enum keel_code code = sqlite_size(&copy->head, &size, err);
	if (code != KEEL_OK || size.unused == 0)
		return code;
	sqlite3_db_config(copy->db, SQLITE_DBCONFIG_DEFENSIVE, 0, (int *)NULL);
	code = sqlite_exec(copy, "PRAGMA journal_mode = OFF", err);
	return code == KEEL_OK ? vacuum(copy, err) : code;
}

enum keel_code sqlite_copy(struct keel_sql *base, const char *path,
						   void (*tell)(void *data, int64_t done, int64_t total), void *data, struct keel_error *err)
{
	const struct keel_sql_config config = {.uri = path, .durability = KEEL_DURABILITY_FULL};
	struct keel_sql *to;
	enum keel_code code = base->driver->open(&config, &to, err);
	if (code != KEEL_OK)
		return code;
	code = base->driver->start(to, &config, err);
	sqlite_trust(sqlite_own(to)); /* it is empty, and gets what this store has */
	if (code == KEEL_OK)
		code = copy_pages(sqlite_own(base), sqlite_own(to), tell, data, err);
	/* As long as it has no log it is one file; making it ready for writing gives it one. */
	if (code == KEEL_OK)
		code = sqlite_exec(sqlite_own(to), "PRAGMA journal_mode = DELETE", err);
	if (code == KEEL_OK)
		code = drop_unused(sqlite_own(to), err);
	base->driver->close(to);
	return code;
}

enum keel_code sqlite_compact(struct keel_sql *base, struct keel_error *err)
{
	return vacuum(sqlite_own(base), err);
}

enum keel_code sqlite_write_back(struct keel_sql *base, int64_t *left, struct keel_error *err)
{
	struct sqlite_sql *sql = sqlite_own(base);
	int64_t page_size = 0;
	int frames = 0, done = 0;
	*left = 0;
	int rc = sqlite3_wal_checkpoint_v2(sql->db, "main", SQLITE_CHECKPOINT_TRUNCATE, &frames, &done);
	if (rc == SQLITE_OK)
		return KEEL_OK;
	/* Somebody reads or writes just now: what can be written back is. */
	if (rc == SQLITE_BUSY)
		rc = sqlite3_wal_checkpoint_v2(sql->db, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &done);
	if (rc != SQLITE_OK)
		return sqlite_fail(sql, rc, err);
	enum keel_code code = sqlite_int(sql, "PRAGMA page_size", &page_size, err);
	*left = (frames > done ? frames - done : 0) * page_size;
	return code;
}
