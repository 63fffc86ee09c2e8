/* workers.c - runtimes, workers, transcripts and diagnostics, as C programs use them. */
#include "support.h"

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

static struct keel_workers workers;
static struct keel_transcript part;
static struct keel_diagnostics diagnostics;
static struct keel_runtime runtime;

static int open_runtime(void **state)
{
	if (world_open(state) != 0)
		return -1;
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	return 0;
}

static int close_all(void **state)
{
	keel_workers_clear(&workers);
	keel_transcript_clear(&part);
	keel_diagnostics_clear(&diagnostics);
	return world_close(state);
}
#define WITH_RUNTIME(test) cmocka_unit_test_setup_teardown(test, open_runtime, close_all)

static struct keel_worker_ref ref_of(const char *worker_id)
{
	return (struct keel_worker_ref){text("rt"), text(worker_id)};
}

static void create(const char *worker_id)
{
	struct keel_worker_request request = request_of(worker_id);
	bool reused;
	succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	assert_false(reused);
	assert_int_equal(workers.count, 1);
}

static enum keel_code send(const char *worker_id, const char *content, struct keel_input_ack *ack)
{
	struct keel_input input = {.role = text("user"), .content = text(content)};
	return keel_worker_send(world.store, text("rt"), ref_of(worker_id), &input, ack, &why);
}

static int64_t say_to(const char *worker_id, const char *content)
{
	struct keel_input_ack ack;
	succeed(send(worker_id, content, &ack));
	return ack.transcript_sequence;
}

static struct keel_worker_ack end(const char *worker_id, enum keel_worker_status status)
{
	struct keel_worker_ack ack;
	succeed(keel_worker_end(world.store, text("rt"), ref_of(worker_id), status, nothing, &ack, &why));
	return ack;
}

static const struct keel_runtime *look(void)
{
	succeed(keel_runtime_get(world.store, text("rt"), &runtime, &why));
	return &runtime;
}

static int64_t record(const char *code, const char *worker_id, const char *run_id)
{
	struct keel_diagnostic diagnostic = {.severity = text("info"),
										 .code = text(code),
										 .message = text("it is so"),
										 .worker_id = worker_id ? text(worker_id) : nothing,
										 .run_id = run_id ? text(run_id) : nothing};
	int64_t id;
	succeed(keel_diagnostic_record(world.store, text("rt"), &diagnostic, &id, &why));
	return id;
}

/* --- Runtimes ---------------------------------------------------------------------------------------------------- */

/* WORKER-10 */
/* Opening again changes what is said and nothing else; with nothing to say it writes nothing. */
TEST(opening_again)
{
	struct keel_runtime_options options = {.display_name = text("Mine"), .max_event_batch_items = 5};
	assert_string_equal(runtime.display_name, "rt");
	assert_int_equal(runtime.max_transcript_projection_items, KEEL_PROJECTION_DEFAULT);
	assert_int_equal(runtime.max_event_batch_items, KEEL_EVENTS_DEFAULT);
	succeed(keel_runtime_open(world.store, text("rt"), &options, &runtime, &why));
	world.options.readonly = true;
	reopen_store();
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	assert_string_equal(runtime.display_name, "Mine");
	assert_int_equal(runtime.max_event_batch_items, 5);
	assert_string_equal(kinds_of(NULL), "runtime_started");
	options.max_event_batch_items = 6;
	refuse(STORE_READONLY, keel_runtime_open(world.store, text("rt"), &options, &runtime, &why));
}

