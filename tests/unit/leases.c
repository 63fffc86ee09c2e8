/* leases.c - who holds a name, how a lease ends, and that tokens only grow. */
#include "support.h"

#include <unistd.h>

enum { SECOND = 1000000 };

/* --- Fixture ----------------------------------------------------------------------------------------------------- */

static struct keel_lease lease; /* what the last verb saw */

static int64_t acquire_in(struct keel_store *store, const char *name)
{
	succeed(keel_lease_acquire(store, text(name), nothing, 10 * SECOND, &lease, &why));
	return lease.token;
}

static int64_t acquire(const char *name)
{
	return acquire_in(world.store, name);
}

static enum keel_code try_acquire(struct keel_store *store, const char *name)
{
	return keel_lease_acquire(store, text(name), text("other"), 10 * SECOND, &lease, &why);
}

static enum keel_code renew(struct keel_store *store, const char *name, int64_t token)
{
	int64_t expires_at;
	return keel_lease_renew(store, text(name), token, 10 * SECOND, &expires_at, &why);
}

static enum keel_code release(struct keel_store *store, const char *name, int64_t token)
{
	return keel_lease_release(store, text(name), token, &why);
}

static struct keel_lease look(const char *name)
{
	succeed(keel_lease_get(world.store, text(name), &lease, &why));
	return lease;
}

/* A child that does as told with one name: "acquire", "renew", "release"; says the token, or the code. */
static int play_holder(int argc, char **argv)
{
	struct keel_store *store;
	char line[64];
	int64_t token = 0;
	(void)argc;
	succeed(keel_store_open(argv[0], NULL, &store, &why));
	while (child_hears(line, sizeof line)) {
		enum keel_code code;
		if (strcmp(line, "acquire") == 0) {
			code = try_acquire(store, "n");
			if (code == KEEL_OK)
				token = lease.token;
		} else {
			code = strcmp(line, "renew") == 0 ? renew(store, "n", token) : release(store, "n", token);
		}
		if (code == KEEL_OK)
			child_says("%lld", (long long)token);
		else
			child_says("%s", keel_code_name(code));
	}
	keel_store_close(store);
	return 0;
}

static void ask(struct child *child, const char *what, const char *answer)
{
	say(child, what);
	await(child, answer);
}

/* A child takes a name, again and again, and counts in the file what it did while it held it. */
static int play_worker(int argc, char **argv)
{
	struct keel_store *store;
	int64_t previous = 0;
	(void)argc;
	succeed(keel_store_open(argv[0], NULL, &store, &why));
	for (int done = 0; done < 20;) {
		enum keel_code code = keel_lease_acquire(store, text("n"), nothing, 3600 * (int64_t)SECOND, &lease, &why);
		if (code == KEEL_LEASE_HELD) {
			usleep(200);
			continue;
		}
		succeed(code);
		must(lease.token > previous);
		previous = lease.token;
		/* Nobody else makes it, and so nobody else removes it. */
		FILE *alone = fopen(argv[1], "wx");
		must(alone != NULL && fclose(alone) == 0 && unlink(argv[1]) == 0);
		succeed(release(store, "n", lease.token));
		done++;
	}
	keel_store_close(store);
	return 0;
}

/* --- Granting ---------------------------------------------------------------------------------------------------- */

/* A grant has a token, an end, its session, and the owner given, else the store's. */
TEST(grants)
{
	int64_t session;
	succeed(keel_store_session(world.store, &session, &why));
	assert_int_equal(acquire("n"), 1);
	assert_int_equal(lease.expires_at, world.time + 10 * SECOND);
	assert_int_equal(lease.session_id, session);
	assert_true(lease.held && !lease.released);
	assert_int_equal(try_acquire(world.store, "m"), KEEL_OK);
	assert_string_equal(lease.owner, "other");
	world.options.owner = "me";
	reopen_store();
	acquire("n");
	assert_string_equal(lease.owner, "me");
}

