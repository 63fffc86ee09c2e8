/* changed.c - which runs of this session an operation has changed besides the one that it was about. Uses: store. */
#include "run/changed.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"

enum keel_code keel_changed_add(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
								struct keel_error *err)
{
	KEEL_ASSERT(core->found && run_id.size > 0 && !memchr(run_id.data, '\n', run_id.size));
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	if (!core->session_id || core->session_id != store->session)
		return KEEL_OK;
	if (store->changed.size)
		keel_buffer_put(&store->changed, "\n");
	keel_buffer_add(&store->changed, run_id.data, run_id.size);
	return store->changed.failed ? keel_fail_memory(err) : KEEL_OK;
}

struct keel_text keel_run_take_changed(struct keel_store *store)
{
	struct keel_text ids = keel_buffer_text(&store->changed);
	keel_buffer_clear(&store->changed);
	return ids.size ? ids : (struct keel_text){NULL, 0};
}
