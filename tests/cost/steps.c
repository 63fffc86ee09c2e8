/* steps.c - counts, for tests/cost/run.sh: the steps that SQLite's virtual machine makes for each operation, and how
 * often a commit flushes.
 *
 * Prints a line "NAME FIGURE" each. An operation is counted in three stores: with 10 runs in flight, with 100 000, and
 * with 10 and 1 000 000 that have ended. It must cost the same in all, within a tenth; the figure is the most.
 */
#include "support.h"

#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- What is counted --------------------------------------------------------------------------------------------- */

static sqlite3 *own; /* the connection of the store that is counted */

/* SQLite in this process calls these: each is counted, and done. */
static int flushes;

__attribute__((visibility("default"))) int fsync(int fd)
{
	flushes++;
	return (int)syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
	flushes++;
	return (int)syscall(SYS_fdatasync, fd);
}

/* --- The stores -------------------------------------------------------------------------------------------------- */

enum { FEW = 10, MANY = 100000, THREADS = 1000, DOUBLINGS = 10 };

/* Half of them run, owned by another process's session; the others wait for them to be claimed. */
static void fill_inflight(int count)
{
	struct keel_store *other = open_another();
	int64_t session;
	succeed(keel_store_session(other, &session, &why));
	keel_store_close(other);
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < count; i++) {
		char run_id[32], thread_id[32];
		snprintf(run_id, sizeof run_id, "busy%d", i);
		snprintf(thread_id, sizeof thread_id, "busy%d", i / 2 % THREADS);
		struct keel_run run = run_of(run_id, thread_id);
		SET(&run, CONCURRENCY, concurrency, 1);
		if (i % 2) {
			SET(&run, CLAIMABLE, claimable, 1);
		} else {
			SET(&run, STATUS, status, KEEL_RUN_RUNNING);
			SET(&run, SESSION_ID, session_id, session);
		}
		put(&run);
	}
	succeed(keel_store_commit(world.store, &why));
}

/* The columns of a table, `seq` moved by ?1 and `run_id` made longer by ?2: a copy of a row that is another run. */
static char *columns_of_copy(const char *table)
{
	char *list = NULL, *ask = sqlite3_mprintf("SELECT name FROM pragma_table_info(%Q)", table);
	sqlite3_stmt *select;
	must(sqlite3_prepare_v2(own, ask, -1, &select, NULL) == SQLITE_OK);
	while (sqlite3_step(select) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(select, 0);
		const char *copy = strcmp(name, "seq") == 0 ? "seq + ?1" : strcmp(name, "run_id") == 0 ? "run_id || ?2" : name;
		char *more = sqlite3_mprintf("%z%s%s", list, list ? ", " : "", copy);
		must(more != NULL);
		list = more;
	}
	sqlite3_finalize(select);
	sqlite3_free(ask);
	return list;
}

/* Doubles what a table has of the runs that have ended; `runs` comes last. */
static void double_ended(const char *table, int round, int64_t by)
{
	char *columns = columns_of_copy(table), suffix[16];
	char *copy = sqlite3_mprintf("INSERT INTO %s SELECT %s FROM %s WHERE seq IN (SELECT seq FROM runs WHERE"
								 " run_id LIKE 'ended%%')",
								 table, columns, table);
	sqlite3_stmt *insert;
	snprintf(suffix, sizeof suffix, ".%d", round);
	must(sqlite3_prepare_v2(own, copy, -1, &insert, NULL) == SQLITE_OK);
	must(sqlite3_bind_int64(insert, 1, by) == SQLITE_OK);
	must(sqlite3_bind_parameter_count(insert) < 2 || sqlite3_bind_text(insert, 2, suffix, -1, NULL) == SQLITE_OK);
	must(sqlite3_step(insert) == SQLITE_DONE);
	sqlite3_finalize(insert);
	sqlite3_free(copy);
	sqlite3_free(columns);
}