/* Ids, names and limits are checked; a refused runtime is not there. */
TEST(bad_runtimes)
{
	static const char *const names[] = {"", "a\nb", "\xFF"};
	struct keel_runtime_options options = {0};
	char long_id[KEEL_WORKER_ID_MAX + 2] = {0};
	memset(long_id, 'x', KEEL_WORKER_ID_MAX + 1);
	for (int i = 0; i < 3; i++) {
		options.display_name = text(names[i]);
		refuse_field("runtime_id", keel_runtime_open(world.store, text(names[i]), NULL, &runtime, &why));
		refuse_field("display_name", keel_runtime_open(world.store, text("x"), &options, &runtime, &why));
	}
	refuse_field("runtime_id", keel_runtime_open(world.store, text(long_id), NULL, &runtime, &why));
	options = (struct keel_runtime_options){.max_transcript_projection_items = -1};
	refuse(INVALID_REQUEST, keel_runtime_open(world.store, text("x"), &options, &runtime, &why));
	options.max_transcript_projection_items = KEEL_PROJECTION_MAX + 1;
	refuse(LIMIT_TOO_LARGE, keel_runtime_open(world.store, text("x"), &options, &runtime, &why));
	refuse(NOT_FOUND, keel_runtime_get(world.store, text("x"), &runtime, &why));
}

/* One after the other, in order of their ids. */
TEST(runtimes_are_listed)
{
	bool found;
	succeed(keel_runtime_open(world.store, text("a"), NULL, &runtime, &why));
	succeed(keel_runtime_next(world.store, nothing, &runtime, &found, &why));
	assert_true(found);
	assert_string_equal(runtime.runtime_id, "a");
	succeed(keel_runtime_next(world.store, text("a"), &runtime, &found, &why));
	assert_true(found);
	assert_string_equal(runtime.runtime_id, "rt");
	succeed(keel_runtime_next(world.store, text("rt"), &runtime, &found, &why));
	assert_false(found);
	refuse_field("after", keel_runtime_next(world.store, text(""), &runtime, &found, &why));
}

