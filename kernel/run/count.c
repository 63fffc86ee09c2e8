/* count.c - how many runs and starts there are: what strategies ask, and the rows that are counted then. Uses: core,
 * starts, transaction.
 */
#include "run/count.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/text.h"
#include "run/line.h"
#include "run/starts.h"
#include "store/transaction.h"

/* What a row of `counted` is about. */
enum about { OF_USER = 1, FOR_HANDLER = 2, OF_BATCH = 3 };

/* --- Rows --------------------------------------------------------------------------------------------------------- */

static bool is_machine(struct keel_text thread_id)
{
	const size_t size = sizeof KEEL_MACHINE_PREFIX - 1;
	return thread_id.size > size && memcmp(thread_id.data, KEEL_MACHINE_PREFIX, size) == 0;
}

/* Whether a run is running, or only pending; -1: it is not in flight, and not counted. */
static int is_running(const struct keel_run_core *core)
{
	if (!core || core->status >= KEEL_RUN_SUCCESS || is_machine(core->thread_id))
		return -1;
	return core->status == KEEL_RUN_RUNNING;
}

struct row {
	struct keel_text id;
	int running;
};

static struct row row_of(const struct keel_run_core *core, enum about what)
{
	struct row row = {{NULL, 0}, is_running(core)};
	if (row.running >= 0)
		row.id = what == OF_USER ? core->user_id : what == FOR_HANDLER ? core->handler : core->batch_id;
	return row;
}

static enum keel_code change_row(struct keel_store *store, enum about what, int64_t seq, struct row before,
								 struct row after, struct keel_error *err)
{
	static const char insert[] = "INSERT INTO counted (what, id, running, seq) VALUES (?1, ?2, ?3, ?4)";
	static const char drop[] = "DELETE FROM counted WHERE what = ?1 AND id = ?2 AND running = ?3 AND seq = ?4";
	static const char move[] =
		"UPDATE counted SET running = 1 - ?3 WHERE what = ?1 AND id = ?2 AND running = ?3 AND seq = ?4";
	bool same = before.id.data && after.id.data && keel_text_same(before.id, after.id);
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(seq > 0);
	if (same && before.running == after.running)
		return KEEL_OK;
	if (before.id.data)
		code = keel_execute(store, same ? move : drop, err, keel_value_int((int64_t)what), keel_value_text(before.id),
							keel_value_int(before.running), keel_value_int(seq));
	if (code == KEEL_OK && after.id.data && !same)
		code = keel_execute(store, insert, err, keel_value_int((int64_t)what), keel_value_text(after.id),
							keel_value_int(after.running), keel_value_int(seq));
	return code;
}

