/* support_fault.c - the faults, what the store holds as a text, and the sweep. */
#include "support_fault.h"

#include <unistd.h>

#include <sqlite3.h>

#include "store/store.h"

/* --- Faults ------------------------------------------------------------------------------------------------------ */

enum fault {
	FAULT_KEEL_MEMORY,   /* allocations of Keel */
	FAULT_SQLITE_MEMORY, /* allocations of SQLite */
	FAULT_BUSY,          /* calls of SQLite: what they return without having done anything */
	FAULT_IO,
	FAULT_FULL, /* writing calls only; SQLite rolls the transaction back by itself */
	FAULT_NO_MEMORY,
	FAULT_COUNT
};

static const struct {
	const char *name;
	int rc; /* what SQLite's calls return; 0: allocations */
	enum keel_code code;
} faults[FAULT_COUNT] = {
	[FAULT_KEEL_MEMORY] = {"no memory for Keel", 0, KEEL_NO_MEMORY},
	[FAULT_SQLITE_MEMORY] = {"no memory for SQLite", 0, KEEL_NO_MEMORY},
	[FAULT_BUSY] = {"SQLITE_BUSY", SQLITE_BUSY, KEEL_BUSY},
	[FAULT_IO] = {"SQLITE_IOERR", SQLITE_IOERR_WRITE, KEEL_IO},
	[FAULT_FULL] = {"SQLITE_FULL", SQLITE_FULL, KEEL_STORE_FULL},
	[FAULT_NO_MEMORY] = {"SQLITE_NOMEM", SQLITE_NOMEM, KEEL_NO_MEMORY},
};

static struct {
	bool on, for_good;
	enum fault fault;
	long n;       /* the chance that is taken */
	long chances; /* so far */
	long injected;
} fate;

static void faults_on(enum fault fault, bool for_good, long n)
{
	fate.fault = fault;
	fate.for_good = for_good;
	fate.n = n;
	fate.chances = fate.injected = 0;
	fate.on = true;
}

static sqlite3_stmt *textless; /* there was no memory for a text of its row */

static long faults_off(void)
{
	textless = NULL; /* another statement may get its place */
	fate.on = false;
	return fate.injected;
}

static bool strikes(void)
{
	fate.chances++;
	if (fate.chances != fate.n && (fate.chances < fate.n || !fate.for_good))
		return false;
	fate.injected++;
	return true;
}

static bool memory_strikes(enum fault fault)
{
	return fate.on && fate.fault == fault && strikes();
}

/* --- Memory ------------------------------------------------------------------------------------------------------ */

static long live; /* allocations of Keel */

static void *faulty_resize(void *data, void *memory, size_t size)
{
	(void)data;
	if (memory_strikes(FAULT_KEEL_MEMORY))
		return NULL;
	void *fresh = realloc(memory, size);
	live += fresh && !memory;
	return fresh;
}

static void faulty_release(void *data, void *memory)
{
	(void)data;
	live--;
	free(memory);
}

static sqlite3_mem_methods plain;

static void *faulty_malloc(int size)
{
	return memory_strikes(FAULT_SQLITE_MEMORY) ? NULL : plain.xMalloc(size);
}

static void *faulty_realloc(void *memory, int size)
{
	return memory_strikes(FAULT_SQLITE_MEMORY) ? NULL : plain.xRealloc(memory, size);
}

static void faults_prepare(void)
{
	must(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain) == SQLITE_OK);
	sqlite3_mem_methods faulty = plain;
	faulty.xMalloc = faulty_malloc;
	faulty.xRealloc = faulty_realloc;
	must(sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty) == SQLITE_OK);
	must(sqlite3_initialize() == SQLITE_OK);
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0); /* thousands of small stores */
}

/* --- Calls ------------------------------------------------------------------------------------------------------- */

int __real_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int __real_sqlite3_close_v2(sqlite3 *db);
int __real_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback each, void *data, char **message);
int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **stmt,
							  const char **tail);
