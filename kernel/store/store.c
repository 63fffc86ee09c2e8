/* store.c - opening a store, its transactions, and waiting for its lock. Uses: sql, schema, session. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"
#include "base/text.h"
#include "run/rows.h"
#include "schema/schema.h"

static void system_sleep(void *data, int64_t duration_us)
{
	(void)data;
	struct timespec left = {.tv_sec = duration_us / 1000000, .tv_nsec = duration_us % 1000000 * 1000};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

static int64_t monotonic_now(void *data)
{
	(void)data;
	return keel_monotonic_us();
}

void keel_store_options_init(struct keel_store_options *options)
{
	memset(options, 0, sizeof *options);
	options->durability = KEEL_DURABILITY_FULL;
	options->create = true;
	options->lock_timeout_us = 5 * 1000 * 1000;
	options->clock = keel_clock_system();
	options->monotonic = (struct keel_clock){monotonic_now, NULL};
	options->ids = keel_ids_uuid7();
	options->sleep = system_sleep;
}

bool keel_store_wait(struct keel_store *store, int64_t *deadline)
{
	int64_t now = keel_monotonic_us();
	if (*deadline == 0)
		*deadline = keel_later(now, store->options.lock_timeout_us);
	if (now >= *deadline)
		return false;
	int64_t step = keel_turn_step(&store->turn);
	store->options.sleep(store->options.sleep_data, step < *deadline - now ? step : *deadline - now);
	return true;
}

/* --- Opening ----------------------------------------------------------------------------------------------------- */

const char *keel_store_script(int i)
{
	return i < keel_migrations_count ? keel_migrations[i].sql : NULL;
}

/* Brings an empty or older schema up to date. Under the write lock: of eight processes one does the work. */
static enum keel_code migrate(struct keel_store *store, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	int64_t version;
	bool ours;
	enum keel_code code = driver->begin(store->sql, true, err);
	if (code != KEEL_OK)
		return code;
	code = driver->identify(store->sql, &version, &ours, err);
	bool fresh = version == 0;
	if (fresh)
		version = KEEL_SCHEMA_BASE;
	for (; code == KEEL_OK && version < keel_schema_version(); version++)
		code = driver->migrate(store->sql, keel_migrations[version - KEEL_SCHEMA_BASE].sql, version + 1, err);
	if (code == KEEL_OK && fresh) {
		char epoch[KEEL_UUID_SIZE];
		code = keel_store_new_id(store, epoch, err);
		if (code == KEEL_OK)
			code = keel_execute(store, "INSERT INTO store (epoch, created_at) VALUES (?1, ?2)", err,
								keel_text(keel_text_of(epoch)), keel_int(keel_store_now(store)));
	}
	if (code == KEEL_OK)
		code = driver->check_schema(store->sql, keel_store_script, err);
	if (code == KEEL_OK)
		code = driver->commit(store->sql, err);
	else
		driver->rollback(store->sql);
	if (code == KEEL_OK && fresh) {
		/* The file is told from others by what is in it, not in the log. If others keep it from being written now, the
		 * next opening does it. */
		int64_t left;
		driver->write_back(store->sql, &left, NULL);
	}
	return code;
}

static enum keel_code read_epoch(struct keel_store *store, struct keel_error *err)
{
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_store_prepare(store, "SELECT epoch FROM store", &select, err);
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	struct keel_text epoch = {NULL, 0};
	if (code == KEEL_OK && row) {
		row = !keel_column_null(select, 0);
		epoch = keel_column_text(select, 0);
		if (row && !epoch.data)
			code = keel_fail_memory(err);
	}
	if (code == KEEL_OK && (!row || epoch.size >= sizeof store->epoch))
		code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the store has no epoch", keel_store_path(store));
	if (code == KEEL_OK)
		memcpy(store->epoch, epoch.data, epoch.size + 1);
	keel_reset(select);
	return code;
}

