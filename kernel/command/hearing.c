/* hearing.c - the signals that keel exec hears. Uses: guard. */
#include "hearing.h"

#include <errno.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { TICK_US = 250000, PATIENCE = 2 }; /* looks at which the same signal was waiting, before it is served */

/* What is passed on, or acted upon; the rest ends us, and the guardian ends the command. */
static const int listened[] = {SIGHUP,  SIGINT,   SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
							   SIGCONT, SIGWINCH, SIGTSTP, SIGTTIN, SIGTTOU, 0};

static const int fatal[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, 0};

/* For the timer's handler. */
static const struct guard *volatile attended;
static volatile sig_atomic_t ticks, passed;

/* The first fatal signal that waits to be read; 0: none. */
static int waiting_signal(void)
{
	sigset_t pending;
	if (sigpending(&pending) != 0)
		return 0;
	for (const int *number = fatal; *number; number++)
		if (sigismember(&pending, *number) == 1)
			return *number;
	return 0;
}

static void tick(int number)
{
	int before = errno, waiting = waiting_signal();
	const struct guard *guard = attended;
	sigset_t set;
	(void)number;
	ticks = waiting ? ticks + 1 : 0;
	if (ticks >= PATIENCE && guard && passed == 0) {
		sigemptyset(&set);
		sigaddset(&set, waiting);
		if (!guard->runs) {
			sigprocmask(SIG_UNBLOCK, &set, NULL); /* it ends us here */
		} else if (sigtimedwait(&set, NULL, &(struct timespec){0}) == waiting) {
			guard_signal(guard, waiting, FAMILY_NEAR, 0);
			guard_signal(guard, SIGCONT, FAMILY_NEAR, 0);
			passed = waiting;
			ticks = 0;
		}
	}
	errno = before;
}

int hearing_open(struct hearing *hearing)
{
	sigset_t wanted, blocked;
	struct sigaction how;
	sigemptyset(&wanted);
	for (const int *number = listened; *number; number++)
		if (sigaction(*number, NULL, &how) == 0 && how.sa_handler != SIG_IGN)
			sigaddset(&wanted, *number);
	blocked = wanted;
	sigaddset(&blocked, SIGPIPE); /* writing into a closed pipe fails instead */
	hearing->descriptor = -1;
	if (sigaction(SIGXFSZ, NULL, &hearing->file_size) != 0 || sigaction(SIGALRM, NULL, &hearing->alarm) != 0 ||
		sigaction(SIGCHLD, NULL, &hearing->child) != 0)
		return errno;
	signal(SIGCHLD, SIG_DFL); /* inherited as ignored, children could not be waited for */
	if (sigprocmask(SIG_BLOCK, &blocked, &hearing->before) != 0)
		return errno;
	hearing->descriptor = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
	if (hearing->descriptor >= 0)
		return 0;
	int failure = errno;
	sigprocmask(SIG_SETMASK, &hearing->before, NULL);
	return failure;
}

static void set_timer(long every_us)
{
	struct itimerval time = {{0, every_us}, {0, every_us}};
	setitimer(ITIMER_REAL, &time, NULL);
}

void hearing_attend(const struct guard *guard)
{
	struct sigaction how = {.sa_handler = tick, .sa_flags = SA_RESTART};
	sigset_t alarm;
	sigfillset(&how.sa_mask);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	attended = guard;
	ticks = passed = 0;
	sigaction(SIGALRM, &how, NULL);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	set_timer(TICK_US);
}

struct heard hearing_next(struct hearing *hearing)
{
	struct signalfd_siginfo info;
	struct heard heard = {.number = passed, .is_passed = true};
	ticks = 0;
	if (heard.number) {
		passed = 0;
		return heard;
	}
	if (read(hearing->descriptor, &info, sizeof info) != sizeof info)
		return (struct heard){0};
	/* What the system sends goes to the whole group, but for one: when the terminal is gone, the session's leader hears
	 * of it alone. */
	bool is_for_leader = info.ssi_signo == SIGHUP && getsid(0) == getpid();
	return (struct heard){(int)info.ssi_signo, info.ssi_code == SI_KERNEL && !is_for_leader, false};
}

void hearing_close(struct hearing *hearing)
{
	sigset_t closed_pipe;
	set_timer(0);
	attended = NULL;
	sigaction(SIGALRM, &hearing->alarm, NULL);
	sigemptyset(&closed_pipe);
	sigaddset(&closed_pipe, SIGPIPE);
	while (hearing_next(hearing).number)
		continue;
	sigtimedwait(&closed_pipe, NULL, &(struct timespec){0});
	close(hearing->descriptor);
	hearing->descriptor = -1;
	sigaction(SIGCHLD, &hearing->child, NULL);
	sigprocmask(SIG_SETMASK, &hearing->before, NULL);
}
