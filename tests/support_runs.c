/* support_runs.c - verbs for runs and events, and what is looked at behind the kernel's back. */
#include "support.h"

#include <sqlite3.h>

/* What the last look at a run, a listing and the log gave. */
static struct keel_runs seen_run, seen_runs;
static struct keel_events seen_events;

void clear_looks(void)
{
	keel_runs_clear(&seen_run);
	keel_runs_clear(&seen_runs);
	keel_events_clear(&seen_events);
}

/* --- Runs -------------------------------------------------------------------------------------------------------- */

struct keel_run run_of(const char *run_id, const char *thread_id)
{
	struct keel_run run = {0};
	SET(&run, RUN_ID, run_id, text(run_id));
	if (thread_id)
		SET(&run, THREAD_ID, thread_id, text(thread_id));
	return run;
}

struct keel_worker_request request_of(const char *worker_id)
{
	return (struct keel_worker_request){.worker_id = worker_id ? text(worker_id) : nothing,
										.intent = text("{\"kind\":\"assistant\"}"),
										.profile = text("{}"),
										.requested_capabilities = text("[]"),
										.workspace_refs = text("[]"),
										.mount_refs = text("[]")};
}

void put(const struct keel_run *run)
{
	succeed(keel_run_put(world.store, run, nothing, NULL, &why));
}

void put_pending(const char *run_id, const char *thread_id)
{
	struct keel_run run = run_of(run_id, thread_id);
	put(&run);
}

void put_with_status(const char *run_id, const char *thread_id, enum keel_run_status status)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, STATUS, status, status);
	put(&run);
}

void put_owned(const char *run_id, const char *thread_id)
{
	struct keel_run run = run_of(run_id, thread_id);
	int64_t session;
	succeed(keel_store_session(world.store, &session, &why));
	SET(&run, STATUS, status, KEEL_RUN_RUNNING);
	SET(&run, SESSION_ID, session_id, session);
	put(&run);
}

void change_status(const char *run_id, enum keel_run_status status)
{
	struct keel_status_change change = {.status = status};
	bool found;
	succeed(keel_run_update_status(world.store, text(run_id), &change, &found, NULL, &why));
	must(found);
}

bool is_there(const char *run_id)
{
	succeed(keel_run_get(world.store, text(run_id), nothing, &seen_run, &why));
	return seen_run.count == 1;
}

const struct keel_run *row(const char *run_id)
{
	must(is_there(run_id));
	return &seen_run.items[0];
}

enum keel_run_status status_of(const char *run_id)
{
	return (enum keel_run_status)row(run_id)->status;
}

int64_t count_inflight(const char *thread_id)
{
	int64_t count;
	succeed(keel_run_count_inflight(world.store, text(thread_id), &count, &why));
	return count;
}

const char *ids_of(const struct keel_runs *list)
{
	static char ids[16 * 1024];
	size_t size = 0;
	ids[0] = '\0';
	for (size_t i = 0; i < list->count; i++) {
		struct keel_text id = list->items[i].run_id;
		must(size + id.size + 2 < sizeof ids);
		size += (size_t)snprintf(ids + size, sizeof ids - size, "%s%.*s", i ? " " : "", (int)id.size, id.data);
	}
	return ids;
}

const char *ids_of_thread(const char *thread_id, int64_t limit)
{
	succeed(keel_run_list_by_thread(world.store, text(thread_id), nothing, limit, &seen_runs, &why));
	return ids_of(&seen_runs);
}

const char *ids_inflight(const char *thread_id)
{
	struct keel_inflight_query query = {.thread_id = text(thread_id), .limit = KEEL_LIST_MAX};
	succeed(keel_run_list_inflight(world.store, &query, &seen_runs, &why));
	return ids_of(&seen_runs);
}

/* --- Events ------------------------------------------------------------------------------------------------------ */