/* One try at everything between connecting and a store ready for use. */
static enum keel_code attach(struct keel_store *store, const char *uri, struct keel_error *err)
{
	const struct keel_sql_driver *driver;
	const struct keel_store_options *options = &store->options;
	struct keel_sql_config config = {uri, options->durability, options->readonly, options->create, false};
	int64_t version;
	bool ours;
	enum keel_code code = keel_sql_find(uri, &driver, err);
	if (code == KEEL_OK)
		code = driver->open(&config, &store->sql, err);
	if (code == KEEL_OK)
		code = keel_files_enter(store, err);
	if (code == KEEL_OK)
		code = driver->start(store->sql, &config, err);
	if (code == KEEL_OK)
		code = driver->identify(store->sql, &version, &ours, err);
	if (code != KEEL_OK)
		return code;
	if (version < 0)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the schema version %lld is none", uri, (long long)version);
	if (!ours)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: this is another application's database", uri);
	if (version > 0 && version <= KEEL_SCHEMA_BASE)
		return keel_fail(
			err, KEEL_STORE_VERSION,
			"%s: the store was made by a Keel from before the first release, and cannot be read by this one", uri);
	if (version > keel_schema_version())
		return keel_fail(err, KEEL_STORE_VERSION, "%s: the store has schema version %lld, this library knows up to %d",
						 uri, (long long)version, keel_schema_version());
	bool in_memory = !driver->path(store->sql)[0];
	if (options->readonly && !in_memory) {
		if (version == 0)
			return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the file is empty", uri);
		if (version < keel_schema_version())
			return keel_fail(err, KEEL_STORE_VERSION,
							 "%s: schema version %lld is older than %d: open it for writing once", uri,
							 (long long)version, keel_schema_version());
	} else {
		code = driver->make_ready(store->sql, err);
	}
	if (code == KEEL_OK && version < keel_schema_version())
		code = migrate(store, err);
	else if (code == KEEL_OK)
		code = driver->check_schema(store->sql, keel_store_script, err);
	if (code == KEEL_OK)
		code = read_epoch(store, err);
	return code == KEEL_OK ? keel_files_settle(store, err) : code;
}

/* A host's name is the administrator's and may hold any bytes: what no id may have becomes a "?". */
static void make_readable(char *name)
{
	for (unsigned char *at = (unsigned char *)name; *at; at++)
		if (*at < 0x20 || *at >= 0x7f)
			*at = '?';
}

static enum keel_code name_owner(struct keel_store *store, struct keel_error *err)
{
	char host[65] = "localhost", name[96];
	if (gethostname(host, sizeof host - 1) != 0)
		snprintf(host, sizeof host, "localhost");
	host[sizeof host - 1] = '\0';
	make_readable(host);
	snprintf(name, sizeof name, "%s:%lld", host, (long long)getpid());
	const char *owner = store->options.owner ? store->options.owner : name;
	enum keel_code code = keel_check_id(keel_text_of(owner), "owner", err);
	if (code != KEEL_OK)
		return code;
	store->owner_name = keel_copy_text(owner);
	store->options.owner = store->owner_name;
	return store->owner_name ? KEEL_OK : keel_fail_memory(err);
}

static enum keel_code check_options(const struct keel_store_options *options, struct keel_error *err)
{
	int durability = (int)options->durability;
	if (durability < KEEL_DURABILITY_FULL || durability > KEEL_DURABILITY_OFF)
		return keel_fail_field(err, "durability", "%d is no durability", durability);
	const char *missing = !options->clock.now		 ? "clock"
						  : !options->ids.next		 ? "ids"
						  : !options->sleep			 ? "sleep"
						  : !options->monotonic.now ? "monotonic"
													 : NULL;
	if (missing)
		return keel_fail_field(err, missing, "options start as keel_store_options_init makes them");
	return KEEL_OK;
}

enum keel_code keel_store_open(const char *uri, const struct keel_store_options *options, struct keel_store **out,
							   struct keel_error *err)
{
	struct keel_store_options defaults;
	struct keel_error why;
	int64_t deadline = 0;
	*out = NULL;
	if (!options) {
		keel_store_options_init(&defaults);
		options = &defaults;
	}
	struct keel_store *store = keel_new(sizeof *store);
	if (!store)
		return keel_fail_memory(err);
	store->options = *options;
	store->side.fd = store->wake.file.fd = store->wake.inotify = store->files.folder = -1;
	enum keel_code code = check_options(options, &why);
	if (code == KEEL_OK)
		code = keel_sidefile_watch(&store->side, &why);
	if (code == KEEL_OK)
		code = keel_wake_init(&store->wake, &why);
	if (code == KEEL_OK)
		code = name_owner(store, &why);
	while (code == KEEL_OK && (code = attach(store, uri, &why)) == KEEL_BUSY && keel_store_wait(store, &deadline)) {
		/* Somebody else is creating, recovering or closing it: from the beginning. */
		if (store->sql)
			store->sql->driver->close(store->sql);
		store->sql = NULL;
		code = KEEL_OK;
	}
	if (code != KEEL_OK) {
		keel_store_close(store);
		return keel_fail_as(err, code, &why);
	}
	keel_process_self(&store->process);
	*out = store;
	return KEEL_OK;
}