/* OWN-14 */
/* One holder a name: others are told who and until when, the holder itself is refused too, other names are free. */
TEST(one_holder_a_name)
{
	struct keel_store *second = open_another();
	succeed(try_acquire(second, "n"));
	refuse(LEASE_HELD, try_acquire(world.store, "n"));
	assert_true(lease.held && lease.token == 1 && lease.expires_at == world.time + 10 * SECOND);
	assert_string_equal(lease.owner, "other");
	assert_true(strstr(why.message, "other holds the lease n until") && !why.transient);
	refuse(LEASE_HELD, try_acquire(second, "n"));
	assert_int_equal(acquire("m"), 1);
	keel_store_close(second);
}

/* OWN-14 */
/* Tokens of a name only grow: after release, expiry, the session's end and reopening. Each name counts for itself. */
TEST(tokens_only_grow)
{
	assert_int_equal(acquire("n"), 1);
	succeed(release(world.store, "n", 1));
	assert_int_equal(acquire("n"), 2);
	world.time += 11 * SECOND;
	assert_int_equal(acquire("n"), 3);
	reopen_store();
	assert_int_equal(acquire("n"), 4);
	succeed(release(world.store, "n", 4));
	reopen_store();
	assert_int_equal(look("n").token, 4);
	assert_int_equal(acquire("n"), 5);
	assert_int_equal(acquire("m"), 1);
}

/* A refused acquire burns no token. */
TEST(refusals_burn_no_token)
{
	acquire("n");
	for (int i = 0; i < 3; i++)
		refuse(LEASE_HELD, try_acquire(world.store, "n"));
	succeed(release(world.store, "n", 1));
	assert_int_equal(acquire("n"), 2);
}

/* --- Ending ------------------------------------------------------------------------------------------------------ */

/* OWN-14 */
/* Release frees at once, and only once. */
TEST(release_frees_at_once)
{
	struct keel_store *second = open_another();
	acquire("n");
	succeed(release(world.store, "n", 1));
	assert_true(!look("n").held && lease.released);
	assert_int_equal(acquire_in(second, "n"), 2);
	refuse(STALE_OWNER, release(world.store, "n", 1));
	assert_true(look("n").held);
	keel_store_close(second);
}

/* OWN-14 */
/* Expiry frees, at the microsecond and not before. F-16: for a handle that has watched it for so long. */
TEST(expiry_frees_later)
{
	struct keel_store *second = open_another();
	acquire("n");
	refuse(LEASE_HELD, try_acquire(second, "n"));
	world.time += 10 * SECOND - 1;
	assert_true(look("n").held);
	refuse(LEASE_HELD, try_acquire(second, "n"));
	world.time += 1;
	assert_false(look("n").held);
	struct keel_store *third = open_another();
	refuse(LEASE_HELD, try_acquire(third, "n"));
	assert_int_equal(acquire_in(second, "n"), 2);
	keel_store_close(third);
	keel_store_close(second);
}

/* OWN-14 */
/* The end of a session frees what it held at once: closed, and killed. */
TEST(dead_sessions_hold_nothing)
{
	struct keel_store *second = open_another();
	acquire_in(second, "n");
	keel_store_close(second);
	assert_false(look("n").held);
	assert_int_equal(acquire("n"), 2);
	succeed(release(world.store, "n", 2));

	struct child child = start("holder", world.path, NULL);
	ask(&child, "acquire", "3");
	refuse(LEASE_HELD, try_acquire(world.store, "n"));
	kill_child(&child);
	assert_int_equal(acquire("n"), 4);
}

/* OWN-14 */
/* A dead session is tidied away, and its lease is as free as before. */
TEST(tidying_frees_too)
{
	struct keel_store *second = open_another();
	acquire_in(second, "n");
	int64_t session = lease.session_id;
	keel_store_close(second);
	close_store();
	raw("DELETE FROM sessions");
	reopen_store();
	assert_int_equal(look("n").session_id, session);
	assert_false(lease.held);
	assert_int_equal(acquire("n"), 2);
}

/* --- Renewing ---------------------------------------------------------------------------------------------------- */

