/* support.h - what the C tests share: a world with a store in a folder of its own and a clock that stands still, verbs
 * for what tests do to it, and processes.
 *
 * A test is one sentence in a comment and a few verbs. Verbs act on the store of the world; where a call of the kernel
 * is made directly, `succeed` and `refuse` say what it must come to.
 */
#ifndef KEEL_TESTS_SUPPORT_H
#define KEEL_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include <keel/keel.h>

#include "base/text.h"
#include "run/rows.h"

/* --- Tests ------------------------------------------------------------------------------------------------------- */

#define TEST(name) static void name(void **state __attribute__((unused)))

/* In the list of tests: one that needs the world, and one that does not. */
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, world_make, world_close)
#define ALONE(test) cmocka_unit_test(test)

/* The detail of the last failure that a verb saw; for &why in direct calls. */
extern struct keel_error why;

/* The call must come to KEEL_OK, or to KEEL_<code>. In a child process a breach ends the child with status 99. */
#define succeed(call) expect_code(KEEL_OK, (call), #call, __FILE__, __LINE__)
#define refuse(code, call) expect_code(KEEL_##code, (call), #call, __FILE__, __LINE__)
void expect_code(enum keel_code wanted, enum keel_code got, const char *call, const char *file, int line);

/* The same for a condition; works in children too. */
#define must(condition) expect_true((condition), #condition, __FILE__, __LINE__)
void expect_true(bool condition, const char *text, const char *file, int line);

/* invalid_request must be about this field. */
#define refuse_field(field_, call) (refuse(INVALID_REQUEST, call), assert_string_equal(why.field, field_))

static inline struct keel_text text(const char *data)
{
	return keel_text_of(data);
}
static const struct keel_text nothing = {NULL, 0};

bool same_text(struct keel_text a, struct keel_text b);

/* --- Chance ------------------------------------------------------------------------------------------------------ */

/* Starts a sequence of random numbers and prints its seed; $KEEL_SEED repeats one. */
uint64_t chance_start(const char *what);
uint64_t chance_next(uint64_t *chance);
int64_t chance_below(uint64_t *chance, int64_t end); /* 0 to end - 1 */

/* --- The world --------------------------------------------------------------------------------------------------- */

extern struct world {
	char folder[128];
	char path[160];                    /* of the store */
	struct keel_store_options options; /* what the store is opened with: durability off, no waiting, a clock by hand */
	int64_t time;                      /* what the clock says */
	struct keel_store *store;          /* NULL: not open */
	bool damaged;                      /* the test has damaged the store: it is not verified in the end */
	int open_files;                    /* before the test */
	long allocations;
} world;

int world_make(void **state);  /* a folder, no store */
int world_open(void **state);  /* a folder with an open store */
int world_close(void **state); /* verifies and closes the store; no memory, file or descriptor may be left */

/* A name in the folder; static text, good for the next few calls. */
const char *in_folder(const char *name);

struct keel_store *open_another(void); /* a second handle on the world's store, with the world's options */
void close_store(void);
void reopen_store(void);
int open_files(void);           /* descriptors of this process */
long live_allocations(void);    /* of the kernel */
void world_set_allocator(void); /* after a test has set another one: back to the one that counts */

/* --- Runs -------------------------------------------------------------------------------------------------------- */

struct keel_run run_of(const char *run_id, const char *thread_id); /* a record with just these */
struct keel_worker_request request_of(const char *worker_id);      /* for an assistant, of which nothing is said */
#define SET(run, NAME, member, value) KEEL_RUN_SET(run, NAME, member, value)

void put(const struct keel_run *run);
void put_pending(const char *run_id, const char *thread_id);
void put_with_status(const char *run_id, const char *thread_id, enum keel_run_status status);
void put_owned(const char *run_id, const char *thread_id); /* running, by this handle's session */
void change_status(const char *run_id, enum keel_run_status status);
bool is_there(const char *run_id);
const struct keel_run *row(const char *run_id); /* must be there; good until the next call */
enum keel_run_status status_of(const char *run_id);
int64_t count_inflight(const char *thread_id);

/* "r1 r2 r3": the ids of a list; static text. */
const char *ids_of(const struct keel_runs *list);
const char *ids_of_thread(const char *thread_id, int64_t limit);
const char *ids_inflight(const char *thread_id); /* NULL: of all threads */
void clear_looks(void);                          /* the memory behind what these verbs show */

/* --- Events ------------------------------------------------------------------------------------------------------ */

int64_t append(const char *kind, const char *run_id); /* a caller's own event; returns the id */
const char *kinds_of(const char *run_id);             /* "run_created run_started"; NULL: the whole log; static text */
struct keel_event last_event(void);                   /* the newest; good until the next call */
int64_t newest_event(void);                           /* its id; 0: none */
void check_log_gapless(struct keel_store *store);     /* ids 1, 2, 3 … */

/* --- Looking behind ---------------------------------------------------------------------------------------------- */

void check_sound(struct keel_store *store);            /* verify finds nothing */
size_t print_problems(struct keel_problems *problems); /* clears them too; returns how many there were */
void index_log(void);                                  /* after events were written by raw SQL */
void raw(const char *sql);                             /* SQL on the world's file, past the kernel */
int64_t raw_number(const char *sql);
int64_t raw_number_at(const char *path, const char *sql);
void raw_at(const char *path, const char *sql);

/* --- The kernel's connection ------------------------------------------------------------------------------------- */

struct sqlite3;
extern struct sqlite3 *last_connection;        /* the one opened last, whoever opened it; see watch_connections */
int watch_connections(void **state);           /* sets up a group of tests that use it */
int64_t work_of(struct sqlite3 *db, int what); /* since the last question; `what` is an SQLITE_STMTSTATUS_ */
int64_t steps_of(struct sqlite3 *db);          /* the same, of the instructions of SQLite's machine */

/* --- Files ------------------------------------------------------------------------------------------------------- */

void write_file(const char *path, const void *data, size_t size);
char *read_file(const char *path, size_t *size); /* freed by the caller */
bool file_exists(const char *path);

/* --- Processes --------------------------------------------------------------------------------------------------- */

/* A process that plays a role: this program, started anew, so that it inherits no state. `support_main` finds the role
 * by its name. What it writes to stdout the test hears; it hears what the test says on stdin. */
struct child {
	pid_t pid;
	int to, from;
};
struct role {
	const char *name;
	int (*play)(int argc, char **argv); /* argv[0] is the first argument of `start` behind the role */
};

struct child start(const char *role, ...) __attribute__((sentinel)); /* arguments: texts, then NULL */
void say(struct child *child, const char *line);
const char *hear(struct child *child); /* a line, without its end; "" when the child has gone; static text */
void await(struct child *child, const char *line); /* the next line must be this */
void kill_child(struct child *child);              /* SIGKILL, and waits for the end */
int finish_child(struct child *child); /* closes its stdin and waits; returns the exit status, -1 for a signal */

void child_says(const char *format, ...) __attribute__((format(printf, 1, 2))); /* in a child: a line to the test */
bool child_hears(char *line, size_t size);                                      /* in a child: false at the end */

/* The body of main in a test program: plays a role when started as a child, else runs the tests. Roles end with {0}. */
#define RUN_TESTS(argc, argv, roles, tests)                                   \
	(support_is_child((argc), (argv)) ? support_play((argc), (argv), (roles)) \
									  : cmocka_run_group_tests(tests, NULL, NULL))
bool support_is_child(int argc, char **argv);
int support_play(int argc, char **argv, const struct role *roles);

#endif
