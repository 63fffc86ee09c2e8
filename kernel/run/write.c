/* write.c - writing the rows of runs, and what is kept with them. Uses: texts, live, extras. */
#include "run/write.h"

#include "base/assert.h"
#include "base/error.h"
#include "run/extras.h"
#include "run/fields.h"
#include "run/live.h"
#include "run/texts.h"

/* A write of a run: the record, and what its row comes to. */
struct writing {
	struct keel_store *store;
	const struct keel_run *run;
	const struct keel_run_core *core;
	int64_t now;
};

/* The value of a field that is given, or null. */
static struct keel_value value_of(const struct keel_run *run, enum keel_run_field field)
{
	struct keel_run *readable = (struct keel_run *)(uintptr_t)run; /* only read: the accessors serve both */
	if (!keel_run_set_has(run->valued, field))
		return keel_value_null();
	return keel_run_is_text(keel_run_field_type(field)) ? keel_value_text(*keel_run_text(readable, field))
														: keel_value_int(*keel_run_number(readable, field));
}

/* The same as `live` has it, where what is looked for is never null. */
static struct keel_value live_value_of(const struct writing *writing, enum keel_run_field field)
{
	switch (field) {
	case KEEL_RUN_FIELD_STATUS:
		return keel_value_int(keel_live_status(writing->core, writing->now));
	case KEEL_RUN_FIELD_SESSION_ID:
		return writing->core->claimable && !writing->core->session_id ? keel_value_null()
																	  : keel_value_int(writing->core->session_id);
	case KEEL_RUN_FIELD_PRIORITY:
		return keel_value_int(writing->core->priority);
	default:
		return value_of(writing->run, field);
	}
}

/* What a row of `live` always says. */
static keel_run_set looked_for(void)
{
	return KEEL_RUN_FIELDS(KEEL_RUN_FIELD_STATUS, KEEL_RUN_FIELD_SESSION_ID, KEEL_RUN_FIELD_PRIORITY);
}

/* Writes some fields by a statement of a kind. */
static enum keel_code write_fields(const struct writing *writing, enum keel_run_text kind, keel_run_set set,
								   struct keel_error *err)
{
	struct keel_value values[KEEL_RUN_FIELD_COUNT + 3];
	const struct keel_run_core *core = writing->core;
	bool is_live = kind == KEEL_TEXT_ADMIT || kind == KEEL_TEXT_CHANGE || kind == KEEL_TEXT_REVIVE;
	size_t count = (size_t)keel_run_text_first(kind) - 1;
	const char *text = NULL;
	enum keel_run_field field;
	if (keel_run_set_is_empty(set))
		return KEEL_OK;
	enum keel_code code = keel_run_text_for(writing->store, kind, set, &text, err);
	if (code != KEEL_OK)
		return code;
	if (kind == KEEL_TEXT_UPDATE || kind == KEEL_TEXT_NOTE || kind == KEEL_TEXT_AMEND) {
		values[0] = keel_value_int(core->seq);
	} else if (kind != KEEL_TEXT_INSERT) {
		values[0] = keel_value_text(core->thread_id);
		values[1] = keel_value_int(core->seq);
		values[2] = keel_value_int(core->created_at);
	}
	while (keel_run_set_take(&set, &field))
		values[count++] = is_live ? live_value_of(writing, field) : value_of(writing->run, field);
	return keel_execute_values(writing->store, text, err, values, count);
}

/* Writes what the work of a run in flight has come to. Of what is null a row need not say it. */
static enum keel_code note_work(const struct writing *writing, struct keel_error *err)
{
	keel_run_set work = keel_run_given(writing->run, KEEL_PART_WORK);
	bool says = keel_run_set_meet(work, writing->run->valued);
	return write_fields(writing, says ? KEEL_TEXT_NOTE : KEEL_TEXT_AMEND, work, err);
}

static enum keel_code drop_live(struct keel_store *store, const struct keel_run_core *core, struct keel_error *err)
{
	return keel_execute(store, "DELETE FROM live WHERE thread_id = ?1 AND seq = ?2", err,
						keel_value_text(core->thread_id), keel_value_int(core->seq));
}

enum keel_code keel_run_insert(struct keel_store *store, const struct keel_run *run, bool *inserted,
							   struct keel_error *err)
{
	struct keel_run_core core = keel_run_core_with(&(struct keel_run_core){.found = false}, run);
	struct writing writing = {store, run, &core, keel_store_now(store)};
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT(KEEL_RUN_HAS(run, RUN_ID) && KEEL_RUN_HAS(run, THREAD_ID) && KEEL_RUN_HAS(run, CREATED_AT));
	enum keel_code code = write_fields(&writing, KEEL_TEXT_INSERT, keel_run_given(run, KEEL_PART_FIXED), err);
	int64_t count = 0;
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	*inserted = count == 1;
	if (!*inserted)
		return code;
	core.seq = store->sql->driver->inserted(store->sql);
	KEEL_ASSERT(keel_run_invariant(&core));
	keel_run_set state = keel_run_given(run, KEEL_PART_STATE);
	if (keel_live_is(&core))
		code = write_fields(&writing, KEEL_TEXT_ADMIT, keel_run_set_union(state, looked_for()), err);
	else
		code = write_fields(&writing, KEEL_TEXT_NOTE, state, err);
	if (code == KEEL_OK)
		code = note_work(&writing, err);
	if (code == KEEL_OK)
		code = keel_extras_insert(store, core.seq, run, err);
	return code == KEEL_OK ? keel_live_change(store, run->run_id, NULL, &core, err) : code;
}

