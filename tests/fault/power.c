/* power.c - a scripted workload, whose disk loses power at every write and every sync, and fails at every one.
 *
 * It is run once and recorded. Then the files are made as they may be after each cut, and the store is opened: that
 * must succeed, verify find nothing, and what is in it be what was there after the last acknowledged step, or after the
 * one under way; at `normal` after any step before that, but always after a whole one. A sample with a printed seed;
 * KEEL_POWER=all takes every cut.
 */
#include "support_disk.h"

#include <unistd.h>

#include <sqlite3.h>

#include "event/event.h"
#include "run/write.h"
#include "sql/sqlite_parts.h"
#include "store/store.h"

enum {
	STEPS_MAX = 256,
	SAMPLE = 150,       /* cuts of a sweep, unless all are asked for */
	FAULTS_SAMPLE = 40, /* calls that fail, of each kind */
	LOG_PAGES = 12      /* after which SQLite writes the log back: often */
};

/* What was acknowledged: after so many calls of the disk the store was so. The first is the open, empty store. */
static struct {
	size_t calls;
	char *picture;
} steps[STEPS_MAX];
static size_t steps_count;

static uint64_t chance;

/* --- Pictures ----------------------------------------------------------------------------------------------------- */

/* All that the store holds, but for who has it open. The caller frees it. */
static char *picture(struct keel_store *store)
{
	static const char *const tables[] = {"SELECT event_low_water FROM store",
										 "SELECT * FROM events ORDER BY id",
										 "SELECT * FROM runs ORDER BY seq",
										 "SELECT * FROM live ORDER BY seq",
										 "SELECT * FROM outcomes ORDER BY seq",
										 "SELECT * FROM leases ORDER BY name",
										 "SELECT * FROM runtimes ORDER BY seq",
										 "SELECT * FROM workers ORDER BY seq",
										 "SELECT * FROM transcripts ORDER BY event_id"};
	struct keel_buffer all = {0};
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		sqlite3_stmt *select;
		if (sqlite3_prepare_v2(sqlite_own(store->sql)->db, tables[i], -1, &select, NULL) != SQLITE_OK)
			fail_msg("%s: %s", tables[i], sqlite3_errmsg(sqlite_own(store->sql)->db));
		while (sqlite3_step(select) == SQLITE_ROW) {
			for (int column = 0; column < sqlite3_column_count(select); column++) {
				const char *value = (const char *)sqlite3_column_text(select, column);
				keel_buffer_put(&all, value ? value : "-");
				keel_buffer_put(&all, " ");
			}
			keel_buffer_put(&all, "\n");
		}
		sqlite3_finalize(select);
		keel_buffer_put(&all, "--\n");
	}
	char *copy = strdup(all.data ? all.data : "");
	keel_buffer_free(&all);
	return copy;
}

static void acknowledge(void)
{
	assert_true(steps_count < STEPS_MAX);
	steps[steps_count].calls = disk_calls();
	steps[steps_count++].picture = picture(world.store);
}

static void forget(void)
{
	while (steps_count > 0)
		free(steps[--steps_count].picture);
}

/* --- The workload ------------------------------------------------------------------------------------------------- */

static void open_world(void)
{
	succeed(keel_store_open(world.path, &world.options, &world.store, &why));
	sqlite3_wal_autocheckpoint(sqlite_own(world.store->sql)->db, LOG_PAGES);
}

/* Steps of the script. Each is one acknowledged write; `number` makes it another each time. */
static enum keel_code make_run(int number)
{
	static char large[3000];
	char id[16], kwargs[3100];
	memset(large, 'x', sizeof large - 1);
	snprintf(id, sizeof id, "r%d", number);
	snprintf(kwargs, sizeof kwargs, "{\"text\":\"%s\"}", number % 3 ? "" : large);
	struct keel_run run = run_of(id, number % 2 ? "odd" : "even");
	SET(&run, KWARGS, kwargs, text(kwargs));
	SET(&run, CLAIMABLE, claimable, 1);
	return keel_run_put(world.store, &run, nothing, NULL, &why);
}

