/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Renderers against golden files. */
#include "unit/report_scene.h"

/* ---- the usual report ---- */

static void test_usual(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->stats[STAT_UNKNOWN_FREES] = 4321;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table.txt");
	check_golden(profile, "json", "report.json");
	check_golden(profile, "folded", "folded.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_groups(void **state)
{
	static const char *const names[] = {
		[GROUP_FUNCTION] = "function", [GROUP_PROCESS] = "process",
		[GROUP_CGROUP] = "cgroup",     [GROUP_LINE] = "line",
		[GROUP_FILE] = "file",
	};
	struct scene scene;
	char golden[64];

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	for (int group = GROUP_FUNCTION; group <= GROUP_FILE; group++) {
		struct profile *profile = profile_of(&scene, group, NULL);

		snprintf(golden, sizeof(golden), "table-%s.txt", names[group]);
		check_golden(profile, "table", golden);
		snprintf(golden, sizeof(golden), "report-%s.json", names[group]);
		check_golden(profile, "json", golden);
		snprintf(golden, sizeof(golden), "folded-%s.txt", names[group]);
		check_golden(profile, "folded", golden);
		profile__free(profile);
	}
	scene__free(&scene);
}

static void test_interval(void **state)
{
	struct profile_opts opts = {.sort = SORT_GROWTH, .top = 2};
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	scene__init(&old);
	scene__add_rows(&old);
	scene__init(&new);
	scene__add_rows(&new);
	new.snap->interval = 3;
	new.snap->rows.items[1].cost.live_bytes += 700000;
	new.snap->rows.items[1].cost.alloc_bytes += 700000;
	new.snap->rows.items[0].cost.live_bytes -= 50;
	new.snap->rows.items[0].cost.free_bytes += 50;
	before = profile_of(&old, GROUP_STACK, NULL);
	after = profile__new(new.snap, new.symbols, &opts, before);
	check_golden(after, "table", "table-interval.txt");
	check_golden(after, "json", "report-interval.json");
	profile__free(after);
	opts.sort = SORT_BYTES;
	after = profile__new(old.snap, old.symbols, &opts, before);
	check_golden(after, "table", "table-nothing-grew.txt");
	profile__free(after);
	profile__free(before);
	scene__free(&new);
	scene__free(&old);
}

/* ---- what is missing is said ---- */

static void test_losses(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	for (enum stat_id stat = 0; stat < STAT_MAX; stat++)
		scene.snap->stats[stat] = 1234;
	scene.snap->procs.items[0].late = false;
	scene.snap->unaccounted_bytes = -64;
	scene.snap->unaccounted_count = -1;
	scene.snap->rows.items[0].cost.live_count += 5;
	snapshot__add_note(scene.snap, "pid 812: the probe of valloc could not be set: %s", "busy");
	snapshot__add_note(scene.snap, "the trace began 2 s late");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-losses.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_estimated(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->estimated = true;
	scene.snap->sample_bytes = 65536;
	scene.snap->stats[STAT_UNKNOWN_FREES] = 4321;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-estimated.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_min_age(void **state)
{
	struct profile *profile;
	struct scene scene;
	struct cost *cost;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->min_age_ns = 30 * SEC;
	cost = &scene.snap->rows.items[0].cost;
	scene.snap->young_bytes = cost->live_bytes;
	scene.snap->young_count = cost->live_count;
	cost->live_bytes = cost->live_count = 0;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-min-age.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* ---- nothing to list ---- */

static void check_empty(struct scene *scene, const char *verdict, const char *golden)
{
	struct profile *profile = profile_of(scene, GROUP_STACK, NULL);
	const struct report_opts unlimited = {0};
	char *text = render_with(profile, "table", &unlimited);

	if (!strstr(text, verdict))
		fail_msg("'%s' is not in:\n%s", verdict, text);
	/* Only memory that was seen may be called free of leaks. */
	if (!strncmp(verdict, "nothing was seen", 16)) {
		assert_null(strstr(text, "nothing is outstanding"));
		assert_non_null(strstr(text, "This says nothing about leaks"));
	}
	assert_null(strcasestr(text, "no leak"));
	free(text);
	if (golden)
		check_golden(profile, "table", golden);
	text = render(profile, "folded");
	assert_string_equal(text, "");
	free(text);
	profile__free(profile);
}

static void test_no_process(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	struct profile *profile;

	(void)state;
	check_empty(&scene, "nothing was seen: no process was traced", "table-empty.txt");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "json", "report-empty.json");
	profile__free(profile);
	scene__free(&scene);
}

static void test_nothing_seen(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene);
	check_empty(&scene, "nothing was seen: the traced processes allocated nothing in 1m00s",
		    "table-idle.txt");
	scene.snap->stats[STAT_HITS_FREE] = scene.snap->overhead.probe_hits = 12;
	check_empty(&scene, "nothing was seen: the traced processes only freed older blocks", NULL);
	scene.snap->stats[STAT_HITS_ALLOC] = scene.snap->stats[STAT_HITS_RETURN] = 9;
	check_empty(&scene, "nothing was seen: allocators were called, but", NULL);
	scene.snap->stats[STAT_FAILED_ALLOCS] = 9;
	check_empty(&scene, "nothing was seen: all 9 allocations failed", NULL);
	scene.snap->stats[STAT_FAILED_ALLOCS] = 0;
	scene.snap->sample_bytes = 1 << 20;
	check_empty(&scene,
		    "nothing was seen: blocks were allocated, but the sampling (one in 1.0 MiB)",
		    NULL);
	scene.snap->stats[STAT_MAP_FULL] = 9;
	check_empty(&scene, "nothing was seen: blocks were allocated, but none could be followed",
		    NULL);
	scene__free(&scene);
}

static void test_nothing_probed(void **state)
{
	struct scene scene = {.snap = new_snapshot()};

	(void)state;
	snapshot__add_proc(scene.snap, 5, 6, "go-thing", "/opt/go", "", "");
	snapshot__add_proc(scene.snap, 7, 6, "odd", "/opt/odd", "", "");
	snapshot__add_coverage(scene.snap, 1, "glibc", "/lib/libc.so.6", COVERAGE_SKIPPED,
			       "32-bit program");
	check_empty(&scene, "nothing was seen: no allocator of the traced processes is probed",
		    "table-unprobed.txt");
	scene__free(&scene);
}

static void test_all_freed(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene.snap->overhead.probe_hits = 30;
	scene.snap->duration_ns = 2 * SEC;
	add_row(&scene, 0, LAYER_MALLOC, UNWIND_LOST, NULL, 0, 0, 0);
	check_empty(&scene, "nothing is outstanding: 1 allocation seen, all freed",
		    "table-clean.txt");
	scene.snap->stats[STAT_MAP_FULL] = 9;
	check_empty(&scene, "all freed; this does not cover the blocks that were not followed",
		    NULL);
	scene__free(&scene);
}

/* ---- many processes, narrow and coloured terminals ---- */

static void test_many_processes(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	struct profile *profile;
	char text[64];

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "proc%u", i);
		snapshot__add_proc(scene.snap, 1000 + i, 1, text, "", "", "");
		if (i == 39)
			continue;
		snapshot__add_coverage(scene.snap, i, "glibc", "/lib/libc.so.6", COVERAGE_PROBED,
				       "");
		snprintf(text, sizeof(text), "/opt/plugin%u", i);
		snapshot__add_coverage(scene.snap, i, "static", text, COVERAGE_SKIPPED, "stripped");
	}
	scene.snap->procs.items[3].state = PROC_EXECED;
	scene.snap->procs.items[4].state = PROC_EXITED;
	scene.snap->procs.items[4].exit_code = 9;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-many.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void check_width(const struct profile *profile, const struct report_opts *opts)
{
	char *text = render_with(profile, "table", opts), *rest = text, *line;

	while ((line = strsep(&rest, "\n")))
		if (strlen(line) > opts->columns)
			fail_msg("wider than %u: %s", opts->columns, line);
	free(text);
}

static void test_width_and_color(void **state)
{
	const struct report_opts narrow = {.columns = 80}, usual = {.columns = 100},
				 color = {.columns = 100, .color = true};
	struct profile *profile;
	struct scene scene;
	char *text, *plain, *line, *rest, *end;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_FUNCTION, NULL);
	check_width(profile, &usual);
	profile__free(profile);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_width(profile, &narrow);
	/* Without its colour codes a coloured report is the plain one. */
	text = render_with(profile, "table", &color);
	assert_non_null(strstr(text, "\033[1m"));
	for (rest = text; (line = strstr(rest, "\033[")); rest = line) {
		end = strchr(line, 'm');
		memmove(line, end + 1, strlen(end));
	}
	plain = render(profile, "table");
	assert_string_equal(text, plain);
	free(plain);
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* ---- the rest ---- */

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(report__by_name("table"), report_table);
	assert_ptr_equal(report__by_name("json"), report_json);
	assert_ptr_equal(report__by_name("folded"), report_folded);
	assert_null(report__by_name("Table"));
	assert_null(report__by_name(""));
	assert_string_equal(report__names(), "table, tree, json, folded, lines");
}

static void test_failed_write(void **state)
{
	static const char *const formats[] = {"table", "json", "folded", "tree"};
	const struct report_opts opts = {.columns = 80};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	for (int i = 0; i < 4; i++) {
		FILE *full = fopen("/dev/full", "w");

		if (!full)
			skip();
		assert_int_equal(report__by_name(formats[i])(profile, &opts, full), -ENOSPC);
		fclose(full);
	}
	profile__free(profile);
	scene__free(&scene);
}

static struct snapshot *new_big_snapshot(struct symbol **ret_symbols)
{
	struct snapshot *snap = new_snapshot();
	uint32_t module = snapshot__add_module(snap, "/bin/app", 8, 10, NULL, 0, -1);
	uint32_t proc = snapshot__add_proc(snap, 1, 1, "app", "", "", "");
	uint32_t frames[30];

	for (uint32_t i = 0; i < 10000; i++) {
		struct snap_row row = {
			.proc = proc,
			.layer = LAYER_MALLOC,
			.cost = {.live_bytes = i % 100, .live_count = 1},
		};

		for (uint32_t depth = 0; depth < 30; depth++)
			frames[depth] = snapshot__add_frame(snap, FRAME_NATIVE, module,
							    (i >> depth) * 64 + depth);
		row.stack = snapshot__add_stack(snap, frames, 30);
		assert_int_equal(snapshot__add_row(snap, &row), 0);
	}
	*ret_symbols = calloc(snap->frames.cnt, sizeof(**ret_symbols));
	for (size_t i = 0; i < snap->frames.cnt; i++)
		(*ret_symbols)[i] =
			(struct symbol){"some_function_name", "src/some_file.c", i, 1, 0};
	return snap;
}

static void test_speed(void **state)
{
	static const char *const formats[] = {"table", "json", "folded", "tree"};
	const struct profile_opts opts = {0};
	struct symbol *symbols;
	struct snapshot *snap = new_big_snapshot(&symbols);
	struct profile *profile = profile__new(snap, symbols, &opts, NULL);

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct timespec begin, end;
		FILE *out = fopen("/dev/null", "w");
		const struct report_opts report = {.columns = 100};

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
		assert_int_equal(report__by_name(formats[i])(profile, &report, out), 0);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		print_message("%s of 10000 stacks: %ld ms\n", formats[i],
			      (end.tv_sec - begin.tv_sec) * 1000 +
				      (end.tv_nsec - begin.tv_nsec) / 1000000);
		fclose(out);
	}
	profile__free(profile);
	snapshot__free(snap);
	free(symbols);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual),	       cmocka_unit_test(test_groups),
		cmocka_unit_test(test_interval),       cmocka_unit_test(test_losses),
		cmocka_unit_test(test_estimated),      cmocka_unit_test(test_min_age),
		cmocka_unit_test(test_no_process),     cmocka_unit_test(test_nothing_seen),
		cmocka_unit_test(test_nothing_probed), cmocka_unit_test(test_all_freed),
		cmocka_unit_test(test_many_processes), cmocka_unit_test(test_width_and_color),
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_failed_write),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests_name("report render", tests, NULL, NULL);
}
