/* events.c - the log: ids, pages, filters, odd texts. */
#include "support.h"

enum { KINDS = 4, NAMES = 3, LOG = 400 };

static struct keel_events page;

/* Reads a page into `page`; returns where to go on. */
static int64_t read_page(struct keel_event_query query)
{
	if (!query.limit)
		query.limit = KEEL_EVENTS_MAX;
	if (!query.next_event_id)
		query.next_event_id = 1;
	succeed(keel_event_read(world.store, &query, &page, &why));
	return page.next_event_id;
}

static int clear_page(void **state)
{
	keel_events_clear(&page);
	return world_close(state);
}
#define PAGED(test) cmocka_unit_test_setup_teardown(test, world_open, clear_page)

static struct keel_text some_name(uint64_t *chance, const char *const names[])
{
	int64_t which = chance_below(chance, NAMES + 1);
	return which == NAMES ? nothing : text(names[which]);
}

static const char *const kinds[KINDS] = {"tick", "tock", "bell", "note"};
static const char *const runs[NAMES] = {"r1", "r2", "r3"};
static const char *const threads[NAMES] = {"t1", "t2", "t3"};
static const char *const runtimes[NAMES] = {"a", "b", "c"};

static struct keel_event random_event(uint64_t *chance)
{
	return (struct keel_event){.kind = text(kinds[chance_below(chance, KINDS)]),
							   .run_id = some_name(chance, runs),
							   .thread_id = some_name(chance, threads),
							   .runtime_id = some_name(chance, runtimes)};
}

/* A filter by the plainest means. */
static bool passes(const struct keel_event_query *query, const struct keel_event *event)
{
	bool kind = query->kinds_count == 0;
	for (size_t i = 0; i < query->kinds_count; i++)
		kind = kind || same_text(query->kinds[i], event->kind);
	return kind && (!query->run_id.data || same_text(query->run_id, event->run_id)) &&
		   (!query->thread_id.data || same_text(query->thread_id, event->thread_id)) &&
		   (!query->runtime_id.data || same_text(query->runtime_id, event->runtime_id));
}

/* --- Ids --------------------------------------------------------------------------------------------------------- */

/* EVENT-1 */
/* Ids start at 1 and grow by one, across rollbacks, deletions and reopening, and none is used again. */
TEST(ids_grow_by_one)
{
	bool deleted;
	assert_int_equal(append("a", NULL), 1);
	put_pending("r", "t"); /* 2 */
	succeed(keel_store_begin(world.store, &why));
	assert_int_equal(append("b", NULL), 3);
	keel_store_rollback(world.store);
	succeed(keel_run_delete(world.store, text("r"), &deleted, &why)); /* 3 */
	reopen_store();
	assert_int_equal(append("c", NULL), 4);
	raw("UPDATE store SET event_low_water = 5; DELETE FROM events WHERE id < 4");
	assert_int_equal(append("d", NULL), 5);
	raw("UPDATE store SET event_low_water = 6; DELETE FROM events WHERE id < 5; VACUUM");
	assert_int_equal(append("e", NULL), 6);
}

/* EVENT-1 */
/* Two handles that write in turn share one count. */
TEST(handles_share_the_count)
{
	struct keel_store *mine = world.store, *other = open_another();
	for (int i = 0; i < 50; i++) {
		world.store = i % 2 ? mine : other;
		assert_int_equal(append("a", NULL), i + 1);
	}
	world.store = mine;
	keel_store_close(other);
}

