/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/profile.h"
#include "model/symbol.h"

/* Two processes of one program and a library: the usual scene. Frames: the two halves of `leak`,
 * `other`, `main`. */
struct scene {
	struct snapshot *snap;
	uint32_t app, lib;
	uint32_t procs[2];
	uint32_t leak1, leak2, other, main;
	struct symbol symbols[4];
};

static void scene__init(struct scene *scene, bool other_way_round)
{
	static const uint8_t id[] = {0xab, 0xcd};
	struct snapshot *snap = snapshot__new("trace");

	scene->snap = snap;
	/* Indexes differ from snapshot to snapshot; identities do not. */
	if (other_way_round)
		scene->lib = snapshot__add_module(snap, "/lib/lib.so", 8, 20, NULL, 0, -1);
	scene->app = snapshot__add_module(snap, other_way_round ? "/proc/app" : "/bin/app", 8, 10,
					  id, sizeof(id), -1);
	if (!other_way_round)
		scene->lib = snapshot__add_module(snap, "/lib/lib.so", 8, 20, NULL, 0, -1);
	for (int i = 0; i < 2; i++) {
		int proc = other_way_round ? !i : i;

		scene->procs[proc] = snapshot__add_proc(snap, 100 + proc, 5000, "app", "/bin/app",
							proc ? "/b.slice" : "/a.slice", "");
	}
	scene->leak1 = snapshot__add_frame(snap, FRAME_NATIVE, scene->app, 0x100);
	scene->leak2 = snapshot__add_frame(snap, FRAME_NATIVE, scene->app, 0x108);
	scene->other = snapshot__add_frame(snap, FRAME_NATIVE, scene->lib, 0x100);
	scene->main = snapshot__add_frame(snap, FRAME_NATIVE, scene->app, 0x200);
	memset(scene->symbols, 0, sizeof(scene->symbols));
	scene->symbols[scene->leak1].function = scene->symbols[scene->leak2].function = "leak";
	scene->symbols[scene->other].reason = SYMBOL_STRIPPED;
	scene->symbols[scene->main].function = "main";
}

static void add_row(struct scene *scene, int proc, uint32_t leaf, enum layer layer, int64_t bytes,
		    int64_t count)
{
	const uint32_t frames[] = {leaf, scene->main};
	const struct snap_row row = {
		.proc = scene->procs[proc],
		.stack = snapshot__add_stack(scene->snap, frames, 2),
		.layer = layer,
		.unwind = UNWIND_COMPLETE,
		.cost = {.live_bytes = bytes,
			 .live_count = count,
			 .alloc_bytes = bytes + 8,
			 .alloc_count = count + 1,
			 .free_bytes = 10,
			 .free_count = 2,
			 .inherited_bytes = 2,
			 .inherited_count = 1},
		.oldest_ns = 100 + bytes,
		.newest_ns = 50 - count,
	};

	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

static void check_ledger(const struct cost *cost)
{
	assert_int_equal(cost->alloc_bytes + cost->inherited_bytes,
			 cost->live_bytes + cost->free_bytes);
	assert_int_equal(cost->alloc_count + cost->inherited_count,
			 cost->live_count + cost->free_count);
}

static void test_empty(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	const struct profile_opts opts = {0};
	struct profile *profile = profile__new(snap, NULL, &opts, NULL);
	struct profile *next = profile__new(snap, NULL, &opts, profile);

	(void)state;
	assert_int_equal(profile->rows.cnt, 0);
	assert_int_equal(profile->total.alloc_count, 0);
	assert_false(profile->has_previous);
	assert_true(next->has_previous);
	assert_int_equal(next->delta_bytes, 0);
	profile__free(next);
	profile__free(profile);
	profile__free(NULL);
	snapshot__free(snap);
}

static void test_sort(void **state)
{
	struct profile_opts opts = {.sort = SORT_BYTES};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	add_row(&scene, 1, scene.leak1, LAYER_MALLOC, 500, 1);
	add_row(&scene, 0, scene.leak1, LAYER_MMAP, 500, 1);
	add_row(&scene, 0, scene.other, LAYER_MALLOC, 500, 1);
	add_row(&scene, 0, scene.leak2, LAYER_MALLOC, 500, 1);
	add_row(&scene, 0, scene.leak1, LAYER_MALLOC, 500, 1);
	add_row(&scene, 1, scene.other, LAYER_MALLOC, 20, 7);
	add_row(&scene, 1, scene.leak2, LAYER_MALLOC, 1000, 2);
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 7);
	assert_ptr_equal(profile->rows.items[0].row, &scene.snap->rows.items[6]);
	/* Ties: process, then layer, then the frames' module path and offset. */
	assert_ptr_equal(profile->rows.items[1].row, &scene.snap->rows.items[4]);
	assert_ptr_equal(profile->rows.items[2].row, &scene.snap->rows.items[3]);
	assert_ptr_equal(profile->rows.items[3].row, &scene.snap->rows.items[2]);
	assert_ptr_equal(profile->rows.items[4].row, &scene.snap->rows.items[1]);
	assert_ptr_equal(profile->rows.items[5].row, &scene.snap->rows.items[0]);
	assert_ptr_equal(profile->rows.items[6].row, &scene.snap->rows.items[5]);
	assert_int_equal(profile->total.live_bytes, 3520);
	assert_int_equal(profile->proc_totals[scene.procs[0]].live_bytes, 2000);
	check_ledger(&profile->total);
	check_ledger(&profile->proc_totals[scene.procs[1]]);
	profile__free(profile);

	opts.sort = SORT_COUNT;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_ptr_equal(profile->rows.items[0].row, &scene.snap->rows.items[5]);
	assert_ptr_equal(profile->rows.items[1].row, &scene.snap->rows.items[6]);
	profile__free(profile);

	/* Without a previous profile everything has grown from nothing. */
	opts.sort = SORT_GROWTH;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_ptr_equal(profile->rows.items[0].row, &scene.snap->rows.items[6]);
	assert_int_equal(profile->rows.items[0].delta_bytes, 1000);
	assert_int_equal(profile->delta_bytes, 3520);
	profile__free(profile);
	snapshot__free(scene.snap);
}

