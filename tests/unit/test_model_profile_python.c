/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of Python functions and of the types of their objects. */
#include "unit/profile_fixture.h"

/* Two lines of one function, its lambda on one of these lines, and another file's function of the
 * same name. */
struct python_scene {
	struct snapshot *snap;
	struct symbol symbols[8];
};

static void add_python_row(struct python_scene *scene, const char *file, const char *function,
			   uint32_t first_line, uint32_t line, int64_t bytes)
{
	uint32_t code = snapshot__add_code(scene->snap, file, function, first_line);
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_PYTHON, code, line);
	const struct snap_row row = {
		.stack = snapshot__add_stack(scene->snap, &frame, 1),
		.layer = LAYER_PYTHON,
		.unwind = UNWIND_COMPLETE,
		.cost = {.live_bytes = bytes, .live_count = 1, .alloc_bytes = bytes},
	};

	scene->symbols[frame] = (struct symbol){
		.function = scene->snap->codes.items[code].function,
		.file = scene->snap->codes.items[code].file,
		.line = line,
	};
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

static void python_scene__init(struct python_scene *scene, bool other_way_round)
{
	static const struct {
		const char *file, *function;
		uint32_t first_line, line;
		int64_t bytes;
	} rows[] = {
		{"cache.py", "store", 40, 42, 1000},  {"cache.py", "store", 40, 45, 500},
		{"cache.py", "<lambda>", 42, 42, 70}, {"other.py", "store", 40, 42, 300},
		{"cache.py", "store", 90, 91, 8},
	};

	*scene = (struct python_scene){.snap = snapshot__new("trace")};
	/* An index of a code is none of a module. */
	snapshot__add_module(scene->snap, "/bin/python", 1, 1, NULL, 0, -1);
	snapshot__add_proc(scene->snap, 5, 6, "app", "", "", "");
	for (size_t i = 0; i < 5; i++) {
		size_t at = other_way_round ? 4 - i : i;

		add_python_row(scene, rows[at].file, rows[at].function, rows[at].first_line,
			       rows[at].line, rows[at].bytes + other_way_round);
	}
}

static void check_python_groups(const struct python_scene *scene, const struct profile *previous,
				enum profile_group group, const int64_t *bytes, size_t cnt)
{
	struct profile *profile = profile_of(scene->snap, scene->symbols, group, previous);

	assert_int_equal(profile->rows.cnt, cnt);
	for (size_t i = 0; i < cnt; i++) {
		assert_int_equal(profile->rows.items[i].cost.live_bytes, bytes[i]);
		if (previous)
			assert_int_equal(profile->rows.items[i].delta_bytes,
					 profile->rows.items[i].rows);
	}
	profile__free(profile);
}

static void test_python_groups(void **state)
{
	static const struct {
		enum profile_group group;
		size_t cnt;
		int64_t bytes[5], later[5];
	} cases[] = {
		{GROUP_STACK, 5, {1000, 500, 300, 70, 8}, {1001, 501, 301, 71, 9}},
		{GROUP_FUNCTION, 4, {1500, 300, 70, 8}, {1502, 301, 71, 9}},
		{GROUP_LINE, 4, {1070, 500, 300, 8}, {1072, 501, 301, 9}},
		{GROUP_FILE, 2, {1578, 300}, {1582, 301}},
		{GROUP_TYPE, 1, {1878}, {1883}},
	};
	struct python_scene old, new;
	struct profile *before;

	(void)state;
	python_scene__init(&old, false);
	python_scene__init(&new, true);
	before = profile_of(old.snap, old.symbols, GROUP_STACK, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		check_python_groups(&old, NULL, cases[i].group, cases[i].bytes, cases[i].cnt);
		/* Functions are the same in another snapshot, whatever their indexes. */
		check_python_groups(&new, before, cases[i].group, cases[i].later, cases[i].cnt);
	}
	free_both(before, NULL, old.snap, new.snap);
}

