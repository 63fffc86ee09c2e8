/* postgres_transaction.c - the transactions of the PostgreSQL driver. Uses: postgres_queue, postgres_statement,
 * postgres_doubt.
 *
 * A writing transaction shares the store's lock, an advisory one, and has that of its thread for itself; what may look
 * at anything has the store's for itself. Events take one more lock, that of the log, when they get their ids (the
 * schema says how). The order is: store, key, thread, log; so nobody waits in a circle. The server has a queue for
 * each: who asks is not sent away but asks again whether its turn has come.
 *
 * A transaction commits without waiting for the disk; in the same message a second, tiny one follows that does, and its
 * flush covers all that was written before. So nobody holds a lock while a disk turns.
 */
#include "sql/postgres_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/monotonic.h"

enum { ASK_US = 5000 }; /* how long the first try at the lock waits */

bool postgres_in_transaction(struct keel_sql *base)
{
	return postgres_own(base)->open && !postgres_own(base)->failed;
}

bool postgres_asks(struct keel_sql *base, const struct keel_statement *first)
{
	const struct postgres_sql *sql = postgres_own(base);
	return sql->waits && (!first || sql->first == first);
}

void postgres_await(struct keel_sql *base, int64_t limit_us)
{
	struct postgres_sql *sql = postgres_own(base);
	if (sql->waits)
		postgres_reach(sql, keel_later(keel_monotonic_us(), limit_us), NULL); /* what it says is told by the next try */
}

void postgres_rollback(struct keel_sql *base)
{
	struct postgres_sql *sql = postgres_own(base);
	postgres_take_back(sql);
	postgres_undo(sql);
}