/* Runs that have ended, on the threads that are counted on, each with an event. */
static void fill_ended(void)
{
	must(sqlite3_exec(own, "PRAGMA cache_size = -500000", NULL, NULL, NULL) == SQLITE_OK); /* KiB: it is quicker */
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < THREADS; i++) {
		char run_id[32], thread_id[32];
		snprintf(run_id, sizeof run_id, "ended%d", i);
		snprintf(thread_id, sizeof thread_id, "t%d", i);
		put_with_status(run_id, thread_id, KEEL_RUN_SUCCESS);
	}
	succeed(keel_store_commit(world.store, &why));
	for (int round = 0; round < DOUBLINGS; round++) {
		int64_t by = raw_number("SELECT max(seq) FROM runs");
		double_ended("outcomes", round, by);
		double_ended("runs", round, by);
	}
	static const char log[] =
		"INSERT INTO events (kind, at, run_id, thread_id) SELECT 'run_finished', created_at, run_id, thread_id FROM"
		" runs WHERE run_id LIKE 'ended%.%'";
	must(sqlite3_exec(own, log, NULL, NULL, NULL) == SQLITE_OK);
	index_log();
	must(raw_number("SELECT count(*) FROM runs") > 1000000);
}

/* --- The operations ---------------------------------------------------------------------------------------------- */

/* One run goes through all of it; the number makes its id and its thread. */
static char run_id[32], thread_id[32];
static struct keel_runs runs;
static struct keel_events events;

static void admit(void)
{
	struct keel_run run = run_of(run_id, thread_id);
	bool admitted;
	SET(&run, METADATA, metadata, text("{\"request\":1}"));
	SET(&run, CONCURRENCY, concurrency, 1);
	SET(&run, IDEMPOTENCY_KEY, idempotency_key, text(run_id));
	succeed(keel_store_session(world.store, &run.session_id, &why));
	SET(&run, SESSION_ID, session_id, run.session_id);
	succeed(keel_run_admit(world.store, &run, nothing, &admitted, NULL, &why));
	must(admitted);
}

static void ask_gate(void)
{
	struct keel_gate_state state;
	bool found;
	succeed(keel_run_gate(world.store, text(run_id), &found, &state, &why));
	must(found && state.gate == KEEL_GATE_OPEN);
}

static void start_run(void)
{
	struct keel_start asked = {.fence = 1, .lease_us = 1000000};
	struct keel_gate_state state;
	bool found;
	succeed(keel_run_start(world.store, text(run_id), &asked, &found, &state, NULL, &why));
	must(found && state.gate == KEEL_GATE_OPEN);
}

static void renew(void)
{
	int64_t renewed;
	succeed(keel_run_renew(world.store, 1000000, &renewed, &why));
	must(renewed == 1);
}

static void progress(void)
{
	struct keel_run fields = {0};
	bool found;
	SET(&fields, TOTAL_TOKENS, total_tokens, 5);
	succeed(keel_run_progress(world.store, text(run_id), &fields, &found, NULL, &why));
}

static void give_back(void)
{
	struct keel_requeue asked = {0};
	bool found;
	succeed(keel_run_requeue(world.store, text(run_id), &asked, &found, NULL, &why));
	must(found);
}

/* There is something better to do than what waits, and it can start. */
static void claim(void)
{
	struct keel_claim asked = {.limit = 100};
	succeed(keel_run_claim_next(world.store, &asked, &runs, &why));
	must(runs.count == 1 && same_text(runs.items[0].run_id, text(run_id)));
}

static void complete(void)
{
	struct keel_run fields = {0};
	bool found;
	SET(&fields, STATUS, status, KEEL_RUN_SUCCESS);
	SET(&fields, TOTAL_TOKENS, total_tokens, 7);
	succeed(keel_run_complete(world.store, text(run_id), &fields, &found, NULL, &why));
	must(found);
}

static void get(void)
{
	succeed(keel_run_get(world.store, text(run_id), nothing, &runs, &why));
	must(runs.count == 1);
}

static void find_by_key(void)
{
	succeed(keel_run_find_by_key(world.store, text(run_id), nothing, &runs, &why));
	must(runs.count == 1);
}

static void count_thread(void)
{
	int64_t count;
	succeed(keel_run_count_inflight(world.store, text(thread_id), &count, &why));
	must(count == 0);
}

static void list_own(void)
{
	struct keel_inflight_query query = {.limit = 10};
	succeed(keel_store_session(world.store, &query.session_id, &why));
	succeed(keel_run_list_inflight(world.store, &query, &runs, &why));
	must(runs.count == 1);
}