static enum keel_code claim(int number)
{
	struct keel_claim asked = {.limit = 10};
	struct keel_runs list = {0};
	(void)number;
	enum keel_code code = keel_run_claim_next(world.store, &asked, &list, &why);
	keel_runs_clear(&list);
	return code;
}

static enum keel_code finish(int number)
{
	struct keel_status_change change = {.status = KEEL_RUN_SUCCESS};
	char id[16];
	bool found;
	snprintf(id, sizeof id, "r%d", number / 2);
	enum keel_code code = keel_run_update_status(world.store, text(id), &change, &found, NULL, &why);
	return code == KEEL_INVALID_TRANSITION ? KEEL_OK : code;
}

static enum keel_code note(int number)
{
	struct keel_event event = {.kind = text("note"), .data = text("{\"a\":1}")};
	int64_t id;
	(void)number;
	return keel_event_append(world.store, &event, &id, &why);
}

static enum keel_code lease(int number)
{
	struct keel_lease taken;
	char name[16];
	snprintf(name, sizeof name, "n%d", number);
	return keel_lease_acquire(world.store, text(name), nothing, 5000000, &taken, &why);
}

static enum keel_code together(int number)
{
	enum keel_code code = keel_store_begin(world.store, &why);
	for (int i = 0; code == KEEL_OK && i < 3; i++)
		code = i < 2 ? note(number) : make_run(1000 + number);
	if (code == KEEL_OK)
		return keel_store_commit(world.store, &why);
	keel_store_rollback(world.store);
	return code;
}

static enum keel_code work(int number)
{
	struct keel_worker_request request = request_of(NULL);
	struct keel_runtime runtime;
	struct keel_workers list = {0};
	char id[16];
	bool reused;
	snprintf(id, sizeof id, "w%d", number);
	request.worker_id = text(id);
	enum keel_code code = keel_store_begin(world.store, &why);
	if (code != KEEL_OK)
		return code;
	code = keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why);
	if (code == KEEL_OK)
		code = keel_worker_create(world.store, text("rt"), &request, &list, &reused, &why);
	keel_workers_clear(&list);
	if (code == KEEL_OK)
		return keel_store_commit(world.store, &why);
	keel_store_rollback(world.store);
	return code;
}

static enum keel_code prune(int number)
{
	struct keel_prune what = {.before = INT64_MAX, .keep_last = 8};
	struct keel_pruned pruned;
	(void)number;
	what.runs = 1u << KEEL_RUN_SUCCESS;
	return keel_store_prune(world.store, &what, &pruned, &why);
}

typedef enum keel_code step(int number);
static step *const script[] = {make_run, make_run, claim, note, together, finish, make_run, lease, work, finish, prune};
enum { SCRIPT = sizeof script / sizeof script[0], ROUNDS = 4 };

/* Creates the store and runs the script; in the middle it is closed, which writes the log back and deletes it. */
static void record_workload(enum keel_durability durability, bool exclusive)
{
	world.options.durability = durability;
	world.options.exclusive = exclusive;
	disk_begin();
	open_world();
	acknowledge();
	for (int i = 0; i < ROUNDS * SCRIPT; i++) {
		world.time += 1000;
		succeed(script[i % SCRIPT](i));
		acknowledge();
		if (i == ROUNDS * SCRIPT / 2) {
			close_store();
			open_world();
		}
	}
	close_store();
}

/* --- After a cut -------------------------------------------------------------------------------------------------- */

/* The files beside the store, as they were at the end of the workload. */
static struct {
	const char *ending;
	char *data;
	size_t size;
} beside[] = {{"-wake", NULL, 0}, {"-sessions", NULL, 0}};
enum { BESIDE = sizeof beside / sizeof beside[0] };

static const char *name_beside(int i)
{
	static char name[256];
	snprintf(name, sizeof name, "%s%s", world.path, beside[i].ending);
	return name;
}

static void keep_beside(void)
{
	for (int i = 0; i < BESIDE; i++) {
		free(beside[i].data);
		beside[i].data = file_exists(name_beside(i)) ? read_file(name_beside(i), &beside[i].size) : NULL;
	}
}

