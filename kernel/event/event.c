/* event.c - appending to the log. Uses: store. */
#include "event/event.h"

#include <string.h>

#include "base/assert.h"
#include "base/document.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

struct draft {
	struct keel_kept kept;
	struct keel_buffer data;
};

static void release_draft(struct keel_kept *kept)
{
	keel_buffer_free(&((struct draft *)kept)->data);
}

enum keel_code keel_event_draft(struct keel_store *store, struct keel_buffer **data, struct keel_error *err)
{
	struct draft *draft = keel_store_keep(store, sizeof *draft, release_draft);
	if (!draft)
		return keel_fail_memory(err);
	*data = &draft->data;
	keel_buffer_clear(*data);
	return KEEL_OK;
}

#define BLOCK 64 /* events that are found by run and by thread together; the schema says how */

/* Says of each run and thread that it has events in the block that ends with an id. */
static enum keel_code close_block(struct keel_store *store, int64_t last, struct keel_error *err)
{
	static const char runs[] = "INSERT INTO events_of_run (run_id, block) SELECT DISTINCT run_id, ?1 / 64 FROM events"
							   " WHERE id > ?1 - 64 AND id <= ?1 AND run_id IS NOT NULL";
	static const char threads[] = "INSERT INTO events_of_thread (thread_id, block) SELECT DISTINCT thread_id, ?1 / 64"
								  " FROM events WHERE id > ?1 - 64 AND id <= ?1 AND thread_id IS NOT NULL";
	enum keel_code code = keel_execute(store, runs, err, keel_value_int(last));
	return code == KEEL_OK ? keel_execute(store, threads, err, keel_value_int(last)) : code;
}

/* Takes note of an event that has its id by now. */
static enum keel_code note_written(struct keel_store *store, int64_t written, struct keel_error *err)
{
	KEEL_ASSERT(store->events == 0 || store->last_event == 0 || store->last_event < written);
	store->events++;
	store->last_event = written;
	if (written == INT64_MAX) /* behind it the database would take any that is free */
		return keel_fail(err, KEEL_STORE_FULL, "%s: the ids of events are used up", keel_store_path(store));
	bool first = written % BLOCK == 1 && written > 1;
	return first && !store->sql->driver->log ? close_block(store, written - 1, err) : KEEL_OK;
}

enum keel_code keel_event_write(struct keel_store *store, const struct keel_event *event, int64_t *id,
								struct keel_error *err)
{
	static const char text[] = "INSERT INTO events (kind, at, runtime_id, thread_id, run_id, worker_ref, message, data)"
							   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	const struct keel_sql_driver *driver = store->sql->driver;
	struct keel_statement *insert;
	enum keel_code code = keel_query(store, text, &insert, err, keel_value_text(event->kind), keel_value_int(event->at),
									 keel_value_text(event->runtime_id), keel_value_text(event->thread_id),
									 keel_value_text(event->run_id), keel_value_text(event->worker_ref),
									 keel_value_text(event->message), keel_value_text(event->data));
	if (code == KEEL_OK && driver->log && !id && !event->runtime_id.data && !event->worker_ref.data) {
		code = driver->log(insert, err);
		keel_reset(insert);
		store->events += code == KEEL_OK;
		return code;
	}
	if (code == KEEL_OK)
		code = keel_run_statement(insert, err);
	if (code != KEEL_OK)
		return code;
	int64_t written = driver->inserted(store->sql);
	code = note_written(store, written, err);
	if (id)
		*id = written;
	if (code == KEEL_OK && event->runtime_id.data)
		code = keel_execute(store, "INSERT INTO events_of_runtime (runtime_id, id) VALUES (?1, ?2)", err,
							keel_value_text(event->runtime_id), keel_value_int(written));
	if (code == KEEL_OK && event->worker_ref.data)
		code = keel_execute(store,
							"INSERT INTO events_of_worker (worker_ref, id) VALUES (" KEEL_WORKER_REF_KEY("?1") ", ?2)",
							err, keel_value_text(event->worker_ref), keel_value_int(written));
	return code;
}

void keel_event_committed(const struct keel_store *store, int64_t *first, int64_t *next)
{
	bool any = !store->open && store->events > 0;
	*first = any ? store->last_event - store->events + 1 : 0;
	*next = any ? store->last_event + 1 : 0;
	KEEL_ASSERT(*first >= 0 && (*first == 0) == (*next == 0) && *first <= *next);
}

