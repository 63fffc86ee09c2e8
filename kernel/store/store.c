/* store.c - opening a store and closing it. Uses: sql, schema, files, statement, transaction. */
#include "store/store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"
#include "base/text.h"
#include "schema/schema.h"

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
	options->sleep = keel_system_sleep;
}

/* --- Opening ----------------------------------------------------------------------------------------------------- */

/* Brings an empty or older schema up to date. Under the write lock: of eight processes one does the work. */
static enum keel_code migrate(struct keel_store *store, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	int64_t version;
	bool ours;
	enum keel_code code = driver->begin(store->sql, NULL, true, NULL, err);
	if (code != KEEL_OK)
		return code;
	code = driver->identify(store->sql, &version, &ours, err);
	bool fresh = version == 0;
	if (fresh)
		version = KEEL_SCHEMA_BASE;
	for (; code == KEEL_OK && version < keel_schema_version(driver); version++)
		code = driver->migrate(store->sql, driver->script((int)version - KEEL_SCHEMA_BASE), version + 1, err);
	if (code == KEEL_OK && fresh) {
		char epoch[KEEL_UUID_SIZE];
		code = keel_store_new_id(store, epoch, err);
		if (code == KEEL_OK)
			code = keel_execute(store, "INSERT INTO store (epoch, created_at) VALUES (?1, ?2)", err,
								keel_value_text(keel_text_of(epoch)), keel_value_int(keel_store_now(store)));
	}
	if (code == KEEL_OK)
		code = driver->check_schema(store->sql, err);
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
		if (!keel_column_read(select, 0, &epoch))
			code = keel_fail_memory(err);
		row = epoch.data != NULL;
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
	struct keel_sql_config config = {uri,  options->durability, options->readonly, options->create, options->exclusive,
									 false};
	int64_t version;
	bool ours;
	enum keel_code code = keel_sql_find(uri, &driver, err);
	if (code == KEEL_OK && driver->judge && options->exclusive)
		code = keel_fail(err, KEEL_NOT_SUPPORTED, "exclusive = true is for stores in files, not on a server");
	if (code == KEEL_OK)
		code = driver->open(&config, &store->sql, err);
	if (code == KEEL_OK && driver->keep_descriptor) {
		/* It is closed in a forked child, which must not speak for us. */
		driver->keep_descriptor(store->sql, &store->side.fd);
		store->wake.server = &store->side.fd;
	}
	if (code == KEEL_OK && driver->connection)
		store->connection = driver->connection(store->sql);
	if (code == KEEL_OK)
		code = keel_files_enter(store, err);
	if (code == KEEL_OK) {
		code = driver->start(store->sql, &config, err);
		if (code == KEEL_BUSY)
			return keel_files_fail_busy(store, err);
	}
	if (code == KEEL_OK)
		code = driver->identify(store->sql, &version, &ours, err);
	if (code != KEEL_OK)
		return code;
	const char *name = driver->judge ? driver->path(store->sql) : uri; /* the uri of a server may have a password */
	if (version < 0)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the schema version %lld is none", name, (long long)version);
	if (!ours)
		return keel_fail(err, KEEL_STORE_CORRUPT, "%s: this is another application's database", name);
	if (version > 0 && version <= KEEL_SCHEMA_BASE)
		return keel_fail(
			err, KEEL_STORE_VERSION,
			"%s: the store was made by a Keel from before the first release, and cannot be read by this one", name);
	if (version > keel_schema_version(driver))
		return keel_fail(err, KEEL_STORE_VERSION, "%s: the store has schema version %lld, this library knows up to %d",
						 name, (long long)version, keel_schema_version(driver));
	bool in_memory = !driver->path(store->sql)[0];
	if (options->readonly && !in_memory) {
		if (version == 0)
			return keel_fail(err, KEEL_STORE_CORRUPT, "%s: %s", name,
							 driver->judge ? "there is no store in the schema" : "the file is empty");
		if (version < keel_schema_version(driver))
			return keel_fail(err, KEEL_STORE_VERSION,
							 "%s: schema version %lld is older than %d: open it for writing once", name,
							 (long long)version, keel_schema_version(driver));
	} else {
		code = driver->make_ready(store->sql, err);
	}
	if (code == KEEL_OK && version < keel_schema_version(driver))
		code = migrate(store, err);
	else if (code == KEEL_OK)
		code = driver->check_schema(store->sql, err);
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
	const char *missing = !options->clock.now       ? "clock"
						  : !options->ids.next      ? "ids"
						  : !options->sleep         ? "sleep"
						  : !options->monotonic.now ? "monotonic"
													: NULL;
	if (missing)
		return keel_fail_field(err, missing, "options start as keel_store_options_init makes them");
	if (options->exclusive && options->readonly)
		return keel_fail_field(err, "exclusive", "a store that is open for reading only cannot be kept from others");
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
	store->side.fd = store->wake.file.fd = store->wake.inotify = store->wake.event = store->files.folder = -1;
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
	KEEL_ASSERT(!store->open && !store->session && !store->files.entered);
	KEEL_ASSERT(!store->sql->driver->in_transaction(store->sql));
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
		keel_store_release_kept(store);
		/* What is found in its place has a log of its own by now, under the same name; and what a writer has left is
		 * for a writer to clear away, not for one who only reads. */
		if (store->files.left || keel_files_check(store, NULL) != KEEL_OK)
			store->sql->driver->leave_log(store->sql);
		store->sql->driver->close(store->sql);
	}
	keel_sidefile_close(&store->side); /* ends the session, after its last write */
	keel_files_close(store);
	keel_free(store->owner_name);
	keel_watched_free(&store->watched);
	keel_buffer_free(&store->changed);
	keel_free(store);
}
