/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Order, groups and growth of a profile's rows. */
#include "unit/profile_fixture.h"

#include <time.h>

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
	struct profile *profile = profile_of(snap, NULL, GROUP_STACK, NULL);
	struct profile *next = profile_of(snap, NULL, GROUP_STACK, profile);

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
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	add_row(&scene, 0, scene.leak1, LAYER_MALLOC, 100, 1);
	add_row(&scene, 0, scene.leak2, LAYER_MALLOC, 300, 3);
	add_row(&scene, 1, scene.leak1, LAYER_MMAP, 200, 2);
	add_row(&scene, 1, scene.other, LAYER_MALLOC, 50, 1);
	add_row(&scene, 0, scene.other, LAYER_MALLOC, 10, 1);
	profile = profile_of(scene.snap, scene.symbols, GROUP_FUNCTION, NULL);
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

	profile = profile_of(scene.snap, scene.symbols, GROUP_PROCESS, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 410);
	assert_int_equal(profile->rows.items[0].procs, 1);
	assert_int_equal(profile->rows.items[1].cost.live_bytes, 250);
	profile__free(profile);

	profile = profile_of(scene.snap, scene.symbols, GROUP_CGROUP, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_string_equal(scene.snap->procs.items[profile->rows.items[0].row->proc].cgroup,
			    "/a.slice");
	profile__free(profile);

	/* Without names, functions are told apart by where they are. */
	profile = profile_of(scene.snap, NULL, GROUP_FUNCTION, NULL);
	assert_int_equal(profile->rows.cnt, 3);
	profile__free(profile);
	snapshot__free(scene.snap);
}

/* A library that was unloaded and loaded again elsewhere gives two rows of the same frames. */
static void test_same_stack_is_one_row(void **state)
{
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
	profile = profile_of(scene.snap, scene.symbols, GROUP_STACK, NULL);
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
	free_both(before, NULL, old.snap, new.snap);
}

/* A reused pid is another process; an image that exec replaced is told from the one that runs now.
 */
static void test_identity_of_processes(void **state)
{
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
	before = profile_of(old, NULL, GROUP_STACK, NULL);
	after = profile_of(new, NULL, GROUP_STACK, before);
	assert_int_equal(after->rows.cnt, 3);
	assert_int_equal(after->rows.items[0].delta_bytes, 110);
	assert_int_equal(after->rows.items[1].delta_bytes, 105);
	assert_int_equal(after->rows.items[2].delta_bytes, 1);
	free_both(before, after, old, new);
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
	profiles[0] = profile_of(snaps[0], NULL, GROUP_STACK, NULL);
	profiles[1] = profile_of(snaps[1], NULL, GROUP_STACK, profiles[0]);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	print_message("two profiles of 10000 stacks: %ld ms\n",
		      (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
	profiles[2] = profile_of(snaps[1], NULL, GROUP_STACK, profiles[1]);
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
	};

	return cmocka_run_group_tests_name("model profile", tests, NULL, NULL);
}