/* WORKER-9 */
/* Stopping ends what is active, with an event each; everything then is refused and changes nothing. */
TEST(stopping)
{
	struct keel_worker_request request = request_of("late");
	struct keel_input_ack ack;
	struct keel_worker_ack ended;
	int64_t event_id, again;
	bool reused;
	create("a");
	create("b");
	end("a", KEEL_WORKER_CANCELLED);
	succeed(keel_runtime_stop(world.store, text("rt"), &event_id, &why));
	succeed(keel_runtime_stop(world.store, text("rt"), &again, &why));
	assert_int_equal(again, event_id);
	assert_int_equal(newest_event(), event_id);
	assert_string_equal(kinds_of(NULL), "runtime_started worker_created worker_created worker_cancelled"
										" worker_stopped runtime_stopped");
	refuse(RUNTIME_STOPPED, keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	refuse(RUNTIME_STOPPED, send("a", "hi", &ack));
	refuse(RUNTIME_STOPPED,
		   keel_worker_end(world.store, text("rt"), ref_of("a"), KEEL_WORKER_STOPPED, nothing, &ended, &why));
	assert_int_equal(newest_event(), event_id);
	succeed(keel_runtime_start(world.store, text("rt"), &again, &why));
	assert_int_equal(again, event_id + 1);
	assert_int_equal(look()->stopped_worker_count, 1);
	assert_int_equal(runtime.cancelled_worker_count, 1);
	assert_int_equal(runtime.active_worker_count, 0);
}

/* In the caller's transaction all of it comes and goes with the transaction. */
TEST(transactions)
{
	int64_t event_id;
	create("a");
	succeed(keel_store_begin(world.store, &why));
	create("b");
	say_to("a", "hi");
	record("c", "a", NULL);
	succeed(keel_runtime_stop(world.store, text("rt"), &event_id, &why));
	keel_store_rollback(world.store);
	assert_false(look()->stopped);
	assert_int_equal(runtime.active_worker_count, 1);
	assert_int_equal(runtime.diagnostic_count, 0);
	assert_int_equal(say_to("a", "hi"), 1);
}

/* --- Workers ----------------------------------------------------------------------------------------------------- */

/* WORKER-2 */
/* A ref of another runtime is wrong, whatever else is; an unknown id is not found. */
TEST(refs)
{
	struct keel_worker_ref other = {text("other"), text("a")};
	create("a");
	refuse(WRONG_RUNTIME, keel_transcript_read(world.store, text("rt"), other, 0, 0, &part, &why));
	assert_string_equal(why.expected, "rt");
	assert_string_equal(why.actual, "other");
	refuse(NOT_FOUND, keel_transcript_read(world.store, text("rt"), ref_of("b"), 0, 0, &part, &why));
	refuse(NOT_FOUND, keel_worker_get(world.store, text("rt"), ref_of("b"), &workers, &why));
	succeed(keel_runtime_open(world.store, text("other"), NULL, &runtime, &why));
	refuse(NOT_FOUND, keel_worker_get(world.store, text("other"), other, &workers, &why));
}

/* A worker keeps its documents to the letter; an id is used once in a store. */
TEST(documents)
{
	struct keel_worker_request request = request_of("a");
	bool reused;
	request.config_bundle = text("{\"id\": 1}");
	request.requested_capability_count = 3;
	succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	succeed(keel_worker_get(world.store, text("rt"), ref_of("a"), &workers, &why));
	assert_true(same_text(workers.items[0].config_bundle, request.config_bundle));
	assert_true(same_text(workers.items[0].intent, request.intent));
	assert_int_equal(workers.items[0].requested_capability_count, 3);
	assert_int_equal(workers.items[0].created_at, world.time);
	refuse(CONFLICT, keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	request.worker_id = nothing;
	request.intent = nothing;
	refuse_field("intent", keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	request.intent = text("\xFF");
	refuse_field("intent", keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
	assert_int_equal(look()->active_worker_count, 1);
}

/* WORKER-6 */
/* The first end holds. */
TEST(ends)
{
	create("a");
	struct keel_worker_ack first = end("a", KEEL_WORKER_STOPPED), second = end("a", KEEL_WORKER_CANCELLED);
	assert_int_equal(second.status, KEEL_WORKER_STOPPED);
	assert_int_equal(second.event_id, first.event_id);
	assert_int_equal(newest_event(), first.event_id);
	assert_true(same_text(last_event().message, text("worker stopped")));
	refuse(INVALID_REQUEST, keel_worker_end(world.store, text("rt"), ref_of("a"), KEEL_WORKER_RUNNING, nothing,
											&(struct keel_worker_ack){0}, &why));
}

/* WORKER-11 */
/* A refused input leaves no entry and spends no event. */
TEST(bad_inputs)
{
	struct keel_input input = {.role = text("assistant"), .content = text("hi")};
	struct keel_input_ack ack;
	create("a");
	refuse_field("kind", keel_worker_send(world.store, text("rt"), ref_of("a"), &input, &ack, &why));
	refuse_field("content", send("a", " \xC2\xA0\xE3\x80\x80\n", &ack));
	refuse_field("content", send("a", "\xFF", &ack));
	end("a", KEEL_WORKER_STOPPED);
	refuse(INVALID_REQUEST, send("a", "hi", &ack));
	assert_int_equal(newest_event(), 3);
}

/* --- Transcripts ------------------------------------------------------------------------------------------------- */

/* WORKER-4 */
/* Entries are read in parts, from any place, under the runtime's limit. */
TEST(projections)
{
	struct keel_runtime_options options = {.max_transcript_projection_items = 3};
	char content[16];
	succeed(keel_runtime_open(world.store, text("rt"), &options, &runtime, &why));
	create("a");
	create("b");
	for (int i = 0; i < 10; i++) {
		snprintf(content, sizeof content, "%d", i);
		assert_int_equal(say_to("a", content), i + 1);
		say_to("b", "other");
	}
	for (int64_t start = 0; start < 13; start++) {
		succeed(keel_transcript_read(world.store, text("rt"), ref_of("a"), start, KEEL_LIMIT_OF_RUNTIME, &part, &why));
		assert_int_equal(part.count, start < 8 ? 3 : start < 10 ? 10 - start : 0);
		assert_int_equal(part.total_items, 10);
		for (size_t i = 0; i < part.count; i++)
			assert_int_equal(part.items[i].content.data[0], '0' + start + (int64_t)i);
	}
	refuse(LIMIT_TOO_LARGE, keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 4, &part, &why));
	refuse_field("limit", keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 0, &part, &why));
	refuse_field("start", keel_transcript_read(world.store, text("rt"), ref_of("a"), -1, 1, &part, &why));
	succeed(keel_transcript_read(world.store, text("rt"), ref_of("a"), INT64_MAX, 1, &part, &why));
}

/* WORKER-13 */
/* An entry that is gone, or has another number, is damage and not a shorter transcript. */
TEST(damaged_transcripts)
{
	bool found;
	create("a");
	for (int i = 0; i < 3; i++)
		say_to("a", "hi");
	world.damaged = true;
	raw("UPDATE transcripts SET sequence = 9 WHERE sequence = 2");
	refuse(STORE_CORRUPT, keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 3, &part, &why));
	assert_non_null(strstr(why.message, world.path));
	succeed(keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 1, &part, &why));
	raw("UPDATE workers SET status = 7");
	refuse(STORE_CORRUPT, keel_worker_get(world.store, text("rt"), ref_of("a"), &workers, &why));
	raw("UPDATE runtimes SET batch_max = 0");
	refuse(STORE_CORRUPT, keel_runtime_get(world.store, text("rt"), &runtime, &why));
	raw("UPDATE runtimes SET runtime_id = hex(zeroblob(100))");
	refuse(STORE_CORRUPT, keel_runtime_next(world.store, nothing, &runtime, &found, &why));
}

