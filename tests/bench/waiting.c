/* waiting.c - what runs that wait cost others: instructions of SQLite's machine, counted, beside few and many of them.
 *
 * In a store in memory so many claimable runs wait for the same sort of thing, dealt out to ten threads:
 *   time    for its time; one comes due a minute, in an order of chance
 *   source  each to be after another run, which runs
 *   one     all to be after the same run
 *   slot    all for the one place of a name
 *   rate    all for a start a day of a name
 *   pause   all for a name that is paused
 *   turns   each for one of two names, with one place each, which are freed in turn
 *   pairs   each for another pair of names: hundreds have the same first name, which has no place
 * Counted are, each by the median of all rounds:
 *   new     one more that waits is made, behind all others
 *   miss    a claim that finds nothing
 *   find    a claim of a run that waits for nothing and was made last
 *   free    what lets one of them start: a run ends, a pause is over, a name gets a place; nothing when time passes
 *   next    the claim that takes it
 * In brackets is the ratio to the first number of runs. What is never let go ("one") has neither free nor next. Of
 * pairs, free and next need not be the same with more of them: all that want the name may start now, and are looked at.
 * The priorities of the first runs, and the order of their times, are of chance: the same with the same seed.
 *
 * Usage: waiting [--seed N] [--rounds N] [--only SORT] [RUNS ...]
 *   --seed    of the priorities and times (default 1)
 *   --rounds  of each kind (default 21)
 *   --only    one sort of what is waited for (default: all)
 *   RUNS      how many wait (default 10 10000 100000)
 */

#include <keel/keel.h>

#include <stdbool.h>

#include "base/text.h"
#include "run/rows.h"
#include "steps.h"

enum { THREADS = 10, ROUNDS_MAX = 999, SIZES_MAX = 16, MINUTE = 60 * 1000000 };

#define DAY (INT64_C(86400) * 1000000)
#define BEGINNING INT64_C(1767225600000000)

enum figure { NEW, MISS, FIND, FREE, NEXT, FIGURES };
static const char *const figure_names[] = {"new", "miss", "find", "free", "next"};

static struct keel_error err;
static const struct keel_text nothing = {NULL, 0};

static void check(enum keel_code code, const char *what)
{
	if (code != KEEL_OK)
		die(what, err.message);
}

/* A store, and what waits in it. */
struct world {
	struct keel_store *store;
	struct keel_runs claimed;
	int64_t time; /* of its clock */
	uint64_t chance;
	long waiting; /* to be made at first */
	long made, freed;
	long side; /* names of each half of a pair */
	int holders;
	char held[2][KEEL_ID_MAX + 1]; /* who has the places */
	int64_t *minutes;              /* of each run its time */
};

static int64_t world_now(void *data)
{
	return ((struct world *)data)->time;
}

/* 0 to `below` - 1 (xorshift64*). */
static uint64_t chance(struct world *world, uint64_t below)
{
	world->chance ^= world->chance >> 12;
	world->chance ^= world->chance << 25;
	world->chance ^= world->chance >> 27;
	return (world->chance * UINT64_C(2685821657736338717) >> 32) % below;
}

/* --- Runs --------------------------------------------------------------------------------------------------------- */

static struct keel_run run_of(const char *run_id, const char *thread_id)
{
	struct keel_run run = {0};
	KEEL_RUN_SET(&run, RUN_ID, run_id, keel_text_of(run_id));
	KEEL_RUN_SET(&run, THREAD_ID, thread_id, keel_text_of(thread_id));
	return run;
}

static void put(struct world *world, const struct keel_run *run)
{
	check(keel_run_put(world->store, run, nothing, NULL, &err), "put");
}

/* One that runs here. */
static void put_running(struct world *world, const char *run_id)
{
	struct keel_run run = run_of(run_id, run_id);
	int64_t session;
	check(keel_store_session(world->store, &session, &err), "session");
	KEEL_RUN_SET(&run, SESSION_ID, session_id, session);
	KEEL_RUN_SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	put(world, &run);
}

static void end(struct world *world, const char *run_id)
{
	struct keel_status_change done = {.status = KEEL_RUN_SUCCESS};
	bool found;
	check(keel_run_update_status(world->store, keel_text_of(run_id), &done, &found, NULL, &err), "end");
	if (!found)
		die("end", "there is no such run");
}

