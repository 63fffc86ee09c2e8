/* status.c - changes of status, completion and progress. */
#include "support.h"

static struct keel_run outcome(enum keel_run_status status, const char *error)
{
	struct keel_run fields = {0};
	SET(&fields, STATUS, status, status);
	if (error)
		SET(&fields, ERROR, error, text(error));
	return fields;
}

static struct keel_run tokens(int64_t count)
{
	struct keel_run fields = {0};
	SET(&fields, TOTAL_TOKENS, total_tokens, count);
	return fields;
}

static bool complete(struct keel_run fields)
{
	bool found;
	succeed(keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why));
	return found;
}

static bool progress(struct keel_run fields)
{
	bool found;
	succeed(keel_run_progress(world.store, text("r"), &fields, &found, NULL, &why));
	return found;
}

/* --- update_status ----------------------------------------------------------------------------------------------- */

/* RUN-3 */
/* From pending over running to success, each step is stamped, counted and logged. */
TEST(a_run_runs)
{
	put_pending("r", "t");
	world.time += 10;
	change_status("r", KEEL_RUN_RUNNING);
	assert_true(row("r")->started_at == world.time && row("r")->updated_at == world.time && row("r")->revision == 2);
	world.time += 10;
	change_status("r", KEEL_RUN_SUCCESS);
	assert_true(row("r")->ended_at == world.time && row("r")->started_at == world.time - 10);
	assert_true(row("r")->revision == 3 && row("r")->created_at == world.time - 20);
	assert_string_equal(kinds_of("r"), "run_created run_started run_finished");
}

/* What was written comes back to the caller. */
TEST(written_fields_come_back)
{
	struct keel_status_change change = {.status = KEEL_RUN_ERROR, .error = text("boom"), .stop_reason = text("bored")};
	struct keel_run written;
	bool found;
	put_pending("r", "t");
	world.time += 10;
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, &written, &why));
	assert_true(found && written.status == KEEL_RUN_ERROR && written.revision == 2 && written.ended_at == world.time);
	assert_true(same_text(written.error, text("boom")) && same_text(written.stop_reason, text("bored")));
	assert_false(KEEL_RUN_GIVES(&written, STARTED_AT));
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, &written, &why));
	assert_true(found && keel_run_set_is_empty(written.given));
}

/* RUN-8 */
/* An error and a reason are stored and told; a second final write with another text changes nothing. */
TEST(errors_are_stored)
{
	struct keel_status_change change = {.status = KEEL_RUN_ERROR, .error = text("a \"quoted\" €\n")};
	bool found;
	put_pending("r", "t");
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_true(same_text(row("r")->error, text("a \"quoted\" €\n")));
	assert_true(same_text(last_event().data, text("{\"status\":\"error\",\"error\":\"a \\\"quoted\\\" €\\u000a\"}")));
	change.error = text("another");
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_true(same_text(row("r")->error, text("a \"quoted\" €\n")));
	assert_int_equal(newest_event(), 2);
}

/* A start tells who started it: the fence, and the session if there is one. */
TEST(starts_tell_the_owner)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, FENCE, fence, 4);
	SET(&run, SESSION_ID, session_id, 9);
	put(&run);
	change_status("r", KEEL_RUN_RUNNING);
	assert_true(same_text(last_event().data, text("{\"fence\":4,\"session_id\":9}")));
	put_pending("s", "t");
	change_status("s", KEEL_RUN_RUNNING);
	assert_true(same_text(last_event().data, text("{\"fence\":1}")));
}

/* A run that is not there is not found, and that is no failure. */
TEST(missing_runs_are_not_found)
{
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	bool found = true;
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_false(found);
	assert_false(complete(outcome(KEEL_RUN_SUCCESS, NULL)));
	assert_false(progress(tokens(1)));
	assert_int_equal(newest_event(), 0);
}

/* OWN-8 */
/* A writer with another fence than the row's is told so and changes nothing, by every way there is. */
TEST(stale_owners_are_refused)
{
	struct keel_run run = run_of("r", "t"), fields = outcome(KEEL_RUN_ERROR, "late");
	struct keel_status_change change = {.status = KEEL_RUN_ERROR, .fence = 4};
	bool found;
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	SET(&run, FENCE, fence, 5);
	put(&run);
	refuse(STALE_OWNER, keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	SET(&fields, FENCE, fence, 6);
	refuse(STALE_OWNER, keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why));
	fields = tokens(7);
	SET(&fields, FENCE, fence, 4);
	refuse(STALE_OWNER, keel_run_progress(world.store, text("r"), &fields, &found, NULL, &why));
	assert_false(found);
	assert_true(row("r")->revision == 1 && status_of("r") == KEEL_RUN_RUNNING && newest_event() == 1);
	change.fence = 5;
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
}

/* The first request to cancel holds: a later change of status does not replace its action. */
TEST(first_cancel_holds)
{
	struct keel_status_change change = {.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("interrupt")};
	const char *winner;
	bool found;
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	succeed(keel_run_request_cancel(world.store, text("r"), text("rollback"), &winner, &why));
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_true(same_text(row("r")->cancel_action, text("rollback")));
}

/* --- Completion -------------------------------------------------------------------------------------------------- */

