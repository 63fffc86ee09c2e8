/* schema.c - a file whose schema is another than the migrations make is no store, however good its version looks. */
#include "support.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"

static void with_store_of_version(void)
{
	world_open(NULL);
	put_pending("r", "t");
	close_store();
	world.damaged = true;
}

/* Opening is refused, with these words, to write and to read. */
static void refused(const char *words)
{
	struct keel_store *store;
	for (int readonly = 0; readonly < 2; readonly++) {
		struct keel_store_options options = world.options;
		options.readonly = readonly;
		refuse(STORE_CORRUPT, keel_store_open(world.path, &options, &store, &why));
		if (!strstr(why.message, words) || !strstr(why.message, world.path))
			fail_msg("%s: %s", words, why.message);
	}
}

/* Writes the schema past SQLite, as a stranger would. */
static void rewrite(const char *change, const char *words)
{
	char sql[1024];
	snprintf(sql, sizeof sql, "PRAGMA writable_schema = ON; %s; PRAGMA writable_schema = RESET", change);
	with_store_of_version();
	raw(sql);
	refused(words);
	world_close(NULL);
}

static void refused_after(const char *sql, const char *words)
{
	with_store_of_version();
	raw(sql);
	refused(words);
	world_close(NULL);
}

/* F-50 */
/* What stands beside our tables and indexes. */
TEST(strange_objects)
{
	refused_after("CREATE TABLE more (a)", "has a strange table more");
	refused_after("CREATE VIEW v AS SELECT * FROM runs", "has a strange view v");
	refused_after("CREATE TRIGGER bad AFTER INSERT ON events BEGIN DELETE FROM runs; END", "has a strange trigger bad");
	refused_after("CREATE INDEX slow ON runs (printf('%.*c', 1000, run_id))", "has a strange index slow");
	refused_after("CREATE VIRTUAL TABLE f USING fts5(x)", "has a strange table f");
}

/* F-50 */
/* What is missing, or is another: a column, a check, a default, a generated column, STRICT, AUTOINCREMENT. */
TEST(changed_objects)
{
	refused_after("DROP TABLE leases", "lacks the table leases");
	refused_after("DROP INDEX runs_by_thread", "lacks the index runs_by_thread");
	refused_after("DROP INDEX runs_by_thread; CREATE INDEX runs_by_thread ON runs (thread_id)",
				  "has another index runs_by_thread");
	refused_after("ALTER TABLE leases ADD COLUMN extra INTEGER", "has another table leases");
	refused_after("ALTER TABLE runs ADD COLUMN big TEXT GENERATED ALWAYS AS (printf('%.*c', 900000000, 'x')) VIRTUAL",
				  "has another table runs");
	refused_after("ALTER TABLE outcomes RENAME COLUMN error TO failure", "has another table outcomes");
	rewrite("UPDATE sqlite_schema SET sql = replace(sql, ' AUTOINCREMENT', '') WHERE name = 'sessions'",
			"has another table sessions");
	rewrite("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'sessions'",
			"has another table sessions");
	rewrite("UPDATE sqlite_schema SET sql = replace(sql, 'first_human_message  TEXT', 'first_human_message  TEXT"
			" GENERATED ALWAYS AS (printf(''%.*c'', 900000000, ''x'')) VIRTUAL') WHERE name = 'outcomes'",
			"has another table outcomes");
	rewrite("UPDATE sqlite_schema SET sql = replace(sql, 'run_id               TEXT NOT NULL UNIQUE',"
			" 'run_id TEXT NOT NULL UNIQUE CHECK (length(randomblob(900000000)) > 0)') WHERE name = 'runs'",
			"has another table runs");
}

/* F-50 */
/* What SQLite makes by itself is no stranger's: statistics, and the store after VACUUM. A table by that name that is
 * another is. */
TEST(sqlites_own_objects)
{
	with_store_of_version();
	raw("ANALYZE; VACUUM");
	world.store = open_another();
	check_sound(world.store);
	put_pending("r2", "t");
	world_close(NULL);
	rewrite(
		"UPDATE sqlite_schema SET sql = 'CREATE TABLE sqlite_sequence(name,seq,more)' WHERE name = 'sqlite_sequence'",
		"has a strange table sqlite_sequence");
	rewrite("UPDATE sqlite_schema SET name = 'mine' WHERE name LIKE 'sqlite_autoindex_runs%'", "mine");
}

/* F-50 */
/* The statistics are read before anything can be compared: that does not take for ever. */
TEST(endless_statistics)
{
	struct keel_store *store;
	with_store_of_version();
	raw("ANALYZE; PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE sqlite_stat1(tbl,idx,"
		"stat AS (printf(''%.*c'', 900000000, ''x'')))' WHERE name = 'sqlite_stat1'; PRAGMA writable_schema = RESET");
	struct timespec before, after;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	refuse(STORE_CORRUPT, keel_store_open(world.path, &world.options, &store, &why));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true(after.tv_sec - before.tv_sec < 10);
	world_close(NULL);
}

/* F-50 */
/* A version that is not known is told first, whatever the schema is; and so is another application's database. */
TEST(versions_come_first)
{
	struct keel_store *store;
	with_store_of_version();
	raw("CREATE TABLE more (a); PRAGMA user_version = 1000");
	refuse(STORE_VERSION, keel_store_open(world.path, &world.options, &store, &why));
	raw("PRAGMA user_version = 0");
	refuse(STORE_CORRUPT, keel_store_open(world.path, &world.options, &store, &why));
	world_close(NULL);
}

/* F-50 */
/* A file that is to be brought up to date is compared before that is kept: a stranger's stays as it is. */
TEST(strangers_are_not_migrated)
{
	struct keel_store *store;
	world_open(NULL);
	close_store();
	world.damaged = true;
	unlink(world.path);
	raw("CREATE TABLE more (a); PRAGMA application_id = 0x4B45454C");
	refuse(STORE_CORRUPT, keel_store_open(world.path, &world.options, &store, &why));
	assert_int_equal(raw_number("SELECT count(*) FROM sqlite_schema"), 1);
	world_close(NULL);
}

/* F-51 */
/* A schema that is changed while the store is open is found by verify. */
TEST(verify_compares)
{
	struct keel_problems problems = {0};
	world_open(NULL);
	raw("CREATE TABLE more (a)");
	succeed(keel_store_verify(world.store, &problems, &why));
	assert_int_equal(problems.count, 1);
	assert_non_null(strstr(problems.items[0].text.data, "has a strange table more"));
	keel_problems_clear(&problems);
	world.damaged = true;
	world_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(strange_objects),    ALONE(changed_objects),     ALONE(sqlites_own_objects),
		ALONE(endless_statistics), ALONE(versions_come_first), ALONE(strangers_are_not_migrated),
		ALONE(verify_compares),
	};
	return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
