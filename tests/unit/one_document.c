/* one_document.c - one document of a run, read alone: no larger than asked for, whatever others write meanwhile. */
#include "support.h"

#include <sqlite3.h>

static int statements; /* that the kernel has begun since it was set; a growth is written before the last of them */

static int before_statement(unsigned kind, void *context, void *statement, void *sql)
{
	(void)kind, (void)context, (void)sql;
	if (strstr(sqlite3_sql(statement), "SELECT r.run_id, ") == sqlite3_sql(statement) && statements++ == 0)
		raw("UPDATE runs SET kwargs = '\"' || printf('%.*c', 5000, 'x') || '\"'");
	return 0;
}

TEST(grows_between_the_looks)
{
	struct keel_run run = run_of("r", "t");
	struct keel_runs list = {0};
	sqlite3 *own = last_connection;
	int64_t size;
	SET(&run, KWARGS, kwargs, text("{}"));
	put(&run);
	statements = 0;
	sqlite3_trace_v2(own, SQLITE_TRACE_STMT, before_statement, NULL);
	succeed(keel_run_get_document(world.store, text("r"), KEEL_RUN_FIELD_KWARGS, 100, &list, &size, &why));
	sqlite3_trace_v2(own, 0, NULL, NULL);
	assert_int_equal(statements, 1);
	assert_int_equal(size, 2);
	assert_true(list.count == 1 && same_text(list.items[0].kwargs, text("{}")));
	succeed(keel_run_get_document(world.store, text("r"), KEEL_RUN_FIELD_KWARGS, 100, &list, &size, &why));
	assert_true(size == 5002 && list.count == 1 && !KEEL_RUN_GIVES(&list.items[0], KWARGS));
	keel_runs_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {WITH_STORE(grows_between_the_looks)};
	return cmocka_run_group_tests_name("one_document", tests, watch_connections, NULL);
}