static void test_group(void **state)
{
	struct profile_opts opts = {.group = GROUP_FUNCTION};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	add_row(&scene, 0, scene.leak1, LAYER_MALLOC, 100, 1);
	add_row(&scene, 0, scene.leak2, LAYER_MALLOC, 300, 3);
	add_row(&scene, 1, scene.leak1, LAYER_MMAP, 200, 2);
	add_row(&scene, 1, scene.other, LAYER_MALLOC, 50, 1);
	add_row(&scene, 0, scene.other, LAYER_MALLOC, 10, 1);
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 600);
	assert_int_equal(profile->rows.items[0].cost.live_count, 6);
	assert_int_equal(profile->rows.items[0].rows, 3);
	assert_int_equal(profile->rows.items[0].procs, 2);
	assert_int_equal(profile->rows.items[0].oldest_ns, 400);
	assert_int_equal(profile->rows.items[0].newest_ns, 47);
	assert_ptr_equal(profile->rows.items[0].row, &scene.snap->rows.items[1]);
	assert_int_equal(profile->rows.items[1].cost.live_bytes, 60);
	check_ledger(&profile->rows.items[0].cost);
	profile__free(profile);

	opts.group = GROUP_PROCESS;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 410);
	assert_int_equal(profile->rows.items[0].procs, 1);
	assert_int_equal(profile->rows.items[1].cost.live_bytes, 250);
	profile__free(profile);

	opts.group = GROUP_CGROUP;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_string_equal(scene.snap->procs.items[profile->rows.items[0].row->proc].cgroup,
			    "/a.slice");
	profile__free(profile);

	/* Without names, functions are told apart by where they are. */
	opts.group = GROUP_FUNCTION;
	profile = profile__new(scene.snap, NULL, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 3);
	profile__free(profile);
	snapshot__free(scene.snap);
}

/* A library that was unloaded and loaded again elsewhere gives two rows of the same frames. */
static void test_same_stack_is_one_row(void **state)
{
	const struct profile_opts opts = {0};
	struct snap_row lost = {.layer = LAYER_MALLOC, .unwind = UNWIND_LOST};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	add_row(&scene, 0, scene.leak1, LAYER_MALLOC, 100, 1);
	add_row(&scene, 0, scene.leak1, LAYER_MALLOC, 300, 1);
	lost.proc = scene.procs[0];
	lost.cost.live_bytes = lost.cost.alloc_bytes = 7;
	assert_int_equal(snapshot__add_row(scene.snap, &lost), 0);
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 400);
	assert_int_equal(profile->rows.items[0].rows, 2);
	assert_int_equal(profile->rows.items[0].procs, 1);
	/* Nobody looked at the blocks of the other row: it has no age. */
	assert_int_equal(profile->rows.items[1].oldest_ns, 0);
	profile__free(profile);
	snapshot__free(scene.snap);
}

