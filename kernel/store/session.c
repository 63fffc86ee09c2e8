/* session.c - who is there: an open store that has written holds a lock until its process is gone. Uses: sidefile,
 * process, store.
 *
 *   none ──first write──► alive ──close, exit, kill -9──► dead       (no way back: a number is used once)
 *
 * The lock is taken before the row commits, so whoever can read the row finds the lock; judging happens in the
 * transaction that acts on it.
 */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/store.h"

enum {
	TIDY_MAX = 32,     /* sessions looked at when a new one is made: more than are made, so they do not pile up */
	BYTES_TRIED = 4096 /* numbers skipped because a session of a store deleted under it still holds their bytes */
};

/* What the table says of a session. */
struct session_row {
	struct keel_process process;
	int64_t device, inode;
};

#define SESSION_COLUMNS "id, owner, pid, started_at, boot, space, start, device, inode"

static void read_session(struct keel_statement *select, struct session_row *row)
{
	struct keel_text boot = keel_column_text(select, 4);
	memset(row, 0, sizeof *row);
	if (boot.data && boot.size < sizeof row->process.boot)
		memcpy(row->process.boot, boot.data, boot.size);
	row->process.pid = keel_column_int(select, 2);
	row->process.space = keel_column_int(select, 5);
	row->process.start = keel_column_int(select, 6);
	row->device = keel_column_int(select, 7);
	row->inode = keel_column_int(select, 8);
}

/* Judges a session of the table. The lock decides if it is on the file that this process sees; if not (the side file
 * was deleted, the store moved), only a process that is certainly gone counts as dead. */
static enum keel_code judge(struct keel_store *store, int64_t id, const struct session_row *row, bool *alive,
							struct keel_error *err)
{
	struct keel_error why;
	int64_t device, inode;
	if (id == store->session) {
		*alive = true;
		return KEEL_OK;
	}
	*alive = false;
	if (!store->side_path)
		return KEEL_OK; /* a store in memory has one handle */
	enum keel_code code = keel_sidefile_open(&store->side, store->side_path, false, &why);
	if (code == KEEL_STORE_MISSING) {
		*alive = !keel_process_gone(&row->process, &store->process);
		return KEEL_OK;
	}
	if (keel_fail_as(err, code, &why) == KEEL_OK)
		code = keel_sidefile_identity(&store->side, &device, &inode, err);
	if (code != KEEL_OK)
		return code;
	if (device != row->device || inode != row->inode) {
		*alive = !keel_process_gone(&row->process, &store->process);
		return KEEL_OK;
	}
	return keel_sidefile_held(&store->side, id, alive, err);
}

/* Where to tidy: at the oldest session, or, when there may be more than are looked at, at another place each time, so
 * that dead ones behind many live ones have their turn. */
static enum keel_code tidy_from(struct keel_store *store, int64_t *from, struct keel_error *err)
{
	static const char ends[] = "SELECT (SELECT min(id) FROM sessions), (SELECT max(id) FROM sessions)";
	struct keel_statement *statement;
	bool row;
	enum keel_code code = keel_store_prepare(store, ends, &statement, err);
	if (code != KEEL_OK)
		return code;
	code = keel_step(statement, &row, err);
	int64_t first = code == KEEL_OK && row ? keel_column_int(statement, 0) : 0;
	int64_t last = code == KEEL_OK && row ? keel_column_int(statement, 1) : 0;
	keel_reset(statement);
	*from = first;
	if (last - first >= TIDY_MAX) /* any hash of the newest number will do: each new session looks somewhere else */
		*from += (int64_t)((uint64_t)last * UINT64_C(0x9E3779B97F4A7C15) >> 32) % (last - first + 1);
	return code;
}

/* Deletes some sessions that are dead and own nothing in flight. */
static enum keel_code tidy(struct keel_store *store, struct keel_error *err)
{
	static const char some[] = "SELECT " SESSION_COLUMNS " FROM sessions WHERE id >= ?1 ORDER BY id LIMIT ?2";
	static const char drop[] = "DELETE FROM sessions WHERE id = ?1 AND NOT EXISTS"
							   " (SELECT 1 FROM runs WHERE coalesce(status, 0) < 2 AND session_id = ?1)";
	int64_t dead[TIDY_MAX];
	size_t count = 0;
	int64_t from;
	struct keel_statement *statement;
	bool row, alive;
	enum keel_code code = tidy_from(store, &from, err);
	if (code == KEEL_OK)
		code = keel_query(store, some, &statement, err, keel_int(from), keel_int(TIDY_MAX));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(statement, &row, err)) == KEEL_OK && row) {
		struct session_row session;
		int64_t id = keel_column_int(statement, 0);
		read_session(statement, &session);
		code = judge(store, id, &session, &alive, err);
		if (code != KEEL_OK)
			break;
		if (!alive)
			dead[count++] = id;
	}
	keel_reset(statement);
	for (size_t i = 0; code == KEEL_OK && i < count; i++)
		code = keel_execute(store, drop, err, keel_int(dead[i]));
	return code;
}

