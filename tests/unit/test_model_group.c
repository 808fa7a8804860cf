/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups: by what processes go, sums without counting twice, time to the limit. */
#include "unit/groups_fixture.h"

#include <errno.h>
#include <math.h>

#include "model/group.h"
#include "unit/profile_fixture.h"

/* Process n is in group n, the last one in none. */
static struct snapshot *new_scene(void)
{
	struct snapshot *snap = snapshot__new("trace");

	add_groups(snap);
	for (uint32_t i = 0; i <= snap->groups.cnt; i++) {
		const char *path = i < snap->groups.cnt ? snap->groups.items[i].path : "";

		assert_int_equal(
			snapshot__add_proc(snap, 100 + (int32_t)i, 1, "app", "/app", path, ""), i);
		assert_int_equal(snap->procs.items[i].group, SNAP_NONE);
		if (i < snap->groups.cnt)
			assert_int_equal(snapshot__set_group(snap, i, i), 0);
	}
	return snap;
}

static void test_snapshot(void **state)
{
	struct snapshot *snap = new_scene();
	const struct snap_group empty = {0};

	(void)state;
	assert_string_equal(snap->procs.items[0].container, "web");
	assert_string_equal(snap->procs.items[2].container, "");
	assert_string_equal(snap->procs.items[3].container, "shop/cart-7/api");
	assert_int_equal(snapshot__set_group(snap, 0, 5), -EINVAL);
	assert_int_equal(snapshot__set_group(snap, 6, 0), -EINVAL);
	assert_int_equal(snap->procs.items[0].group, 0);
	assert_int_equal(snapshot__add_group(snap, &empty), 5);
	assert_string_equal(snap->groups.items[5].pod_namespace, "");
	snapshot__free(snap);
}

static void check_name(const struct snapshot *snap, uint32_t proc, enum profile_group group,
		       enum group_name_kind kind, const char *text, const char *title)
{
	struct group_name name = group__name(snap, proc, group);

	assert_int_equal(name.kind, kind);
	assert_string_equal(name.text, text);
	assert_string_equal(group__title(snap, proc, group), title);
}

static void test_names(void **state)
{
	struct snapshot *snap = new_scene();
	struct group_name container, service;

	(void)state;
	check_name(snap, 1, GROUP_CGROUP, NAME_CGROUP, "/system.slice/docker-c0ffee.scope/inner",
		   "/system.slice/docker-c0ffee.scope/inner");
	check_name(snap, 1, GROUP_CONTAINER, NAME_CONTAINER, "c0ffee", "web");
	check_name(snap, 1, GROUP_SERVICE, NAME_CONTAINER, "c0ffee", "web");
	check_name(snap, 2, GROUP_CONTAINER, NAME_SERVICE, "server.service", "server.service");
	check_name(snap, 2, GROUP_SERVICE, NAME_SERVICE, "server.service", "server.service");
	check_name(snap, 4, GROUP_SERVICE, NAME_CGROUP, "/other", "/other");
	check_name(snap, 5, GROUP_CONTAINER, NAME_CGROUP, "", "[no cgroup]");
	/* A container in a unit goes by either. */
	free(snap->groups.items[0].service);
	snap->groups.items[0].service = strdup("web.service");
	check_name(snap, 0, GROUP_CONTAINER, NAME_CONTAINER, "c0ffee", "web");
	check_name(snap, 0, GROUP_SERVICE, NAME_SERVICE, "web.service", "web.service");
	container = (struct group_name){NAME_CONTAINER, "x"};
	service = (struct group_name){NAME_SERVICE, "x"};
	assert_false(group_name__same(container, service));
	assert_true(group_name__same(service, (struct group_name){NAME_SERVICE, "x"}));
	assert_false(group__is_cgroups(GROUP_PROCESS));
	assert_true(group__is_cgroups(GROUP_CGROUP));
	snapshot__free(snap);
}

