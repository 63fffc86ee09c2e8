/* wake.c - what waiting for events costs: how soon another process notices a commit, what an idle waiter uses, and what
 * a commit costs with and without one.
 *
 * Usage: wake [--rounds N] [--idle SECONDS] [--folder DIR]
 *   --rounds  commits that are waited for, and commits timed a side (default 2000)
 *   --idle    how long the waiter has nothing to do (default 3)
 *   --folder  where a folder with the store is made, and removed again (default: $TMPDIR or /tmp)
 */
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <keel/keel.h>

#include "bench.h"

/* Pages that parent and child share. */
struct shared {
	_Atomic int64_t committed_ns; /* when the commit that is waited for had returned */
	_Atomic int64_t asleep;       /* the id the child waits for */
	_Atomic int stop;
	_Atomic int64_t idle_ns; /* CPU time of the child while it had nothing to do */
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void pause_us(int64_t us)
{
	struct timespec time = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&time, NULL);
}

static struct keel_store *open_store(const char *path)
{
	struct keel_store_options options;
	struct keel_store *store;
	struct keel_error err;
	keel_store_options_init(&options);
	options.durability = KEEL_DURABILITY_NORMAL;
	if (keel_store_open(path, &options, &store, &err) != KEEL_OK)
		die(path, err.message);
	return store;
}

static int64_t append(struct keel_store *store)
{
	struct keel_event event = {0};
	struct keel_error err;
	int64_t id;
	event.kind = (struct keel_text){"note", 4};
	if (keel_event_append(store, &event, &id, &err) != KEEL_OK)
		die("keel_event_append", err.message);
	return id;
}

static bool wait_for(struct keel_store *store, int64_t id, int64_t timeout_us)
{
	struct keel_error err;
	bool ready;
	if (keel_event_wait(store, id, timeout_us, &ready, &err) != KEEL_OK)
		die("keel_event_wait", err.message);
	return ready;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print(const char *what, double *us, int count)
{
	qsort(us, (size_t)count, sizeof *us, compare);
	printf("%-44s p50 %8.1f us   p99 %8.1f us   max %9.1f us\n", what, us[count / 2], us[count * 99 / 100],
		   us[count - 1]);
	fflush(stdout);
}

/* The child: waits for each event of the first part and says how late it was; then waits for what does not come. */
static void wait_and_tell(const char *path, struct shared *shared, int rounds, int64_t first)
{
	double *late = calloc((size_t)rounds, sizeof *late);
	struct keel_store *store = open_store(path);
	if (!late)
		die("calloc", "no memory");
	for (int i = 0; i < rounds; i++) {
		shared->asleep = first + i;
		wait_for(store, first + i, INT64_MAX);
		int64_t woken = clock_ns(CLOCK_MONOTONIC), committed;
		while ((committed = shared->committed_ns) == 0)
			continue; /* it was faster than the return of the commit */
		shared->committed_ns = 0;
		late[i] = woken > committed ? (double)(woken - committed) / 1e3 : 0;
	}
	print("from the return of a commit to the wake-up", late, rounds);
	int64_t before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	shared->asleep = INT64_MAX;
	while (!shared->stop)
		wait_for(store, INT64_MAX, 500 * 1000);
	shared->idle_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
	while (shared->stop == 1)
		wait_for(store, INT64_MAX, 10 * 1000); /* woken by each commit of the writer */
	keel_store_close(store);
	free(late);
}

static void time_commits(const char *what, struct keel_store *store, double *us, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		int64_t began = clock_ns(CLOCK_MONOTONIC);
		append(store);
		us[i] = (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e3;
	}
	print(what, us, rounds);
}

int main(int argc, char **argv)
{
	int rounds = 2000, idle = 3;
	const char *parent = NULL;
	char folder[FOLDER_SIZE], path[300];
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(value), i++;
		else if (strcmp(argv[i], "--idle") == 0)
			idle = atoi(value), i++;
		else if (strcmp(argv[i], "--folder") == 0)
			parent = value, i++;
		else
			die("unknown option", argv[i]);
	}
	if (rounds < 1 || idle < 1)
		die("bad option", "see the top of wake.c");
	make_folder(folder, parent);
	snprintf(path, sizeof path, "%s/store", folder);
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double *us = calloc((size_t)rounds, sizeof *us);
	if (shared == MAP_FAILED || !us)
		die("mmap", strerror(errno));
	pid_t child = fork(); /* before any store is open */
	if (child == 0) {
		while (shared->asleep == 0)
			pause_us(1000);
		wait_and_tell(path, shared, rounds, shared->asleep);
		return 0;
	}
	struct keel_store *store = open_store(path);
	int64_t next = append(store) + 1;
	shared->asleep = next;
	pause_us(100 * 1000);
	for (int i = 0; i < rounds; i++, next++) {
		while (shared->asleep != next)
			pause_us(50);
		pause_us(500 + i % 500); /* until it sleeps */
		append(store);
		shared->committed_ns = clock_ns(CLOCK_MONOTONIC);
	}
	while (shared->asleep != INT64_MAX)
		pause_us(1000);
	sleep((unsigned)idle);
	shared->stop = 1;
	while (shared->idle_ns == 0)
		pause_us(1000);
	printf("%-44s %.3f %%\n", "CPU of an idle waiter", (double)shared->idle_ns / 1e7 / idle);
	pause_us(20 * 1000);
	time_commits("a commit while somebody waits", store, us, rounds);
	shared->stop = 2;
	waitpid(child, NULL, 0);
	time_commits("a commit while nobody does", store, us, rounds);
	keel_store_close(store);
	free(us);
	drop_folder(folder);
	return 0;
}