void keel_store_close(struct keel_store *store)
{
	/* In a forked child the database is the parent's: closing it here could checkpoint and delete the parent's log. All
	 * of it is left to the end of the child, with the note that this file must not be opened here. */
	if (!store || store->side.forked)
		return;
	if (store->sql) {
		keel_store_rollback(store);
		keel_run_texts_free(store);
		/* What is found in its place has a log of its own by now, under the same name; and what a writer has left is
		 * for a writer to clear away, not for one who only reads. */
		if (store->files.left || keel_files_check(store, NULL) != KEEL_OK)
			store->sql->driver->let_go(store->sql);
		store->sql->driver->close(store->sql);
	}
	keel_sidefile_close(&store->side); /* ends the session, after its last write */
	keel_files_close(store);
	keel_free(store->owner_name);
	keel_buffer_free(&store->scratch);
	keel_watched_free(&store->watched);
	keel_free(store);
}

/* --- Looking at a handle ------------------------------------------------------------------------------------------ */

bool keel_store_usable(const struct keel_store *store)
{
	return !store->side.forked;
}

enum keel_code keel_store_check_usable(const struct keel_store *store, struct keel_error *err)
{
	if (!store->side.forked)
		return KEEL_OK;
	const char *path = keel_store_path(store);
	return keel_fail(err, KEEL_FORKED, "%s was opened before this process was forked: " KEEL_FORK_ADVICE,
					 path[0] ? path : "the store in memory");
}

bool keel_store_in_transaction(const struct keel_store *store)
{
	return store->open;
}

const char *keel_store_backend(const struct keel_store *store)
{
	return keel_store_path(store)[0] ? store->sql->driver->name : "memory";
}

const char *keel_store_path(const struct keel_store *store)
{
	return store->sql->driver->path(store->sql);
}

const char *keel_store_epoch(const struct keel_store *store)
{
	return store->epoch;
}

int64_t keel_store_now(const struct keel_store *store)
{
	return store->options.clock.now(store->options.clock.data);
}

int64_t keel_store_watched(struct keel_store *store, enum keel_watched_kind kind, int64_t key,
						   struct keel_watched_state state)
{
	return keel_watched_for(&store->watched, kind, key, state,
							store->options.monotonic.now(store->options.monotonic.data));
}

int64_t keel_store_after(const struct keel_store *store, int64_t duration_us)
{
	int64_t now = keel_store_now(store);
	return now > 0 && duration_us > INT64_MAX - now ? INT64_MAX : now + duration_us;
}

enum keel_code keel_store_new_id(struct keel_store *store, char id[KEEL_UUID_SIZE], struct keel_error *err)
{
	enum keel_code code = store->options.ids.next(store->options.ids.data, id);
	return code == KEEL_OK ? code : keel_fail(err, code, "the source of ids failed");
}

/* --- Transactions ------------------------------------------------------------------------------------------------ */

enum keel_code keel_store_prepare(struct keel_store *store, const char *text, struct keel_statement **statement,
								  struct keel_error *err)
{
	return store->sql->driver->prepare(store->sql, text, statement, err);
}

enum keel_code keel_query_values(struct keel_store *store, const char *text, struct keel_statement **statement,
								 struct keel_error *err, const struct keel_value *values, size_t count)
{
	enum keel_code code = keel_store_prepare(store, text, statement, err);
	for (size_t i = 0; code == KEEL_OK && i < count; i++) {
		int parameter = (int)i + 1;
		switch (values[i].kind) {
		case KEEL_VALUE_NULL:
			code = keel_bind_null(*statement, parameter, err);
			break;
		case KEEL_VALUE_INT:
			code = keel_bind_int(*statement, parameter, values[i].number, err);
			break;
		case KEEL_VALUE_TEXT:
			code = keel_bind_text(*statement, parameter, values[i].text, err);
			break;
		}
	}
	return code;
}

enum keel_code keel_execute_values(struct keel_store *store, const char *text, struct keel_error *err,
								   const struct keel_value *values, size_t count)
{
	struct keel_statement *statement;
	enum keel_code code = keel_query_values(store, text, &statement, err, values, count);
	return code == KEEL_OK ? keel_run_statement(statement, err) : code;
}

void keel_store_watch(struct keel_store *store, keel_progress *progress, void *data)
{
	store->progress = progress;
	store->progress_data = data;
}

enum keel_code keel_store_check(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check_usable(store, err);
	if (code != KEEL_OK)
		return code;
	/* Some failures, of a read too, make the database roll back by itself: what follows must not be committed piece by
	 * piece outside of the transaction. */
	if (store->open && store->broken == KEEL_OK && !store->sql->driver->in_transaction(store->sql))
		store->broken = KEEL_IO;
	if (store->open && store->broken != KEEL_OK)
		return keel_fail(err, store->broken, "the transaction failed before and can only be rolled back");
	return KEEL_OK;
}

