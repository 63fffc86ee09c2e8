/* damage.c - real files that were damaged: each open and each read gives a typed error, or what breaks no invariant.
 *
 * WORKER-13. A flip inside a stored text is not claimed to be found; a row that is read is one that could have been
 * written, ids and sequences are without gaps, and nothing crashes (also under the sanitizers).
 */
#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

enum { PAGE = 2048, WORKERS = 6, INPUTS = 40, RUNS = 60, FLIPS = 200, FEW_FLIPS = 60 };

static char *image;
static size_t image_size;
static struct keel_workers workers;
static struct keel_transcript part;
static struct keel_diagnostics diagnostics;
static struct keel_events events;
static struct keel_runs runs;
static int opened, refused, found; /* how the damaged ones ended */

static struct keel_worker_ref ref_of(int number)
{
	static char ids[WORKERS][8];
	snprintf(ids[number], sizeof ids[number], "w%d", number);
	return (struct keel_worker_ref){text("rt"), text(ids[number])};
}

/* A store with something of everything, more than a few pages of each. */
static void fill(void)
{
	struct keel_runtime runtime;
	struct keel_lease lease;
	char content[600], id[16];
	memset(content, 'x', sizeof content);
	content[sizeof content - 1] = '\0';
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
	for (int w = 0; w < WORKERS; w++) {
		struct keel_worker_request request = request_of(ref_of(w).worker_id.data);
		struct keel_diagnostic diagnostic = {
			.severity = text("info"), .code = text("c"), .message = text("m"), .worker_id = request.worker_id};
		bool reused;
		int64_t number;
		succeed(keel_worker_create(world.store, text("rt"), &request, &workers, &reused, &why));
		succeed(keel_diagnostic_record(world.store, text("rt"), &diagnostic, &number, &why));
	}
	for (int i = 0; i < WORKERS * INPUTS; i++) {
		struct keel_input input = {.role = text("user"), .content = text(content)};
		struct keel_input_ack ack;
		succeed(keel_worker_send(world.store, text("rt"), ref_of(i % WORKERS), &input, &ack, &why));
	}
	for (int i = 0; i < RUNS; i++) {
		snprintf(id, sizeof id, "r%d", i);
		put_with_status(id, "t", i % 3 ? KEEL_RUN_SUCCESS : KEEL_RUN_RUNNING);
	}
	succeed(keel_lease_acquire(world.store, text("n"), nothing, 5, &lease, &why));
}

static int make_image(void **state)
{
	if (world_open(state) != 0)
		return -1;
	succeed(keel_store_begin(world.store, &why));
	fill();
	succeed(keel_store_commit(world.store, &why));
	close_store(); /* all of it is in the one file now */
	image = read_file(world.path, &image_size);
	world.damaged = true;
	opened = refused = found = 0;
	return 0;
}

static int drop_image(void **state)
{
	free(image);
	keel_workers_clear(&workers);
	keel_transcript_clear(&part);
	keel_diagnostics_clear(&diagnostics);
	keel_events_clear(&events);
	keel_runs_clear(&runs);
	return world_close(state);
}
#define ON_IMAGE(test) cmocka_unit_test_setup_teardown(test, make_image, drop_image)

static void put_file(const char *data, size_t size)
{
	unlink(in_folder("store-wal"));
	unlink(in_folder("store-shm"));
	write_file(world.path, data, size); /* the same file: another in its place is told from it */
}

/* --- Looking ----------------------------------------------------------------------------------------------------- */

/* The code of a look at what may be damaged: true when there is something to look at. */
static bool good(enum keel_code code)
{
	if (code == KEEL_OK)
		return true;
	if (code != KEEL_STORE_CORRUPT && code != KEEL_NOT_FOUND)
		fail_msg("%s: %s", keel_code_name(code), why.message);
	must(why.message[0] != '\0');
	found++;
	return false;
}

static void look_at_transcript(struct keel_worker_ref ref)
{
	int64_t start = 0;
	do {
		if (!good(keel_transcript_read(world.store, text("rt"), ref, start, 17, &part, &why)))
			return;
		for (size_t i = 0; i < part.count; i++) {
			must(part.items[i].sequence == start + (int64_t)i + 1);
			must(part.items[i].content.data && part.items[i].role.data && part.items[i].event_id > 0);
		}
		start += (int64_t)part.count;
	} while (part.count > 0);
	must(start == part.total_items);
}

