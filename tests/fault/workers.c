/* workers.c - faults while runtimes, workers, transcripts and diagnostics change and are looked at, and while a store
 * is pruned, counted and copied. */
#include "support_fault.h"

#include <unistd.h>

static const struct keel_worker_ref ref = {{"rt", 2}, {"w", 1}};

static struct keel_worker_request request(const char *id)
{
	struct keel_worker_request request = request_of(id);
	request.config_bundle = text("{\"id\":\"b\"}");
	return request;
}

static struct keel_runtime runtime;
static struct keel_workers workers;
static struct keel_transcript part;
static struct keel_diagnostics diagnostics;

/* --- Changes ----------------------------------------------------------------------------------------------------- */

static void one_runtime(void)
{
	succeed(keel_runtime_open(world.store, text("rt"), NULL, &runtime, &why));
}

static void one_worker(void)
{
	struct keel_worker_request asked = request("w");
	struct keel_input input = {.role = text("user"), .content = text("hi"), .idempotency_key = text("first")};
	struct keel_input_ack ack;
	bool reused;
	one_runtime();
	succeed(keel_worker_create(world.store, text("rt"), &asked, &workers, &reused, &why));
	succeed(keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why));
}

static enum keel_code open_runtime(void)
{
	struct keel_runtime_options options = {.display_name = text("The \"sheep\""), .max_event_batch_items = 7};
	enum keel_code code = keel_runtime_open(world.store, text("rt"), &options, &runtime, &why);
	if (code == KEEL_OK)
		answer("%s %lld", runtime.display_name, (long long)runtime.event_id);
	return code;
}

static enum keel_code create(void)
{
	struct keel_worker_request asked = request("v");
	bool reused = false;
	asked.idempotency_key = text("k");
	enum keel_code code = keel_worker_create(world.store, text("rt"), &asked, &workers, &reused, &why);
	if (code == KEEL_OK)
		answer("%s %lld", workers.items[0].worker_id.data, (long long)workers.items[0].last_event_id);
	else
		must(workers.count == 0 && !reused);
	return code;
}

static enum keel_code send(void)
{
	struct keel_input input = {.role = text("user"), .content = text("\xF0\x9F\x90\x91 hello"), .run_id = text("r")};
	struct keel_input_ack ack;
	input.idempotency_key = text("k");
	enum keel_code code = keel_worker_send(world.store, text("rt"), ref, &input, &ack, &why);
	if (code == KEEL_OK)
		answer("%lld %lld", (long long)ack.transcript_sequence, (long long)ack.event_id);
	return code;
}

static enum keel_code cancel(void)
{
	struct keel_worker_ack ack;
	enum keel_code code = keel_worker_end(world.store, text("rt"), ref, KEEL_WORKER_CANCELLED, text("no"), &ack, &why);
	if (code == KEEL_OK)
		answer("%d %lld", ack.status, (long long)ack.event_id);
	return code;
}

static enum keel_code stop(void)
{
	int64_t event_id;
	enum keel_code code = keel_runtime_stop(world.store, text("rt"), &event_id, &why);
	if (code == KEEL_OK)
		answer("%lld", (long long)event_id);
	return code;
}

static enum keel_code record(void)
{
	struct keel_diagnostic diagnostic = {
		.severity = text("info"), .code = text("c"), .message = text("m"), .worker_id = text("w")};
	int64_t id;
	enum keel_code code = keel_diagnostic_record(world.store, text("rt"), &diagnostic, &id, &why);
	if (code == KEEL_OK)
		answer("%lld", (long long)id);
	return code;
}

/* --- Housekeeping ------------------------------------------------------------------------------------------------ */

static void much_that_ended(void)
{
	one_worker();
	succeed(record());
	succeed(cancel());
	put_with_status("a", "t", KEEL_RUN_SUCCESS);
	change_status("a", KEEL_RUN_SUCCESS);
	put_pending("b", "t");
	world.time += 1000000;
}

/* Until all is done: what the rounds of a sweep leave is compared. */
static enum keel_code prune(void)
{
	struct keel_prune asked = {.before = world.time,
							   .runs = 1u << KEEL_RUN_SUCCESS,
							   .workers = 1u << KEEL_WORKER_STOPPED | 1u << KEEL_WORKER_CANCELLED};
	struct keel_pruned pruned;
	return keel_store_prune(world.store, &asked, &pruned, &why);
}

