/* operation.c - the frame of every operation on one row. Uses: change, changed, resolve. */
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "event/event.h"
#include "run/change.h"
#include "run/changed.h"
#include "run/resolve.h"

enum keel_code keel_run_change_row(struct keel_store *store, struct keel_text run_id, struct keel_run *delta,
								   int64_t fence, keel_run_decision decide, void *context, bool *found,
								   struct keel_run *written, struct keel_error *err)
{
	struct keel_arena *arena = NULL;
	struct keel_run_core core;
	bool more = false;
	struct keel_run_change change = {.store = store,
									 .run_id = run_id,
									 .core = &core,
									 .action = KEEL_ACTION_COUNT,
									 .delta = delta,
									 .fence = fence,
									 .context = context};
	*found = false;
	keel_changed_begin(store);
	if (written)
		written->given = written->valued = (keel_run_set){{0}};
	enum keel_code code = keel_check_id(run_id, "run_id", err);
	if (code == KEEL_OK)
		code = keel_run_check(delta, err);
	if (code == KEEL_OK)
		code = keel_run_write_begin(store, run_id, KEEL_RUN_HAS(delta, CANCEL_ACTION), &arena, &core, err);
	if (code != KEEL_OK) {
		keel_arena_free(&arena);
		return code;
	}
	code = keel_event_draft(store, &change.draft, err);
	if (code == KEEL_OK && core.found) {
		code = keel_run_check_fence(&core, run_id, fence, err);
		if (code == KEEL_OK)
			code = decide(&change, err);
		if (code == KEEL_OK && !keel_run_set_is_empty(delta->given)) {
			change.wrote = true;
			code = change.draft->failed
					   ? keel_fail_memory(err)
					   : keel_run_apply(store, run_id, &core, delta, change.kind, change.data, written, err);
			KEEL_ASSERT(code != KEEL_OK || keel_run_follows(&core, change.action, delta));
			if (code == KEEL_OK && (core.depended || core.has_children))
				code = keel_run_resolve(store, &more, err);
		}
	}
	KEEL_ASSERT(!change.wrote || core.found);
	keel_arena_free(&arena);
	code = keel_write_end(store, code, change.wrote, err);
	if (code != KEEL_OK)
		keel_changed_begin(store);
	*found = code == KEEL_OK && core.found;
	if (*found && more) /* what has been done is done: the rest can wait for whoever comes next */
		(void)keel_run_resolve_rest(store, NULL);
	return code;
}
