/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups of a run, in folders that look as hierarchies do. */
#include "unit/compile.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "engine/groups.h"
#include "model/group.h"
#include "unit/cgroup_files.h"
#include "util/clock.h"
#include "util/format.h"
#include "util/procfs_memory.h"

#define MIB (1ULL << 20)
#define MANY 1000

struct host {
	char *unified, *memory; /* owned */
	struct groups *groups;
};

static void host__init(struct host *host, bool has_unified, bool has_memory)
{
	host->unified = format_text("%s/unified", work_dir);
	host->memory = format_text("%s/memory", work_dir);
	mkdir(host->unified, 0700);
	mkdir(host->memory, 0700);
	host->groups = groups__new_at(has_unified ? host->unified : NULL,
				      has_memory ? host->memory : NULL, work_dir);
	assert_non_null(host->groups);
}

static void host__destroy(struct host *host)
{
	groups__free(host->groups);
	free(host->unified);
	free(host->memory);
}

static struct snapshot *snapshot_of(const char *const *paths, size_t cnt)
{
	struct snapshot *snap = snapshot__new("trace");

	for (size_t i = 0; i < cnt; i++)
		assert_int_equal(
			snapshot__add_proc(snap, 10 + (int32_t)i, 1, "app", "/app", paths[i], ""),
			i);
	return snap;
}

static struct snapshot *report(struct host *host, const char *path, const struct tables *tables,
			       uint64_t now_ns)
{
	struct snapshot *snap = snapshot_of(&path, 1);

	assert_int_equal(groups__add(host->groups, snap, tables, now_ns), 0);
	assert_int_equal(snap->groups.cnt, *path ? 1 : 0);
	return snap;
}