static void test_delta(void **state)
{
	struct profile_opts opts = {.sort = SORT_GROWTH};
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	scene__init(&old, false);
	add_row(&old, 0, old.leak1, LAYER_MALLOC, 100, 1);
	add_row(&old, 0, old.leak2, LAYER_MALLOC, 900, 9);
	add_row(&old, 1, old.leak1, LAYER_MALLOC, 40, 4);
	add_row(&old, 1, old.other, LAYER_MMAP, 5, 1);
	scene__init(&new, true);
	add_row(&new, 1, new.other, LAYER_MMAP, 6, 1);
	add_row(&new, 1, new.other, LAYER_MALLOC, 7, 1);
	add_row(&new, 1, new.leak1, LAYER_MALLOC, 10, 1);
	add_row(&new, 0, new.leak1, LAYER_MALLOC, 350, 3);
	add_row(&new, 0, new.leak2, LAYER_MALLOC, 900, 10);
	before = profile__new(old.snap, old.symbols, &opts, NULL);
	after = profile__new(new.snap, new.symbols, &opts, before);
	assert_true(after->has_previous);
	assert_int_equal(after->delta_bytes, 1273 - 1045);
	assert_int_equal(after->rows.items[0].delta_bytes, 250);
	assert_int_equal(after->rows.items[0].delta_count, 2);
	assert_int_equal(after->rows.items[1].delta_bytes, 7);
	assert_int_equal(after->rows.items[2].delta_bytes, 1);
	assert_int_equal(after->rows.items[3].delta_bytes, 0);
	assert_int_equal(after->rows.items[3].delta_count, 1);
	assert_int_equal(after->rows.items[4].delta_bytes, -30);
	profile__free(after);

	/* Another grouping than the previous profile's. */
	opts.group = GROUP_PROCESS;
	after = profile__new(new.snap, new.symbols, &opts, before);
	assert_int_equal(after->rows.cnt, 2);
	assert_int_equal(after->rows.items[0].delta_bytes, 250);
	assert_int_equal(after->rows.items[1].delta_bytes, -22);
	profile__free(after);
	opts.group = GROUP_FUNCTION;
	after = profile__new(new.snap, new.symbols, &opts, before);
	assert_int_equal(after->rows.items[0].delta_bytes, 220);
	profile__free(after);
	profile__free(before);
	snapshot__free(new.snap);
	snapshot__free(old.snap);
}

/* A reused pid is another process; an image that exec replaced is told from the one that runs now.
 */
static void test_identity_of_processes(void **state)
{
	const struct profile_opts opts = {0};
	struct snapshot *old = snapshot__new("trace"), *new = snapshot__new("trace");
	struct snap_row row = {.layer = LAYER_MALLOC};
	struct profile *before, *after;

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		row.proc = snapshot__add_proc(old, 5 + i, 1000, "a", "", "", "");
		row.cost.live_bytes = 100;
		snapshot__add_row(old, &row);
	}
	/* Pid 5 was reused, pid 6 has called exec since; the new image happens to stand first. */
	row.proc = snapshot__add_proc(new, 5, 2000, "a", "", "", "");
	row.cost.live_bytes = 110;
	snapshot__add_row(new, &row);
	row.proc = snapshot__add_proc(new, 6, 1000, "b", "", "", "");
	row.cost.live_bytes = 105;
	snapshot__add_row(new, &row);
	row.proc = snapshot__add_proc(new, 6, 1000, "a", "", "", "");
	row.cost.live_bytes = 101;
	snapshot__add_row(new, &row);
	new->procs.items[row.proc].state = PROC_EXECED;
	before = profile__new(old, NULL, &opts, NULL);
	after = profile__new(new, NULL, &opts, before);
	assert_int_equal(after->rows.cnt, 3);
	assert_int_equal(after->rows.items[0].delta_bytes, 110);
	assert_int_equal(after->rows.items[1].delta_bytes, 105);
	assert_int_equal(after->rows.items[2].delta_bytes, 1);
	profile__free(after);
	profile__free(before);
	snapshot__free(new);
	snapshot__free(old);
}

