/* writers.c - many processes that write to one store: how much they get done, and how long the unluckiest waits.
 *
 * Each process commits one event at a time, as fast as it can: BEGIN IMMEDIATE, INSERT, COMMIT; with raw SQLite on
 * Keel's schema, waiting by busy_timeout, and through Keel. The two take turns in slices of two seconds, so that what
 * else the machine does hits both. A wait is the time of a whole operation, from the call to the commit. With --stop
 * there is one slice, and in its middle a process that waits is stopped (SIGSTOP) for two seconds: the longest wait and
 * the smallest share are those of the others.
 *
 * Usage: writers [--processes N] [--seconds N] [--durability NAME] [--stop] [--folder DIR]
 *   --processes   default 16, at most 64
 *   --seconds     a side (default 10)
 *   --durability  full or normal (default: both)
 *   --folder      where a folder with the stores is made, and removed again (default: $TMPDIR or /tmp)
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <sqlite3.h>

#include <keel/keel.h>

#include "bench.h"

enum {
	PROCESSES_MAX = 64,
	BUCKETS = 256, /* of waits: eight for each doubling */
	SLICE_S = 2,
	WAIT_MS = 60000 /* nobody gives up */
};

static const char data[] = "{\"strategy\":\"reject\",\"strategy_version\":\"0123456789abcdef\"}";

/* In a file that all processes map. */
struct shared {
	_Atomic int ready, go, stop;
	struct writer {
		_Atomic int64_t commits, longest_us;
		_Atomic int64_t since_us; /* when its operation began; 0: between two */
		_Atomic int64_t waits[BUCKETS];
	} writers[PROCESSES_MAX];
};

static int64_t now_us(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void pause_us(int64_t us)
{
	struct timespec time = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&time, NULL);
}

static struct shared *map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct shared)) != 0)
		die(path, strerror(errno));
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		die(path, strerror(errno));
	return shared;
}

static int bucket_of(int64_t us)
{
	int bucket = 0;
	while (us >= 16) {
		us = us >> 1;
		bucket += 8;
	}
	return bucket + (int)us < BUCKETS ? bucket + (int)us : BUCKETS - 1;
}

/* The upper end of a bucket. */
static double bucket_end(int bucket)
{
	double us = bucket < 16 ? bucket : 8 + bucket % 8;
	for (int i = 8; bucket >= 16 && i < bucket - bucket % 8; i += 8)
		us *= 2;
	return us;
}

/* --- A writer ---------------------------------------------------------------------------------------------------- */

static sqlite3 *raw_db;
static sqlite3_stmt *raw_begin, *raw_insert, *raw_commit;
static struct keel_store *keel;

static void raw_step(sqlite3_stmt *stmt)
{
	if (sqlite3_step(stmt) != SQLITE_DONE)
		die(sqlite3_sql(stmt), sqlite3_errmsg(raw_db));
	sqlite3_reset(stmt);
}

