/* resolve.c - making what a run waits for of other runs, and working it off; stopping children with their parents.
 * Uses: change, changed, children, live, stopping, wants.
 *
 * A dependent that did not get what it wanted ends, and is a source with edges of its own then: it is noted as such,
 * and comes up in the same loop. So a chain is failed without recursion, and a family is stopped without.
 */
#include "run/resolve.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "run/change.h"
#include "run/changed.h"
#include "run/children.h"
#include "run/live.h"
#include "run/stopping.h"
#include "run/wants.h"

enum { RESOLVED_MAX = 1000 }; /* dependents and children that are worked off in one transaction */

/* --- Working off -------------------------------------------------------------------------------------------------- */

struct source {
	int64_t seq;
	enum keel_run_status status;
	bool settled;
	bool cancelled, rollback; /* its children are to be stopped, how */
	char run_id[KEEL_ID_MAX + 1];
};

static enum keel_code first_source(struct keel_store *store, struct source *source, bool *found, struct keel_error *err)
{
	static const char text[] = "SELECT source, status, settled, run_id, cancelled IS NOT NULL, cancelled = 'rollback'"
							   " FROM resolving ORDER BY source LIMIT 1";
	struct keel_statement *select;
	enum keel_code code = keel_store_prepare(store, text, &select, err);
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, found, err);
	if (code == KEEL_OK && *found) {
		source->seq = keel_column_int(select, 0);
		source->status = (enum keel_run_status)keel_column_int(select, 1);
		source->settled = keel_column_int(select, 2) != 0;
		source->cancelled = keel_column_int(select, 4) != 0;
		source->rollback = keel_column_int(select, 5) != 0;
		code = keel_column_copy(select, 3, source->run_id, sizeof source->run_id, err);
	}
	keel_reset(select);
	return code;
}

struct edge {
	int64_t dependent, wanted;
	char run_id[KEEL_ID_MAX + 1];
};

/* The next edge of a source that something is to be done about. */
static enum keel_code next_edge(struct keel_store *store, const struct source *source, struct edge *edge, bool *found,
								struct keel_error *err)
{
	static const char text[] =
		"SELECT dependent, wanted, (SELECT run_id FROM runs WHERE seq = dependent) FROM edges WHERE source = ?1"
		" AND (?2 = 1 OR wanted = 2 AND ?3 <> 2) ORDER BY dependent, wanted LIMIT 1";
	struct keel_statement *select;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_int(source->seq),
									 keel_value_int(source->settled), keel_value_int((int64_t)source->status));
	if (code != KEEL_OK)
		return code;
	code = keel_step(select, found, err);
	if (code == KEEL_OK && *found) {
		edge->dependent = keel_column_int(select, 0);
		edge->wanted = keel_column_int(select, 1);
		code = keel_column_copy(select, 2, edge->run_id, sizeof edge->run_id, err);
	}
	keel_reset(select);
	return code;
}

/* Why a run has failed: the delta that says so is read until the next one fails. */
struct reason {
	struct keel_kept kept;
	char text[KEEL_ID_MAX + 64];
};

static void release_reason(struct keel_kept *kept)
{
	KEEL_ASSERT(kept); /* it has nothing but itself */
	(void)kept;
}

enum keel_code keel_run_fail_dependent(struct keel_store *store, struct keel_text run_id, bool is_new,
									   const char *source, struct keel_run *delta, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	struct reason *reason = keel_store_keep(store, sizeof *reason, release_reason);
	if (!reason)
		return keel_fail_memory(err);
	snprintf(reason->text, sizeof reason->text, "run %s, which it waited for, has not succeeded", source);
	*delta = (struct keel_run){.fence = 0};
	KEEL_RUN_SET(delta, STATUS, status, KEEL_RUN_ERROR);
	KEEL_RUN_SET(delta, ERROR, error, keel_text_of(reason->text));
	KEEL_RUN_SET(delta, ERROR_CODE, error_code, keel_text_of("dependency_failed"));
	enum keel_code code = keel_run_read_core(store, run_id, &arena, &core, err);
	if (code == KEEL_OK && core.found && core.status == KEEL_RUN_PENDING)
		code = keel_run_apply(store, run_id, &core, delta, NULL, (struct keel_text){NULL, 0}, NULL, err);
	if (code == KEEL_OK && core.found && !is_new)
		code = keel_changed_add(store, run_id, &core, err);
	keel_arena_free(&arena);
	return code;
}