/* EVENT-2 */
/* An operation that is refused or rolled back leaves neither its change nor its event. */
TEST(changes_and_events_go_together)
{
	struct keel_status_change change = {.status = KEEL_RUN_PENDING};
	bool found;
	put_with_status("r", "t", KEEL_RUN_RUNNING);
	refuse(INVALID_TRANSITION, keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_int_equal(newest_event(), 1);
	succeed(keel_store_begin(world.store, &why));
	change_status("r", KEEL_RUN_SUCCESS);
	assert_int_equal(newest_event(), 2);
	keel_store_rollback(world.store);
	assert_int_equal(newest_event(), 1);
	assert_int_equal(status_of("r"), KEEL_RUN_RUNNING);
}

/* The store gives id and time; what the caller wrote there is ignored. */
TEST(events_are_stamped)
{
	struct keel_event event = {.kind = text("a"), .id = 99, .at = 99};
	int64_t id;
	succeed(keel_event_append(world.store, &event, &id, &why));
	assert_true(id == 1 && last_event().id == 1 && last_event().at == world.time);
	succeed(keel_event_append(world.store, &event, NULL, &why));
}

/* --- Pages ------------------------------------------------------------------------------------------------------- */

/* EVENT-3 */
/* For every limit, pages give each event once, in order, and say rightly whether there are more. */
TEST(pages_give_every_event_once)
{
	for (int i = 0; i < 30; i++)
		append("a", NULL);
	for (int64_t limit = 1; limit <= 31; limit++) {
		int64_t next = 1, seen = 0;
		do {
			next = read_page((struct keel_event_query){.next_event_id = next, .limit = limit});
			for (size_t i = 0; i < page.count; i++)
				assert_int_equal(page.items[i].id, ++seen);
			assert_true(page.count == (size_t)limit || !page.has_more);
			assert_int_equal(page.has_more, seen < 30);
		} while (page.has_more);
		assert_true(seen == 30 && next == 31);
	}
}

/* EVENT-3 */
/* A limit below 1 or above 1000, a start below 1 and too many kinds are errors, each by its name. */
TEST(queries_are_checked)
{
	struct keel_text many[KEEL_EVENT_KINDS_MAX + 1] = {{"a", 1}};
	struct keel_event_query query = {.next_event_id = 1, .limit = 0};
	refuse_field("limit", keel_event_read(world.store, &query, &page, &why));
	query.limit = KEEL_EVENTS_MAX + 1;
	refuse(LIMIT_TOO_LARGE, keel_event_read(world.store, &query, &page, &why));
	assert_true(why.requested == 1001 && why.max == 1000 && strcmp(why.field, "limit") == 0);
	query.limit = 1;
	query.next_event_id = 0;
	refuse_field("cursor", keel_event_read(world.store, &query, &page, &why));
	query = (struct keel_event_query){.next_event_id = 1, .limit = 1, .kinds = many, .kinds_count = 33};
	refuse(LIMIT_TOO_LARGE, keel_event_read(world.store, &query, &page, &why));
	assert_string_equal(why.field, "kinds");
	query.kinds_count = 32;
	succeed(keel_event_read(world.store, &query, &page, &why));
}

/* A reader at the end, or beyond it, gets an empty page and goes on from where it was. */
TEST(the_end_is_empty)
{
	assert_int_equal(read_page((struct keel_event_query){.next_event_id = 1}), 1);
	assert_true(page.count == 0 && !page.has_more);
	append("a", NULL);
	assert_int_equal(read_page((struct keel_event_query){.next_event_id = 2}), 2);
	assert_int_equal(read_page((struct keel_event_query){.next_event_id = 1000}), 1000);
	assert_int_equal(read_page((struct keel_event_query){.next_event_id = INT64_MAX}), INT64_MAX);
	assert_true(page.count == 0 && !page.has_more);
	append("b", NULL);
	read_page((struct keel_event_query){.next_event_id = 2});
	assert_true(page.count == 1 && page.items[0].id == 2);
}

/* EVENT-5 */
/* A reader behind a filter that has seen everything is sent to the end of the log, and does not walk it again. */
TEST(caught_up_readers_skip_the_log)
{
	struct keel_event_query query = {.run_id = text("r")};
	append("a", "r");
	for (int i = 0; i < 20; i++)
		append("a", "other");
	assert_int_equal(read_page(query), 22);
	query.next_event_id = 22;
	assert_int_equal(read_page(query), 22);
	query = (struct keel_event_query){.kinds = &(struct keel_text){"none", 4}, .kinds_count = 1};
	assert_int_equal(read_page(query), 22);
}

/* --- Filters ----------------------------------------------------------------------------------------------------- */

/* EVENT-4 */
/* Whatever the filters, the start and the limit, pages equal a filter by brute force over the whole log. */
TEST(filters_equal_brute_force)
{
	static struct keel_event all[LOG];
	uint64_t chance = chance_start("filters");
	for (int i = 0; i < LOG; i++) {
		all[i] = random_event(&chance);
		succeed(keel_event_append(world.store, &all[i], &all[i].id, &why));
	}
	for (int round = 0; round < 1500; round++) {
		struct keel_text wanted[KINDS];
		struct keel_event_query query = {.next_event_id = 1 + chance_below(&chance, LOG + 5),
										 .limit = 1 + chance_below(&chance, round % 2 ? 10 : LOG),
										 .run_id = some_name(&chance, runs),
										 .thread_id = some_name(&chance, threads),
										 .runtime_id = some_name(&chance, runtimes),
										 .kinds = wanted,
										 .kinds_count = (size_t)chance_below(&chance, KINDS)};
		for (size_t i = 0; i < query.kinds_count; i++)
			wanted[i] = text(kinds[chance_below(&chance, KINDS)]);
		int64_t at = query.next_event_id - 1;
		do {
			query.next_event_id = read_page(query);
			for (size_t i = 0; i < page.count; i++) {
				while (!passes(&query, &all[at]))
					at++;
				assert_int_equal(page.items[i].id, all[at++].id);
			}
			assert_true((int64_t)page.count <= query.limit);
			assert_true((int64_t)page.count == query.limit || !page.has_more);
		} while (page.has_more);
		while (at < LOG)
			assert_false(passes(&query, &all[at++]));
	}
}

/* A filter tells an id from another that begins with it, and refuses what is no id. */
TEST(filters_compare_whole_ids)
{
	append("a", "run");
	append("a", "run1");
	append("a", NULL);
	read_page((struct keel_event_query){.run_id = text("run")});
	assert_true(page.count == 1 && page.items[0].id == 1);
	struct keel_event_query empty = {.next_event_id = 1, .limit = 10, .run_id = text("")};
	refuse_field("run_id", keel_event_read(world.store, &empty, &page, &why));
}

/* --- Texts ------------------------------------------------------------------------------------------------------- */

/* EVENT-6 */
/* Newlines, U+2028, zero bytes and a megabyte survive; what is not there stays not there. */
TEST(odd_texts_survive)
{
	static const char odd[] = "a\0b\n\xE2\x80\xA8\"\\\0";
	char *large = malloc(1024 * 1024);
	memset(large, 'x', 1024 * 1024);
	large[0] = large[1024 * 1024 - 1] = '"';
	struct keel_event event = {
		.kind = text("odd €"), .message = {odd, sizeof odd}, .data = {large, 1024 * 1024}, .worker_ref = text("{}")};
	succeed(keel_event_append(world.store, &event, NULL, &why));
	struct keel_event seen = last_event();
	assert_true(same_text(seen.message, event.message) && same_text(seen.data, event.data));
	assert_true(same_text(seen.kind, event.kind) && same_text(seen.worker_ref, event.worker_ref));
	assert_true(!seen.run_id.data && !seen.thread_id.data && !seen.runtime_id.data);
	free(large);
}

/* EVENT-6 */
/* Invalid UTF-8, bad ids and over-long texts are refused by name, and nothing is written. */
TEST(bad_events_are_refused)
{
	static char large[KEEL_TEXT_MAX + 1];
	struct keel_text bad = text("\xC3("), long_text = {large, sizeof large};
	struct {
		const char *field;
		struct keel_event event;
	} cases[] = {
		{"kind", {.kind = nothing}},
		{"kind", {.kind = text("")}},
		{"kind", {.kind = text("a\nb")}},
		{"kind", {.kind = bad}},
		{"kind", {.kind = text("run_finished")}}, /* F-19 */
		{"run_id", {.kind = text("a"), .run_id = bad}},
		{"run_id", {.kind = text("a"), .run_id = text("")}},
		{"thread_id", {.kind = text("a"), .thread_id = bad}},
		{"runtime_id", {.kind = text("a"), .runtime_id = bad}},
		{"worker_ref", {.kind = text("a"), .worker_ref = bad}},
		{"message", {.kind = text("a"), .message = bad}},
		{"data", {.kind = text("a"), .data = bad}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		refuse_field(cases[i].field, keel_event_append(world.store, &cases[i].event, NULL, &why));
	struct keel_event event = {.kind = text("a"), .data = long_text};
	refuse(LIMIT_TOO_LARGE, keel_event_append(world.store, &event, NULL, &why));
	refuse_field("kind",
				 keel_event_append_admission(world.store, &(struct keel_event){.kind = text("note")}, NULL, &why));
	assert_int_equal(newest_event(), 0);
}

/* A caller's own events never make a store look damaged, whatever they are called. */
TEST(own_events_are_sound)
{
	append("run_note", NULL);
	append("note", "no-such-run");
	check_sound(world.store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PAGED(ids_grow_by_one),
		PAGED(handles_share_the_count),
		PAGED(changes_and_events_go_together),
		PAGED(events_are_stamped),
		PAGED(pages_give_every_event_once),
		PAGED(queries_are_checked),
		PAGED(the_end_is_empty),
		PAGED(caught_up_readers_skip_the_log),
		PAGED(filters_equal_brute_force),
		PAGED(filters_compare_whole_ids),
		PAGED(odd_texts_survive),
		PAGED(bad_events_are_refused),
		PAGED(own_events_are_sound),
	};
	return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
