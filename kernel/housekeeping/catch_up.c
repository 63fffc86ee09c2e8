/* catch_up.c - working off what is left when nobody comes by. Uses: changed, line, resolve, starts. */
#include <keel/housekeeping.h>

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/changed.h"
#include "run/line.h"
#include "run/resolve.h"
#include "run/starts.h"
#include "store/transaction.h"

enum {
	TURNS_MAX = 8,    /* transactions of one call for dependents, of a thousand each */
	STARTS_MAX = 1000 /* that one call forgets of a name */
};

static enum keel_code resolve(struct keel_store *store, struct keel_error *err)
{
	bool has;
	enum keel_code code = keel_run_has_rest(store, &has, err);
	for (int i = 0; code == KEEL_OK && has && i < TURNS_MAX; i++) {
		code = keel_write_begin(store, err);
		if (code != KEEL_OK)
			return code;
		code = keel_run_resolve(store, &has, err);
		code = keel_write_end(store, code, true, err);
	}
	return code;
}

/* Starts that lie in the future, by a clock that was put back. */
static enum keel_code meet(struct keel_store *store, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_text name;
	enum keel_code code = keel_starts_ahead(store, &arena, &name, err);
	if (code == KEEL_OK && name.data) {
		bool met;
		code = keel_write_begin(store, err);
		if (code == KEEL_OK) {
			code = keel_line_meet(store, name, &met, err);
			code = keel_write_end(store, code, true, err);
		}
	}
	keel_arena_free(&arena);
	return code;
}

static enum keel_code forget(struct keel_store *store, const struct keel_starts_left *list, size_t count,
							 struct keel_error *err)
{
	bool any = false;
	for (size_t i = 0; i < count; i++)
		any = any || list[i].is_old || list[i].is_unused;
	if (!any)
		return KEEL_OK;
	enum keel_code code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	for (size_t i = 0; code == KEEL_OK && i < count; i++)
		if (list[i].is_old || list[i].is_unused)
			code = keel_starts_forget(store, keel_text_of(list[i].name), STARTS_MAX, err);
	return keel_write_end(store, code, true, err);
}

bool keel_store_is_behind(const struct keel_store *store)
{
	return store->behind;
}

enum keel_code keel_store_catch_up(struct keel_store *store, struct keel_catch_up *place, struct keel_error *err)
{
	struct keel_starts_left *list = keel_new(KEEL_STARTS_NAMES * sizeof *list);
	size_t count = 0;
	if (!list)
		return keel_fail_memory(err);
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "what is left is not worked off while a transaction of this handle is open");
	keel_changed_begin(store);
	if (code == KEEL_OK)
		code = resolve(store, err);
	if (code == KEEL_OK)
		code = meet(store, err);
	if (code == KEEL_OK)
		code = keel_starts_left(store, keel_text_of(place->name), list, &count, err);
	if (code == KEEL_OK)
		code = forget(store, list, count, err);
	KEEL_ASSERT(count <= KEEL_STARTS_NAMES);
	if (code == KEEL_OK && count == KEEL_STARTS_NAMES)
		memcpy(place->name, list[count - 1].name, sizeof place->name);
	else if (code == KEEL_OK)
		place->name[0] = '\0';
	keel_free(list);
	return code;
}
