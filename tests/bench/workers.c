/* workers.c - what a worker's input and a new worker cost beside few and many stored entries, and what reading costs.
 *
 * Stores with the given numbers of transcript entries take turns in short slices (A B C A B C ...), so that what else
 * the machine does hits all; ratios are those of the medians to the first store's. Sends go to one worker after the
 * other. Then, on the last store: events read by a reader that has seen all, and pages of 256 events from the start.
 *
 * Usage: workers [--entries N,N,...] [--workers N] [--durability full|normal|off] [--memory]
 *                [--rounds N] [--slice SECONDS] [--folder DIR]
 *   --entries     entries of each store (default 100,10000,1000000)
 *   --workers     that the entries are spread over, and sends go to (default 10)
 *   --durability  of the sends that are timed (default full)
 *   --memory      stores in memory
 *   --rounds      slices a store (default 41)
 *   --slice       seconds a slice (default 0.1)
 *   --folder      where a folder with the stores is made, and removed again (default: $TMPDIR or /tmp)
 */

#include <keel/keel.h>

#include "base/text.h"
#include "bench.h"

enum { SIDES_MAX = 8, ROUNDS_MAX = 999 };

struct side {
	char path[512];
	struct keel_store *store;
	long entries, workers, next;
	double rates[2][ROUNDS_MAX]; /* sends, creates */
};

static struct keel_error err;
static struct keel_workers made;

static void check(enum keel_code code, const char *what)
{
	if (code != KEEL_OK)
		die(what, err.message);
}

/* --- What is timed ----------------------------------------------------------------------------------------------- */

static void send(struct side *side)
{
	struct keel_input input = {.role = keel_text_of("user"),
							   .content = keel_text_of("What is the weather like on the other side of the hill?")};
	struct keel_input_ack ack;
	char id[32];
	snprintf(id, sizeof id, "worker-%ld", side->next++ % side->workers);
	struct keel_worker_ref ref = {keel_text_of("bench"), keel_text_of(id)};
	check(keel_worker_send(side->store, keel_text_of("bench"), ref, &input, &ack, &err), "send");
}

static void create(struct side *side, const char *id)
{
	struct keel_worker_request request = {.worker_id = id ? keel_text_of(id) : (struct keel_text){NULL, 0},
										  .intent = keel_text_of("{\"kind\":\"task\",\"objective\":\"count\"}"),
										  .profile = keel_text_of("{\"kind\":\"runtime_default\"}"),
										  .requested_capabilities = keel_text_of("[]"),
										  .workspace_refs = keel_text_of("[]"),
										  .mount_refs = keel_text_of("[]")};
	bool reused;
	check(keel_worker_create(side->store, keel_text_of("bench"), &request, &made, &reused, &err), "create");
}

/* Calls a second, over a slice. */
static double slice(struct side *side, bool sends, double seconds)
{
	double started = now(), passed;
	long count = 0;
	do {
		if (sends)
			send(side);
		else
			create(side, NULL);
		count++;
		passed = now() - started;
	} while (passed < seconds);
	return (double)count / passed;
}

/* --- The stores -------------------------------------------------------------------------------------------------- */

static void open_side(struct side *side, enum keel_durability durability)
{
	struct keel_store_options options;
	keel_store_options_init(&options);
	options.durability = durability;
	check(keel_store_open(side->path, &options, &side->store, &err), side->path);
}

