/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks with Python frames on their way into the snapshot. */
#include "collect_maps_fixture.h"

#define PROGRAM 1 /* the kernel side's numbers of the modules */
#define PYTHON 2
#define LOOP_AT 0x5000
#define LOOP_END 0x6000

#define FRAME(module, off) ((uint64_t)(module) << FRAME_MODULE_SHIFT | (off))
#define LOOP FRAME(PYTHON, LOOP_AT + 0x10)
#define CODE(id, unit) ((uint64_t)(id) << PYTHON_CODE_SHIFT | (unit))
#define LAST PYTHON_FRAME_LAST
#define EMPTY (CODE(PYTHON_CODE_NONE, 0) | LAST)

#define STORE 2 /* code objects */
#define MAIN 3

static void add_module(struct world *world, const char *path, uint32_t number)
{
	const struct proc_map map = {.path = (char *)path};
	uint32_t index = module_table__add(&world->table.modules, 1, &map);

	assert_int_not_equal(index, MODULE_NONE);
	assert_int_equal(module_table__set_number(&world->table.modules, index, number), 0);
}

/* Each instruction of two bytes is two lines behind the one before it (3.10's table). */
static void add_code(struct world *world, uint32_t id, const char *name, int32_t first_line)
{
	struct python_code *record = calloc(1, sizeof(*record));

	assert_non_null(record);
	record->id = id;
	record->space = 1;
	record->first_line = first_line;
	record->file = (struct python_text){
		.chars = 6, .width = 1, .is_ascii = 1, .len = 6, .bytes = "app.py"};
	record->name = (struct python_text){
		.chars = strlen(name), .width = 1, .is_ascii = 1, .len = strlen(name)};
	memcpy(record->name.bytes, name, strlen(name));
	/* units 0 and 1 are the first line, unit 2 the one after it, unit 3 has none */
	memcpy(record->lines, (const uint8_t[]){4, 0, 2, 1, 2, 0x80}, 6);
	record->lines_len = record->lines_copied = 6;
	assert_int_equal(code_table__add(&world->codes, record, 0x030a, NULL, 0), 0);
	free(record);
}

static void add_python_stack(struct world *world, uint64_t id, const uint64_t *frames, size_t cnt,
			     enum python_end end)
{
	static struct python_stack stack;

	memset(&stack, 0, sizeof(stack));
	stack.frame_cnt = cnt;
	stack.end = end;
	memcpy(stack.frame, frames, cnt * sizeof(*frames));
	assert_int_equal(bpf_map_update_elem(world->maps.python_stacks, &id, &stack, BPF_ANY), 0);
}

#define NATIVE(world, id, python, end, ...)                                                        \
	add_native_stack(world, id, python, (const uint64_t[]){__VA_ARGS__},                       \
			 sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), end)
#define PYTHON_STACK(world, id, end, ...)                                                          \
	add_python_stack(world, id, (const uint64_t[]){__VA_ARGS__},                               \
			 sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), end)

static const struct python_view views[] = {{
	.space = 1,
	.version = "3.10.13",
	.frames = COVERAGE_PROBED,
	.objects = COVERAGE_SKIPPED,
	.frames_reason = "",
	.objects_reason = "not asked for",
}};

/* A process whose Python is known, and its code. */
static struct world *begin(void **state)
{
	struct world *world = enter(state);
	struct module *module;

	add_space(world, 1, 100);
	add_module(world, "[program]", PROGRAM);
	add_module(world, "[python]", PYTHON);
	module = &world->table.modules.modules.items[1];
	module->is_interpreter = true;
	assert_int_equal(array_push(&module->loops, ((struct code_range){0x100, 0x200})), 0);
	assert_int_equal(array_push(&module->loops, ((struct code_range){LOOP_AT, LOOP_END})), 0);
	add_code(world, STORE, "store", 10);
	add_code(world, MAIN, "<module>", 1);
	world->opts.pythons = views;
	world->opts.python_cnt = 1;
	return world;
}

