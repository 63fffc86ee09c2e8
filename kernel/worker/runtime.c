/* runtime.c - runtimes: opening, looking, and what their workers change of them. Uses: event. */
#include "worker/runtime.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "event/event.h"

enum keel_code keel_check_worker_id(struct keel_text text, const char *field, struct keel_error *err)
{
	enum keel_code code = keel_check_id(text, field, err);
	if (code == KEEL_OK && text.size > KEEL_WORKER_ID_MAX)
		code = keel_fail_field(err, field, "%s has %zu bytes, at most %d are allowed", field, text.size,
							   KEEL_WORKER_ID_MAX);
	return code;
}

/* --- The row ----------------------------------------------------------------------------------------------------- */

static enum keel_code damaged(const struct keel_store *store, struct keel_text runtime_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the row of runtime %.*s is damaged", keel_store_path(store),
					 (int)runtime_id.size, runtime_id.data);
}

static bool is_sound(const struct keel_runtime *about)
{
	return about->event_id > 0 && about->max_transcript_projection_items > 0 &&
		   about->max_transcript_projection_items <= KEEL_PROJECTION_MAX && about->max_event_batch_items > 0 &&
		   about->max_event_batch_items <= KEEL_EVENTS_MAX && about->active_worker_count >= 0 &&
		   about->stopped_worker_count >= 0 && about->cancelled_worker_count >= 0 && about->diagnostic_count >= 0;
}

