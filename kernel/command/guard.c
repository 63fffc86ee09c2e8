/* guard.c - keel's side of a command. Uses: guardian. */
#include "guard.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *guard_step_name(enum guardian_step step)
{
	static const char *const names[] = {
		[STEP_FORK] = "fork",   [STEP_REAPER] = "prctl", [STEP_SIGNALS] = "signalfd",
		[STEP_WAIT] = "waitid", [STEP_OUTPUT] = "dup2",  [STEP_EXEC] = "exec",
	};
	return names[step];
}

static void close_ends(struct guard *guard)
{
	if (guard->talk >= 0)
		close(guard->talk);
	guard->talk = -1;
}

static int fork_guardian(struct guard *guard)
{
	struct guardian_start *start = guard->start;
	/* Should the guardian be killed, its family becomes ours. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		return errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, start->talk) != 0)
		return errno;
	guard->talk = start->talk[0];
	start->keel = getpid();
	pid_t child = fork();
	if (child == 0)
		guardian_run(start);
	int failure = child < 0 ? errno : 0;
	close(start->talk[1]);
	if (failure) {
		close_ends(guard);
		return failure;
	}
	guard->guardian = child;
	guard->is_fresh = true;
	guard->ended = guard->is_stopped = false;
	guard->refusal = guard->failure = guard->status = 0;
	guard->left = (struct family_count){0};
	return 0;
}

int guard_open(struct guard *guard, struct guardian_start *start)
{
	*guard = (struct guard){.start = start, .talk = -1, .held = -1};
	return fork_guardian(guard);
}

/* Sends a packet with descriptors. Returns 0 or an errno. */
static int send_with(int to, const void *data, size_t size, const int *descriptors, size_t count)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (count > 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
	}
	ssize_t sent;
	do
		sent = sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? errno : 0;
}

static int send_order(const struct guard *guard, const struct order *order, const int *descriptors, size_t count)
{
	if (guard->talk < 0)
		return 0; /* it is gone, and was heard to be */
	int failure = send_with(guard->talk, order, sizeof *order, descriptors, count);
	return failure == EPIPE || failure == ECONNRESET ? 0 : failure; /* the next look at it says so */
}

int guard_hold(struct guard *guard, int descriptor)
{
	guard->held = descriptor;
	return send_order(guard, &(struct order){.kind = ORDER_HOLD}, &descriptor, 1);
}

/* A guardian has one command. */
static int replace_guardian(struct guard *guard)
{
	guard_close(guard);
	int failure = fork_guardian(guard);
	return failure || guard->held < 0 ? failure : guard_hold(guard, guard->held);
}

int guard_start(struct guard *guard, const int output[2])
{
	struct order order = {.kind = ORDER_START};
	int given[2];
	size_t count = 0;
	int failure = 0;
	for (int i = 0; i < 2; i++)
		if (output[i] >= 0) {
			order.outputs |= 1 << i;
			given[count++] = output[i];
		}
	if (!guard->is_fresh && !guard->is_lost)
		failure = replace_guardian(guard);
	guard->is_fresh = false;
	if (guard->ended) /* before it had begun: what has failed is known */
		return failure;
	guard->runs = true;
	if (!failure)
		failure = send_order(guard, &order, given, count);
	guard->runs = !failure;
	return failure;
}

void guard_signal(const struct guard *guard, int signal, enum family_scope scope, pid_t spared)
{
	send_order(guard, &(struct order){.kind = ORDER_SIGNAL, .signal = signal, .scope = scope, .spared = spared}, NULL,
			   0);
}

/* --- Hearing of it ----------------------------------------------------------------------------------------------- */

/* The guardian was killed, and with it the command, by its parent-death signal. The rest is ours to end. */
static void on_loss(struct guard *guard)
{
	struct family family = {.sessions = {getsid(0), 0}};
	close_ends(guard);
	guardian_end_family(&family, -1);
	guard->guardian = 0;
	guard->is_lost = true;
	guard->runs = guard->is_stopped = false;
	guard->left = (struct family_count){0};
	if (!guard->ended)
		guard->status = W_EXITCODE(0, SIGKILL);
	guard->ended = true;
}

static void take_report(struct guard *guard, const struct report *report)
{
	switch (report->kind) {
	case REPORT_FAILED:
		guard->failure = report->value ? report->value : EIO;
		guard->step = report->step;
		if (report->step != STEP_EXEC && report->step != STEP_OUTPUT) {
			guard->runs = false;
			guard->ended = true;
			guard->status = W_EXITCODE(1, 0);
		}
		break;
	case REPORT_STOPPED:
		guard->is_stopped = true;
		break;
	case REPORT_CONTINUED:
		guard->is_stopped = false;
		break;
	case REPORT_ENDED:
		guard->runs = guard->is_stopped = false;
		guard->ended = true;
		guard->status = report->value;
		guard->left = report->left;
		break;
	case REPORT_LEFT:
		guard->left = report->left;
		break;
	case REPORT_REFUSED:
		guard->refusal = report->value;
		break;
	}
}

/* Reads one packet. Returns 1, 0 when there is none, -1 at the end of the connection. */
static int receive(int from, struct report *report)
{
	ssize_t got;
	do
		got = recv(from, report, sizeof *report, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got == sizeof *report)
		return 1;
	return got < 0 && errno == EAGAIN ? 0 : -1;
}

void guard_hear(struct guard *guard)
{
	struct report report;
	int got = 0;
	while (guard->talk >= 0 && (got = receive(guard->talk, &report)) > 0)
		take_report(guard, &report);
	if (got < 0)
		on_loss(guard);
}

void guard_leave(struct guard *guard)
{
	if (guard->talk < 0)
		return;
	send_order(guard, &(struct order){.kind = ORDER_LEAVE}, NULL, 0);
	close_ends(guard);
}

void guard_close(struct guard *guard)
{
	if (guard->is_fresh || (guard->ended && guard->left.near == 0))
		guard_leave(guard);
	close_ends(guard);
	while (guard->guardian && waitpid(guard->guardian, NULL, 0) < 0 && errno == EINTR)
		continue;
	guard->guardian = 0;
}
