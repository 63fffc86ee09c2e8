/* runs.c - rows: put, get, delete. */
#include "support.h"

/* --- New rows ---------------------------------------------------------------------------------------------------- */

/* RUN-1 */
/* A new row has the clock's time, fence 1, revision 1, no session, and an event of its own. */
TEST(new_rows_are_stamped)
{
	struct keel_run run = run_of("r", "t"), written;
	succeed(keel_run_put(world.store, &run, nothing, &written, &why));
	const struct keel_run *seen = row("r");
	assert_true(seen->created_at == world.time && seen->updated_at == world.time);
	assert_true(seen->fence == 1 && seen->revision == 1);
	assert_false(keel_run_set_meet(
		seen->valued, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_STARTED_AT, KEEL_RUN_FIELD_ENDED_AT)));
	assert_true(written.created_at == world.time && written.fence == 1 && written.revision == 1);
	assert_string_equal(kinds_of("r"), "run_created");
}

/* What the caller gives of times and fence is kept; the revision is the store's. */
TEST(given_stamps_are_kept)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, CREATED_AT, created_at, 5);
	SET(&run, UPDATED_AT, updated_at, 6);
	SET(&run, FENCE, fence, 7);
	SET(&run, REVISION, revision, 8);
	put(&run);
	assert_true(row("r")->created_at == 5 && row("r")->updated_at == 6 && row("r")->fence == 7);
	assert_int_equal(row("r")->revision, 1);
}

/* The event of a new row carries the caller's note; without one, the status if it is not pending. */
TEST(new_rows_carry_a_note)
{
	struct keel_run run = run_of("a", "t");
	succeed(keel_run_put(world.store, &run, text("{\"strategy\":\"reject\"}"), NULL, &why));
	assert_true(same_text(last_event().data, text("{\"strategy\":\"reject\"}")));
	put_with_status("b", "t", KEEL_RUN_RUNNING);
	assert_true(same_text(last_event().data, text("{\"status\":\"running\"}")));
	put_with_status("c", "t", KEEL_RUN_PENDING);
	assert_null(last_event().data.data);
	assert_true(same_text(last_event().thread_id, text("t")) && same_text(last_event().run_id, text("c")));
}

/* A new row needs an id and a thread, and good values; a refused one leaves no trace. */
TEST(new_rows_are_checked)
{
	struct keel_run run = run_of("r", NULL), no_id = {0};
	refuse_field("thread_id", keel_run_put(world.store, &run, nothing, NULL, &why));
	refuse_field("run_id", keel_run_put(world.store, &no_id, nothing, NULL, &why));
	run = run_of("r", "t");
	SET(&run, TOTAL_TOKENS, total_tokens, -1);
	refuse_field("total_tokens", keel_run_put(world.store, &run, nothing, NULL, &why));
	run = run_of("r", "t");
	refuse_field("note", keel_run_put(world.store, &run, text("\xFF"), NULL, &why));
	assert_false(is_there("r"));
	assert_int_equal(newest_event(), 0);
}

/* A text over its maximum is a limit, and nothing is written. */
TEST(texts_are_limited)
{
	char *large = calloc(1, KEEL_TEXT_MAX + 1);
	struct keel_run run = run_of("r", "t");
	SET(&run, METADATA, metadata, ((struct keel_text){large, KEEL_TEXT_MAX + 1}));
	refuse(LIMIT_TOO_LARGE, keel_run_put(world.store, &run, nothing, NULL, &why));
	assert_string_equal(why.field, "metadata");
	assert_true(why.requested == KEEL_TEXT_MAX + 1 && why.max == KEEL_TEXT_MAX);
	assert_false(is_there("r"));
	free(large);
}

/* A fence is at least 1, since 0 stands for nobody in particular, and leaves room to grow. */
TEST(fences_are_checked)
{
	static const int64_t bad[] = {0, -1, INT64_MAX};
	bool taken;
	struct keel_run run = run_of("r", "t");
	for (int i = 0; i < 3; i++) {
		SET(&run, FENCE, fence, bad[i]);
		refuse_field("fence", keel_run_put(world.store, &run, nothing, NULL, &why));
	}
	SET(&run, FENCE, fence, INT64_MAX / 2);
	SET(&run, LOSSES, losses, INT64_MAX);
	put(&run);
	struct keel_takeover takeover = {.status = KEEL_RUN_PENDING};
	succeed(keel_run_claim_for_takeover(world.store, text("r"), &takeover, &taken, &why));
	assert_true(taken && row("r")->fence == INT64_MAX / 2 + 1 && row("r")->losses == INT64_MAX);
}

