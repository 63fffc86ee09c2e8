/* handle.c - an open store as its users see it: whether it may be used, its names, its times. Uses: sql, watched. */
#include "store/handle.h"

#include <errno.h>
#include <time.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"

bool keel_store_usable(const struct keel_store *store)
{
	return !store->side.forked;
}

enum keel_code keel_store_check_usable(const struct keel_store *store, struct keel_error *err)
{
	if (!store->side.forked)
		return KEEL_OK;
	const char *path = keel_store_path(store);
	return keel_fail(err, KEEL_FORKED, "%s was opened before this process was forked: " KEEL_FORK_ADVICE,
					 path[0] ? path : "the store in memory");
}

enum keel_code keel_store_check(struct keel_store *store, struct keel_error *err)
{
	enum keel_code code = keel_store_check_usable(store, err);
	if (code != KEEL_OK)
		return code;
	/* Some failures, of a read too, make the database roll back by itself: what follows must not be committed piece by
	 * piece outside of the transaction. */
	if (store->open && store->broken == KEEL_OK && !store->sql->driver->in_transaction(store->sql))
		store->broken = KEEL_IO;
	if (store->open && store->broken != KEEL_OK)
		return keel_fail(err, store->broken, "the transaction failed before and can only be rolled back");
	return KEEL_OK;
}

bool keel_store_in_transaction(const struct keel_store *store)
{
	return store->open;
}

const char *keel_store_backend(const struct keel_store *store)
{
	return keel_store_path(store)[0] ? store->sql->driver->name : "memory";
}

const char *keel_store_path(const struct keel_store *store)
{
	return store->sql->driver->path(store->sql);
}

const char *keel_store_epoch(const struct keel_store *store)
{
	return store->epoch;
}

int64_t keel_store_now(const struct keel_store *store)
{
	return store->options.clock.now(store->options.clock.data);
}

int64_t keel_store_watched(struct keel_store *store, enum keel_watched_kind kind, int64_t key,
						   struct keel_watched_state state)
{
	return keel_watched_for(&store->watched, kind, key, state,
							store->options.monotonic.now(store->options.monotonic.data));
}

int64_t keel_store_after(const struct keel_store *store, int64_t duration_us)
{
	int64_t now = keel_store_now(store);
	KEEL_ASSERT(duration_us >= 0);
	return now > 0 && duration_us > INT64_MAX - now ? INT64_MAX : now + duration_us;
}

enum keel_code keel_store_new_id(struct keel_store *store, char id[KEEL_UUID_SIZE], struct keel_error *err)
{
	enum keel_code code = store->options.ids.next(store->options.ids.data, id);
	return code == KEEL_OK ? code : keel_fail(err, code, "the source of ids failed");
}

void keel_system_sleep(void *data, int64_t duration_us)
{
	(void)data;
	struct timespec left = {.tv_sec = duration_us / 1000000, .tv_nsec = duration_us % 1000000 * 1000};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

enum {
	ASKED_US = 500,   /* between two looks at the answer of a server: it takes nobody's time but ours */
	AWAIT_US = 50000, /* for it: whoever has us wait may be interrupted meanwhile */
};

/* Whether a server has been asked for the locks, and will answer. */
static bool is_asking(const struct keel_store *store)
{
	return store->sql && store->sql->driver->asks && store->sql->driver->asks(store->sql, NULL);
}

int64_t keel_store_retry_us(const struct keel_store *store)
{
	return is_asking(store) ? ASKED_US : keel_turn_step(&store->turn);
}

void keel_store_pause(struct keel_store *store, int64_t limit_us)
{
	int64_t step = is_asking(store) ? AWAIT_US : keel_turn_step(&store->turn);
	step = step < limit_us ? step : limit_us;
	if (is_asking(store))
		store->sql->driver->await(store->sql, step);
	else
		keel_system_sleep(NULL, step);
}

bool keel_store_wait(struct keel_store *store, int64_t *deadline)
{
	int64_t now = keel_monotonic_us();
	if (*deadline == 0)
		*deadline = keel_later(now, store->options.lock_timeout_us);
	if (now >= *deadline)
		return false;
	int64_t step = keel_store_retry_us(store);
	KEEL_ASSERT(step > 0 && !store->open);         /* whoever waits has nothing open that others wait for */
	if (store->options.sleep == keel_system_sleep) /* nobody else waits here: the answer may end it */
		keel_store_pause(store, *deadline - now);
	else
		store->options.sleep(store->options.sleep_data, step < *deadline - now ? step : *deadline - now);
	return true;
}

void keel_store_watch(struct keel_store *store, keel_progress *progress, void *data)
{
	store->progress = progress;
	store->progress_data = data;
}

void *keel_store_keep(struct keel_store *store, size_t size, void (*release)(struct keel_kept *kept))
{
	struct keel_kept *kept = store->kept;
	KEEL_ASSERT(size >= sizeof *kept);
	while (kept && kept->release != release)
		kept = kept->next;
	if (kept)
		return kept;
	kept = keel_new(size);
	if (!kept)
		return NULL;
	kept->release = release;
	kept->next = store->kept;
	store->kept = kept;
	return kept;
}

void keel_store_release_kept(struct keel_store *store)
{
	while (store->kept) {
		struct keel_kept *kept = store->kept;
		store->kept = kept->next;
		kept->release(kept);
		keel_free(kept);
	}
}
