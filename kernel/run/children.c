/* children.c - runs and the runs that they have made: which are to be stopped with them. Uses: core. */
#include "run/children.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

enum keel_code keel_children_check(struct keel_store *store, const struct keel_run *run, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	const struct keel_text parent = run->parent_run_id;
	KEEL_ASSERT(KEEL_RUN_HAS(run, PARENT_RUN_ID));
	if (KEEL_RUN_HAS(run, STATUS) && keel_run_status_is_final((enum keel_run_status)run->status))
		return KEEL_OK;
	if (keel_text_same(parent, run->run_id))
		return keel_fail_field(err, "parent_run_id", "parent_run_id: a run cannot be its own parent");
	enum keel_code code = keel_run_read_core(store, parent, &arena, &core, err);
	if (code == KEEL_OK && !core.found)
		code = keel_fail_run(err, KEEL_NOT_FOUND, parent, run->thread_id, "parent_run_id: there is no run %.*s",
							 (int)parent.size, parent.data);
	if (code == KEEL_OK && core.cancel_requested)
		code = keel_fail_run(err, KEEL_CONFLICT, parent, run->thread_id,
							 "the parent, run %.*s, was %s: it has no more children", (int)parent.size, parent.data,
							 core.status == KEEL_RUN_INTERRUPTED ? "cancelled" : "asked to stop");
	keel_arena_free(&arena);
	return code;
}

/* Whether it is to be stopped with its parent. */
static bool is_child(const struct keel_run_core *core)
{
	return core && core->parent_run_id.data && core->status < KEEL_RUN_SUCCESS && !core->cancel_requested;
}

enum keel_code keel_children_change(struct keel_store *store, struct keel_text run_id,
									const struct keel_run_core *before, const struct keel_run_core *after,
									struct keel_error *err)
{
	static const char insert[] = "INSERT INTO children (parent_run_id, seq) VALUES (?1, ?2)";
	bool was = is_child(before), is = is_child(after);
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(before || after);
	KEEL_ASSERT(!before || !after || keel_text_same(before->parent_run_id, after->parent_run_id));
	if (was && !is)
		code = keel_children_done(store, before->parent_run_id, before->seq, err);
	if (is && !was)
		code = keel_execute(store, insert, err, keel_value_text(after->parent_run_id), keel_value_int(after->seq));
	if (code == KEEL_OK && before && after && before->has_children && after->cancel_requested)
		code = keel_children_note(store, run_id, after, err);
	return code;
}

enum keel_code keel_children_note(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								  struct keel_error *err)
{
	static const char text[] =
		"INSERT INTO resolving (source, status, settled, run_id, cancelled) VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT (source) DO UPDATE SET status = excluded.status, settled = excluded.settled,"
		" cancelled = excluded.cancelled";
	KEEL_ASSERT(core->cancel_requested && core->seq > 0);
	bool settled = keel_run_status_is_final(core->status) && !core->finalizing;
	return keel_execute(store, text, err, keel_value_int(core->seq), keel_value_int((int64_t)core->status),
						keel_value_int(settled), keel_value_text(run_id),
						keel_value_text(keel_text_of(core->rollback ? "rollback" : "interrupt")));
}

enum keel_code keel_children_next(struct keel_store *store, struct keel_text parent, int64_t *seq,
								  char run_id[KEEL_ID_MAX + 1], bool *found, struct keel_error *err)
{
	static const char text[] = "SELECT seq, (SELECT run_id FROM runs WHERE seq = children.seq) FROM"
							   " children WHERE parent_run_id = ?1 ORDER BY seq LIMIT 1";
	struct keel_statement *select;
	KEEL_ASSERT(parent.data && store->sql->driver->in_transaction(store->sql));
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(parent));
	return code == KEEL_OK ? keel_run_first(select, seq, run_id, found, err) : code;
}

enum keel_code keel_children_done(struct keel_store *store, struct keel_text parent, int64_t seq,
								  struct keel_error *err)
{
	KEEL_ASSERT(parent.data && seq > 0);
	return keel_execute(store, "DELETE FROM children WHERE parent_run_id = ?1 AND seq = ?2", err,
						keel_value_text(parent), keel_value_int(seq));
}