/* WORKER-13 */
/* So is one that is no entry, and one that is missing at the end. */
TEST(transcripts_that_end_early)
{
	create("a");
	for (int i = 0; i < 3; i++)
		say_to("a", "hi");
	world.damaged = true;
	raw("UPDATE transcripts SET event_id = 0 WHERE sequence = 3");
	refuse(STORE_CORRUPT, keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 3, &part, &why));
	succeed(keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 2, &part, &why));
	raw("DELETE FROM transcripts WHERE sequence = 3");
	refuse(STORE_CORRUPT, keel_transcript_read(world.store, text("rt"), ref_of("a"), 0, 3, &part, &why));
}

/* --- Diagnostics ------------------------------------------------------------------------------------------------- */

/* WORKER-3 */
/* It is about one of them, or about the runtime. */
TEST(about_one_subject)
{
	struct keel_diagnostic about = {.severity = text("info"), .code = text("c"), .message = text("m")};
	int64_t id;
	create("a");
	about.worker_id = text("a");
	about.run_id = text("r");
	refuse_field("subject", keel_diagnostic_record(world.store, text("rt"), &about, &id, &why));
	about.run_id = nothing;
	succeed(keel_diagnostic_record(world.store, text("rt"), &about, &id, &why));
}

/* WORKER-3 */
/* One row a code and subject: a worker, a run, the runtime; the same in another runtime is another. */
TEST(counted_by_code_and_subject)
{
	create("a");
	create("b");
	const int64_t ids[] = {record("c", "a", NULL), record("c", "b", NULL), record("c", NULL, "r"),
						   record("c", NULL, NULL), record("d", "a", NULL)};
	for (int i = 0; i < 5; i++)
		assert_int_equal(ids[i], i + 1);
	assert_int_equal(record("c", NULL, "r"), 3);
	assert_int_equal(record("c", "a", NULL), 1);
	succeed(keel_diagnostic_list(world.store, text("rt"), 0, 10, &diagnostics, &why));
	assert_int_equal(diagnostics.count, 5);
	assert_int_equal(diagnostics.items[0].count, 2);
	assert_true(same_text(diagnostics.items[1].worker_id, text("b")));
	assert_true(same_text(diagnostics.items[2].run_id, text("r")));
	succeed(keel_diagnostic_list(world.store, text("rt"), 2, 2, &diagnostics, &why));
	assert_int_equal(diagnostics.items[0].id, 3);
	assert_int_equal(look()->diagnostic_count, 5);
	succeed(keel_runtime_open(world.store, text("other"), NULL, &runtime, &why));
	succeed(keel_diagnostic_list(world.store, text("other"), 0, 10, &diagnostics, &why));
	assert_int_equal(diagnostics.count, 0);
}