static void forget_beside(void)
{
	for (int i = 0; i < BESIDE; i++) {
		free(beside[i].data);
		beside[i].data = NULL;
	}
}

/* Their content was never synced: they are there, or empty, or not there. Before the store was, they were not. */
static void cut_beside(bool were_there)
{
	for (int i = 0; i < BESIDE; i++) {
		int64_t way = were_there && beside[i].data ? chance_below(&chance, 3) : 0;
		if (way == 0)
			unlink(name_beside(i));
		else
			write_file(name_beside(i), way == 1 ? "" : beside[i].data, way == 1 ? 0 : beside[i].size);
	}
}

/* The steps that were acknowledged when so many calls had been made. */
static size_t acknowledged(size_t calls)
{
	size_t count = 0;
	while (count < steps_count && steps[count].calls <= calls)
		count++;
	return count;
}

/* Whether the picture is one of the steps from..to (from 0; to is behind the last). */
static bool is_one_of(const char *found, size_t from, size_t to)
{
	for (size_t i = from; i < to && i < steps_count; i++)
		if (strcmp(steps[i].picture, found) == 0)
			return true;
	return false;
}

/* Whether a picture has every event of another but for those that were pruned: a step that failed may have been done
 * all the same, as far as the disk goes. */
static bool has_events_of(const char *found, const char *acknowledged_one)
{
	static const char end_of_table[] = "--\n";
	long long low = strtoll(found, NULL, 10);
	const char *line = strstr(acknowledged_one, end_of_table) + strlen(end_of_table), *next;
	for (; strncmp(line, end_of_table, strlen(end_of_table)) != 0; line = next) {
		next = strchr(line, '\n') + 1;
		char *copy = strndup(line, (size_t)(next - line));
		bool is_there = strtoll(copy, NULL, 10) < low || strstr(found, copy);
		free(copy);
		if (!is_there)
			return false;
	}
	return true;
}

enum promise { FULL, NORMAL, AFTER_FAULTS };

/* What is wrong with the store on the disk, if the power went after so many calls; NULL: nothing. Static text. */
static const char *wrong_after(size_t calls, enum promise promise)
{
	static char words[640];
	struct keel_problems problems = {0};
	struct keel_store *store;
	size_t known = acknowledged(calls);
	words[0] = '\0';
	world.options.durability = KEEL_DURABILITY_OFF;
	world.options.exclusive = false;
	if (keel_store_open(world.path, &world.options, &store, &why) != KEEL_OK) {
		snprintf(words, sizeof words, "it does not open: %s", why.message);
		return words;
	}
	if (keel_store_verify(store, &problems, &why) != KEEL_OK)
		snprintf(words, sizeof words, "verify: %s", why.message);
	else if (problems.count > 0)
		snprintf(words, sizeof words, "verify: %.500s", problems.items[0].text.data);
	keel_problems_clear(&problems);
	char *found = picture(store);
	/* Before the opening is acknowledged, there is nothing that anybody wrote. */
	size_t from = promise == FULL && known > 0 ? known - 1 : 0;
	bool good =
		promise == AFTER_FAULTS ? has_events_of(found, steps[known - 1].picture) : is_one_of(found, from, known + 1);
	if (!words[0] && !good)
		snprintf(words, sizeof words, "it is as after no step from %zu to %zu", from, known);
	free(found);
	struct keel_run run = run_of("afterwards", "t");
	if (!words[0] && keel_run_put(store, &run, nothing, NULL, &why) != KEEL_OK)
		snprintf(words, sizeof words, "nothing can be written: %s", why.message);
	keel_store_close(store);
	return words[0] ? words : NULL;
}

static bool takes_all(void)
{
	const char *asked = getenv("KEEL_POWER");
	return asked && strcmp(asked, "all") == 0;
}

/* How many of the places of a sweep are taken: in slow builds (KEEL_FAULTS=few) a third. */
static int64_t sample(int64_t usual)
{
	const char *wanted = getenv("KEEL_FAULTS");
	return wanted && strcmp(wanted, "few") == 0 ? usual / 3 : usual;
}

