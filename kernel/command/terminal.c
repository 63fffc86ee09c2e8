/* terminal.c - job control as a plain command under a shell has it. Uses: nothing. */
#include "terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

void terminal_open(struct terminal *terminal)
{
	terminal->fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	terminal->is_saved = terminal_is_ours(terminal) && tcgetattr(terminal->fd, &terminal->modes) == 0;
}

bool terminal_is_ours(const struct terminal *terminal)
{
	return terminal->fd >= 0 && tcgetpgrp(terminal->fd) == getpgrp();
}

void terminal_restore(const struct terminal *terminal)
{
	if (terminal->is_saved && terminal_is_ours(terminal))
		tcsetattr(terminal->fd, TCSADRAIN, &terminal->modes);
}

void terminal_close(struct terminal *terminal)
{
	if (terminal->fd >= 0)
		close(terminal->fd);
	terminal->fd = -1;
	terminal->is_saved = false;
}

void terminal_stop(int number)
{
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, &before); /* here it stops */
	sigprocmask(SIG_SETMASK, &before, NULL);
}