/* Moves a run into its place, or out of it. */
static enum keel_code set_blocked(struct keel_store *store, struct keel_text run_id, bool blocked,
								  struct keel_error *err)
{
	static const char text[] = "UPDATE live SET status = ?3 WHERE thread_id = ?1 AND seq = ?2";
	struct keel_arena *arena = NULL;
	struct keel_run_core core, after;
	enum keel_code code = keel_run_read_core(store, run_id, &arena, &core, err);
	after = core;
	after.blocked = blocked;
	if (code == KEEL_OK && core.found && core.status == KEEL_RUN_PENDING && core.blocked != blocked) {
		code = keel_execute(store, text, err, keel_value_text(core.thread_id), keel_value_int(core.seq),
							keel_value_int(keel_live_status(&after, keel_store_now(store))));
		if (code == KEEL_OK)
			code = keel_live_change(store, run_id, &core, &after, err);
	}
	keel_arena_free(&arena);
	return code;
}

static enum keel_code drop_edge(struct keel_store *store, const struct source *source, const struct edge *edge,
								struct keel_error *err)
{
	return keel_execute(store, "DELETE FROM edges WHERE source = ?1 AND dependent = ?2 AND wanted = ?3", err,
						keel_value_int(source->seq), keel_value_int(edge->dependent), keel_value_int(edge->wanted));
}

/* The source has settled as the dependent wanted it. */
static enum keel_code free_dependent(struct keel_store *store, const struct edge *edge, struct keel_error *err)
{
	struct keel_statement *select;
	int64_t one;
	bool left;
	enum keel_code code = keel_query(store, "SELECT 1 FROM edges WHERE dependent = ?1 LIMIT 1", &select, err,
									 keel_value_int(edge->dependent));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, &left, &one, err);
	return code == KEEL_OK && !left ? set_blocked(store, keel_text_of(edge->run_id), false, err) : code;
}

/* Works off the edges of a source, as far as there is room. *left: there are more. */
static enum keel_code work_off_edges(struct keel_store *store, const struct source *source, int *count, bool *left,
									 struct keel_error *err)
{
	struct keel_run delta;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(source->seq > 0 && *count <= RESOLVED_MAX);
	*left = keel_run_status_is_final(source->status);
	while (code == KEEL_OK && *left && *count < RESOLVED_MAX) {
		struct edge edge;
		code = next_edge(store, source, &edge, left, err);
		if (code != KEEL_OK || !*left)
			continue;
		++*count;
		bool fails = edge.wanted == KEEL_WANTED_SUCCESS && source->status != KEEL_RUN_SUCCESS;
		KEEL_ASSERT(fails || source->settled);
		code = drop_edge(store, source, &edge, err); /* the next one is another, whatever there is of the dependent */
		if (code == KEEL_OK && fails)
			code = keel_run_fail_dependent(store, keel_text_of(edge.run_id), false, source->run_id, &delta, err);
		else if (code == KEEL_OK)
			code = free_dependent(store, &edge, err);
	}
	return code;
}

/* The same of the children of one that was stopped. */
static enum keel_code work_off_children(struct keel_store *store, const struct source *source, int *count, bool *left,
										struct keel_error *err)
{
	const struct keel_text parent = keel_text_of(source->run_id);
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(source->run_id[0] && *count <= RESOLVED_MAX);
	*left = source->cancelled;
	while (code == KEEL_OK && *left && *count < RESOLVED_MAX) {
		char run_id[KEEL_ID_MAX + 1];
		int64_t seq;
		code = keel_children_next(store, parent, &seq, run_id, left, err);
		if (code != KEEL_OK || !*left)
			continue;
		++*count;
		bool stopped;
		code = keel_run_stop_child(store, keel_text_of(run_id), parent, source->rollback, &stopped, err);
		if (code == KEEL_OK && !stopped)
			code = keel_children_done(store, parent, seq, err);
	}
	return code;
}