/* One try at the write lock, in turn. */
static enum keel_code try_begin(struct keel_store *store, struct keel_error *err)
{
	struct keel_sidefile *file = &store->wake.file;
	bool may = keel_turn_may_try(&store->turn, file);
	enum keel_code code = may ? store->sql->driver->begin(store->sql, true, err)
							  : keel_fail(err, KEEL_BUSY, "another writer has waited longer");
	if (code == KEEL_BUSY)
		keel_turn_refused(&store->turn, file, !may);
	else
		keel_turn_over(&store->turn, file);
	return code;
}

static enum keel_code begin(struct keel_store *store, struct keel_error *err)
{
	int64_t deadline = 0;
	struct keel_error why;
	enum keel_code code;
	while ((code = try_begin(store, &why)) == KEEL_BUSY)
		if (!keel_store_wait(store, &deadline))
			break;
	if (code == KEEL_BUSY && store->options.lock_timeout_us > 0)
		keel_store_give_up(store);
	if (code == KEEL_OK && (code = keel_files_check(store, &why)) != KEEL_OK)
		store->sql->driver->rollback(store->sql);
	return keel_fail_as(err, code, &why);
}

/* Begins a writing transaction, after the session has been made: in a transaction of its own, so that its number stays
 * good whatever becomes of the write. */
static enum keel_code begin_write(struct keel_store *store, struct keel_error *err)
{
	if (store->options.readonly)
		return keel_fail(err, KEEL_STORE_READONLY, "%s: the store is open for reading only", keel_store_path(store));
	store->news = false;
	if (!store->session) {
		enum keel_code code = begin(store, err);
		if (code == KEEL_OK)
			code = keel_session_make(store, err);
		if (code != KEEL_OK)
			return code;
	}
	return begin(store, err);
}

int64_t keel_store_retry_us(const struct keel_store *store)
{
	return keel_turn_step(&store->turn);
}

void keel_store_give_up(struct keel_store *store)
{
	if (!store->side.forked)
		keel_turn_over(&store->turn, &store->wake.file);
}

enum keel_code keel_store_begin(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK)
		return code;
	if (store->open)
		return keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	code = begin_write(store, err);
	store->open = code == KEEL_OK;
	store->broken = KEEL_OK;
	store->savepoints = 0;
	return code;
}

/* Commits, and wakes those who wait for events. */
static enum keel_code commit(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = store->sql->driver->commit(store->sql, err);
	if (code == KEEL_OK && store->news)
		keel_wake_all(&store->wake);
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
}

enum keel_code keel_write_begin(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check(store, err);
	return code != KEEL_OK || store->open ? code : begin_write(store, err);
}

enum keel_code keel_write_end(struct keel_store *store, enum keel_code code, bool wrote, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	if (store->open) {
		/* Half an operation must not be committed with the rest; nor what the database rolled back by itself. */
		if (code != KEEL_OK && (wrote || !driver->in_transaction(store->sql)))
			store->broken = code;
		return code;
	}
	if (code == KEEL_OK)
		return commit(store, err);
	driver->rollback(store->sql);
	return code;
}

enum keel_code keel_read_begin(struct keel_store *store, struct keel_error *err)
{
	struct keel_statement *look;
	struct keel_error why;
	bool row;
	enum keel_code code = keel_store_check(store, err);
	if (code != KEEL_OK || store->open)
		return code;
	code = store->sql->driver->begin(store->sql, false, err);
	if (code != KEEL_OK)
		return code;
	/* The first look begins it. What else may be wrong with it is found by those that follow. */
	code = keel_store_prepare(store, "SELECT epoch FROM store", &look, &why);
	if (code == KEEL_OK) {
		code = keel_first_step(store, look, &row, &why);
		keel_reset(look);
	}
	if (code != KEEL_BUSY)
		return KEEL_OK;
	store->sql->driver->rollback(store->sql);
	return keel_fail_as(err, code, &why);
}

enum keel_code keel_first_step(struct keel_store *store, struct keel_statement *query, bool *row,
							   struct keel_error *err)
{
	int64_t deadline = 0;
	struct keel_error why;
	enum keel_code code;
	while ((code = keel_step(query, row, &why)) == KEEL_BUSY && !store->open && keel_store_wait(store, &deadline))
		keel_reset(query);
	return keel_fail_as(err, code, &why);
}

void keel_read_end(struct keel_store *store)
{
	if (!store->open)
		store->sql->driver->rollback(store->sql);
}