static enum keel_code look_what_would_go(void)
{
	struct keel_prune asked = {.before = world.time,
							   .dry = true,
							   .runs = 1u << KEEL_RUN_SUCCESS,
							   .workers = 1u << KEEL_WORKER_STOPPED | 1u << KEEL_WORKER_CANCELLED};
	struct keel_pruned pruned;
	enum keel_code code = keel_store_prune(world.store, &asked, &pruned, &why);
	if (code == KEEL_OK)
		answer("%lld %lld %lld", (long long)pruned.runs, (long long)pruned.workers, (long long)pruned.events);
	return code;
}

static enum keel_code stats(void)
{
	struct keel_stats counted;
	enum keel_code code = keel_store_stats(world.store, &counted, &why);
	if (code == KEEL_OK)
		answer("%lld %lld %lld", (long long)counted.workers, (long long)counted.entries,
			   (long long)counted.event_high_water);
	return code;
}

static enum keel_code measure(void)
{
	struct keel_metrics metrics = {.handlers = NULL};
	enum keel_code code = keel_store_metrics(world.store, 10, 300000000, &metrics, &why);
	must(code == KEEL_OK || (metrics.count == 0 && !metrics.handlers && !metrics.memory));
	if (code == KEEL_OK)
		answer("%lld %lld %zu", (long long)metrics.runs[KEEL_RUN_PENDING], (long long)metrics.created, metrics.count);
	keel_metrics_clear(&metrics);
	return code;
}

static enum keel_code backup(void)
{
	const char *path = in_folder("copy.db");
	enum keel_code code = keel_store_backup(world.store, path, &why);
	must(file_exists(path) == (code == KEEL_OK)); /* a whole one, or none: its parts have another name */
	unlink(path);
	return code;
}

static enum keel_code copy(void)
{
	const char *path = in_folder("copy.db");
	enum keel_code code = keel_store_copy(world.store, path, false, &why);
	must(file_exists(path) == (code == KEEL_OK));
	unlink(path);
	return code;
}

static enum keel_code compact(void)
{
	int64_t freed;
	return keel_store_compact(world.store, &freed, &why);
}

/* --- Looks ------------------------------------------------------------------------------------------------------- */

static void noticed(void)
{
	one_worker();
	succeed(record());
}

static enum keel_code list(void)
{
	struct keel_worker_query query = {.limit = 10};
	enum keel_code code = keel_worker_list(world.store, text("rt"), &query, &workers, &why);
	answer("%zu", workers.count);
	return code;
}

static enum keel_code project(void)
{
	enum keel_code code = keel_transcript_read(world.store, text("rt"), ref, 0, KEEL_LIMIT_OF_RUNTIME, &part, &why);
	if (code == KEEL_OK)
		answer("%zu %s", part.count, part.items[0].content.data);
	return code;
}

static enum keel_code list_diagnostics(void)
{
	enum keel_code code = keel_diagnostic_list(world.store, text("rt"), 0, 10, &diagnostics, &why);
	if (code == KEEL_OK)
		answer("%zu %s", diagnostics.count, diagnostics.items[0].worker_id.data);
	return code;
}

static void clear(void)
{
	keel_workers_clear(&workers);
	keel_transcript_clear(&part);
	keel_diagnostics_clear(&diagnostics);
}

static const struct operation operations[] = {
	{"opening a new runtime", 0, NULL, NULL, open_runtime, clear},
	{"opening a known runtime", LITTLE_SQL, one_runtime, NULL, open_runtime, clear},
	{"creating a worker", 0, one_runtime, NULL, create, clear},
	{"an input", 0, one_worker, NULL, send, clear},
	{"cancelling a worker", 0, one_worker, NULL, cancel, clear},
	{"stopping a runtime", 0, one_worker, NULL, stop, clear},
	{"a diagnostic", 0, one_worker, NULL, record, clear},
	{"pruning", 0, much_that_ended, NULL, prune, clear},
	{"looking what would be pruned", READS | LITTLE_SQL, much_that_ended, NULL, look_what_would_go, clear},
	{"counting", READS | LITTLE_SQL, one_worker, NULL, stats, clear},
	{"metrics", READS, much_that_ended, NULL, measure, clear},
	{"a backup", READS, one_worker, NULL, backup, clear},
	{"a copy", READS, one_worker, NULL, copy, clear},
	{"making it compact", READS | TRANSACTS | LITTLE_SQL, much_that_ended, NULL, compact, clear},
	{"listing workers", READS | LITTLE_SQL, one_worker, NULL, list, clear},
	{"a projection", READS, one_worker, NULL, project, clear},
	{"listing diagnostics", READS | LITTLE_SQL, noticed, NULL, list_diagnostics, clear},
};

int main(void)
{
	return SWEEP("workers", operations);
}