/* Cuts the power where it may hurt, and counts what is wrong. `tell`: as failures; else it is a bug to be found: every
 * cut is taken, until one finds it. */
static size_t cut_everywhere(bool full, bool tell)
{
	size_t wrong = 0, cuts = 0, calls = disk_calls();
	keep_beside();
	for (size_t at = 0; at <= calls; at++) {
		for (int luck = 0; luck < LUCK_KINDS; luck++) {
			if (tell && !takes_all() && chance_below(&chance, (int64_t)(calls * LUCK_KINDS)) >= sample(SAMPLE))
				continue;
			disk_cut(at, (enum disk_luck)luck, &chance);
			cut_beside(at >= steps[0].calls);
			const char *words = wrong_after(at, full ? FULL : NORMAL);
			cuts++;
			if (!words)
				continue;
			wrong++;
			if (!tell)
				return wrong;
			if (wrong < 5)
				print_error("power off after call %zu of %zu, luck %d: %s\n", at, calls, luck, words);
		}
	}
	print_message("%zu cuts of %zu calls, %zu steps, %zu wrong\n", cuts, calls, steps_count, wrong);
	return wrong;
}

static int begin(void **state)
{
	if (world_make(state) != 0)
		return -1;
	chance = chance_start("power");
	world.damaged = true; /* each cut looks for itself */
	return 0;
}

static int end(void **state)
{
	close_store();
	disk_end();
	forget();
	forget_beside();
	return world_close(state);
}
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* --- Power cuts --------------------------------------------------------------------------------------------------- */

/* At `full` everything acknowledged is there. */
TEST(power_goes_at_full)
{
	record_workload(KEEL_DURABILITY_FULL, false);
	assert_int_equal(cut_everywhere(true, true), 0);
}

/* At `normal` the newest may be missing, never the middle. */
TEST(power_goes_at_normal)
{
	record_workload(KEEL_DURABILITY_NORMAL, false);
	assert_int_equal(cut_everywhere(false, true), 0);
}

/* The same for a store that is open exclusively: it keeps the index of the log to itself, and the next to open it finds
 * the log alone. */
TEST(power_goes_at_full_exclusively)
{
	record_workload(KEEL_DURABILITY_FULL, true);
	assert_int_equal(cut_everywhere(true, true), 0);
}

TEST(power_goes_at_normal_exclusively)
{
	record_workload(KEEL_DURABILITY_NORMAL, true);
	assert_int_equal(cut_everywhere(false, true), 0);
}

/* The frames of a commit go to the log in one write. */
TEST(a_commit_is_one_write)
{
	world.options.durability = KEEL_DURABILITY_OFF;
	disk_begin();
	open_world();
	sqlite3_wal_autocheckpoint(sqlite_own(world.store->sql)->db, 0); /* nothing is written back meanwhile */
	for (int i = 0; i < 4; i++) {
		size_t before = disk_calls();
		succeed(i % 2 ? note(i) : make_run(i));
		/* The first one begins the log, and makes the file. */
		if (i > 0)
			assert_int_equal(disk_calls(), before + 1);
	}
	close_store();
}

/* --- What it finds ------------------------------------------------------------------------------------------------ */

/* Fixture for the planted bugs: steps at `full`, with the bug in the middle. */
static void with_bug(step *bug, bool without_syncs)
{
	world.options.durability = KEEL_DURABILITY_FULL;
	disk_begin();
	open_world();
	acknowledge();
	disk_leave_out_syncs(without_syncs);
	for (int i = 0; i < 12; i++) {
		succeed(bug(i));
		acknowledge();
	}
	disk_leave_out_syncs(false);
	close_store();
}

/* A sync that is left out is found: something acknowledged is not there. */
TEST(missing_syncs_are_found)
{
	with_bug(make_run, true);
	assert_true(cut_everywhere(true, false) > 0);
}

