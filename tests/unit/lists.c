/* lists.c - listings of a thread and of what is in flight: order, limits, filters, going on. */
#include "support.h"

static void put_at(const char *run_id, const char *thread_id, int64_t created_at)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, CREATED_AT, created_at, created_at);
	put(&run);
}

static const char *ids_where(struct keel_inflight_query query)
{
	static struct keel_runs list; /* its memory is given back at once */
	if (!query.limit)
		query.limit = KEEL_LIST_MAX;
	succeed(keel_run_list_inflight(world.store, &query, &list, &why));
	const char *ids = ids_of(&list);
	keel_runs_clear(&list);
	return ids;
}

/* --- A thread ---------------------------------------------------------------------------------------------------- */

/* RUN-14 */
/* A thread lists its own runs, newest first, equal times in the order they came. */
TEST(threads_list_newest_first)
{
	put_at("old", "t", 10);
	put_at("new", "t", 30);
	put_at("mid1", "t", 20);
	put_at("mid2", "t", 20);
	put_at("mid3", "t", 20);
	put_at("else", "u", 40);
	assert_string_equal(ids_of_thread("t", 100), "new mid1 mid2 mid3 old");
	assert_string_equal(ids_of_thread("nobody", 100), "");
}

/* The limit cuts off the oldest. */
TEST(threads_list_up_to_a_limit)
{
	put_at("a", "t", 1);
	put_at("b", "t", 2);
	put_at("c", "t", 3);
	assert_string_equal(ids_of_thread("t", 1), "c");
	assert_string_equal(ids_of_thread("t", 2), "c b");
	assert_string_equal(ids_of_thread("t", KEEL_LIST_MAX), "c b a");
}

/* RUN-19 */
/* A listing for a user shows that user's runs only, and as many as the limit. */
TEST(threads_list_for_a_user)
{
	struct keel_runs list = {0};
	for (int i = 0; i < 10; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		struct keel_run run = run_of(id, "t");
		SET(&run, CREATED_AT, created_at, i);
		SET(&run, USER_ID, user_id, text(i % 2 ? "odd" : "even"));
		put(&run);
	}
	succeed(keel_run_list_by_thread(world.store, text("t"), text("odd"), 3, &list, &why));
	assert_string_equal(ids_of(&list), "r9 r7 r5");
	succeed(keel_run_list_by_thread(world.store, text("t"), text("none"), 3, &list, &why));
	assert_int_equal(list.count, 0);
	keel_runs_clear(&list);
}

/* A limit below 1 is a bad request, one above the maximum a limit; the list is empty then. */
TEST(limits_are_checked)
{
	struct keel_runs list = {0};
	struct keel_inflight_query query = {.limit = 0};
	put_pending("r", "t");
	succeed(keel_run_list_by_thread(world.store, text("t"), nothing, 5, &list, &why));
	refuse_field("limit", keel_run_list_by_thread(world.store, text("t"), nothing, 0, &list, &why));
	assert_int_equal(list.count, 0);
	refuse_field("limit", keel_run_list_by_thread(world.store, text("t"), nothing, INT64_MIN, &list, &why));
	refuse(LIMIT_TOO_LARGE, keel_run_list_by_thread(world.store, text("t"), nothing, 1001, &list, &why));
	assert_true(why.requested == 1001 && why.max == KEEL_LIST_MAX);
	refuse_field("limit", keel_run_list_inflight(world.store, &query, &list, &why));
	query.limit = INT64_MAX;
	refuse(LIMIT_TOO_LARGE, keel_run_list_inflight(world.store, &query, &list, &why));
	keel_runs_clear(&list);
}

/* --- In flight --------------------------------------------------------------------------------------------------- */

/* RUN-21 */
/* Pending and running runs are in flight; final ones are not, whichever way they got there. */
TEST(final_runs_are_not_in_flight)
{
	static const char *const ids[] = {"p", "r", "s", "e", "t", "i"};
	for (int status = 0; status < KEEL_RUN_STATUS_COUNT; status++)
		put_with_status(ids[status], "t", (enum keel_run_status)status);
	assert_string_equal(ids_inflight("t"), "p r");
	assert_int_equal(count_inflight("t"), 2);
	change_status("p", KEEL_RUN_RUNNING);
	change_status("r", KEEL_RUN_SUCCESS);
	assert_string_equal(ids_inflight(NULL), "p");
	assert_int_equal(count_inflight("t"), 1);
	assert_int_equal(count_inflight("other"), 0);
}

/* A thread's runs in flight come in the order they were admitted, whatever time they claim. */
TEST(threads_inflight_in_order_of_admission)
{
	put_at("a", "t", 30);
	put_at("b", "t", 10);
	put_at("c", "t", 20);
	assert_string_equal(ids_inflight("t"), "a b c");
}

/* Those of all threads come by age, equal times in the order they came. */
TEST(all_inflight_by_age)
{
	put_at("a", "t", 30);
	put_at("b", "u", 10);
	put_at("c", "v", 20);
	put_at("d", "t", 10);
	assert_string_equal(ids_inflight(NULL), "b d c a");
}

