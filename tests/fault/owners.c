/* owners.c - faults while owners are judged: sessions, leases that are watched, the store's reconciler. */
#include "support_fault.h"

#include <unistd.h>

/* --- Fixtures ---------------------------------------------------------------------------------------------------- */

enum { LEASE_US = 1000000 };

static int64_t owner; /* the session that has the run */

/* A run of a session of which nothing here can tell whether it is dead: it counts as alive. */
static void undecided_owner(void)
{
	struct keel_claim asked = {.limit = 1, .lease_us = LEASE_US};
	struct keel_run run = run_of("a", "t");
	SET(&run, CLAIMABLE, claimable, 1);
	put(&run);
	succeed(keel_run_claim_next(world.store, &asked, &answered_runs, &why));
	succeed(keel_store_session(world.store, &owner, &why));
	reopen_store();
	raw("UPDATE sessions SET token = 'of another file', space = space + 1");
}

/* The handle has watched the lease for as long as it lasts. */
static void watch_lease(void)
{
	int64_t left_us;
	succeed(keel_run_lease_left(world.store, text("a"), &left_us, &why));
	world.time += LEASE_US;
}

static void set_clock_back(void)
{
	world.time -= LEASE_US;
}

static void no_side_file(void)
{
	unlink(in_folder("store-sessions"));
}

static enum keel_code set_reconciler(void)
{
	return keel_store_set_reconciler(world.store, text("fail_orphans"), &why);
}

static void reconciler_before(void)
{
	succeed(set_reconciler());
}

/* --- Operations -------------------------------------------------------------------------------------------------- */

static enum keel_code forget_reconciler(void)
{
	return keel_store_set_reconciler(world.store, nothing, &why);
}

static enum keel_code read_reconciler(void)
{
	char name[KEEL_ID_MAX + 1];
	enum keel_code code = keel_store_reconciler(world.store, name, &why);
	answer("%s", name);
	return code;
}

static enum keel_code make_session(void)
{
	int64_t session;
	enum keel_code code = keel_store_session(world.store, &session, &why);
	answer("%d", session > 0);
	return code;
}

static enum keel_code judge_session(void)
{
	enum keel_session_state state;
	enum keel_code code = keel_store_session_state(world.store, owner, &state, &why);
	if (code == KEEL_OK)
		answer("%d", state == KEEL_SESSION_UNDECIDED);
	return code;
}

static enum keel_code end_session(void)
{
	bool ended;
	enum keel_code code = keel_store_end_session(world.store, owner, &ended, &why);
	answer("%d", ended);
	return code;
}

static enum keel_code look_at_lease(void)
{
	int64_t left_us;
	enum keel_code code = keel_run_lease_left(world.store, text("a"), &left_us, &why);
	if (code == KEEL_OK)
		answer("%lld", (long long)left_us);
	return code;
}

static enum keel_code list_lost(void)
{
	struct keel_inflight_query query = {.limit = 10, .overdue = true};
	enum keel_code code = keel_run_list_inflight(world.store, &query, &answered_runs, &why);
	if (code == KEEL_OK)
		answer("%s", ids_of(&answered_runs));
	return code;
}

static enum keel_code take_over(void)
{
	struct keel_takeover asked = {.status = KEEL_RUN_PENDING, .error = text("its lease was lost")};
	bool taken;
	enum keel_code code = keel_run_claim_for_takeover(world.store, text("a"), &asked, &taken, &why);
	answer("%d", taken);
	return code;
}

static const struct operation operations[] = {
	{"setting the store's reconciler", 0, NULL, NULL, set_reconciler, NULL},
	{"forgetting the store's reconciler", 0, reconciler_before, NULL, forget_reconciler, NULL},
	{"reading the store's reconciler", READS | LITTLE_SQL, reconciler_before, NULL, read_reconciler, NULL},
	{"a session with a side file of its own", TRANSACTS, NULL, no_side_file, make_session, NULL},
	{"judging a session of elsewhere", READS | UNLOCKED | LITTLE_SQL, undecided_owner, NULL, judge_session, NULL},
	{"ending a session", UNLOCKED | LITTLE_SQL, undecided_owner, NULL, end_session, NULL},
	{"looking at a lease for the first time", READS | UNLOCKED | LITTLE_SQL, undecided_owner, NULL, look_at_lease,
	 NULL},
	{"looking at a watched lease", READS | OWNS | UNLOCKED | LITTLE_SQL, undecided_owner, watch_lease, look_at_lease,
	 set_clock_back},
	{"listing lost leases", READS | OWNS | UNLOCKED | LITTLE_SQL, undecided_owner, watch_lease, list_lost,
	 set_clock_back},
	{"taking over after the lease", OWNS | UNLOCKED | LITTLE_SQL, undecided_owner, watch_lease, take_over,
	 set_clock_back},
	{"leaving a lease that was not watched", UNLOCKED | LITTLE_SQL, undecided_owner, NULL, take_over, NULL},
};

int main(void)
{
	return SWEEP("faults in judging owners", operations);
}
