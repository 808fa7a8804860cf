/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole stacks beside gdb's: at random allocations of a program without frame pointers and of one
 * full of threads, exceptions and signal handlers, both see the same frames. `make unwind-check`
 * does it in more programs and more often.
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "lib/harness.h"
#include "lib/inside.h"

#define NO_DEBUG_REGISTERS 77

static void compare(const char *program)
{
	char *gdb = need_program("gdb", "gdb");
	struct child *child = child__start(
		ARGS("tests/unwind/compare.sh", "--stops", "40", "--rounds", "2", program), NULL);
	int status = child__await_exit(child, LONG_MS);
	char *out = child__stdout(child), *err = child__stderr(child);

	print_message("%s", out);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_DEBUG_REGISTERS) {
		print_message("cannot be compared here: %s", err);
		skip();
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("%s: stacks differ from gdb's, or it did not run: %s", program, err);
	free(err);
	free(out);
	free(gdb);
}

static void test_perl(void **state)
{
	(void)state;
	compare("perl");
}

static void test_threads(void **state)
{
	(void)state;
	compare("threads");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_perl),
		E2E_TEST(test_threads),
	};

	return harness__main("e2e unwind_gdb", tests, sizeof(tests) / sizeof(tests[0]));
}
