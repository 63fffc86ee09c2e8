/* transcript.c - transcripts: appending an input, reading a part. Uses: worker, event. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "worker/worker.h"

/* --- Appending --------------------------------------------------------------------------------------------------- */

static enum keel_code check_input(const struct keel_input *input, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	if (!keel_text_is(input->role, "user") && !keel_text_is(input->role, "system"))
		return keel_fail_field(err, "kind", "kind must be one of: user, system");
	if (!input->content.data)
		return keel_fail_field(err, "content", "content must be given");
	code = keel_check_text(input->content, "content", err);
	if (code == KEEL_OK && keel_text_is_blank(input->content))
		code = keel_fail_field(err, "content", "content must not be empty");
	if (code == KEEL_OK && input->run_id.data)
		code = keel_check_id(input->run_id, "run_id", err);
	if (code == KEEL_OK && input->idempotency_key.data)
		code = keel_check_worker_id(input->idempotency_key, "idempotency_key", err);
	return code;
}

/* Finds the entry of a client key; it must be the same input. */
static enum keel_code find_by_key(struct keel_store *store, int64_t worker, const struct keel_input *input,
								  struct keel_input_ack *ack, struct keel_error *err)
{
	static const char text[] = "SELECT role, content, run_id, sequence, event_id FROM transcripts"
							   " WHERE worker = ?1 AND idempotency_key = ?2";
	struct keel_statement *select;
	struct keel_text key = input->idempotency_key;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(worker), keel_value_text(key));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row) {
		struct keel_text role, content, run_id;
		bool is_read = keel_column_read(select, 0, &role) && keel_column_read(select, 1, &content) &&
					   keel_column_read(select, 2, &run_id);
		ack->reused = true;
		ack->transcript_sequence = keel_column_int(select, 3);
		ack->event_id = keel_column_int(select, 4);
		if (!is_read)
			code = keel_fail_memory(err);
		else if (!role.data || !content.data)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the transcript entry of event %lld is damaged",
							 keel_store_path(store), (long long)ack->event_id);
		else if (!keel_text_same(role, input->role) || !keel_text_same(content, input->content) ||
				 !keel_text_same(run_id, input->run_id))
			code = keel_fail(err, KEEL_IDEMPOTENCY_MISMATCH, "the idempotency key %.*s was used for another input",
							 (int)key.size, key.data);
	}
	keel_reset(select);
	return code;
}

static enum keel_code append(struct keel_store *store, struct keel_text runtime_id, struct keel_text worker_id,
							 const struct keel_worker_core *core, const struct keel_input *input,
							 struct keel_input_ack *ack, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO transcripts (event_id, worker, sequence, role, content, run_id,"
								 " idempotency_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
	static const char update[] = "UPDATE workers SET transcript_len = ?2, last_event_id = ?3 WHERE seq = ?1";
	int64_t sequence;
	char data[64];
	enum keel_code code = keel_next_number(core->transcript_len, &sequence, err, "entries of worker %.*s",
										   (int)worker_id.size, worker_id.data);
	if (code != KEEL_OK)
		return code;
	snprintf(data, sizeof data, "{\"role\":\"%.*s\",\"sequence\":%lld}", (int)input->role.size, input->role.data,
			 (long long)sequence);
	struct keel_runtime_event event = {.kind = "worker_input_accepted",
									   .at = keel_store_now(store),
									   .worker_id = worker_id,
									   .run_id = input->run_id,
									   .message = keel_text_of("input accepted"),
									   .data = keel_text_of(data)};
	code = keel_runtime_write_event(store, runtime_id, &event, &ack->event_id, err);
	ack->transcript_sequence = sequence;
	if (code == KEEL_OK)
		code = keel_execute(store, insert, err, keel_value_int(ack->event_id), keel_value_int(core->seq),
							keel_value_int(sequence), keel_value_text(input->role), keel_value_text(input->content),
							keel_value_text(input->run_id), keel_value_text(input->idempotency_key));
	if (code == KEEL_OK)
		code = keel_execute(store, update, err, keel_value_int(core->seq), keel_value_int(sequence),
							keel_value_int(ack->event_id));
	return code;
}

enum keel_code keel_worker_send(struct keel_store *store, struct keel_text runtime_id, struct keel_worker_ref ref,
								const struct keel_input *input, struct keel_input_ack *ack, struct keel_error *err)
{
	struct keel_runtime_row row;
	struct keel_worker_core core;
	bool wrote = false;
	memset(ack, 0, sizeof *ack);
	enum keel_code code = keel_worker_check_ref(runtime_id, ref, err);
	if (code == KEEL_OK && check_input(input, NULL) != KEEL_OK) {
		code = keel_worker_exists(store, ref, err);
		return code == KEEL_OK ? check_input(input, err) : code;
	}
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_worker_find_running(store, ref, &row, &core, err);
	if (code == KEEL_OK && input->idempotency_key.data)
		code = find_by_key(store, core.seq, input, ack, err);
	if (code == KEEL_OK && !ack->reused && core.status != KEEL_WORKER_RUNNING)
		code = keel_fail_field(err, "worker_ref", "worker %.*s is not running: it is %s", (int)ref.worker_id.size,
							   ref.worker_id.data, keel_worker_status_name(core.status));
	if (code == KEEL_OK && !ack->reused) {
		wrote = true;
		code = append(store, runtime_id, ref.worker_id, &core, input, ack, err);
	}
	code = keel_write_end(store, code, wrote, err);
	if (code == KEEL_OK)
		ack->status = core.status;
	else
		memset(ack, 0, sizeof *ack);
	return code;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

static enum keel_code damaged(const struct keel_store *store, struct keel_text worker_id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the transcript of worker %.*s is damaged", keel_store_path(store),
					 (int)worker_id.size, worker_id.data);
}

static enum keel_code read_entry(struct keel_statement *select, struct keel_entry *entry, struct keel_arena **arena,
								 size_t *bytes, bool *sound, struct keel_error *err)
{
	struct keel_text *texts[] = {&entry->role, &entry->content, &entry->run_id};
	entry->sequence = keel_column_int(select, 3);
	entry->event_id = keel_column_int(select, 4);
	for (int i = 0; i < 3; i++) {
		struct keel_text text;
		if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, texts[i]))
			return keel_fail_memory(err);
		*bytes += text.size;
	}
	*sound = entry->role.data && entry->content.data && entry->event_id > 0;
	return KEEL_OK;
}