struct want {
	enum frame_kind kind;
	uint32_t module; /* or the index of the code */
	uint64_t off;	 /* or the line */
};

static void check_stack(const struct snapshot *snap, uint32_t node, const struct want *want,
			size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		const struct snap_frame *frame;

		assert_int_not_equal(node, 0);
		frame = &snap->frames.items[snap->nodes.items[node].frame];
		assert_int_equal(frame->kind, want[i].kind);
		assert_int_equal(frame->module, want[i].module);
		assert_int_equal(frame->offset, want[i].off);
		node = snap->nodes.items[node].parent;
	}
	assert_int_equal(node, 0);
}

#define CHECK_STACK(snap, row, ...)                                                                \
	check_stack(snap, (row)->stack, (const struct want[]){__VA_ARGS__},                        \
		    sizeof((const struct want[]){__VA_ARGS__}) / sizeof(struct want))

static void allocate(struct world *world, uint64_t addr, uint64_t stack_id)
{
	add_block(world, 1, addr,
		  (struct block){.size = 32, .stack_id = stack_id, .layer = LAYER_MALLOC});
}

static void test_merged(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP, FRAME(PYTHON, 0x9000));
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(STORE, 2), CODE(MAIN, 0) | LAST);
	allocate(world, 0x1000, 7);
	snap = report(world);
	assert_int_equal(snap->rows.cnt, 1);
	CHECK_STACK(snap, &snap->rows.items[0], {FRAME_NATIVE, 0, 0x40}, {FRAME_PYTHON, 0, 11},
		    {FRAME_PYTHON, 1, 1}, {FRAME_NATIVE, 1, 0x9000});
	assert_string_equal(snap->codes.items[0].function, "store");
	assert_string_equal(snap->codes.items[0].file, "app.py");
	assert_int_equal(snap->codes.items[0].first_line, 10);
	assert_false(snap->modules.items[0].is_interpreter);
	assert_true(snap->modules.items[1].is_interpreter);
	assert_int_equal(snap->procs.items[0].python.merge_violations, 0);
	assert_string_equal(snap->procs.items[0].python.version, "3.10.13");
	assert_string_equal(snap->procs.items[0].python.objects_reason, "not asked for");
	assert_int_equal(snap->procs.items[0].python.frames, COVERAGE_PROBED);
	assert_false(snap->procs.items[0].python.was_scanned);
}

/* A call is one byte before the address that it returns to. */
static void test_edges_of_the_loop(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PYTHON, LOOP_AT), FRAME(PYTHON, LOOP_END),
	       FRAME(PYTHON, LOOP_END + 1), FRAME(PYTHON, 0x101), FRAME(PROGRAM, LOOP_AT + 1));
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(STORE, 0) | LAST, CODE(MAIN, 0) | LAST);
	allocate(world, 0x1000, 7);
	snap = report(world);
	CHECK_STACK(snap, &snap->rows.items[0], {FRAME_NATIVE, 1, LOOP_AT}, {FRAME_PYTHON, 0, 10},
		    {FRAME_NATIVE, 1, LOOP_END + 1}, {FRAME_PYTHON, 1, 1},
		    {FRAME_NATIVE, 0, LOOP_AT + 1});
}

static void test_empty_chunk(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP, FRAME(PROGRAM, 0x50),
	       LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, EMPTY, CODE(MAIN, 0) | LAST);
	allocate(world, 0x1000, 7);
	snap = report(world);
	CHECK_STACK(snap, &snap->rows.items[0], {FRAME_NATIVE, 0, 0x40}, {FRAME_NATIVE, 0, 0x50},
		    {FRAME_PYTHON, 0, 1});
	assert_int_equal(snap->procs.items[0].python.merge_violations, 0);
}

