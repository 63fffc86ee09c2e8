/* write.c - writing the rows of runs, and what is kept with them. Uses: texts, live, extras. */
#include "run/write.h"

#include "base/assert.h"
#include "base/error.h"
#include "run/extras.h"
#include "run/fields.h"
#include "run/live.h"
#include "run/texts.h"

/* Prepares the statement for the given fields and binds them; *next is the parameter after the last. */
static enum keel_code prepare_for(struct keel_store *store, bool update, const struct keel_run *run,
								  struct keel_statement **statement, int *next, struct keel_error *err)
{
	const char *text = NULL;
	enum keel_run_field field;
	int parameter = 1;
	KEEL_ASSERT(keel_run_is_whole(run));
	enum keel_code code = keel_run_text_for(store, update, run->given, &text, err);
	if (code == KEEL_OK)
		code = keel_store_prepare(store, text, statement, err);
	for (keel_run_set left = run->given; code == KEEL_OK && keel_run_set_take(&left, &field); parameter++) {
		struct keel_run *readable = (struct keel_run *)(uintptr_t)run; /* only read: the accessors serve both */
		if (!keel_run_set_has(run->valued, field))
			code = keel_bind_null(*statement, parameter, err);
		else if (keel_run_is_text(keel_run_field_type(field)))
			code = keel_bind_text(*statement, parameter, *keel_run_text(readable, field), err);
		else
			code = keel_bind_int(*statement, parameter, *keel_run_number(readable, field), err);
	}
	KEEL_ASSERT(code != KEEL_OK || parameter == keel_run_set_count(run->given) + 1);
	*next = parameter;
	return code;
}

enum keel_code keel_run_insert(struct keel_store *store, const struct keel_run *run, bool *inserted,
							   struct keel_error *err)
{
	struct keel_statement *insert;
	int next;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT(KEEL_RUN_HAS(run, RUN_ID) && KEEL_RUN_HAS(run, THREAD_ID) && KEEL_RUN_HAS(run, CREATED_AT));
	enum keel_code code = prepare_for(store, false, run, &insert, &next, err);
	if (code == KEEL_OK)
		code = keel_run_statement(insert, err);
	*inserted = code == KEEL_OK && store->sql->driver->changes(store->sql) == 1;
	if (!*inserted)
		return code;
	struct keel_run_core core = keel_run_core_with(&(struct keel_run_core){.found = false}, run);
	core.seq = store->sql->driver->inserted(store->sql);
	KEEL_ASSERT(keel_run_invariant(&core));
	code = keel_extras_insert(store, core.seq, run, err);
	return code == KEEL_OK ? keel_live_change(store, run->run_id, NULL, &core, err) : code;
}

enum keel_code keel_run_update(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   const struct keel_run *run, struct keel_error *err)
{
	struct keel_statement *update;
	int next;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT(keel_run_invariant(core));
	enum keel_code code = keel_extras_remove(store, core->seq, run, err);
	if (code == KEEL_OK)
		code = prepare_for(store, true, run, &update, &next, err);
	if (code == KEEL_OK)
		code = keel_bind_int(update, next, core->seq, err);
	if (code == KEEL_OK)
		code = keel_run_statement(update, err);
	if (code == KEEL_OK)
		code = keel_extras_add(store, core->seq, run, err);
	if (code != KEEL_OK || !keel_live_concerns(run))
		return code;
	struct keel_run_core after = keel_run_core_with(core, run);
	return keel_live_change(store, run_id, core, &after, err);
}

enum keel_code keel_run_remove(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   struct keel_error *err)
{
	KEEL_ASSERT(keel_run_invariant(core));
	enum keel_code code = keel_extras_remove(store, core->seq, NULL, err);
	if (code == KEEL_OK)
		code = keel_execute(store, "DELETE FROM runs WHERE seq = ?1", err, keel_value_int(core->seq));
	return code == KEEL_OK ? keel_live_change(store, run_id, core, NULL, err) : code;
}
