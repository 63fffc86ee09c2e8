/* relay.c - a server's socket that is further away: what passes is handed on after a time, both ways.
 *
 * Stands in for a network between clients and a server of one machine: each trip takes DELAY longer, half of it on the
 * way there. It runs until it is ended.
 *
 * Usage: relay LISTEN SERVER DELAY
 *   LISTEN  the path of the socket that clients connect to, made here: FOLDER/.s.PGSQL.5432 for PostgreSQL
 *   SERVER  the path of the server's
 *   DELAY   microseconds a trip
 * Prints "ready" once clients can connect.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bench.h"

enum { PAIRS_MAX = 128, PART_SIZE = 16384, PARTS_MAX = 256 };

/* One way: what was read and may not be written yet, oldest first, in a ring. */
struct way {
	int from, to;
	struct part {
		double due;
		size_t size, written;
		char data[PART_SIZE];
	} * parts;
	int first, count;
	bool ended;
};

struct pair {
	struct way there, back;
};

static struct pair pairs[PAIRS_MAX];
static int pairs_count;
static double delay_s;

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path)
		die(path, "too long for a socket");
	memcpy(address.sun_path, path, strlen(path) + 1);
	return address;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, PAIRS_MAX) != 0)
		die(path, strerror(errno));
	return fd;
}

static void unblock(int fd)
{
	if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl", strerror(errno));
}

static void init_way(struct way *way, int from, int to)
{
	*way = (struct way){.from = from, .to = to, .parts = calloc(PARTS_MAX, sizeof *way->parts)};
	if (!way->parts)
		die("calloc", strerror(errno));
}

static void add_pair(int listener, const char *server)
{
	struct sockaddr_un address = address_of(server);
	int client = accept(listener, NULL, NULL), fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		die(server, strerror(errno));
	if (pairs_count == PAIRS_MAX)
		die("relay", "too many connections");
	unblock(client);
	unblock(fd);
	init_way(&pairs[pairs_count].there, client, fd);
	init_way(&pairs[pairs_count++].back, fd, client);
}

static void drop_pair(int index)
{
	close(pairs[index].there.from);
	close(pairs[index].back.from);
	free(pairs[index].there.parts);
	free(pairs[index].back.parts);
	pairs[index] = pairs[--pairs_count];
}

static void take_in(struct way *way)
{
	struct part *part = &way->parts[(way->first + way->count) % PARTS_MAX];
	ssize_t size = read(way->from, part->data, sizeof part->data);
	if (size > 0) {
		part->due = now() + delay_s / 2;
		part->size = (size_t)size;
		part->written = 0;
		way->count++;
	} else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
		way->ended = true;
	}
}

static void hand_on(struct way *way, double time)
{
	while (way->count > 0 && way->parts[way->first].due <= time) {
		struct part *part = &way->parts[way->first];
		ssize_t size = send(way->to, part->data + part->written, part->size - part->written, MSG_NOSIGNAL);
		if (size < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (size < 0) {
			way->ended = true;
			way->count = 0;
			return;
		}
		part->written += (size_t)size;
		if (part->written < part->size)
			return;
		way->first = (way->first + 1) % PARTS_MAX;
		way->count--;
	}
}

/* When the first part of all is due; a second from now when there is none. */
static double next_due(double time)
{
	double next = time + 1;
	for (int i = 0; i < pairs_count; i++) {
		const struct way *ways[2] = {&pairs[i].there, &pairs[i].back};
		for (int w = 0; w < 2; w++)
			if (ways[w]->count > 0 && ways[w]->parts[ways[w]->first].due < next)
				next = ways[w]->parts[ways[w]->first].due;
	}
	return next > time ? next : time;
}

static void wait_for(struct pollfd *fds, nfds_t count)
{
	double time = now(), left = next_due(time) - time;
	struct timespec limit = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
	if (ppoll(fds, count, &limit, NULL) < 0 && errno != EINTR)
		die("ppoll", strerror(errno));
}

static void turn(int listener, const char *server)
{
	struct pollfd fds[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
	for (int i = 0; i < pairs_count; i++) {
		struct way *there = &pairs[i].there, *back = &pairs[i].back;
		fds[1 + 2 * i] = (struct pollfd){.fd = there->from, .events = there->count < PARTS_MAX ? POLLIN : 0};
		fds[2 + 2 * i] = (struct pollfd){.fd = back->from, .events = back->count < PARTS_MAX ? POLLIN : 0};
	}
	wait_for(fds, (nfds_t)(1 + 2 * pairs_count));
	for (int i = 0; i < pairs_count; i++) {
		if (fds[1 + 2 * i].revents)
			take_in(&pairs[i].there);
		if (fds[2 + 2 * i].revents)
			take_in(&pairs[i].back);
	}
	double time = now();
	for (int i = pairs_count - 1; i >= 0; i--) {
		hand_on(&pairs[i].there, time);
		hand_on(&pairs[i].back, time);
		if ((pairs[i].there.ended && pairs[i].there.count == 0) || (pairs[i].back.ended && pairs[i].back.count == 0))
			drop_pair(i);
	}
	if (fds[0].revents)
		add_pair(listener, server);
}

int main(int argc, char **argv)
{
	char *end = "";
	if (argc != 4 || (delay_s = strtod(argv[3], &end) / 1e6) < 0 || *end || !argv[3][0])
		die("usage", "relay LISTEN SERVER DELAY");
	int listener = listen_at(argv[1]);
	puts("ready");
	fflush(stdout);
	for (;;)
		turn(listener, argv[2]);
}
