/* texts.c - the statements that write a run, made from sets of fields. Uses: store, fields.
 *
 * A statement names just the fields it is given: an index that no given field is part of is not touched. The text for a
 * set of fields is made once and kept; programs use few different sets.
 */
#include "run/texts.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "run/fields.h"

enum { TEXTS_MAX = 64 }; /* sets remembered; beyond that the oldest is made again when needed */

struct texts {
	struct keel_kept kept;
	struct {
		enum keel_run_text kind;
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

static const struct {
	const char *head;   /* what stands before the names of the columns */
	const char *values; /* between names and values; NULL: each name has its value behind it */
	const char *tail;
	int first;
	bool moves;    /* columns of the state that are not given are taken along */
	bool replaces; /* where there is a row already, it is changed */
} kinds[KEEL_TEXT_COUNT] = {
	[KEEL_TEXT_INSERT] = {"INSERT INTO runs (", ") VALUES (", ") ON CONFLICT (run_id) DO NOTHING", 1, false, false},
	[KEEL_TEXT_UPDATE] = {"UPDATE runs SET ", NULL, " WHERE seq = ?1", 2, false, false},
	[KEEL_TEXT_ADMIT] = {"INSERT INTO live (thread_id, seq, created_at, ", ") VALUES (?1, ?2, ?3, ", ")", 4, false,
						 false},
	[KEEL_TEXT_CHANGE] = {"UPDATE live SET ", NULL, " WHERE thread_id = ?1 AND seq = ?2", 3, false, false},
	[KEEL_TEXT_END] = {"INSERT INTO outcomes (seq, ", ") SELECT seq, ", " FROM live WHERE thread_id = ?1 AND seq = ?2",
					   3, true, true},
	[KEEL_TEXT_REVIVE] = {"INSERT INTO live (thread_id, seq, created_at, ", ") SELECT ?1, seq, ?3, ",
						  " FROM outcomes WHERE seq = ?2", 4, true, false},
	[KEEL_TEXT_NOTE] = {"INSERT INTO outcomes (seq, ", ") VALUES (?1, ", ")", 2, false, true},
	[KEEL_TEXT_AMEND] = {"UPDATE outcomes SET ", NULL, " WHERE seq = ?1", 2, false, false},
};

int keel_run_text_first(enum keel_run_text kind)
{
	return kinds[kind].first;
}

/* The fields of a set with something of each, between commas. */
static void put_list(struct keel_buffer *sql, keel_run_set set, const char *after)
{
	enum keel_run_field field;
	for (bool is_first = true; keel_run_set_take(&set, &field); is_first = false) {
		const char *name = keel_run_field_name(field);
		keel_buffer_format(sql, "%s%s", is_first ? "" : ", ", name);
		if (after)
			keel_buffer_format(sql, "%s%s", after, name);
	}
}

/* The same fields as values: those of `set` are parameters, of the others their columns are taken along. */
static void put_values(struct keel_buffer *sql, keel_run_set all, keel_run_set set, int parameter)
{
	enum keel_run_field field;
	for (bool is_first = true; keel_run_set_take(&all, &field); is_first = false) {
		keel_buffer_put(sql, is_first ? "" : ", ");
		if (keel_run_set_has(set, field))
			keel_buffer_format(sql, "?%d", parameter++);
		else if (field == KEEL_RUN_FIELD_SESSION_ID) /* nobody is 0 in live, and null elsewhere */
			keel_buffer_put(sql, "nullif(session_id, 0)");
		else
			keel_buffer_put(sql, keel_run_field_name(field));
	}
}

static char *make_text(enum keel_run_text kind, keel_run_set set)
{
	struct keel_buffer sql = {0};
	keel_run_set all = kinds[kind].moves ? keel_run_set_union(set, keel_run_parts[KEEL_PART_STATE]) : set;
	KEEL_ASSERT(!keel_run_set_is_empty(set));
	keel_buffer_put(&sql, kinds[kind].head);
	if (kinds[kind].values) {
		put_list(&sql, all, NULL);
		keel_buffer_put(&sql, kinds[kind].values);
		put_values(&sql, all, set, kinds[kind].first);
	} else {
		enum keel_run_field field;
		int parameter = kinds[kind].first;
		for (keel_run_set left = set; keel_run_set_take(&left, &field); parameter++)
			keel_buffer_format(&sql, "%s%s = ?%d", parameter == kinds[kind].first ? "" : ", ",
							   keel_run_field_name(field), parameter);
	}
	keel_buffer_put(&sql, kinds[kind].tail);
	if (kinds[kind].replaces) {
		keel_buffer_put(&sql, " ON CONFLICT (seq) DO UPDATE SET ");
		put_list(&sql, all, " = excluded.");
	}
	if (sql.failed)
		keel_buffer_free(&sql);
	return sql.data;
}

enum keel_code keel_run_text_for(struct keel_store *store, enum keel_run_text kind, keel_run_set set, const char **text,
								 struct keel_error *err)
{
	struct texts *texts = keel_store_keep(store, sizeof *texts, release_texts);
	if (!texts)
		return keel_fail_memory(err);
	for (size_t i = 0; i < texts->count; i++) {
		if (keel_run_set_equal(texts->entries[i].set, set) && texts->entries[i].kind == kind) {
			*text = texts->entries[i].text;
			return KEEL_OK;
		}
	}
	KEEL_ASSERT(texts->count <= TEXTS_MAX && texts->next < TEXTS_MAX);
	char *made = make_text(kind, set);
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
	texts->entries[slot].kind = kind;
	texts->entries[slot].text = made;
	*text = made;
	return KEEL_OK;
}
