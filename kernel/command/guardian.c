/* guardian.c - the process that stands between keel and a command. Uses: family, becoming.
 *
 * It hears no signal (SIGKILL and SIGSTOP nobody can refuse), waits for children and for orders, and owns nothing that
 * is worth a flush.
 */
#include "guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "becoming.h"

enum { STEP_MS = 10, STEP_LAST_MS = 200 }; /* between two SIGKILLs for what is left */

struct guardian {
	const struct guardian_start *start;
	struct family family;
	struct family_count told; /* with the last report */
	int talk, children;       /* the connection to keel, and the descriptor of SIGCHLD */
	bool ended;               /* the command; what is left is told from then on */
};

/* --- Telling keel ------------------------------------------------------------------------------------------------ */

static void report(struct guardian *self, enum report_kind kind, int value, enum guardian_step step)
{
	struct report report;
	memset(&report, 0, sizeof report);
	report.kind = kind;
	report.value = value;
	report.step = step;
	report.left = self->told;
	/* When keel is gone, the next look at the connection says so. */
	while (send(self->talk, &report, sizeof report, MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

/* Has keel say that nothing can be watched, and waits until it has closed the connection. */
static _Noreturn void give_up(struct guardian *self, int failure, enum guardian_step step)
{
	struct order order;
	report(self, REPORT_FAILED, failure, step);
	while (recv(self->talk, &order, sizeof order, 0) > 0 && order.kind != ORDER_LEAVE)
		continue;
	_exit(1);
}

/* --- Children ---------------------------------------------------------------------------------------------------- */

static void drain(int descriptor)
{
	struct signalfd_siginfo info[8];
	while (read(descriptor, info, sizeof info) > 0)
		continue;
}

/* Who is left besides the command. Costs nothing when there is nobody at all. */
static struct family_count left(const struct guardian *self)
{
	struct family_count count = {0};
	siginfo_t info;
	info.si_pid = 0;
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
		family_look(&self->family, &count);
	return count;
}

static void on_command(struct guardian *self, const siginfo_t *info)
{
	if (info->si_code == CLD_STOPPED) {
		report(self, REPORT_STOPPED, info->si_status, 0);
	} else if (info->si_code == CLD_CONTINUED) {
		report(self, REPORT_CONTINUED, 0, 0);
	} else {
		bool exited = info->si_code == CLD_EXITED;
		self->ended = true;
		self->family.command = 0;
		self->told = left(self);
		report(self, REPORT_ENDED, exited ? W_EXITCODE(info->si_status, 0) : W_EXITCODE(0, info->si_status), 0);
	}
}

/* Takes note of children that have ended, stopped or gone on. */
static void look(struct guardian *self)
{
	siginfo_t info;
	bool some = false;
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) != 0 || info.si_pid == 0)
			break;
		some = true;
		if (info.si_pid == self->family.command)
			on_command(self, &info);
	}
	if (some && self->ended) {
		struct family_count now = left(self);
		if (now.all != self->told.all || now.near != self->told.near) {
			self->told = now;
			report(self, REPORT_LEFT, 0, 0);
		}
	}
}

void guardian_end_family(struct family *family, int children)
{
	int step = STEP_MS;
	for (;;) {
		struct family_count count;
		struct pollfd descriptor = {.fd = children, .events = POLLIN};
		int status;
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == family->command)
				family->command = 0;
		if (pid < 0 && errno == ECHILD)
			return;
		int failure = family_signal(family, SIGKILL, FAMILY_ALL, 0, &count);
		/* A daemon of another user's, made by a set-user-id program, goes its own way; so does whom nothing tells of.
		 */
		if (!family->command && (failure || (count.all > 0 && count.all == count.refused_all && !count.refused_near)))
			return;
		poll(&descriptor, 1, step);
		if (children >= 0)
			drain(children);
		step = step * 2 < STEP_LAST_MS ? step * 2 : STEP_LAST_MS;
	}
}

/* --- Orders ------------------------------------------------------------------------------------------------------ */

