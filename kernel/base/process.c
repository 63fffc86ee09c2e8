/* process.c - telling processes apart, by what Linux says under /proc. Uses: nothing. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads the beginning of a file as text; false when there is none. */
static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t count;
	do
		count = read(fd, text, size - 1);
	while (count < 0 && errno == EINTR);
	close(fd);
	if (count < 0)
		return false;
	text[count] = '\0';
	return true;
}

/* Field 22 of /proc/PID/stat; the fields are counted behind the name, which may hold spaces and parentheses. */
static int64_t start_of(int64_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
	if (!read_file(path, text, sizeof text))
		return 0;
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at + 1, ' ');
	}
	return at ? strtoll(at, NULL, 10) : 0;
}

/* The number of a name space of this process; 0 when the system does not tell. */
static int64_t space_of(const char *path)
{
	struct stat space;
	return stat(path, &space) == 0 ? (int64_t)space.st_ino : 0;
}

void keel_process_self(struct keel_process *self)
{
	memset(self, 0, sizeof *self);
	if (read_file("/proc/sys/kernel/random/boot_id", self->boot, sizeof self->boot))
		self->boot[strcspn(self->boot, "\n")] = '\0';
	self->space = space_of("/proc/self/ns/pid");
	self->clock = space_of("/proc/self/ns/time");
	self->pid = (int64_t)getpid();
	self->start = start_of(self->pid);
}

bool keel_process_is_foreign(const struct keel_process *process, const struct keel_process *self)
{
	return process->space != self->space || !self->space;
}

enum keel_process_fate keel_process_fate(const struct keel_process *process, const struct keel_process *self)
{
	if (keel_process_is_foreign(process, self) || process->pid <= 0 || !process->boot[0] || !self->boot[0])
		return KEEL_PROCESS_UNKNOWN;
	if (strcmp(process->boot, self->boot) != 0)
		return KEEL_PROCESS_GONE;
	if (kill((pid_t)process->pid, 0) != 0 && errno == ESRCH)
		return KEEL_PROCESS_GONE;
	int64_t start = process->clock == self->clock ? start_of(process->pid) : 0;
	if (!start || !process->start)
		return KEEL_PROCESS_UNKNOWN;
	return start == process->start ? KEEL_PROCESS_THERE : KEEL_PROCESS_GONE;
}