/* seq 0: there is no such runtime. */
static enum keel_code read_runtime(struct keel_store *store, struct keel_text runtime_id, struct keel_runtime_row *row,
								   struct keel_error *err)
{
	static const char text[] = "SELECT seq, status, event_id, projection_max, batch_max, active_count, stopped_count,"
							   " cancelled_count, diagnostic_count, diagnostic_last, display_name"
							   " FROM runtimes WHERE runtime_id = ?1";
	struct keel_statement *select;
	struct keel_runtime *about = &row->about;
	bool found;
	memset(row, 0, sizeof *row);
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(runtime_id));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &found, err);
	if (code == KEEL_OK && found) {
		int64_t status = keel_column_int(select, 1);
		struct keel_text name;
		bool is_read = keel_column_read(select, 10, &name);
		row->seq = keel_column_int(select, 0);
		about->stopped = status == KEEL_RUNTIME_STOPPED_ROW;
		about->event_id = keel_column_int(select, 2);
		about->max_transcript_projection_items = keel_column_int(select, 3);
		about->max_event_batch_items = keel_column_int(select, 4);
		about->active_worker_count = keel_column_int(select, 5);
		about->stopped_worker_count = keel_column_int(select, 6);
		about->cancelled_worker_count = keel_column_int(select, 7);
		about->diagnostic_count = keel_column_int(select, 8);
		row->diagnostic_last = keel_column_int(select, 9);
		memcpy(about->runtime_id, runtime_id.data, runtime_id.size);
		if (!is_read)
			code = keel_fail_memory(err);
		else if (!name.data || name.size > KEEL_ID_MAX || status < KEEL_RUNTIME_RUNNING_ROW ||
				 status > KEEL_RUNTIME_STOPPED_ROW || !is_sound(about) ||
				 row->diagnostic_last < about->diagnostic_count)
			code = damaged(store, runtime_id, err);
		else
			memcpy(about->display_name, name.data, name.size);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_runtime_find(struct keel_store *store, struct keel_text runtime_id, struct keel_runtime_row *row,
								 struct keel_error *err)
{
	enum keel_code code = read_runtime(store, runtime_id, row, err);
	if (code == KEEL_OK && !row->seq)
		code = keel_fail(err, KEEL_NOT_FOUND, "there is no runtime %.*s", (int)runtime_id.size, runtime_id.data);
	return code;
}

enum keel_code keel_runtime_check_running(const struct keel_runtime_row *row, struct keel_text runtime_id,
										  struct keel_error *err)
{
	if (!row->about.stopped)
		return KEEL_OK;
	return keel_fail(err, KEEL_RUNTIME_STOPPED, "runtime %.*s is stopped", (int)runtime_id.size, runtime_id.data);
}

enum keel_code keel_runtime_find_running(struct keel_store *store, struct keel_text runtime_id,
										 struct keel_runtime_row *row, struct keel_error *err)
{
	enum keel_code code = keel_runtime_find(store, runtime_id, row, err);
	return code == KEEL_OK ? keel_runtime_check_running(row, runtime_id, err) : code;
}

enum keel_code keel_runtime_count_worker(struct keel_store *store, int64_t runtime, enum keel_worker_status from,
										 enum keel_worker_status to, struct keel_error *err)
{
	static const char text[] = "UPDATE runtimes SET active_count = active_count + ?2,"
							   " stopped_count = stopped_count + ?3, cancelled_count = cancelled_count + ?4"
							   " WHERE seq = ?1";
	int64_t change[KEEL_WORKER_STATUS_COUNT] = {0};
	if (from != KEEL_WORKER_NONE)
		change[from]--;
	if (to != KEEL_WORKER_NONE)
		change[to]++;
	return keel_execute(store, text, err, keel_value_int(runtime), keel_value_int(change[KEEL_WORKER_RUNNING]),
						keel_value_int(change[KEEL_WORKER_STOPPED]), keel_value_int(change[KEEL_WORKER_CANCELLED]));
}

enum keel_code keel_runtime_write_event(struct keel_store *store, struct keel_text runtime_id,
										const struct keel_runtime_event *about, int64_t *id, struct keel_error *err)
{
	struct keel_event event = {.kind = keel_text_of(about->kind),
							   .at = about->at,
							   .runtime_id = runtime_id,
							   .run_id = about->run_id,
							   .message = about->message,
							   .data = about->data};
	if (about->worker_id.data) {
		/* As the filter by worker compares it: names in byte order, no spaces. */
		struct keel_buffer *ref;
		enum keel_code code = keel_event_draft(store, &ref, err);
		if (code != KEEL_OK)
			return code;
		keel_buffer_put(ref, "{");
		keel_buffer_json(ref, "runtime_id", runtime_id);
		keel_buffer_json(ref, "worker_id", about->worker_id);
		keel_buffer_put(ref, "}");
		if (ref->failed)
			return keel_fail_memory(err);
		event.worker_ref = keel_buffer_text(ref);
	}
	return keel_event_write(store, &event, id, err);
}

/* --- Opening ----------------------------------------------------------------------------------------------------- */

static enum keel_code check_options(const struct keel_runtime_options *options, struct keel_error *err)
{
	const struct {
		const char *name;
		int64_t value, max;
	} limits[] = {
		{"limits.max_transcript_projection_items", options->max_transcript_projection_items, KEEL_PROJECTION_MAX},
		{"limits.max_event_batch_items", options->max_event_batch_items, KEEL_EVENTS_MAX}};
	if (options->display_name.data) {
		enum keel_code code = keel_check_id(options->display_name, "display_name", err);
		if (code != KEEL_OK)
			return code;
	}
	for (int i = 0; i < 2; i++) {
		if (limits[i].value < 0)
			return keel_fail_field(err, limits[i].name, "%s must be at least 1", limits[i].name);
		if (limits[i].value > limits[i].max)
			return keel_fail_limit(err, limits[i].name, limits[i].value, limits[i].max);
	}
	return KEEL_OK;
}

/* Takes over what is said; whether that changes anything. */
static bool adopt(struct keel_runtime *about, const struct keel_runtime_options *options)
{
	struct keel_text name = options->display_name;
	int64_t projection = options->max_transcript_projection_items, batch = options->max_event_batch_items;
	bool changed = false;
	if (name.data && (strlen(about->display_name) != name.size || memcmp(about->display_name, name.data, name.size))) {
		memcpy(about->display_name, name.data, name.size);
		about->display_name[name.size] = '\0';
		changed = true;
	}
	if (projection && projection != about->max_transcript_projection_items) {
		about->max_transcript_projection_items = projection;
		changed = true;
	}
	if (batch && batch != about->max_event_batch_items) {
		about->max_event_batch_items = batch;
		changed = true;
	}
	return changed;
}

static enum keel_code make(struct keel_store *store, struct keel_text runtime_id, struct keel_runtime_row *row,
						   struct keel_error *err)
{
	static const char text[] = "INSERT INTO runtimes (runtime_id, display_name, status, event_id, projection_max,"
							   " batch_max, active_count, stopped_count, cancelled_count, diagnostic_count,"
							   " diagnostic_last, created_at) VALUES (?1, ?2, 0, ?3, ?4, ?5, 0, 0, 0, 0, 0, ?6)";
	struct keel_runtime *about = &row->about;
	struct keel_runtime_event event = {
		.kind = "runtime_started", .at = keel_store_now(store), .message = keel_text_of("runtime started")};
	enum keel_code code = keel_runtime_write_event(store, runtime_id, &event, &about->event_id, err);
	if (code == KEEL_OK)
		code = keel_execute(store, text, err, keel_value_text(runtime_id),
							keel_value_text(keel_text_of(about->display_name)), keel_value_int(about->event_id),
							keel_value_int(about->max_transcript_projection_items),
							keel_value_int(about->max_event_batch_items), keel_value_int(event.at));
	return code;
}

enum keel_code keel_runtime_open(struct keel_store *store, struct keel_text runtime_id,
								 const struct keel_runtime_options *options, struct keel_runtime *runtime,
								 struct keel_error *err)
{
	static const char update[] =
		"UPDATE runtimes SET display_name = ?2, projection_max = ?3, batch_max = ?4 WHERE seq = ?1";
	static const struct keel_runtime_options nothing;
	struct keel_runtime_row row;
	if (!options)
		options = &nothing;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = check_options(options, err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err); /* also ends what a failed rollback may have left */
	if (code != KEEL_OK)
		return code;
	code = read_runtime(store, runtime_id, &row, err);
	keel_read_end(store);
	if (code != KEEL_OK)
		return code;
	if (row.seq && !adopt(&row.about, options)) {
		*runtime = row.about;
		return KEEL_OK;
	}
	code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = read_runtime(store, runtime_id, &row, err); /* the first look was outside of the transaction */
	if (code == KEEL_OK && !row.seq) {
		memcpy(row.about.runtime_id, runtime_id.data, runtime_id.size);
		memcpy(row.about.display_name, runtime_id.data, runtime_id.size);
		row.about.max_transcript_projection_items = KEEL_PROJECTION_DEFAULT;
		row.about.max_event_batch_items = KEEL_EVENTS_DEFAULT;
		adopt(&row.about, options);
		code = make(store, runtime_id, &row, err);
	} else if (code == KEEL_OK && adopt(&row.about, options)) {
		code = keel_execute(
			store, update, err, keel_value_int(row.seq), keel_value_text(keel_text_of(row.about.display_name)),
			keel_value_int(row.about.max_transcript_projection_items), keel_value_int(row.about.max_event_batch_items));
	}
	code = keel_write_end(store, code, true, err);
	if (code == KEEL_OK)
		*runtime = row.about;
	return code;
}

enum keel_code keel_runtime_get(struct keel_store *store, struct keel_text runtime_id, struct keel_runtime *runtime,
								struct keel_error *err)
{
	struct keel_runtime_row row;
	enum keel_code code = keel_check_worker_id(runtime_id, "runtime_id", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_runtime_find(store, runtime_id, &row, err);
	if (code == KEEL_OK)
		*runtime = row.about;
	return code;
}

enum keel_code keel_runtime_next(struct keel_store *store, struct keel_text after, struct keel_runtime *runtime,
								 bool *found, struct keel_error *err)
{
	static const char text[] = "SELECT runtime_id FROM runtimes WHERE runtime_id > ?1 ORDER BY runtime_id LIMIT 1";
	char id[KEEL_WORKER_ID_MAX + 1];
	struct keel_statement *select;
	enum keel_code code = KEEL_OK;
	*found = false;
	if (after.data)
		code = keel_check_worker_id(after, "after", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_query(store, text, &select, err, keel_value_text(after.data ? after : keel_text_of("")));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, found, err);
	if (code == KEEL_OK && *found) {
		code = keel_column_copy(select, 0, id, sizeof id, err);
		if (code == KEEL_OK)
			code = keel_check_stored_id(keel_text_of(id), "runtime_id", err);
	}
	keel_reset(select);
	return code == KEEL_OK && *found ? keel_runtime_get(store, keel_text_of(id), runtime, err) : code;
}