int __real_sqlite3_step(sqlite3_stmt *stmt);
int __real_sqlite3_reset(sqlite3_stmt *stmt);
int __real_sqlite3_bind_text64(sqlite3_stmt *stmt, int parameter, const char *data, sqlite3_uint64 size,
							   void (*release)(void *), unsigned char encoding);
int __real_sqlite3_bind_int64(sqlite3_stmt *stmt, int parameter, sqlite3_int64 value);
int __real_sqlite3_bind_null(sqlite3_stmt *stmt, int parameter);
const unsigned char *__real_sqlite3_column_text(sqlite3_stmt *stmt, int column);

int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs);
int __wrap_sqlite3_close_v2(sqlite3 *db);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback each, void *data, char **message);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **stmt,
							  const char **tail);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_reset(sqlite3_stmt *stmt);
int __wrap_sqlite3_bind_text64(sqlite3_stmt *stmt, int parameter, const char *data, sqlite3_uint64 size,
							   void (*release)(void *), unsigned char encoding);
int __wrap_sqlite3_bind_int64(sqlite3_stmt *stmt, int parameter, sqlite3_int64 value);
int __wrap_sqlite3_bind_null(sqlite3_stmt *stmt, int parameter);
const unsigned char *__wrap_sqlite3_column_text(sqlite3_stmt *stmt, int column);

#define BIT(fault) (1u << FAULT_##fault)
#define ANY_CALL (BIT(BUSY) | BIT(IO) | BIT(FULL) | BIT(NO_MEMORY))

/* Whether this call, which can fail in these ways, is to fail. */
static bool call_strikes(unsigned ways)
{
	return fate.on && (ways & (1u << fate.fault)) && strikes();
}

static sqlite3 *newest_connection; /* of Keel; NULL: closed */

/* A file that cannot be opened still gives a connection to close; without memory there is none. */
int __wrap_sqlite3_open_v2(const char *path, sqlite3 **db, int flags, const char *vfs)
{
	int rc = SQLITE_OK;
	*db = NULL;
	if (call_strikes(BIT(IO) | BIT(NO_MEMORY)))
		rc = faults[fate.fault].rc;
	if (rc != SQLITE_NOMEM) {
		int real = __real_sqlite3_open_v2(path, db, flags, vfs);
		rc = rc == SQLITE_OK ? real : rc;
	}
	if (flags & SQLITE_OPEN_NOMUTEX) /* as Keel opens it, and no test */
		newest_connection = *db;
	return rc;
}

/* Never fails: it postpones. */
int __wrap_sqlite3_close_v2(sqlite3 *db)
{
	if (db == newest_connection)
		newest_connection = NULL;
	return __real_sqlite3_close_v2(db);
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback each, void *data, char **message)
{
	return call_strikes(ANY_CALL) ? faults[fate.fault].rc : __real_sqlite3_exec(db, sql, each, data, message);
}

/* Reads the schema when it has changed. */
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **stmt,
							  const char **tail)
{
	if (!call_strikes(BIT(BUSY) | BIT(IO) | BIT(NO_MEMORY)))
		return __real_sqlite3_prepare_v3(db, sql, size, flags, stmt, tail);
	*stmt = NULL;
	return faults[fate.fault].rc;
}

/* A disk is full for what writes; that SQLite then rolls back by itself is among what it documents. */
int __wrap_sqlite3_step(sqlite3_stmt *stmt)
{
	unsigned ways = BIT(BUSY) | BIT(IO) | BIT(NO_MEMORY);
	if (!sqlite3_stmt_readonly(stmt) || strcmp(sqlite3_sql(stmt), "COMMIT") == 0)
		ways |= BIT(FULL);
	if (stmt == textless) { /* what SQLite does after column_text */
		textless = NULL;
		return SQLITE_NOMEM;
	}
	if (!call_strikes(ways))
		return __real_sqlite3_step(stmt);
	sqlite3 *db = sqlite3_db_handle(stmt);
	if (fate.fault == FAULT_FULL && !sqlite3_get_autocommit(db))
		__real_sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return faults[fate.fault].rc;
}

