/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Containers by the names and numbers that people know them by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/container.h"

static struct runc *start_runc(void)
{
	if (!runc__exists()) {
		print_message("skipped: runc is not installed\n");
		skip();
	}
	return runc__start(ARGS("alloc-static", "all"));
}

/* Returns the item of a top-level list whose member `name` has this text, or NULL. */
static struct json_object *find_item(const struct report *report, const char *list_name,
				     const char *name, const char *text)
{
	struct json_object *list = field(report->root, list_name);

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);
		const char *value = text_of(item, name);

		if (value && !strcmp(value, text))
			return item;
	}
	return NULL;
}

static void assert_live_of(struct json_object *item, struct tally want)
{
	assert_non_null(item);
	assert_int_equal(json_object_get_int64(field(item, "live_bytes")), want.live_bytes);
	assert_int_equal(json_object_get_int64(field(item, "live_count")), want.live_count);
}

static void test_runc_by_its_name(void **state)
{
	struct runc *runc = start_runc();
	struct child *tool = trace__start(ARGS("--cgroup", runc->cgroup));
	struct json_object *expect, *proc, *group;
	struct report report;

	(void)state;
	leaker__go(runc->child);
	expect = container__expect_of(runc->child, runc->pid);
	report = trace__end(tool);
	proc = report__process(&report, runc->pid);
	assert_non_null(proc);
	assert_string_equal(text_of(proc, "container"), runc->id);
	assert_int_equal(json_object_get_int(field(proc, "ns_pid")), 1);
	group = find_item(&report, "cgroups", "path", runc->cgroup);
	assert_live_of(group, expect__totals(expect));
	assert_string_equal(text_of(group, "title"), runc->id);
	assert_string_equal(text_of(group, "runtime"), "runc");
	assert_string_equal(text_of(group, "container_id"), runc->id);
}

static void test_container_option(void **state)
{
	struct runc *runc = start_runc();
	const struct container_opts opts = {.userland = USERLAND_STATIC,
					    .leakers = ARGS("alloc-static")};
	struct container *aside = container__start("aside", &opts);
	struct child *stranger = container__leaker(aside, ARGS("alloc-static", "malloc"));
	struct child *tool = trace__start(ARGS("--container", runc->id));
	struct report report;

	(void)state;
	leaker__go(runc->child);
	leaker__go(stranger);
	report = trace__end(tool);
	assert_expect(&report, container__expect_of(runc->child, runc->pid));
	assert_null(report__process(&report, stranger->pid));
	assert_int_equal(json_object_array_length(field(report.root, "processes")), 1);
}

static void test_unknown_container(void **state)
{
	struct child *tool = tool__start(
		ARGS("trace", "--format", "json", "--container", "leaksweep-e2e-nobody"), NULL);
	char *err;

	(void)state;
	assert_int_not_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	err = child__stderr(tool);
	if (!strstr(err, "leaksweep-e2e-nobody"))
		fail_msg("the name is not in the message: %s", err);
	free(err);
}

/* One that is there does not hide that another is not, whichever comes first. */
static void check_second_unknown(const char *first, const char *second)
{
	struct child *tool = tool__start(ARGS("trace", "--format", "json", "--duration", "5s",
					      "--container", first, "--container", second),
					 NULL);
	char *err;

	assert_int_not_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	err = child__stderr(tool);
	if (!strstr(err, "no container is named leaksweep-e2e-nobody:"))
		fail_msg("the message is about another name: %s", err);
	free(err);
}

static void test_one_of_two_containers_unknown(void **state)
{
	const struct container_opts opts = {.userland = USERLAND_STATIC,
					    .leakers = ARGS("alloc-static")};
	struct container *container = container__start("known", &opts);

	(void)state;
	check_second_unknown(container->cgroup, "leaksweep-e2e-nobody");
	check_second_unknown("leaksweep-e2e-nobody", container->cgroup);
}

static void test_group_by_container(void **state)
{
	struct runc *runc = start_runc();
	struct child *tool =
		trace__start(ARGS("--cgroup", runc->cgroup, "--group-by", "container"));
	struct json_object *expect;
	struct report report;

	(void)state;
	leaker__go(runc->child);
	expect = container__expect_of(runc->child, runc->pid);
	report = trace__end(tool);
	assert_live_of(find_item(&report, "groups", "key", runc->id), expect__totals(expect));
}

/* One that no runtime knows has its path for a name, and two numbers for each process. */
static void test_container_of_nobody(void **state)
{
	const struct container_opts opts = {.userland = USERLAND_MUSL,
					    .leakers = ARGS("alloc-musl")};
	struct container *container = container__start("nameless", &opts);
	struct child *leaker = container__leaker(container, ARGS("alloc-musl", "all"));
	struct child *tool = trace__start(ARGS("--cgroup", container->cgroup));
	struct json_object *expect, *proc, *group;
	struct report report;

	(void)state;
	leaker__go(leaker);
	expect = container__expect(leaker);
	report = trace__end(tool);
	proc = report__process(&report, leaker->pid);
	assert_non_null(proc);
	assert_int_equal(json_object_get_int(field(proc, "ns_pid")), inner_pid(leaker->pid));
	group = find_item(&report, "cgroups", "path", container->cgroup);
	assert_live_of(group, expect__totals(expect));
	assert_string_equal(text_of(group, "title"), container->cgroup);
}

/* Workers that are forked while they are traced have their numbers inside, too. */
static void test_forked_in_a_container(void **state)
{
	const struct container_opts opts = {.leakers = ARGS("tree")};
	struct container *container = container__start("forks", &opts);
	struct child *leaker = container__leaker(container, ARGS("tree", "grandchild"));
	struct child *tool = trace__start(ARGS("--cgroup", container->cgroup));
	struct json_object *procs;
	struct report report;
	size_t told = 0;

	(void)state;
	leaker__go(leaker);
	report = trace__end(tool);
	procs = field(report.root, "processes");
	for (size_t i = 0; i < json_object_array_length(procs); i++) {
		struct json_object *proc = json_object_array_get_idx(procs, i);
		pid_t pid = json_object_get_int(field(proc, "pid"));

		if (strcmp(text_of(proc, "comm"), "tree"))
			continue;
		assert_int_equal(json_object_get_int(field(proc, "ns_pid")), inner_pid(pid));
		told++;
	}
	assert_int_equal(told, 3);
}

/* A process of the host has one number, which is told once. */
static void test_host_process_has_one_pid(void **state)
{
	struct run run = run__trace(ARGS("alloc", "malloc"), NO_ARGS, NULL);
	struct json_object *proc = report__process(&run.report, run.leaker->pid);

	(void)state;
	assert_non_null(proc);
	assert_null(field(proc, "ns_pid"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTAINER_TEST(test_runc_by_its_name),
		CONTAINER_TEST(test_container_option),
		CONTAINER_TEST(test_unknown_container),
		CONTAINER_TEST(test_one_of_two_containers_unknown),
		CONTAINER_TEST(test_group_by_container),
		CONTAINER_TEST(test_container_of_nobody),
		CONTAINER_TEST(test_forked_in_a_container),
		CONTAINER_TEST(test_host_process_has_one_pid),
	};

	return harness__main("e2e container names", tests, sizeof(tests) / sizeof(tests[0]));
}
