/* transitions.c - every way from one status to another, by everybody who may ask. */
#include "support.h"

/* Fixture: the table of the reference, written down once more. Rows: from; columns: to. y: allowed; =: nothing to do;
 * n: refused; r: only for the owner, once a rollback was asked for. */
static const char table[KEEL_RUN_STATUS_COUNT][KEEL_RUN_STATUS_COUNT + 1] = {
	/*               p r s e t i */
	/* pending     */ "=yyyyy",
	/* running     */ "n=yyyy",
	/* success     */ "nn=nnn",
	/* error       */ "nnn=nn",
	/* timeout     */ "nnnn=n",
	/* interrupted */ "nnnrn=",
};

enum asker { ANYBODY, OWNER, FORMER_OWNER, ASKERS };
enum way { UPDATE, COMPLETE, PUT, WAYS };

static const char *const cancels[] = {NULL, "interrupt", "rollback"};

/* A run in a status, with fence 3. */
static void put_run(enum keel_run_status from, bool null, const char *cancel)
{
	struct keel_run run = run_of("r", "t");
	SET(&run, FENCE, fence, 3);
	if (!null)
		SET(&run, STATUS, status, from);
	if (cancel)
		SET(&run, CANCEL_ACTION, cancel_action, text(cancel));
	put(&run);
}

static enum keel_code ask(enum way way, enum asker asker, enum keel_run_status to)
{
	static const int64_t fences[] = {0, 3, 2};
	struct keel_status_change change = {.status = to, .fence = fences[asker]};
	struct keel_run fields = {0}, merged = run_of("r", NULL);
	bool found;
	SET(&fields, STATUS, status, to);
	SET(&merged, STATUS, status, to);
	if (asker != ANYBODY)
		SET(&fields, FENCE, fence, fences[asker]);
	switch (way) {
	case UPDATE:
		return keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why);
	case COMPLETE:
		return keel_run_complete(world.store, text("r"), &fields, &found, NULL, &why);
	default:
		return keel_run_put(world.store, &merged, nothing, NULL, &why);
	}
}

/* What the table says of it. */
static enum keel_code wanted(enum way way, enum asker asker, enum keel_run_status from, enum keel_run_status to,
							 const char *cancel, bool *changes)
{
	bool rollback = cancel && strcmp(cancel, "rollback") == 0;
	char mark = table[from][to];
	*changes = false;
	if (asker == FORMER_OWNER)
		return KEEL_STALE_OWNER;
	if (mark == 'r')
		mark = asker == OWNER && rollback ? 'y' : 'n';
	*changes = mark == 'y';
	/* Who is late with a completion learns nothing bad: its counters are kept. */
	if (mark == 'n' && way == COMPLETE && from >= KEEL_RUN_SUCCESS)
		return KEEL_OK;
	return mark == 'n' ? KEEL_INVALID_TRANSITION : KEEL_OK;
}

static void check_one(enum way way, enum asker asker, enum keel_run_status from, bool null, const char *cancel,
					  enum keel_run_status to)
{
	bool changes;
	succeed(keel_store_begin(world.store, &why));
	put_run(from, null, cancel);
	int64_t events = newest_event();
	enum keel_code code = wanted(way, asker, from, to, cancel, &changes), got = ask(way, asker, to);
	if (code != got)
		fail_msg("from %s to %s (way %d, asker %d, cancel %s): %s", keel_run_status_name(from),
				 keel_run_status_name(to), way, asker, cancel ? cancel : "none", keel_code_name(got));
	if (code == KEEL_INVALID_TRANSITION) {
		assert_string_equal(why.from, keel_run_status_name(from));
		assert_string_equal(why.to, keel_run_status_name(to));
	}
	assert_int_equal(status_of("r"), changes ? to : from);
	assert_int_equal(newest_event() - events, changes);
	assert_int_equal(row("r")->revision, 1 + changes);
	keel_store_rollback(world.store);
}

/* Every way, asker, status, request to cancel and wish comes to what the table says, with one event for a change and
 * none for anything else. */
TEST(matrix)
{
	int checked = 0;
	for (enum way way = UPDATE; way < WAYS; way++)
		for (enum asker asker = ANYBODY; asker < (way == PUT ? OWNER : ASKERS); asker++)
			for (int from = -1; from < KEEL_RUN_STATUS_COUNT; from++) /* -1: null, which is pending */
				for (int cancel = 0; cancel < 3; cancel++)
					for (int to = 0; to < KEEL_RUN_STATUS_COUNT; to++, checked++)
						check_one(way, asker, from < 0 ? KEEL_RUN_PENDING : (enum keel_run_status)from, from < 0,
								  cancels[cancel], (enum keel_run_status)to);
	assert_int_equal(checked, 7 * 7 * 3 * 6);
}

/* RUN-25 */
/* After a rollback the run's owner, and nobody else, may record that it ended in error. */
TEST(owner_of_a_rollback_records_an_error)
{
	put_owned("r", "t");
	struct keel_status_change change = {.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("rollback")};
	struct keel_status_change undone = {.status = KEEL_RUN_ERROR, .error = text("rolled back")};
	bool found;
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	refuse(INVALID_TRANSITION, keel_run_update_status(world.store, text("r"), &undone, &found, NULL, &why));
	undone.fence = row("r")->fence;
	succeed(keel_run_update_status(world.store, text("r"), &undone, &found, NULL, &why));
	assert_true(same_text(row("r")->error, text("rolled back")));
	refuse(INVALID_TRANSITION, keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
}

/* An interrupt is not a rollback: its owner may not make it an error. */
TEST(owner_of_an_interrupt_does_not)
{
	put_owned("r", "t");
	struct keel_status_change change = {.status = KEEL_RUN_INTERRUPTED, .cancel_action = text("interrupt")};
	struct keel_status_change undone = {.status = KEEL_RUN_ERROR, .fence = row("r")->fence};
	bool found;
	succeed(keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	refuse(INVALID_TRANSITION, keel_run_update_status(world.store, text("r"), &undone, &found, NULL, &why));
}

/* A status that does not exist is no request at all, whatever the run's is. */
TEST(unknown_statuses_are_refused)
{
	put_pending("r", "t");
	struct keel_status_change change = {.status = KEEL_RUN_STATUS_COUNT};
	bool found;
	refuse_field("status", keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	change.status = (enum keel_run_status) - 1;
	refuse_field("status", keel_run_update_status(world.store, text("r"), &change, &found, NULL, &why));
	assert_int_equal(status_of("r"), KEEL_RUN_PENDING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(matrix),
		WITH_STORE(owner_of_a_rollback_records_an_error),
		WITH_STORE(owner_of_an_interrupt_does_not),
		WITH_STORE(unknown_statuses_are_refused),
	};
	return cmocka_run_group_tests_name("transitions", tests, NULL, NULL);
}
