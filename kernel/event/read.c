/* read.c - reading the log, forward from an id. Uses: store. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"

enum { CONNECTIONS_TRIED = 3 }; /* in one look at the log */

#define EVENT_COLUMNS "e.id, kind, at, e.runtime_id, e.thread_id, e.run_id, e.worker_ref, message, data"

/* The filter that narrows most decides what is walked; the others are looked at row by row. Events of a run or thread
 * are found by blocks, then among those behind the last full one. A walk goes in pieces, as a server sends all that it
 * was asked for. */
#define OF_BLOCKS(table, column)                                                               \
	"SELECT " EVENT_COLUMNS " FROM " table " b CROSS JOIN events e WHERE b." column " = ?2"    \
	" AND b.block >= (?1 + 63) / 64 AND e.id BETWEEN CASE WHEN ?1 > b.block * 64 - 63 THEN ?1" \
	" ELSE b.block * 64 - 63 END AND b.block * 64 AND e." column " = ?2 ORDER BY b.block, e.id LIMIT ?3"
#define OF_TAIL(column)                                                                                              \
	"SELECT " EVENT_COLUMNS " FROM events e WHERE e.id > (SELECT CASE WHEN ?1 > (max(id) - 1) / 64 * 64 THEN ?1 - 1" \
	" ELSE (max(id) - 1) / 64 * 64 END FROM events) AND e." column " = ?2 ORDER BY e.id LIMIT ?3"
#define OF_LIST(table, column, key)                                                                             \
	"SELECT " EVENT_COLUMNS " FROM " table " b CROSS JOIN events e WHERE b." column " = " key " AND b.id >= ?1" \
	" AND e.id = b.id ORDER BY b.id LIMIT ?3"

/* What to read, one after the other. */
struct walks {
	const char *first, *second; /* second NULL: all is in the first */
	struct keel_text key;       /* data NULL: none */
};

static struct walks walks_for(const struct keel_event_query *query)
{
	if (query->run_id.data)
		return (struct walks){OF_BLOCKS("events_of_run", "run_id"), OF_TAIL("run_id"), query->run_id};
	if (query->worker_ref.data)
		return (struct walks){OF_LIST("events_of_worker", "worker_ref", KEEL_WORKER_REF_KEY("?2")), NULL,
							  query->worker_ref};
	if (query->thread_id.data)
		return (struct walks){OF_BLOCKS("events_of_thread", "thread_id"), OF_TAIL("thread_id"), query->thread_id};
	if (query->runtime_id.data)
		return (struct walks){OF_LIST("events_of_runtime", "runtime_id", "?2"), NULL, query->runtime_id};
	return (struct walks){
		"SELECT " EVENT_COLUMNS " FROM events e WHERE e.id >= ?1 ORDER BY e.id LIMIT ?3", NULL, {NULL, 0}};
}

static bool same(struct keel_text wanted, struct keel_text found)
{
	return !wanted.data ||
		   (found.data && found.size == wanted.size && memcmp(found.data, wanted.data, wanted.size) == 0);
}

/* Whether the row under the statement passes the filters that the statement itself does not apply. False: memory ran
 * out. */
static bool matches(const struct keel_event_query *query, struct keel_statement *select, bool *matching)
{
	struct keel_text kind, runtime_id, thread_id, worker_ref;
	if (!keel_column_read(select, 1, &kind) || !keel_column_read(select, 3, &runtime_id) ||
		!keel_column_read(select, 4, &thread_id) || !keel_column_read(select, 6, &worker_ref))
		return false;
	bool wanted = query->kinds_count == 0;
	for (size_t i = 0; i < query->kinds_count; i++)
		wanted = wanted || same(query->kinds[i], kind);
	*matching = wanted && same(query->runtime_id, runtime_id) && same(query->thread_id, thread_id) &&
				same(query->worker_ref, worker_ref);
	return true;
}

static enum keel_code read_event(struct keel_statement *select, struct keel_event *event, struct keel_arena **arena,
								 size_t *bytes, struct keel_error *err)
{
	struct keel_text *texts[] = {NULL,
								 &event->kind,
								 NULL,
								 &event->runtime_id,
								 &event->thread_id,
								 &event->run_id,
								 &event->worker_ref,
								 &event->message,
								 &event->data};
	event->id = keel_column_int(select, 0);
	event->at = keel_column_int(select, 2);
	for (int i = 0; i < 9; i++) {
		if (!texts[i])
			continue;
		struct keel_text text;
		if (!keel_column_read(select, i, &text) || !keel_arena_text(arena, text, texts[i]))
			return keel_fail_memory(err);
		*bytes += text.size;
	}
	return KEEL_OK;
}