static enum keel_code insert_session(struct keel_store *store, int64_t device, int64_t inode, int64_t *id,
									 struct keel_error *err)
{
	static const char insert[] = "INSERT INTO sessions (owner, pid, started_at, boot, space, start, device, inode)"
								 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	const struct keel_process *self = &store->process;
	enum keel_code code =
		keel_execute(store, insert, err, keel_text(keel_text_of(store->owner_name)), keel_int(self->pid),
					 keel_int(keel_store_now(store)), keel_text(keel_text_of(self->boot)), keel_int(self->space),
					 keel_int(self->start), keel_int(device), keel_int(inode));
	*id = store->sql->driver->inserted(store->sql);
	return code;
}

static enum keel_code delete_session(struct keel_store *store, int64_t id, struct keel_error *err)
{
	return keel_execute(store, "DELETE FROM sessions WHERE id = ?1", err, keel_int(id));
}

/* Takes the first number whose byte is free. A byte can be taken only by a session of a store that was deleted and made
 * again while that session's process lives on. */
static enum keel_code take_number(struct keel_store *store, int64_t *id, struct keel_error *err)
{
	struct keel_error why;
	int64_t device = 0, inode = 0;
	enum keel_code code = KEEL_OK;
	if (store->side_path)
		code = keel_sidefile_identity(&store->side, &device, &inode, err);
	for (int i = 0; code == KEEL_OK && i < BYTES_TRIED; i++) {
		code = insert_session(store, device, inode, id, err);
		if (code != KEEL_OK || !store->side_path)
			return code;
		code = keel_sidefile_lock(&store->side, *id, &why);
		if (code != KEEL_BUSY)
			return keel_fail_as(err, code, &why);
		code = delete_session(store, *id, err);
	}
	return code == KEEL_OK ? keel_fail(err, KEEL_IO, "%s: no byte could be locked", store->side_path) : code;
}

enum keel_code keel_session_make(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	int64_t id = 0;
	if (store->side_path) {
		/* A question may have opened it for reading only. Nothing is locked yet, so nothing is lost. */
		keel_sidefile_drop(&store->side);
		code = keel_sidefile_open(&store->side, store->side_path, true, err);
	}
	if (code == KEEL_OK)
		code = tidy(store, err);
	if (code == KEEL_OK)
		code = take_number(store, &id, err);
	if (code == KEEL_OK)
		code = store->sql->driver->commit(store->sql, err);
	else
		store->sql->driver->rollback(store->sql);
	if (code == KEEL_OK)
		store->session = id;
	else if (store->side_path)
		keel_sidefile_drop(&store->side);
	return code;
}

enum keel_code keel_store_session(struct keel_store *store, int64_t *session, struct keel_error *err)
{
	*session = 0;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && !store->session && !store->options.readonly) {
		/* Beginning a write makes the session; there is nothing else to write. */
		code = keel_write_begin(store, err);
		if (code == KEEL_OK)
			code = keel_write_end(store, code, false, err);
	}
	if (code == KEEL_OK)
		*session = store->session;
	return code;
}

enum keel_code keel_store_session_alive(struct keel_store *store, int64_t session, bool *alive, struct keel_error *err)
{
	static const char one[] = "SELECT " SESSION_COLUMNS " FROM sessions WHERE id = ?1";
	struct keel_statement *statement;
	struct session_row found;
	bool row;
	*alive = false;
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	if (session && session == store->session) {
		*alive = true;
		return KEEL_OK;
	}
	code = keel_query(store, one, &statement, err, keel_int(session));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, statement, &row, err);
	if (code == KEEL_OK && row)
		read_session(statement, &found);
	keel_reset(statement);
	return code == KEEL_OK && row ? judge(store, session, &found, alive, err) : code;
}

enum keel_code keel_store_session_descriptor(struct keel_store *store, int *descriptor, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	*descriptor = code == KEEL_OK && store->session && store->side_path ? store->side.fd : -1;
	return code;
}

enum keel_code keel_store_sessions(struct keel_store *store, struct keel_sessions *list, struct keel_error *err)
{
	static const char all[] = "SELECT " SESSION_COLUMNS " FROM sessions ORDER BY id";
	struct keel_statement *statement;
	struct keel_arena *arena = NULL;
	size_t capacity = 0;
	bool row;
	keel_sessions_clear(list);
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_store_prepare(store, all, &statement, err);
	if (code != KEEL_OK)
		return code;
	for (code = keel_first_step(store, statement, &row, err); code == KEEL_OK && row;
		 code = keel_step(statement, &row, err)) {
		struct session_row found;
		struct keel_session *items = keel_make_room(list->items, list->count, &capacity, sizeof *items);
		if (!items) {
			code = keel_fail_memory(err);
			break;
		}
		list->items = items;
		struct keel_session *item = &list->items[list->count];
		item->session_id = keel_column_int(statement, 0);
		item->pid = keel_column_int(statement, 2);
		item->started_at = keel_column_int(statement, 3);
		struct keel_text owner = keel_column_text(statement, 1);
		if (!owner.data || !keel_arena_text(&arena, owner, &item->owner)) {
			code = keel_fail_memory(err);
			break;
		}
		read_session(statement, &found);
		code = judge(store, item->session_id, &found, &item->alive, err);
		if (code != KEEL_OK)
			break;
		list->count++;
	}
	keel_reset(statement);
	list->memory = arena;
	if (code != KEEL_OK)
		keel_sessions_clear(list);
	return code;
}

void keel_sessions_clear(struct keel_sessions *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
