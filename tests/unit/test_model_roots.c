/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "model/roots.h"

#define MAX_DEPTH 8
#define MAX_SYMBOLS 64

struct scene {
	struct snapshot *snap;
	struct symbol symbols[MAX_SYMBOLS];	/* beside snap->frames */
};

static void scene__init(struct scene *scene)
{
	*scene = (struct scene){.snap = snapshot__new("trace")};
	assert_non_null(scene->snap);
	snapshot__add_proc(scene->snap, 1, 1, "app", "/bin/app", "/", "");
}

/* Adds a row whose stack has these functions, leaf first; "?" is a frame without a name. Returns its index. */
static size_t add_row(struct scene *scene, enum unwind_end unwind, const char *const *functions)
{
	struct snap_row row = {.layer = LAYER_MALLOC, .unwind = unwind, .cost.live_bytes = 1};
	uint32_t frames[MAX_DEPTH];
	size_t cnt = 0;

	for (; functions[cnt]; cnt++) {
		uint32_t frame = scene->snap->frames.cnt;

		assert_true(cnt < MAX_DEPTH && frame < MAX_SYMBOLS);
		frames[cnt] = snapshot__add_frame(scene->snap, FRAME_NATIVE, SNAP_NONE, 0x1000 + frame);
		assert_int_equal(frames[cnt], frame);
		if (strcmp(functions[cnt], "?"))
			scene->symbols[frame].function = functions[cnt];
	}
	row.stack = snapshot__add_stack(scene->snap, frames, cnt);
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
	return scene->snap->rows.cnt - 1;
}

/* Returns what becomes of the end `unwind` of a stack of these functions. */
static enum unwind_end end_of(enum unwind_end unwind, const char *const *functions)
{
	struct scene scene;
	enum unwind_end end;
	size_t row;

	scene__init(&scene);
	row = add_row(&scene, unwind, functions);
	roots__mark_complete(scene.snap, scene.symbols);
	end = scene.snap->rows.items[row].unwind;
	snapshot__free(scene.snap);
	return end;
}

#define END(unwind, ...) end_of(unwind, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void test_known_roots(void **state)
{
	static const char *const roots[] = {
		"main",	 "_start", "__libc_start_main", "__libc_start_main_impl", "__libc_start_call_main",
		"clone", "clone3", "start_thread",	"__clone",		  "libc_start_main_stage2",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		assert_int_equal(END(UNWIND_BROKEN, "leak", "work", roots[i]), UNWIND_COMPLETE);
		assert_int_equal(END(UNWIND_BROKEN, roots[i]), UNWIND_COMPLETE);
	}
}

/* What calls main in a stripped libc has no name. */
static void test_main_is_last_but_one(void **state)
{
	(void)state;
	assert_int_equal(END(UNWIND_BROKEN, "leak", "main", "?"), UNWIND_COMPLETE);
	assert_int_equal(END(UNWIND_BROKEN, "main", "?"), UNWIND_COMPLETE);
	assert_int_equal(END(UNWIND_BROKEN, "leak", "main", "?", "?"), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "leak", "start_thread", "?"), UNWIND_BROKEN);
}

static void test_truly_broken(void **state)
{
	(void)state;
	assert_int_equal(END(UNWIND_BROKEN), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "leak"), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "?"), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "main", "leak", "work"), UNWIND_BROKEN);
	/* only whole names count */
	assert_int_equal(END(UNWIND_BROKEN, "leak", "main_loop"), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "leak", "domain"), UNWIND_BROKEN);
	assert_int_equal(END(UNWIND_BROKEN, "leak", "ns::main"), UNWIND_BROKEN);
}

static void test_other_ends_stay(void **state)
{
	(void)state;
	assert_int_equal(END(UNWIND_TRUNCATED, "leak", "main"), UNWIND_TRUNCATED);
	assert_int_equal(END(UNWIND_COMPLETE, "leak", "work"), UNWIND_COMPLETE);
	assert_int_equal(END(UNWIND_LOST), UNWIND_LOST);
	assert_int_equal(END(UNWIND_LOST, "main"), UNWIND_LOST);
}

/* Stacks share frames in the tree: each row is judged by its own. */
static void test_rows_are_independent(void **state)
{
	struct scene scene;
	uint32_t frames[2];
	struct snap_row row = {.layer = LAYER_MALLOC, .unwind = UNWIND_BROKEN};

	(void)state;
	scene__init(&scene);
	frames[0] = snapshot__add_frame(scene.snap, FRAME_NATIVE, SNAP_NONE, 1);
	frames[1] = snapshot__add_frame(scene.snap, FRAME_NATIVE, SNAP_NONE, 2);
	scene.symbols[frames[0]].function = "leak";
	scene.symbols[frames[1]].function = "main";
	row.stack = snapshot__add_stack(scene.snap, frames, 2);
	assert_int_equal(snapshot__add_row(scene.snap, &row), 0);
	row.stack = snapshot__add_stack(scene.snap, frames, 1);
	assert_int_equal(snapshot__add_row(scene.snap, &row), 0);
	row.layer = LAYER_MMAP;
	row.stack = snapshot__add_stack(scene.snap, frames, 2);
	assert_int_equal(snapshot__add_row(scene.snap, &row), 0);
	roots__mark_complete(scene.snap, scene.symbols);
	assert_int_equal(scene.snap->rows.items[0].unwind, UNWIND_COMPLETE);
	assert_int_equal(scene.snap->rows.items[1].unwind, UNWIND_BROKEN);
	assert_int_equal(scene.snap->rows.items[2].unwind, UNWIND_COMPLETE);
	snapshot__free(scene.snap);
}

static void test_empty_snapshot(void **state)
{
	struct snapshot *snap = snapshot__new("trace");

	(void)state;
	assert_non_null(snap);
	roots__mark_complete(snap, NULL);
	snapshot__free(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_roots),	cmocka_unit_test(test_main_is_last_but_one),
		cmocka_unit_test(test_truly_broken),	cmocka_unit_test(test_other_ends_stay),
		cmocka_unit_test(test_rows_are_independent), cmocka_unit_test(test_empty_snapshot),
	};

	return cmocka_run_group_tests_name("model roots", tests, NULL, NULL);
}