/* The fields of the state that a record changes in `live`. What a row is looked for by depends on others, too. */
static keel_run_set live_changes(const struct keel_run_core *before, const struct keel_run_core *after,
								 const struct keel_run *run)
{
	keel_run_set set = keel_run_given(run, KEEL_PART_STATE);
	if (after->status == KEEL_RUN_PENDING ? keel_live_concerns(run) : after->status != before->status)
		keel_run_set_add(&set, KEEL_RUN_FIELD_STATUS);
	if (KEEL_RUN_GIVES(run, CLAIMABLE))
		keel_run_set_add(&set, KEEL_RUN_FIELD_SESSION_ID);
	return set;
}

/* Writes state and work into a row of `live`, which ends now or stays. */
static enum keel_code update_live(const struct writing *writing, const struct keel_run_core *before,
								  struct keel_error *err)
{
	static const char renew[] = "UPDATE live SET created_at = ?3 WHERE thread_id = ?1 AND seq = ?2";
	const struct keel_run_core *after = writing->core;
	enum keel_code code;
	if (!keel_live_is(after)) {
		code = write_fields(writing, KEEL_TEXT_END,
							keel_run_set_union(keel_run_given(writing->run, KEEL_PART_STATE),
											   keel_run_given(writing->run, KEEL_PART_WORK)),
							err);
		return code == KEEL_OK ? drop_live(writing->store, after, err) : code;
	}
	code = write_fields(writing, KEEL_TEXT_CHANGE, live_changes(before, after, writing->run), err);
	if (code == KEEL_OK && before->created_at != after->created_at)
		code = keel_execute(writing->store, renew, err, keel_value_text(after->thread_id), keel_value_int(after->seq),
							keel_value_int(after->created_at));
	return code == KEEL_OK ? note_work(writing, err) : code;
}

/* The same of one that had ended and was settled, and may be finalizing again. */
static enum keel_code update_ended(const struct writing *writing, struct keel_error *err)
{
#define NO_STATE_FIXED(member)
#define NO_STATE_STATE(member) #member " = NULL, "
#define NO_STATE_WORK(member)
#define NO_STATE(NAME, member, type, giver, part) NO_STATE_##part(member)
	static const char clear[] = "UPDATE outcomes SET " KEEL_RUN_FIELD_MAP(NO_STATE) "seq = seq WHERE seq = ?1";
	keel_run_set state = keel_run_given(writing->run, KEEL_PART_STATE);
	keel_run_set work = keel_run_given(writing->run, KEEL_PART_WORK);
	if (!keel_live_is(writing->core))
		return write_fields(writing, KEEL_TEXT_AMEND, keel_run_set_union(state, work), err);
	enum keel_code code = write_fields(writing, KEEL_TEXT_REVIVE, keel_run_set_union(state, looked_for()), err);
	if (code == KEEL_OK)
		code = keel_execute(writing->store, clear, err, keel_value_int(writing->core->seq));
	return code == KEEL_OK ? note_work(writing, err) : code;
}

enum keel_code keel_run_update(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   const struct keel_run *run, struct keel_error *err)
{
	struct keel_run_core after = keel_run_core_with(core, run);
	struct writing writing = {store, run, &after, keel_store_now(store)};
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	KEEL_ASSERT(keel_run_invariant(core));
	enum keel_code code = keel_extras_remove(store, core->seq, run, err);
	if (code == KEEL_OK)
		code = write_fields(&writing, KEEL_TEXT_UPDATE, keel_run_given(run, KEEL_PART_FIXED), err);
	if (code == KEEL_OK)
		code = keel_live_is(core) ? update_live(&writing, core, err) : update_ended(&writing, err);
	if (code == KEEL_OK)
		code = keel_extras_add(store, core->seq, run, err);
	if (code != KEEL_OK || !keel_live_concerns(run))
		return code;
	return keel_live_change(store, run_id, core, &after, err);
}

enum keel_code keel_run_remove(struct keel_store *store, struct keel_text run_id, const struct keel_run_core *core,
							   struct keel_error *err)
{
	KEEL_ASSERT(keel_run_invariant(core));
	enum keel_code code = keel_run_remove_ended(store, core->seq, err);
	if (code == KEEL_OK && keel_live_is(core))
		code = drop_live(store, core, err);
	return code == KEEL_OK ? keel_live_change(store, run_id, core, NULL, err) : code;
}

enum keel_code keel_run_remove_ended(struct keel_store *store, int64_t seq, struct keel_error *err)
{
	enum keel_code code = keel_extras_remove(store, seq, NULL, err);
	if (code == KEEL_OK)
		code = keel_execute(store, "DELETE FROM runs WHERE seq = ?1", err, keel_value_int(seq));
	return code == KEEL_OK ? keel_execute(store, "DELETE FROM outcomes WHERE seq = ?1", err, keel_value_int(seq))
						   : code;
}
