/* worker.c - workers and transcripts as plain operations; lua/keel/runtime.lua makes objects of them. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

static const char LIST[] = "keel.workers", PART[] = "keel.transcript";

/* --- Pushing workers --------------------------------------------------------------------------------------------- */

static int list_gc(lua_State *L)
{
	keel_workers_clear(lua_touserdata(L, 1));
	return 0;
}

static struct keel_workers *new_list(lua_State *L)
{
	return keel_lua_take(L, LIST, sizeof(struct keel_workers), list_gc);
}

static void set_document(lua_State *L, const struct keel_worker *worker, const char *name, struct keel_text text)
{
	keel_lua_set_document(L, name, text, "worker", worker->worker_id.data);
}

/* Pushes what summary and detail have in common. [-0, +1, m] */
static void push_common(lua_State *L, struct keel_text runtime_id, const struct keel_worker *worker)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 16);
	keel_lua_push_ref(L, runtime_id, worker->worker_id);
	lua_setfield(L, -2, "worker_ref");
	keel_lua_set_text(L, "runtime_id", runtime_id);
	keel_lua_set_text(L, "worker_id", worker->worker_id);
	keel_lua_set_word(L, "status", keel_worker_status_name(worker->status));
	keel_lua_set_integer(L, "transcript_len", worker->transcript_len);
	keel_lua_set_integer(L, "last_event_id", worker->last_event_id);
	keel_lua_set_time(L, "created_at", worker->created_at);
	set_document(L, worker, "intent", worker->intent);
	set_document(L, worker, "profile", worker->profile);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* [-0, +1, m] */
static void push_detail(lua_State *L, struct keel_text runtime_id, const struct keel_worker *worker)
{
	int top = lua_gettop(L);
	push_common(L, runtime_id, worker);
	set_document(L, worker, "config_bundle", worker->config_bundle);
	set_document(L, worker, "requested_capabilities", worker->requested_capabilities);
	set_document(L, worker, "workspace_refs", worker->workspace_refs);
	set_document(L, worker, "mount_refs", worker->mount_refs);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* --- Workers ----------------------------------------------------------------------------------------------------- */

/* create_worker(runtime_id, { worker_id, intent, profile, config_bundle, requested_capabilities, workspace_refs,
 * mount_refs, idempotency_key }): makes a worker. Parameters: the documents are tables that are kept as they are;
 * intent, profile and the three lists must be given. Returns the worker's detail, and whether it was made before, with
 * the same idempotency_key. Fails with invalid_request, limit_too_large, not_found, runtime_stopped,
 * idempotency_mismatch, conflict (the worker_id is taken). */
static int op_create_worker(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {
		"worker_id",  "intent",          "profile", "config_bundle", "requested_capabilities", "workspace_refs",
		"mount_refs", "idempotency_key", NULL};
	struct keel_worker_request request = {0};
	bool reused;
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	keel_lua_check_type(L, 3, "request", LUA_TTABLE);
	keel_lua_check_options(L, 3, known);
	request.worker_id = keel_lua_option_text(L, 3, "worker_id");
	request.idempotency_key = keel_lua_option_text(L, 3, "idempotency_key");
	if (keel_lua_option(L, 3, "requested_capabilities", LUA_TTABLE) != LUA_TNIL)
		request.requested_capability_count = (int64_t)lua_rawlen(L, -1);
	if (!keel_lua_option_json(L, 3, "intent", &request.intent, err) ||
		!keel_lua_option_json(L, 3, "profile", &request.profile, err) ||
		!keel_lua_option_json(L, 3, "config_bundle", &request.config_bundle, err) ||
		!keel_lua_option_json(L, 3, "requested_capabilities", &request.requested_capabilities, err) ||
		!keel_lua_option_json(L, 3, "workspace_refs", &request.workspace_refs, err) ||
		!keel_lua_option_json(L, 3, "mount_refs", &request.mount_refs, err))
		return -1;
	struct keel_workers *list = new_list(L);
	int index = lua_gettop(L);
	if (keel_worker_create(store, runtime_id, &request, list, &reused, err) != KEEL_OK)
		return -1;
	push_detail(L, runtime_id, &list->items[0]);
	keel_lua_give_back(L, index, LIST);
	lua_pushboolean(L, reused);
	return 2;
}

/* get_worker(runtime_id, worker_ref): the worker's detail. Fails with wrong_runtime, not_found. */
static int op_get_worker(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	struct keel_worker_ref ref = keel_lua_check_ref(L, 3);
	struct keel_workers *list = new_list(L);
	int index = lua_gettop(L);
	if (keel_worker_get(store, runtime_id, ref, list, err) != KEEL_OK)
		return -1;
	push_detail(L, runtime_id, &list->items[0]);
	keel_lua_give_back(L, index, LIST);
	return 1;
}

/* list_workers(runtime_id, { after, limit, active }): summaries of the workers of a runtime, in order of creation.
 * Parameters: after (a worker_id: go on behind it), limit (1 to 1000; 100), active (true: only those that are running).
 * Fails with not_found, invalid_request, limit_too_large. */
static int op_list_workers(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"after", "limit", "active", NULL};
	struct keel_worker_query query = {0};
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	keel_lua_check_options(L, 3, known);
	query.after = keel_lua_option_text(L, 3, "after");
	query.limit = keel_lua_option_integer(L, 3, "limit", KEEL_LIST_DEFAULT);
	query.active = keel_lua_option_flag(L, 3, "active");
	struct keel_workers *list = new_list(L);
	int index = lua_gettop(L);
	if (keel_worker_list(store, runtime_id, &query, list, err) != KEEL_OK)
		return -1;
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		const struct keel_worker *worker = &list->items[i];
		push_common(L, runtime_id, worker);
		keel_lua_set_integer(L, "requested_capability_count", worker->requested_capability_count);
		keel_lua_set_flag(L, "has_config_bundle", worker->config_bundle.data != NULL);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	bool cut = list->cut;
	if (list->count > 16)
		keel_workers_clear(list);
	keel_lua_give_back(L, index, LIST);
	if (!cut)
		return 1;
	lua_pushboolean(L, 1);
	return 2;
}

