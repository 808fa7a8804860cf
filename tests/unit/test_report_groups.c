/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups in every kind of report, and processes in PID namespaces of their own. */
#include "unit/report_scene.h"

#include "unit/groups_fixture.h"

static void begin(struct scene *scene)
{
	struct snapshot *snap;

	scene__init(scene);
	snap = scene->snap;
	add_groups(snap);
	snapshot__add_proc(snap, 950, 80000000000, "api", "/usr/bin/api",
			   snap->groups.items[3].path, "");
	scene__add_rows(scene);
	add_row(scene, 3, LAYER_MALLOC, UNWIND_LOST, NULL, 0, 65536, 16);
	assert_int_equal(snapshot__set_group(snap, 0, 0), 0);
	assert_int_equal(snapshot__set_group(snap, 1, 1), 0);
	assert_int_equal(snapshot__set_group(snap, 2, 4), 0);
	assert_int_equal(snapshot__set_group(snap, 3, 3), 0);
	snap->procs.items[0].ns_pid = 1;
	snap->procs.items[1].ns_pid = 7;
}

static void check_with(const struct profile *profile, const char *format,
		       const struct report_opts *opts, const char *golden)
{
	check_text(render_with(profile, format, opts), golden);
}

static void test_container(void **state)
{
	const struct report_opts narrow = {.columns = 60, .ascii = true}, wide = {0};
	struct profile *profile;
	struct scene scene;

	(void)state;
	begin(&scene);
	profile = profile_of(&scene, GROUP_CONTAINER, NULL);
	check_golden(profile, "table", "group-table.txt");
	check_with(profile, "table", &narrow, "group-table-narrow.txt");
	check_with(profile, "table", &wide, "group-table-wide.txt");
	check_golden(profile, "tree", "group-tree.txt");
	check_golden(profile, "folded", "group-folded.txt");
	check_golden(profile, "lines", "group-lines.txt");
	check_golden(profile, "json", "group-report.json");
	profile__free(profile);
	scene__free(&scene);
}

static void test_cgroup(void **state)
{
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	begin(&scene);
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	check_golden(profile, "table", "group-table-cgroup.txt");
	profile__free(profile);
	/* Which of all that the kernel counts together lost it, nobody knows. */
	free(scene.snap->groups.items[1].lost_path);
	scene.snap->groups.items[1].lost_path = strdup("/system.slice");
	profile = profile_of(&scene, GROUP_CGROUP, NULL);
	text = render(profile, "table");
	assert_non_null(strstr(text, " stack: all of /system.slice has had its share"));
	free(text);
	text = render(profile, "json");
	assert_non_null(strstr(text, "\"lost_stacks\":1,\"lost_cgroup\":\"/system.slice\""));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* A unit that is at its limit, and one that only lost stacks. */
static void test_service(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	begin(&scene);
	assert_int_equal(snapshot__set_group(scene.snap, 2, 2), 0);
	scene.snap->groups.items[0].usage_bytes = 66 * MIB;
	scene.snap->groups.items[3].lost_blocks = 0;
	profile = profile_of(&scene, GROUP_SERVICE, NULL);
	check_golden(profile, "table", "group-table-service.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* Wherever a process is named, its other number stands beside. */
static void test_processes(void **state)
{
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	begin(&scene);
	scene.snap->procs.items[2].ns_pid = 3;
	profile = profile_of(&scene, GROUP_PROCESS, NULL);
	check_golden(profile, "table", "group-table-process.txt");
	text = render(profile, "json");
	assert_non_null(strstr(text, "\"pid\":812,\"ns_pid\":1,"));
	assert_non_null(strstr(text, "\"pid\":950,\"start_ns\""));
	free(text);
	profile__free(profile);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "table");
	assert_non_null(strstr(text, "  813 worker (7 in web)\n"));
	free(text);
	text = render(profile, "tree");
	assert_non_null(strstr(text, "813 worker (7 in web)\n"));
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* Names that somebody chose to do harm. */
static void test_hostile(void **state)
{
	static const char *const formats[] = {"table", "tree", "folded", "lines", "json"};
	const struct snap_group hostile = {
		.path = "/\033[2J;\n",
		.title = "\033]0;x\a;\n\xff",
		.runtime = "docker\n",
		.container_id = "\033",
		.image = "\xe2\x80\xae;evil\n",
		.is_measured = true,
		.anon_bytes = UINT64_MAX,
		.usage_bytes = UINT64_MAX,
		.limit_bytes = 1,
		.measured_ns = 1,
		.growth_per_min = 1e300,
		.lost_blocks = UINT64_MAX,
		.lost_bytes = UINT64_MAX,
	};
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	begin(&scene);
	assert_int_equal(snapshot__add_group(scene.snap, &hostile), 5);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(snapshot__set_group(scene.snap, i, 5), 0);
	for (int group = GROUP_STACK; group <= GROUP_SERVICE; group++) {
		profile = profile_of(&scene, group, NULL);
		for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
			text = render(profile, formats[i]);
			assert_null(strchr(text, '\033'));
			assert_null(strchr(text, '\a'));
			assert_null(strchr(text, '\xff'));
			if (i < 4)
				assert_null(strstr(text, "\xe2\x80\xae"));
			free(text);
		}
		profile__free(profile);
	}
	scene__free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container), cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_service),	  cmocka_unit_test(test_processes),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