/* Only a run that has ended has an end: put refuses one for a run in flight, new or there already. */
TEST(ends_are_checked)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, ENDED_AT, ended_at, 5);
	refuse_field("ended_at", keel_run_put(world.store, &run, nothing, NULL, &why));
	put_pending("r", "t");
	refuse_field("ended_at", keel_run_put(world.store, &run, nothing, NULL, &why));
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	refuse_field("ended_at", keel_run_put(world.store, &run, nothing, NULL, &why));
	run.status = KEEL_RUN_ERROR;
	put(&run);
	assert_int_equal(row("r")->ended_at, 5);
	run = run_of("r", NULL);
	SET(&run, ENDED_AT, ended_at, 6);
	put(&run);
	assert_int_equal(row("r")->ended_at, 6);
}

/* --- Merging ----------------------------------------------------------------------------------------------------- */

/* A second put merges: given fields are written, others left, the revision counts. */
TEST(put_merges)
{
	struct keel_run run = run_of("r", "t"), more = run_of("r", NULL), written;
	SET(&run, USER_ID, user_id, text("u"));
	put(&run);
	world.time += 10;
	SET(&more, ERROR, error, text("boom"));
	succeed(keel_run_put(world.store, &more, nothing, &written, &why));
	const struct keel_run *seen = row("r");
	assert_true(same_text(seen->user_id, text("u")) && same_text(seen->error, text("boom")));
	assert_true(seen->updated_at == world.time && seen->created_at == world.time - 10 && seen->revision == 2);
	assert_true(written.revision == 2 && written.updated_at == world.time && same_text(written.error, text("boom")));
	assert_string_equal(kinds_of("r"), "run_created");
}

/* With nothing given but the id, nothing changes. */
TEST(empty_puts_change_nothing)
{
	struct keel_run run = run_of("r", "t");
	put(&run);
	world.time += 10;
	put(&run);
	assert_true(row("r")->revision == 1 && row("r")->updated_at == world.time - 10);
	assert_int_equal(newest_event(), 1);
}

/* A run stays on its thread for ever. */
TEST(threads_cannot_change)
{
	struct keel_run run = run_of("r", "t"), moved = run_of("r", "other"), longer = run_of("r", "tt");
	put(&run);
	refuse_field("thread_id", keel_run_put(world.store, &moved, nothing, NULL, &why));
	refuse_field("thread_id", keel_run_put(world.store, &longer, nothing, NULL, &why));
	assert_true(same_text(row("r")->thread_id, text("t")));
}

/* A fence only grows. */
TEST(fences_only_grow)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, FENCE, fence, 5);
	put(&run);
	run.fence = 4;
	refuse(STALE_OWNER, keel_run_put(world.store, &run, nothing, NULL, &why));
	run.fence = 6;
	put(&run);
	assert_int_equal(row("r")->fence, 6);
}

/* What the schema requires and a caller gives as null is left as it was. */
TEST(required_fields_stay)
{
	struct keel_run run = run_of("r", "t");
	put(&run);
	run.given = keel_run_set_union(run.given, KEEL_RUN_FIELDS(KEEL_RUN_FIELD_CREATED_AT, KEEL_RUN_FIELD_UPDATED_AT,
															  KEEL_RUN_FIELD_FENCE, KEEL_RUN_FIELD_REVISION));
	put(&run);
	assert_true(row("r")->created_at == world.time && row("r")->fence == 1);
}

/* A change of status through put obeys the machine and leaves its event, with times stamped. */
TEST(put_changes_status)
{
	struct keel_run run = run_of("r", "t");
	put(&run);
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	world.time += 5;
	put(&run);
	assert_int_equal(row("r")->started_at, world.time);
	run.status = KEEL_RUN_SUCCESS;
	world.time += 5;
	put(&run);
	assert_true(row("r")->ended_at == world.time && row("r")->started_at == world.time - 5);
	run.status = KEEL_RUN_RUNNING;
	refuse(INVALID_TRANSITION, keel_run_put(world.store, &run, nothing, NULL, &why));
	assert_string_equal(kinds_of("r"), "run_created run_started run_finished");
}