enum keel_code keel_event_ends(struct keel_store *store, int64_t *low, int64_t *newest, struct keel_error *err)
{
	static const char text[] = "SELECT event_low_water, (SELECT max(id) FROM events) FROM store";
	struct keel_statement *select;
	bool row;
	*low = 1;
	*newest = 0;
	enum keel_code code = keel_store_prepare(store, text, &select, err);
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row) {
		*low = keel_column_int(select, 0);
		*newest = keel_column_null(select, 1) ? *low - 1 : keel_column_int(select, 1);
		if (*newest == INT64_MAX)
			code = keel_fail(err, KEEL_STORE_FULL, "%s: the ids of events are used up", keel_store_path(store));
		else if (*low < 1 || *newest < *low - 1)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the ends of the log are damaged", keel_store_path(store));
	}
	keel_reset(select);
	return code;
}

/* On a server commits are seen a moment before they are on the disk. A crash then takes them back, and gives their ids
 * again: a reader who had seen the first ones would never see the others. */
static enum keel_code await_disk(struct keel_store *store, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	return driver->durable ? driver->durable(store->sql, err) : KEEL_OK;
}

enum keel_code keel_event_low_water(struct keel_store *store, int64_t *id, struct keel_error *err)
{
	int64_t newest;
	enum keel_code code = keel_store_check(store, err);
	return code == KEEL_OK ? keel_event_ends(store, id, &newest, err) : code;
}

enum keel_code keel_event_high_water(struct keel_store *store, int64_t *id, struct keel_error *err)
{
	int64_t low;
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK)
		code = keel_event_ends(store, &low, id, err);
	if (code == KEEL_OK && *id >= low)
		code = await_disk(store, err);
	/* The waiting may have been put off until the next look. */
	int64_t newer;
	return code == KEEL_OK ? keel_event_ends(store, &low, &newer, err) : code;
}

static enum keel_code damaged_log(const struct keel_store *store, int64_t id, struct keel_error *err)
{
	return keel_fail(err, KEEL_STORE_CORRUPT, "%s: the log is damaged at event %lld", keel_store_path(store),
					 (long long)id);
}

/* A page being read. */
struct reading {
	struct keel_store *store;
	const struct keel_event_query *query;
	struct keel_events *list;
	int64_t next;  /* the id that the next row has, or a higher one */
	bool dense;    /* ids are without gaps: where no filter leaves rows out, the next row has that id */
	bool missing;  /* but not the first one, which may have been pruned since: the caller has to look */
	size_t bytes;  /* of the texts in the list */
	int64_t piece; /* rows that one statement gives at most */
};

enum { FILTERED_PIECE = 256 };

static enum keel_code add_event(struct reading *page, struct keel_statement *select, struct keel_error *err)
{
	struct keel_events *list = page->list;
	struct keel_event *items = keel_make_room(list->items, list->count, &list->capacity, sizeof *items);
	if (!items)
		return keel_fail_memory(err);
	struct keel_arena *arena = list->memory;
	list->items = items;
	enum keel_code code = read_event(select, &items[list->count], &arena, &page->bytes, err);
	list->memory = arena;
	list->count += code == KEEL_OK;
	return code;
}

/* Takes the row under the statement into the page, or says that there are more. */
static enum keel_code take_row(struct reading *page, struct keel_statement *select, bool is_first,
							   struct keel_error *err)
{
	int64_t id = keel_column_int(select, 0);
	bool matching;
	page->missing = page->dense && is_first && id > page->next;
	if (page->missing)
		return KEEL_OK;
	if (id < page->next || (page->dense && id != page->next) || keel_column_null(select, 1))
		return damaged_log(page->store, id, err);
	if (!matches(page->query, select, &matching))
		return keel_fail_memory(err);
	if (matching && ((int64_t)page->list->count == page->query->limit || page->bytes >= KEEL_PAGE_BYTES)) {
		page->list->has_more = true;
		return KEEL_OK;
	}
	page->next = id + 1;
	return matching ? add_event(page, select, err) : KEEL_OK;
}

/* Reads rows from id page->next on, until the page is full or there are none. */
static enum keel_code read_walk(struct reading *page, const char *text, struct keel_text key, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	int64_t rows = page->piece;
	bool row = true;
	while (code == KEEL_OK && rows == page->piece && !page->missing && !page->list->has_more) {
		struct keel_statement *select;
		code = keel_query(page->store, text, &select, err, keel_value_int(page->next), keel_value_text(key),
						  keel_value_int(page->piece));
		if (code != KEEL_OK)
			return code;
		rows = 0;
		for (code = keel_first_step(page->store, select, &row, err); code == KEEL_OK && row;
			 code = keel_step(select, &row, err)) {
			code = take_row(page, select, rows++ == 0, err);
			if (code != KEEL_OK || page->missing || page->list->has_more)
				break;
		}
		keel_reset(select);
	}
	return code;
}

