/* wait.c - waiting until there is something to read. Uses: event, store, wake. */
#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"
#include "event/event.h"
#include "store/session.h"

struct keel_event_waiter {
	struct keel_waiter waiter;
	struct keel_store *store; /* looked at by looks only, so that it may be closed first */
	int64_t next_event_id;
	bool ready; /* it is there */
};

static enum keel_code check(struct keel_store *store, int64_t next_event_id, struct keel_error *err)
{
	if (next_event_id < 1)
		return keel_fail_field(err, "cursor", "next_event_id must be at least 1");
	enum keel_code code = keel_store_check(store, err);
	if (code == KEEL_OK && store->open)
		code = keel_fail(err, KEEL_BUSY, "this handle has a transaction open: what it waits for could not come");
	return code;
}

static enum keel_code listen_to_server(struct keel_store *store, bool *listens, struct keel_error *err)
{
	const struct keel_sql_driver *driver = store->sql->driver;
	*listens = true;
	return !driver->listen
			   ? KEEL_OK
			   : driver->listen(store->sql, keel_wake_use_server(&store->wake) ? store->wake.event : -1, listens, err);
}

/* With a lost connection went the session, and what it owned is an orphan until there is another. Who waits may write
 * nothing for long; so it is made here. What keeps it from being made is tried again by the next look. */
static void regain_session(struct keel_store *store)
{
	int64_t session;
	keel_session_check(store);
	if (store->lost)
		keel_store_session(store, &session, NULL);
}

static enum keel_code look(struct keel_store *store, int64_t next_event_id, bool *ready, struct keel_error *err)
{
	int64_t low, newest = 0;
	*ready = false;
	enum keel_code code = keel_files_check(store, err);
	if (code == KEEL_OK)
		code = keel_event_ends(store, &low, &newest, err);
	*ready = code == KEEL_OK && newest >= next_event_id;
	if (*ready)
		keel_wake_rest(&store->wake);
	if (code == KEEL_OK)
		regain_session(store);
	return code;
}

enum keel_code keel_event_waiter_open(struct keel_store *store, int64_t next_event_id, struct keel_event_waiter **out,
									  struct keel_error *err)
{
	*out = NULL;
	enum keel_code code = check(store, next_event_id, err);
	if (code != KEEL_OK)
		return code;
	bool listens; /* else a look tries again */
	struct keel_error why;
	code = listen_to_server(store, &listens, &why);
	if (code != KEEL_OK && !why.transient)
		return keel_fail_as(err, code, &why);
	struct keel_event_waiter *self = keel_new(sizeof *self);
	if (!self)
		return keel_fail_memory(err);
	self->store = store;
	self->next_event_id = next_event_id;
	code = keel_waiter_start(&self->waiter, &store->wake, store->wake_path, err);
	if (code != KEEL_OK) {
		keel_free(self);
		return code;
	}
	*out = self;
	return KEEL_OK;
}

enum keel_code keel_event_waiter_look(struct keel_event_waiter *self, bool *ready, struct keel_error *err)
{
	struct keel_store *store = self->store;
	*ready = false;
	if (store->side.forked)
		return keel_store_check(store, err);
	if (self->ready) {
		*ready = true;
		return KEEL_OK;
	}
	/* What a transaction of the handle has written so far is not news yet: its end is a wake-up. */
	if (!store->open && store->sql->driver->news) {
		keel_session_check(store);
		store->wake.count += store->sql->driver->news(store->sql);
	}
	if (store->open || !keel_waiter_due(&self->waiter, &store->wake, store->wake_path))
		return KEEL_OK;
	/* A connection that was made anew does not listen yet. */
	bool listens;
	enum keel_code code = listen_to_server(store, &listens, err);
	if (code == KEEL_OK)
		code = look(store, self->next_event_id, ready, err);
	self->ready = *ready;
	if (code != KEEL_OK)
		keel_waiter_again(&self->waiter);
	else if (!listens)
		keel_waiter_poll(&self->waiter);
	return code;
}

void keel_event_waiter_move(struct keel_event_waiter *self, int64_t next_event_id)
{
	next_event_id = next_event_id < 1 ? 1 : next_event_id;
	if (next_event_id == self->next_event_id)
		return;
	self->next_event_id = next_event_id;
	self->ready = false;
	self->waiter.started = false; /* what has woken it was for another */
}

int keel_event_waiter_descriptor(struct keel_event_waiter *self)
{
	if (self->store->side.forked)
		return -1;
	return keel_waiter_descriptor(&self->waiter, &self->store->wake, self->store->wake_path);
}

void keel_event_waiter_close(struct keel_event_waiter *self)
{
	if (!self)
		return;
	keel_waiter_end(&self->waiter);
	keel_free(self);
}

enum keel_code keel_event_wait(struct keel_store *store, int64_t next_event_id, int64_t timeout_us, bool *ready,
							   struct keel_error *err)
{
	struct keel_event_waiter *self = NULL;
	struct keel_error why;
	int64_t deadline = keel_later(keel_monotonic_us(), timeout_us);
	*ready = false;
	if (timeout_us < 0)
		return keel_fail_field(err, "timeout", "must be at least 0");
	enum keel_code code = check(store, next_event_id, err);
	if (code != KEEL_OK)
		return code;
	code = timeout_us > 0 && keel_wake_rests(&store->wake) ? KEEL_OK : look(store, next_event_id, ready, &why);
	if (*ready || timeout_us == 0 || (code != KEEL_OK && !why.transient))
		return keel_fail_as(err, code, &why);
	if (!store->wake_path && !store->wake.server && deadline == INT64_MAX)
		return keel_fail_field(err, "timeout", "a wait on a store in memory that blocks would never end");
	code = keel_event_waiter_open(store, next_event_id, &self, err);
	if (code != KEEL_OK)
		return code;
	for (;;) {
		code = keel_event_waiter_look(self, ready, &why);
		if (*ready || (code != KEEL_OK && !why.transient) || keel_monotonic_us() >= deadline)
			break;
		keel_waiter_block(&self->waiter, &store->wake, deadline);
	}
	keel_event_waiter_close(self);
	return keel_fail_as(err, code, &why);
}
