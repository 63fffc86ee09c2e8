/* assert.c - a broken assumption aborts, and the environment chooses what is traced. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/trace.h"

/* Runs a function in a child whose standard error is read: how the child ended, and what it wrote. */
static int child_of(void (*run)(void), char *text, size_t size)
{
	int ends[2], status = 0;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], STDERR_FILENO);
		run();
		_exit(0);
	}
	close(ends[1]);
	size_t used = 0;
	for (ssize_t got; used < size - 1 && (got = read(ends[0], text + used, size - 1 - used)) > 0;)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void break_one(void)
{
	int one = 1;
	KEEL_ASSERT(one == 1);
	KEEL_ASSERT(one == 2);
}

/* The message names the condition and the place. */
TEST(a_broken_assertion_aborts)
{
	char text[256];
	int status = child_of(break_one, text, sizeof text);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(text, "assert.c:"));
	assert_non_null(strstr(text, "assertion failed: one == 2"));
}

static void trace_two(void)
{
	setenv("KEEL_TRACE", "other,sql", 1);
	KEEL_TRACE("sql", "%s", "SELECT 1");
	KEEL_TRACE("transition", "a -> b");
	KEEL_TRACE("othe", "x");
}

/* Only the topics that the environment names are printed. */
TEST(topics_are_chosen_by_name)
{
	char text[256];
	assert_int_equal(child_of(trace_two, text, sizeof text), 0);
	assert_string_equal(text, "sql: SELECT 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(a_broken_assertion_aborts),
		ALONE(topics_are_chosen_by_name),
	};
	return cmocka_run_group_tests_name("assert", tests, NULL, NULL);
}
