/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where resident memory is, in the table and in JSON, and the sentence about what is only kept. */
#include "unit/report_scene.h"

#define MIB (1LL << 20)
#define TENTH (MIB / 10)

static struct snap_resident python_resident(void)
{
	return (struct snap_resident){
		.is_known = true,
		.total_bytes = 213 * TENTH,
		.objects_bytes = 92 * TENTH,
		.objects_kept_bytes = 12 * TENTH,
		.heaps_bytes = 61 * TENTH,
		.heaps_live_bytes = 20 * TENTH,
		.heaps_used_bytes = 21 * TENTH,
		.mapped_bytes = 10 * TENTH,
		.files_bytes = 34 * TENTH,
		.files_dirty_bytes = 2 * TENTH,
		.stacks_bytes = TENTH,
		.shared_bytes = 3 * TENTH,
		.swapped_bytes = 50 * TENTH,
	};
}

static struct snap_resident plain_resident(uint64_t heaps, uint64_t live, enum heaps_kept kept)
{
	return (struct snap_resident){
		.is_known = true,
		.total_bytes = heaps + 40 * TENTH,
		.heaps_bytes = heaps,
		.heaps_live_bytes = live,
		.heaps_used_bytes = live + live / 100,
		.heaps_kept = kept,
		.heaps_kept_bytes = kept == HEAPS_KEPT_UNKNOWN ? 0 : heaps - live - live / 100,
		.thread_heaps = 4,
		.files_bytes = 40 * TENTH,
	};
}

static void set_procs(struct scene *scene, const struct snap_resident *first,
		      const struct snap_resident *second)
{
	scene__init(scene);
	if (first)
		scene->snap->procs.items[0].resident = *first;
	if (second)
		scene->snap->procs.items[1].resident = *second;
}

/* Leaves one process. */
static void set_single(struct scene *scene, const struct snap_resident *resident)
{
	*scene = (struct scene){.snap = new_snapshot()};
	snapshot__add_proc(scene->snap, 812, 77, "app", "/usr/bin/python3.11", "", "");
	snapshot__add_coverage(scene->snap, 0, "glibc", "/lib/libc.so.6", COVERAGE_PROBED, "");
	scene->snap->procs.items[0].resident = *resident;
}

static void add_live(struct scene *scene, uint32_t proc, int64_t bytes)
{
	add_row(scene, proc, LAYER_MALLOC, UNWIND_COMPLETE, NULL, 0, bytes, 10);
}

static void check_both(const struct scene *scene, const struct profile *previous, const char *name)
{
	struct profile *profile = profile_of(scene, GROUP_STACK, previous);
	char golden[64];

	snprintf(golden, sizeof(golden), "resident-%s.txt", name);
	check_golden(profile, "table", golden);
	snprintf(golden, sizeof(golden), "resident-%s.json", name);
	check_golden(profile, "json", golden);
	profile__free(profile);
}

static void test_one(void **state)
{
	const struct snap_resident resident = python_resident();
	struct scene scene;

	(void)state;
	set_single(&scene, &resident);
	add_live(&scene, 0, 20 * TENTH);
	check_both(&scene, NULL, "one");
	scene__free(&scene);
}

/* Another allocator than glibc's; a process that was not read to its end; five of them. */
static void test_many(void **state)
{
	const struct snap_resident python = python_resident(),
				   plain = plain_resident(300 * MIB, 295 * MIB, HEAPS_KEPT_WHOLE);
	const struct snap_resident huge = {
		.is_known = true,
		.total_bytes = 40LL << 30,
		.mapped_bytes = 10LL << 30,
		.unread_bytes = 30LL << 30,
	};
	const struct snap_resident tiny = {
		.is_known = true, .total_bytes = 200 << 10, .files_bytes = 200 << 10};
	struct scene scene;

	(void)state;
	set_procs(&scene, &python, &plain);
	for (int i = 0; i < 3; i++) {
		snapshot__add_proc(scene.snap, 1000 + i, 5, "\033[2Jevil", "", "", "");
		scene.snap->procs.items[3 + i].resident = i ? tiny : huge;
	}
	add_live(&scene, 0, 20 * TENTH);
	check_both(&scene, NULL, "many");
	scene__free(&scene);
}

/* Parts of a small process are told in a small unit. */
static void test_tiny(void **state)
{
	const struct snap_resident tiny = {
		.is_known = true,
		.total_bytes = 200 << 10,
		.heaps_bytes = 100 << 10,
		.heaps_live_bytes = 8 << 10,
		.files_bytes = 100 << 10,
	};
	struct scene scene;

	(void)state;
	set_single(&scene, &tiny);
	scene.snap->estimated = true;
	scene.snap->sample_bytes = 4096;
	add_live(&scene, 0, 8 << 10);
	check_both(&scene, NULL, "tiny");
	scene__free(&scene);
}

/* Live memory fell and resident memory stayed. */
static void check_kept(const struct snap_resident *was, const struct snap_resident *now,
		       int64_t live_before, int64_t live, const char *name)
{
	struct scene before, after;
	struct profile *previous;

	set_single(&before, was);
	set_single(&after, now);
	after.snap->interval = 2;
	add_live(&before, 0, live_before);
	add_live(&after, 0, live);
	previous = profile_of(&before, GROUP_STACK, NULL);
	check_both(&after, previous, name);
	profile__free(previous);
	scene__free(&before);
	scene__free(&after);
}

static void test_kept_by_malloc(void **state)
{
	const struct snap_resident was = plain_resident(200 * MIB, 198 * MIB, HEAPS_KEPT_UNKNOWN),
				   now = plain_resident(200 * MIB, MIB, HEAPS_KEPT_AT_LEAST);

	(void)state;
	check_kept(&was, &now, 198 * MIB, MIB, "kept-malloc");
}

static void test_kept_by_pymalloc(void **state)
{
	struct snap_resident was = python_resident(), now = python_resident();

	(void)state;
	was.objects_bytes += 180 * MIB;
	was.total_bytes += 180 * MIB;
	now.objects_kept_bytes += 180 * MIB;
	now.heaps_bytes += 20 * MIB;
	now.heaps_kept = HEAPS_KEPT_WHOLE;
	now.heaps_kept_bytes = 20 * MIB;
	now.total_bytes += 200 * MIB;
	check_kept(&was, &now, 190 * MIB, 10 * MIB, "kept-pymalloc");
}

static void test_leak(void **state)
{
	const struct snap_resident was = plain_resident(100 * MIB, 98 * MIB, HEAPS_KEPT_WHOLE),
				   now = plain_resident(200 * MIB, 197 * MIB, HEAPS_KEPT_WHOLE);

	(void)state;
	check_kept(&was, &now, 98 * MIB, 197 * MIB, "leak");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_tiny),
		cmocka_unit_test(test_kept_by_malloc),
		cmocka_unit_test(test_kept_by_pymalloc),
		cmocka_unit_test(test_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