/* Repeats the code of the step before, having done its work. */
int __wrap_sqlite3_reset(sqlite3_stmt *stmt)
{
	int rc = __real_sqlite3_reset(stmt);
	if (stmt == textless)
		textless = NULL;
	return call_strikes(BIT(IO)) ? faults[fate.fault].rc : rc;
}

int __wrap_sqlite3_bind_text64(sqlite3_stmt *stmt, int parameter, const char *data, sqlite3_uint64 size,
							   void (*release)(void *), unsigned char encoding)
{
	return call_strikes(BIT(NO_MEMORY)) ? SQLITE_NOMEM
										: __real_sqlite3_bind_text64(stmt, parameter, data, size, release, encoding);
}

int __wrap_sqlite3_bind_int64(sqlite3_stmt *stmt, int parameter, sqlite3_int64 value)
{
	return call_strikes(BIT(NO_MEMORY)) ? SQLITE_NOMEM : __real_sqlite3_bind_int64(stmt, parameter, value);
}

int __wrap_sqlite3_bind_null(sqlite3_stmt *stmt, int parameter)
{
	return call_strikes(BIT(NO_MEMORY)) ? SQLITE_NOMEM : __real_sqlite3_bind_null(stmt, parameter);
}

const unsigned char *__wrap_sqlite3_column_text(sqlite3_stmt *stmt, int column)
{
	if (sqlite3_column_type(stmt, column) == SQLITE_NULL || !call_strikes(BIT(NO_MEMORY)))
		return __real_sqlite3_column_text(stmt, column);
	textless = stmt;
	return NULL;
}

/* --- What the store holds ---------------------------------------------------------------------------------------- */

struct picture {
	char text[24 * 1024];
	size_t size;
};

static void add(struct picture *picture, const char *words, size_t size)
{
	must(picture->size + size < sizeof picture->text);
	memcpy(picture->text + picture->size, words, size);
	picture->size += size;
	picture->text[picture->size] = '\0';
}

/* Numbers of sessions depend on how many handles there were before: they are left out, in the data of events too. */
static void add_value(struct picture *picture, const char *value)
{
	static const char session[] = "\"session_id\":";
	const char *at = strstr(value, session);
	if (!at) {
		add(picture, value, strlen(value));
		return;
	}
	at += sizeof session - 1;
	add(picture, value, (size_t)(at - value));
	at += strspn(at, "0123456789");
	add(picture, at, strlen(at));
}

static void add_rows(struct picture *picture, sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt;
	must(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK);
	int rc;
	while ((rc = __real_sqlite3_step(stmt)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(stmt); i++) {
			const char *name = sqlite3_column_name(stmt, i);
			if (sqlite3_column_type(stmt, i) == SQLITE_NULL || strcmp(name, "session_id") == 0)
				continue;
			add(picture, name, strlen(name));
			add(picture, "=", 1);
			add_value(picture, (const char *)__real_sqlite3_column_text(stmt, i));
			add(picture, " ", 1);
		}
		add(picture, "\n", 1);
	}
	sqlite3_finalize(stmt);
	must(rc == SQLITE_DONE);
}

