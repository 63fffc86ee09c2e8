/* limits.c - what slots, rates and pauses cost, however many runs are blocked by them.
 *
 * KEEL_MANY: how many are many; 10000 unless given.
 */
#include "support.h"

#include <sqlite3.h>

static struct keel_runs claimed;
static const struct keel_claim anything = {.limit = 1000};

static const char *claim(void)
{
	succeed(keel_run_claim_next(world.store, &anything, &claimed, &why));
	return claimed.count ? claimed.items[0].run_id.data : "";
}

static void put_wanting(const char *run_id, const char *thread_id, const char *slots, const char *rates)
{
	struct keel_run run = run_of(run_id, thread_id);
	SET(&run, CLAIMABLE, claimable, 1);
	if (slots)
		SET(&run, SLOTS, slots, text(slots));
	if (rates)
		SET(&run, RATES, rates, text(rates));
	put(&run);
}

static void set_pause(const char *name, bool paused)
{
	struct keel_limit_change change = {.gives_paused = true, .paused = paused};
	bool changed;
	succeed(keel_limit_set(world.store, text(name), &change, &changed, &why));
}

static int many(void)
{
	const char *given = getenv("KEEL_MANY");
	return given ? atoi(given) : 10000;
}

/* --- Ways to be blocked ------------------------------------------------------------------------------------------ */

/* What blocks all of them; a slot in their way is held by "holder". */
struct way {
	const char *name;
	const char *slots[2]; /* by turns */
	const char *rates;
	const char *paused;
};
static const struct way ways[] = {
	{"a slot", {"1 gpu", "1 gpu"}, NULL, NULL},
	{"two slots", {"1 gpu\n9 net", "9 net\n1 gpu"}, NULL, NULL},
	{"a rate", {NULL, NULL}, "1 1000000000 gpu", NULL},
	{"a pause", {"1 gpu", "1 gpu"}, NULL, "gpu"},
	{"a thread that is paused", {NULL, NULL}, NULL, "thread:t"},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void fill(const struct way *way, int count)
{
	char id[32];
	if (!way->paused) {
		put_wanting("holder", "u", way->rates ? NULL : "1 gpu", way->rates);
		assert_string_equal(claim(), "holder");
	} else {
		set_pause(way->paused, true);
	}
	succeed(keel_store_begin(world.store, &why));
	for (int i = 0; i < count; i++) {
		snprintf(id, sizeof id, "r%06d", i);
		bool is_pause_of_slot = way->paused && way->slots[1];
		put_wanting(id, "t", is_pause_of_slot ? way->slots[1] : way->slots[i % 2], way->rates);
	}
	succeed(keel_store_commit(world.store, &why));
}

/* What blocks them is over for one. */
static void let_one_go(const struct way *way)
{
	if (way->rates)
		world.time += 1000000000;
	else if (way->paused)
		set_pause(way->paused, false);
	else
		change_status("holder", KEEL_RUN_SUCCESS);
}

struct costs {
	int64_t nothing, newcomer, one, next;
};

static struct costs count(const struct way *way, int blocked)
{
	struct costs costs;
	sqlite3 *db = last_connection;
	fill(way, blocked);
	assert_string_equal(claim(), "");
	put_wanting("warm", "v", NULL, NULL);
	assert_string_equal(claim(), "warm");
	(void)steps_of(db);
	assert_string_equal(claim(), "");
	costs.nothing = steps_of(db);
	put_wanting("free", "v", NULL, NULL);
	(void)steps_of(db);
	assert_string_equal(claim(), "free");
	costs.newcomer = steps_of(db);
	let_one_go(way);
	costs.one = steps_of(db);
	assert_string_equal(claim(), "r000000");
	costs.one += steps_of(db);
	change_status("r000000", KEEL_RUN_SUCCESS);
	if (way->rates)
		world.time += 1000000000;
	assert_string_equal(claim(), "r000001");
	costs.next = steps_of(db);
	keel_runs_clear(&claimed);
	return costs;
}

static bool is_flat(const char *way, const char *what, int64_t few, int64_t more)
{
	print_message("%s, %s: %lld and %lld steps\n", way, what, (long long)few, (long long)more);
	return more <= few + few / 10;
}

/* GATE-10 */
/* Beside ten runs that are blocked by the same and beside very many it costs the same to find that nothing can start,
 * to take a newcomer that can, to take one when what blocked it is over, and the next one when that has ended. */
TEST(blocked_runs_cost_nothing)
{
	int uneven = 0;
	for (int i = 0; i < WAYS; i++) {
		struct costs few, more;
		few = count(&ways[i], 10);
		must(world_close(state) == 0);
		must(world_open(state) == 0);
		more = count(&ways[i], many());
		uneven += !is_flat(ways[i].name, "nothing to take", few.nothing, more.nothing);
		uneven += !is_flat(ways[i].name, "a newcomer", few.newcomer, more.newcomer);
		uneven += !is_flat(ways[i].name, "the first that may go", few.one, more.one);
		uneven += !is_flat(ways[i].name, "an end and the next", few.next, more.next);
		must(world_close(state) == 0);
		must(world_open(state) == 0);
	}
	assert_int_equal(uneven, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {WITH_STORE(blocked_runs_cost_nothing)};
	return cmocka_run_group_tests_name("limits", tests, watch_connections, NULL);
}