static void test_unknown_code(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(PYTHON_CODE_LOST, 5), CODE(99, 0),
		     CODE(STORE, 3), CODE(MAIN, PYTHON_NO_UNIT) | LAST);
	allocate(world, 0x1000, 7);
	snap = report(world);
	CHECK_STACK(snap, &snap->rows.items[0], {FRAME_PYTHON, SNAP_NONE, 0},
		    {FRAME_PYTHON, SNAP_NONE, 0}, {FRAME_PYTHON, 0, 0}, {FRAME_PYTHON, 1, 1});
}

static void check_native_only(struct world *world)
{
	struct snapshot *snap = report(world);

	CHECK_STACK(snap, &snap->rows.items[0], {FRAME_NATIVE, 0, 0x40},
		    {FRAME_NATIVE, 1, LOOP_AT + 0x10});
}

static void test_frames_not_to_be_shown(void **state)
{
	struct world *world = begin(state);
	struct python_view view = views[0];

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(MAIN, 0) | LAST);
	allocate(world, 0x1000, 7);
	world->opts.python_cnt = 0; /* no Python there */
	check_native_only(world);
	assert_null(world->snap->procs.items[0].python.version);
	view.space = 2; /* in another process */
	world->opts.pythons = &view;
	world->opts.python_cnt = 1;
	check_native_only(world);
	view.space = 1;
	view.frames = COVERAGE_SKIPPED;
	check_native_only(world);
	view.frames = COVERAGE_PARTIAL;
	check_native_only(world);
}

static void test_lost_python_stack(void **state)
{
	struct world *world = begin(state);

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP);
	allocate(world, 0x1000, 7);
	check_native_only(world);
}

/* One stack of two layers is one violation; of two processes it would be two. */
static void test_violations(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP);
	NATIVE(world, 8, 70, UNWIND_COMPLETE, FRAME(PROGRAM, 0x50), LOOP);
	NATIVE(world, 9, 70, UNWIND_NO_TABLE, FRAME(PROGRAM, 0x60), LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(STORE, 0) | LAST, CODE(MAIN, 0) | LAST);
	allocate(world, 0x1000, 7);
	allocate(world, 0x2000, 8);
	allocate(world, 0x3000, 9); /* explained by its own end */
	add_block(world, 1, 0x4000,
		  (struct block){.size = 48, .stack_id = 7, .layer = LAYER_PYTHON});
	snap = report(world);
	assert_int_equal(snap->rows.cnt, 4);
	assert_int_equal(snap->procs.items[0].python.merge_violations, 2);
	snap = report(world);
	assert_int_equal(snap->procs.items[0].python.merge_violations, 2);
}

/* Of a line's instructions there are several, of the line one row. */
static void test_one_row_a_line(void **state)
{
	struct world *world = begin(state);
	const struct snap_row *row;
	struct snapshot *snap;

	for (uint64_t unit = 0; unit < 3; unit++) {
		NATIVE(world, 7 + unit, 70 + unit, UNWIND_COMPLETE, FRAME(PROGRAM, 0x40), LOOP);
		PYTHON_STACK(world, 70 + unit, PYTHON_END_COMPLETE, CODE(STORE, unit) | LAST);
	}
	add_block(world, 1, 0x1000,
		  (struct block){.size = 10, .stack_id = 7, .layer = LAYER_MALLOC, .born_ns = 50});
	add_block(world, 1, 0x2000,
		  (struct block){.size = 20, .stack_id = 8, .layer = LAYER_MALLOC, .born_ns = 10});
	add_block(world, 1, 0x3000,
		  (struct block){.size = 40, .stack_id = 8, .layer = LAYER_MALLOC, .born_ns = 90});
	add_block(world, 1, 0x4000,
		  (struct block){.size = 80, .stack_id = 9, .layer = LAYER_MALLOC});
	snap = report(world);
	check_accounted(snap);
	assert_int_equal(snap->rows.cnt, 2);
	row = &snap->rows.items[snap->rows.items[0].cost.live_bytes == 80];
	check_live(row, 70, 3);
	assert_int_equal(row->oldest_ns, NOW - 10);
	assert_int_equal(row->newest_ns, NOW - 90);
	CHECK_STACK(snap, row, {FRAME_NATIVE, 0, 0x40}, {FRAME_PYTHON, 0, 10});
}