/* A completion stores outcome and counters at once, with one event. */
TEST(completion_stores_everything)
{
	struct keel_run fields = outcome(KEEL_RUN_ERROR, "boom");
	SET(&fields, ERROR_CODE, error_code, text("E1"));
	SET(&fields, EXIT_CODE, exit_code, -3);
	SET(&fields, TOTAL_TOKENS, total_tokens, 12);
	SET(&fields, LAST_AI_MESSAGE, last_ai_message, text("bye"));
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	assert_true(complete(fields));
	const struct keel_run *run = row("r");
	assert_true(run->status == KEEL_RUN_ERROR && run->exit_code == -3 && run->total_tokens == 12);
	assert_true(same_text(run->error_code, text("E1")) && same_text(run->last_ai_message, text("bye")));
	assert_string_equal(kinds_of("r"), "run_created run_finished");
}

/* RUN-34 */
/* A completion never replaces a different final status or its error, but its counters are kept. */
TEST(completion_spares_a_final_status)
{
	struct keel_run fields = outcome(KEEL_RUN_SUCCESS, "late"), run = run_of("r", "t");
	SET(&run, STATUS, status, KEEL_RUN_INTERRUPTED);
	SET(&run, ERROR, error, text("first"));
	put(&run);
	SET(&fields, TOTAL_TOKENS, total_tokens, 7);
	SET(&fields, STOP_REASON, stop_reason, text("late"));
	assert_true(complete(fields));
	assert_true(status_of("r") == KEEL_RUN_INTERRUPTED && row("r")->total_tokens == 7);
	assert_true(same_text(row("r")->error, text("first")) && !row("r")->stop_reason.data);
	assert_int_equal(newest_event(), 1);
}

/* A second completion with the same status keeps the counters and adds no event. */
TEST(completion_can_be_repeated)
{
	struct keel_run fields = outcome(KEEL_RUN_SUCCESS, NULL);
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	assert_true(complete(fields));
	SET(&fields, TOTAL_TOKENS, total_tokens, 9);
	assert_true(complete(fields));
	assert_true(row("r")->total_tokens == 9);
	assert_string_equal(kinds_of("r"), "run_created run_finished");
}

/* Fields that are left out are left alone; null empties one. */
TEST(completion_leaves_omitted_fields)
{
	struct keel_run fields = tokens(5), more = {0}, empty = {.given = KEEL_RUN_FIELDS(KEEL_RUN_FIELD_TOTAL_TOKENS)};
	SET(&more, MESSAGE_COUNT, message_count, 3);
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	complete(fields);
	complete(more);
	assert_true(row("r")->total_tokens == 5 && row("r")->message_count == 3);
	complete(empty);
	assert_true(row("r")->total_tokens == 0 && row("r")->message_count == 3);
}

/* A completion cannot carry anything else. */
TEST(completion_is_checked)
{
	struct keel_run fields = outcome(KEEL_RUN_SUCCESS, NULL);
	bool found;
	SET(&fields, USER_ID, user_id, text("u"));
	refuse_field("user_id", keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why));
	fields = tokens(-1);
	refuse_field("total_tokens", keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why));
	fields = outcome(KEEL_RUN_SUCCESS, NULL);
	refuse_field("status", keel_run_progress(world.store, text("r"), &fields, &found, NULL, &why));
	refuse_field("run_id", keel_run_complete(world.store, text("\t"), &fields, &found, NULL, &why));
}

/* --- Progress ---------------------------------------------------------------------------------------------------- */

/* RUN-34 */
/* Progress changes counters only while the run is running, and never leaves an event. */
TEST(progress_needs_a_running_run)
{
	for (int status = 0; status < KEEL_RUN_STATUS_COUNT; status++) {
		bool deleted;
		put_with_status("r", "t", (enum keel_run_status)status);
		int64_t events = newest_event();
		assert_true(progress(tokens(8)));
		assert_int_equal(row("r")->total_tokens, status == KEEL_RUN_RUNNING ? 8 : 0);
		assert_int_equal(row("r")->revision, status == KEEL_RUN_RUNNING ? 2 : 1);
		assert_int_equal(newest_event(), events);
		succeed(keel_run_delete(world.store, text("r"), &deleted, &why));
	}
}

/* Progress leaves omitted fields alone, and moves the time of the last change. */
TEST(progress_leaves_omitted_fields)
{
	struct keel_run more = {0};
	SET(&more, MODEL_NAME, model_name, text("big"));
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	progress(tokens(5));
	world.time += 3;
	progress(more);
	assert_true(row("r")->total_tokens == 5 && same_text(row("r")->model_name, text("big")));
	assert_int_equal(row("r")->updated_at, world.time);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_run_runs),
		WITH_STORE(written_fields_come_back),
		WITH_STORE(errors_are_stored),
		WITH_STORE(starts_tell_the_owner),
		WITH_STORE(missing_runs_are_not_found),
		WITH_STORE(stale_owners_are_refused),
		WITH_STORE(first_cancel_holds),
		WITH_STORE(completion_stores_everything),
		WITH_STORE(completion_spares_a_final_status),
		WITH_STORE(completion_can_be_repeated),
		WITH_STORE(completion_leaves_omitted_fields),
		WITH_STORE(completion_is_checked),
		WITH_STORE(progress_needs_a_running_run),
		WITH_STORE(progress_leaves_omitted_fields),
	};
	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