/* Renewing moves the end, also to an earlier time, and keeps the token. */
TEST(renewing_moves_the_end)
{
	int64_t expires_at;
	acquire("n");
	world.time += 5 * SECOND;
	succeed(renew(world.store, "n", 1));
	assert_true(look("n").expires_at == world.time + 10 * SECOND && lease.token == 1);
	succeed(keel_lease_renew(world.store, text("n"), 1, SECOND, &expires_at, &why));
	assert_int_equal(expires_at, world.time + SECOND);
	assert_true(look("n").held);
	world.time += SECOND;
	assert_false(look("n").held);
}

/* OWN-14 */
/* A stale holder's renew and release fail and change nothing: after a release, and after another grant. */
TEST(stale_holders_are_refused)
{
	struct keel_store *second = open_another();
	acquire("n");
	refuse(LEASE_HELD, try_acquire(second, "n"));
	world.time += 10 * SECOND;
	acquire_in(second, "n");
	int64_t expires_at = lease.expires_at;
	world.time += SECOND;
	refuse(STALE_OWNER, renew(world.store, "n", 1));
	refuse(STALE_OWNER, release(world.store, "n", 1));
	/* Nor with the newest token, which is the other session's. */
	refuse(STALE_OWNER, renew(world.store, "n", 2));
	refuse(STALE_OWNER, release(world.store, "n", 2));
	assert_true(look("n").held && lease.token == 2 && lease.expires_at == expires_at);
	succeed(release(second, "n", 2));
	refuse(STALE_OWNER, renew(second, "n", 2));
	refuse(STALE_OWNER, renew(second, "never", 1));
	refuse(STALE_OWNER, release(second, "n", 3));
	assert_true(look("n").released);
	keel_store_close(second);
}

/* A lease that has expired is renewed, and released, as long as nobody was granted the name. */
TEST(expired_leases_can_be_renewed)
{
	struct keel_store *second = open_another();
	acquire("n");
	world.time += 3600 * (int64_t)SECOND;
	succeed(renew(world.store, "n", 1));
	refuse(LEASE_HELD, try_acquire(second, "n"));
	world.time += 3600 * (int64_t)SECOND;
	succeed(release(world.store, "n", 1));
	keel_store_close(second);
}

/* --- Processes --------------------------------------------------------------------------------------------------- */

/* OWN-14 */
/* Between processes: one holder, release frees, a stale one is refused. */
TEST(processes)
{
	struct child one = start("holder", world.path, NULL), two = start("holder", world.path, NULL);
	ask(&one, "acquire", "1");
	ask(&two, "acquire", "lease_held");
	ask(&two, "renew", "stale_owner");
	ask(&one, "renew", "1");
	ask(&one, "release", "1");
	ask(&two, "acquire", "2");
	ask(&one, "renew", "stale_owner");
	ask(&one, "release", "stale_owner");
	ask(&two, "renew", "2");
	assert_int_equal(finish_child(&one), 0);
	assert_int_equal(finish_child(&two), 0);
	assert_int_equal(look("n").token, 2);
}

