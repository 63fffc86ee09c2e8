/* family.c - the descendants of this process, as Linux tells of them under /proc. Uses: nothing. */
#include "family.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PASSES = 16 }; /* over the family, until none is new: who forks faster is met at the next call */

struct relative {
	pid_t pid, parent, group, session;
	unsigned long long start; /* clock ticks since the boot; tells a number that was used again */
	bool is_signalled;
};

struct list {
	struct relative *items;
	size_t count, capacity;
};

/* --- Reading /proc ----------------------------------------------------------------------------------------------- */

/* What /proc/PID/stat says; false when there is no such process any more, a zombie included. */
static bool read_relative(pid_t pid, struct relative *found)
{
	char path[64], text[1024], state = 0;
	int parent = 0, group = 0, session = 0;
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t size = read(fd, text, sizeof text - 1);
	close(fd);
	if (size <= 0)
		return false;
	text[size] = '\0';
	/* The fields are counted from behind the name, which may hold spaces and parentheses. */
	char *at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %c %d %d %d", &state, &parent, &group, &session) != 4)
		return false;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at || state == 'Z' || state == 'X')
		return false;
	*found = (struct relative){pid, (pid_t)parent, (pid_t)group, (pid_t)session, strtoull(at, NULL, 10), false};
	return true;
}

static bool add(struct list *list, const struct relative *relative)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].pid == relative->pid && list->items[i].start == relative->start)
			return true;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct relative *items = realloc(list->items, capacity * sizeof *items);
		if (!items)
			return false;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *relative;
	return true;
}

/* Adds the children that a thread of a process has made. Returns an errno. */
static int add_children(struct list *list, pid_t parent, const char *thread)
{
	char path[320];
	long pid;
	snprintf(path, sizeof path, "/proc/%ld/task/%s/children", (long)parent, thread);
	FILE *file = fopen(path, "re");
	if (!file)
		return errno;
	int failure = 0;
	while (!failure && fscanf(file, "%ld", &pid) == 1) {
		struct relative found;
		if (read_relative((pid_t)pid, &found) && found.parent == parent && !add(list, &found))
			failure = ENOMEM;
	}
	fclose(file);
	return failure;
}

static int add_children_of(struct list *list, pid_t parent)
{
	char path[64];
	int failure = 0;
	snprintf(path, sizeof path, "/proc/%ld/task", (long)parent);
	DIR *threads = opendir(path);
	if (!threads)
		return errno;
	for (struct dirent *entry; failure != ENOMEM && (entry = readdir(threads));)
		if (entry->d_name[0] != '.')
			failure = add_children(list, parent, entry->d_name);
	closedir(threads);
	return failure;
}

/* Adds all descendants that are there now; those in the list stay, gone or not. Returns an errno. */
static int add_all(struct list *list)
{
	int failure = add_children_of(list, getpid());
	/* A relative that has ended meanwhile has no children: they are its reaper's by now, and found with the next pass.
	 */
	for (size_t i = 0; i < list->count && failure != ENOMEM; i++) {
		struct relative now;
		if (read_relative(list->items[i].pid, &now) && now.start == list->items[i].start &&
			add_children_of(list, now.pid) == ENOMEM)
			failure = ENOMEM;
	}
	return failure;
}

/* --- Signalling -------------------------------------------------------------------------------------------------- */

static bool is_near(const struct family *family, const struct relative *relative)
{
	return relative->pid == family->command || relative->session == family->sessions[0] ||
		   relative->session == family->sessions[1];
}

/* Returns an errno; ESRCH when the relative is gone. */
static int send(const struct relative *relative, int signal)
{
	struct relative now;
	int fd = (int)syscall(SYS_pidfd_open, relative->pid, 0);
	if (fd < 0 && errno == ESRCH)
		return ESRCH;
	int failure = ESRCH;
	if (read_relative(relative->pid, &now) && now.start == relative->start) {
		bool sent = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) == 0;
		failure = sent ? 0 : errno;
		/* A kernel before 5.3 has no descriptors of processes: what was just looked at has to do. */
		if (fd < 0 || failure == ENOSYS)
			failure = kill(relative->pid, signal) == 0 ? 0 : errno;
	}
	if (fd >= 0)
		close(fd);
	return failure;
}

static void take_count(struct family_count *count, bool near, int failure)
{
	if (failure == ESRCH)
		return;
	count->all++;
	count->near += near;
	if (failure) {
		count->refused_all++;
		count->refused_near += near;
		count->refusal = failure;
	}
}

/* One pass: signals whom the list has not signalled yet. Returns whether there was one. */
static bool pass(const struct family *family, struct list *list, int signal, enum family_scope scope, pid_t spared,
				 struct family_count *count)
{
	bool some = false;
	for (size_t i = 0; i < list->count; i++) {
		struct relative *relative = &list->items[i];
		bool near = is_near(family, relative);
		if (relative->is_signalled)
			continue;
		relative->is_signalled = some = true;
		bool meant = (near || scope == FAMILY_ALL) && !(spared && relative->group == spared);
		take_count(count, near, meant && signal ? send(relative, signal) : 0);
	}
	return some;
}

int family_signal(const struct family *family, int signal, enum family_scope scope, pid_t spared,
				  struct family_count *count)
{
	struct list list = {0};
	int failure;
	*count = (struct family_count){0};
	failure = add_all(&list);
	for (int i = 0; i < PASSES && pass(family, &list, signal, scope, spared, count) && signal; i++)
		failure = add_all(&list);
	free(list.items);
	if (failure && count->all == 0 && family->command) {
		/* Nothing is told of the family; our own child is still ours. */
		failure = 0;
		if (!(spared && getpgid(family->command) == spared))
			take_count(count, true, !signal || kill(family->command, signal) == 0 ? 0 : errno);
	}
	return failure;
}

int family_look(const struct family *family, struct family_count *count)
{
	return family_signal(family, 0, FAMILY_ALL, 0, count);
}
