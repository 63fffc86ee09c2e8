/* sessions.c - who is there: asking for sessions, ending what is left of one. Uses: session, transaction, statement. */
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "store/session.h"
#include "store/statement.h"
#include "store/transaction.h"

enum keel_code keel_store_session(struct keel_store *store, int64_t *session, struct keel_error *err)
{
	*session = 0;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && !store->open)
		keel_session_check(store);
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
static enum keel_code look_up(struct keel_store *store, int64_t session, bool *found, struct keel_session_row *row,
							  struct keel_verdict *verdict, struct keel_error *err)
{
	static const char one[] = "SELECT " KEEL_SESSION_COLUMNS " FROM sessions WHERE id = ?1";
	struct keel_statement *statement;
	*found = false;
	*verdict = (struct keel_verdict){false, false};
	enum keel_code code = keel_query(store, one, &statement, err, keel_value_int(session));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, statement, found, err);
	if (code == KEEL_OK && *found)
		code = keel_session_read(statement, row, err);
	keel_reset(statement);
	return code == KEEL_OK && *found ? keel_session_judge(store, session, row, verdict, err) : code;
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
	struct keel_session_row row;
	struct keel_verdict verdict;
	bool found;
	*state = KEEL_SESSION_DEAD;
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	if (!store->open)
		keel_session_check(store);
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
	struct keel_session_row row;
	struct keel_verdict verdict;
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
		code = keel_session_delete(store, session, err);
	KEEL_ASSERT(code != KEEL_OK || !found || session != store->session);
	code = keel_write_end(store, code, found, err);
	*ended = code == KEEL_OK && found;
	return code;
}

enum keel_code keel_store_session_descriptor(struct keel_store *store, int *descriptor, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	/* On a server it is the connection's: that is open for as long as anybody has it. */
	bool held = store->session && (store->side_path || store->sql->driver->hold);
	*descriptor = code == KEEL_OK && held ? store->side.fd : -1;
	return code;
}

enum keel_code keel_store_sessions(struct keel_store *store, struct keel_sessions *list, struct keel_error *err)
{
	static const char all[] = "SELECT " KEEL_SESSION_COLUMNS " FROM sessions ORDER BY id";
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
		struct keel_session_row found;
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
		struct keel_text owner;
		if (!keel_column_read(statement, 1, &owner) || !keel_arena_text(&arena, owner, &item->owner))
			code = keel_fail_memory(err);
		else if (!owner.data)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the row of session %lld is damaged", keel_store_path(store),
							 (long long)item->session_id);
		if (code != KEEL_OK)
			break;
		struct keel_verdict verdict;
		code = keel_session_read(statement, &found, err);
		if (code == KEEL_OK)
			code = keel_session_judge(store, item->session_id, &found, &verdict, err);
		if (code != KEEL_OK)
			break;
		KEEL_ASSERT(verdict.alive || !verdict.undecided);
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
