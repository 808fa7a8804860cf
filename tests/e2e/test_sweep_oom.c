/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the kernel kills for memory, the sweep tells at once what it knew: whose limit it was, who
 * had how much, and which function of the one that was killed leaks - also of the next process of
 * the service, which nobody knew for long.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/container.h"

#define LIMIT_MIB 44
#define CHURN_PER_S "10000" /* few others, for the leak to be named within half a minute */
#define LEAK_PER_MIN "66000000"
#define FAST_LEAK_PER_MIN "300000000"
#define FASTEST_LEAK_PER_MIN "900000000"
#define KILLED_MS 60000
#define TOLD_MS 7500 /* a pass comes within 6.5 s, and those for it soon after */
#define MAX_DOCS 64

/* ---- documents, one after the other ---- */

struct docs {
	struct json_object *items[MAX_DOCS];
	size_t cnt;
};

static struct docs parse_docs(const char *text)
{
	struct json_tokener *tokener = json_tokener_new();
	size_t len = strlen(text), at = 0;
	struct docs docs = {0};

	while (at < len) {
		struct json_object *doc =
			json_tokener_parse_ex(tokener, text + at, (int)(len - at));

		if (!doc)
			break;
		assert_true(docs.cnt < MAX_DOCS);
		docs.items[docs.cnt++] = doc;
		at += json_tokener_get_parse_end(tokener);
		at += strspn(text + at, "\n");
	}
	if (at < len)
		fail_msg("this is no document: %s", text + at);
	json_tokener_free(tokener);
	return docs;
}

static void free_docs(struct docs *docs)
{
	for (size_t i = 0; i < docs->cnt; i++)
		json_object_put(docs->items[i]);
}

/* Returns the process in a list of what was killed, NULL = it is not told there. */
static struct json_object *process_of(struct json_object *oom, pid_t pid)
{
	struct json_object *list = field(oom, "list");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *process = json_object_array_get_idx(list, i);

		if (json_object_get_int(field(process, "pid")) == pid)
			return process;
	}
	return NULL;
}

/* Returns what was told of the kill of a process; fails when it was not told, or twice. */
static struct json_object *oom_of(const struct docs *docs, pid_t pid)
{
	struct json_object *found = NULL;

	for (size_t i = 0; i < docs->cnt; i++) {
		struct json_object *ooms = field(docs->items[i], "oom");

		for (size_t j = 0; j < json_object_array_length(ooms); j++) {
			struct json_object *oom = json_object_array_get_idx(ooms, j),
					   *process = process_of(oom, pid);

			if (!process || strcmp(text_of(process, "fate"), "killed"))
				continue;
			assert_null(found);
			assert_string_equal(text_of(docs->items[i], "mode"), "sweep");
			assert_string_equal(text_of(docs->items[i], "event"), "oom");
			found = oom;
		}
	}
	if (!found)
		fail_msg("that %d was killed is not told in %zu documents", (int)pid, docs->cnt);
	return found;
}

/* ---- checks ---- */

static void assert_group(struct json_object *oom, const struct container *container)
{
	struct json_object *limit = field(oom, "limit");

	assert_int_equal(json_object_get_int(field(oom, "kills")), 1);
	assert_string_equal(text_of(oom, "cgroup"), container->cgroup);
	assert_string_equal(text_of(limit, "cgroup"), container->cgroup);
	assert_int_equal(json_object_get_int64(field(limit, "bytes")), LIMIT_MIB << 20);
	assert_true(json_object_get_int64(field(oom, "anon_bytes")) <= (LIMIT_MIB + 1) << 20);
}

/* It was the first in the list, with about all that there was. */
static void assert_victim(struct json_object *oom, pid_t pid, int least_mib)
{
	struct json_object *first = json_object_array_get_idx(field(oom, "list"), 0);
	int64_t anon = json_object_get_int64(field(first, "anon_bytes"));

	assert_int_equal(json_object_get_int(field(first, "pid")), pid);
	assert_string_equal(text_of(first, "comm"), "service");
	if (anon < least_mib << 20)
		fail_msg("%d is said to have had %.1f MiB", (int)pid, (double)anon / (1 << 20));
}