/* The row in one transaction, its event in the next. */
static enum keel_code put_without_event(int number)
{
	struct keel_event event = {.kind = text("run_created"), .thread_id = text("t")};
	struct keel_run run;
	char id[16];
	bool inserted;
	int64_t event_id;
	snprintf(id, sizeof id, "late%d", number);
	run = run_of(id, "t");
	SET(&run, CREATED_AT, created_at, world.time);
	SET(&run, UPDATED_AT, updated_at, world.time);
	SET(&run, FENCE, fence, 1);
	SET(&run, REVISION, revision, 1);
	succeed(keel_write_begin(world.store, &why));
	succeed(keel_run_insert(world.store, &run, &inserted, &why));
	succeed(keel_write_end(world.store, KEEL_OK, true, &why));
	event.run_id = text(id);
	event.at = world.time;
	succeed(keel_write_begin(world.store, &why));
	succeed(keel_event_write(world.store, &event, &event_id, &why));
	return keel_write_end(world.store, KEEL_OK, true, &why);
}

/* An event that is written after the commit of what it tells of is found. */
TEST(late_events_are_found)
{
	with_bug(put_without_event, false);
	assert_true(cut_everywhere(true, false) > 0);
}

/* --- A disk that fails -------------------------------------------------------------------------------------------- */

/* Runs the script with the fault. A step that fails gives a typed error, and changes nothing or is undone; the others
 * go on. Then the power goes. */
static void run_failing(enum disk_fault fault, size_t at, bool for_good)
{
	world.options.durability = KEEL_DURABILITY_FULL;
	disk_begin();
	open_world();
	acknowledge();
	disk_fail(fault, at, for_good);
	for (int i = 0; i < SCRIPT * 2; i++) {
		world.time += 1000;
		enum keel_code code = script[i % SCRIPT](i);
		if (code == KEEL_OK)
			acknowledge();
		else if (code != KEEL_IO && code != KEEL_STORE_FULL && code != KEEL_NOT_FOUND)
			fail_msg("fault %d at %zu: %s: %s", (int)fault, at, keel_code_name(code), why.message);
	}
}

/* I/O errors, writes cut short, a full disk and syncs that fail, at every call, once and for good: what was
 * acknowledged is there after the power went, and the rest does no harm. */
TEST(calls_fail)
{
	size_t first, calls;
	record_workload(KEEL_DURABILITY_FULL, false);
	first = steps[0].calls;
	calls = disk_calls() / 2;
	size_t tried = 0;
	for (int fault = DISK_IOERR; fault < DISK_FAULTS; fault++) {
		for (size_t at = first; at < calls; at++) {
			if (!takes_all() && chance_below(&chance, (int64_t)(calls - first)) >= sample(FAULTS_SAMPLE))
				continue;
			for (int for_good = 0; for_good < 2; for_good++) {
				forget();
				disk_end();
				for (int i = 0; i < 6; i++) {
					static const char *const endings[] = {"", "-wal", "-shm", "-journal", "-wake", "-sessions"};
					char name[256];
					snprintf(name, sizeof name, "%s%s", world.path, endings[i]);
					unlink(name);
				}
				run_failing((enum disk_fault)fault, at, for_good);
				disk_fail(DISK_SOUND, 0, false);
				size_t end = disk_calls();
				char *seen = picture(world.store);
				if (!is_one_of(seen, steps_count - 1, steps_count))
					fail_msg("fault %d at %zu, %d: the store is not as it was acknowledged", fault, at, for_good);
				free(seen);
				close_store();
				disk_cut(end, LUCK_CHANCE, &chance);
				const char *words = wrong_after(end, AFTER_FAULTS);
				if (words)
					fail_msg("fault %d at %zu, %d: %s", fault, at, for_good, words);
				tried++;
			}
		}
	}
	print_message("%zu faults\n", tried);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_DISK(power_goes_at_full),
		ON_DISK(power_goes_at_normal),
		ON_DISK(power_goes_at_full_exclusively),
		ON_DISK(power_goes_at_normal_exclusively),
		ON_DISK(a_commit_is_one_write),
		ON_DISK(missing_syncs_are_found),
		ON_DISK(late_events_are_found),
		ON_DISK(calls_fail),
	};
	return cmocka_run_group_tests_name("power", tests, NULL, NULL);
}