/* ---- Python ---- */

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
	const struct profile_opts opts = {.group = group};
	struct profile *profile = profile__new(scene->snap, scene->symbols, &opts, previous);

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
	const struct profile_opts opts = {0};
	struct python_scene old, new;
	struct profile *before;

	(void)state;
	python_scene__init(&old, false);
	python_scene__init(&new, true);
	before = profile__new(old.snap, old.symbols, &opts, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		check_python_groups(&old, NULL, cases[i].group, cases[i].bytes, cases[i].cnt);
		/* Functions are the same in another snapshot, whatever their indexes. */
		check_python_groups(&new, before, cases[i].group, cases[i].later, cases[i].cnt);
	}
	profile__free(before);
	snapshot__free(new.snap);
	snapshot__free(old.snap);
}

/* A line of a Python file and one of machine code's are two, even if all else is equal. */
static void test_python_is_no_module(void **state)
{
	struct profile_opts opts = {0};
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

		opts.group = group;
		profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
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
	const struct profile_opts opts = {.group = GROUP_TYPE};
	struct profile *before, *profile;
	struct python_scene old, new;
	struct cost sum = {0};

	(void)state;
	python_scene__init(&old, false);
	add_shares(old.snap, 0, "dict", 600, "list", 300);
	python_scene__init(&new, true);
	add_shares(new.snap, 4, "list", 500, "dict", 400);
	add_shares(new.snap, 3, "dict", 400, "str", 101);
	before = profile__new(old.snap, old.symbols, &opts, NULL);
	profile = profile__new(new.snap, new.symbols, &opts, before);
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
	profile__free(profile);
	profile__free(before);
	snapshot__free(new.snap);
	snapshot__free(old.snap);
}

/* ---- stacks that differ in an interpreter's machine code ---- */

/*
 * Frames are letters: n, l = the interpreter, x, y = an extension, c = the C library, m = main,
 * s = _start, p, q = Python, i = import's Python.
 */
static const char letters[] = "nlxycmspqi";

struct letter_scene {
	struct snapshot *snap;
	struct symbol symbols[16];
	uint32_t frames[128];
};

static void letter_scene__init(struct letter_scene *scene, bool other_way_round)
{
	static const char *const paths[] = {"/usr/bin/python3.11", "/opt/x.so", "/lib/libc.so.6",
					    "/opt/app"};
	static const uint8_t modules[] = {0, 0, 1, 1, 2, 3, 3};
	static const char *const functions[] = {"n",	"l",	  "x", "y", "c",
						"main", "_start", "p", "q", "i"};
	struct snapshot *snap = snapshot__new("trace");
	uint32_t indexes[4];

	*scene = (struct letter_scene){.snap = snap};
	snapshot__add_proc(snap, 1, 1, "app", "", "", "");
	for (int i = 0; i < 4; i++) {
		int at = other_way_round ? 3 - i : i;

		indexes[at] = snapshot__add_module(snap, paths[at], 1, 1 + at, NULL, 0, -1);
		snap->modules.items[indexes[at]].is_interpreter = !at;
	}
	for (int i = 0; i < 10; i++) {
		int at = other_way_round ? 9 - i : i;
		const char *file = at == 9 ? "<frozen importlib._bootstrap>" : "app.py";
		uint32_t frame =
			at < 7 ? snapshot__add_frame(snap, FRAME_NATIVE, indexes[modules[at]],
						     16 * at + 16)
			       : snapshot__add_frame(
					 snap, FRAME_PYTHON,
					 snapshot__add_code(snap, file, functions[at], 1), at);

		scene->symbols[frame].function = functions[at];
		scene->frames[(unsigned char)letters[at]] = frame;
	}
}