static void next_owner(void)
{
	int64_t session;
	succeed(keel_run_next_owner(world.store, 0, &session, &why));
	must(session > 0);
}

static void append_event(void)
{
	append("note", run_id);
}

static void read_event(void)
{
	struct keel_event_query query = {.limit = 10};
	query.next_event_id = newest_event();
	(void)steps_of(own); /* that was not it */
	query.run_id = text(run_id);
	succeed(keel_event_read(world.store, &query, &events, &why));
	must(events.count == 1);
}

static void remove_run(void)
{
	bool deleted;
	succeed(keel_run_delete(world.store, text(run_id), &deleted, &why));
	must(deleted);
}

static const struct operation {
	const char *name;
	void (*act)(void);
} operations[] = {
	{"admission", admit},
	{"gate", ask_gate},
	{"start", start_run},
	{"renewal", renew},
	{"progress", progress},
	{"list_own", list_own},
	{"next_owner", next_owner},
	{"giving_back", give_back},
	{"claim", claim},
	{"completion", complete},
	{"get", get},
	{"find_by_key", find_by_key},
	{"count_thread", count_thread},
	{"append", append_event},
	{"read_event", read_event},
	{"deletion", remove_run},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0], STORES = 3 };

/* Each operation on four runs. The first time its statements are prepared; the least of the others leaves out that now
 * and then a block of events is full. */
static void count_all(int64_t counts[OPERATIONS])
{
	for (int round = 0; round < 4; round++) {
		snprintf(run_id, sizeof run_id, "counted%d", round);
		snprintf(thread_id, sizeof thread_id, "t%d", round);
		for (int i = 0; i < OPERATIONS; i++) {
			(void)steps_of(own);
			operations[i].act();
			int64_t now = steps_of(own);
			if (round == 1 || (round > 1 && now < counts[i]))
				counts[i] = now;
		}
	}
	keel_runs_clear(&runs);
	keel_events_clear(&events);
	clear_looks();
}

static int count_steps(void)
{
	int64_t counts[STORES][OPERATIONS];
	int uneven = 0;
	for (int i = 0; i < STORES; i++) {
		void *state = NULL;
		must(world_open(&state) == 0);
		own = last_connection;
		fill_inflight(i == 1 ? MANY : FEW);
		if (i == 2)
			fill_ended();
		count_all(counts[i]);
		world.damaged = i == 2; /* what was written past the kernel has no log of its own */
		must(world_close(&state) == 0);
	}
	for (int i = 0; i < OPERATIONS; i++) {
		int64_t least = INT64_MAX, most = 0;
		for (int j = 0; j < STORES; j++) {
			least = counts[j][i] < least ? counts[j][i] : least;
			most = counts[j][i] > most ? counts[j][i] : most;
		}
		printf("steps_%s %lld\n", operations[i].name, (long long)most);
		if (most * 10 <= least * 11)
			continue;
		fprintf(stderr, "%s takes %lld steps with 10 runs in flight, %lld with 100 000, %lld with 1 000 000 ended\n",
				operations[i].name, (long long)counts[0][i], (long long)counts[1][i], (long long)counts[2][i]);
		uneven++;
	}
	return uneven;
}

/* --- Flushes ----------------------------------------------------------------------------------------------------- */

static void count_flushes(const char *name, enum keel_durability durability)
{
	enum { RUNS = 30 };
	void *state = NULL;
	must(world_open(&state) == 0);
	world.options.durability = durability;
	reopen_store();
	put_pending("warm", "t");
	flushes = 0;
	for (int i = 0; i < RUNS; i++) {
		char id[16];
		snprintf(id, sizeof id, "r%d", i);
		put_pending(id, "t");
		change_status(id, KEEL_RUN_RUNNING);
		change_status(id, KEEL_RUN_SUCCESS);
	}
	printf("flushes_a_commit_%s %.4g\n", name, flushes / (3.0 * RUNS));
	must(world_close(&state) == 0);
}

int main(void)
{
	must(watch_connections(NULL) == 0);
	int uneven = count_steps();
	count_flushes("full", KEEL_DURABILITY_FULL);
	count_flushes("normal", KEEL_DURABILITY_NORMAL);
	count_flushes("off", KEEL_DURABILITY_OFF);
	return uneven != 0;
}