/* OWN-1 */
/* `before` takes what was created at that time or earlier. */
TEST(inflight_before_a_time)
{
	put_at("a", "t", 10);
	put_at("b", "t", 20);
	put_at("c", "t", 30);
	assert_string_equal(ids_where((struct keel_inflight_query){.bounded = true, .before = 20}), "a b");
	assert_string_equal(ids_where((struct keel_inflight_query){.bounded = true, .before = 9}), "");
	struct keel_inflight_query early = {.bounded = true, .before = 20, .thread_id = text("t")};
	assert_string_equal(ids_where(early), "a b");
}

/* A session's runs are found by it, across threads or within one. */
TEST(inflight_of_a_session)
{
	for (int i = 0; i < 6; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		struct keel_run run = run_of(id, i < 3 ? "t" : "u");
		SET(&run, SESSION_ID, session_id, 70 + i % 2);
		put(&run);
	}
	assert_string_equal(ids_where((struct keel_inflight_query){.session_id = 70}), "r0 r2 r4");
	assert_string_equal(ids_where((struct keel_inflight_query){.session_id = 71, .thread_id = text("t")}), "r1");
	assert_string_equal(ids_where((struct keel_inflight_query){.session_id = 99}), "");
}

/* Pages that go on behind the last id give every run once, in order, even when that run has ended meanwhile. */
TEST(inflight_in_pages)
{
	uint64_t chance = chance_start("pages");
	char whole[2][16 * 1024], page[16 * 1024] = "";
	for (int i = 0; i < 200; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		put_at(id, chance_below(&chance, 2) ? "t" : "u", chance_below(&chance, 20));
	}
	snprintf(whole[0], sizeof whole[0], "%s", ids_inflight(NULL));
	snprintf(whole[1], sizeof whole[1], "%s", ids_inflight("t"));
	for (int which = 0; which < 2; which++) {
		struct keel_inflight_query query = {.limit = 7, .thread_id = which ? text("t") : nothing};
		struct keel_runs list = {0};
		char last[16] = "";
		page[0] = '\0';
		do {
			query.after = last[0] ? text(last) : nothing;
			succeed(keel_run_list_inflight(world.store, &query, &list, &why));
			snprintf(page + strlen(page), sizeof page - strlen(page), "%s%s", page[0] && list.count ? " " : "",
					 ids_of(&list));
			if (list.count)
				snprintf(last, sizeof last, "%s", list.items[list.count - 1].run_id.data);
			if (list.count && which)
				change_status(last, KEEL_RUN_ERROR);
		} while (list.count == 7);
		keel_runs_clear(&list);
		assert_string_equal(page, whole[which]);
	}
}

/* When the run to go on behind was deleted, the listing starts over. */
TEST(inflight_after_a_deleted_run)
{
	bool deleted;
	put_pending("a", "t");
	put_pending("b", "t");
	succeed(keel_run_delete(world.store, text("a"), &deleted, &why));
	assert_string_equal(ids_where((struct keel_inflight_query){.after = text("a")}), "b");
	assert_string_equal(ids_where((struct keel_inflight_query){.after = text("a"), .thread_id = text("t")}), "b");
	refuse_field("after",
				 keel_run_list_inflight(world.store, &(struct keel_inflight_query){.limit = 1, .after = text("")},
										&(struct keel_runs){0}, &why));
}

static struct keel_run owned(const char *run_id, const char *thread_id, int64_t session)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, SESSION_ID, session_id, session);
	return run;
}

static void put_claimable(const char *run_id, const char *thread_id)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
}

/* Overdue is what is past its deadline or lease, and what has no owner and may not be claimed; nothing else. */
TEST(overdue_runs)
{
	struct keel_run late = owned("late", "a", 7), lapsed = owned("lapsed", "b", 7), fine = owned("fine", "c", 7);
	struct keel_run ended = owned("ended", "d", 7);
	SET(&late, DEADLINE, deadline, world.time);
	SET(&lapsed, LEASE_EXPIRES_AT, lease_expires_at, world.time);
	SET(&fine, DEADLINE, deadline, world.time + 1);
	SET(&fine, LEASE_EXPIRES_AT, lease_expires_at, world.time + 1);
	SET(&ended, DEADLINE, deadline, world.time);
	SET(&ended, STATUS, status, KEEL_RUN_SUCCESS);
	put(&lapsed);
	put(&fine);
	put(&ended);
	put_claimable("waiting", "q");
	put_pending("nobody's", "q");
	put(&late);
	assert_string_equal(ids_where((struct keel_inflight_query){.overdue = true}), "lapsed nobody's late");
	struct keel_inflight_query rest = {.overdue = true, .after = text("lapsed"), .limit = 1};
	assert_string_equal(ids_where(rest), "nobody's");
	world.time++;
	assert_string_equal(ids_where((struct keel_inflight_query){.overdue = true}), "lapsed fine nobody's late");
	raw("UPDATE runs SET created_at = created_at + 9 WHERE run_id = 'lapsed';"
		"UPDATE live SET created_at = created_at + 9 WHERE seq = (SELECT seq FROM runs WHERE run_id = 'lapsed')");
	struct keel_inflight_query older = {.overdue = true, .bounded = true, .before = world.time, .limit = 1};
	assert_string_equal(ids_where(older), "fine");
}