/* A line of a Python file and one of machine code's are two, even if all else is equal. */
static void test_python_is_no_module(void **state)
{
	struct python_scene scene;
	struct snap_row row;
	uint32_t frame;

	(void)state;
	python_scene__init(&scene, false);
	frame = snapshot__add_frame(scene.snap, FRAME_NATIVE, 0, 42);
	scene.symbols[frame] = scene.symbols[0];
	row = scene.snap->rows.items[0];
	row.stack = snapshot__add_stack(scene.snap, &frame, 1);
	assert_int_equal(snapshot__add_row(scene.snap, &row), 0);
	for (int group = GROUP_STACK; group <= GROUP_FILE; group++) {
		static const size_t cnts[] = {6, 5, 1, 1, 5, 3};
		struct profile *profile;

		profile = profile_of(scene.snap, scene.symbols, group, NULL);
		assert_int_equal(profile->rows.cnt, cnts[group]);
		profile__free(profile);
	}
	snapshot__free(scene.snap);
}

static void add_shares(struct snapshot *snap, size_t row_idx, const char *first,
		       int64_t first_bytes, const char *second, int64_t second_bytes)
{
	struct snap_row row = snap->rows.items[row_idx];

	/* Shares go to the last row. */
	snap->rows.items[row_idx].cost = (struct cost){0};
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	assert_int_equal(
		snapshot__add_type_share(snap, snapshot__add_type(snap, first), 2, first_bytes), 0);
	assert_int_equal(
		snapshot__add_type_share(snap, snapshot__add_type(snap, second), 3, second_bytes),
		0);
}

static const struct profile_row *find_type(const struct profile *profile, const char *type)
{
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		uint32_t idx = profile->rows.items[i].type;

		if (idx == SNAP_NONE ? !type
				     : type && !strcmp(profile->snap->types.items[idx], type))
			return &profile->rows.items[i];
	}
	fail_msg("%s is not there", type ? type : "the rest");
	return NULL;
}

static void test_types(void **state)
{
	struct profile *before, *profile;
	struct python_scene old, new;
	struct cost sum = {0};

	(void)state;
	python_scene__init(&old, false);
	add_shares(old.snap, 0, "dict", 600, "list", 300);
	python_scene__init(&new, true);
	add_shares(new.snap, 4, "list", 500, "dict", 400);
	add_shares(new.snap, 3, "dict", 400, "str", 101);
	before = profile_of(old.snap, old.symbols, GROUP_TYPE, NULL);
	profile = profile_of(new.snap, new.symbols, GROUP_TYPE, before);
	assert_int_equal(profile->rows.cnt, 4);
	assert_int_equal(find_type(profile, "dict")->cost.live_bytes, 800);
	assert_int_equal(find_type(profile, "dict")->cost.live_count, 5);
	assert_int_equal(find_type(profile, "dict")->cost.alloc_bytes, 0);
	assert_int_equal(find_type(profile, "dict")->delta_bytes, 200);
	assert_int_equal(find_type(profile, "dict")->rows, 2);
	assert_int_equal(find_type(profile, "list")->delta_bytes, 200);
	assert_int_equal(find_type(profile, "str")->delta_bytes, 101);
	assert_int_equal(find_type(profile, NULL)->cost.live_bytes, 1883 - 800 - 500 - 101);
	assert_int_equal(find_type(profile, NULL)->cost.alloc_bytes, 1883);
	assert_ptr_equal(&profile->rows.items[0], find_type(profile, "dict"));
	/* To the last byte. */
	for (size_t i = 0; i < profile->rows.cnt; i++)
		cost__add(&sum, &profile->rows.items[i].cost);
	assert_memory_equal(&sum, &profile->total, sizeof(sum));
	free_both(before, profile, old.snap, new.snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_python_groups),
		cmocka_unit_test(test_python_is_no_module),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests_name("model profile of Python", tests, NULL, NULL);
}