static void look_at_workers(void)
{
	struct keel_worker_query query = {.limit = 4};
	char after[KEEL_ID_MAX + 1];
	for (int page = 0; page < 100; page++) {
		if (!good(keel_worker_list(world.store, text("rt"), &query, &workers, &why)) || workers.count == 0)
			break;
		for (size_t i = 0; i < workers.count; i++) {
			must(keel_worker_status_name(workers.items[i].status) != NULL);
			must(workers.items[i].transcript_len >= 0 && workers.items[i].worker_id.data &&
				 workers.items[i].intent.data);
		}
		struct keel_text last = workers.items[workers.count - 1].worker_id;
		snprintf(after, sizeof after, "%.*s", (int)last.size, last.data);
		query.after = text(after);
	}
	for (int w = 0; w < WORKERS; w++)
		look_at_transcript(ref_of(w));
	if (good(keel_diagnostic_list(world.store, text("rt"), 0, 100, &diagnostics, &why)))
		for (size_t i = 0; i < diagnostics.count; i++)
			must(diagnostics.items[i].count > 0 && diagnostics.items[i].code.data);
}

static void look_at_events(void)
{
	for (int filter = 0; filter < 4; filter++) {
		struct keel_event_query query = {.from_oldest = true, .limit = 50};
		query.runtime_id = filter == 1 ? text("rt") : nothing;
		query.thread_id = filter == 2 ? text("t") : nothing;
		query.run_id = filter == 3 ? text("r3") : nothing;
		int64_t last = 0;
		do {
			if (!good(keel_event_read(world.store, &query, &events, &why)))
				break;
			for (size_t i = 0; i < events.count; i++) {
				must(events.items[i].kind.data != NULL);
				must(filter ? events.items[i].id > last : last == 0 || events.items[i].id == last + 1);
				last = events.items[i].id;
			}
			query.from_oldest = false;
			query.next_event_id = events.next_event_id;
		} while (events.has_more);
	}
}

static void look_at_runs(void)
{
	struct keel_inflight_query query = {.limit = 100};
	if (good(keel_run_list_by_thread(world.store, text("t"), nothing, 100, &runs, &why)))
		for (size_t i = 0; i < runs.count; i++) {
			must(runs.items[i].run_id.data && runs.items[i].thread_id.data);
			must(keel_run_status_name((enum keel_run_status)runs.items[i].status) != NULL);
		}
	good(keel_run_list_inflight(world.store, &query, &runs, &why));
	for (int i = 0; i < RUNS; i += 7) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		good(keel_run_get(world.store, text(id), nothing, &runs, &why));
	}
}

/* Opens the store and reads everything there is, every way there is. */
static void look(void)
{
	struct keel_runtime runtime;
	struct keel_problems problems = {0};
	enum keel_code code = keel_store_open(world.path, &world.options, &world.store, &why);
	if (code != KEEL_OK) {
		refused++;
		if (code != KEEL_STORE_CORRUPT && code != KEEL_STORE_VERSION && code != KEEL_REPLACED)
			fail_msg("%s: %s", keel_code_name(code), why.message);
		must(strstr(why.message, world.path) != NULL);
		return;
	}
	opened++;
	good(keel_runtime_get(world.store, text("rt"), &runtime, &why));
	look_at_workers();
	look_at_events();
	look_at_runs();
	if (good(keel_store_verify(world.store, &problems, &why)))
		found += problems.count > 0;
	keel_problems_clear(&problems);
	close_store();
}

/* And writes to it: what is refused is typed, too. */
static void write_to_it(void)
{
	struct keel_input input = {.role = text("user"), .content = text("hi")};
	struct keel_input_ack ack;
	if (keel_store_open(world.path, &world.options, &world.store, &why) != KEEL_OK)
		return;
	if (good(keel_worker_send(world.store, text("rt"), ref_of(1), &input, &ack, &why)))
		must(ack.transcript_sequence > 0 && ack.event_id > 0);
	close_store();
}

/* --- Damage ------------------------------------------------------------------------------------------------------ */

/* Cut off at every page: found at the latest by reading what is missing. */
TEST(truncated)
{
	for (size_t size = PAGE; size < image_size; size += PAGE) {
		int before = refused + found;
		put_file(image, size);
		look();
		must(refused + found > before);
		put_file(image, size - 1000);
		look();
		write_to_it();
	}
	print_message("truncated: %d opened, %d refused\n", opened, refused);
}

/* How many places of a file are damaged: fewer in slow builds (KEEL_FAULTS=few). */
static int flips(void)
{
	const char *wanted = getenv("KEEL_FAULTS");
	return wanted && strcmp(wanted, "few") == 0 ? FEW_FLIPS : FLIPS;
}

/* Single bytes flipped, at random places. */
TEST(flipped)
{
	uint64_t chance = chance_start("damage");
	for (int i = 0; i < flips(); i++) {
		size_t at = (size_t)chance_below(&chance, (int64_t)image_size);
		char bit = (char)(1 << chance_below(&chance, 8)), old = image[at];
		image[at] = i % 2 ? (char)~old : (char)(old ^ bit);
		put_file(image, image_size);
		look();
		write_to_it();
		image[at] = old;
	}
	print_message("flipped: %d opened, %d refused, %d looks refused\n", opened, refused, found);
	must(opened > 0);
}

