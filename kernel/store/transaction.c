/* transaction.c - how what is written or read together begins and ends. Uses: session, files, statement. */
#include "store/transaction.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "store/session.h"
#include "store/statement.h"

/* One try at the write lock, in turn. */
static enum keel_code try_begin(struct keel_store *store, const struct keel_sql_scope *scope,
								struct keel_statement *first, struct keel_error *err)
{
	struct keel_sidefile *file = &store->wake.file;
	bool may = store->options.exclusive || keel_turn_may_try(&store->turn, file);
	KEEL_ASSERT(!store->open && !store->side.forked);
	enum keel_code code = may ? store->sql->driver->begin(store->sql, scope, true, first, err)
							  : keel_fail(err, KEEL_BUSY, "another writer has waited longer");
	if (code == KEEL_BUSY)
		keel_turn_refused(&store->turn, file, !may);
	else
		keel_turn_over(&store->turn, file);
	return code;
}

static enum keel_code begin(struct keel_store *store, const struct keel_sql_scope *scope, struct keel_statement *first,
							struct keel_error *err)
{
	int64_t deadline = 0;
	struct keel_error why;
	enum keel_code code;
	while ((code = try_begin(store, scope, first, &why)) != KEEL_OK && why.transient)
		if (!keel_store_wait(store, &deadline))
			break;
	if (code == KEEL_BUSY && store->options.lock_timeout_us > 0)
		keel_store_give_up(store);
	if (code == KEEL_OK && (code = keel_files_check(store, &why)) != KEEL_OK)
		store->sql->driver->rollback(store->sql);
	KEEL_ASSERT(code != KEEL_OK || store->sql->driver->in_transaction(store->sql));
	if (code == KEEL_OK)
		keel_session_check(store);
	return keel_fail_as(err, code, &why);
}

static void forget_events(struct keel_store *store)
{
	store->events = store->last_event = 0;
}

enum { CONNECTIONS_TRIED = 3 }; /* in one write: a server that ends them as fast as they are made is busy */

/* Begins a writing transaction, after the session has been made: in a transaction of its own, so that its number stays
 * good whatever becomes of the write. Beginning may find out that the connection is gone, and with it the session. */
static enum keel_code begin_write(struct keel_store *store, const struct keel_sql_scope *scope,
								  struct keel_statement *first, struct keel_error *err)
{
	static const struct keel_sql_scope nothing = {.kind = KEEL_SCOPE_NONE};
	if (store->options.readonly)
		return keel_fail(err, KEEL_STORE_READONLY, "%s: the store is open for reading only", keel_store_path(store));
	forget_events(store);
	for (int i = 0; i < CONNECTIONS_TRIED; i++) {
		enum keel_code code = KEEL_OK;
		if (!store->session) {
			/* Who is new concerns nobody; who was there before goes on with what it owned on any thread. */
			code = begin(store, store->lost ? NULL : &nothing, NULL, err);
			if (code == KEEL_OK)
				code = keel_session_make(store, err);
		}
		if (code == KEEL_OK)
			code = begin(store, store->wants_all ? NULL : scope, first, err);
		if (code == KEEL_OK && store->session)
			store->wants_all = false;
		if (code != KEEL_OK || store->session)
			return code;
		store->sql->driver->rollback(store->sql);
		if (first)
			keel_reset(first); /* what it found was on a connection that had no session */
	}
	return keel_fail(err, KEEL_BUSY, "%s: the connection is lost again and again", keel_store_path(store));
}

void keel_store_give_up(struct keel_store *store)
{
	if (store->side.forked)
		return;
	keel_turn_over(&store->turn, &store->wake.file);
	if (!store->open)
		store->sql->driver->rollback(store->sql); /* a server was asked for its lock, and would give it some day */
}

static enum keel_code check_scope(const struct keel_scope *on, struct keel_error *err)
{
	const struct {
		struct keel_text id;
		const char *field;
	} ids[] = {{on->thread_id, "thread_id"},
			   {on->run_id, "run_id"},
			   {on->idempotency_key, "idempotency_key"},
			   {on->user_id, "user_id"}};
	enum keel_code code = KEEL_OK;
	if (!on->thread_id.data == !on->run_id.data)
		return keel_fail_field(err, "thread_id", "thread_id or run_id must be given, one of them");
	for (size_t i = 0; code == KEEL_OK && i < sizeof ids / sizeof ids[0]; i++)
		if (ids[i].id.data)
			code = keel_check_id(ids[i].id, ids[i].field, err);
	return code;
}

enum keel_code keel_store_begin(struct keel_store *store, struct keel_error *err)
{
	return keel_store_begin_on(store, NULL, err);
}

enum keel_code keel_store_begin_on(struct keel_store *store, const struct keel_scope *on, struct keel_error *err)
{
	struct keel_sql_scope scope = {.kind = KEEL_SCOPE_STORE};
	enum keel_code checked = on ? check_scope(on, err) : KEEL_OK;
	if (checked != KEEL_OK)
		return checked;
	if (on && on->run_id.data)
		scope = (struct keel_sql_scope){.kind = KEEL_SCOPE_RUN, .id = on->run_id};
	else if (on)
		scope = (struct keel_sql_scope){KEEL_SCOPE_THREAD, on->thread_id, on->idempotency_key, on->user_id};
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	if (store->open)
		return keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	code = begin_write(store, &scope, NULL, err);
	store->open = code == KEEL_OK;
	store->broken = KEEL_OK;
	store->savepoints = 0;
	keel_buffer_clear(&store->changed);
	return code;
}