/* Claims; `taken` is the id of the run, "" for none. */
static void claim(struct world *world, char taken[KEEL_ID_MAX + 1])
{
	struct keel_claim asked = {.limit = KEEL_LIST_MAX};
	check(keel_run_claim_next(world->store, &asked, &world->claimed, &err), "claim");
	struct keel_text id = world->claimed.count ? world->claimed.items[0].run_id : keel_text_of("");
	snprintf(taken, KEEL_ID_MAX + 1, "%.*s", (int)id.size, id.data);
}

static void set_limit(struct world *world, const char *name, const struct keel_limit_change *change)
{
	bool changed;
	check(keel_limit_set(world->store, keel_text_of(name), change, &changed, &err), "limit");
}

/* --- What is waited for ------------------------------------------------------------------------------------------- */

struct sort {
	const char *name;
	void (*prepare)(struct world *world); /* NULL: nothing */
	/* Gives a run what the i-th waits for, as a text in `wanted`. */
	void (*wait)(struct world *world, long i, struct keel_run *run, char *wanted);
	void (*release)(struct world *world); /* lets one start; NULL: none ever does */
	void (*close)(struct world *world);   /* when it has ended: nobody else is to start; NULL: nobody can */
	int taken;                            /* runs that start before anything is counted */
	bool is_held;                         /* what they have taken they keep, until they are ended */
};

enum { WANTED_SIZE = 128 };

static void wait_for_time(struct world *world, long i, struct keel_run *run, char *wanted)
{
	(void)wanted;
	int64_t minute = i < world->waiting ? world->minutes[i] : i + 1;
	KEEL_RUN_SET(run, SCHEDULED_AT, scheduled_at, BEGINNING + minute * MINUTE);
}

static void let_time_pass(struct world *world)
{
	world->time = BEGINNING + (world->freed + 1) * MINUTE;
}

static void wait_for_source(struct world *world, long i, struct keel_run *run, char *wanted)
{
	char source[32];
	snprintf(source, sizeof source, "source-%ld", i);
	put_running(world, source);
	snprintf(wanted, WANTED_SIZE, "success run %s", source);
	KEEL_RUN_SET(run, AFTER, after, keel_text_of(wanted));
}

static void end_source(struct world *world)
{
	char source[32];
	snprintf(source, sizeof source, "source-%ld", world->freed);
	end(world, source);
}

static void make_source(struct world *world)
{
	put_running(world, "source");
}

static void wait_for_one(struct world *world, long i, struct keel_run *run, char *wanted)
{
	(void)world;
	(void)i;
	snprintf(wanted, WANTED_SIZE, "success run source");
	KEEL_RUN_SET(run, AFTER, after, keel_text_of(wanted));
}

static void want_place(struct world *world, long i, struct keel_run *run, char *wanted)
{
	(void)world;
	(void)i;
	snprintf(wanted, WANTED_SIZE, "1 gpu");
	KEEL_RUN_SET(run, SLOTS, slots, keel_text_of(wanted));
}

static void end_holder(struct world *world)
{
	end(world, world->held[world->freed % world->holders]);
}

static void want_start(struct world *world, long i, struct keel_run *run, char *wanted)
{
	(void)world;
	(void)i;
	snprintf(wanted, WANTED_SIZE, "1 %lld mail", (long long)DAY);
	KEEL_RUN_SET(run, RATES, rates, keel_text_of(wanted));
}

static void let_day_pass(struct world *world)
{
	world->time += DAY;
}

static void pause_name(struct world *world)
{
	set_limit(world, "gpu", &(struct keel_limit_change){.gives_paused = true, .paused = true});
}

static void resume_name(struct world *world)
{
	set_limit(world, "gpu", &(struct keel_limit_change){.gives_paused = true, .paused = false});
}

static void want_in_turn(struct world *world, long i, struct keel_run *run, char *wanted)
{
	(void)world;
	snprintf(wanted, WANTED_SIZE, i % 2 ? "1 odd" : "1 even");
	KEEL_RUN_SET(run, SLOTS, slots, keel_text_of(wanted));
}

/* What is set for the i-th of the names of which each run of a pair wants one. */
static void set_places(struct world *world, long i, int64_t max)
{
	char name[32];
	snprintf(name, sizeof name, "left %ld", i);
	set_limit(world, name, &(struct keel_limit_change){.gives_max = true, .max = max});
}

