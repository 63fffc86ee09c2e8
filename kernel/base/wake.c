/* wake.c - waking those who wait for something new in a store. Uses: sidefile, monotonic. */
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/monotonic.h"

enum {
	BACKSTOP_US = 250 * 1000, /* between looks of one who is woken otherwise */
	POLL_US = 20 * 1000,      /* between looks of one whom nobody can wake: some 5 µs of work each */
	AGAIN_US = 1000,
	/* On a server. Of events that come close on each other it tells the first only (next_event_id in the schema has
	 * the same number): who has found one rests for so long, and looks again. */
	REST_US = 20 * 1000,
	/* After a look that somebody was woken for: what was there then is older than that when this is over, so what is
	 * not there yet will be told. The difference is for a commit that takes its time. */
	AFTER_US = 30 * 1000
};

static void close_own(int *descriptor)
{
	if (*descriptor >= 0)
		close(*descriptor);
	*descriptor = -1;
}

enum keel_code keel_wake_init(struct keel_wake *wake, struct keel_error *err)
{
	wake->file.fd = -1;
	wake->inotify = wake->event = -1;
	wake->server = NULL;
	return keel_sidefile_watch(&wake->file, err);
}

void keel_wake_close(struct keel_wake *wake)
{
	keel_sidefile_close(&wake->file);
	close_own(&wake->inotify);
	close_own(&wake->event);
}

bool keel_wake_use_server(struct keel_wake *wake)
{
	if (wake->event < 0)
		wake->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return wake->event >= 0;
}

enum keel_code keel_wake_open(struct keel_wake *wake, const char *path, struct keel_error *err)
{
	return keel_sidefile_open(&wake->file, path, true, err);
}

void keel_wake_all(struct keel_wake *wake, bool alone)
{
	wake->count++;
	wake->rests_until = 0;
	wake->woken_at = wake->server ? keel_monotonic_us() : 0;
	if (wake->event >= 0)
		eventfd_write(wake->event, 1); /* the server does not tell us of ourselves */
	if (alone || keel_sidefile_find(&wake->file, KEEL_WAKE_BYTE, 1) == 0)
		return;
	ssize_t written = pwrite(wake->file.fd, "w", 1, 0); /* always in the same place: the file does not grow */
	(void)written;
}

void keel_wake_rest(struct keel_wake *wake)
{
	int64_t now = keel_monotonic_us();
	if (wake->server && now - wake->woken_at > REST_US)
		wake->rests_until = now + REST_US;
}

bool keel_wake_rests(const struct keel_wake *wake)
{
	return wake->rests_until > 0 && keel_monotonic_us() < wake->rests_until;
}

/* --- Waiting ----------------------------------------------------------------------------------------------------- */

static int inotify_of(const struct keel_waiter *waiter, const struct keel_wake *wake)
{
	return waiter->inotify >= 0 ? waiter->inotify : wake->inotify;
}

/* Locks and watches; without success the waiter polls, and tries again whenever it looks. */
static void watch(struct keel_waiter *waiter, struct keel_wake *wake, const char *path)
{
	waiter->lock.rights = wake->file.rights;
	if (keel_sidefile_open(&waiter->lock, path, false, NULL) != KEEL_OK)
		return;
	if (inotify_of(waiter, wake) < 0)
		wake->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int inotify = inotify_of(waiter, wake);
	/* Adding a watch that is there already changes nothing; a file made anew gets one. */
	waiter->watching = inotify >= 0 && keel_sidefile_share(&waiter->lock, KEEL_WAKE_BYTE, NULL) == KEEL_OK &&
					   inotify_add_watch(inotify, path, IN_MODIFY | IN_DONT_FOLLOW) >= 0;
	if (!waiter->watching)
		keel_sidefile_drop(&waiter->lock);
}

/* Takes note of wake-ups by others. What exactly happened to the file does not matter. */
static void drain(struct keel_wake *wake, int inotify)
{
	char events[4096];
	bool woken = false;
	ssize_t got = 0;
	while (inotify >= 0 && ((got = read(inotify, events, sizeof events)) > 0 || (got < 0 && errno == EINTR)))
		woken = true;
	wake->count += woken;
}

enum keel_code keel_waiter_start(struct keel_waiter *waiter, struct keel_wake *wake, const char *path,
								 struct keel_error *err)
{
	*waiter = (struct keel_waiter){.lock = {.fd = -1}, .inotify = -1, .timer = -1, .poll = -1};
	enum keel_code code = keel_sidefile_watch(&waiter->lock, err);
	if (code == KEEL_OK && path)
		watch(waiter, wake, path);
	return code;
}

