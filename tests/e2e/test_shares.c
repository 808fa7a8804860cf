/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small tables, a container that fills them, and one that must be seen all the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/container.h"

static const struct container_opts debian = {.userland = USERLAND_DEBIAN, .leakers = ARGS("many")};

struct pair {
	struct container *noisy_home, *quiet_home;
	struct child *noisy, *quiet;
	struct report report;
};

/* The quiet one begins when the noisy one is done, and is seen to the last byte. */
static struct pair run_pair(const char *const *noisy, const char *const *quiet, const char *option,
			    const char *room)
{
	struct pair pair = {
		.noisy_home = container__start("noisy", &debian),
		.quiet_home = container__start("quiet", &debian),
	};
	char *parent = container__parent_dir();
	struct child *tool;

	pair.noisy = container__leaker(pair.noisy_home, noisy);
	pair.quiet = container__leaker(pair.quiet_home, quiet);
	tool = tool__start(
		ARGS("trace", "--format", "json", "--top", "0", "--cgroup", parent, option, room),
		NULL);
	tool__await_tracing(tool);
	leaker__go(pair.noisy);
	leaker__go(pair.quiet);
	pair.report = trace__end(tool);
	assert_expect(&pair.report, container__expect(pair.quiet));
	free(parent);
	return pair;
}

/* What the report says that the group of a container lost. */
static int64_t lost_of(const struct pair *pair, const struct container *home, const char *what)
{
	struct json_object *groups = field(pair->report.root, "cgroups");

	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);

		if (!strcmp(text_of(group, "path"), home->cgroup))
			return json_object_get_int64(field(group, what));
	}
	fail_msg("the report has no cgroup %s", home->cgroup);
	return 0;
}

static void test_blocks(void **state)
{
	struct pair pair = run_pair(ARGS("many", "blocks", "30000"), ARGS("many", "blocks", "500"),
				    "--max-blocks", "10000");
	struct tally noisy = report__sum(&pair.report, pair.noisy->pid, "malloc", NULL);
	int64_t lost = report__loss(&pair.report, "share_full");

	(void)state;
	print_message("noisy: %lld blocks seen, %lld lost\n", (long long)noisy.live_count,
		      (long long)lost);
	assert_in_range(noisy.live_count, 7800, 8200);
	assert_true(noisy.live_count + lost >= 30000);
	assert_int_equal(report__loss(&pair.report, "map_full"), 0);
	assert_int_equal(lost_of(&pair, pair.noisy_home, "lost_blocks"), lost);
	assert_int_equal(lost_of(&pair, pair.noisy_home, "lost_bytes"),
			 report__loss(&pair.report, "share_full_bytes"));
	assert_int_equal(lost_of(&pair, pair.quiet_home, "lost_blocks"), 0);
}

static void test_stacks(void **state)
{
	struct pair pair = run_pair(ARGS("many", "stacks", "3000"), ARGS("many", "stacks", "20"),
				    "--max-stacks", "1000");

	(void)state;
	assert_true(report__loss(&pair.report, "stacks_lost") > 1000);
	assert_true(lost_of(&pair, pair.noisy_home, "lost_stacks") > 1000);
	assert_int_equal(lost_of(&pair, pair.quiet_home, "lost_stacks"), 0);
}

/* Keeps a block below each of so many stacks of Python functions, which are one stack of machine
 * code. */
static const char many_stacks[] =
	"import sys\n"
	"kept = []\n"
	"def even(depth, turns):\n"
	"    (odd if turns & 1 else even)(depth - 1, turns >> 1) if depth else keep()\n"
	"def odd(depth, turns):\n"
	"    (odd if turns & 1 else even)(depth - 1, turns >> 1) if depth else keep()\n"
	"def keep():\n"
	"    kept.append(bytearray(3000))\n"
	"print('READY', flush=True)\n"
	"sys.stdin.readline()\n"
	"for turns in range(int(sys.argv[1])):\n"
	"    even(12, turns)\n"
	"print('DONE', flush=True)\n"
	"sys.stdin.readline()\n";

static struct child *start_python(const struct container *home, const char *stacks)
{
	struct child *child = container__run(
		home, ARGS("/usr/bin/python3", "-I", "-S", "-c", many_stacks, stacks));

	free(child__await_line(child, child->out_fd, "READY", TIMEOUT_MS));
	return child;
}

/* Returns how many blocks of a process are reported below its own Python functions. */
static int64_t below_keep(const struct report *report, pid_t pid)
{
	return report__sum_anywhere(report, pid, "malloc", "keep").live_count;
}

static void test_python_stacks(void **state)
{
	struct pair pair = {
		.noisy_home = container__start("noisy", &debian),
		.quiet_home = container__start("quiet", &debian),
	};
	char *parent = container__parent_dir();
	struct child *tool;

	(void)state;
	pair.noisy = start_python(pair.noisy_home, "4000");
	pair.quiet = start_python(pair.quiet_home, "20");
	tool = trace__start(ARGS("--cgroup", parent, "--max-stacks", "1000"));
	leaker__go(pair.noisy);
	leaker__go(pair.quiet);
	pair.report = trace__end(tool);
	assert_true(report__loss(&pair.report, "python_stacks_lost") > 2000);
	assert_true(lost_of(&pair, pair.noisy_home, "lost_stacks") > 2000);
	assert_true(below_keep(&pair.report, pair.noisy->pid) < 1000);
	assert_int_equal(lost_of(&pair, pair.quiet_home, "lost_stacks"), 0);
	assert_true(below_keep(&pair.report, pair.quiet->pid) >= 20);
	free(parent);
}

/* What ends gives its room back. */
static void test_room_comes_back(void **state)
{
	struct container *noisy = container__start("noisy", &debian),
			 *other = container__start("other", &debian);
	char *parent = container__parent_dir();
	struct child *tool, *last, *leaker;
	struct report report;

	(void)state;
	last = container__leaker(other, ARGS("many", "blocks", "7000"));
	tool = trace__start(
		ARGS("--interval", "500ms", "--cgroup", parent, "--max-blocks", "10000"));
	for (int i = 0; i < 3; i++) {
		leaker = container__leaker(noisy, ARGS("many", "blocks", "7000"));
		leaker__go(leaker);
		leaker__finish(leaker);
		sleep_ms(1500); /* two reports: the ended process is told, then purged */
	}
	leaker__go(last);
	report = trace__end(tool);
	assert_int_equal(report__loss(&report, "share_full"), 0);
	assert_expect(&report, container__expect(last));
	free(parent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTAINER_TEST(test_blocks),
		CONTAINER_TEST(test_stacks),
		CONTAINER_TEST(test_python_stacks),
		CONTAINER_TEST(test_room_comes_back),
	};

	return harness__main("e2e shares", tests, sizeof(tests) / sizeof(tests[0]));
}