static void make(struct side *side, const char *folder, bool memory, enum keel_durability durability)
{
	struct keel_runtime runtime;
	char id[32];
	snprintf(side->path, sizeof side->path, "%s/workers-%ld.db", folder, side->entries);
	if (memory)
		snprintf(side->path, sizeof side->path, ":memory:");
	open_side(side, KEEL_DURABILITY_OFF);
	check(keel_runtime_open(side->store, keel_text_of("bench"), NULL, &runtime, &err), "open");
	check(keel_store_begin(side->store, &err), "begin");
	for (long i = 0; i < side->workers; i++) {
		snprintf(id, sizeof id, "worker-%ld", i);
		create(side, id);
	}
	for (long i = 0; i < side->entries; i++) {
		send(side);
		if (i % 20000 == 19999) { /* the log of one huge transaction would be what is measured */
			check(keel_store_commit(side->store, &err), "commit");
			check(keel_store_begin(side->store, &err), "begin");
		}
	}
	check(keel_store_commit(side->store, &err), "commit");
	if (!memory) {
		keel_store_close(side->store);
		open_side(side, durability);
	}
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

static void read_events(struct side *side)
{
	struct keel_event_query query = {.limit = 256, .runtime_id = keel_text_of("bench")};
	struct keel_events events = {0};
	int64_t newest;
	check(keel_event_high_water(side->store, &newest, &err), "high water");
	query.next_event_id = newest + 1;
	double started = now();
	for (int i = 0; i < 20000; i++)
		check(keel_event_read(side->store, &query, &events, &err), "read");
	double caught_up = (now() - started) / 20000;
	query.next_event_id = 1;
	long pages = 0, count = 0;
	started = now();
	do {
		check(keel_event_read(side->store, &query, &events, &err), "read");
		query.next_event_id = events.next_event_id;
		count += (long)events.count;
		pages++;
	} while (events.has_more && pages < 2000);
	double a_page = (now() - started) / (double)pages;
	printf("%ld entries   caught-up read %.2f us   page of 256 events %.1f us, %.2f M events/s\n", side->entries,
		   caught_up * 1e6, a_page * 1e6, (double)count / (a_page * (double)pages) / 1e6);
	keel_events_clear(&events);
}

static enum keel_durability durability_of(const char *name)
{
	static const char *const names[] = {"full", "normal", "off"};
	static const enum keel_durability all[] = {KEEL_DURABILITY_FULL, KEEL_DURABILITY_NORMAL, KEEL_DURABILITY_OFF};
	for (int i = 0; i < 3; i++)
		if (strcmp(name, names[i]) == 0)
			return all[i];
	die(name, "no durability; there are full, normal and off (and --memory)");
}

int main(int argc, char **argv)
{
	static struct side sides[SIDES_MAX];
	static const char *const names[] = {"full", "normal", "off"};
	char folder[FOLDER_SIZE], default_entries[] = "100,10000,1000000", *entries = default_entries;
	const char *parent = NULL;
	enum keel_durability durability = KEEL_DURABILITY_FULL;
	bool memory = false;
	long workers = 10;
	int rounds = 41, count = 0;
	double seconds = 0.1;
	for (int i = 1; i < argc; i++) {
		char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(argv[i], "--memory") == 0) {
			memory = true;
			continue;
		}
		if (value && strcmp(argv[i], "--entries") == 0)
			entries = value;
		else if (value && strcmp(argv[i], "--workers") == 0)
			workers = atol(value);
		else if (value && strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(value);
		else if (value && strcmp(argv[i], "--slice") == 0)
			seconds = atof(value);
		else if (value && strcmp(argv[i], "--folder") == 0)
			parent = value;
		else if (value && strcmp(argv[i], "--durability") == 0)
			durability = durability_of(value);
		else
			die(argv[i], "unknown option, or no value; the top of tests/bench/workers.c has the usage");
		i++;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || workers < 1)
		die("--rounds, --workers", "rounds from 1 to 999, workers from 1");
	for (char *at = strtok(entries, ","); at && count < SIDES_MAX; at = strtok(NULL, ","))
		sides[count++] = (struct side){.entries = atol(at), .workers = workers};
	make_folder(folder, parent);
	for (int i = 0; i < count; i++)
		make(&sides[i], folder, memory, durability);
	for (int round = -1; round < rounds; round++) /* one to warm up */
		for (int what = 0; what < 2; what++)
			for (int i = 0; i < count; i++)
				sides[i].rates[what][round < 0 ? 0 : round] = slice(&sides[i], what == 0, seconds);
	for (int what = 0; what < 2; what++) {
		double first = 0;
		for (int i = 0; i < count; i++) {
			double rate = median(sides[i].rates[what], rounds);
			first = i == 0 ? rate : first;
			printf("%-8s %-7s %8ld entries %9.0f /s   ratio %.3f\n", memory ? "memory" : names[durability],
				   what == 0 ? "sends" : "creates", sides[i].entries, rate, rate / first);
		}
	}
	read_events(&sides[count - 1]);
	for (int i = 0; i < count; i++)
		keel_store_close(sides[i].store);
	keel_workers_clear(&made);
	drop_folder(folder);
	return 0;
}