/* Sets the timer of a host that polls; what it said before is over. */
static bool set_timer(const struct keel_waiter *waiter, int64_t us)
{
	const struct itimerspec time = {.it_value = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}};
	return waiter->timer >= 0 && timerfd_settime(waiter->timer, 0, &time, NULL) == 0;
}

/* Says when to look without having been woken. */
static void look_in(struct keel_waiter *waiter, int64_t now, int64_t us)
{
	waiter->due = now + us;
	set_timer(waiter, us);
}

bool keel_waiter_due(struct keel_waiter *waiter, struct keel_wake *wake, const char *path)
{
	uint64_t ticks;
	if (waiter->watching)
		drain(wake, inotify_of(waiter, wake));
	if (wake->event >= 0 && read(wake->event, &ticks, sizeof ticks) > 0)
		wake->count++;
	int64_t now = keel_monotonic_us();
	bool woken = !waiter->started || waiter->seen != wake->count;
	if (!woken && now < waiter->due)
		return false;
	if (now < wake->rests_until) {
		look_in(waiter, now, wake->rests_until - now);
		return false;
	}
	if (waiter->started && path && !waiter->watching)
		watch(waiter, wake, path);
	waiter->started = true;
	waiter->seen = wake->count;
	if (wake->server)
		look_in(waiter, now, woken ? AFTER_US : BACKSTOP_US);
	else
		waiter->due = !path && !waiter->watching ? INT64_MAX : now + (waiter->watching ? BACKSTOP_US : POLL_US);
	return true;
}

void keel_waiter_again(struct keel_waiter *waiter)
{
	look_in(waiter, keel_monotonic_us(), AGAIN_US);
}

void keel_waiter_poll(struct keel_waiter *waiter)
{
	look_in(waiter, keel_monotonic_us(), POLL_US);
}

void keel_waiter_block(const struct keel_waiter *waiter, const struct keel_wake *wake, int64_t deadline)
{
	int server = wake->server ? *wake->server : -1;
	struct pollfd descriptor = {.fd = waiter->watching ? inotify_of(waiter, wake) : server, .events = POLLIN};
	int64_t until = waiter->due < deadline ? waiter->due : deadline;
	int64_t left = until - keel_monotonic_us();
	if (left <= 0)
		return;
	struct timespec time = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
	ppoll(&descriptor, 1, &time, NULL);
}

/* Becomes readable with anything from the server, and as often as one looks anyway. -1: there is none to be had. */
static int poll_server(struct keel_waiter *waiter, const struct keel_wake *wake)
{
	struct epoll_event event = {.events = EPOLLIN};
	/* The connection may have been made anew, under the same number too; what is closed has left the set by itself. */
	if (waiter->poll >= 0 && *wake->server < 0)
		return waiter->poll;
	if (waiter->poll >= 0)
		return epoll_ctl(waiter->poll, EPOLL_CTL_ADD, *wake->server, &event) == 0 || errno == EEXIST ? waiter->poll
																									 : -1;
	waiter->poll = epoll_create1(EPOLL_CLOEXEC);
	waiter->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	int64_t left = waiter->due - keel_monotonic_us();
	if (waiter->poll >= 0 && set_timer(waiter, left > 0 ? left : BACKSTOP_US) && wake->event >= 0 &&
		epoll_ctl(waiter->poll, EPOLL_CTL_ADD, waiter->timer, &event) == 0 &&
		epoll_ctl(waiter->poll, EPOLL_CTL_ADD, wake->event, &event) == 0 &&
		(*wake->server < 0 || epoll_ctl(waiter->poll, EPOLL_CTL_ADD, *wake->server, &event) == 0))
		return waiter->poll;
	close_own(&waiter->poll);
	close_own(&waiter->timer);
	return -1;
}

int keel_waiter_descriptor(struct keel_waiter *waiter, struct keel_wake *wake, const char *path)
{
	if (wake->server)
		return poll_server(waiter, wake);
	if (path && (waiter->inotify < 0 || !waiter->watching)) {
		if (waiter->inotify < 0)
			waiter->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		keel_sidefile_drop(&waiter->lock);
		watch(waiter, wake, path);
		waiter->started = false; /* what came while nobody watched */
	}
	return waiter->watching ? waiter->inotify : -1;
}

void keel_waiter_end(struct keel_waiter *waiter)
{
	close_own(&waiter->inotify);
	close_own(&waiter->timer);
	close_own(&waiter->poll);
	keel_sidefile_close(&waiter->lock);
	waiter->watching = false;
}