/* How a stack ended and its layer tell rows apart. */
static void test_rows_kept_apart(void **state)
{
	struct world *world = begin(state);
	struct snapshot *snap;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, LOOP);
	NATIVE(world, 8, 71, UNWIND_BROKEN, LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(STORE, 0) | LAST);
	PYTHON_STACK(world, 71, PYTHON_END_COMPLETE, CODE(STORE, 1) | LAST);
	allocate(world, 0x1000, 7);
	allocate(world, 0x2000, 8);
	add_block(world, 1, 0x3000,
		  (struct block){.size = 48, .stack_id = 7, .layer = LAYER_PYTHON});
	snap = report(world);
	assert_int_equal(snap->rows.cnt, 3);
	check_accounted(snap);
}

/* What has been read once is not read again; what the space had goes with it. */
static void test_kept_and_purged(void **state)
{
	struct world *world = begin(state);
	uint64_t id = 70;

	NATIVE(world, 7, 70, UNWIND_COMPLETE, LOOP);
	PYTHON_STACK(world, 70, PYTHON_END_COMPLETE, CODE(STORE, 0) | LAST);
	allocate(world, 0x1000, 7);
	report(world);
	assert_int_equal(bpf_map_delete_elem(world->maps.python_stacks, &id), 0);
	report(world);
	CHECK_STACK(world->snap, &world->snap->rows.items[0], {FRAME_PYTHON, 0, 10});
	end_space(world, space_table__find(&world->table, 1));
	report(world);
	assert_int_equal(world->snap->procs.cnt, 0);
	assert_int_equal(world->snap->ended_bytes, 32);
	assert_null(code_table__find(&world->codes, STORE));
	assert_null(code_table__find(&world->codes, MAIN));
}

/* Frames that came late belong to the Python frames that were taken with the begun stack. */
static void test_finished_later(void **state)
{
	static struct stack_frames finished;
	struct world *world = begin(state);
	struct snapshot *snap;

	for (uint64_t id = 7; id <= 8; id++) {
		NATIVE(world, id, 70 + id, UNWIND_NO_TABLE, FRAME(PROGRAM, 0x40));
		PYTHON_STACK(world, 70 + id, PYTHON_END_COMPLETE,
			     CODE(id == 7 ? STORE : MAIN, 0) | LAST);
		allocate(world, id << 12, id);
		assert_int_equal(collector__begun_stack(world->collector, id, &finished), 0);
		finished.frame[finished.frame_cnt++] = LOOP;
		finished.end = UNWIND_COMPLETE;
		assert_int_equal(collector__finish_stack(world->collector, id, &finished), 0);
	}
	snap = report(world);
	assert_int_equal(snap->rows.cnt, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(snap->rows.items[i].unwind, UNWIND_COMPLETE);
		check_live(&snap->rows.items[i], 32, 1);
	}
	assert_int_equal(snap->codes.cnt, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_merged),
		WORLD_TEST(test_edges_of_the_loop),
		WORLD_TEST(test_empty_chunk),
		WORLD_TEST(test_unknown_code),
		WORLD_TEST(test_frames_not_to_be_shown),
		WORLD_TEST(test_lost_python_stack),
		WORLD_TEST(test_violations),
		WORLD_TEST(test_one_row_a_line),
		WORLD_TEST(test_rows_kept_apart),
		WORLD_TEST(test_kept_and_purged),
		WORLD_TEST(test_finished_later),
	};

	return cmocka_run_group_tests_name("collect/python_stacks", tests, NULL, NULL);
}
