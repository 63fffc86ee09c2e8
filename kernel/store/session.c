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
	char token[KEEL_UUID_SIZE]; /* of the side file that its lock is in */
};

/* What is known of a session. */
struct verdict {
	bool alive;     /* or it cannot be ruled out */
	bool undecided; /* nothing here can tell */
};

#define SESSION_COLUMNS "id, owner, pid, started_at, boot, space, start, clock, token"

/* False: out of memory. A text that is too long is none of ours. */
static bool copy_column(struct keel_statement *select, int column, char *text, size_t size)
{
	bool is_null = keel_column_null(select, column);
	struct keel_text value = keel_column_text(select, column);
	if (value.data && value.size < size)
		memcpy(text, value.data, value.size);
	return is_null || value.data;
}

static enum keel_code read_session(struct keel_statement *select, struct session_row *row, struct keel_error *err)
{
	memset(row, 0, sizeof *row);
	if (!copy_column(select, 4, row->process.boot, sizeof row->process.boot) ||
		!copy_column(select, 8, row->token, sizeof row->token))
		return keel_fail_memory(err);
	row->process.pid = keel_column_int(select, 2);
	row->process.space = keel_column_int(select, 5);
	row->process.start = keel_column_int(select, 6);
	row->process.clock = keel_column_int(select, 7);
	return KEEL_OK;
}

/* Without its lock: only a process that is certainly gone counts as dead. */
static struct verdict judge_process(const struct keel_store *store, const struct session_row *row)
{
	enum keel_process_fate fate = keel_process_fate(&row->process, &store->process);
	return (struct verdict){fate != KEEL_PROCESS_GONE, fate == KEEL_PROCESS_UNKNOWN};
}

/* Judges a session of the table. The lock decides if it is in the file that this process sees, which the token tells.
 * If it is not (the side file was deleted, the store was moved without it), what is left is the process. */
static enum keel_code judge(struct keel_store *store, int64_t id, const struct session_row *row,
							struct verdict *verdict, struct keel_error *err)
{
	struct keel_error why;
	char token[KEEL_UUID_SIZE];
	*verdict = (struct verdict){id == store->session, false};
	if (verdict->alive || !store->side_path)
		return KEEL_OK; /* a store in memory has one handle */
	enum keel_code code = keel_sidefile_open(&store->side, store->side_path, false, &why);
	if (code == KEEL_STORE_MISSING) {
		*verdict = judge_process(store, row);
		return KEEL_OK;
	}
	if (keel_fail_as(err, code, &why) == KEEL_OK)
		code = keel_sidefile_token(&store->side, token, err);
	if (code != KEEL_OK)
		return code;
	if (token[0] && strcmp(token, row->token) == 0)
		return keel_sidefile_held(&store->side, id, &verdict->alive, err);
	*verdict = judge_process(store, row);
	return KEEL_OK;
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
							   " (SELECT 1 FROM live WHERE session_id = ?1 AND status < 2)";
	int64_t dead[TIDY_MAX];
	size_t count = 0;
	int64_t from;
	struct keel_statement *statement;
	struct verdict verdict;
	bool row;
	enum keel_code code = tidy_from(store, &from, err);
	if (code == KEEL_OK)
		code = keel_query(store, some, &statement, err, keel_int(from), keel_int(TIDY_MAX));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(statement, &row, err)) == KEEL_OK && row) {
		struct session_row session;
		int64_t id = keel_column_int(statement, 0);
		code = read_session(statement, &session, err);
		if (code == KEEL_OK)
			code = judge(store, id, &session, &verdict, err);
		if (code != KEEL_OK)
			break;
		if (!verdict.alive)
			dead[count++] = id;
	}
	keel_reset(statement);
	for (size_t i = 0; code == KEEL_OK && i < count; i++)
		code = keel_execute(store, drop, err, keel_int(dead[i]));
	return code;
}

/* Gives the side file a token, unless it has one. Under the write lock of the database: of all who open the store at
 * once, one does it. */
static enum keel_code take_token(struct keel_store *store, char token[KEEL_UUID_SIZE], struct keel_error *err)
{
	token[0] = '\0';
	if (!store->side_path)
		return KEEL_OK;
	enum keel_code code = keel_sidefile_token(&store->side, token, err);
	if (code != KEEL_OK || token[0])
		return code;
	code = keel_store_new_id(store, token, err);
	if (code == KEEL_OK)
		code = keel_sidefile_set_token(&store->side, token, store->options.durability == KEEL_DURABILITY_FULL, err);
	return code;
}