static void test_sums(void **state)
{
	struct snapshot *snap = new_scene();
	struct snap_group sum;

	(void)state;
	/* What lies below another one is in its numbers. */
	assert_int_equal(group__sum(snap, 1, GROUP_CONTAINER, &sum), 2);
	assert_string_equal(sum.title, "web");
	assert_int_equal(sum.anon_bytes, 45 * MIB);
	assert_int_equal(sum.usage_bytes, 48 * MIB);
	assert_int_equal(sum.lost_stacks, 1);
	assert_int_equal(group__sum(snap, 1, GROUP_CGROUP, &sum), 1);
	assert_int_equal(sum.anon_bytes, 20 * MIB);
	/* Beside each other they add up, and the tighter limit counts. */
	free(snap->groups.items[1].path);
	snap->groups.items[1].path = strdup("/system.slice/docker-c0ffee.scope2");
	snap->groups.items[1].limit_bytes = 49 * MIB;
	snap->groups.items[1].measured_ns = 30 * SEC;
	assert_int_equal(group__sum(snap, 0, GROUP_CONTAINER, &sum), 2);
	assert_int_equal(sum.anon_bytes, 65 * MIB);
	assert_int_equal(sum.limit_bytes, 49 * MIB);
	assert_string_equal(sum.limit_path, "/system.slice/docker-c0ffee.scope");
	assert_int_equal(sum.measured_ns, 30 * SEC);
	/* Whose page cache leaves less room. */
	snap->groups.items[0].reclaimable_bytes = 0;
	snap->groups.items[1].reclaimable_bytes = 20 * MIB;
	assert_int_equal(group__sum(snap, 0, GROUP_CONTAINER, &sum), 2);
	assert_int_equal(sum.limit_bytes, 64 * MIB);
	assert_int_equal(sum.reclaimable_bytes, 0);
	assert_string_equal(sum.limit_path, "");
	snap->groups.items[0].limit_bytes = snap->groups.items[1].limit_bytes = 0;
	assert_int_equal(group__sum(snap, 0, GROUP_CONTAINER, &sum), 2);
	assert_int_equal(sum.usage_bytes, 96 * MIB);
	assert_int_equal(group__sum(snap, 3, GROUP_SERVICE, &sum), 1);
	assert_false(sum.is_measured);
	assert_int_equal(sum.lost_blocks, 1200);
	sum.lost_blocks = 7;
	assert_int_equal(group__sum(snap, 5, GROUP_SERVICE, &sum), 0);
	assert_int_equal(sum.lost_blocks, 7);
	snapshot__free(snap);
}

/* Groups that are counted in one above have that one's losses, all of them. */
static void test_shared_losses(void **state)
{
	static const char *const paths[] = {"/a/x", "/a/y", "/a", "/b"};
	static const char *const lost[] = {"/a", "/a", "", ""};
	struct snapshot *snap = snapshot__new("trace");
	struct snap_group sum;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		snapshot__add_group(snap, &(struct snap_group){.path = (char *)paths[i],
							       .service = "s",
							       .lost_blocks = i < 3 ? 5 : 0,
							       .lost_bytes = i < 3 ? 500 : 0,
							       .lost_path = (char *)lost[i]});
	snapshot__add_proc(snap, 1, 1, "", "", "/a/x", "");
	snapshot__set_group(snap, 0, 0);
	assert_int_equal(group__sum(snap, 0, GROUP_SERVICE, &sum), 4);
	assert_int_equal(sum.lost_blocks, 5);
	assert_int_equal(sum.lost_bytes, 500);
	assert_string_equal(sum.lost_path, "/a");
	assert_int_equal(group__sum(snap, 0, GROUP_CGROUP, &sum), 1);
	assert_int_equal(sum.lost_blocks, 5);
	assert_string_equal(sum.lost_path, "/a");
	/* Another one lost something, too: no one path tells whose it is. */
	snap->groups.items[3].lost_stacks = 2;
	assert_int_equal(group__sum(snap, 0, GROUP_SERVICE, &sum), 4);
	assert_int_equal(sum.lost_blocks, 5);
	assert_int_equal(sum.lost_stacks, 2);
	assert_string_equal(sum.lost_path, "");
	snapshot__free(snap);
}

/* Every path is below the root, no path is below itself. */
static void test_sums_below_root(void **state)
{
	static const char *const paths[] = {"/", "/a", "/ab", "/a/"};
	struct snapshot *snap = snapshot__new("trace");
	struct snap_group sum;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		snapshot__add_group(snap, &(struct snap_group){.path = (char *)paths[i],
							       .service = "s",
							       .is_measured = true,
							       .anon_bytes = 1ULL << i});
	snapshot__add_proc(snap, 1, 1, "", "", "/", "");
	snapshot__set_group(snap, 0, 0);
	assert_int_equal(group__sum(snap, 0, GROUP_SERVICE, &sum), 4);
	assert_int_equal(sum.anon_bytes, 1);
	snap->groups.items[0].is_measured = false;
	assert_int_equal(group__sum(snap, 0, GROUP_SERVICE, &sum), 4);
	assert_int_equal(sum.anon_bytes, 14);
	snapshot__free(snap);
}

static void test_time_to_limit(void **state)
{
	struct snap_group group = {
		.is_measured = true,
		.usage_bytes = 48 * MIB,
		.limit_bytes = 64 * MIB,
		.measured_ns = SEC,
		.growth_per_min = 2.0 * MIB,
		.limit_growth_per_min = 2.0 * MIB,
	};
	uint64_t seconds = 7;

	(void)state;
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 480);
	group.growth_per_min = group.limit_growth_per_min = 64.0 * KIB;
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 15360);
	group.usage_bytes = 65 * MIB;
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 0);
	seconds = 7;
	group.growth_per_min = 64.0 * KIB - 1;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.growth_per_min = -64.0 * MIB;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.growth_per_min = NAN;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.growth_per_min = group.limit_growth_per_min = 2.0 * MIB;
	group.limit_bytes = 0;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	/* A limit that is as good as none. */
	group.limit_bytes = UINT64_MAX;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.limit_bytes = 64 * MIB;
	group.measured_ns = 0;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.measured_ns = SEC;
	group.is_measured = false;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 7);
}

