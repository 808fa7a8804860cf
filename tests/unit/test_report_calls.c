/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines, inlined calls, folded runtimes and call trees, in every format. */
#include "unit/report_scene.h"

static struct profile *profile_with(const struct scene *scene, const struct profile_opts *opts,
				    const struct profile *previous)
{
	struct profile *profile = profile__new(scene->snap, scene->symbols, opts, previous);

	assert_non_null(profile);
	return profile;
}

static void check_tree(const struct profile *profile, const struct report_opts *opts,
		       const char *golden)
{
	check_text(render_with(profile, "tree", opts), golden);
}

static void test_calls(void **state)
{
	struct profile_opts opts = {.top = 10};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_calls(&scene);
	profile = profile_with(&scene, &opts, NULL);
	check_golden(profile, "table", "table-calls.txt");
	check_golden(profile, "json", "report-calls.json");
	check_golden(profile, "folded", "folded-calls.txt");
	profile__free(profile);
	opts.all_frames = true;
	profile = profile_with(&scene, &opts, NULL);
	check_golden(profile, "table", "table-all-frames.txt");
	check_golden(profile, "folded", "folded-all-frames.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_groups_of_calls(void **state)
{
	static const struct {
		enum profile_group group;
		const char *name;
	} groups[] = {{GROUP_FUNCTION, "function"}, {GROUP_LINE, "line"}, {GROUP_FILE, "file"}};
	struct scene scene;
	char golden[64];

	(void)state;
	scene__init(&scene);
	scene__add_calls(&scene);
	for (size_t i = 0; i < 3; i++) {
		struct profile *profile = profile_of(&scene, groups[i].group, NULL);

		snprintf(golden, sizeof(golden), "table-calls-%s.txt", groups[i].name);
		check_golden(profile, "table", golden);
		snprintf(golden, sizeof(golden), "folded-calls-%s.txt", groups[i].name);
		check_golden(profile, "folded", golden);
		snprintf(golden, sizeof(golden), "tree-calls-%s.txt", groups[i].name);
		check_golden(profile, "tree", golden);
		profile__free(profile);
	}
	scene__free(&scene);
}

static void test_tree(void **state)
{
	const struct report_opts leaf = {.columns = 100},
				 root = {.columns = 100, .root_first = true},
				 narrow = {.columns = 72, .ascii = true}, wide = {0};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_calls(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_tree(profile, &leaf, "tree.txt");
	check_tree(profile, &root, "tree-root.txt");
	check_tree(profile, &narrow, "tree-narrow.txt");
	check_tree(profile, &wide, "tree-wide.txt");
	profile__free(profile);
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	check_tree(profile, &leaf, "tree-one-cgroup.txt");
	profile__free(profile);
	scene__free(&scene);
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	check_tree(profile, &leaf, "tree-cgroup.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_tree_interval(void **state)
{
	const struct report_opts leaf = {.columns = 100};
	struct profile_opts opts = {.sort = SORT_GROWTH, .top = 3};
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	scene__init(&old);
	scene__add_calls(&old);
	scene__init(&new);
	scene__add_calls(&new);
	new.snap->interval = 2;
	for (size_t i = 0; i < new.snap->rows.cnt; i++) {
		struct cost *cost = &new.snap->rows.items[i].cost;
		int64_t grown = i % 3 == 2 ? 100000 : i % 3 ? 0 : -7000;

		cost->live_bytes += grown;
		cost->alloc_bytes += grown > 0 ? grown : 0;
		cost->free_bytes -= grown < 0 ? grown : 0;
	}
	before = profile_with(&old, &opts, NULL);
	after = profile_with(&new, &opts, before);
	check_tree(after, &leaf, "tree-interval.txt");
	profile__free(after);
	/* Grouped, the differences are the same ones. */
	opts.group = GROUP_LINE;
	after = profile_with(&new, &opts, before);
	check_tree(after, &leaf, "tree-interval-line.txt");
	check_golden(after, "table", "table-interval-line.txt");
	profile__free(after);
	profile__free(before);
	scene__free(&new);
	scene__free(&old);
}

/* ---- whatever the width ---- */

static size_t columns_of(const char *line)
{
	size_t columns = 0;

	for (; *line; line++)
		columns += (*line & 0xc0) != 0x80;
	return columns;
}

static void test_widths(void **state)
{
	static const char *const formats[] = {"table", "tree"};
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_calls(&scene);
	for (unsigned int columns = 80; columns <= 200; columns += 7) {
		for (int i = 0; i < 4; i++) {
			const struct report_opts opts = {.columns = columns, .root_first = i & 2};
			struct profile *profile = profile_of(&scene, GROUP_STACK, NULL);
			char *text = render_with(profile, formats[i & 1], &opts);
			char *rest = text, *line;

			while ((line = strsep(&rest, "\n")))
				if (columns_of(line) > columns)
					fail_msg("wider than %u: %s", columns, line);
			free(text);
			profile__free(profile);
		}
	}
	scene__free(&scene);
}

/* A path is shown whole where it fits; otherwise its end, at least the file's own name. */
static void test_paths(void **state)
{
	static const struct {
		unsigned int columns;
		const char *shown;
	} cases[] = {
		{0, "      handle  /build/very/long/way/to/src/file.cc:123 (server)\n"},
		{62, "      handle  /build/very/long/way/to/src/file.cc:123 (server)\n"},
		{61, "      handle  .../very/long/way/to/src/file.cc:123 (server)\n"},
		{50, "      handle  .../way/to/src/file.cc:123 (server)\n"},
		{40, "      handle  file.cc:123 (server)\n"},
		{10, "      handle  file.cc:123\n"},
	};
	struct profile *profile;
	struct scene scene;
	uint32_t frame;

	(void)state;
	scene__init(&scene);
	frame = add_frame(&scene, scene.server, 0x10, "handle",
			  "/build/very/long/way/to/src/file.cc", 123);
	add_row(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, &frame, 1, 100, 1);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct report_opts opts = {.columns = cases[i].columns};
		char *text = render_with(profile, "table", &opts);

		if (!strstr(text, cases[i].shown))
			fail_msg("'%s' is not in:\n%s", cases[i].shown, text);
		free(text);
	}
	profile__free(profile);
	scene__free(&scene);
}

/* Every way a stack can end has a name and a sentence. */
static void test_ends(void **state)
{
	static const char *const names[] = {"lost",	"complete",   "truncated",
					    "broken",	"no-table",   "no-rule",
					    "odd-rule", "unreadable", "no-code"};
	char *text, expected[64];
	struct profile *profile;
	struct scene scene;
	uint32_t frame;

	(void)state;
	for (int end = UNWIND_LOST; end <= UNWIND_NO_CODE; end++) {
		scene__init(&scene);
		frame = add_frame(&scene, scene.server, 0x10, "f", NULL, 0);
		add_row(&scene, 0, LAYER_MALLOC, end, &frame, end != UNWIND_LOST, 100, 1);
		profile = profile_of(&scene, GROUP_STACK, NULL);
		snprintf(expected, sizeof(expected), "\"unwind\":\"%s\",\"chained\":false",
			 names[end]);
		text = render(profile, "json");
		assert_non_null(strstr(text, expected));
		free(text);
		text = render(profile, "table");
		assert_int_equal(!strstr(text, "      -- "), end == UNWIND_COMPLETE);
		assert_int_equal(!strstr(text, "1 of 1 is not complete"), end == UNWIND_COMPLETE);
		assert_null(strstr(text, "frame-pointer"));
		assert_null(strstr(text, "unknown"));
		free(text);
		profile__free(profile);
		scene__free(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),  cmocka_unit_test(test_groups_of_calls),
		cmocka_unit_test(test_tree),   cmocka_unit_test(test_tree_interval),
		cmocka_unit_test(test_widths), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests_name("report calls", tests, NULL, NULL);
}