/* OWN-14 */
/* Four processes that compete never hold the name together, and each sees its tokens grow. */
TEST(competing_processes)
{
	struct child children[4];
	const char *file = in_folder("alone");
	for (int i = 0; i < 4; i++)
		children[i] = start("worker", world.path, file, NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(finish_child(&children[i]), 0);
	assert_int_equal(look("n").token, 80);
	assert_false(lease.held);
}

/* --- Transactions ------------------------------------------------------------------------------------------------ */

/* In a transaction a grant counts with the commit; a refusal leaves the transaction good. */
TEST(transactions)
{
	struct keel_store *second = open_another();
	acquire_in(second, "taken");
	succeed(keel_store_begin(world.store, &why));
	assert_int_equal(acquire("n"), 1);
	assert_true(look("n").held);
	keel_store_rollback(world.store);
	assert_int_equal(look("n").token, 0);

	succeed(keel_store_begin(world.store, &why));
	refuse(LEASE_HELD, try_acquire(world.store, "taken"));
	refuse(STALE_OWNER, renew(world.store, "taken", 1));
	assert_int_equal(acquire("n"), 1);
	succeed(renew(world.store, "n", 1));
	succeed(keel_store_commit(world.store, &why));
	assert_true(look("n").held);
	refuse(LEASE_HELD, try_acquire(second, "n"));
	keel_store_close(second);
}

/* --- Refusals ---------------------------------------------------------------------------------------------------- */

/* Names, owners and times that are none. */
TEST(bad_input)
{
	static char longer[KEEL_ID_MAX + 2];
	static const int64_t no_ttl[] = {0, -1, INT64_MIN};
	int64_t expires_at = 5;
	memset(longer, 'x', KEEL_ID_MAX + 1);
	const char *const bad[] = {"", longer, "a\nb", "\xFF"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		refuse_field("name", try_acquire(world.store, bad[i]));
		refuse_field("name", renew(world.store, bad[i], 1));
		refuse_field("name", release(world.store, bad[i], 1));
		refuse_field("name", keel_lease_get(world.store, text(bad[i]), &lease, &why));
		refuse_field("owner", keel_lease_acquire(world.store, text("n"), text(bad[i]), SECOND, &lease, &why));
		assert_int_equal(lease.token, 0);
	}
	for (size_t i = 0; i < sizeof no_ttl / sizeof no_ttl[0]; i++) {
		refuse_field("ttl", keel_lease_acquire(world.store, text("n"), nothing, no_ttl[i], &lease, &why));
		refuse_field("ttl", keel_lease_renew(world.store, text("n"), 1, no_ttl[i], &expires_at, &why));
		assert_int_equal(expires_at, 0);
	}
	assert_int_equal(raw_number("SELECT count(*) FROM leases"), 0);
}

/* The longest name and owner, and the longest time there is. */
TEST(limits)
{
	static char longest[KEEL_ID_MAX + 1];
	memset(longest, 'x', KEEL_ID_MAX);
	succeed(keel_lease_acquire(world.store, text(longest), text(longest), INT64_MAX, &lease, &why));
	assert_true(lease.expires_at == INT64_MAX && strcmp(lease.owner, longest) == 0);
	assert_true(look(longest).held && strcmp(lease.owner, longest) == 0);
	refuse(LEASE_HELD, try_acquire(world.store, longest));
	succeed(keel_lease_acquire(world.store, text("n"), nothing, 1, &lease, &why));
}

/* A read-only store can look, and no more. */
TEST(readonly_stores)
{
	acquire("n");
	world.options.readonly = true;
	struct keel_store *second = open_another();
	succeed(keel_lease_get(second, text("n"), &lease, &why));
	assert_true(lease.held && lease.token == 1);
	refuse(STORE_READONLY, try_acquire(second, "m"));
	refuse(STORE_READONLY, renew(second, "n", 1));
	refuse(STORE_READONLY, release(second, "n", 1));
	keel_store_close(second);
}

/* A damaged row is told as such, and found by verify: a token that cannot be, an owner that is too long. */
TEST(damaged_rows)
{
	acquire("n");
	world.damaged = true;
	raw("UPDATE leases SET token = 9223372036854775807");
	refuse(STORE_CORRUPT, try_acquire(world.store, "n"));
	refuse(STORE_CORRUPT, keel_lease_get(world.store, text("n"), &lease, &why));
	raw("UPDATE leases SET token = 0");
	refuse(STORE_CORRUPT, try_acquire(world.store, "n"));
	raw("UPDATE leases SET token = 1, owner = hex(zeroblob(129))");
	refuse(STORE_CORRUPT, try_acquire(world.store, "n"));
	assert_int_equal(lease.token, 0);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"holder", play_holder}, {"worker", play_worker}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_STORE(grants),
		WITH_STORE(one_holder_a_name),
		WITH_STORE(tokens_only_grow),
		WITH_STORE(refusals_burn_no_token),
		WITH_STORE(release_frees_at_once),
		WITH_STORE(expiry_frees_later),
		WITH_STORE(dead_sessions_hold_nothing),
		WITH_STORE(tidying_frees_too),
		WITH_STORE(renewing_moves_the_end),
		WITH_STORE(stale_holders_are_refused),
		WITH_STORE(expired_leases_can_be_renewed),
		WITH_STORE(processes),
		WITH_STORE(competing_processes),
		WITH_STORE(transactions),
		WITH_STORE(bad_input),
		WITH_STORE(limits),
		WITH_STORE(readonly_stores),
		WITH_STORE(damaged_rows),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
