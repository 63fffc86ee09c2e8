/* support.c - expectations, chance, the world and its files. */
#include "support.h"

#include <dirent.h>
#include <ftw.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct keel_error why;
struct world world;

/* --- Expectations ------------------------------------------------------------------------------------------------ */

static bool in_child;

static _Noreturn void give_up(const char *file, int line)
{
	if (in_child) {
		fflush(NULL);
		_exit(99);
	}
	_fail(file, line);
	abort(); /* _fail does not return; the compiler does not know */
}

void expect_code(enum keel_code wanted, enum keel_code got, const char *call, const char *file, int line)
{
	if (wanted == got)
		return;
	fprintf(stderr, "%s:%d: %s\n  came to %s, not %s: %s\n", file, line, call, keel_code_name(got),
			keel_code_name(wanted), got == why.code ? why.message : "");
	give_up(file, line);
}

void expect_true(bool condition, const char *words, const char *file, int line)
{
	if (condition)
		return;
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, words);
	give_up(file, line);
}

bool same_text(struct keel_text a, struct keel_text b)
{
	return !a.data == !b.data && a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

/* --- Chance ------------------------------------------------------------------------------------------------------ */

uint64_t chance_start(const char *what)
{
	uint64_t seed = 0;
	const char *given = getenv("KEEL_SEED");
	if (given)
		seed = strtoull(given, NULL, 10);
	else
		assert_int_equal(getrandom(&seed, 6, 0), 6);
	print_message("%s: KEEL_SEED=%llu\n", what, (unsigned long long)seed);
	return seed;
}

/* SplitMix64 (Steele, Lea, Flood 2014): any seed is a good one. */
uint64_t chance_next(uint64_t *chance)
{
	uint64_t z = *chance += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

int64_t chance_below(uint64_t *chance, int64_t end)
{
	return (int64_t)(chance_next(chance) % (uint64_t)end);
}

/* --- Memory ------------------------------------------------------------------------------------------------------ */

static _Atomic long live;

static void *counted_resize(void *data, void *memory, size_t size)
{
	(void)data;
	void *fresh = realloc(memory, size);
	if (fresh && !memory)
		live++;
	return fresh;
}

static void counted_release(void *data, void *memory)
{
	(void)data;
	live--;
	free(memory);
}

long live_allocations(void)
{
	return live;
}

void world_set_allocator(void)
{
	static const struct keel_allocator counted = {counted_resize, counted_release, NULL};
	keel_set_allocator(&counted);
}

/* --- The world --------------------------------------------------------------------------------------------------- */

static int64_t manual_now(void *data)
{
	return *(int64_t *)data;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
	(void)info;
	(void)type;
	(void)place;
	return remove(path);
}

int open_files(void)
{
	int count = 0;
	DIR *folder = opendir("/proc/self/fd");
	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

int world_make(void **state)
{
	const char *parent = getenv("TMPDIR");
	(void)state;
	world_set_allocator();
	memset(&world, 0, sizeof world);
	snprintf(world.folder, sizeof world.folder, "%s/keel-test-XXXXXX", parent && strlen(parent) < 64 ? parent : "/tmp");
	assert_non_null(mkdtemp(world.folder));
	snprintf(world.path, sizeof world.path, "%s/store", world.folder);
	world.time = INT64_C(1700000000) * 1000000;
	keel_store_options_init(&world.options);
	world.options.durability = KEEL_DURABILITY_OFF;
	world.options.lock_timeout_us = 0;
	world.options.clock = world.options.monotonic = (struct keel_clock){manual_now, &world.time};
	world.open_files = open_files();
	world.allocations = live;
	return 0;
}

int world_open(void **state)
{
	world_make(state);
	reopen_store();
	return 0;
}

/* Everything goes first, so that one test that fails does not make the next ones fail. */
int world_close(void **state)
{
	struct keel_problems problems = {0};
	enum keel_code code = KEEL_OK;
	(void)state;
	if (world.store && !world.damaged)
		code = keel_store_verify(world.store, &problems, &why);
	size_t found = print_problems(&problems);
	close_store();
	clear_looks();
	nftw(world.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(code, KEEL_OK);
	assert_int_equal(found, 0);
	assert_int_equal(live, world.allocations);
	assert_int_equal(open_files(), world.open_files);
	return 0;
}

const char *in_folder(const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", world.folder, name);
	return path;
}

struct keel_store *open_another(void)
{
	struct keel_store *store;
	succeed(keel_store_open(world.path, &world.options, &store, &why));
	return store;
}

void close_store(void)
{
	keel_store_close(world.store);
	world.store = NULL;
}

void reopen_store(void)
{
	close_store();
	world.store = open_another();
}

/* --- Files ------------------------------------------------------------------------------------------------------- */

void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

char *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	struct stat info;
	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &info), 0);
	char *data = malloc((size_t)info.st_size + 1);
	assert_non_null(data);
	*size = fread(data, 1, (size_t)info.st_size, file);
	fclose(file);
	return data;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* --- Children ---------------------------------------------------------------------------------------------------- */

bool support_is_child(int argc, char **argv)
{
	return argc > 2 && strcmp(argv[1], "--role") == 0;
}

int support_play(int argc, char **argv, const struct role *roles)
{
	in_child = true;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (; roles->name; roles++)
		if (strcmp(roles->name, argv[2]) == 0)
			return roles->play(argc - 3, argv + 3);
	fprintf(stderr, "no role %s\n", argv[2]);
	return 98;
}