/* [-0, +1, m] */
static void push_ack(lua_State *L, struct keel_worker_ref ref, enum keel_worker_status status, int64_t event_id)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 4);
	keel_lua_push_ref(L, ref.runtime_id, ref.worker_id);
	lua_setfield(L, -2, "worker_ref");
	keel_lua_set_word(L, "status", keel_worker_status_name(status));
	keel_lua_set_integer(L, "event_id", event_id);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* end_worker(runtime_id, worker_ref, status, reason): ends a worker as "stopped" or "cancelled". Returns
 * { worker_ref, status, event_id }: of one that had ended already, how and with which event.
 * Fails with wrong_runtime, not_found, invalid_request, runtime_stopped. */
static int op_end_worker(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_worker_ack ack;
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id"), reason = {NULL, 0};
	struct keel_worker_ref ref = keel_lua_check_ref(L, 3);
	struct keel_text status = keel_lua_check_text(L, 4, "status");
	bool stop = keel_text_is(status, "stopped");
	if (!stop && !keel_text_is(status, "cancelled"))
		return keel_lua_refuse(err, "status", "must be one of: stopped, cancelled");
	if (!lua_isnil(L, 5))
		reason = keel_lua_check_text(L, 5, "reason");
	if (keel_worker_end(store, runtime_id, ref, stop ? KEEL_WORKER_STOPPED : KEEL_WORKER_CANCELLED, reason, &ack,
						err) != KEEL_OK)
		return -1;
	push_ack(L, ref, ack.status, ack.event_id);
	return 1;
}

/* --- Transcripts ------------------------------------------------------------------------------------------------- */

/* send_worker_input(runtime_id, worker_ref, { kind, content, run_id, idempotency_key }): appends to the transcript.
 * Parameters: kind ("user", "system"), content (not only white space), run_id (of the run that caused it).
 * Returns { worker_ref, status, transcript_sequence, event_id }, and whether the same input was accepted before, with
 * the same idempotency_key. Fails with wrong_runtime, not_found, invalid_request (the worker is not running, too),
 * limit_too_large, runtime_stopped, idempotency_mismatch. */