/* The begin goes out with the first question. */
static enum keel_code begin_reading(struct postgres_sql *sql, struct keel_error *err)
{
	sql->transaction[0] = '\0';
	enum keel_code code =
		postgres_send_plain(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", POSTGRES_SENT_WRITE, err);
	sql->open = code == KEEL_OK;
	return code;
}

/* --- Locks -------------------------------------------------------------------------------------------------------- */

/* The locks of threads and of idempotency keys are hashes of their names, with a number of the store's own. */
enum { LOCK_THREAD = 2, LOCK_KEY = 3 };

/* Sends a statement of the driver's own; *kept has its rows, NULL: nobody wants them. */
static enum keel_code ask(struct postgres_sql *sql, const char *text, const struct keel_text *texts, int64_t number,
						  struct keel_statement **kept, struct keel_error *err)
{
	struct keel_statement *statement;
	int parameters = keel_sql_parameters(text);
	enum keel_code code = postgres_prepare(&sql->head, text, &statement, err);
	for (int i = 1; code == KEEL_OK && i < parameters; i++)
		code = postgres_bind_text(statement, i, texts[i - 1], err);
	if (code == KEEL_OK)
		code = postgres_bind_int(statement, parameters, number, err);
	if (code == KEEL_OK)
		code = postgres_send(sql, (struct postgres_statement *)statement,
							 kept ? POSTGRES_SENT_ROWS : POSTGRES_SENT_WRITE, err);
	if (code == KEEL_OK && kept)
		*kept = statement;
	return code;
}

static void forget_rows(struct keel_statement **statement)
{
	if (*statement)
		postgres_reset(*statement);
	*statement = NULL;
}

/* Whoever has the store has everything; the others share it, and have each a part. What is looked at comes in a
 * statement after the locks: one that looked and locked would have looked first. */
#define BEGUN "pg_current_xact_id(), set_config('synchronous_commit', 'off', true)"

/* Once the locks are held that are waited for in turn, the only one left is the log's, which nobody holds for long but
 * a transaction that wants the id of an event and goes on. */
#define THEN_BRIEFLY "set_config('lock_timeout', '2s', true)"

static enum keel_code ask_for_store(struct postgres_sql *sql, enum keel_sql_scope_kind kind, struct keel_error *err)
{
	static const char all[] = "SELECT " BEGUN ", pg_advisory_xact_lock(?1), " THEN_BRIEFLY;
	static const char alone[] = "SELECT " BEGUN ", pg_advisory_xact_lock_shared(?1), " THEN_BRIEFLY;
	static const char some[] = "SELECT " BEGUN ", pg_advisory_xact_lock_shared(?1)";
	const char *text = kind == KEEL_SCOPE_STORE ? all : kind == KEEL_SCOPE_NONE ? alone : some;
	return ask(sql, text, NULL, sql->lock, &sql->locks, err);
}

static enum keel_code ask_for_part(struct postgres_sql *sql, const struct keel_sql_scope *scope, struct keel_error *err)
{
	static const char by_key[] = "SELECT pg_advisory_xact_lock(hashtextextended(?1 || ' ' || ?2, ?3))";
	static const char by_thread[] = "SELECT ?1, pg_advisory_xact_lock(hashtextextended(?1, ?2)), " THEN_BRIEFLY;
	static const char by_run[] =
		"SELECT thread_id, pg_advisory_xact_lock(hashtextextended(thread_id, ?2)), " THEN_BRIEFLY
		" FROM runs WHERE run_id = ?1";
	const struct keel_text key[2] = {scope->key, scope->user.data ? scope->user : (struct keel_text){"", 0}};
	enum keel_code code = KEEL_OK;
	if (scope->key.data)
		code = ask(sql, by_key, key, sql->lock | LOCK_KEY, NULL, err);
	if (code == KEEL_OK && (scope->kind == KEEL_SCOPE_THREAD || scope->kind == KEEL_SCOPE_RUN))
		code = ask(sql, scope->kind == KEEL_SCOPE_RUN ? by_run : by_thread, &scope->id, sql->lock | LOCK_THREAD,
				   &sql->thread, err);
	return code;
}

static void add_digest(uint64_t *digest, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		*digest = (*digest ^ (unsigned char)data[i]) * UINT64_C(0x100000001B3); /* FNV-1a */
	*digest = (*digest ^ 0xFF) * UINT64_C(0x100000001B3);
}

/* What is asked for, and looked at first. */
static uint64_t digest_of(const struct keel_sql_scope *scope, const struct keel_statement *first)
{
	const struct postgres_statement *statement = (const struct postgres_statement *)first;
	uint64_t digest = UINT64_C(0xCBF29CE484222325) + (uint64_t)scope->kind;
	add_digest(&digest, scope->id.data, scope->id.size);
	add_digest(&digest, scope->key.data, scope->key.size);
	add_digest(&digest, scope->user.data, scope->user.size);
	for (int i = 0; statement && i < statement->count; i++)
		add_digest(&digest, statement->values[i].text.data,
				   statement->values[i].bound ? statement->values[i].text.size : 0);
	return digest + (uint64_t)(uintptr_t)(first ? first->text : NULL);
}

static bool add_thread(struct postgres_sql *sql, struct keel_text thread_id)
{
	keel_buffer_add(&sql->threads, thread_id.data, thread_id.size);
	keel_buffer_add(&sql->threads, "", 1);
	return !sql->threads.failed;
}

/* What the locks came to. */
static enum keel_code read_locks(struct postgres_sql *sql, struct keel_error *err)
{
	struct keel_text id = {NULL, 0};
	bool row = false;
	enum keel_code code = postgres_step(sql->locks, &row, err);
	if (code == KEEL_OK && row)
		id = postgres_column_text(sql->locks, 0);
	snprintf(sql->transaction, sizeof sql->transaction, "%s", id.data ? id.data : "");
	if (code == KEEL_OK && sql->thread)
		code = postgres_step(sql->thread, &row, err);
	if (code == KEEL_OK && sql->thread && row) {
		id = postgres_column_text(sql->thread, 0);
		if (!id.data || !add_thread(sql, id))
			code = keel_fail_memory(err);
	}
	return code;
}

static bool has_thread(const struct postgres_sql *sql, struct keel_text thread_id)
{
	for (size_t at = 0; at < sql->threads.size;) {
		size_t size = strlen(sql->threads.data + at);
		if (size == thread_id.size && memcmp(sql->threads.data + at, thread_id.data, size) == 0)
			return true;
		at += size + 1;
	}
	return false;
}

enum keel_code postgres_cover(struct keel_sql *base, struct keel_text thread_id, bool *covers, bool *late,
							  struct keel_error *err)
{
	static const char text[] = "SELECT pg_try_advisory_xact_lock(hashtextextended(?1, ?2))";
	struct postgres_sql *sql = postgres_own(base);
	struct keel_statement *statement = NULL;
	bool row;
	*late = false;
	*covers = sql->whole || (thread_id.data && has_thread(sql, thread_id));
	if (*covers || !thread_id.data)
		return KEEL_OK;
	enum keel_code code = ask(sql, text, &thread_id, sql->lock | LOCK_THREAD, &statement, err);
	if (code == KEEL_OK)
		code = postgres_drain(sql, err);
	if (code == KEEL_OK)
		code = postgres_step(statement, &row, err);
	*covers = *late = code == KEEL_OK && row && postgres_column_int(statement, 0) == 1;
	forget_rows(&statement);
	if (*covers && !add_thread(sql, thread_id))
		code = keel_fail_memory(err);
	return code;
}

/* --- Beginning and ending ----------------------------------------------------------------------------------------- */

static enum keel_code ask_for(struct postgres_sql *sql, const struct keel_sql_scope *scope,
							  struct keel_statement *first, struct keel_error *err)
{
	forget_rows(&sql->locks); /* of a try whose connection was lost */
	forget_rows(&sql->thread);
	forget_rows(&sql->first);
	keel_buffer_clear(&sql->threads);
	sql->threads.failed = false;
	sql->transaction[0] = '\0';
	sql->logged = 0;
	keel_buffer_clear(&sql->events.witness);
	sql->whole = scope->kind == KEEL_SCOPE_STORE;
	sql->asked = digest_of(scope, first);
	sql->open = true;
	/* Said in words, whatever is set for the role: another level would look at what was before the lock. */
	enum keel_code code = postgres_send_plain(sql, "BEGIN ISOLATION LEVEL READ COMMITTED", POSTGRES_SENT_WRITE, err);
	if (code == KEEL_OK)
		code = ask_for_store(sql, scope->kind, err);
	if (code == KEEL_OK)
		code = ask_for_part(sql, scope, err);
	if (code == KEEL_OK && first)
		code = postgres_send(sql, (struct postgres_statement *)first, POSTGRES_SENT_ROWS, err);
	return code;
}

/* Asks for the locks, or looks whether they were given. */
static enum keel_code begin_writing(struct postgres_sql *sql, const struct keel_sql_scope *scope,
									struct keel_statement *first, struct keel_error *err)
{
	/* Whoever tries again has waited as it likes to: a loop that turns meanwhile must not be held up by each try. */
	int64_t patience_us = sql->waits ? 0 : ASK_US;
	enum keel_code code = sql->waits ? KEEL_OK : ask_for(sql, scope, first, err);
	sql->waits = code == KEEL_OK;
	sql->first = first;
	if (code == KEEL_OK)
		code = postgres_drain_until(sql, keel_later(keel_monotonic_us(), patience_us), err);
	if (code == KEEL_BUSY && postgres_is_waiting(sql))
		return keel_fail(err, KEEL_BUSY, "%s: others are writing", sql->path);
	sql->waits = false;
	sql->first = NULL; /* the caller's, from now on */
	if (code == KEEL_OK)
		code = read_locks(sql, err);
	forget_rows(&sql->locks);
	forget_rows(&sql->thread);
	if (code != KEEL_OK && first)
		postgres_reset(first);
	return code;
}

enum keel_code postgres_begin(struct keel_sql *base, const struct keel_sql_scope *scope, bool write,
							  struct keel_statement *first, struct keel_error *err)
{
	static const struct keel_sql_scope store = {.kind = KEEL_SCOPE_STORE};
	struct postgres_sql *sql = postgres_own(base);
	scope = scope ? scope : &store;
	if (!sql->waits || !write || sql->asked != digest_of(scope, first))
		postgres_rollback(base); /* one that failed left its transaction open */
	enum keel_code code = postgres_revive(sql, err);
	if (code == KEEL_OK)
		code = write ? begin_writing(sql, scope, first, err) : begin_reading(sql, err);
	if (code != KEEL_OK && !sql->waits)
		postgres_rollback(base);
	return code;
}

/* A transaction that does nothing but wait for the disk, as the server is set to. */
static enum keel_code send_flush(struct postgres_sql *sql, struct keel_error *err)
{
	static const char *const texts[] = {"BEGIN", "SELECT pg_logical_emit_message(true, 'keel', '')", "COMMIT"};
	enum keel_code code = KEEL_OK;
	for (size_t i = 0; code == KEEL_OK && i < sizeof texts / sizeof texts[0]; i++)
		code = postgres_send_plain(sql, texts[i], POSTGRES_SENT_WRITE, err);
	return code;
}

enum keel_code postgres_commit(struct keel_sql *base, struct keel_error *err)
{
	static const char commit[] = "COMMIT ";
	struct postgres_sql *sql = postgres_own(base);
	struct keel_error why;
	bool writes = sql->transaction[0];
	KEEL_ASSERT(!sql->waits);
	if (!sql->open)
		return keel_fail(err, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	sql->queue.committed = false;
	enum keel_code code = sql->failed ? postgres_drain(sql, &why) : postgres_send_events(sql, &why);
	if (code == KEEL_OK)
		code = postgres_send_plain(sql, commit, POSTGRES_SENT_COMMIT, &why);
	bool sent = code == KEEL_OK;
	if (code == KEEL_OK && sql->flushes && writes)
		code = send_flush(sql, &why);
	if (code == KEEL_OK)
		code = postgres_drain(sql, &why);
	bool committed = sql->queue.committed;
	if (code == KEEL_OK && !committed)
		code = keel_fail(&why, KEEL_BUSY, "%s: the transaction was undone", sql->path);
	if (committed && code == KEEL_OK)
		sql->open = false; /* there is nothing to undo */
	/* What was not answered may have been done; and what was done may not be on the disk of a server that fell. */
	bool doubtful = code != KEEL_OK && sent && writes && (committed || PQstatus(sql->db) != CONNECTION_OK);
	postgres_undo(sql);
	if (doubtful)
		return postgres_resolve(sql, code, &why, err);
	return keel_fail_as(err, code, &why);
}

enum keel_code postgres_durable(struct keel_sql *base, struct keel_error *err)
{
	/* Who wrote flushes within the moment: mostly there is nothing to wait for. A standby has only what is flushed. */
	static const char unless_it_is[] =
		"SELECT CASE WHEN pg_is_in_recovery() OR pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() THEN NULL"
		" ELSE pg_logical_emit_message(true, 'keel', '') END";
	struct postgres_sql *sql = postgres_own(base);
	return sql->flushes && !sql->open ? postgres_send_plain(sql, unless_it_is, POSTGRES_SENT_WRITE, err) : KEEL_OK;
}

/* They have one name: the newest hides those before it until it is released. */
static enum keel_code put_off(struct postgres_sql *sql, const char *text, struct keel_error *err)
{
	return sql->failed ? postgres_drain(sql, err) : postgres_send_plain(sql, text, POSTGRES_SENT_WRITE, err);
}

static const char release[] = "RELEASE keel";

enum keel_code postgres_savepoint(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints < KEEL_SAVEPOINTS_MAX);
	enum keel_code code = put_off(sql, "SAVEPOINT keel", err);
	if (code == KEEL_OK)
		sql->marks[sql->savepoints++] = (struct postgres_mark){.events = sql->events.values.size,
															   .sent = sql->events.sent,
															   .witness = sql->events.witness.size,
															   .threads = sql->threads.size,
															   .logged = sql->logged};
	return code;
}

enum keel_code postgres_release(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	enum keel_code code = put_off(sql, release, err);
	sql->savepoints -= code == KEEL_OK;
	return code;
}

enum keel_code postgres_rollback_to(struct keel_sql *base, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	KEEL_ASSERT(sql->savepoints > 0);
	/* What failed came after it, or else it is not there any more and going back fails, too. */
	postgres_drain(sql, NULL);
	if (PQstatus(sql->db) != CONNECTION_OK)
		return keel_fail(err, KEEL_BUSY, "%s: the connection is lost", sql->path);
	sql->failed = false;
	sql->queue.code = KEEL_OK;
	enum keel_code code = put_off(sql, "ROLLBACK TO keel", err);
	if (code == KEEL_OK)
		code = put_off(sql, release, err);
	if (code == KEEL_OK)
		code = postgres_drain(sql, err);
	if (code != KEEL_OK)
		return code;
	const struct postgres_mark *mark = &sql->marks[--sql->savepoints];
	postgres_cut_events(sql, mark->events);
	sql->events.sent = mark->sent;
	sql->events.witness.size = mark->witness;
	sql->threads.size = mark->threads;
	sql->logged = mark->logged;
	return KEEL_OK;
}
