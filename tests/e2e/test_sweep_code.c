/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sweep names the code that keeps memory, within its budget: of a leak amid churn of its size,
 * and not of a cache that has turned over or of an allocator that keeps what was freed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/container.h"

#define LEAK_PER_MIN "10000000"
#define LEAK_PER_HOUR (60 * 10e6)
#define DURATION_S 90

static struct report sweep(const char *const *args)
{
	struct child *tool = tool__start(args, NULL);
	struct report report;
	char *out;
	int status = child__await_exit(tool, DURATION_S * 1000 * patience() + TIMEOUT_MS);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	out = child__stdout(tool);
	report = report__parse(out);
	free(out);
	return report;
}

/* Returns what is told of a process's code, NULL = it is in no row, or nothing is. */
static struct json_object *code_of(const struct report *report, pid_t pid)
{
	struct json_object *row = sweep__row(report->root, pid);

	return row ? field(row, "code") : NULL;
}

/* Returns the site number `i` of those that grow, NULL = there are no more. */
static struct json_object *growing_site(struct json_object *code, size_t i)
{
	struct json_object *sites = code ? field(code, "sites") : NULL;
	struct json_object *site;

	if (!sites || i >= json_object_array_length(sites))
		return NULL;
	site = json_object_array_get_idx(sites, i);
	return strcmp(text_of(site, "verdict"), "growing") ? NULL : site;
}

static bool has_function(struct json_object *site, const char *name)
{
	struct json_object *frames = field(site, "frames");

	for (size_t i = 0; i < json_object_array_length(frames); i++) {
		const char *function = text_of(json_object_array_get_idx(frames, i), "function");

		if (function && !strcmp(function, name))
			return true;
	}
	return false;
}

static void assert_leak(const struct report *report, pid_t pid)
{
	struct json_object *code = code_of(report, pid), *site = growing_site(code, 0), *rate;

	if (!site || !has_function(site, "leak_block"))
		fail_msg("the leak of %d is not named: %s", (int)pid,
			 code ? json_object_to_json_string(code) : "there is no code");
	rate = field(site, "rate");
	print_message("leak of %.0f MB per hour: %.0f (%.0f to %.0f), in %.0f windows, %.2f s\n",
		      LEAK_PER_HOUR / 1e6, number_in(rate, "bytes_per_hour") / 1e6,
		      number_in(rate, "lower") / 1e6, number_in(rate, "upper") / 1e6,
		      number_in(code, "windows"), number_in(code, "traced_ns") / 1e9);
	/* The bounds are those of 19 in 20. */
	assert_true(number_in(rate, "lower") < 1.2 * LEAK_PER_HOUR);
	assert_true(number_in(rate, "upper") > LEAK_PER_HOUR / 1.2);
}

static void assert_no_leak(const struct report *report, pid_t pid)
{
	struct json_object *site = growing_site(code_of(report, pid), 0);

	if (site)
		fail_msg("process %d has no leak: %s", (int)pid, json_object_to_json_string(site));
}

static struct container *start_container(void)
{
	const struct container_opts opts = {.leakers = ARGS("service")};

	return container__start("services", &opts);
}

/* Others of the host would have a part of the budget. */
static void test_leak_amid_churn(void **state)
{
	char *duration = format("%ds", DURATION_S * slowness());
	struct container *host = start_container();
	struct child *leak = container__leaker(host, ARGS("service", "leak", LEAK_PER_MIN));
	struct child *cache = container__leaker(host, ARGS("service", "cache", "5"));
	struct child *startup = container__leaker(host, ARGS("service", "startup", "32"));
	struct child *retained = container__leaker(host, ARGS("service", "retained"));
	struct report report = sweep(ARGS("sweep", "--once", "--duration", duration, "--cgroup",
					  host->cgroup, "--format", "json"));
	struct json_object *overhead = field(report.root, "overhead");

	(void)state;
	print_message("%.2f of %.2f %% of each CPU spent in the last minute\n",
		      number_in(overhead, "spent_percent"), number_in(overhead, "budget_percent"));
	assert_leak(&report, leak->pid);
	assert_no_leak(&report, cache->pid);
	assert_no_leak(&report, startup->pid);
	assert_no_leak(&report, retained->pid);
	assert_non_null(code_of(&report, retained->pid));
	assert_true(number_in(overhead, "spent_percent") <=
		    1.1 * number_in(overhead, "budget_percent"));
	free(duration);
}

/* Without a budget it is told who touched new memory first, which for a mapping is who keeps it. */
static void test_no_budget(void **state)
{
	char *duration = format("%ds", 40 * slowness());
	struct container *host = start_container();
	struct child *mapper = container__leaker(host, ARGS("service", "mmap", LEAK_PER_MIN));
	struct report report = sweep(ARGS("sweep", "--once", "--duration", duration, "--budget",
					  "0", "--cgroup", host->cgroup, "--format", "json"));
	struct json_object *code = code_of(&report, mapper->pid), *touches;

	(void)state;
	assert_null(field(field(report.root, "overhead"), "budget_percent"));
	assert_non_null(code);
	assert_string_equal(text_of(code, "look"), "off");
	assert_int_equal(json_object_array_length(field(code, "sites")), 0);
	touches = field(code, "touches");
	if (!json_object_array_length(touches) ||
	    !has_function(json_object_array_get_idx(touches, 0), "map_region"))
		fail_msg("the mappings are not told: %s", json_object_to_json_string(code));
	if (number_in(json_object_array_get_idx(touches, 0), "bytes") <=
	    0.8 * number_in(code, "grown_bytes"))
		fail_msg("the mappings are not most of it: %s", json_object_to_json_string(code));
	free(duration);
}

static void test_bad_budget(void **state)
{
	const char *const bad[] = {"x", "-1", "101", "1.", ""};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct child *tool = tool__start(ARGS("sweep", "--budget", bad[i]), NULL);
		int status = child__await_exit(tool, TIMEOUT_MS);
		char *err = child__stderr(tool);

		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
		assert_non_null(strstr(err, "--budget"));
		free(err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTAINER_TEST(test_leak_amid_churn),
		CONTAINER_TEST(test_no_budget),
		E2E_TEST(test_bad_budget),
	};

	return harness__main("e2e sweep code", tests, sizeof(tests) / sizeof(tests[0]));
}
