/* telling.c - what an event says of whom else it concerns: the slots that are free, and who may find something to
 * start. Uses: edges, line, wants.
 *
 * Whoever is not named need not look, so nobody may be missing; who looks for nothing has only lost time. A line that
 * is ready is to be looked at by somebody who can work on it, whether this event has made it ready or nobody has come
 * to it so far.
 */
#include "run/telling.h"

#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "run/edges.h"
#include "run/line.h"
#include "run/predicates.h"
#include "run/wants.h"

enum {
	NAMED_MAX = 16,       /* handlers, or sessions: of more all are told */
	DEPENDENTS_MAX = 1000 /* likewise */
};

/* Who is told, each once. */
struct telling {
	struct keel_store *store;
	char handlers[NAMED_MAX][KEEL_ID_MAX + 1];
	int64_t sessions[NAMED_MAX];
	int handlers_count, sessions_count;
	bool all; /* there are too many of them */
};

static void add_session(struct telling *telling, int64_t session)
{
	for (int i = 0; i < telling->sessions_count; i++)
		if (telling->sessions[i] == session)
			return;
	telling->all = telling->all || telling->sessions_count == NAMED_MAX;
	if (!telling->all)
		telling->sessions[telling->sessions_count++] = session;
}

static void add_handler(struct telling *telling, struct keel_text handler)
{
	for (int i = 0; i < telling->handlers_count; i++)
		if (keel_text_is(handler, telling->handlers[i]))
			return;
	telling->all = telling->all || telling->handlers_count == NAMED_MAX || handler.size > KEEL_ID_MAX;
	if (telling->all)
		return;
	char *to = telling->handlers[telling->handlers_count++];
	memcpy(to, handler.data, handler.size);
	to[handler.size] = '\0';
}

/* The handlers of lines that are to be looked at, two at once: mostly there is one, and then nobody asks again. *more:
 * there may be others. */
static enum keel_code add_two(struct telling *telling, bool *more, struct keel_error *err)
{
	static const char text[] =
		"SELECT l.handler, (SELECT n.handler FROM lines AS n WHERE n." KEEL_LINE_READY " AND n.handler > l.handler"
		" ORDER BY n.handler LIMIT 1) FROM lines AS l WHERE l." KEEL_LINE_READY " AND l.handler > ?1"
		" ORDER BY l.handler LIMIT 1";
	const char *last = telling->handlers_count ? telling->handlers[telling->handlers_count - 1] : "";
	struct keel_statement *select;
	enum keel_code code = keel_query(telling->store, text, &select, err, keel_value_text(keel_text_of(last)));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, more, err);
	for (int i = 0; code == KEEL_OK && *more && i < 2; i++) {
		struct keel_text handler;
		*more = !keel_column_null(select, i);
		if (*more && !keel_column_read(select, i, &handler))
			code = keel_fail_memory(err);
		else if (*more)
			add_handler(telling, handler);
	}
	keel_reset(select);
	return code;
}

static enum keel_code add_lines(struct telling *telling, struct keel_error *err)
{
	enum keel_code code = KEEL_OK;
	for (bool more = true; code == KEEL_OK && more && !telling->all;)
		code = add_two(telling, &more, err);
	return code;
}

/* Whether there are more dependents than are looked at. */
static enum keel_code has_many(struct keel_store *store, int64_t source, bool *many, struct keel_error *err)
{
	static const char text[] = "SELECT 1 FROM edges WHERE source = ?1 ORDER BY dependent, wanted LIMIT 1 OFFSET ?2";
	struct keel_statement *select;
	int64_t one;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(source), keel_value_int(DEPENDENTS_MAX));
	return code == KEEL_OK ? keel_first_number(store, select, many, &one, err) : code;
}