/* Commits, and wakes those who wait for events. */
static enum keel_code commit(struct keel_store *store, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	enum keel_code code = driver->commit(store->sql, err);
	if (code == KEEL_OK && store->events > 0 && driver->logged) {
		store->last_event = driver->logged(store->sql);
		store->events = store->last_event ? store->events : 0; /* not known */
	}
	KEEL_ASSERT(code != KEEL_OK || !store->sql->driver->in_transaction(store->sql));
	if (code != KEEL_OK)
		forget_events(store);
	else if (store->events > 0)
		keel_wake_all(&store->wake, store->options.exclusive);
	return code;
}

enum keel_code keel_store_commit(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check_usable(store, err);
	if (code == KEEL_OK && !store->open)
		return keel_fail(err, KEEL_MISUSE, "no transaction is open");
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code != KEEL_OK)
		keel_store_rollback(store);
	else
		code = commit(store, err);
	KEEL_ASSERT(code != KEEL_OK || (store->open && store->broken == KEEL_OK));
	store->open = false;
	return code;
}

void keel_store_rollback(struct keel_store *store)
{
	if (!store->open)
		return;
	if (!store->side.forked)
		store->sql->driver->rollback(store->sql);
	store->open = false;
	keel_buffer_clear(&store->changed);
	forget_events(store);
}

enum keel_code keel_write_begin(struct keel_store *store, struct keel_error *err)
{
	return keel_write_begin_on(store, NULL, NULL, err);
}

enum keel_code keel_write_begin_on(struct keel_store *store, const struct keel_sql_scope *scope,
								   struct keel_statement *first, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && !store->open)
		code = begin_write(store, scope, first, err);
	else if (code == KEEL_OK && (!scope || scope->kind == KEEL_SCOPE_STORE))
		code = keel_write_cover_all(store, err);
	if (code != KEEL_OK && first)
		keel_reset(first);
	KEEL_ASSERT(code != KEEL_OK || store->session > 0);
	KEEL_ASSERT(code != KEEL_OK || store->sql->driver->in_transaction(store->sql));
	return code;
}

/* Whether the transaction may change the runs of a thread, or, without one, of any. */
static enum keel_code covers(struct keel_store *store, struct keel_text thread_id, bool *does, bool *late,
							 struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	KEEL_ASSERT(driver->in_transaction(store->sql));
	*does = true;
	*late = false;
	return driver->cover ? driver->cover(store->sql, thread_id, does, late, err) : KEEL_OK;
}

enum keel_code keel_write_try(struct keel_store *store, struct keel_text thread_id, bool *does, struct keel_error *err)
{
	bool late;
	KEEL_ASSERT(thread_id.data);
	return covers(store, thread_id, does, &late, err);
}

enum keel_code keel_write_cover(struct keel_store *store, struct keel_text thread_id, bool *late,
								struct keel_error *err)
{
	bool does;
	KEEL_ASSERT(thread_id.data);
	enum keel_code code = covers(store, thread_id, &does, late, err);
	if (code == KEEL_OK && !does) {
		store->wants_all = true;
		code = keel_fail(err, KEEL_BUSY, "others are writing runs of thread %.*s", (int)thread_id.size, thread_id.data);
	}
	return code;
}

enum keel_code keel_write_cover_all(struct keel_store *store, struct keel_error *err)
{
	bool does, late;
	enum keel_code code = covers(store, (struct keel_text){NULL, 0}, &does, &late, err);
	if (code == KEEL_OK && !does) {
		store->wants_all = true;
		code = keel_fail(err, KEEL_BUSY, "this concerns other threads, and others may be writing there");
	}
	return code;
}

enum keel_code keel_write_end(struct keel_store *store, enum keel_code code, bool wrote, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	KEEL_ASSERT(!store->side.forked && !store->options.readonly);
	KEEL_ASSERT(!store->open || store->broken == KEEL_OK); /* begin would have said so */
	if (store->open) {
		/* Half an operation must not be committed with the rest; nor what the database rolled back by itself. */
		if (code != KEEL_OK && (wrote || !driver->in_transaction(store->sql)))
			store->broken = code;
		return code;
	}
	if (code == KEEL_OK)
		return commit(store, err);
	if (driver->asks && driver->asks(store->sql, NULL))
		return code; /* nothing was begun: the question keeps its place for the next try */
	driver->rollback(store->sql);
	forget_events(store);
	return code;
}

enum keel_code keel_read_begin(struct keel_store *store, struct keel_error *err)
{
	struct keel_statement *look;
	struct keel_error why;
	int64_t deadline = 0;
	bool row;
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK || store->open)
		return code;
	while ((code = store->sql->driver->begin(store->sql, NULL, false, NULL, &why)) != KEEL_OK && why.transient)
		if (!keel_store_wait(store, &deadline))
			break;
	if (code != KEEL_OK)
		return keel_fail_as(err, code, &why);
	/* The first look begins it. What else may be wrong with it is found by those that follow. */
	code = keel_store_prepare(store, "SELECT epoch FROM store", &look, &why);
	if (code == KEEL_OK) {
		code = keel_first_step(store, look, &row, &why);
		keel_reset(look);
	}
	KEEL_ASSERT(code != KEEL_OK || store->sql->driver->in_transaction(store->sql));
	if (code == KEEL_OK || (code != KEEL_BUSY && store->sql->driver->in_transaction(store->sql)))
		return KEEL_OK;
	store->sql->driver->rollback(store->sql);
	return keel_fail_as(err, code, &why);
}

void keel_read_end(struct keel_store *store)
{
	KEEL_ASSERT(!store->side.forked);
	if (!store->open)
		store->sql->driver->rollback(store->sql);
}
