/* session.c - who is there: an open store that has written holds a lock until its process is gone. Uses: sidefile,
 * process, files, statement.
 *
 *   none ──first write──► alive ──close, exit, kill -9──► dead       (no way back: a number is used once)
 *
 * The lock is taken before the row commits, so whoever can read the row finds the lock; judging happens in the
 * transaction that acts on it. It is a byte of the side file, or for a store on a server a lock of the connection.
 */
#include "store/session.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "store/statement.h"

enum {
	TIDY_MAX = 32,     /* sessions looked at when a new one is made: more than are made, so they do not pile up */
	BYTES_TRIED = 4096 /* numbers skipped because a session of a store deleted under it still holds their bytes */
};

/* False: out of memory. A text that is too long is none of ours. */
static bool copy_column(struct keel_statement *select, int column, char *text, size_t size)
{
	struct keel_text value;
	bool is_read = keel_column_read(select, column, &value);
	if (value.data && value.size < size)
		memcpy(text, value.data, value.size);
	return is_read;
}

enum keel_code keel_session_read(struct keel_statement *select, struct keel_session_row *row, struct keel_error *err)
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
static struct keel_verdict judge_process(const struct keel_store *store, const struct keel_session_row *row)
{
	enum keel_process_fate fate = keel_process_fate(&row->process, &store->process);
	return (struct keel_verdict){fate != KEEL_PROCESS_GONE, fate == KEEL_PROCESS_UNKNOWN};
}

enum keel_code keel_session_judge(struct keel_store *store, int64_t id, const struct keel_session_row *row,
								  struct keel_verdict *verdict, struct keel_error *err)
{
	struct keel_error why;
	char token[KEEL_UUID_SIZE];
	*verdict = (struct keel_verdict){id == store->session, false};
	if (verdict->alive)
		return KEEL_OK;
	if (store->sql->driver->judge)
		return store->sql->driver->judge(store->sql, id, &verdict->alive, err);
	if (!store->side_path)
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
	static const char some[] = "SELECT " KEEL_SESSION_COLUMNS " FROM sessions WHERE id >= ?1 ORDER BY id LIMIT ?2";
	static const char drop[] = "DELETE FROM sessions WHERE id = ?1 AND NOT EXISTS"
							   " (SELECT 1 FROM live WHERE session_id = ?1 AND status < 2)";
	int64_t dead[TIDY_MAX];
	size_t count = 0;
	int64_t from;
	struct keel_statement *statement;
	struct keel_verdict verdict;
	bool row;
	enum keel_code code = tidy_from(store, &from, err);
	if (code == KEEL_OK)
		code = keel_query(store, some, &statement, err, keel_value_int(from), keel_value_int(TIDY_MAX));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(statement, &row, err)) == KEEL_OK && row) {
		struct keel_session_row session;
		int64_t id = keel_column_int(statement, 0);
		code = keel_session_read(statement, &session, err);
		if (code == KEEL_OK)
			code = keel_session_judge(store, id, &session, &verdict, err);
		if (code != KEEL_OK)
			break;
		KEEL_ASSERT(count < TIDY_MAX && (verdict.alive || id != store->session));
		if (!verdict.alive)
			dead[count++] = id;
	}
	keel_reset(statement);
	for (size_t i = 0; code == KEEL_OK && i < count; i++)
		code = keel_execute(store, drop, err, keel_value_int(dead[i]));
	return code;
}

/* Gives the side file a token, unless it has one. Under the write lock of the database: of all who open the store at
 * once, one does it. */
static enum keel_code take_token(struct keel_store *store, char token[KEEL_UUID_SIZE], struct keel_error *err)
{
	token[0] = '\0';
	if (!store->side_path)
		return KEEL_OK;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
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
	enum keel_code code = keel_execute(
		store, insert, err, keel_value_text(keel_text_of(store->owner_name)), keel_value_int(self->pid),
		keel_value_int(keel_store_now(store)), keel_value_text(keel_text_of(self->boot)), keel_value_int(self->space),
		keel_value_int(self->start), keel_value_int(self->clock), keel_value_text(keel_text_of(token)));
	*id = store->sql->driver->inserted(store->sql);
	KEEL_ASSERT(code != KEEL_OK || *id > 0);
	return code;
}

enum keel_code keel_session_delete(struct keel_store *store, int64_t id, struct keel_error *err)
{
	return keel_execute(store, "DELETE FROM sessions WHERE id = ?1", err, keel_value_int(id));
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
		if (code == KEEL_OK && store->sql->driver->hold)
			return store->sql->driver->hold(store->sql, *id, err);
		if (code != KEEL_OK || !store->side_path)
			return code;
		code = keel_sidefile_lock(&store->side, *id, &why);
		if (code != KEEL_BUSY)
			return keel_fail_as(err, code, &why);
		code = keel_session_delete(store, *id, err);
	}
	return code == KEEL_OK ? keel_fail(err, KEEL_IO, "%s: no byte could be locked", store->side_path) : code;
}

void keel_session_check(struct keel_store *store)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	if (!driver->connection || driver->connection(store->sql) == store->connection)
		return;
	store->connection = driver->connection(store->sql);
	if (store->session) {
		store->lost = store->session;
		store->former[store->losses++ % KEEL_SESSIONS_FORMER] = store->session;
	}
	store->session = 0;
}

int64_t keel_session_now(const struct keel_store *store, int64_t session)
{
	for (int i = 0; i < KEEL_SESSIONS_FORMER; i++)
		if (session && store->former[i] == session)
			return store->session;
	return session;
}

/* What others have taken over meanwhile is theirs. */
static enum keel_code adopt(struct keel_store *store, int64_t id, struct keel_error *err)
{
	static const char *const texts[] = {"UPDATE live SET session_id = ?1 WHERE session_id = ?2",
										"UPDATE leases SET session_id = ?1 WHERE session_id = ?2"};
	enum keel_code code = KEEL_OK;
	for (int i = 0; code == KEEL_OK && i < 2; i++)
		code = keel_execute(store, texts[i], err, keel_value_int(id), keel_value_int(store->lost));
	return code == KEEL_OK ? keel_session_delete(store, store->lost, err) : code;
}

enum keel_code keel_session_make(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	int64_t id = 0;
	KEEL_ASSERT(!store->session && store->sql->driver->in_transaction(store->sql));
	if (store->side_path)
		code = keel_files_enter_session(store, err);
	if (code == KEEL_OK)
		code = tidy(store, err);
	if (code == KEEL_OK)
		code = take_number(store, &id, err);
	if (code == KEEL_OK && store->lost)
		code = adopt(store, id, err);
	if (code == KEEL_OK)
		code = store->sql->driver->commit(store->sql, err);
	else
		store->sql->driver->rollback(store->sql);
	KEEL_ASSERT(code != KEEL_OK || !store->sql->driver->in_transaction(store->sql));
	if (code == KEEL_OK) {
		store->session = id;
		store->lost = 0;
	} else if (store->side_path) {
		keel_sidefile_drop(&store->side);
	}
	keel_files_leave_door(store);
	return code;
}

enum keel_code keel_session_beat(struct keel_store *store, int64_t session, int64_t *beat, struct keel_error *err)
{
	struct keel_statement *select;
	*beat = 0;
	enum keel_code code =
		keel_query(store, "SELECT beat FROM sessions WHERE id = ?1", &select, err, keel_value_int(session));
	return code == KEEL_OK ? keel_first_number(store, select, NULL, beat, err) : code;
}
