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

/* Fails unless what is rendered has all of the pieces in order, and nothing of what is absent. */
static void check_rendered(const struct profile *profile, const char *format,
			   const char *const *pieces, const char *const *absent)
{
	char *text = render(profile, format);

	assert_in_order(text, pieces);
	for (; *absent; absent++)
		if (strstr(text, *absent))
			fail_msg("\"%s\" is there:\n%s", *absent, text);
	free(text);
}

/* Renders as JSON and parses it. Returns the list of failures, which lives as long as `ret_root`,
 * which the caller puts. */
static struct json_object *parse_failures(const struct profile *profile, size_t cnt,
					  struct json_object **ret_root)
{
	char *text = render(profile, "json");
	struct json_object *list;

	*ret_root = json_tokener_parse(text);
	free(text);
	assert_non_null(*ret_root);
	assert_true(json_object_object_get_ex(*ret_root, "failures", &list));
	assert_int_equal(json_object_array_length(list), cnt);
	return list;
}

static void check_string(struct json_object *item, const char *name, const char *expected)
{
	assert_string_equal(json_object_get_string(json_object_object_get(item, name)), expected);
}

static void check_number(struct json_object *item, const char *name, uint64_t expected)
{
	assert_int_equal(json_object_get_uint64(json_object_object_get(item, name)), expected);
}

static struct json_object *frames_of(struct json_object *item, size_t cnt)
{
	struct json_object *frames;

	assert_true(json_object_object_get_ex(item, "frames", &frames));
	assert_int_equal(json_object_array_length(frames), cnt);
	return frames;
}

static void end(struct scene *scene, struct profile *profile)
{
	profile__free(profile);
	scene__free(scene);
}

static void test_nothing_refused(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_rendered(profile, "table", PIECES(NULL), PIECES("memory refused"));
	check_rendered(profile, "json", PIECES(NULL), PIECES("failures\":["));
	end(&scene, profile);
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

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	for (int i = 0; i < 2; i++)
		check_rendered(
			profile, formats[i],
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
			       "      which limit refused it is not known\n", "      load_index  "),
			PIECES(NULL));
	end(&scene, profile);
}

/* Nothing is live, but memory was refused: that must not be hidden. */
static void test_table_without_rows(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_rendered(profile, "table",
		       PIECES("memory refused:\n", "OOM killer", "allocation refused in"),
		       PIECES(NULL));
	end(&scene, profile);
}

/* What led to a MemoryError is shown with it, once; what did not is not hidden. */
static void test_memory_errors(void **state)
{
	uint32_t alloc, error, other;
	struct profile *profile;
	struct scene scene;

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
	check_rendered(profile, "table",
		       PIECES("   1  MemoryError in 812 server, 96 B asked for, 2 times, first at "
			      "2026-01-02T12:00:00Z\n      ulimit -v 1 KiB\n      no_memory  ",
			      "   2  MemoryError in 812 server, 2026-01-02T12:00:02Z\n",
			      "   3  MemoryError in 813 worker, 2026-01-02T12:00:03Z\n",
			      "   4  MemoryError in 812 server, 2026-01-02T12:00:05Z\n",
			      "   5  allocation refused in 812 server, 97 B asked for",
			      "   6  allocation refused in 812 server, 98 B asked for",
			      "   7  allocation refused in 812 server, 99 B asked for, 3 times"),
		       PIECES("   8  ", "elsewhere"));
	/* JSON tells all. */
	check_rendered(profile, "json",
		       PIECES("\"kind\":\"mapping\"", "\"bytes\":1048576", "\"bytes\":96",
			      "\"kind\":\"memory_error\"", "\"bytes\":null", "\"count\":2"),
		       PIECES(NULL));
	end(&scene, profile);
}

static void test_many(void **state)
{
	struct profile *profile;
	struct scene scene;
	uint32_t stack;

	(void)state;
	scene__init(&scene);
	stack = add_stack(&scene, "load_file", 33);
	for (uint64_t i = 0; i < 5000; i++)
		add_failure(&scene, FAILURE_ALLOC, 0, stack, NOON + i, 100 + i, 1, "");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_rendered(profile, "table",
		       PIECES("   1  ", "100 B asked", "  10  ", "109 B asked",
			      "... and 4990 more, listed by --format json\n"),
		       PIECES("110 B asked"));
	end(&scene, profile);
}

/* Names, groups and stacks as hostile as they can be. */
static void test_hostile(void **state)
{
	struct json_object *root, *list, *item;
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	snapshot__add_proc(scene.snap, 5, 1, "\033[2Jx\n\"", "", "", "");
	add_failure(&scene, FAILURE_ALLOC, 3, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX,
		    "cgroup /\033[31m\n\"\xff");
	add_failure(&scene, (enum failure_kind)77, 3, 0, 0, 0, 0, "");
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	check_rendered(profile, "table",
		       PIECES("allocation refused in 5 \\x1b[2Jx\\x0a\", 8.0 EiB asked",
			      "      cgroup /\\x1b[31m\\x0a\"\xef\xbf\xbd\n", "stack lost"),
		       PIECES("\033"));
	list = parse_failures(profile, 2, &root);
	item = json_object_array_get_idx(list, 0);
	check_string(item, "comm", "\033[2Jx\n\"");
	check_number(item, "bytes", UINT64_MAX);
	frames_of(item, 0);
	item = json_object_array_get_idx(list, 1);
	check_string(item, "kind", "unknown");
	assert_null(json_object_object_get(item, "limit"));
	json_object_put(root);
	end(&scene, profile);
}

static void test_json(void **state)
{
	struct json_object *root, *list, *item;
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	add_usual(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	list = parse_failures(profile, 3, &root);
	item = json_object_array_get_idx(list, 0);
	check_string(item, "kind", "alloc");
	check_number(item, "pid", 812);
	check_string(item, "comm", "server");
	check_string(item, "time", "2026-01-02T12:00:00.000Z");
	check_number(item, "bytes", 64 * MIB);
	check_number(item, "count", 5);
	check_string(item, "limit", "ulimit -v 524288 KiB: 498.1 MiB in use, 64.0 MiB asked for");
	item = json_object_array_get_idx(frames_of(item, 2), 0);
	check_string(item, "function", "load_file");
	json_object_put(root);
	end(&scene, profile);
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
