/* transfer.c - copying a store into another place, which may be of another kind. Uses: store, tables, copy.
 *
 * The copy is made in one transaction. A file has a name of its own until it is whole; on a server, nobody sees any of
 * it before.
 */
#include <keel/housekeeping.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "housekeeping/copy.h"
#include "housekeeping/tables.h"
#include "schema/schema.h"

/* The copy that is being made. */
struct target {
	const struct keel_sql_driver *driver;
	struct keel_sql *sql;
	const char *place; /* as it was asked for */
	char *made;        /* the file it grows in; NULL on a server */
};

static enum keel_code check_in_flight(struct keel_store *store, struct keel_error *err)
{
	struct keel_statement *select;
	int64_t count = 0;
	enum keel_code code = keel_store_prepare(store, "SELECT count(*) FROM live", &select, err);
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &count, err);
	if (code == KEEL_OK && count > 0)
		code = keel_fail(err, KEEL_CONFLICT,
						 "%" PRId64 " %s in flight: let them end, or copy anyway, which makes orphans of those that"
						 " somebody has",
						 count, count == 1 ? "run is" : "runs are");
	return code;
}

/* --- The target -------------------------------------------------------------------------------------------------- */

static enum keel_code check_empty(const struct target *target, struct keel_error *err)
{
	int64_t version = 0;
	bool ours = false;
	enum keel_code code = target->driver->identify(target->sql, &version, &ours, err);
	if (code == KEEL_OK && !ours)
		code = keel_fail_field(err, "path", "path: %s is another application's", target->driver->path(target->sql));
	else if (code == KEEL_OK && version != 0)
		code = keel_fail_field(err, "path", "path: at %s a store is there already", target->driver->path(target->sql));
	return code;
}

static enum keel_code open_target(struct target *target, struct keel_error *err)
{
	struct keel_sql_config config = {.durability = KEEL_DURABILITY_FULL, .create = true};
	enum keel_code code = KEEL_OK;
	if (!target->driver->judge) {
		if (access(target->place, F_OK) == 0)
			return keel_copy_fail(err, target->place, EEXIST);
		code = keel_copy_begin(target->place, &target->made, err);
	}
	config.uri = target->made ? target->made : target->place;
	if (code == KEEL_OK)
		code = target->driver->open(&config, &target->sql, err);
	if (code == KEEL_OK)
		code = target->driver->start(target->sql, &config, err);
	return code == KEEL_OK ? check_empty(target, err) : code;
}

static enum keel_code begin(struct keel_store *from, const struct target *target, struct keel_error *err)
{
	int64_t deadline = 0;
	struct keel_error why;
	enum keel_code code;
	while ((code = target->driver->begin(target->sql, NULL, true, NULL, &why)) == KEEL_BUSY)
		if (!keel_store_wait(from, &deadline))
			break;
	return keel_fail_as(err, code, &why);
}

/* The schema and all rows, in the open transaction. */
static enum keel_code fill(struct keel_store *from, const struct target *target, struct keel_error *err)
{
	static const struct keel_text sessions = {"sessions", sizeof "sessions" - 1};
	const struct keel_sql_driver *driver = target->driver;
	int64_t session = 0;
	enum keel_code code = check_empty(target, err);
	for (int i = 0; code == KEEL_OK && driver->script(i); i++)
		code = driver->migrate(target->sql, driver->script(i), KEEL_SCHEMA_BASE + i + 1, err);
	if (code == KEEL_OK)
		code = driver->check_schema(target->sql, err);
	if (code == KEEL_OK)
		code = keel_tables_copy(from, target->sql, err);
	if (code == KEEL_OK)
		code = keel_copy_make_own(target->sql, &from->options.ids, err);
	/* The runs in flight have the numbers of sessions, which must not be given to anybody again. */
	if (code == KEEL_OK)
		code = from->sql->driver->last_key(from->sql, sessions, &session, err);
	if (code == KEEL_OK)
		code = driver->continue_keys(target->sql, sessions, session, err);
	return code;
}

static enum keel_code make(struct keel_store *from, struct target *target, struct keel_error *err)
{
	enum keel_code code = open_target(target, err);
	if (code == KEEL_OK && target->driver->be_patient)
		target->driver->be_patient(target->sql, true);
	if (code == KEEL_OK)
		code = target->driver->make_ready(target->sql, err);
	if (code == KEEL_OK)
		code = begin(from, target, err);
	if (code != KEEL_OK)
		return code;
	code = fill(from, target, err);
	if (code == KEEL_OK)
		return target->driver->commit(target->sql, err);
	target->driver->rollback(target->sql);
	return code;
}

/* Closes what was made, which writes the log of a file back into it, and gives it its name. */
static enum keel_code finish(struct target *target, enum keel_code code, struct keel_error *err)
{
	int64_t left;
	if (code == KEEL_OK)
		code = target->driver->write_back(target->sql, &left, err);
	if (target->sql)
		target->driver->close(target->sql);
	if (!target->made)
		return code;
	if (code == KEEL_OK)
		code = keel_copy_publish(target->made, target->place, err);
	unlink(target->made);
	keel_free(target->made);
	return code;
}

enum keel_code keel_store_copy(struct keel_store *store, const char *path, bool anyway, struct keel_error *err)
{
	struct target target = {.place = path};
	if (!path || !path[0])
		return keel_fail_field(err, "path", "path must not be empty");
	if (strcmp(path, ":memory:") == 0)
		return keel_fail_field(err, "path", "path must be a file's or a uri: a copy in memory would be lost at once");
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "this handle has a transaction open");
	if (code == KEEL_OK)
		code = keel_sql_find(path, &target.driver, err);
	if (code == KEEL_OK)
		code = keel_read_begin(store, err);
	if (code != KEEL_OK)
		return code;
	keel_store_be_patient(store, true);
	if (!anyway)
		code = check_in_flight(store, err);
	if (code == KEEL_OK)
		code = finish(&target, make(store, &target, err), err);
	keel_read_end(store);
	keel_store_be_patient(store, false);
	return code;
}