static enum keel_code work_off(struct keel_store *store, const struct source *source, int *count,
							   struct keel_error *err)
{
	bool edges, children;
	KEEL_ASSERT(keel_run_status_is_final(source->status) || source->cancelled);
	enum keel_code code = work_off_edges(store, source, count, &edges, err);
	if (code == KEEL_OK)
		code = work_off_children(store, source, count, &children, err);
	if (code == KEEL_OK && !edges && !children)
		code = keel_execute(store, "DELETE FROM resolving WHERE source = ?1", err, keel_value_int(source->seq));
	return code;
}

/* There is something left, or nothing; what was worked off in the caller's transaction may be undone. */
static void note_rest(struct keel_store *store, bool is_left)
{
	store->behind = is_left || (store->behind && store->open);
}

enum keel_code keel_run_resolve(struct keel_store *store, bool *more, struct keel_error *err)
{
	struct source source;
	int count = 0;
	enum keel_code code = KEEL_OK;
	*more = true;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	while (code == KEEL_OK && *more && count < RESOLVED_MAX) {
		code = first_source(store, &source, more, err);
		if (code == KEEL_OK && *more)
			code = work_off(store, &source, &count, err);
	}
	if (code == KEEL_OK)
		note_rest(store, *more);
	return code;
}

enum keel_code keel_run_has_rest(struct keel_store *store, bool *has, struct keel_error *err)
{
	struct keel_statement *select;
	int64_t one;
	enum keel_code code = keel_store_prepare(store, "SELECT 1 FROM resolving LIMIT 1", &select, err);
	if (code == KEEL_OK)
		code = keel_first_number(store, select, has, &one, err);
	if (code == KEEL_OK)
		note_rest(store, *has);
	return code;
}

enum keel_code keel_run_resolve_rest(struct keel_store *store, struct keel_error *err)
{
	bool more = !store->open;
	enum keel_code code = KEEL_OK;
	while (code == KEEL_OK && more) {
		code = keel_write_begin(store, err);
		if (code != KEEL_OK)
			return code;
		code = keel_run_resolve(store, &more, err);
		code = keel_write_end(store, code, true, err);
	}
	return code;
}

/* --- Making edges ------------------------------------------------------------------------------------------------- */

struct adding {
	struct keel_store *store;
	const struct keel_run *run;
	int64_t seq;
	char *failed; /* the source that has failed; "": none has */
};

/* How a source stands: its place, what has become of it, whether it has settled. */
static enum keel_code add_run(struct adding *adding, const struct keel_source *source, bool must, int place,
							  struct keel_error *err)
{
	static const char mark[] = "UPDATE live SET depended = 1 WHERE thread_id = ?1 AND seq = ?2";
	static const char insert[] = "INSERT INTO edges (source, dependent, wanted) VALUES (?1, ?2, ?3)"
								 " ON CONFLICT DO NOTHING";
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	enum keel_code code = keel_run_read_core(adding->store, source->id, &arena, &core, err);
	if (code == KEEL_OK && must && !core.found)
		code = keel_fail(err, KEEL_NOT_FOUND, "after[%d]: there is no run %.*s", place, (int)source->id.size,
						 source->id.data);
	if (code == KEEL_OK && must && core.seq == adding->seq)
		code = keel_fail_field(err, "after", "after[%d]: a run cannot wait for itself", place);
	bool ended = core.found && keel_run_status_is_final(core.status);
	if (code == KEEL_OK && ended && source->wanted == KEEL_WANTED_SUCCESS && core.status != KEEL_RUN_SUCCESS &&
		!adding->failed[0])
		snprintf(adding->failed, KEEL_ID_MAX + 1, "%.*s", (int)source->id.size, source->id.data);
	bool waits = core.found && core.seq != adding->seq && keel_live_is(&core);
	if (code == KEEL_OK && waits && !core.depended)
		code = keel_execute(adding->store, mark, err, keel_value_text(core.thread_id), keel_value_int(core.seq));
	if (code == KEEL_OK && waits)
		code = keel_execute(adding->store, insert, err, keel_value_int(core.seq), keel_value_int(adding->seq),
							keel_value_int((int64_t)source->wanted));
	keel_arena_free(&arena);
	return code;
}