/* Makes the child that becomes the command; -1 when there is none. */
static pid_t make_command(const struct guardian_start *start, const int outputs[2], struct obstacle *obstacle)
{
	pid_t guardian = getpid();
	pid_t child = vfork();
	if (child == 0)
		become_command(start, guardian, outputs, obstacle);
	if (child < 0)
		*obstacle = (struct obstacle){STEP_FORK, errno};
	else if (obstacle->failure)
		waitpid(child, NULL, 0);
	return obstacle->failure ? -1 : child;
}

/* Starts the command, and leaves its session. */
static void start_command(struct guardian *self, const struct order *order, const int given[2])
{
	struct obstacle obstacle = {0};
	int outputs[2], next = 0;
	for (int i = 0; i < 2; i++)
		outputs[i] = order->outputs & 1 << i ? given[next++] : -1;
	pid_t child = make_command(self->start, outputs, &obstacle);
	for (int i = 0; i < next; i++)
		close(given[i]);
	if (child < 0) {
		self->ended = true;
		report(self, REPORT_FAILED, obstacle.failure, obstacle.step);
		report(self, REPORT_ENDED, W_EXITCODE(127, 0), 0);
		return;
	}
	self->family.command = self->family.sessions[1] = child;
	if (setsid() < 0) /* where that is not allowed, a group of its own keeps most of what could hit it away */
		setpgid(0, 0);
}

static void signal_family(struct guardian *self, const struct order *order)
{
	struct family_count count;
	family_signal(&self->family, order->signal, order->scope, order->spared, &count);
	if (order->scope == FAMILY_ALL ? count.refused_all : count.refused_near) {
		struct family_count before = self->told;
		self->told = count;
		report(self, REPORT_REFUSED, count.refusal, 0);
		self->told = before;
	}
}

/* Keel is gone. What it was given is closed first: somebody may read it to its end. The descriptor that holds the lock
 * stays open, and the witness. */
static _Noreturn void outlive(struct guardian *self, int held)
{
	const int kept[] = {held, self->start->witness, self->children};
	int count = 0;
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
		if (kept[i] >= 0)
			dup2(kept[i], count++);
	if (close_range((unsigned)count, ~0U, 0) != 0)
		for (int fd = count; fd < 1024; fd++)
			close(fd);
	guardian_end_family(&self->family, count - 1);
	_exit(0);
}

static void obey(struct guardian *self, int *held)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control;
	int given[2] = {-1, -1};
	struct order order;
	struct iovec part = {&order, sizeof order};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t got = recvmsg(self->talk, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got != sizeof order)
		outlive(self, *held);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len <= CMSG_LEN(sizeof given))
		memcpy(given, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	switch (order.kind) {
	case ORDER_HOLD:
		if (*held >= 0)
			close(*held);
		*held = given[0];
		break;
	case ORDER_START:
		start_command(self, &order, given);
		break;
	case ORDER_SIGNAL:
		look(self);
		signal_family(self, &order);
		break;
	case ORDER_LEAVE:
		_exit(0);
	}
}

_Noreturn void guardian_run(const struct guardian_start *start)
{
	struct guardian self = {.start = start, .talk = start->talk[1], .children = -1};
	struct pollfd descriptors[2];
	sigset_t set;
	siginfo_t info;
	int held = -1;
	close(start->talk[0]);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	self.family.sessions[0] = getsid(0);
	prctl(PR_SET_NAME, "keel-guardian");
	/* Whether waiting works is tried here, with no child: what cannot be waited for must not be started. */
	info.si_pid = 0;
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 || errno != ECHILD)
		give_up(&self, errno, STEP_WAIT);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		give_up(&self, errno, STEP_REAPER);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	self.children = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (self.children < 0)
		give_up(&self, errno, STEP_SIGNALS);
	for (;;) {
		descriptors[0] = (struct pollfd){.fd = self.talk, .events = POLLIN};
		descriptors[1] = (struct pollfd){.fd = self.children, .events = POLLIN};
		if (poll(descriptors, 2, -1) < 0 && errno != EINTR)
			outlive(&self, held);
		if (descriptors[1].revents) {
			drain(self.children);
			look(&self);
		}
		if (descriptors[0].revents)
			obey(&self, &held);
	}
}