/* The kinds of the kernel: whoever reads them in the log may believe them. */
static const char *const own_kinds[] = {
	"run_created",          "run_started",           "run_finished",     "run_requeued",   "run_rescheduled",
	"run_settled",          "run_deleted",           "limit_changed",    "run_rejected",   "run_reused",
	"runtime_started",      "runtime_stopped",       "worker_created",   "worker_stopped", "worker_cancelled",
	"run_cancel_requested", "worker_input_accepted", "schedule_changed",
};

static bool is_admission(struct keel_text kind)
{
	return keel_text_is(kind, "run_rejected") || keel_text_is(kind, "run_reused");
}

static enum keel_code check_kind(struct keel_text kind, bool admission, struct keel_error *err)
{
	if (admission)
		return is_admission(kind) ? KEEL_OK
								  : keel_fail_field(err, "kind", "kind must be one of: run_rejected, run_reused");
	for (size_t i = 0; i < sizeof own_kinds / sizeof own_kinds[0]; i++)
		if (keel_text_is(kind, own_kinds[i]))
			return keel_fail_field(err, "kind", "kind '%s' is the kernel's own: give events of yours another name",
								   own_kinds[i]);
	return KEEL_OK;
}

static enum keel_code check_event(const struct keel_event *event, struct keel_error *err)
{
	const struct keel_id_field ids[] = {
		{event->runtime_id, "runtime_id"}, {event->thread_id, "thread_id"}, {event->run_id, "run_id"}};
	enum keel_code code = keel_check_id(event->kind, "kind", err);
	if (code == KEEL_OK)
		code = keel_check_ids(ids, sizeof ids / sizeof ids[0], err);
	if (code == KEEL_OK)
		code = keel_check_document(event->worker_ref, "worker_ref", err);
	if (code == KEEL_OK)
		code = keel_check_text(event->message, "message", err);
	if (code == KEEL_OK)
		code = keel_check_document(event->data, "data", err);
	return code;
}

/* The id of an event that was committed although the answer that had it was lost: it is among the newest. */
static enum keel_code find_written(struct keel_store *store, const struct keel_event *event, int64_t *id,
								   struct keel_error *err)
{
	static const char text[] =
		"SELECT max(id) FROM events WHERE id > (SELECT max(id) FROM events) - 10000 AND kind = ?1"
		" AND at = ?2 AND coalesce(message, '') = coalesce(?3, '') AND coalesce(data, '') = coalesce(?4, '')"
		" AND coalesce(run_id, '') = coalesce(?5, '') AND coalesce(thread_id, '') = coalesce(?6, '')"
		" AND coalesce(runtime_id, '') = coalesce(?7, '') AND coalesce(worker_ref, '') = coalesce(?8, '')";
	struct keel_statement *select;
	*id = 0;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(event->kind), keel_value_int(event->at),
									 keel_value_text(event->message), keel_value_text(event->data),
									 keel_value_text(event->run_id), keel_value_text(event->thread_id),
									 keel_value_text(event->runtime_id), keel_value_text(event->worker_ref));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, id, err);
	if (code == KEEL_OK && *id == 0)
		code = keel_fail(err, KEEL_IO, "%s: the event is written, and its id is not known", keel_store_path(store));
	return code;
}

static enum keel_code append(struct keel_store *store, const struct keel_event *event, bool admission, int64_t *id,
							 struct keel_error *err)
{
	static const struct keel_sql_scope nothing = {.kind = KEEL_SCOPE_NONE};
	struct keel_event stamped = *event;
	enum keel_code code = check_event(event, err);
	if (code == KEEL_OK)
		code = check_kind(event->kind, admission, err);
	if (code == KEEL_OK)
		code = keel_write_begin_on(store, &nothing, NULL, err);
	if (code != KEEL_OK)
		return code;
	stamped.at = keel_store_now(store);
	/* On a server whoever asks for the id before the commit keeps others waiting. */
	bool own = !store->open;
	code = keel_event_write(store, &stamped, own ? NULL : id, err);
	code = keel_write_end(store, code, true, err);
	if (code == KEEL_OK && own && id && !store->events)
		code = find_written(store, &stamped, id, err);
	else if (code == KEEL_OK && own && id)
		*id = store->last_event;
	return code;
}

enum keel_code keel_event_append(struct keel_store *store, const struct keel_event *event, int64_t *id,
								 struct keel_error *err)
{
	return append(store, event, false, id, err);
}

enum keel_code keel_event_append_admission(struct keel_store *store, const struct keel_event *event, int64_t *id,
										   struct keel_error *err)
{
	return append(store, event, true, id, err);
}