static int op_send_worker_input(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"kind", "content", "run_id", "idempotency_key", NULL};
	struct keel_input_ack ack;
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	struct keel_worker_ref ref = keel_lua_check_ref(L, 3);
	keel_lua_check_type(L, 4, "input", LUA_TTABLE);
	keel_lua_check_options(L, 4, known);
	struct keel_input input = {keel_lua_option_text(L, 4, "kind"), keel_lua_option_text(L, 4, "content"),
							   keel_lua_option_text(L, 4, "run_id"), keel_lua_option_text(L, 4, "idempotency_key")};
	if (keel_worker_send(store, runtime_id, ref, &input, &ack, err) != KEEL_OK)
		return -1;
	push_ack(L, ref, ack.status, ack.event_id);
	keel_lua_set_integer(L, "transcript_sequence", ack.transcript_sequence);
	lua_pushboolean(L, ack.reused);
	return 2;
}

static int part_gc(lua_State *L)
{
	keel_transcript_clear(lua_touserdata(L, 1));
	return 0;
}

/* read_transcript(runtime_id, worker_ref, { start, limit }): a part of a transcript.
 * Parameters: start (from 0; 0), limit (1 to the runtime's max_transcript_projection_items, which is the default).
 * Returns { worker_ref, start, limit, total_items, items, next_start }; next_start is nil when nothing follows.
 * Fails with wrong_runtime, not_found, invalid_request, limit_too_large. */
static int op_read_transcript(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"start", "limit", NULL};
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	struct keel_worker_ref ref = keel_lua_check_ref(L, 3);
	keel_lua_check_options(L, 4, known);
	lua_Integer start = keel_lua_option_integer(L, 4, "start", 0);
	bool limited = keel_lua_option(L, 4, "limit", LUA_TNUMBER) != LUA_TNIL;
	lua_Integer limit = keel_lua_option_integer(L, 4, "limit", KEEL_LIMIT_OF_RUNTIME);
	struct keel_transcript *part = keel_lua_take(L, PART, sizeof *part, part_gc);
	int index = lua_gettop(L);
	if (keel_transcript_read(store, runtime_id, ref, start, limited && limit < 1 ? 0 : limit, part, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 6);
	keel_lua_push_ref(L, ref.runtime_id, ref.worker_id);
	lua_setfield(L, -2, "worker_ref");
	keel_lua_set_integer(L, "start", part->start);
	keel_lua_set_integer(L, "limit", part->limit);
	keel_lua_set_integer(L, "total_items", part->total_items);
	if (part->count > 0 && part->start + (int64_t)part->count < part->total_items)
		keel_lua_set_integer(L, "next_start", part->start + (int64_t)part->count);
	lua_createtable(L, (int)part->count, 0);
	for (size_t i = 0; i < part->count; i++) {
		const struct keel_entry *entry = &part->items[i];
		lua_createtable(L, 0, 6);
		keel_lua_set_integer(L, "sequence", entry->sequence);
		keel_lua_push_ref(L, ref.runtime_id, ref.worker_id);
		lua_setfield(L, -2, "worker_ref");
		keel_lua_set_text(L, "role", entry->role);
		keel_lua_set_text(L, "content", entry->content);
		keel_lua_set_text(L, "run_id", entry->run_id);
		keel_lua_set_integer(L, "event_id", entry->event_id);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "items");
	if (part->count > 16)
		keel_transcript_clear(part);
	keel_lua_give_back(L, index, PART);
	return 1;
}

const struct keel_lua_method keel_lua_worker_methods[] = {
	{"create_worker", op_create_worker, KEEL_LUA_WRITES},
	{"get_worker", op_get_worker, KEEL_LUA_READS},
	{"list_workers", op_list_workers, KEEL_LUA_READS},
	{"end_worker", op_end_worker, KEEL_LUA_WRITES},
	{"send_worker_input", op_send_worker_input, KEEL_LUA_WRITES},
	{"read_transcript", op_read_transcript, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