/* A change of owner or place in the queue that is no change of status is an event of its own. */
TEST(put_moves)
{
	struct keel_run run = run_of("r", "t");
	put(&run);
	SET(&run, PRIORITY, priority, 9);
	put(&run);
	assert_string_equal(kinds_of("r"), "run_created run_rescheduled");
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	put(&run);
	assert_string_equal(kinds_of("r"), "run_created run_rescheduled run_started");
	run = run_of("r", "t");
	SET(&run, ATTEMPT, attempt, 2);
	SET(&run, FENCE, fence, row("r")->fence); /* the writer shows that it is his, and moves nothing */
	put(&run);
	assert_int_equal(row("r")->attempt, 2);
	assert_string_equal(kinds_of("r"), "run_created run_rescheduled run_started");
	SET(&run, FENCE, fence, row("r")->fence + 1);
	put(&run);
	assert_string_equal(kinds_of("r"), "run_created run_rescheduled run_started run_rescheduled");
}

/* --- Get and delete ---------------------------------------------------------------------------------------------- */

/* Another user's run is not there, nor is one that was never put. */
TEST(get_minds_the_user)
{
	struct keel_run run = run_of("r", "t");
	struct keel_runs list = {0};
	SET(&run, USER_ID, user_id, text("u"));
	put(&run);
	succeed(keel_run_get(world.store, text("r"), text("u"), &list, &why));
	assert_int_equal(list.count, 1);
	succeed(keel_run_get(world.store, text("r"), text("v"), &list, &why));
	assert_int_equal(list.count, 0);
	succeed(keel_run_get(world.store, text("x"), nothing, &list, &why));
	assert_int_equal(list.count, 0);
	keel_runs_clear(&list);
}

/* Ids that cannot be are refused, not looked for. */
TEST(ids_are_checked)
{
	struct keel_runs list = {0};
	bool deleted;
	refuse_field("run_id", keel_run_get(world.store, text(""), nothing, &list, &why));
	refuse_field("user_id", keel_run_get(world.store, text("r"), text("\n"), &list, &why));
	refuse_field("run_id", keel_run_delete(world.store, nothing, &deleted, &why));
}

/* A deleted run is gone, its events stay, and the deletion is one of them; a second time there is nothing to delete. */
TEST(delete_leaves_the_log)
{
	bool deleted;
	put_pending("r", "t");
	succeed(keel_run_delete(world.store, text("r"), &deleted, &why));
	assert_true(deleted && !is_there("r"));
	assert_string_equal(kinds_of("r"), "run_created run_deleted");
	assert_true(same_text(last_event().thread_id, text("t")));
	succeed(keel_run_delete(world.store, text("r"), &deleted, &why));
	assert_false(deleted);
	assert_int_equal(newest_event(), 2);
}

/* An id may be used again after its run was deleted. */
TEST(deleted_ids_are_free)
{
	bool deleted;
	put_with_status("r", "t", KEEL_RUN_SUCCESS);
	succeed(keel_run_delete(world.store, text("r"), &deleted, &why));
	put_pending("r", "other");
	assert_true(same_text(row("r")->thread_id, text("other")));
	assert_string_equal(kinds_of("r"), "run_created run_deleted run_created");
}

/* A list is good for many reads and needs one clearing; clearing twice is fine. */
TEST(lists_are_reused)
{
	struct keel_runs list = {0};
	put_pending("a", "t");
	put_pending("b", "t");
	for (int i = 0; i < 50; i++) {
		succeed(keel_run_get(world.store, text(i % 2 ? "a" : "b"), nothing, &list, &why));
		assert_string_equal(ids_of(&list), i % 2 ? "a" : "b");
	}
	keel_runs_clear(&list);
	keel_runs_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(new_rows_are_stamped),      WITH_STORE(given_stamps_are_kept),
		WITH_STORE(new_rows_carry_a_note),     WITH_STORE(new_rows_are_checked),
		WITH_STORE(texts_are_limited),         WITH_STORE(fences_are_checked),
		WITH_STORE(ends_are_checked),          WITH_STORE(put_merges),
		WITH_STORE(empty_puts_change_nothing), WITH_STORE(threads_cannot_change),
		WITH_STORE(fences_only_grow),          WITH_STORE(required_fields_stay),
		WITH_STORE(put_changes_status),        WITH_STORE(put_moves),
		WITH_STORE(get_minds_the_user),        WITH_STORE(ids_are_checked),
		WITH_STORE(delete_leaves_the_log),     WITH_STORE(deleted_ids_are_free),
		WITH_STORE(lists_are_reused),
	};
	return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