static void close_names(struct world *world)
{
	for (world->side = 1; world->side * world->side < world->waiting + ROUNDS_MAX; world->side++)
		;
	for (long i = 0; i < world->side; i++)
		set_places(world, i, 0);
}

static void open_name(struct world *world)
{
	set_places(world, world->freed % world->side, 1);
}

static void close_name(struct world *world)
{
	set_places(world, world->freed % world->side, 0);
}

static void want_pair(struct world *world, long i, struct keel_run *run, char *wanted)
{
	snprintf(wanted, WANTED_SIZE, "9 left %ld\n9 right %ld", i % world->side, i / world->side);
	KEEL_RUN_SET(run, SLOTS, slots, keel_text_of(wanted));
}

static const struct sort sorts[] = {
	{"time", NULL, wait_for_time, let_time_pass, NULL, 0, false},
	{"source", NULL, wait_for_source, end_source, NULL, 0, false},
	{"one", make_source, wait_for_one, NULL, NULL, 0, false},
	{"slot", NULL, want_place, end_holder, NULL, 1, true},
	{"rate", NULL, want_start, let_day_pass, NULL, 1, false},
	{"pause", pause_name, want_place, resume_name, pause_name, 0, false},
	{"turns", NULL, want_in_turn, end_holder, NULL, 2, true},
	{"pairs", close_names, want_pair, open_name, close_name, 0, false},
};
enum { SORTS = sizeof sorts / sizeof sorts[0] };

/* --- A store of them ---------------------------------------------------------------------------------------------- */

static void put_waiting(struct world *world, const struct sort *sort)
{
	char run_id[32], thread_id[32], wanted[WANTED_SIZE] = "";
	snprintf(run_id, sizeof run_id, "run-%ld", world->made);
	snprintf(thread_id, sizeof thread_id, "thread-%ld", world->made % THREADS);
	struct keel_run run = run_of(run_id, thread_id);
	KEEL_RUN_SET(&run, CLAIMABLE, claimable, 1);
	KEEL_RUN_SET(&run, PRIORITY, priority, world->made < world->waiting ? 1 + (int64_t)chance(world, 9) : 0);
	sort->wait(world, world->made++, &run, wanted);
	(void)steps(); /* of making what it waits for */
	put(world, &run);
}

/* The minutes 1 to `waiting`, in an order of chance. */
static void deal_times(struct world *world)
{
	world->minutes = calloc((size_t)world->waiting, sizeof *world->minutes);
	if (!world->minutes)
		die("times", "no memory");
	for (long i = 0; i < world->waiting; i++) {
		long other = (long)chance(world, (uint64_t)i + 1);
		world->minutes[i] = world->minutes[other];
		world->minutes[other] = i + 1;
	}
}

static void make(struct world *world, const struct sort *sort, long waiting, uint64_t seed)
{
	struct keel_store_options options;
	*world = (struct world){.time = BEGINNING, .chance = seed * 2 + 1, .waiting = waiting, .holders = sort->taken};
	keel_store_options_init(&options);
	options.clock = options.monotonic = (struct keel_clock){world_now, world};
	check(keel_store_open(":memory:", &options, &world->store, &err), "open");
	deal_times(world);
	check(keel_store_begin(world->store, &err), "begin");
	if (sort->prepare)
		sort->prepare(world);
	for (long i = 0; i < waiting; i++)
		put_waiting(world, sort);
	check(keel_store_commit(world->store, &err), "commit");
	for (int i = 0; i < sort->taken; i++) {
		claim(world, world->held[i]);
		if (!world->held[i][0])
			die(sort->name, "nothing can start at first");
	}
}

static void drop(struct world *world)
{
	keel_runs_clear(&world->claimed);
	keel_store_close(world->store);
	free(world->minutes);
}

/* --- Rounds ------------------------------------------------------------------------------------------------------- */

static void count_find(struct world *world, double *figure)
{
	char run_id[32], taken[KEEL_ID_MAX + 1];
	snprintf(run_id, sizeof run_id, "free-%ld", world->made);
	struct keel_run run = run_of(run_id, run_id);
	KEEL_RUN_SET(&run, CLAIMABLE, claimable, 1);
	KEEL_RUN_SET(&run, PRIORITY, priority, -1);
	put(world, &run);
	(void)steps();
	claim(world, taken);
	*figure = (double)steps();
	if (strcmp(taken, run_id) != 0)
		die(run_id, "was not found");
	end(world, run_id);
}