static void raw_open(const char *path, const char *durability)
{
	char pragma[64];
	snprintf(pragma, sizeof pragma, "PRAGMA synchronous = %s", durability);
	if (sqlite3_open_v2(path, &raw_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
		sqlite3_busy_timeout(raw_db, WAIT_MS) != SQLITE_OK || sqlite3_exec(raw_db, pragma, 0, 0, 0) != SQLITE_OK ||
		sqlite3_prepare_v2(raw_db, "BEGIN IMMEDIATE", -1, &raw_begin, NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(raw_db,
						   "INSERT INTO events (kind, at, thread_id, run_id, data) VALUES ('note', ?1, 't', 'r', ?2)",
						   -1, &raw_insert, NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(raw_db, "COMMIT", -1, &raw_commit, NULL) != SQLITE_OK)
		die(path, sqlite3_errmsg(raw_db));
}

static void raw_write(void)
{
	struct keel_clock clock = keel_clock_system();
	raw_step(raw_begin);
	sqlite3_bind_int64(raw_insert, 1, clock.now(clock.data));
	sqlite3_bind_text(raw_insert, 2, data, -1, SQLITE_STATIC);
	raw_step(raw_insert);
	raw_step(raw_commit);
}

static void keel_open(const char *path, const char *durability)
{
	struct keel_store_options options;
	struct keel_error err;
	int64_t session;
	keel_store_options_init(&options);
	options.durability = strcmp(durability, "full") == 0 ? KEEL_DURABILITY_FULL : KEEL_DURABILITY_NORMAL;
	options.lock_timeout_us = WAIT_MS * INT64_C(1000);
	if (keel_store_open(path, &options, &keel, &err) != KEEL_OK || keel_store_session(keel, &session, &err) != KEEL_OK)
		die(path, err.message);
}

static void keel_write(void)
{
	struct keel_event event = {0};
	struct keel_error err;
	event.kind = (struct keel_text){"note", 4};
	event.thread_id = (struct keel_text){"t", 1};
	event.run_id = (struct keel_text){"r", 1};
	event.data = (struct keel_text){data, sizeof data - 1};
	if (keel_event_append(keel, &event, NULL, &err) != KEEL_OK)
		die("keel_event_append", err.message);
}

static int write_until_told(const char *side, const char *path, const char *durability, struct shared *shared,
							struct writer *self)
{
	bool raw = strcmp(side, "raw") == 0;
	(raw ? raw_open : keel_open)(path, durability);
	shared->ready++;
	while (!shared->go)
		pause_us(1000);
	while (!shared->stop) {
		int64_t began = now_us();
		self->since_us = began;
		(raw ? raw_write : keel_write)();
		int64_t took = now_us() - began;
		self->since_us = 0;
		self->commits++;
		self->waits[bucket_of(took)]++;
		if (took > self->longest_us)
			self->longest_us = took;
	}
	if (raw) {
		sqlite3_finalize(raw_begin);
		sqlite3_finalize(raw_insert);
		sqlite3_finalize(raw_commit);
		sqlite3_close(raw_db);
	}
	keel_store_close(keel);
	return 0;
}

/* --- All of them ------------------------------------------------------------------------------------------------- */

static int64_t all_commits(struct shared *shared)
{
	int64_t sum = 0;
	for (int i = 0; i < PROCESSES_MAX; i++)
		sum += shared->writers[i].commits;
	return sum;
}

/* Stops one that waits: not one that holds the lock, which would stop all. Returns which. */
static int stop_a_waiter(struct shared *shared, const pid_t *pids, int processes)
{
	for (;;) {
		for (int i = 0; i < processes; i++) {
			int64_t since = shared->writers[i].since_us;
			if (since == 0 || now_us() - since < 5000)
				continue;
			kill(pids[i], SIGSTOP);
			pause_us(5000);
			int64_t before = all_commits(shared);
			pause_us(100 * 1000);
			if (shared->writers[i].since_us == since && all_commits(shared) > before + 10)
				return i;
			kill(pids[i], SIGCONT);
			pause_us(20 * 1000);
		}
		pause_us(500);
	}
}

struct result {
	double rate, longest_ms, p99_ms, least, most; /* shares: of a fair one */
};

/* What the slices of a side have come to. */
struct sum {
	double took;
	int stopped; /* -1: none */
	int64_t commits[PROCESSES_MAX], longest[PROCESSES_MAX], waits[BUCKETS];
};

static void measure(const char *side, const char *durability, const char *folder, int processes, double seconds,
					bool stop, struct sum *sum)
{
	char path[512], shared_path[512], number[16];
	pid_t pids[PROCESSES_MAX];
	struct keel_store *store;
	struct keel_error err;
	snprintf(path, sizeof path, "%s/%s-%s", folder, side, durability);
	snprintf(shared_path, sizeof shared_path, "%s/shared-%s-%s", folder, side, durability);
	if (keel_store_open(path, NULL, &store, &err) != KEEL_OK)
		die(path, err.message);
	keel_store_close(store);
	struct shared *shared = map(shared_path);
	memset(shared, 0, sizeof *shared);
	for (int i = 0; i < processes; i++) {
		snprintf(number, sizeof number, "%d", i);
		pids[i] = fork();
		if (pids[i] == 0) {
			execl("/proc/self/exe", "writers", "--write", side, path, durability, shared_path, number, (char *)NULL);
			_exit(1);
		}
	}
	while (shared->ready < processes)
		pause_us(1000);
	int64_t began = now_us();
	shared->go = 1;
	pause_us((int64_t)(seconds * 5e5));
	if (stop) {
		sum->stopped = stop_a_waiter(shared, pids, processes);
		pause_us(2 * 1000 * 1000);
		kill(pids[sum->stopped], SIGCONT);
	}
	int64_t rest = began + (int64_t)(seconds * 1e6) - now_us();
	if (rest > 0)
		pause_us(rest);
	shared->stop = 1;
	sum->took += (double)(now_us() - began) / 1e6;
	for (int i = 0; i < processes; i++) {
		struct writer *writer = &shared->writers[i];
		waitpid(pids[i], NULL, 0);
		sum->commits[i] += writer->commits;
		if (writer->longest_us > sum->longest[i])
			sum->longest[i] = writer->longest_us;
		for (int bucket = 0; bucket < BUCKETS; bucket++)
			sum->waits[bucket] += writer->waits[bucket];
	}
	munmap(shared, sizeof *shared);
}

static struct result conclude(const struct sum *sum, int processes)
{
	int64_t commits = 0, seen = 0, longest = 0, least = INT64_MAX, most = 0;
	int bucket = 0;
	for (int i = 0; i < processes; i++) {
		commits += sum->commits[i];
		most = sum->commits[i] > most ? sum->commits[i] : most;
		if (i == sum->stopped)
			continue;
		least = sum->commits[i] < least ? sum->commits[i] : least;
		longest = sum->longest[i] > longest ? sum->longest[i] : longest;
	}
	while (bucket < BUCKETS - 1 && (seen += sum->waits[bucket]) * 100 < commits * 99)
		bucket++;
	double fair = (double)commits / processes;
	return (struct result){(double)commits / sum->took, (double)longest / 1e3, bucket_end(bucket) / 1e3,
						   (double)least / fair, (double)most / fair};
}

static void print(const char *side, const char *durability, struct result result)
{
	printf("%-7s %-5s %9.0f %12.1f %10.2f %8.2f %8.2f\n", durability, side, result.rate, result.longest_ms,
		   result.p99_ms, result.least, result.most);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int processes = 16, seconds = 10;
	const char *only = NULL, *parent = NULL;
	char folder[FOLDER_SIZE];
	bool stop = false;
	if (argc == 7 && strcmp(argv[1], "--write") == 0) {
		struct shared *shared = map(argv[5]);
		return write_until_told(argv[2], argv[3], argv[4], shared, &shared->writers[atoi(argv[6])]);
	}
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";
		if (strcmp(argv[i], "--stop") == 0)
			stop = true;
		else if (strcmp(argv[i], "--processes") == 0)
			processes = atoi(value), i++;
		else if (strcmp(argv[i], "--seconds") == 0)
			seconds = atoi(value), i++;
		else if (strcmp(argv[i], "--durability") == 0)
			only = value, i++;
		else if (strcmp(argv[i], "--folder") == 0)
			parent = value, i++;
		else
			die("unknown option", argv[i]);
	}
	if (processes < 1 || processes > PROCESSES_MAX || seconds < 1 ||
		(only && strcmp(only, "full") != 0 && strcmp(only, "normal") != 0))
		die("bad option", "see the top of writers.c");
	int slices = stop || seconds < SLICE_S ? 1 : seconds / SLICE_S;
	make_folder(folder, parent);
	printf("%d processes, %d s a side%s\n", processes, seconds, stop ? ", one stopped for 2 s" : "");
	printf("%-7s %-5s %9s %12s %10s %8s %8s\n", "", "", "commits/s", "longest, ms", "p99, ms", "least", "most");
	static const char *const names[] = {"full", "normal"};
	for (int i = 0; i < 2; i++) {
		if (only && strcmp(only, names[i]) != 0)
			continue;
		struct sum sums[2] = {{.stopped = -1}, {.stopped = -1}};
		for (int slice = 0; slice < slices; slice++)
			for (int side = 0; side < 2; side++)
				measure(side ? "keel" : "raw", names[i], folder, processes, (double)seconds / slices, stop,
						&sums[side]);
		struct result raw = conclude(&sums[0], processes), ours = conclude(&sums[1], processes);
		print("raw", names[i], raw);
		print("keel", names[i], ours);
		printf("%-7s keel/raw: %.2f of the commits, %.3f of the longest wait\n", names[i], ours.rate / raw.rate,
			   ours.longest_ms / raw.longest_ms);
	}
	drop_folder(folder);
	return 0;
}
