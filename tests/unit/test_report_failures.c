/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refused memory in the reports. */
#include "unit/report_scene.h"

#include "report/failures.h"

#define MIB (1ULL << 20)
#define NOON 1767355200000000000ULL /* 2026-01-02T12:00:00Z */

static void add_failure(struct scene *scene, enum failure_kind kind, uint32_t proc, uint32_t stack,
			uint64_t time_ns, uint64_t bytes, uint64_t cnt, const char *limit)
{
	const struct snap_failure failure = {
		.kind = kind,
		.proc = proc,
		.stack = stack,
		.time_ns = time_ns,
		.bytes = bytes,
		.cnt = cnt,
		.limit = (char *)limit,
	};

	assert_int_equal(snapshot__add_failure(scene->snap, &failure), 0);
}

static uint32_t add_stack(struct scene *scene, const char *function, uint32_t line)
{
	const uint32_t frames[] = {
		add_frame(scene, scene->server, 0x9000 + line, function, "src/load.c", line),
		add_frame(scene, scene->server, 0x9900, "main", "src/main.c", 12),
	};
	uint32_t stack = snapshot__add_stack(scene->snap, frames, 2);

	assert_int_not_equal(stack, SNAP_NONE);
	return stack;
}

/* Fails unless the text has all of the pieces, one behind the other. */
static void assert_in_order(const char *text, const char *const *pieces)
{
	const char *at = text;

	for (; *pieces; pieces++) {
		at = strstr(at, *pieces);
		if (!at) {
			print_message("%s\n", text);
			fail_msg("\"%s\" is not there, or not in its place", *pieces);
		}
		at += strlen(*pieces);
	}
}

#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_nothing_refused(void **state)
{
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "table");
	assert_null(strstr(text, "memory refused"));
	free(text);
	text = render(profile, "json");
	assert_null(strstr(text, "failures\":["));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

static void add_usual(struct scene *scene)
{
	uint32_t load = add_stack(scene, "load_file", 33),
		 other = add_stack(scene, "load_index", 7);

	add_failure(scene, FAILURE_ALLOC, 0, load, NOON, 64 * MIB, 5,
		    "ulimit -v 524288 KiB: 498.1 MiB in use, 64.0 MiB asked for");
	add_failure(scene, FAILURE_MAPPING, 1, other, NOON + SEC, 4096, 1, "");
	add_failure(scene, FAILURE_OOM_KILL, 2, 0, NOON + 2 * SEC, 0, 1,
		    "in cgroup /x (memory.max 64.0 MiB)");
}

static void test_table(void **state)
{
	static const char *const formats[] = {"table", "tree"};
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	for (int i = 0; i < 2; i++) {
		text = render(profile, formats[i]);
		assert_in_order(
			text,
			PIECES("\nmemory refused:\n",
			       "   1  chosen by the kernel's OOM killer: 901 sh, "
			       "2026-01-02T12:00:02Z\n",
			       "      in cgroup /x (memory.max 64.0 MiB)\n",
			       "   2  allocation refused in 812 server, 64.0 MiB asked for, 5 "
			       "times, ",
			       "2026-01-02T12:00:00Z\n",
			       "      ulimit -v 524288 KiB: 498.1 MiB in use, 64.0 MiB asked for\n",
			       "      load_file  src/load.c:33 (server)\n",
			       "      main  src/main.c:12 (server)\n",
			       "   3  mapping refused in 813 worker, 4.0 KiB asked for, "
			       "2026-01-02T12:00:01Z\n",
			       "      which limit refused it is not known\n",
			       "      load_index  "));
		free(text);
	}
	profile__free(profile);
	scene__free(&scene);
}

/* Nothing is live, but memory was refused: that must not be hidden. */
static void test_table_without_rows(void **state)
{
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "table");
	assert_in_order(text, PIECES("memory refused:\n", "OOM killer", "allocation refused in"));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* What led to a MemoryError is shown with it, once; what did not is not hidden. */
