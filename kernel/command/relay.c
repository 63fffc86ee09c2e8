/* relay.c - what a command says, shown and kept.
 *
 * Nothing here blocks: who looks at the output slowly slows the command down, as a pipe does, and not the one who
 * watches over it. A file that cannot be written (a full disk) costs the copy, not the command.
 */
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

void relay_none(struct relay *relay)
{
	*relay = (struct relay){.in = -1, .out = -1, .kept.file = -1};
}

int relay_open(struct relay *relay, const struct relay_course *course, int *end)
{
	int ends[2];
	relay_none(relay);
	relay->out = course->out;
	int failure = kept_open(&relay->kept, course->path, course->part_size, course->takes_errors);
	if (failure == 0 && pipe2(ends, O_CLOEXEC) != 0)
		failure = errno;
	if (failure) {
		relay_close(relay);
		return failure;
	}
	relay->in = ends[0];
	*end = ends[1];
	return 0;
}

bool relay_wants(const struct relay *relay, struct pollfd *descriptor)
{
	bool shows = relay->size > 0;
	*descriptor = (struct pollfd){.fd = shows ? relay->out : relay->in, .events = shows ? POLLOUT : POLLIN};
	return descriptor->fd >= 0;
}

static void stop_reading(struct relay *relay)
{
	close(relay->in);
	relay->in = -1;
}

void relay_move(struct relay *relay, short ready)
{
	if (!ready)
		return;
	if (relay->size > 0) {
		/* A pipe that is ready takes this much without blocking. */
		size_t size = relay->size < PIPE_BUF ? relay->size : PIPE_BUF;
		ssize_t written = write(relay->out, relay->buffer + relay->start, size);
		if (written < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (written < 0) {
			/* A reader that is gone ends the command by SIGPIPE, as it would without us; it might go on for ever. When
			 * a terminal hung up or a disk is full, the copy goes on, and the run has failed. */
			if (errno == EPIPE)
				stop_reading(relay);
			relay_blind(relay, errno == EPIPE ? 0 : errno);
			return;
		}
		relay->start += (size_t)written;
		relay->size -= (size_t)written;
		return;
	}
	ssize_t got = read(relay->in, relay->buffer, sizeof relay->buffer);
	if (got < 0 && errno == EINTR)
		return;
	if (got <= 0) {
		stop_reading(relay);
		return;
	}
	kept_write(&relay->kept, relay->buffer, (size_t)got);
	relay->start = 0;
	relay->size = relay->out >= 0 ? (size_t)got : 0;
}

void relay_blind(struct relay *relay, int failure)
{
	if (relay->out < 0)
		return;
	relay->out = -1;
	relay->size = 0;
	relay->unshown = failure;
}

bool relay_is_busy(const struct relay *relay)
{
	struct pollfd descriptor = {.fd = relay->in, .events = POLLIN};
	if (relay->size > 0)
		return true;
	return relay->in >= 0 && poll(&descriptor, 1, 0) > 0;
}

void relay_close(struct relay *relay)
{
	if (relay->in >= 0)
		close(relay->in);
	kept_close(&relay->kept);
	relay->in = -1;
	relay->size = 0;
}