/* The kernel takes page cache back before it refuses anything. */
static void test_page_cache_is_room(void **state)
{
	struct snap_group group = {
		.is_measured = true,
		.usage_bytes = 64 * MIB,
		.limit_bytes = 64 * MIB,
		.reclaimable_bytes = 56 * MIB,
		.measured_ns = SEC,
		.growth_per_min = 2.0 * MIB,
		.limit_growth_per_min = 2.0 * MIB,
	};
	uint64_t seconds = 7;

	(void)state;
	assert_int_equal(snap_group__used_bytes(&group), 8 * MIB);
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 28 * 60);
	/* The two are not read at one moment. */
	group.reclaimable_bytes = 65 * MIB;
	assert_int_equal(snap_group__used_bytes(&group), 0);
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 32 * 60);
}

/* What others add counts, and so does what they give back. */
static void test_shared_limit(void **state)
{
	struct snap_group group = {
		.is_measured = true,
		.usage_bytes = 48 * MIB,
		.limit_bytes = 64 * MIB,
		.measured_ns = SEC,
		.growth_per_min = 2.0 * MIB,
		.limit_growth_per_min = 16.0 * MIB,
	};
	uint64_t seconds = 7;

	(void)state;
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 60);
	group.limit_growth_per_min = -1.0 * MIB;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	group.limit_growth_per_min = NAN;
	assert_false(snap_group__seconds_to_limit(&group, &seconds));
	/* Full is full. */
	group.usage_bytes = 64 * MIB;
	group.limit_growth_per_min = 0;
	assert_true(snap_group__seconds_to_limit(&group, &seconds));
	assert_int_equal(seconds, 0);
}

static void add_row(struct snapshot *snap, uint32_t proc, uint32_t frame, int64_t bytes)
{
	const struct snap_row row = {
		.proc = proc,
		.stack = frame == SNAP_NONE ? 0 : snapshot__add_stack(snap, &frame, 1),
		.layer = LAYER_MALLOC,
		.unwind = UNWIND_COMPLETE,
		.cost = {.live_bytes = bytes, .live_count = bytes > 0},
	};

	assert_int_equal(snapshot__add_row(snap, &row), 0);
}

/* Many small ones of one call outweigh a big one. */
static void test_tops(void **state)
{
	struct snapshot *snap = new_scene();
	struct profile *profile;
	struct group_top *tops;
	uint32_t few, many;

	(void)state;
	few = snapshot__add_frame(snap, FRAME_NATIVE, SNAP_NONE, 0x10);
	many = snapshot__add_frame(snap, FRAME_NATIVE, SNAP_NONE, 0x20);
	add_row(snap, 0, few, 100);
	add_row(snap, 0, many, 70);
	add_row(snap, 1, many, 60);
	add_row(snap, 1, few, -5);
	add_row(snap, 3, SNAP_NONE, 50);
	add_row(snap, 4, few, 0);
	profile = profile_of(snap, NULL, GROUP_CONTAINER, NULL);
	assert_int_equal(profile->rows.cnt, 3);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 225);
	assert_int_equal(profile->rows.items[0].procs, 2);
	assert_int_equal(group__tops(profile, &tops), 0);
	assert_int_equal(tops[0].live_bytes, 130);
	assert_ptr_equal(tops[0].row, &snap->rows.items[1]);
	assert_int_equal(tops[1].live_bytes, 50);
	assert_int_equal(tops[1].row->stack, 0);
	assert_null(tops[2].row);
	free(tops);
	profile__free(profile);
	profile = profile_of(snap, NULL, GROUP_CGROUP, NULL);
	assert_int_equal(profile->rows.cnt, 4);
	assert_int_equal(group__tops(profile, &tops), 0);
	assert_int_equal(tops[0].live_bytes, 100);
	free(tops);
	profile__free(profile);
	snapshot__free(snap);
}

/* A report knows a container again by what it is, not by its place. */
static void test_deltas(void **state)
{
	struct snapshot *old = new_scene(), *new = new_scene();
	struct profile *before, *after;

	(void)state;
	add_row(old, 1, SNAP_NONE, 30);
	add_row(new, 2, SNAP_NONE, 50);
	add_row(new, 0, SNAP_NONE, 40);
	before = profile_of(old, NULL, GROUP_CONTAINER, NULL);
	after = profile_of(new, NULL, GROUP_CONTAINER, before);
	assert_int_equal(after->rows.cnt, 2);
	assert_int_equal(after->rows.items[0].delta_bytes, 50);
	assert_int_equal(after->rows.items[1].delta_bytes, 10);
	free_both(before, after, old, new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot),     cmocka_unit_test(test_names),
		cmocka_unit_test(test_sums),	     cmocka_unit_test(test_sums_below_root),
		cmocka_unit_test(test_tops),	     cmocka_unit_test(test_time_to_limit),
		cmocka_unit_test(test_deltas),	     cmocka_unit_test(test_page_cache_is_room),
		cmocka_unit_test(test_shared_limit), cmocka_unit_test(test_shared_losses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