/* What is known of a process's code, of which process that was, has the leaking function. */
static void assert_leak_known(struct json_object *process, pid_t whose)
{
	struct json_object *known = field(process, "known"), *sites, *site, *frames;
	bool is_named = false;

	if (!known)
		fail_msg("nothing is known of its code: %s", json_object_to_json_string(process));
	assert_int_equal(json_object_get_int(field(known, "pid")), whose);
	sites = field(field(known, "code"), "sites");
	site = json_object_array_get_idx(sites, 0);
	if (!site || strcmp(text_of(site, "verdict"), "growing"))
		fail_msg("no stack is known to grow: %s", json_object_to_json_string(known));
	frames = field(site, "frames");
	for (size_t i = 0; i < json_object_array_length(frames); i++) {
		const char *name = text_of(json_object_array_get_idx(frames, i), "function");

		is_named |= name && !strcmp(name, "leak_block");
	}
	if (!is_named)
		fail_msg("the leak is not named: %s", json_object_to_json_string(known));
}

/* ---- tests ---- */

static struct child *run_leak(const struct container *container, const char *bytes_per_min)
{
	return container__leaker(container,
				 ARGS("service", "--rate", CHURN_PER_S, "leak", bytes_per_min));
}

static void await_kill(struct child *leak)
{
	int status = child__await_exit(leak, KILLED_MS * patience());

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct docs end_sweep(struct child *tool)
{
	struct docs docs;
	char *out;

	kill(tool->pid, SIGTERM);
	assert_int_equal(child__await_exit(tool, TIMEOUT_MS), 0);
	out = child__stdout(tool);
	docs = parse_docs(out);
	free(out);
	return docs;
}

static struct container *start_service(const char *name)
{
	const struct container_opts opts = {.leakers = ARGS("service"),
					    .memory_bytes = LIMIT_MIB << 20};

	return container__start(name, &opts);
}

/* The second one is killed before anything can be known of it but whom it follows. */
static void test_leak_of_the_killed(void **state)
{
	struct container *service = start_service("shop.service");
	char *parent = container__parent_dir();
	struct child *tool = tool__start(ARGS("sweep", "--cgroup", parent, "--budget", "4",
					      "--interval", "1h", "--format", "json"),
					 NULL);
	struct child *first = run_leak(service, LEAK_PER_MIN), *second;
	struct json_object *oom;
	struct docs docs;

	(void)state;
	await_kill(first);
	second = run_leak(service, FAST_LEAK_PER_MIN);
	await_kill(second);
	sleep_ms(TOLD_MS);
	docs = end_sweep(tool);
	oom = oom_of(&docs, first->pid);
	assert_group(oom, service);
	assert_victim(oom, first->pid, LIMIT_MIB * 2 / 3);
	assert_leak_known(process_of(oom, first->pid), first->pid);
	oom = oom_of(&docs, second->pid);
	assert_group(oom, service);
	assert_victim(oom, second->pid, LIMIT_MIB / 4);
	assert_leak_known(process_of(oom, second->pid), first->pid);
	free_docs(&docs);
	free(parent);
}

/* By the counters alone, and in the one report that there is. */
static void test_without_programs(void **state)
{
	struct container *service = start_service("plain");
	struct child *tool = tool__start(ARGS("sweep", "--cgroup", service->cgroup, "--budget", "0",
					      "--once", "--duration", "1h", "--format", "json"),
					 NULL);
	struct child *leak = run_leak(service, FASTEST_LEAK_PER_MIN);
	struct json_object *ooms;
	struct docs docs;

	(void)state;
	await_kill(leak);
	sleep_ms(2000);
	docs = end_sweep(tool);
	assert_int_equal(docs.cnt, 1);
	assert_null(field(docs.items[0], "event"));
	ooms = field(docs.items[0], "oom");
	assert_int_equal(json_object_array_length(ooms), 1);
	assert_group(json_object_array_get_idx(ooms, 0), service);
	assert_victim(json_object_array_get_idx(ooms, 0), leak->pid, LIMIT_MIB / 4);
	free_docs(&docs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONTAINER_TEST(test_without_programs),
		CONTAINER_TEST(test_leak_of_the_killed),
	};

	return harness__main("e2e sweep oom", tests, sizeof(tests) / sizeof(tests[0]));
}