static void add_letters(struct letter_scene *scene, const char *stack, int64_t bytes)
{
	struct snap_row row = {.layer = LAYER_PYTHON, .cost = {.live_bytes = bytes}};
	uint32_t frames[64];
	size_t cnt = strlen(stack);

	for (size_t i = 0; i < cnt; i++)
		frames[i] = scene->frames[(unsigned char)stack[i]];
	row.stack = snapshot__add_stack(scene->snap, frames, cnt);
	row.cost.live_count = 1;
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

/* Writes what a stack is told from others by, as fold.h says it. */
static void write_key(const char *stack, char *key)
{
	const char *last = NULL;
	bool is_shown = false;

	for (const char *at = stack; *at; at++)
		if (strchr("pqi", *at))
			last = at;
	for (const char *at = stack; *at; at++) {
		bool is_python = strchr("pqi", *at), is_below = last && at > last;

		if (last && strchr("nl", *at) && !(is_below && is_shown))
			continue;
		/* The library's own: not at the leaf, nor where the program starts. */
		if (last && *at == 'c' && !is_shown)
			continue;
		if (is_below && strchr("cms", *at) && !is_shown)
			continue;
		*key++ = *at;
		/* Behind the last Python frame it counts anew. */
		is_shown = !(is_python && at == last);
		if (is_below)
			is_shown = true;
	}
	*key = '\0';
}

static void check_one_row(const char *a, const char *b, bool expected)
{
	struct profile_opts opts = {0};
	struct letter_scene scene;
	struct profile *profile;
	char key_a[64], key_b[64];

	letter_scene__init(&scene, false);
	add_letters(&scene, a, 10);
	add_letters(&scene, b, 20);
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	write_key(a, key_a);
	write_key(b, key_b);
	if (profile->rows.cnt != (expected ? 1 : 2) || !strcmp(key_a, key_b) != expected)
		fail_msg("%s and %s: %zu rows, %s and %s", a, b, profile->rows.cnt, key_a, key_b);
	profile__free(profile);
	opts.all_frames = true;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, strcmp(a, b) ? 2 : 1);
	profile__free(profile);
	snapshot__free(scene.snap);
}

static void test_stacks_that_are_one(void **state)
{
	(void)state;
	check_one_row("npnqncs", "lpllqmcs", true);
	check_one_row("cnpnqn", "pq", true);
	check_one_row("cxnpq", "cxpq", true);
	check_one_row("nxnpq", "xpnq", true);
	check_one_row("cxnpq", "cynpq", false);
	check_one_row("cxnpq", "cnpq", false);
	check_one_row("pq", "qp", false);
	check_one_row("pq", "ppq", false);
	check_one_row("pinq", "pniq", true);
	check_one_row("piq", "piiq", false); /* shown alike, but Python's own */
	check_one_row("pqnxms", "pqxms", true);
	check_one_row("pqxnms", "pqxms", false);
	check_one_row("pqms", "pqcs", true);
	/* Without Python every frame counts. */
	check_one_row("nms", "lms", false);
	check_one_row("cnms", "nms", false);
	check_one_row("xms", "xms", true);
}

/* Random stacks, against keys that are made in another way; and with a previous profile, which has
 * all indexes the other way round. */
static void test_random_stacks(void **state)
{
	const struct profile_opts opts = {0};
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 300; round++) {
		char stacks[24][24], keys[24][24];
		struct letter_scene old, new;
		struct profile *before, *after;
		size_t distinct = 0;

		letter_scene__init(&old, true);
		letter_scene__init(&new, false);
		for (int i = 0; i < 24; i++) {
			size_t len = 1 + rand_r(&seed) % 8;
			bool is_new = true;

			for (size_t j = 0; j < len; j++)
				stacks[i][j] = letters[rand_r(&seed) % 10];
			stacks[i][len] = '\0';
			write_key(stacks[i], keys[i]);
			for (int j = 0; j < i && is_new; j++)
				is_new = strcmp(keys[i], keys[j]) ||
					 !strpbrk(stacks[i], "pqi") != !strpbrk(stacks[j], "pqi");
			distinct += is_new;
			add_letters(&old, stacks[i], 100);
			add_letters(&new, stacks[i], 101);
		}
		before = profile__new(old.snap, old.symbols, &opts, NULL);
		after = profile__new(new.snap, new.symbols, &opts, before);
		assert_int_equal(before->rows.cnt, distinct);
		assert_int_equal(after->rows.cnt, distinct);
		for (size_t i = 0; i < after->rows.cnt; i++)
			assert_int_equal(after->rows.items[i].delta_bytes,
					 after->rows.items[i].rows);
		profile__free(after);
		profile__free(before);
		snapshot__free(new.snap);
		snapshot__free(old.snap);
	}
}

