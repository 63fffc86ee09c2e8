/* open.c - faults while a store is opened, created or migrated, and at the first write. */
#include "support_fault.h"

#include <unistd.h>

#include <keel/housekeeping.h>

#include "schema/schema.h"

static enum keel_code open_store(void)
{
	return keel_store_open(world.path, &world.options, &world.store, &why);
}

static void some_runs(void)
{
	put_owned("a", "t");
	put_pending("b", "t");
}

/* Fixture: what a library that knew only the first migration would have made. */
static void older_store(void)
{
	raw(keel_sqlite_script(0));
	char version[160];
	snprintf(version, sizeof version,
			 "PRAGMA application_id = 0x4B45454C; PRAGMA user_version = %d; PRAGMA journal_mode = WAL;"
			 "INSERT INTO store (epoch, created_at) VALUES ('epoch', 0)",
			 KEEL_SCHEMA_BASE + 1);
	raw(version);
}

static void closed_store(void)
{
	reopen_store();
	some_runs();
	close_store();
}

static void for_reading(void)
{
	world.options.readonly = true;
}

static void for_writing(void)
{
	close_store();
	world.options.readonly = false;
}

static enum keel_code make_session(void)
{
	int64_t session;
	bool alive = false;
	enum keel_code code = keel_store_session(world.store, &session, &why);
	if (code == KEEL_OK)
		code = keel_store_session_alive(world.store, session, &alive, &why);
	answer("%d", alive);
	return code;
}

static enum keel_code write_first(void)
{
	struct keel_run run = run_of("c", "t");
	return keel_run_put(world.store, &run, nothing, NULL, &why);
}

/* Fixture: a backup of a store of some runs, beside the store. */
static void with_backup(void)
{
	closed_store();
	reopen_store();
	unlink(in_folder("backup"));
	succeed(keel_store_backup(world.store, in_folder("backup"), &why));
	close_store();
}

static enum keel_code restore(void)
{
	enum keel_code code = keel_store_restore(in_folder("backup"), in_folder("restored"), &world.options, &why);
	must(file_exists(in_folder("restored")) == (code == KEEL_OK));
	unlink(in_folder("restored"));
	return code == KEEL_OK ? open_store() : code;
}

static const struct operation operations[] = {
	{"creating a store", OPENS | CREATES, NULL, NULL, open_store, NULL},
	{"migrating a store", OPENS, older_store, NULL, open_store, NULL},
	{"opening a store", OPENS | LITTLE_SQL | MANY, closed_store, NULL, open_store, NULL},
	{"restoring a store", OPENS, with_backup, NULL, restore, NULL},
	{"opening for reading", OPENS | READS | LITTLE_SQL, closed_store, for_reading, open_store, for_writing},
	{"making a session", TRANSACTS, some_runs, NULL, make_session, NULL},
	{"the first write", 0, some_runs, NULL, write_first, NULL},
};

int main(void)
{
	return SWEEP("faults in opening", operations);
}