/* Those who own dependents that wait for nothing else, and the handlers of those that nobody owns. */
static enum keel_code add_dependents(struct telling *telling, int64_t source, struct keel_error *err)
{
	static const char text[] =
		"SELECT coalesce(l.session_id, 0), coalesce(r.handler, '" KEEL_HANDLER_DEFAULT "') FROM edges AS e JOIN runs AS"
		" r ON r.seq = e.dependent JOIN live AS l ON l.thread_id = r.thread_id AND l.seq = r.seq WHERE e.source = ?1"
		" AND coalesce((SELECT 1 FROM edges WHERE edges.dependent = e.dependent AND " KEEL_EDGE_HOLDS
		" LIMIT 1), 0) = 0";
	struct keel_statement *select;
	bool row;
	enum keel_code code = has_many(telling->store, source, &telling->all, err);
	if (code != KEEL_OK || telling->all)
		return code;
	code = keel_query(telling->store, text, &select, err, keel_value_int(source));
	if (code != KEEL_OK)
		return code;
	while ((code = keel_step(select, &row, err)) == KEEL_OK && row && !telling->all) {
		int64_t session = keel_column_int(select, 0);
		struct keel_text handler;
		if (!keel_column_read(select, 1, &handler)) {
			code = keel_fail_memory(err);
			break;
		}
		if (session)
			add_session(telling, session);
		else
			add_handler(telling, handler);
	}
	keel_reset(select);
	return code;
}

static bool holds_slots(const struct keel_run_core *core)
{
	return core && core->slots.data && (core->status == KEEL_RUN_RUNNING || core->finalizing);
}

static void put_freed(const struct keel_run_core *core, struct keel_buffer *told)
{
	struct keel_text rest = core->slots;
	struct keel_want want;
	bool is_first = true;
	KEEL_ASSERT(rest.size > 0);
	keel_buffer_put(told, ",\"freed\":[");
	while (keel_want_next(&rest, false, &want)) {
		keel_buffer_put(told, is_first ? "" : ",");
		keel_buffer_json_text(told, want.name);
		is_first = false;
	}
	keel_buffer_put(told, "]");
}

static void put_ready(const struct telling *telling, struct keel_buffer *told)
{
	if (telling->all) {
		keel_buffer_put(told, ",\"ready\":{\"all\":true}");
		return;
	}
	if (!telling->handlers_count && !telling->sessions_count)
		return;
	keel_buffer_put(told, ",\"ready\":{\"handlers\":[");
	for (int i = 0; i < telling->handlers_count; i++) {
		keel_buffer_put(told, i ? "," : "");
		keel_buffer_json_text(told, keel_text_of(telling->handlers[i]));
	}
	keel_buffer_put(told, "],\"sessions\":[");
	for (int i = 0; i < telling->sessions_count; i++)
		keel_buffer_format(told, "%s%lld", i ? "," : "", (long long)telling->sessions[i]);
	keel_buffer_put(told, "]}");
}

enum keel_code keel_run_tell(struct keel_store *store, const struct keel_run_core *before,
							 const struct keel_run_core *after, struct keel_text *data, struct keel_buffer *told,
							 struct keel_error *err)
{
	struct telling telling;
	struct keel_buffer added = {0};
	enum keel_code code = KEEL_OK;
	telling.store = store; /* not all of it: it is large */
	telling.handlers_count = telling.sessions_count = 0;
	telling.all = false;
	KEEL_ASSERT(!data->size || data->data[data->size - 1] == '}');
	KEEL_ASSERT(before->found && told->size == 0 && store->sql->driver->in_transaction(store->sql));
	if (holds_slots(before) && !holds_slots(after))
		put_freed(before, &added);
	if (before->has_lines)
		code = add_lines(&telling, err);
	if (code == KEEL_OK && before->depended && !telling.all)
		code = add_dependents(&telling, before->seq, err);
	put_ready(&telling, &added);
	if (code == KEEL_OK && added.size) {
		bool empty = data->size <= 2; /* nothing, or {} */
		keel_buffer_put(told, "{");
		keel_buffer_add(told, data->data ? data->data + 1 : "", empty ? 0 : data->size - 2);
		keel_buffer_add(told, added.data + empty, added.size - empty);
		keel_buffer_put(told, "}");
		*data = keel_buffer_text(told);
	}
	if (code == KEEL_OK && (added.failed || told->failed))
		code = keel_fail_memory(err);
	keel_buffer_free(&added);
	return code;
}