static void test_memory_errors(void **state)
{
	uint32_t alloc, error, other;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	alloc = add_stack(&scene, "list_resize", 10);
	error = add_stack(&scene, "no_memory", 20);
	other = add_stack(&scene, "elsewhere", 30);
	add_failure(&scene, FAILURE_MAPPING, 0, other, NOON, MIB, 2, "");
	add_failure(&scene, FAILURE_ALLOC, 0, alloc, NOON + 1000, 96, 2, "");
	add_failure(&scene, FAILURE_MEMORY_ERROR, 0, error, NOON + 2000, 0, 2, "ulimit -v 1 KiB");
	/* Too late, another process, not as often, nothing before it. */
	add_failure(&scene, FAILURE_ALLOC, 0, alloc, NOON + SEC, 97, 1, "");
	add_failure(&scene, FAILURE_MEMORY_ERROR, 0, error, NOON + 2 * SEC, 0, 1, "");
	add_failure(&scene, FAILURE_ALLOC, 0, alloc, NOON + 3 * SEC, 98, 1, "");
	add_failure(&scene, FAILURE_MEMORY_ERROR, 1, error, NOON + 3 * SEC + 1, 0, 1, "");
	add_failure(&scene, FAILURE_ALLOC, 0, alloc, NOON + 5 * SEC, 99, 3, "");
	add_failure(&scene, FAILURE_MEMORY_ERROR, 0, error, NOON + 5 * SEC + 1, 0, 1, "");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "table");
	assert_in_order(text,
			PIECES("   1  MemoryError in 812 server, 96 B asked for, 2 times, first at "
			       "2026-01-02T12:00:00Z\n      ulimit -v 1 KiB\n      no_memory  ",
			       "   2  MemoryError in 812 server, 2026-01-02T12:00:02Z\n",
			       "   3  MemoryError in 813 worker, 2026-01-02T12:00:03Z\n",
			       "   4  MemoryError in 812 server, 2026-01-02T12:00:05Z\n",
			       "   5  allocation refused in 812 server, 97 B asked for",
			       "   6  allocation refused in 812 server, 98 B asked for",
			       "   7  allocation refused in 812 server, 99 B asked for, 3 times"));
	assert_null(strstr(text, "   8  "));
	assert_null(strstr(text, "elsewhere"));
	free(text);
	/* JSON tells all. */
	text = render(profile, "json");
	assert_in_order(text, PIECES("\"kind\":\"mapping\"", "\"bytes\":1048576", "\"bytes\":96",
				     "\"kind\":\"memory_error\"", "\"bytes\":null", "\"count\":2"));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

static void test_many(void **state)
{
	struct profile *profile;
	struct scene scene;
	uint32_t stack;
	char *text;

	(void)state;
	scene__init(&scene);
	stack = add_stack(&scene, "load_file", 33);
	for (uint64_t i = 0; i < 5000; i++)
		add_failure(&scene, FAILURE_ALLOC, 0, stack, NOON + i, 100 + i, 1, "");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "table");
	assert_in_order(text, PIECES("   1  ", "100 B asked", "  10  ", "109 B asked",
				     "... and 4990 more, listed by --format json\n"));
	assert_null(strstr(text, "110 B asked"));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* Names, groups and stacks as hostile as they can be. */
static void test_hostile(void **state)
{
	struct json_object *root, *list, *item, *frames;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	snapshot__add_proc(scene.snap, 5, 1, "\033[2Jx\n\"", "", "", "");
	add_failure(&scene, FAILURE_ALLOC, 3, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX,
		    "cgroup /\033[31m\n\"\xff");
	add_failure(&scene, (enum failure_kind)77, 3, 0, 0, 0, 0, "");
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	text = render(profile, "table");
	assert_null(strchr(text, '\033'));
	assert_in_order(text, PIECES("allocation refused in 5 \\x1b[2Jx\\x0a\", 8.0 EiB asked",
				     "      cgroup /\\x1b[31m\\x0a\"\xef\xbf\xbd\n", "stack lost"));
	free(text);
	text = render(profile, "json");
	root = json_tokener_parse(text);
	assert_non_null(root);
	assert_true(json_object_object_get_ex(root, "failures", &list));
	assert_int_equal(json_object_array_length(list), 2);
	item = json_object_array_get_idx(list, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "comm")),
			    "\033[2Jx\n\"");
	assert_true(json_object_get_uint64(json_object_object_get(item, "bytes")) == UINT64_MAX);
	assert_true(json_object_object_get_ex(item, "frames", &frames));
	assert_int_equal(json_object_array_length(frames), 0);
	item = json_object_array_get_idx(list, 1);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "kind")),
			    "unknown");
	assert_null(json_object_object_get(item, "limit"));
	json_object_put(root);
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

static void test_json(void **state)
{
	struct json_object *root, *list, *item, *frames;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "json");
	root = json_tokener_parse(text);
	assert_non_null(root);
	assert_true(json_object_object_get_ex(root, "failures", &list));
	assert_int_equal(json_object_array_length(list), 3);
	item = json_object_array_get_idx(list, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "kind")), "alloc");
	assert_int_equal(json_object_get_int(json_object_object_get(item, "pid")), 812);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "comm")), "server");
	assert_string_equal(json_object_get_string(json_object_object_get(item, "time")),
			    "2026-01-02T12:00:00.000Z");
	assert_int_equal(json_object_get_int64(json_object_object_get(item, "bytes")), 64 * MIB);
	assert_int_equal(json_object_get_int(json_object_object_get(item, "count")), 5);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "limit")),
			    "ulimit -v 524288 KiB: 498.1 MiB in use, 64.0 MiB asked for");
	assert_true(json_object_object_get_ex(item, "frames", &frames));
	assert_int_equal(json_object_array_length(frames), 2);
	item = json_object_array_get_idx(frames, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(item, "function")),
			    "load_file");
	json_object_put(root);
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_refused),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_table_without_rows),
		cmocka_unit_test(test_memory_errors),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