static enum keel_code check_query(const struct keel_event_query *query, struct keel_error *err)
{
	enum keel_code code = keel_check_limit(query->limit, KEEL_EVENTS_MAX, err);
	if (code == KEEL_OK && !query->from_oldest && query->next_event_id < 1)
		code = keel_fail_field(err, "cursor", "next_event_id must be at least 1");
	if (code == KEEL_OK && query->kinds_count > KEEL_EVENT_KINDS_MAX)
		code = keel_fail_limit(err, "kinds", (int64_t)query->kinds_count, KEEL_EVENT_KINDS_MAX);
	if (code == KEEL_OK && query->runtime_id.data)
		code = keel_check_id(query->runtime_id, "runtime_id", err);
	if (code == KEEL_OK && query->thread_id.data)
		code = keel_check_id(query->thread_id, "thread_id", err);
	if (code == KEEL_OK && query->run_id.data)
		code = keel_check_id(query->run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_check_text(query->worker_ref, "worker_ref", err);
	return code;
}

static void forget_page(struct keel_events *list, int64_t next)
{
	list->count = 0;
	list->has_more = false;
	list->next_event_id = next;
}

static enum keel_code tell_gap(struct keel_events *list, int64_t low, int64_t last)
{
	forget_page(list, low);
	list->gap = true;
	list->has_more = low <= last;
	return KEEL_OK;
}

/* A block may fill between two walks: they have to see the same log. */
static enum keel_code read_walks(struct keel_store *store, const struct keel_event_query *query, int64_t next,
								 bool *missing, struct keel_events *list, struct keel_error *err)
{
	struct walks walks = walks_for(query);
	struct reading page = {.store = store, .query = query, .list = list, .next = next, .dense = !walks.key.data};
	bool filters = walks.key.data || query->kinds_count > 0;
	page.piece = filters && query->limit < FILTERED_PIECE ? FILTERED_PIECE : query->limit + 1;
	enum keel_code code = walks.second ? keel_read_begin(store, err) : KEEL_OK;
	if (code != KEEL_OK)
		return code;
	code = read_walk(&page, walks.first, walks.key, err);
	/* It goes on after the first: in a damaged log both could find the same event. */
	if (code == KEEL_OK && walks.second && !list->has_more)
		code = read_walk(&page, walks.second, walks.key, err);
	if (walks.second)
		keel_read_end(store);
	*missing = page.missing;
	return code;
}

static enum keel_code read_once(struct keel_store *store, const struct keel_event_query *query,
								struct keel_events *list, struct keel_error *err)
{
	int64_t low, last, next = query->next_event_id;
	bool missing = false;
	struct keel_arena *arena = list->memory;
	keel_arena_reset(&arena);
	list->memory = arena;
	list->gap = false;
	forget_page(list, next);
	enum keel_code code = check_query(query, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	/* The end of the log is looked up before the page: all up to there is certainly in what the page sees, so a reader
	 * behind a filter that has read everything need not look at it again. */
	if (code == KEEL_OK)
		code = keel_event_ends(store, &low, &last, err);
	if (code != KEEL_OK)
		return code;
	if (query->from_oldest)
		list->next_event_id = next = low;
	if (next < low)
		return tell_gap(list, low, last);
	if (last < next)
		return KEEL_OK;
	code = read_walks(store, query, next, &missing, list, err);
	if (code == KEEL_OK)
		code = await_disk(store, err);
	/* Somebody may have pruned between the two looks. */
	int64_t seen = last;
	if (code == KEEL_OK)
		code = keel_event_ends(store, &low, &last, err);
	if (code == KEEL_OK && next < low)
		return tell_gap(list, low, last);
	if (code == KEEL_OK && missing)
		code = damaged_log(store, next, err);
	if (code != KEEL_OK) {
		forget_page(list, next);
		return code;
	}
	if (list->count > 0)
		list->next_event_id = list->items[list->count - 1].id + 1;
	if (!list->has_more && list->next_event_id <= seen)
		list->next_event_id = seen + 1;
	return KEEL_OK;
}

static int64_t connection_of(const struct keel_store *store)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	return driver->connection ? driver->connection(store->sql) : 0;
}

enum keel_code keel_event_read(struct keel_store *store, const struct keel_event_query *query, struct keel_events *list,
							   struct keel_error *err)
{
	/* If the server fell between the page and the disk, nobody waited for the disk. */
	for (int i = 0; i < CONNECTIONS_TRIED; i++) {
		int64_t connection = connection_of(store);
		enum keel_code code = read_once(store, query, list, err);
		if (code != KEEL_OK || connection_of(store) == connection)
			return code;
	}
	forget_page(list, query->next_event_id);
	return keel_fail(err, KEEL_BUSY, "%s: the connection is lost again and again", keel_store_path(store));
}

void keel_events_clear(struct keel_events *list)
{
	struct keel_arena *arena = list->memory;
	keel_arena_free(&arena);
	keel_free(list->items);
	memset(list, 0, sizeof *list);
}
