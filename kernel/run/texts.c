/* texts.c - INSERT and UPDATE of runs, made from sets of fields. Uses: store, fields.
 *
 * A statement names just the fields it is given: an index that no given field is part of is not touched. The text for a
 * set of fields is made once and kept; programs use few different sets.
 */
#include "run/texts.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

enum { TEXTS_MAX = 64 }; /* sets remembered; beyond that the oldest is made again when needed */

struct texts {
	struct keel_kept kept;
	struct {
		bool update;
		keel_run_set set;
		char *text;
	} entries[TEXTS_MAX];
	size_t count;
	size_t next; /* the one to give up when all are taken */
};

static void release_texts(struct keel_kept *kept)
{
	struct texts *texts = (struct texts *)kept;
	for (size_t i = 0; i < texts->count; i++)
		keel_free(texts->entries[i].text);
}

/* Parameters follow the order of the fields; in an UPDATE the row comes last. */
static char *make_text(bool update, keel_run_set set)
{
	struct keel_buffer sql = {0};
	enum keel_run_field field;
	int parameter = 0;
	KEEL_ASSERT(!keel_run_set_is_empty(set));
	keel_buffer_put(&sql, update ? "UPDATE runs SET " : "INSERT INTO runs (");
	while (keel_run_set_take(&set, &field)) {
		keel_buffer_put(&sql, parameter ? ", " : "");
		keel_buffer_put(&sql, keel_run_field_name(field));
		parameter++;
		if (update)
			keel_buffer_format(&sql, " = ?%d", parameter);
	}
	if (update) {
		keel_buffer_format(&sql, " WHERE seq = ?%d", parameter + 1);
	} else {
		for (int i = 1; i <= parameter; i++)
			keel_buffer_format(&sql, "%s?%d", i == 1 ? ") VALUES (" : ", ", i);
		keel_buffer_put(&sql, ") ON CONFLICT (run_id) DO NOTHING");
	}
	if (sql.failed)
		keel_buffer_free(&sql);
	return sql.data;
}

enum keel_code keel_run_text_for(struct keel_store *store, bool update, keel_run_set set, const char **text,
								 struct keel_error *err)
{
	struct texts *texts = keel_store_keep(store, sizeof *texts, release_texts);
	if (!texts)
		return keel_fail_memory(err);
	for (size_t i = 0; i < texts->count; i++) {
		if (keel_run_set_equal(texts->entries[i].set, set) && texts->entries[i].update == update) {
			*text = texts->entries[i].text;
			return KEEL_OK;
		}
	}
	KEEL_ASSERT(texts->count <= TEXTS_MAX && texts->next < TEXTS_MAX);
	char *made = make_text(update, set);
	if (!made)
		return keel_fail_memory(err);
	size_t slot = texts->count;
	if (slot < TEXTS_MAX) {
		texts->count++;
	} else {
		slot = texts->next;
		texts->next = (texts->next + 1) % TEXTS_MAX;
		store->sql->driver->forget(store->sql, texts->entries[slot].text);
		keel_free(texts->entries[slot].text);
	}
	texts->entries[slot].set = set;
	texts->entries[slot].update = update;
	texts->entries[slot].text = made;
	*text = made;
	return KEEL_OK;
}