/* --- Verify ------------------------------------------------------------------------------------------------------ */

/* WORKER-13 */
/* Every breach of what holds between these tables is found, and said of what. */
TEST(verify_finds)
{
	static const struct {
		const char *sql, *words;
		enum keel_code code;
	} breaches[] = {
		{"DELETE FROM workers WHERE worker_id = 'a'", "worker is gone: events of", KEEL_STORE_MISSING},
		{"DELETE FROM workers WHERE worker_id = 'a'", "worker is gone: transcript entry", KEEL_STORE_MISSING},
		{"DELETE FROM workers WHERE worker_id = 'a'", "worker or runtime is gone: diagnostic", KEEL_STORE_MISSING},
		{"DELETE FROM runtimes", "runtime is gone: worker", KEEL_STORE_MISSING},
		{"DELETE FROM transcripts WHERE sequence = 2", "entries 1 to its length: worker: a", KEEL_STORE_CORRUPT},
		{"UPDATE transcripts SET sequence = 0 WHERE sequence = 1", "entries 1 to its length", KEEL_STORE_CORRUPT},
		{"UPDATE workers SET status = 3", "unknown status", KEEL_STORE_CORRUPT},
		{"UPDATE workers SET ended_at = 5", "an end that does not go with it", KEEL_STORE_CORRUPT},
		{"UPDATE workers SET last_event_id = 99", "newest change is gone: worker: a", KEEL_STORE_MISSING},
		{"UPDATE transcripts SET event_id = 99 WHERE sequence = 2", "its event is gone", KEEL_STORE_MISSING},
		{"UPDATE runtimes SET active_count = 2", "counts its workers wrong: rt", KEEL_STORE_CORRUPT},
		{"UPDATE runtimes SET status = 1", "stopped runtime has an active worker: a", KEEL_STORE_CORRUPT},
		{"UPDATE runtimes SET diagnostic_count = 0", "counts its diagnostics wrong", KEEL_STORE_CORRUPT},
		{"UPDATE store SET event_low_water = 3", "low-water mark", KEEL_STORE_CORRUPT},
	};
	for (size_t i = 0; i < sizeof breaches / sizeof breaches[0]; i++) {
		struct keel_problems problems = {0};
		bool found = false;
		if (i > 0) {
			close_all(NULL);
			open_runtime(NULL);
		}
		create("a");
		say_to("a", "hi");
		say_to("a", "hi");
		record("c", "a", NULL);
		check_sound(world.store);
		world.damaged = true;
		raw(breaches[i].sql);
		succeed(keel_store_verify(world.store, &problems, &why));
		for (size_t p = 0; p < problems.count; p++)
			found = found || (problems.items[p].code == breaches[i].code &&
							  strstr(problems.items[p].text.data, breaches[i].words));
		if (!found)
			fail_msg("%s: nothing says %s", breaches[i].sql, breaches[i].words);
		keel_problems_clear(&problems);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RUNTIME(opening_again),
		WITH_RUNTIME(bad_runtimes),
		WITH_RUNTIME(runtimes_are_listed),
		WITH_RUNTIME(stopping),
		WITH_RUNTIME(transactions),
		WITH_RUNTIME(refs),
		WITH_RUNTIME(documents),
		WITH_RUNTIME(ends),
		WITH_RUNTIME(bad_inputs),
		WITH_RUNTIME(projections),
		WITH_RUNTIME(verify_finds),
		WITH_RUNTIME(damaged_transcripts),
		WITH_RUNTIME(transcripts_that_end_early),
		WITH_RUNTIME(about_one_subject),
		WITH_RUNTIME(counted_by_code_and_subject),
	};
	return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}
