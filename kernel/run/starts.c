/* starts.c - the starts that rates count. Uses: store.
 *
 * A start is kept for as long as a rate of its name may look back: the longest window that a run was made with, or that
 * is set. What is older goes with the next starts of the name; what nobody starts any more goes with the ticks.
 */
#include "run/starts.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

enum { SWEPT_MAX = 64 }; /* starts that are forgotten with a new one */

/* The longest window of the name in a column. */
#define LONGEST(name)                                                           \
	"(SELECT max(per) FROM (SELECT per FROM windows WHERE windows.name = " name \
	" UNION ALL SELECT per FROM limits WHERE limits.name = " name ") AS known)"

enum keel_code keel_starts_meet(struct keel_store *store, struct keel_text name, bool *met, struct keel_error *err)
{
	int64_t count = 0;
	KEEL_ASSERT(name.size > 0 && store->sql->driver->in_transaction(store->sql));
	enum keel_code code = keel_execute(store, "UPDATE starts SET at = ?2 WHERE name = ?1 AND at > ?2", err,
									   keel_value_text(name), keel_value_int(keel_store_now(store)));
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	*met = count > 0;
	return code;
}

enum keel_code keel_starts_ahead(struct keel_store *store, struct keel_arena **arena, struct keel_text *name,
								 struct keel_error *err)
{
	static const char text[] = "SELECT name FROM starts WHERE at > ?1 ORDER BY at, id LIMIT 1";
	struct keel_statement *select;
	bool row;
	*name = (struct keel_text){NULL, 0};
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(keel_store_now(store)));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, &row, err);
	if (code == KEEL_OK && row && (!keel_column_read(select, 0, name) || !keel_arena_text(arena, *name, name)))
		code = keel_fail_memory(err);
	keel_reset(select);
	return code;
}

static enum keel_code sweep(struct keel_store *store, struct keel_text name, int64_t most, struct keel_error *err)
{
	static const char old[] = "DELETE FROM starts WHERE id IN (SELECT id FROM starts WHERE name = ?1 AND at <= ?2"
							  " - " LONGEST("?1") " ORDER BY at, id LIMIT ?3)";
	return keel_execute(store, old, err, keel_value_text(name), keel_value_int(keel_store_now(store)),
						keel_value_int(most));
}

enum keel_code keel_starts_add(struct keel_store *store, struct keel_text name, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO starts (name, at) VALUES (?1, ?2)";
	bool met;
	enum keel_code code = keel_starts_meet(store, name, &met, err);
	if (code == KEEL_OK)
		code = keel_execute(store, insert, err, keel_value_text(name), keel_value_int(keel_store_now(store)));
	return code == KEEL_OK ? sweep(store, name, SWEPT_MAX, err) : code;
}

enum keel_code keel_starts_keep(struct keel_store *store, struct keel_text name, int64_t per_us, struct keel_error *err)
{
	static const char text[] = "INSERT INTO windows (name, per) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET per ="
							   " excluded.per WHERE windows.per < excluded.per";
	KEEL_ASSERT(name.data);
	return keel_execute(store, text, err, keel_value_text(name), keel_value_int(per_us));
}

enum keel_code keel_starts_left(struct keel_store *store, struct keel_text after,
								struct keel_starts_left list[KEEL_STARTS_NAMES], size_t *count, struct keel_error *err)
{
	static const char text[] =
		"SELECT w.name, coalesce((SELECT 1 FROM starts WHERE starts.name = w.name AND at <= ?2 - " LONGEST(
			"w.name") " LIMIT 1), 0), coalesce((SELECT 1 FROM starts WHERE starts.name = w.name LIMIT 1), (SELECT 1 "
					  "FROM holds WHERE"
					  " holds.name = w.name AND state = 2 LIMIT 1), 0) FROM (SELECT name FROM windows WHERE name > ?1 "
					  "ORDER BY name"
					  " LIMIT ?3) AS w";
	struct keel_statement *select;
	bool row;
	*count = 0;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(after),
									 keel_value_int(keel_store_now(store)), keel_value_int(KEEL_STARTS_NAMES));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	while (code == KEEL_OK && row) {
		struct keel_starts_left *left = &list[(*count)++];
		KEEL_ASSERT(*count <= KEEL_STARTS_NAMES);
		code = keel_column_copy(select, 0, left->name, sizeof left->name, err);
		if (code == KEEL_OK)
			code = keel_check_stored_id(keel_text_of(left->name), "name", err);
		if (code != KEEL_OK)
			break;
		left->is_old = keel_column_int(select, 1) != 0;
		left->is_unused = keel_column_int(select, 2) == 0;
		code = keel_step(select, &row, err);
	}
	keel_reset(select);
	return code;
}

enum keel_code keel_starts_forget(struct keel_store *store, struct keel_text name, int64_t most, struct keel_error *err)
{
	static const char unused[] =
		"DELETE FROM windows WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM starts WHERE starts.name = ?1)"
		" AND NOT EXISTS (SELECT 1 FROM holds WHERE holds.name = ?1 AND state = 2)";
	KEEL_ASSERT(name.size > 0 && most > 0);
	enum keel_code code = sweep(store, name, most, err);
	return code == KEEL_OK ? keel_execute(store, unused, err, keel_value_text(name)) : code;
}