static void test_v2(void **state)
{
	const struct snap_group *group;
	struct snapshot *snap;
	struct host host;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/a", "memory.max", "67108864\n");
	put_group_file(host.unified, "/a", "memory.current", "50331648\n");
	put_group_file(host.unified, "/a/web.service", "memory.max", "max\n");
	put_group_file(host.unified, "/a/web.service", "memory.current", "4194304\n");
	put_group_file(host.unified, "/a/web.service", "memory.stat", "anon 1048576\nfile 4096\n");
	assert_int_equal(groups__note(host.groups, "/a/web.service", 10 * NS_PER_SEC), 0);
	put_group_file(host.unified, "/a/web.service", "memory.stat", "anon 2097152\nfile 8192\n");
	/* Known already: the first sample stays. */
	assert_int_equal(groups__note(host.groups, "/a/web.service", 30 * NS_PER_SEC), 0);
	snap = report(&host, "/a/web.service", NULL, 40 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_int_equal(snap->procs.items[0].group, 0);
	assert_string_equal(group->path, "/a/web.service");
	assert_string_equal(group->service, "web.service");
	assert_string_equal(group->title, "web.service");
	assert_string_equal(snap->procs.items[0].container, "");
	assert_true(group->is_measured);
	assert_int_equal(group->anon_bytes, 2 * MIB);
	assert_int_equal(group->file_bytes, 8192);
	/* The limit is the one of the group above, and so is the usage. */
	assert_int_equal(group->usage_bytes, 48 * MIB);
	assert_int_equal(group->limit_bytes, 64 * MIB);
	assert_int_equal(group->measured_ns, 30 * NS_PER_SEC);
	assert_int_equal((int64_t)group->growth_per_min, 2 * MIB);
	assert_string_equal(group->limit_path, "/a");
	assert_int_equal((int64_t)group->limit_growth_per_min, 2 * MIB); /* "/a" does not tell */
	snapshot__free(snap);
	/* Shrinking is told, too; it is measured from the first sample. */
	put_group_file(host.unified, "/a/web.service", "memory.stat", "anon 0\nfile 0\n");
	put_group_file(host.unified, "/a", "memory.max", "max\n");
	snap = report(&host, "/a/web.service", NULL, 70 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_int_equal((int64_t)group->growth_per_min, -(int64_t)MIB);
	assert_int_equal(group->limit_bytes, 0);
	assert_int_equal(group->usage_bytes, 4 * MIB);
	snapshot__free(snap);
	host__destroy(&host);
}

/* A container that has read files, of a size that is all its limit leaves. */
static void test_page_cache(void **state)
{
	const struct snap_group *group;
	struct snapshot *snap;
	struct host host;
	uint64_t seconds;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/a", "memory.max", "67108864\n");
	put_group_file(host.unified, "/a", "memory.current", "67108864\n");
	put_group_file(host.unified, "/a", "memory.stat",
		       "anon 1048576\nfile 58720256\nactive_file 25165824\n"
		       "inactive_file 33554432\n");
	assert_int_equal(groups__note(host.groups, "/a", 10 * NS_PER_SEC), 0);
	put_group_file(host.unified, "/a", "memory.stat",
		       "anon 3145728\nfile 58720256\nactive_file 25165824\n"
		       "inactive_file 33554432\n");
	snap = report(&host, "/a", NULL, 70 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_int_equal(group->usage_bytes, 64 * MIB);
	assert_int_equal(group->reclaimable_bytes, 56 * MIB);
	assert_string_equal(group->limit_path, "");
	assert_int_equal((int64_t)group->growth_per_min, 2 * MIB);
	assert_int_equal((int64_t)group->limit_growth_per_min, 2 * MIB);
	assert_true(snap_group__seconds_to_limit(group, &seconds));
	assert_int_equal(seconds, 28 * 60);
	snapshot__free(snap);
	host__destroy(&host);
}

static void put_anon(const struct host *host, const char *path, uint64_t bytes)
{
	char *text = format_text("anon %" PRIu64 "\nfile 0\n", bytes);

	put_group_file(host->unified, path, "memory.stat", text);
	free(text);
}

/* A pod of two containers has one limit. Only one of them is traced, the other one grows, too. */
static void test_limit_above(void **state)
{
	const struct snap_group *group;
	struct snapshot *snap;
	struct host host;
	uint64_t seconds;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/pod", "memory.max", "67108864\n");
	put_group_file(host.unified, "/pod", "memory.current", "33554432\n");
	put_anon(&host, "/pod", 4 * MIB);
	put_anon(&host, "/pod/a", 1 * MIB);
	assert_int_equal(groups__note(host.groups, "/pod/a", 10 * NS_PER_SEC), 0);
	put_anon(&host, "/pod", 12 * MIB);
	put_anon(&host, "/pod/a", 3 * MIB);
	snap = report(&host, "/pod/a", NULL, 70 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_string_equal(group->limit_path, "/pod");
	assert_int_equal((int64_t)group->growth_per_min, 2 * MIB);
	assert_int_equal((int64_t)group->limit_growth_per_min, 8 * MIB);
	assert_true(snap_group__seconds_to_limit(group, &seconds));
	assert_int_equal(seconds, 4 * 60);
	snapshot__free(snap);
	/* Another limit begins to count: of that group's growth nothing is known yet. */
	put_group_file(host.unified, "/", "memory.max", "33554432\n");
	put_group_file(host.unified, "/", "memory.current", "33554432\n");
	put_anon(&host, "/", 24 * MIB);
	snap = report(&host, "/pod/a", NULL, 70 * NS_PER_SEC);
	assert_string_equal(snap->groups.items[0].limit_path, "/");
	assert_int_equal((int64_t)snap->groups.items[0].limit_growth_per_min, 2 * MIB);
	snapshot__free(snap);
	put_anon(&host, "/", 20 * MIB);
	snap = report(&host, "/pod/a", NULL, 130 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_int_equal((int64_t)group->growth_per_min, MIB);
	assert_int_equal((int64_t)group->limit_growth_per_min, -4 * (int64_t)MIB);
	snapshot__free(snap);
	host__destroy(&host);
}

/* A pod of which no runtime has left a name. */
static void test_pod(void **state)
{
	static const char path[] =
		"/kubepods/pod12345678-90ab-cdef-1234-567890abcdef/"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct snapshot *snap;
	struct host host;

	(void)state;
	host__init(&host, true, false);
	snap = report(&host, path, NULL, NS_PER_SEC);
	assert_string_equal(snap->groups.items[0].pod_uid, "12345678-90ab-cdef-1234-567890abcdef");
	assert_string_equal(snap->groups.items[0].pod, "");
	assert_string_equal(snap->procs.items[0].container, "pod 12345678/container 0123456789ab");
	snapshot__free(snap);
	host__destroy(&host);
}

/* On a hybrid host the memory controller is v1's. */
static void test_hybrid(void **state)
{
	static const char container[] =
		"/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	const struct snap_group *group;
	struct snapshot *snap;
	struct host host;
	char *id;

	(void)state;
	host__init(&host, true, true);
	put_group_file(host.memory, "/docker", "memory.limit_in_bytes", "9223372036854771712\n");
	put_group_file(host.memory, container, "memory.limit_in_bytes", "8388608\n");
	put_group_file(host.memory, container, "memory.usage_in_bytes", "4194304\n");
	put_group_file(host.memory, container, "memory.stat",
		       "rss 1\ntotal_rss 5\ntotal_cache 6\n");
	snap = report(&host, container, NULL, NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_string_equal(group->container_id, strrchr(container, '/') + 1);
	assert_string_equal(snap->procs.items[0].container, group->title);
	assert_int_equal(group->anon_bytes, 5);
	assert_int_equal(group->file_bytes, 6);
	assert_int_equal(group->limit_bytes, 8 * MIB);
	assert_int_equal(group->usage_bytes, 4 * MIB);
	assert_int_equal(group->measured_ns, 0); /* first seen now */
	snapshot__free(snap);
	/* In v2's hierarchy alone it is known, but nothing is counted. */
	id = format_text("%s/only", host.unified);
	mkdir(id, 0700);
	free(id);
	snap = report(&host, "/only", NULL, NS_PER_SEC);
	assert_false(snap->groups.items[0].is_measured);
	assert_string_equal(snap->groups.items[0].title, "/only");
	snapshot__free(snap);
	host__destroy(&host);
}

/* Where v2 is not mounted, all that there is is v1's memory hierarchy. */
static void test_v1(void **state)
{
	const struct snap_group *group;
	struct tables *tables = calloc(1, sizeof(*tables));
	struct snapshot *snap;
	struct host host;

	(void)state;
	host__init(&host, false, true);
	put_group_file(host.memory, "/a", "memory.limit_in_bytes", "67108864\n");
	put_group_file(host.memory, "/a", "memory.usage_in_bytes", "50331648\n");
	put_group_file(host.memory, "/a/b", "memory.limit_in_bytes", "9223372036854771712\n");
	put_group_file(host.memory, "/a/b", "memory.usage_in_bytes", "4194304\n");
	put_group_file(host.memory, "/a/b", "memory.stat", "total_rss 1048576\ntotal_cache 6\n");
	assert_int_equal(groups__note(host.groups, "/a/b", 10 * NS_PER_SEC), 0);
	put_group_file(host.memory, "/a/b", "memory.stat", "total_rss 3145728\ntotal_cache 8\n");
	tables->groups[7] = (struct group){
		.cgroup = cgroup_id(host.memory, "/a/b"),
		.refused = {[TABLE_BLOCKS] = 3},
	};
	snap = report(&host, "/a/b", tables, 70 * NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_true(group->is_measured);
	assert_int_equal(group->anon_bytes, 3 * MIB);
	assert_int_equal(group->file_bytes, 8);
	assert_int_equal(group->limit_bytes, 64 * MIB);
	assert_int_equal(group->usage_bytes, 48 * MIB);
	assert_int_equal((int64_t)group->growth_per_min, 2 * MIB);
	assert_int_equal(group->lost_blocks, 3);
	snapshot__free(snap);
	/* What v2 would have there is not looked for. */
	put_group_file(host.unified, "/only", "memory.stat", "anon 1\nfile 2\n");
	snap = report(&host, "/only", NULL, 71 * NS_PER_SEC);
	assert_false(snap->groups.items[0].is_measured);
	snapshot__free(snap);
	free(tables);
	host__destroy(&host);
}

static void test_losses(void **state)
{
	struct tables *tables = calloc(1, sizeof(*tables));
	const struct snap_group *group;
	struct snapshot *snap;
	struct host host;
	struct stat st;
	char *dir;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/a", "memory.stat", "anon 0\nfile 0\n");
	dir = format_text("%s/a", host.unified);
	assert_int_equal(stat(dir, &st), 0);
	free(dir);
	tables->groups[MAX_GROUPS - 1] = (struct group){
		.cgroup = st.st_ino,
		.refused = {[TABLE_BLOCKS] = 3, [TABLE_STACKS] = 5, [TABLE_COSTS] = 7},
		.refused_bytes = 900,
	};
	snap = report(&host, "/a", tables, NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_int_equal(group->lost_blocks, 3);
	assert_int_equal(group->lost_bytes, 900);
	assert_int_equal(group->lost_stacks, 12);
	assert_string_equal(group->lost_path, "");
	snapshot__free(snap);
	/* Groups that the memory controller does not count are counted in the one above. */
	put_group_file(host.unified, "/a/in", "cgroup.procs", "");
	put_group_file(host.unified, "/a/in/deep", "cgroup.procs", "");
	snap = report(&host, "/a/in/deep", tables, NS_PER_SEC);
	group = &snap->groups.items[0];
	assert_false(group->is_measured);
	assert_int_equal(group->lost_blocks, 3);
	assert_int_equal(group->lost_stacks, 12);
	assert_string_equal(group->lost_path, "/a");
	snapshot__free(snap);
	put_group_file(host.unified, "/b", "cgroup.procs", "");
	snap = report(&host, "/b", tables, NS_PER_SEC);
	assert_int_equal(snap->groups.items[0].lost_blocks, 0);
	snapshot__free(snap);
	/* The root is counted, though it tells nothing on old kernels. */
	tables->groups[5] = (struct group){
		.cgroup = cgroup_id(host.unified, "/"),
		.refused = {[TABLE_BLOCKS] = 9},
	};
	snap = report(&host, "/b", tables, NS_PER_SEC);
	assert_int_equal(snap->groups.items[0].lost_blocks, 9);
	assert_string_equal(snap->groups.items[0].lost_path, "/");
	snapshot__free(snap);
	/* A group without a directory is not the one of an unused entry. */
	snap = report(&host, "/gone", tables, NS_PER_SEC);
	assert_int_equal(snap->groups.items[0].lost_blocks, 0);
	snapshot__free(snap);
	free(tables);
	host__destroy(&host);
}

static void test_many_processes(void **state)
{
	static const char *const paths[] = {"/a", "/b", "", "/a", "/../other", "/a/..", "/b"};
	static const uint32_t expected[] = {0, 1, SNAP_NONE, 0, 2, 3, 1};
	struct snapshot *snap = snapshot_of(paths, 7);
	struct host host;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/a", "memory.stat", "anon 1\nfile 2\n");
	assert_int_equal(groups__add(host.groups, snap, NULL, NS_PER_SEC), 0);
	assert_int_equal(snap->groups.cnt, 4);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(snap->procs.items[i].group, expected[i]);
	/* A path that leads out of the hierarchy is only a name. */
	assert_false(snap->groups.items[2].is_measured);
	assert_false(snap->groups.items[3].is_measured);
	snapshot__free(snap);
	host__destroy(&host);
}

/* The same path again is another group when its directory is another one. */
static void test_made_anew(void **state)
{
	struct snapshot *snap;
	struct host host;
	char *dir, *old;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/a", "memory.stat", "anon 1000000000\nfile 2\n");
	assert_int_equal(groups__note(host.groups, "/a", NS_PER_SEC), 0);
	dir = format_text("%s/a", host.unified);
	old = format_text("%s/old", host.unified);
	assert_int_equal(rename(dir, old), 0);
	snap = report(&host, "/a", NULL, 30 * NS_PER_SEC);
	assert_false(snap->groups.items[0].is_measured);
	snapshot__free(snap);
	put_group_file(host.unified, "/a", "memory.stat", "anon 5\nfile 2\n");
	snap = report(&host, "/a", NULL, 60 * NS_PER_SEC);
	assert_true(snap->groups.items[0].is_measured);
	assert_int_equal(snap->groups.items[0].measured_ns, 0);
	snapshot__free(snap);
	free(dir);
	free(old);
	host__destroy(&host);
}

/* Containers come and go by the thousand; those that stay keep their first samples. */
static void test_churn(void **state)
{
	struct snapshot *snap;
	struct host host;

	(void)state;
	host__init(&host, true, false);
	put_group_file(host.unified, "/stays", "memory.stat", "anon 0\nfile 0\n");
	assert_int_equal(groups__note(host.groups, "/stays", NS_PER_SEC), 0);
	for (int i = 0; i < MANY; i++) {
		char *path = format_text("/gone/%d", i);

		assert_int_equal(groups__note(host.groups, path, NS_PER_SEC), 0);
		snap = report(&host, path, NULL, 2 * NS_PER_SEC);
		assert_string_equal(snap->groups.items[0].path, path);
		snapshot__free(snap);
		free(path);
	}
	put_group_file(host.unified, "/stays", "memory.stat", "anon 1048576\nfile 0\n");
	snap = report(&host, "/stays", NULL, 61 * NS_PER_SEC);
	assert_int_equal((int64_t)snap->groups.items[0].growth_per_min, MIB);
	snapshot__free(snap);
	host__destroy(&host);
}

/* Whatever this host has mounted: an answer, and no failure. */
static void test_this_host(void **state)
{
	struct groups *groups = groups__new();
	static const char *const paths[] = {"/", ""};
	struct snapshot *snap = snapshot_of(paths, 2);

	(void)state;
	assert_non_null(groups);
	assert_int_equal(groups__note(groups, "", NS_PER_SEC), 0);
	assert_int_equal(groups__add(groups, snap, NULL, clock_ns(CLOCK_MONOTONIC)), 0);
	assert_int_equal(snap->groups.cnt, 1);
	assert_int_equal(snap->procs.items[1].group, SNAP_NONE);
	snapshot__free(snap);
	groups__free(groups);
	groups__free(NULL);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(test_v2),
		UNIT_TEST(test_hybrid),
		UNIT_TEST(test_v1),
		UNIT_TEST(test_losses),
		UNIT_TEST(test_many_processes),
		UNIT_TEST(test_made_anew),
		UNIT_TEST(test_churn),
		UNIT_TEST(test_this_host),
		UNIT_TEST(test_page_cache),
		UNIT_TEST(test_limit_above),
		UNIT_TEST(test_pod),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