int64_t append(const char *kind, const char *run_id)
{
	struct keel_event event = {.kind = text(kind), .run_id = text(run_id)};
	int64_t id = 0;
	succeed(keel_event_append(world.store, &event, &id, &why));
	return id;
}

const char *kinds_of(const char *run_id)
{
	static char kinds[16 * 1024];
	struct keel_event_query query = {.next_event_id = 1, .limit = KEEL_EVENTS_MAX, .run_id = text(run_id)};
	size_t size = 0;
	kinds[0] = '\0';
	succeed(keel_event_read(world.store, &query, &seen_events, &why));
	for (size_t i = 0; i < seen_events.count; i++) {
		must(size + seen_events.items[i].kind.size + 2 < sizeof kinds);
		size +=
			(size_t)snprintf(kinds + size, sizeof kinds - size, "%s%s", i ? " " : "", seen_events.items[i].kind.data);
	}
	return kinds;
}

int64_t newest_event(void)
{
	struct keel_event_query query = {.next_event_id = 1, .limit = KEEL_EVENTS_MAX};
	do {
		succeed(keel_event_read(world.store, &query, &seen_events, &why));
		query.next_event_id = seen_events.next_event_id;
	} while (seen_events.has_more);
	return query.next_event_id - 1;
}

struct keel_event last_event(void)
{
	struct keel_event_query query = {.next_event_id = newest_event(), .limit = 1};
	succeed(keel_event_read(world.store, &query, &seen_events, &why));
	must(seen_events.count == 1);
	return seen_events.items[0];
}

void check_log_gapless(struct keel_store *store)
{
	struct keel_event_query query = {.next_event_id = 1, .limit = KEEL_EVENTS_MAX};
	int64_t expected = 1;
	do {
		succeed(keel_event_read(store, &query, &seen_events, &why));
		for (size_t i = 0; i < seen_events.count; i++)
			must(seen_events.items[i].id == expected++);
		query.next_event_id = seen_events.next_event_id;
	} while (seen_events.has_more);
}

/* --- Looking behind ---------------------------------------------------------------------------------------------- */

size_t print_problems(struct keel_problems *problems)
{
	size_t count = problems->count;
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "verify: %s\n", problems->items[i].text.data);
	keel_problems_clear(problems);
	return count;
}

void check_sound(struct keel_store *store)
{
	struct keel_problems problems = {0};
	succeed(keel_store_verify(store, &problems, &why));
	must(print_problems(&problems) == 0);
}

static int keep_number(void *data, int count, char **values, char **names)
{
	(void)count;
	(void)names;
	*(int64_t *)data = values[0] ? strtoll(values[0], NULL, 10) : 0;
	return 0;
}

/* Leaves the journal mode alone: a file in WAL mode stays in it. */
int64_t raw_number_at(const char *path, const char *sql)
{
	sqlite3 *db;
	int64_t number = 0;
	char *message = NULL;
	must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	int rc = sqlite3_exec(db, sql, keep_number, &number, &message);
	if (rc != SQLITE_OK)
		fprintf(stderr, "%s: %s\n", sql, message);
	sqlite3_free(message);
	sqlite3_close(db);
	must(rc == SQLITE_OK);
	return number;
}

void raw_at(const char *path, const char *sql)
{
	raw_number_at(path, sql);
}

void index_log(void)
{
	raw("INSERT OR IGNORE INTO events_of_run SELECT DISTINCT run_id, (id + 63) / 64 FROM events WHERE run_id IS NOT "
		"NULL"
		" AND id <= (SELECT max(id) / 64 * 64 FROM events);"
		"INSERT OR IGNORE INTO events_of_thread SELECT DISTINCT thread_id, (id + 63) / 64 FROM events"
		" WHERE thread_id IS NOT NULL AND id <= (SELECT max(id) / 64 * 64 FROM events)");
}

int64_t raw_number(const char *sql)
{
	return raw_number_at(world.path, sql);
}

void raw(const char *sql)
{
	raw_number_at(world.path, sql);
}
