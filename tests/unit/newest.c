/* newest.c - the listing of a store's newest runs. */
#include "support.h"

/* The ids of a listing, or the name of the code it fails with. */
static const char *listed(struct keel_run_query query)
{
	static struct keel_runs list;
	if (!query.limit)
		query.limit = KEEL_LIST_MAX;
	enum keel_code code = keel_run_list(world.store, &query, &list, &why);
	const char *ids = code == KEEL_OK ? ids_of(&list) : keel_code_name(code);
	keel_runs_clear(&list);
	return ids;
}

static void put_for(const char *run_id, const char *user_id, const char *kind)
{
	static int64_t now;
	struct keel_run run = run_of(run_id, "t");
	SET(&run, CREATED_AT, created_at, ++now);
	SET(&run, USER_ID, user_id, text(user_id));
	if (kind)
		SET(&run, OPERATION_KIND, operation_kind, text(kind));
	put(&run);
}

/* The last inserted first, whatever its thread and status, page by page; no reservations. */
TEST(the_newest_come_first)
{
	put_for("a", "u", NULL);
	put_for("b", "v", "run");
	put_for("r", "u", "delete");
	put_for("c", "u", NULL);
	change_status("b", KEEL_RUN_RUNNING);
	assert_string_equal(listed((struct keel_run_query){0}), "c b a");
	assert_string_equal(listed((struct keel_run_query){.limit = 2}), "c b");
	assert_string_equal(listed((struct keel_run_query){.limit = 2, .after = text("b")}), "a");
	assert_string_equal(listed((struct keel_run_query){.user_id = text("u")}), "c a");
	assert_string_equal(listed((struct keel_run_query){.by_status = true, .status = KEEL_RUN_RUNNING}), "b");
	assert_string_equal(listed((struct keel_run_query){.by_status = true}), "c a"); /* null is pending */
	assert_string_equal(listed((struct keel_run_query){.after = text("a")}), "");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("t"), .after = text("c")}), "b a");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("t"), .by_status = true}), "c a");
	put_for("same", "u", NULL);
	raw("UPDATE runs SET created_at = (SELECT created_at FROM runs WHERE run_id = 'c') WHERE run_id = 'same';"
		"UPDATE live SET created_at = (SELECT created_at FROM runs WHERE runs.seq = live.seq)");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("t"), .limit = 2}), "c same");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("t"), .after = text("c")}), "same b a");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("other")}), "");
}

TEST(bad_queries_are_refused)
{
	assert_string_equal(listed((struct keel_run_query){.after = text("none")}), "not_found");
	assert_string_equal(listed((struct keel_run_query){.user_id = text("")}), "invalid_request");
	assert_string_equal(listed((struct keel_run_query){.thread_id = text("")}), "invalid_request");
	assert_string_equal(listed((struct keel_run_query){.limit = -1}), "invalid_request");
	assert_string_equal(listed((struct keel_run_query){.limit = KEEL_LIST_MAX + 1}), "limit_too_large");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(the_newest_come_first),
		WITH_STORE(bad_queries_are_refused),
	};
	return cmocka_run_group_tests_name("newest", tests, NULL, NULL);
}
