/* process.c - telling processes apart, and what is said of them when the system does not tell. */
#include "support.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/process.h"

/* The kernel's call in this process comes here: a process that goes between the opening of its file and the reading, or
 * a signal that comes in between. */
static int failure; /* an errno; 0: none */
static int failures_left;

__attribute__((visibility("default"))) ssize_t read(int fd, void *bytes, size_t size)
{
	if (failure && failures_left > 0) {
		failures_left--;
		errno = failure;
		return -1;
	}
	return (ssize_t)syscall(SYS_read, fd, bytes, size);
}

static struct keel_process self_with(int failure_wanted, int times)
{
	struct keel_process self;
	failure = failure_wanted;
	failures_left = times;
	keel_process_self(&self);
	failure = 0;
	return self;
}

TEST(knows_itself)
{
	struct keel_process self = self_with(0, 0);
	assert_true(self.pid == getpid() && self.start > 0 && self.boot[0] && self.space > 0);
	assert_int_equal(keel_process_fate(&self, &self), KEEL_PROCESS_THERE);
	assert_false(keel_process_is_foreign(&self, &self));
}

TEST(reads_again_after_a_signal)
{
	struct keel_process self = self_with(0, 0), disturbed = self_with(EINTR, 3);
	assert_memory_equal(&disturbed, &self, sizeof self);
}

/* What cannot be read is not known, and nothing that was read before is taken for it. */
TEST(says_nothing_of_what_cannot_be_read)
{
	struct keel_process self = self_with(0, 0), blind = self_with(EIO, 2);
	assert_true(blind.start == 0 && blind.boot[0] == '\0');
	assert_int_equal(blind.pid, self.pid);
	failure = ESRCH;
	failures_left = 1;
	assert_int_equal(keel_process_fate(&self, &self), KEEL_PROCESS_UNKNOWN);
	failure = 0;
	assert_int_equal(keel_process_fate(&self, &blind), KEEL_PROCESS_UNKNOWN);
	assert_int_equal(keel_process_fate(&blind, &self), KEEL_PROCESS_UNKNOWN);
}

/* A number that another process has now, of another boot, of another name space. */
TEST(tells_processes_apart)
{
	struct keel_process self = self_with(0, 0), other = self;
	other.start++;
	assert_int_equal(keel_process_fate(&other, &self), KEEL_PROCESS_GONE);
	other.clock++; /* in another name space of time the start says nothing */
	assert_int_equal(keel_process_fate(&other, &self), KEEL_PROCESS_UNKNOWN);
	other = self;
	other.boot[0] = other.boot[0] == 'a' ? 'b' : 'a';
	assert_int_equal(keel_process_fate(&other, &self), KEEL_PROCESS_GONE);
	other.space++;
	assert_true(keel_process_is_foreign(&other, &self));
	assert_int_equal(keel_process_fate(&other, &self), KEEL_PROCESS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {ALONE(knows_itself), ALONE(reads_again_after_a_signal),
									   ALONE(says_nothing_of_what_cannot_be_read), ALONE(tells_processes_apart)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