static enum keel_code first_text(struct keel_statement *select, char to[KEEL_ID_MAX + 1], bool *found,
								 struct keel_error *err)
{
	enum keel_code code = keel_step(select, found, err);
	if (code == KEEL_OK && *found)
		code = keel_column_copy(select, 0, to, KEEL_ID_MAX + 1, err);
	keel_reset(select);
	return code;
}

static enum keel_code add_batch(struct adding *adding, const struct keel_source *source, int place,
								struct keel_error *err)
{
	static const char any[] = "SELECT batch_id FROM batches WHERE batch_id = ?1 AND dispatch = 0 AND seq <>"
							  " ?2 LIMIT 1";
	static const char failed[] =
		"SELECT r.run_id FROM batches AS b JOIN runs AS r ON r.seq = b.seq JOIN live AS l ON l.thread_id = r.thread_id"
		" AND l.seq = r.seq WHERE b.batch_id = ?1 AND b.dispatch = 0 AND l.status > 2 AND b.seq <> ?2 ORDER BY b.seq "
		"LIMIT 1";
	static const char insert[] =
		"INSERT INTO edges (source, dependent, wanted, batch_id) SELECT b.seq, ?2, ?3, ?1 FROM batches AS b JOIN runs"
		" AS r ON r.seq = b.seq JOIN live AS l ON l.thread_id = r.thread_id AND l.seq = r.seq WHERE b.batch_id = ?1"
		" AND b.dispatch = 0 AND b.seq <> ?2 ORDER BY b.seq LIMIT ?4 ON CONFLICT DO NOTHING";
	static const char mark[] = "UPDATE live SET depended = 1 WHERE coalesce(depended, 0) = 0 AND (thread_id, seq) IN"
							   " (SELECT r.thread_id, r.seq FROM edges AS e JOIN runs AS r ON r.seq = e.source"
							   " WHERE e.dependent = ?1)";
	const struct keel_value batch = keel_value_text(source->id), seq = keel_value_int(adding->seq);
	struct keel_statement *select;
	char id[KEEL_ID_MAX + 1];
	int64_t count = 0;
	bool found;
	if (KEEL_RUN_HAS(adding->run, BATCH_ID) && keel_text_same(adding->run->batch_id, source->id))
		return keel_fail_field(err, "after", "after[%d]: a run of a batch cannot wait for its own batch", place);
	enum keel_code code = keel_query(adding->store, any, &select, err, batch, seq);
	if (code == KEEL_OK)
		code = first_text(select, id, &found, err);
	if (code == KEEL_OK && !found)
		return keel_fail(err, KEEL_NOT_FOUND, "after[%d]: there is no run of the batch %.*s", place,
						 (int)source->id.size, source->id.data);
	if (code == KEEL_OK && source->wanted == KEEL_WANTED_SUCCESS) {
		code = keel_query(adding->store, failed, &select, err, batch, seq);
		if (code == KEEL_OK)
			code = first_text(select, id, &found, err);
		if (code == KEEL_OK && found && !adding->failed[0])
			memcpy(adding->failed, id, sizeof id);
	}
	if (code == KEEL_OK)
		code = keel_execute(adding->store, insert, err, batch, seq, keel_value_int((int64_t)source->wanted),
							keel_value_int(KEEL_PLACES_MAX + 1));
	if (code == KEEL_OK)
		code = adding->store->sql->driver->changes(adding->store->sql, &count, err);
	if (code == KEEL_OK && count > 0)
		code = keel_execute(adding->store, mark, err, seq);
	if (code == KEEL_OK && count > KEEL_PLACES_MAX)
		code = keel_fail_limit(err, "after", KEEL_PLACES_MAX + 1, KEEL_PLACES_MAX);
	return code;
}

