/* command.c - what running a command through `keel exec` costs, beside others that run one command at a time.
 *
 * Usage: command [--rounds N] [--keel FILE] [--folder DIR]
 *   --rounds  how often each is run (default 100): in turns, so that the load of the machine falls on all of them
 *   --keel    the command (default: the one that was built with this program)
 *   --folder  where a folder with the stores is made, and removed again (default: $TMPDIR or /tmp)
 *
 * Prints the median and the least of the wall time, and the CPU time of the program and all that it waited for; and how
 * many times that of `flock FILE true` the medians are. "in use": another process has the store open, as on a busy
 * machine; who is alone sets up SQLite's log and takes it down again, which costs four flushes. `tsp` is Debian's
 * task-spooler; what is not installed is left out. tsp hands the command to a server that runs already, whose CPU time
 * is not in its line.
 */
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <keel/keel.h>

#include "bench.h"

enum { WORDS = 8, BASELINE = 1 };

struct subject {
	const char *name;
	const char *words[WORDS];
	int is_missing;
	double *wall_ms;
	double cpu_ms; /* of all rounds */
};

static char lock[PATH_MAX], normal[PATH_MAX], busy[PATH_MAX], full[PATH_MAX], keel[PATH_MAX];

static struct subject subjects[] = {
	{.name = "true", .words = {"true"}},
	{.name = "flock FILE true", .words = {"flock", lock, "true"}},
	{.name = "tsp -f true", .words = {"tsp", "-f", "true"}},
	{.name = "keel version", .words = {keel, "version", "--quiet"}},
	{.name = "keel exec true, normal", .words = {keel, "exec", "--store", normal, "--durability", "normal", "true"}},
	{.name = "  the store in use", .words = {keel, "exec", "--store", busy, "--durability", "normal", "true"}},
	{.name = "keel exec true, full", .words = {keel, "exec", "--store", full, "true"}},
};
enum { SUBJECTS = sizeof subjects / sizeof subjects[0] };

extern char **environ;

static double ms(struct timeval time)
{
	return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

/* Runs a program to its end, without its output. Its exit status, or -1 when there is no such program. */
static int run(const char *const *words, double *wall_ms, double *cpu_ms)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1 /* O_WRONLY */, 0);
	pid_t pid;
	double begin = now() * 1e3;
	int problem = posix_spawnp(&pid, words[0], &actions, NULL, (char *const *)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (problem == ENOENT)
		return -1;
	if (problem)
		die(words[0], strerror(problem));
	int status;
	struct rusage used;
	while (wait4(pid, &status, 0, &used) < 0) {
		if (errno != EINTR)
			die(words[0], strerror(errno));
	}
	*wall_ms = now() * 1e3 - begin;
	*cpu_ms = ms(used.ru_utime) + ms(used.ru_stime);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The first round makes stores, starts the server of tsp and fills caches: it is not counted. */
static void measure(int rounds)
{
	for (int round = -1; round < rounds; round++) {
		for (int i = 0; i < SUBJECTS; i++) {
			struct subject *subject = &subjects[i];
			double wall = 0, cpu = 0;
			if (subject->is_missing)
				continue;
			int code = run(subject->words, &wall, &cpu);
			if (code < 0 && i > BASELINE && round < 0)
				subject->is_missing = 1;
			else if (code != 0)
				die(subject->name, "failed");
			if (round >= 0) {
				subject->wall_ms[round] = wall;
				subject->cpu_ms += cpu;
			}
		}
	}
}

static void report(int rounds)
{
	printf("%-24s %10s %10s %10s %10s\n", "", "median ms", "least ms", "CPU ms", "x flock");
	for (int i = 0; i < SUBJECTS; i++)
		qsort(subjects[i].wall_ms, (size_t)rounds, sizeof *subjects[i].wall_ms, compare);
	double baseline = subjects[BASELINE].wall_ms[rounds / 2];
	for (int i = 0; i < SUBJECTS; i++) {
		const struct subject *subject = &subjects[i];
		if (subject->is_missing) {
			printf("%-24s not installed\n", subject->name);
			continue;
		}
		double median = subject->wall_ms[rounds / 2];
		printf("%-24s %10.2f %10.2f %10.2f %10.1f\n", subject->name, median, subject->wall_ms[0],
			   subject->cpu_ms / rounds, median / baseline);
	}
}

static void name(char path[PATH_MAX], const char *folder, const char *file)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, file) >= PATH_MAX)
		die(folder, "the path is too long");
}

/* The command that was built with this program: three folders up. */
static void find_keel(void)
{
	char here[PATH_MAX];
	ssize_t got = readlink("/proc/self/exe", here, sizeof here - 1);
	if (got < 0)
		die("/proc/self/exe", strerror(errno));
	here[got] = '\0';
	for (int up = 0; up < 3; up++) {
		char *slash = strrchr(here, '/');
		if (slash)
			*slash = '\0';
	}
	name(keel, here, "keel");
}

int main(int argc, char **argv)
{
	int rounds = 100;
	const char *parent = NULL;
	find_keel();
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (value && strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(value);
		else if (value && strcmp(argv[i], "--keel") == 0)
			snprintf(keel, sizeof keel, "%s", value);
		else if (value && strcmp(argv[i], "--folder") == 0)
			parent = value;
		else
			die(argv[i], "unknown option, or no value; the top of tests/bench/command.c has the usage");
	}
	if (rounds < 1)
		die("--rounds", "at least 1");

	char folder[FOLDER_SIZE], socket[PATH_MAX];
	make_folder(folder, parent);
	name(lock, folder, "lock");
	name(normal, folder, "normal.db");
	name(busy, folder, "busy.db");
	name(full, folder, "full.db");
	name(socket, folder, "tsp");
	setenv("TS_SOCKET", socket, 1);
	for (int i = 0; i < SUBJECTS; i++) {
		subjects[i].wall_ms = calloc((size_t)rounds, sizeof *subjects[i].wall_ms);
		if (!subjects[i].wall_ms)
			die("memory", "none left");
	}

	struct keel_store *store;
	struct keel_error err;
	if (keel_store_open(busy, NULL, &store, &err) != KEEL_OK)
		die(busy, err.message);
	measure(rounds);
	report(rounds);
	keel_store_close(store);

	double wall, cpu;
	run((const char *const[]){"tsp", "-K", NULL}, &wall, &cpu);
	drop_folder(folder);
	for (int i = 0; i < SUBJECTS; i++)
		free(subjects[i].wall_ms);
	return 0;
}
