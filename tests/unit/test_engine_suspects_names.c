/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug information is read as far as a sweep's budget goes. */
#include "unit/symbolize_lines_fixture.h"

#include "engine/suspects_state.h"

#define SHARE 0.5 /* of a CPU */

static void build(void)
{
	shell("rm -rf app*");
	write_file("app.c", "#include <stdlib.h>\n"
			    "int main(void)\n"
			    "{\n"
			    "\treturn rand();\n" /* 4 */
			    "}\n");
	assert_int_equal(shell("gcc -g -o app app.c"), 0);
}

/* Returns the line of the call in a sweep; 0 = there is none. */
static uint32_t line_in_sweep(struct suspects *suspects, struct scene *scene, const char **ret_note)
{
	struct sweep *sweep = sweep__new();
	static char note[256];
	uint32_t line;

	assert_non_null(sweep);
	add_file_module(sweep->snap, scene->path, -1);
	sweep->snap->modules.items[0].path = strdup(scene->path);
	sweep->snap->modules.items[0].fd = dup(scene->fd);
	add_frame_at(sweep->snap, 0, scene->snap.frames.items[0].offset);
	assert_int_equal(suspects__name_frames(suspects, sweep), 0);
	assert_non_null(sweep->symbols[0].function);
	line = sweep->symbols[0].line;
	*ret_note = NULL;
	if (sweep->snap->notes.cnt) {
		snprintf(note, sizeof(note), "%s", sweep->snap->notes.items[0]);
		*ret_note = note;
	}
	sweep__free(sweep);
	return line;
}

static void open_call(struct scene *scene)
{
	build();
	open_scene(scene, "app");
	add_frame_at(&scene->snap, 0, offset_of_call(scene, "app", "main", "rand"));
}

static void minute_is_spent(void **state)
{
	const struct suspects_opts opts = {.budget = SHARE};
	struct suspects suspects = {.opts = &opts};
	struct scene scene;
	const char *note;

	(void)state;
	open_call(&scene);
	suspects.symbolizer = scene.symbolizer;
	budget__init(&suspects.budget, SHARE, 1, 0, 0);
	budget__spend(&suspects.budget, budget__minute_ns(&suspects.budget));
	assert_int_equal(line_in_sweep(&suspects, &scene, &note), 0);
	assert_non_null(note);
	assert_string_equal(note, "source lines of 1 file are not all read yet: that takes more "
				  "time than there is just now");
	assert_true(suspects.budget.kept_ns > 0);
	/* Another minute. */
	budget__init(&suspects.budget, SHARE, 1, 0, 0);
	assert_int_equal(line_in_sweep(&suspects, &scene, &note), 4);
	assert_null(note);
	assert_true(budget__spent_ns(&suspects.budget) > 0);
	assert_true(suspects.budget.kept_ns == 0);
	free_scene(&scene);
}

/* For what is too much for a minute nothing is kept, and it is not tried again. */
static void minute_is_too_short(void **state)
{
	const double share = 0.0005; /* 30 ms */
	const struct suspects_opts opts = {.budget = share};
	struct suspects suspects = {.opts = &opts};
	struct scene scene;
	const char *note;
	double spent_ns;

	(void)state;
	build_big();
	open_scene(&scene, "big");
	add_frame_at(&scene.snap, 0, offset_of_call(&scene, "big", "big", "rand"));
	suspects.symbolizer = scene.symbolizer;
	for (int minute = 0; minute < 2; minute++) {
		budget__init(&suspects.budget, share, 1, 0, 0);
		suspects__expect_names(&suspects);
		assert_true(suspects.budget.kept_ns > 0);
		assert_int_equal(line_in_sweep(&suspects, &scene, &note), 0);
		assert_non_null(note);
		assert_true(suspects.budget.kept_ns == 0);
		spent_ns = budget__spent_ns(&suspects.budget);
		print_message("%.1f ms in minute %d\n", spent_ns / NS_PER_MS, minute);
		assert_true(minute ? spent_ns < 15 * NS_PER_MS : spent_ns > 15 * NS_PER_MS);
	}
	free_scene(&scene);
}

/* Who has touched memory is told without a budget, too. */
static void no_budget(void **state)
{
	const struct suspects_opts opts = {0};
	struct suspects suspects = {.opts = &opts};
	struct scene scene;
	const char *note;

	(void)state;
	open_call(&scene);
	suspects.symbolizer = scene.symbolizer;
	budget__init(&suspects.budget, 0, 1, 0, 0);
	assert_int_equal(line_in_sweep(&suspects, &scene, &note), 4);
	assert_null(note);
	free_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(minute_is_spent),
		cmocka_unit_test(minute_is_too_short),
		cmocka_unit_test(no_budget),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