/* Held up is the first claimable run of a thread where somebody was asked to stop, or has not settled. */
TEST(held_up_runs)
{
	const char *winner;
	struct keel_run asked = owned("asked", "a", 7), stopped = owned("stopped", "b", 7), busy = owned("busy", "c", 7);
	struct keel_run delayed = run_of("delayed", "a"), urgent = run_of("urgent", "b");
	put(&asked);
	put(&stopped);
	put(&busy);
	SET(&delayed, CLAIMABLE, claimable, 1);
	SET(&delayed, SCHEDULED_AT, scheduled_at, world.time + 1);
	SET(&urgent, CLAIMABLE, claimable, 1);
	SET(&urgent, PRIORITY, priority, 1);
	put(&delayed);
	put_claimable("a1", "a");
	put_claimable("a2", "a");
	put_claimable("b1", "b");
	put(&urgent);
	put_claimable("c1", "c");
	assert_string_equal(ids_where((struct keel_inflight_query){.held_up = true}), "");
	succeed(keel_run_request_cancel(world.store, text("asked"), text("interrupt"), &winner, &why));
	raw("UPDATE live SET status = 5, finalizing = 1 WHERE seq = (SELECT seq FROM runs WHERE run_id = 'stopped');"
		"INSERT INTO stopping SELECT thread_id, seq FROM runs WHERE run_id = 'stopped'");
	assert_string_equal(ids_where((struct keel_inflight_query){.held_up = true}), "a1 urgent");
	world.time++;
	assert_string_equal(ids_where((struct keel_inflight_query){.held_up = true}), "delayed urgent");
}

/* Neither of the two is about one thread or owner. */
TEST(what_is_at_large_has_no_thread)
{
	struct keel_runs list = {0};
	struct keel_inflight_query queries[] = {{.overdue = true, .thread_id = text("t")},
											{.held_up = true, .thread_id = text("t")},
											{.overdue = true, .session_id = 1},
											{.held_up = true, .session_id = 1}};
	for (int i = 0; i < 4; i++) {
		queries[i].limit = 1;
		refuse_field(i < 2 ? "thread_id" : "session_id", keel_run_list_inflight(world.store, &queries[i], &list, &why));
	}
}

/* Owners of runs in flight are found one after the other, whatever they own. */
TEST(owners_of_runs_in_flight)
{
	int64_t session;
	static const int64_t owners[] = {70, 3, 70, 12};
	for (int i = 0; i < 4; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		struct keel_run run = owned(id, "t", owners[i]);
		if (i == 3)
			SET(&run, STATUS, status, KEEL_RUN_ERROR);
		put(&run);
	}
	put_claimable("free", "t");
	static const int64_t found[][2] = {{0, 3}, {3, 70}, {70, 0}, {INT64_MAX, 0}, {INT64_MIN, 3}};
	for (int i = 0; i < 5; i++) {
		succeed(keel_run_next_owner(world.store, found[i][0], &session, &why));
		assert_int_equal(session, found[i][1]);
	}
}

/* A thousand rows fit in one listing, and a list that was long can become short. */
TEST(long_lists)
{
	struct keel_runs list = {0};
	struct keel_inflight_query query = {.limit = KEEL_LIST_MAX};
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < KEEL_LIST_MAX + 1; i++) {
		char id[16];
		snprintf(id, sizeof id, "run-%04d", i);
		put_pending(id, "t");
	}
	succeed(keel_store_commit(world.store, &why));
	succeed(keel_run_list_inflight(world.store, &query, &list, &why));
	assert_int_equal(list.count, KEEL_LIST_MAX);
	for (size_t i = 0; i < list.count; i++)
		assert_int_equal(atoi(list.items[i].run_id.data + 4), i);
	query.limit = 1;
	succeed(keel_run_list_inflight(world.store, &query, &list, &why));
	assert_string_equal(ids_of(&list), "run-0000");
	assert_int_equal(count_inflight("t"), KEEL_LIST_MAX + 1);
	keel_runs_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(threads_list_newest_first),
		WITH_STORE(threads_list_up_to_a_limit),
		WITH_STORE(threads_list_for_a_user),
		WITH_STORE(limits_are_checked),
		WITH_STORE(final_runs_are_not_in_flight),
		WITH_STORE(threads_inflight_in_order_of_admission),
		WITH_STORE(all_inflight_by_age),
		WITH_STORE(inflight_before_a_time),
		WITH_STORE(inflight_of_a_session),
		WITH_STORE(inflight_in_pages),
		WITH_STORE(inflight_after_a_deleted_run),
		WITH_STORE(overdue_runs),
		WITH_STORE(held_up_runs),
		WITH_STORE(what_is_at_large_has_no_thread),
		WITH_STORE(owners_of_runs_in_flight),
		WITH_STORE(long_lists),
	};
	return cmocka_run_group_tests_name("lists", tests, NULL, NULL);
}
