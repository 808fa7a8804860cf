/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events that have no room in the ring buffer. The tool is stopped and the smallest ring is filled,
 * so that what happens then is surely not told; once it goes on, it finds out by itself.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/harness.h"

#define SMALLEST_RING "4K"
#define MANY_MAPPINGS 2000 /* far more than the smallest ring holds */

/* The tool looks whether events were lost every two seconds. */
#define FOUND_MS (4000 * slowness())

/* The test itself is traced. */
static void fill_ring(void)
{
	for (int i = 0; i < MANY_MAPPINGS; i++) {
		void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		assert_true(p != MAP_FAILED);
		assert_int_equal(munmap(p, 4096), 0);
	}
}

static void deafen(const struct child *tool)
{
	assert_int_equal(kill(tool->pid, SIGSTOP), 0);
	fill_ring();
}

static void let_hear(const struct child *tool)
{
	fill_ring(); /* it was full until now */
	assert_int_equal(kill(tool->pid, SIGCONT), 0);
	sleep_ms(FOUND_MS);
}

static struct report end_with_losses(struct child *tool)
{
	struct report report = trace__end(tool);

	print_message("%lld events were lost\n", (long long)report__loss(&report, "events_lost"));
	assert_true(report__loss(&report, "events_lost") > MANY_MAPPINGS);
	return report;
}

static void assert_told(const struct report *report, struct child *leaker)
{
	struct expects expects = expects__read(leaker);

	assert_non_null(report__process(report, leaker->pid));
	assert_expect_functions(report, expects__of(&expects, 0));
}

/* Its birth is never told, nor that it was there and allocated before anybody heard again. */
static void test_process_that_started_meanwhile(void **state)
{
	struct child *tool = trace__start(ARGS("-a", "--ring-size", SMALLEST_RING)), *leaker;
	struct report report;

	(void)state;
	deafen(tool);
	leaker = leaker__start(ARGS("alloc", "malloc"), NULL);
	leaker__go(leaker);
	let_hear(tool);
	report = end_with_losses(tool);
	assert_told(&report, leaker);
	leaker__finish(leaker);
}

/* Nothing of it is recorded before it is found, by its name. */
static void test_wanted_name_that_started_meanwhile(void **state)
{
	struct child *tool, *leaker;
	struct report report;
	char own_name[16];

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, own_name), 0);
	tool = trace__start(
		ARGS("--comm", own_name, "--comm", "alloc", "--ring-size", SMALLEST_RING));
	deafen(tool);
	leaker = leaker__start(ARGS("alloc", "malloc"), NULL);
	let_hear(tool);
	leaker__go(leaker);
	report = end_with_losses(tool);
	assert_told(&report, leaker);
	leaker__finish(leaker);
}

/* An allocator in a library that was opened meanwhile. */
static void test_library_opened_meanwhile(void **state)
{
	char *library = leaker_path("libsecond.so");
	struct child *leaker = leaker__start(ARGS("plugin", "apart", library), NULL), *tool;
	char *pids = format("%d,%d", (int)leaker->pid, (int)getpid());
	struct report report;

	(void)state;
	tool = trace__start(ARGS("-p", pids, "--ring-size", SMALLEST_RING, "--alloc-fn",
				 "my_alloc:size=1", "--free-fn", "my_free"));
	deafen(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "OPENED", TIMEOUT_MS));
	let_hear(tool);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	report = end_with_losses(tool);
	assert_told(&report, leaker);
	leaker__finish(leaker);
	free(pids);
	free(library);
}

/* What children allocated themselves; their frees of inherited blocks are lost with the events. */
static void test_children_forked_meanwhile(void **state)
{
	struct child *leaker = leaker__start(ARGS("tree", "inherit"), NULL), *tool;
	char *pids = format("%d,%d", (int)leaker->pid, (int)getpid());
	struct expects expects;
	struct report report;
	size_t children = 0;

	(void)state;
	tool = trace__start(ARGS("-p", pids, "--ring-size", SMALLEST_RING));
	deafen(tool);
	leaker__go(leaker);
	let_hear(tool);
	report = end_with_losses(tool);
	expects = expects__read(leaker);
	for (size_t i = 0; i < expects.cnt; i++) {
		struct json_object *expect = expects__of(&expects, i);
		int pid = expect__pid(expect);

		if (pid == leaker->pid)
			continue;
		assert_non_null(report__process(&report, pid));
		assert_tally(&report, "child_leak",
			     report__sum(&report, pid, "malloc", "child_leak"),
			     expect__function(expect, "functions", "child_leak"));
		children++;
	}
	assert_true(children > 0);
	leaker__finish(leaker);
	free(pids);
}

/* A named process that execs stays the one whose end ends the trace. */
static void test_exec_meanwhile(void **state)
{
	struct child *leaker = leaker__start(ARGS("tree", "exec"), NULL), *tool;
	char *pids = format("%d,%d", (int)leaker->pid, (int)getpid());
	struct expects expects;
	struct report report;

	(void)state;
	tool = trace__start(ARGS("-p", pids, "--ring-size", SMALLEST_RING));
	deafen(tool);
	leaker__go(leaker);
	let_hear(tool);
	report = end_with_losses(tool);
	expects = expects__read(leaker);
	assert_expect_functions(&report, expects__of(&expects, (int)expects.cnt - 1));
	leaker__finish(leaker);
	free(pids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_process_that_started_meanwhile),
		E2E_TEST(test_wanted_name_that_started_meanwhile),
		E2E_TEST(test_library_opened_meanwhile),
		E2E_TEST(test_children_forked_meanwhile),
		E2E_TEST(test_exec_meanwhile),
	};

	return harness__main("e2e lost events", tests, sizeof(tests) / sizeof(tests[0]));
}