static void count_release(struct world *world, const struct sort *sort, double *freeing, double *next)
{
	char taken[KEEL_ID_MAX + 1];
	(void)steps();
	sort->release(world);
	*freeing = (double)steps();
	claim(world, taken);
	*next = (double)steps();
	if (!taken[0])
		die(sort->name, "nothing was let go");
	if (sort->is_held)
		memcpy(world->held[world->freed % world->holders], taken, sizeof taken);
	else
		end(world, taken);
	if (sort->close)
		sort->close(world);
	world->freed++;
}

/* One round; as many wait after it as before. */
static void go_round(struct world *world, const struct sort *sort, double figures[FIGURES])
{
	char taken[KEEL_ID_MAX + 1];
	(void)steps();
	put_waiting(world, sort);
	figures[NEW] = (double)steps();
	claim(world, taken);
	(void)steps(); /* the first look after something has happened parks what it finds */
	claim(world, taken);
	figures[MISS] = (double)steps();
	if (taken[0])
		die(sort->name, "one that waits was taken");
	count_find(world, &figures[FIND]);
	figures[FREE] = figures[NEXT] = 0;
	if (sort->release)
		count_release(world, sort, &figures[FREE], &figures[NEXT]);
}

static void measure(const struct sort *sort, long waiting, int rounds, uint64_t seed, double medians[FIGURES])
{
	static double all[FIGURES][ROUNDS_MAX];
	struct world world;
	make(&world, sort, waiting, seed);
	double figures[FIGURES];
	for (int i = 0; i < 4; i++)
		go_round(&world, sort, figures); /* statements are prepared once */
	for (int i = 0; i < rounds; i++) {
		go_round(&world, sort, figures);
		for (int j = 0; j < FIGURES; j++)
			all[j][i] = figures[j];
	}
	for (int j = 0; j < FIGURES; j++)
		medians[j] = median(all[j], rounds);
	drop(&world);
}

static void print(const struct sort *sort, long waiting, const double figures[FIGURES], const double first[FIGURES])
{
	printf("%-7s %7ld", sort->name, waiting);
	for (int i = 0; i < FIGURES; i++) {
		if (figures[i] > 0)
			printf("  %7.0f (%.2f)", figures[i], figures[i] / first[i]);
		else
			printf("  %7s       ", "-");
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	long sizes[SIZES_MAX] = {10, 10000, 100000}, number, seed = 1;
	int rounds = 21, count = 0;
	const char *only = NULL;
	for (int i = 1; i < argc; i++) {
		const char *option = argv[i], *value = option[0] == '-' ? argv[++i] : option;
		number = value ? atol(value) : 0;
		if (value && strcmp(option, "--only") == 0)
			only = value;
		else if (number < 1 || count == SIZES_MAX)
			die(option, "not a number that fits; the top of tests/bench/waiting.c has the usage");
		else if (strcmp(option, "--seed") == 0)
			seed = number;
		else if (strcmp(option, "--rounds") == 0 && number <= ROUNDS_MAX - 4)
			rounds = (int)number;
		else if (option[0] != '-')
			sizes[count++] = number;
		else
			die(option, "unknown option; the top of tests/bench/waiting.c has the usage");
	}
	count = count ? count : 3;
	count_steps();
	printf("waits for  runs");
	for (int i = 0; i < FIGURES; i++)
		printf("  %7s       ", figure_names[i]);
	printf("\n");
	bool any = false;
	for (int i = 0; i < SORTS; i++) {
		double figures[FIGURES], first[FIGURES];
		if (only && strcmp(only, sorts[i].name) != 0)
			continue;
		any = true;
		for (int j = 0; j < count; j++) {
			measure(&sorts[i], sizes[j], rounds, (uint64_t)seed, figures);
			if (j == 0)
				memcpy(first, figures, sizeof first);
			print(&sorts[i], sizes[j], figures, first);
			fflush(stdout);
		}
	}
	if (!any)
		die(only, "no such sort");
	return 0;
}