/* The types of stacks that are one stand together. */
static void test_shares_are_summed(void **state)
{
	static const struct {
		const char *stack, *type;
		int64_t bytes;
	} rows[] = {{"npq", "dict", 300}, {"lpq", "dict", 100}, {"pq", "str", 350},
		    {"pq", "list", 50},	  {"qp", "list", 10},	{"npq", NULL, 7}};
	const struct profile_opts opts = {0};
	const struct snap_type_share *shares;
	struct letter_scene scene;
	struct profile *profile;

	(void)state;
	letter_scene__init(&scene, false);
	for (size_t i = 0; i < 6; i++) {
		add_letters(&scene, rows[i].stack, rows[i].bytes);
		if (rows[i].type)
			snapshot__add_type_share(scene.snap,
						 snapshot__add_type(scene.snap, rows[i].type), 1,
						 rows[i].bytes);
	}
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 807);
	assert_int_equal(profile->rows.items[0].type_cnt, 3);
	shares = &profile->type_shares.items[profile->rows.items[0].first_type];
	assert_string_equal(scene.snap->types.items[shares[0].type], "dict");
	assert_int_equal(shares[0].bytes, 400);
	assert_int_equal(shares[0].cnt, 2);
	assert_int_equal(shares[1].bytes, 350);
	assert_int_equal(shares[2].bytes, 50);
	assert_int_equal(profile->rows.items[1].type_cnt, 1);
	assert_int_equal(profile->type_shares.items[profile->rows.items[1].first_type].bytes, 10);
	profile__free(profile);
	snapshot__free(scene.snap);
}

static uint32_t add_deep_stack(struct snapshot *snap, uint32_t module, uint32_t i)
{
	uint32_t frames[30];

	for (uint32_t depth = 0; depth < 30; depth++, i = depth % 4 ? i : i / 3)
		frames[depth] = snapshot__add_frame(snap, FRAME_NATIVE, module, i * 64 + depth);
	return snapshot__add_stack(snap, frames, 30);
}

/* Ten thousand stacks that all weigh the same: the worst case of the order. */
static void test_big_and_deterministic(void **state)
{
	const struct profile_opts opts = {0};
	struct snapshot *snaps[2];
	struct profile *profiles[3];
	struct timespec begin, end;

	(void)state;
	for (int n = 0; n < 2; n++) {
		uint32_t module, proc;

		snaps[n] = snapshot__new("trace");
		module = snapshot__add_module(snaps[n], "/bin/app", 8, 10, NULL, 0, -1);
		proc = snapshot__add_proc(snaps[n], 1, 1, "app", "", "", "");
		for (uint32_t i = 0; i < 10000; i++) {
			const struct snap_row row = {
				.proc = proc,
				.stack = add_deep_stack(snaps[n], module, n ? 9999 - i : i),
				.layer = LAYER_MALLOC,
				.cost = {.live_bytes = 64, .live_count = 1},
			};

			snapshot__add_row(snaps[n], &row);
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	profiles[0] = profile__new(snaps[0], NULL, &opts, NULL);
	profiles[1] = profile__new(snaps[1], NULL, &opts, profiles[0]);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	print_message("two profiles of 10000 stacks: %ld ms\n",
		      (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
	profiles[2] = profile__new(snaps[1], NULL, &opts, profiles[1]);
	assert_int_equal(profiles[0]->rows.cnt, 10000);
	assert_int_equal(profiles[1]->delta_bytes, 0);
	for (size_t i = 0; i < 10000; i++) {
		const struct profile_row *a = &profiles[0]->rows.items[i];
		const struct profile_row *b = &profiles[1]->rows.items[i];

		/* The two snapshots list the same stacks in opposite order. */
		assert_int_equal(a->row - snaps[0]->rows.items,
				 9999 - (b->row - snaps[1]->rows.items));
		assert_int_equal(b->delta_bytes, 0);
		assert_int_equal(profiles[2]->rows.items[i].delta_count, 0);
	}
	for (int n = 0; n < 3; n++)
		profile__free(profiles[n]);
	for (int n = 0; n < 2; n++)
		snapshot__free(snaps[n]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_sort),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_same_stack_is_one_row),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_identity_of_processes),
		cmocka_unit_test(test_big_and_deterministic),
		cmocka_unit_test(test_python_groups),
		cmocka_unit_test(test_python_is_no_module),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_stacks_that_are_one),
		cmocka_unit_test(test_random_stacks),
		cmocka_unit_test(test_shares_are_summed),
	};

	return cmocka_run_group_tests_name("model profile", tests, NULL, NULL);
}
