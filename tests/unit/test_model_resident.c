/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When resident memory is said to be kept by an allocator, and when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "model/profile.h"

#define MIB (1LL << 20)

/* Megabytes: what there was and is, live and resident, and what is kept now. */
struct story {
	int live_before, total_before, live, total, objects_kept, heaps_kept;
	enum heaps_kept known;
	int pymalloc, heaps; /* the verdict; 0, 0 = none */
};

static bool judge(const struct story *story, struct retained *ret)
{
	const struct resident_before before = {
		.resident = {.is_known = story->total_before > 0,
			     .total_bytes = story->total_before * MIB},
		.live_bytes = story->live_before * MIB,
	};
	const struct snap_resident now = {
		.is_known = story->total > 0,
		.total_bytes = story->total * MIB,
		.objects_kept_bytes = story->objects_kept * MIB,
		.heaps_kept = story->known,
		.heaps_kept_bytes = story->heaps_kept * MIB,
	};

	return resident__is_retained(&now, story->live * MIB, &before, ret);
}

static void test_stories(void **state)
{
	static const struct story stories[] = {
		/* freed, and nothing given back; then at rest */
		{200, 204, 1, 204, 0, 200, HEAPS_KEPT_AT_LEAST, 0, 200},
		{200, 204, 1, 204, 0, 200, HEAPS_KEPT_WHOLE, 0, 200},
		{200, 204, 1, 204, 200, 0, HEAPS_KEPT_UNKNOWN, 200, 0},
		{1, 204, 1, 204, 0, 200, HEAPS_KEPT_AT_LEAST, 0, 200},
		/* fragments: it grows without anything live */
		{10, 100, 10, 150, 60, 30, HEAPS_KEPT_AT_LEAST, 60, 30},
		/* some of it was given back */
		{200, 204, 1, 104, 0, 100, HEAPS_KEPT_AT_LEAST, 0, 100},
		/* nothing is known of what is kept */
		{200, 204, 1, 204, 0, 200, HEAPS_KEPT_UNKNOWN, 0, 0},
		/* a leak */
		{100, 104, 200, 204, 0, 2, HEAPS_KEPT_WHOLE, 0, 0},
		{100, 204, 110, 204, 90, 0, HEAPS_KEPT_WHOLE, 0, 0},
		/* at rest, with little that is kept */
		{200, 204, 200, 204, 0, 4, HEAPS_KEPT_WHOLE, 0, 0},
		{200, 204, 200, 204, 20, 0, HEAPS_KEPT_WHOLE, 0, 0},
		{200, 204, 200, 204, 21, 1, HEAPS_KEPT_WHOLE, 21, 0},
		{3, 4, 2, 4, 0, 1, HEAPS_KEPT_WHOLE, 0, 0},
		{3, 4, 2, 4, 0, 2, HEAPS_KEPT_WHOLE, 0, 2},
		/* everything that was freed was given back */
		{200, 304, 100, 204, 50, 0, HEAPS_KEPT_WHOLE, 0, 0},
		/* not looked at, then or now */
		{200, 0, 1, 204, 0, 200, HEAPS_KEPT_WHOLE, 0, 0},
		{200, 204, 1, 0, 0, 200, HEAPS_KEPT_WHOLE, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		const struct story *story = &stories[i];
		struct retained retained = {.pymalloc_bytes = 77};

		if (judge(story, &retained) != (story->pymalloc || story->heaps))
			fail_msg("story %zu ends the other way", i);
		if (!story->pymalloc && !story->heaps) {
			assert_int_equal(retained.pymalloc_bytes, 77);
			continue;
		}
		assert_int_equal(retained.pymalloc_bytes, story->pymalloc * MIB);
		assert_int_equal(retained.heaps_bytes, story->heaps * MIB);
		assert_int_equal(retained.at_least, story->known == HEAPS_KEPT_AT_LEAST);
	}
}

static struct snapshot *make_snapshot(int pid, uint64_t start_ns, uint64_t total)
{
	struct snapshot *snap = snapshot__new("trace");
	uint32_t proc;

	assert_non_null(snap);
	snapshot__add_proc(snap, 1, 1, "init", "", "", "");
	proc = snapshot__add_proc(snap, pid, start_ns, "app", "", "", "");
	assert_int_not_equal(proc, SNAP_NONE);
	snap->procs.items[proc].resident =
		(struct snap_resident){.is_known = total > 0, .total_bytes = total};
	return snap;
}

/* A process is the same when its number and its start are. */
static void test_match(void **state)
{
	const struct profile_opts opts = {0};
	struct snapshot *before = make_snapshot(7, 10, 500), *same = make_snapshot(7, 10, 600),
			*other = make_snapshot(7, 11, 600);
	struct profile *first = profile__new(before, NULL, &opts, NULL), *second, *third;

	(void)state;
	assert_non_null(first);
	assert_null(first->residents_before);
	second = profile__new(same, NULL, &opts, first);
	assert_non_null(second);
	assert_false(second->residents_before[0].resident.is_known);
	assert_true(second->residents_before[1].resident.is_known);
	assert_int_equal(second->residents_before[1].resident.total_bytes, 500);
	third = profile__new(other, NULL, &opts, second);
	assert_non_null(third);
	assert_false(third->residents_before[1].resident.is_known);
	profile__free(first);
	profile__free(second);
	profile__free(third);
	snapshot__free(before);
	snapshot__free(same);
	snapshot__free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stories),
		cmocka_unit_test(test_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