enum keel_code keel_counted_change(struct keel_store *store, const struct keel_run_core *before,
								   const struct keel_run_core *after, struct keel_error *err)
{
	int64_t seq = before ? before->seq : after->seq;
	enum keel_code code = KEEL_OK;
	KEEL_ASSERT(store->sql->driver->in_transaction(store->sql));
	for (enum about what = OF_USER; code == KEEL_OK && what <= OF_BATCH; what++)
		code = change_row(store, what, seq, row_of(before, what), row_of(after, what), err);
	return code;
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

/* What a question names, and the statement that counts it: ?1 the name, ?2 to ?3 the states, ?4 the most. */
struct question {
	struct keel_text id;
	const char *field, *text;
	int64_t from, to;
};

#define COUNT(rows) "SELECT count(*) FROM (SELECT 1 FROM " rows " LIMIT ?4) AS found"
#define COUNT_OF(number) COUNT("counted WHERE what = " number " AND id = ?1 AND running BETWEEN ?2 AND ?3")
static const char of_user[] = COUNT_OF("1"), for_handler[] = COUNT_OF("2"), of_batch[] = COUNT_OF("3");
static const char of_slot[] = COUNT("holds WHERE name = ?1 AND state BETWEEN ?2 AND ?3");
static const char of_thread[] = COUNT("live WHERE thread_id = ?1 AND status BETWEEN ?2 AND ?3");
static const char of_all[] = COUNT("live WHERE thread_id >= ?1 AND status BETWEEN ?2 AND ?3");
static const char all_running[] = COUNT("live WHERE session_id >= 0 AND thread_id >= ?1 AND status BETWEEN ?2 AND ?3");
static const char for_default[] = /* most runs name no handler: they are not told again, but looked for */
	COUNT("live AS l JOIN runs AS r ON r.seq = l.seq WHERE coalesce(r.handler, ?1) = ?1 AND l.status BETWEEN ?2 AND ?3"
		  " AND coalesce(r.operation_kind, 'run') <> 'dispatch'");
static const char of_rate[] = COUNT("starts WHERE name = ?1 AND at > ?2 AND at <= ?3");

/* Chooses the statement of a question; those that count `live` know a pending run by several numbers. */
static enum keel_code choose(const struct keel_count_query *query, struct question *question, struct keel_error *err)
{
	const struct question each[] = {
		{query->user_id, "user_id", of_user, 0, 0},       {query->handler, "handler", for_handler, 0, 0},
		{query->batch_id, "batch_id", of_batch, 0, 0},    {query->slot, "slot", of_slot, 0, 0},
		{query->thread_id, "thread_id", of_thread, 0, 0}, {query->rate, "rate", of_rate, 0, 0}};
	bool running = query->count == KEEL_COUNT_RUNNING, started = query->count == KEEL_COUNT_STARTED;
	*question = (struct question){keel_text_of(""), NULL, running ? all_running : of_all, 0, 0};
	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
		if (!each[i].id.data)
			continue;
		if (question->field)
			return keel_fail_field(err, each[i].field, "a question has one filter, and this has %s and %s",
								   question->field, each[i].field);
		*question = each[i];
	}
	if (started != (question->text == of_rate) || (started && query->per_us <= 0))
		return keel_fail_field(err, started && query->rate.data ? "per" : "rate",
							   "starts are counted by rate and per, and nothing else is");
	if (question->text == for_handler && keel_text_is(question->id, KEEL_HANDLER_DEFAULT))
		question->text = for_default;
	if ((unsigned)query->count > KEEL_COUNT_STARTED)
		return keel_fail_field(err, "count", "count %d is unknown", (int)query->count);
	bool is_live = question->text == of_thread || question->text == of_all || question->text == for_default;
	question->from = running ? KEEL_RUN_RUNNING : is_live ? KEEL_LIVE_LIMITED : 0;
	question->to = query->count == KEEL_COUNT_PENDING ? 0 : KEEL_RUN_RUNNING;
	return question->field ? keel_check_id(question->id, question->field, err) : KEEL_OK;
}

/* Sees to it that starts are kept for as long as they are asked for. */
static enum keel_code keep_starts(struct keel_store *store, const struct keel_count_query *query,
								  struct keel_error *err)
{
	if (!keel_store_in_transaction(store))
		return KEEL_OK;
	enum keel_code code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = keel_starts_keep(store, query->rate, query->per_us, err);
	return keel_write_end(store, code, true, err);
}

enum keel_code keel_run_count(struct keel_store *store, const struct keel_count_query *query, int64_t *count,
							  struct keel_error *err)
{
	struct question question = {.from = 0};
	struct keel_statement *select;
	*count = 0;
	enum keel_code code = choose(query, &question, err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	if (code == KEEL_OK && query->count == KEEL_COUNT_STARTED) {
		int64_t now = keel_store_now(store);
		question.from = now < INT64_MIN + query->per_us ? INT64_MIN : now - query->per_us;
		question.to = INT64_MAX; /* the clock may have been set back */
		code = keep_starts(store, query, err);
	}
	if (code == KEEL_OK)
		code = keel_query(store, question.text, &select, err, keel_value_text(question.id),
						  keel_value_int(question.from), keel_value_int(question.to), keel_value_int(KEEL_COUNTED_MAX));
	if (code == KEEL_OK)
		code = keel_first_number(store, select, NULL, count, err);
	KEEL_ASSERT(code != KEEL_OK || (*count >= 0 && *count <= KEEL_COUNTED_MAX));
	return code;
}