/* A letter of a word in the schema: what SQLite says of that has no word of damage in it. */
TEST(flipped_in_schema)
{
	static const char name[] = "NOT NULL";
	int names = 0;
	for (size_t at = 0; at + sizeof name <= image_size; at++) {
		if (memcmp(image + at, name, sizeof name - 1) != 0)
			continue;
		image[at] = 'O';
		put_file(image, image_size);
		look();
		write_to_it();
		image[at] = name[0];
		names++;
	}
	must(names > 0 && refused + found > 0);
}

/* In the parts of a page that say where everything is, a flip is found or harmless. */
TEST(flipped_in_headers)
{
	uint64_t chance = chance_start("headers");
	for (int i = 0; i < flips(); i++) {
		size_t page = (size_t)chance_below(&chance, (int64_t)image_size / PAGE);
		size_t at = page * PAGE + (size_t)chance_below(&chance, page ? 40 : 140);
		char old = image[at];
		image[at] = (char)~old;
		put_file(image, image_size);
		look();
		image[at] = old;
	}
	print_message("flipped in headers: %d opened, %d refused, %d looks refused\n", opened, refused, found);
	must(refused + found > 0);
}

/* A writer that is killed while all it wrote is in the log. */
static int play_writer(int argc, char **argv)
{
	struct keel_store *store;
	struct keel_input input = {.role = text("user"), .content = text("in the log")};
	struct keel_input_ack ack;
	(void)argc;
	succeed(keel_store_open(argv[0], NULL, &store, &why));
	for (int i = 0; i < 30; i++)
		succeed(keel_worker_send(store, text("rt"), ref_of(1), &input, &ack, &why));
	child_says("written");
	child_hears((char[8]){0}, 8);
	return 1;
}

/* Without the log of a writer that was killed, the store is what it was before it, or says that it is damaged. */
TEST(log_deleted)
{
	struct child writer = start("writer", world.path, NULL);
	await(&writer, "written");
	kill_child(&writer);
	must(file_exists(in_folder("store-wal")));
	unlink(in_folder("store-wal"));
	look();
	succeed(keel_store_open(world.path, &world.options, &world.store, &why));
	succeed(keel_worker_get(world.store, text("rt"), ref_of(1), &workers, &why));
	assert_int_equal(workers.items[0].transcript_len, INPUTS);
	check_sound(world.store);
	close_store();
}

/* A log with flipped bytes: its checksums say where it ends, and what is before that is a whole picture. One whose
 * beginning is not what the store expects may be refused as another file's. */
TEST(log_flipped)
{
	uint64_t chance = chance_start("log");
	size_t size;
	struct child writer = start("writer", world.path, NULL);
	await(&writer, "written");
	kill_child(&writer);
	char *log = read_file(in_folder("store-wal"), &size);
	for (int i = 0; i < 40; i++) {
		size_t at = (size_t)chance_below(&chance, (int64_t)size);
		log[at] = (char)~log[at];
		put_file(image, image_size);
		write_file(in_folder("store-wal"), log, size);
		look();
		log[at] = (char)~log[at];
	}
	free(log);
	assert_int_equal(opened + refused, 40);
	must(opened >= 15);
	assert_int_equal(found, 0);
}

/* Another database in its place: another application's is refused; another store is just that, with another epoch. */
TEST(swapped)
{
	char epoch[KEEL_UUID_SIZE];
	succeed(keel_store_open(world.path, &world.options, &world.store, &why));
	snprintf(epoch, sizeof epoch, "%s", keel_store_epoch(world.store));
	close_store();
	unlink(world.path);
	raw("CREATE TABLE recipes (name)");
	look();
	assert_int_equal(refused, 1);
	unlink(world.path);
	succeed(keel_store_open(world.path, &world.options, &world.store, &why));
	assert_string_not_equal(keel_store_epoch(world.store), epoch);
	put_pending("r", "t");
	check_sound(world.store);
	close_store();
}

/* Another store under the log of this one: no page of the log gets into it. */
TEST(swapped_under_its_log)
{
	size_t log_size, other_size;
	unlink(world.path);
	succeed(keel_store_open(world.path, &world.options, &world.store, &why));
	put_pending("r", "t");
	close_store();
	char *other = read_file(world.path, &other_size);
	put_file(image, image_size);
	struct child writer = start("writer", world.path, NULL);
	await(&writer, "written");
	kill_child(&writer);
	char *log = read_file(in_folder("store-wal"), &log_size);
	put_file(other, other_size);
	write_file(in_folder("store-wal"), log, log_size);
	refuse(REPLACED, keel_store_open(world.path, &world.options, &world.store, &why)); /* F-1 */
	free(log);
	free(other);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"writer", play_writer}, {0}};
	const struct CMUnitTest tests[] = {
		ON_IMAGE(truncated),
		ON_IMAGE(flipped),
		ON_IMAGE(flipped_in_headers),
		ON_IMAGE(log_deleted),
		ON_IMAGE(flipped_in_schema),
		ON_IMAGE(log_flipped),
		ON_IMAGE(swapped),
		ON_IMAGE(swapped_under_its_log),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