static enum keel_code insert_session(struct keel_store *store, const char *token, int64_t *id, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO sessions (owner, pid, started_at, boot, space, start, clock, token)"
								 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
	const struct keel_process *self = &store->process;
	enum keel_code code =
		keel_execute(store, insert, err, keel_text(keel_text_of(store->owner_name)), keel_int(self->pid),
					 keel_int(keel_store_now(store)), keel_text(keel_text_of(self->boot)), keel_int(self->space),
					 keel_int(self->start), keel_int(self->clock), keel_text(keel_text_of(token)));
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
	char token[KEEL_UUID_SIZE];
	enum keel_code code = take_token(store, token, err);
	for (int i = 0; code == KEEL_OK && i < BYTES_TRIED; i++) {
		code = insert_session(store, token, id, err);
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
	if (store->side_path)
		code = keel_files_enter_session(store, err);
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
	keel_files_leave_door(store);
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

/* Reads the row of a session, and judges it; *found is false when there is none. */
static enum keel_code look_up(struct keel_store *store, int64_t session, bool *found, struct session_row *row,
							  struct verdict *verdict, struct keel_error *err)
{
	static const char one[] = "SELECT " SESSION_COLUMNS " FROM sessions WHERE id = ?1";
	struct keel_statement *statement;
	*found = false;
	*verdict = (struct verdict){false, false};
	enum keel_code code = keel_query(store, one, &statement, err, keel_int(session));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, statement, found, err);
	if (code == KEEL_OK && *found)
		code = read_session(statement, row, err);
	keel_reset(statement);
	return code == KEEL_OK && *found ? judge(store, session, row, verdict, err) : code;
}

enum keel_code keel_store_session_alive(struct keel_store *store, int64_t session, bool *alive, struct keel_error *err)
{
	enum keel_session_state state;
	enum keel_code code = keel_store_session_state(store, session, &state, err);
	*alive = code == KEEL_OK && state != KEEL_SESSION_DEAD;
	return code;
}

enum keel_code keel_store_session_state(struct keel_store *store, int64_t session, enum keel_session_state *state,
										struct keel_error *err)
{
	struct session_row row;
	struct verdict verdict;
	bool found;
	*state = KEEL_SESSION_DEAD;
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	if (session && session == store->session) {
		*state = KEEL_SESSION_ALIVE;
		return KEEL_OK;
	}
	code = look_up(store, session, &found, &row, &verdict, err);
	if (code == KEEL_OK && verdict.alive)
		*state = verdict.undecided ? KEEL_SESSION_UNDECIDED : KEEL_SESSION_ALIVE;
	return code;
}

enum keel_code keel_store_end_session(struct keel_store *store, int64_t session, bool *ended, struct keel_error *err)
{
	struct session_row row;
	struct verdict verdict;
	bool found = false;
	*ended = false;
	enum keel_code code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	if (session == store->session)
		code = keel_fail(err, KEEL_CONFLICT, "session %lld is this process's own", (long long)session);
	else
		code = look_up(store, session, &found, &row, &verdict, err);
	if (code == KEEL_OK && found && verdict.alive && !verdict.undecided)
		code = keel_fail(err, KEEL_CONFLICT, "session %lld is alive: end its process, %lld%s, instead",
						 (long long)session, (long long)row.process.pid,
						 keel_process_is_foreign(&row.process, &store->process) ? " of another name space" : "");
	if (code == KEEL_OK && found)
		code = delete_session(store, session, err);
	code = keel_write_end(store, code, found, err);
	*ended = code == KEEL_OK && found;
	return code;
}

enum keel_code keel_session_beat(struct keel_store *store, int64_t session, int64_t *beat, struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	*beat = 0;
	enum keel_code code =
		keel_query(store, "SELECT beat FROM sessions WHERE id = ?1", &select, err, keel_int(session));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row)
		*beat = keel_column_int(select, 0);
	keel_reset(select);
	return code;
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
		struct verdict verdict;
		code = read_session(statement, &found, err);
		if (code == KEEL_OK)
			code = judge(store, item->session_id, &found, &verdict, err);
		if (code != KEEL_OK)
			break;
		item->alive = verdict.alive;
		item->undecided = verdict.undecided;
		item->foreign = keel_process_is_foreign(&found.process, &store->process);
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