/* A run that joins a batch may not lead to one that waits for the batch: who is in it would wait for itself. */
static enum keel_code check_circle(const struct adding *adding, struct keel_error *err)
{
	static const char text[] =
		"WITH RECURSIVE up (seq) AS (SELECT source FROM edges WHERE dependent = ?1 UNION SELECT e.source FROM edges AS "
		"e"
		" JOIN up ON e.dependent = up.seq) SELECT batch_id FROM edges WHERE batch_id = ?2 AND dependent IN"
		" (SELECT seq FROM up) LIMIT 1";
	/* Mostly nobody waits for it: then nothing need be walked. */
	static const char any[] = "SELECT batch_id FROM edges WHERE batch_id = ?1 ORDER BY dependent, source LIMIT 1";
	struct keel_statement *select;
	char id[KEEL_ID_MAX + 1];
	bool found = false;
	if (!KEEL_RUN_HAS(adding->run, BATCH_ID))
		return KEEL_OK;
	enum keel_code code = keel_query(adding->store, any, &select, err, keel_value_text(adding->run->batch_id));
	if (code == KEEL_OK)
		code = first_text(select, id, &found, err);
	if (code == KEEL_OK && found)
		code = keel_query(adding->store, text, &select, err, keel_value_int(adding->seq),
						  keel_value_text(adding->run->batch_id));
	if (code == KEEL_OK && found)
		code = first_text(select, id, &found, err);
	return code == KEEL_OK && found
			   ? keel_fail_field(err, "after", "after leads to a run that waits for the batch %s, which it is of", id)
			   : code;
}

static enum keel_code add_all(struct adding *adding, struct keel_error *err)
{
	struct keel_text rest = KEEL_RUN_HAS(adding->run, AFTER) ? adding->run->after : (struct keel_text){NULL, 0};
	struct keel_text ids = KEEL_RUN_HAS(adding->run, WAITS_FOR) ? adding->run->waits_for : (struct keel_text){NULL, 0};
	struct keel_source source = {KEEL_WANTED_FINAL, false, {NULL, 0}};
	enum keel_code code = KEEL_OK;
	for (int place = 1; code == KEEL_OK && keel_source_next(&rest, &source); place++)
		code = source.is_batch ? add_batch(adding, &source, place, err) : add_run(adding, &source, true, place, err);
	if (code == KEEL_OK)
		code = check_circle(adding, err);
	source = (struct keel_source){KEEL_WANTED_FINAL, false, {NULL, 0}};
	while (code == KEEL_OK && ids.data && keel_text_line(&ids, &source.id))
		code = add_run(adding, &source, false, 0, err);
	return code;
}

enum keel_code keel_run_add_edges(struct keel_store *store, const struct keel_run *run, bool *failed,
								  char source[KEEL_ID_MAX + 1], struct keel_error *err)
{
	struct adding adding = {store, run, 0, source};
	struct keel_statement *select;
	int64_t one;
	bool found = false;
	source[0] = '\0';
	KEEL_ASSERT(KEEL_RUN_HAS(run, RUN_ID) && store->sql->driver->in_transaction(store->sql));
	enum keel_code code =
		keel_query(store, "SELECT seq FROM runs WHERE run_id = ?1", &select, err, keel_value_text(run->run_id));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, &adding.seq, err);
	if (code == KEEL_OK)
		code = add_all(&adding, err);
	*failed = code == KEEL_OK && source[0];
	if (*failed)
		return keel_execute(store, "DELETE FROM edges WHERE dependent = ?1", err, keel_value_int(adding.seq));
	if (code == KEEL_OK)
		code = keel_query(store, "SELECT 1 FROM edges WHERE dependent = ?1 LIMIT 1", &select, err,
						  keel_value_int(adding.seq));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, &found, &one, err);
	return code == KEEL_OK && found ? set_blocked(store, run->run_id, true, err) : code;
}