/* What the tables hold as another process would see it. An empty text when there is no store. */
static void look(struct picture *picture)
{
	sqlite3 *db = newest_connection;
	picture->size = 0;
	picture->text[0] = '\0';
	if (!file_exists(world.path))
		return;
	/* Outside of transactions the handle's own connection sees the same, and has read the schema already. */
	bool borrowed = db && sqlite3_get_autocommit(db);
	if (!borrowed)
		must(__real_sqlite3_open_v2(world.path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK);
	add_rows(picture, db, "SELECT count(*) AS parts FROM sqlite_schema");
	if (strcmp(picture->text, "parts=0 \n") == 0) {
		picture->text[picture->size = 0] = '\0';
	} else {
		add_rows(picture, db, "SELECT * FROM runs ORDER BY seq");
		if (sqlite3_table_column_metadata(db, NULL, "outcomes", NULL, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK) {
			add_rows(picture, db, "SELECT * FROM live ORDER BY seq");
			add_rows(picture, db, "SELECT * FROM outcomes ORDER BY seq");
		}
		add_rows(picture, db, "SELECT * FROM events ORDER BY id");
		if (sqlite3_table_column_metadata(db, NULL, "leases", NULL, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK)
			add_rows(picture, db, "SELECT * FROM leases ORDER BY name");
		if (sqlite3_table_column_metadata(db, NULL, "workers", NULL, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK) {
			add_rows(picture, db, "SELECT event_low_water, reconciler FROM store");
			add_rows(picture, db, "SELECT * FROM runtimes ORDER BY seq");
			add_rows(picture, db, "SELECT * FROM workers ORDER BY seq");
			add_rows(picture, db, "SELECT * FROM transcripts ORDER BY event_id");
			add_rows(picture, db, "SELECT * FROM diagnostics ORDER BY runtime, id");
		}
	}
	if (!borrowed)
		__real_sqlite3_close_v2(db);
}

static bool same_picture(const struct picture *a, const struct picture *b)
{
	return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* --- The sweep --------------------------------------------------------------------------------------------------- */

struct trial {
	const struct operation *operation;
	enum fault fault;
	bool in_transaction;
	char name[128];
};

struct keel_runs answered_runs;
struct keel_events answered_events;

/* Of the sweep that is on. */
static const struct trial *trial; /* NULL: none */
static bool for_good;
static long n;
static struct picture before, after, seen;
static char answers[4096], answer_wanted[4096];
static char *image; /* of the store's file */
static size_t image_size;
static sqlite3_int64 sqlite_memory;
static long chances; /* of the operation, when nothing fails */

void answer(const char *format, ...)
{
	va_list args;
	size_t size = strlen(answers);
	va_start(args, format);
	int more = vsnprintf(answers + size, sizeof answers - size, format, args);
	va_end(args);
	must(more >= 0 && size + (size_t)more < sizeof answers);
}

static void show_round(void)
{
	fprintf(stderr, "in %s, %s, N = %ld:\n", trial->name, for_good ? "for good" : "once", n);
}

static void expect(bool condition, const char *words)
{
	if (condition)
		return;
	show_round();
	fprintf(stderr, "  %s\n", words);
	_fail(__FILE__, __LINE__);
}

static void expect_picture(const struct picture *wanted, const char *words)
{
	look(&seen);
	if (same_picture(wanted, &seen))
		return;
	fprintf(stderr, "--- wanted\n%s--- found\n%s", wanted->text, seen.text);
	expect(false, words);
}

static const struct operation *operation(void)
{
	return trial->operation;
}

static bool has(unsigned trait)
{
	return operation()->traits & trait;
}

static enum keel_code act(void)
{
	struct keel_error ignored;
	answers[0] = '\0';
	memset(&why, 0, sizeof why);
	if (!trial->in_transaction)
		return operation()->act();
	enum keel_code code = keel_store_begin(world.store, &why);
	if (code != KEEL_OK)
		return code;
	code = operation()->act();
	if (code == KEEL_OK)
		return keel_store_commit(world.store, &why);
	keel_store_commit(world.store, &ignored);
	return code;
}

/* The files as the fixture left them. The side file stays: locks on it are what tells who is alive. */
static void restore(void)
{
	unlink(in_folder("store-wal"));
	unlink(in_folder("store-shm"));
	unlink(world.path);
	if (image)
		write_file(world.path, image, image_size);
}

static void begin_round(void)
{
	restore();
	if (!has(OPENS))
		reopen_store();
	if (operation()->ready)
		operation()->ready();
}

static void end_round(void)
{
	if (operation()->finish)
		operation()->finish();
	close_store();
}

/* Nobody lives but this handle, if it has made its session. */
static void expect_sessions(void)
{
	struct keel_sessions sessions = {0};
	succeed(keel_store_sessions(world.store, &sessions, &why));
	for (size_t i = 0; i < sessions.count; i++)
		if (sessions.items[i].alive)
			expect(sessions.items[i].session_id == world.store->session, "a session lives that nobody has");
	keel_sessions_clear(&sessions);
}

static void expect_success(void)
{
	if (strcmp(answers, answer_wanted) != 0) {
		fprintf(stderr, "--- wanted\n%s\n--- found\n%s\n", answer_wanted, answers);
		expect(false, "the answer is another than without faults");
	}
	expect_picture(&after, "it succeeded without its effect");
}

static void expect_failure(enum keel_code code)
{
	if (code != faults[trial->fault].code || why.code != code) {
		fprintf(stderr, "  %s, detail %s: %s\n", keel_code_name(code), keel_code_name(why.code), why.message);
		expect(false, "the code is not that of the fault");
	}
	expect(why.message[0] != '\0', "the failure has no words");
	expect(why.transient == (code == KEEL_BUSY), "the failure is transient just when the store is busy");
	look(&seen);
	/* Opening may fail behind its effect, the schema. */
	if (has(OPENS) && same_picture(&seen, &after))
		return;
	expect_picture(&before, "it failed and changed something");
}

enum { SELDOM = 16, SOMETIMES = 4 };

/* False when nothing was injected. */
static bool play_round(void)
{
	begin_round();
	faults_on(trial->fault, for_good, n);
	enum keel_code code = act();
	bool same_handle = !for_good || n % 2 == 0 || has(OWNS);
	if (!same_handle)
		close_store();
	long injected = faults_off();
	bool calls_fail_for_good = for_good && faults[trial->fault].rc;
	if (world.store && !calls_fail_for_good) /* then it cannot roll back; it makes up for that when it begins again */
		expect(!world.store->open && !world.store->sql->driver->in_transaction(world.store->sql),
			   "a transaction is left open");
	if (code == KEEL_OK) {
		expect_success();
	} else {
		expect(injected > 0, "it failed without a fault");
		expect_failure(code);
		if (!world.store && !has(OPENS))
			reopen_store();
		code = act();
		if (code != KEEL_OK)
			fprintf(stderr, "  %s: %s\n", keel_code_name(code), why.message);
		expect(code == KEEL_OK, "repeated without faults, it failed");
		expect_success();
	}
	if (operation()->finish)
		operation()->finish();
	if (!world.store)
		reopen_store();
	if (!has(UNLOCKED))
		expect_sessions();
	/* For good, the store comes to the same states. To verify takes longer than all the rest, and the tables were
	 * compared already: it is done now and then, and even more seldom after what only reads. */
	if (!has(UNSOUND) && !for_good && n % (has(READS | MANY) ? SELDOM : SOMETIMES) == 1)
		check_sound(world.store);
	close_store();
	keel_runs_clear(&answered_runs);
	keel_events_clear(&answered_events);
	expect(live == 0, "memory of Keel is left");
	expect(sqlite3_memory_used() == sqlite_memory, "memory of SQLite is left");
	return injected > 0;
}

/* What it starts from, and what it comes to without faults. */
static void learn(void)
{
	if (!has(CREATES)) {
		if (!has(OPENS))
			reopen_store();
		if (operation()->fixture)
			operation()->fixture();
		close_store();
		image = read_file(world.path, &image_size);
	}
	for (int i = 0; i < 2; i++) { /* SQLite keeps some memory for ever: after the first time it has it */
		begin_round();
		look(&before);
		faults_on(trial->fault, false, 0);
		succeed(act());
		faults_off();
		chances = fate.chances;
		look(&after);
		strcpy(answer_wanted, answers);
		end_round();
		keel_runs_clear(&answered_runs);
		keel_events_clear(&answered_events);
		sqlite_memory = sqlite3_memory_used();
	}
	if (has(READS))
		expect(same_picture(&before, &after), "it reads and changes something");
}

/* The step of N: every place fails once, and once with all that follow. Only of SQLite's own allocations, which are
 * hundreds where it reads a schema, as many are taken as time allows; KEEL_FAULTS=all takes every one, and
 * KEEL_FAULTS=few some six to twelve of anything, which is for slow builds. */
static long step(void)
{
	/* odd: N is even and odd by turns */
	enum { SQLITE_ALLOCATIONS = 25, MANY_ALLOCATIONS = 400, FOR_GOOD = 5, FEW = 6 };
	const char *wanted = getenv("KEEL_FAULTS");
	bool few = wanted && strcmp(wanted, "few") == 0;
	if (few)
		return chances / FEW > 1 ? (chances / FEW - 1) | 1 : 1;
	if (trial->fault != FAULT_SQLITE_MEMORY || (wanted && strcmp(wanted, "all") == 0))
		return 1;
	return (1 + chances / (has(MANY) ? MANY_ALLOCATIONS : SQLITE_ALLOCATIONS)) * (for_good ? FOR_GOOD : 1);
}

static void sweep(void **state)
{
	trial = *state;
	learn();
	for (int mode = 0; mode < 2; mode++) {
		long rounds = 0;
		for_good = mode == 1;
		for (n = 1; play_round(); n += step())
			rounds++;
		bool few = trial->fault == FAULT_KEEL_MEMORY || trial->fault == FAULT_FULL || has(LITTLE_SQL);
		expect(rounds >= (few ? 1 : for_good ? 2 : 6), "nearly nothing was injected");
	}
	trial = NULL;
}

static int sweep_begins(void **state)
{
	static const struct keel_allocator faulty = {faulty_resize, faulty_release, NULL};
	void *kept = *state;
	world_make(&kept);
	keel_set_allocator(&faulty);
	return 0;
}

static int sweep_ends(void **state)
{
	faults_off();
	if (trial) { /* it failed */
		show_round();
		end_round();
	}
	trial = NULL;
	keel_runs_clear(&answered_runs);
	keel_events_clear(&answered_events);
	free(image);
	image = NULL;
	world_close(state);
	assert_int_equal(live, 0);
	return 0;
}

/* In a transaction an operation can fail in the same places; what differs is what becomes of the transaction. */
static bool can_be_inside(unsigned traits, enum fault fault)
{
	return !(traits & (OPENS | READS | TRANSACTS)) &&
		   (fault == FAULT_KEEL_MEMORY || fault == FAULT_IO || fault == FAULT_FULL);
}

int sweep_operations(const char *name, const struct operation *operations, size_t count)
{
	size_t tests_count = 0;
	struct trial *trials = calloc(count * FAULT_COUNT * 2, sizeof *trials);
	struct CMUnitTest *tests = calloc(count * FAULT_COUNT * 2, sizeof *tests);
	must(trials && tests);
	faults_prepare();
	for (size_t i = 0; i < count; i++) {
		unsigned traits = operations[i].traits;
		for (enum fault fault = 0; fault < FAULT_COUNT; fault++) {
			if (fault == FAULT_FULL && (traits & READS))
				continue;
			for (int inside = 0; inside <= can_be_inside(traits, fault); inside++) {
				struct trial *one = &trials[tests_count];
				*one = (struct trial){&operations[i], fault, inside == 1, ""};
				snprintf(one->name, sizeof one->name, "%s%s, %s", operations[i].name, inside ? " in a transaction" : "",
						 faults[fault].name);
				tests[tests_count++] = (struct CMUnitTest){one->name, sweep, sweep_begins, sweep_ends, one};
			}
		}
	}
	int failed = _cmocka_run_group_tests(name, tests, tests_count, NULL, NULL);
	free(tests);
	free(trials);
	return failed;
}
