/* claim.c - what claiming costs behind long queues: ten threads with few runs waiting each and with many.
 *
 * A turn claims a run, ends it and puts a new one at the end of its thread's queue, so that the queues stay as long as
 * they are; of each thread one run runs at a time. Only the claims are timed. The two stores take turns in short slices
 * (A B A B …), so that what else the machine does hits both; the ratio is that of the medians. Nothing is flushed to
 * the disk: that would hide what is measured.
 *
 * Usage: claim [--few N] [--many N] [--delayed N] [--rounds N] [--slice SECONDS] [--folder DIR]
 *   --few, --many  runs that wait on each thread (default 10 and 10000)
 *   --delayed      runs of the second store, before all others, whose time has not come (default 0)
 *   --rounds       slices a side (default 9)
 *   --slice        seconds a slice (default 0.5)
 *   --folder       where a folder with the stores is made, and removed again (default: $TMPDIR or /tmp)
 */

#include <keel/keel.h>

#include "base/text.h"
#include "bench.h"
#include "run/rows.h"

enum { THREADS = 10, ROUNDS_MAX = 999 };

struct side {
	char path[512];
	struct keel_store *store;
	struct keel_runs claimed;
	long made;
};

static struct keel_error err;

static void check(enum keel_code code, const char *what)
{
	if (code != KEEL_OK)
		die(what, err.message);
}

/* --- A turn ------------------------------------------------------------------------------------------------------ */

static void put_waiting(struct side *side, int64_t scheduled_at)
{
	char id[32], thread[32];
	struct keel_run run = {0};
	snprintf(id, sizeof id, "run-%ld", side->made);
	snprintf(thread, sizeof thread, "%s-%ld", scheduled_at ? "delayed" : "thread", side->made++ % THREADS);
	KEEL_RUN_SET(&run, RUN_ID, run_id, keel_text_of(id));
	KEEL_RUN_SET(&run, THREAD_ID, thread_id, keel_text_of(thread));
	KEEL_RUN_SET(&run, CLAIMABLE, claimable, 1);
	KEEL_RUN_SET(&run, CONCURRENCY, concurrency, 1);
	if (scheduled_at)
		KEEL_RUN_SET(&run, SCHEDULED_AT, scheduled_at, scheduled_at);
	check(keel_run_put(side->store, &run, (struct keel_text){NULL, 0}, NULL, &err), "put");
}

/* Claims a run, ends it, puts another. Returns the seconds of the claim. */
static double turn(struct side *side)
{
	struct keel_claim asked = {.limit = KEEL_LIST_MAX};
	struct keel_status_change done = {.status = KEEL_RUN_SUCCESS};
	bool found;
	double started = now();
	check(keel_run_claim_next(side->store, &asked, &side->claimed, &err), "claim");
	double seconds = now() - started;
	if (side->claimed.count != 1)
		die("claim", "there was nothing to take");
	check(keel_run_update_status(side->store, side->claimed.items[0].run_id, &done, &found, NULL, &err), "end");
	put_waiting(side, 0);
	return seconds;
}

/* Claims a second, over so many seconds of turns. */
static double slice(struct side *side, double seconds)
{
	double started = now(), claiming = 0;
	int count = 0;
	do {
		claiming += turn(side);
		count++;
	} while (now() - started < seconds);
	return count / claiming;
}

/* --- Side by side ------------------------------------------------------------------------------------------------ */

static void make(struct side *side, const char *folder, const char *name, long waiting, long delayed)
{
	struct keel_store_options options;
	keel_store_options_init(&options);
	options.durability = KEEL_DURABILITY_OFF;
	snprintf(side->path, sizeof side->path, "%s/claim-%s.db", folder, name);
	check(keel_store_open(side->path, &options, &side->store, &err), side->path);
	check(keel_store_begin(side->store, &err), "begin");
	for (long i = 0; i < delayed; i++)
		put_waiting(side, INT64_C(4102444800000000)); /* the year 2100 */
	for (long i = 0; i < waiting * THREADS; i++)
		put_waiting(side, 0);
	check(keel_store_commit(side->store, &err), "commit");
}

static void drop(struct side *side)
{
	keel_runs_clear(&side->claimed);
	keel_store_close(side->store);
}

int main(int argc, char **argv)
{
	struct side sides[2] = {0};
	const char *parent = NULL;
	char folder[FOLDER_SIZE];
	long few = 10, many = 10000, delayed = 0;
	int rounds = 9;
	double seconds = 0.5, rates[2][ROUNDS_MAX];
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (value && strcmp(argv[i], "--few") == 0)
			few = atol(value);
		else if (value && strcmp(argv[i], "--many") == 0)
			many = atol(value);
		else if (value && strcmp(argv[i], "--delayed") == 0)
			delayed = atol(value);
		else if (value && strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(value);
		else if (value && strcmp(argv[i], "--slice") == 0)
			seconds = atof(value);
		else if (value && strcmp(argv[i], "--folder") == 0)
			parent = value;
		else
			die(argv[i], "unknown option, or no value; the top of tests/bench/claim.c has the usage");
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || few < 1 || many < 1)
		die("--rounds, --few, --many", "rounds from 1 to 999, runs from 1");
	make_folder(folder, parent);
	make(&sides[0], folder, "few", few, 0);
	make(&sides[1], folder, "many", many, delayed);
	for (int side = 0; side < 2; side++)
		slice(&sides[side], seconds / 2);
	for (int i = 0; i < rounds; i++)
		for (int side = 0; side < 2; side++)
			rates[side][i] = slice(&sides[side], seconds);
	for (int side = 0; side < 2; side++)
		drop(&sides[side]);
	drop_folder(folder);
	double short_queues = median(rates[0], rounds), long_queues = median(rates[1], rounds);
	printf("%d threads   %ld waiting each %7.0f claims/s   %ld waiting each, %ld delayed %7.0f claims/s   ratio %.3f\n",
		   THREADS, few, short_queues, many, delayed, long_queues, long_queues / short_queues);
	return 0;
}