/* Reads the `count` entries from number list->start on, each of which must be there, until they are a page. */
static enum keel_code read_entries(struct keel_store *store, const struct keel_worker_core *core,
								   struct keel_text worker_id, int64_t count, struct keel_transcript *list,
								   struct keel_error *err)
{
	static const char text[] = "SELECT role, content, run_id, sequence, event_id FROM transcripts"
							   " WHERE worker = ?1 AND sequence > ?2 AND sequence <= ?3 ORDER BY sequence";
	struct keel_arena *arena = list->memory;
	struct keel_statement *select;
	size_t bytes = 0;
	bool row, sound = true;
	if ((int64_t)list->capacity < count) {
		struct keel_entry *items = keel_resize(list->items, (size_t)count * sizeof *items);
		if (!items)
			return keel_fail_memory(err);
		list->items = items;
		list->capacity = (size_t)count;
	}
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(core->seq), keel_value_int(list->start),
									 keel_value_int(list->start + count));
	if (code != KEEL_OK)
		return code;
	while (bytes < KEEL_PAGE_BYTES && (code = keel_step(select, &row, err)) == KEEL_OK && row && sound &&
		   (int64_t)list->count < count) {
		struct keel_entry *entry = &list->items[list->count];
		code = read_entry(select, entry, &arena, &bytes, &sound, err);
		if (code != KEEL_OK)
			break;
		list->count++;
		sound = sound && entry->sequence == list->start + (int64_t)list->count;
	}
	keel_reset(select);
	list->memory = arena;
	if (code == KEEL_OK && (!sound || ((int64_t)list->count != count && bytes < KEEL_PAGE_BYTES)))
		code = damaged(store, worker_id, err);
	return code;
}

enum keel_code keel_transcript_read(struct keel_store *store, struct keel_text runtime_id, struct keel_worker_ref ref,
									int64_t start, int64_t limit, struct keel_transcript *list, struct keel_error *err)
{
	struct keel_runtime_row row;
	struct keel_worker_core core;
	struct keel_arena *arena = list->memory;
	keel_arena_reset(&arena);
	list->memory = arena;
	list->count = 0;
	list->start = start;
	list->limit = limit;
	list->total_items = 0;
	enum keel_code code = keel_worker_check_ref(runtime_id, ref, err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_runtime_find(store, runtime_id, &row, err);
	if (code == KEEL_OK)
		code = keel_worker_find(store, row.seq, ref.worker_id, &core, err);
	if (code == KEEL_OK && start < 0)
		code = keel_fail_field(err, "start", "start must be at least 0");
	if (code == KEEL_OK && limit == KEEL_LIMIT_OF_RUNTIME)
		list->limit = row.about.max_transcript_projection_items;
	if (code == KEEL_OK)
		code = keel_check_limit(list->limit, row.about.max_transcript_projection_items, err);
	if (code == KEEL_OK) {
		int64_t left = start < core.transcript_len ? core.transcript_len - start : 0;
		list->total_items = core.transcript_len;
		if (left > 0)
			code = read_entries(store, &core, ref.worker_id, left < list->limit ? left : list->limit, list, err);
	}
	keel_read_end(store);
	if (code != KEEL_OK)
		list->count = 0;
	return code;
}

void keel_transcript_clear(struct keel_transcript *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
