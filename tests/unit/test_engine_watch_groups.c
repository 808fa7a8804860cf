/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups under watch, in folders that look as hierarchies do. */
#include "unit/compile.h"

#include <errno.h>
#include <sys/stat.h>

#include "engine/watch_groups.h"
#include "unit/cgroup_files.h"
#include "util/format.h"

#define SEC 1000000000ULL
#define MIB (1ULL << 20)
#define MANY 300

static char *hierarchy(const char *name)
{
	char *path = format_text("%s/%s", work_dir, name);

	mkdir(path, 0700);
	return path;
}

static void put_stat(const char *mount, const char *group, bool is_v1, uint64_t anon)
{
	char *text = format_text(is_v1 ? "cache 5\nrss 1\ntotal_cache 5\ntotal_rss %llu\n"
				       : "anon %llu\nfile 5\n",
				 (unsigned long long)anon);

	put_group_file(mount, group, "memory.stat", text);
	free(text);
}

/* Files that are left in tmpfs, beside processes whose memory goes up and down. */
static void check_shmem(bool is_v1)
{
	char *mount = hierarchy(is_v1 ? "memory" : "unified");
	struct growth_verdict all, shmem;
	struct watch_groups groups;
	struct watch_group *group;

	put_stat(mount, "/app", is_v1, 0);
	assert_int_equal(watch_groups__init_at(&groups, is_v1 ? NULL : mount, is_v1 ? mount : NULL,
					       work_dir),
			 0);
	group = watch_groups__get(&groups, "/app");
	for (uint64_t i = 0; i < 40; i++) {
		char *text = format_text(is_v1 ? "total_cache 99%1$llu\ntotal_rss %2$llu\n"
						 "total_shmem %1$llu\n"
					       : "anon %2$llu\nfile 99%1$llu\nshmem %1$llu\n",
					 (10 + i) * MIB, (100 + i % 2) * MIB);

		put_group_file(mount, "/app", "memory.stat", text);
		free(text);
		assert_int_equal(watch_groups__sample(&groups, i * 60 * SEC, false), 0);
		assert_int_equal(group->shmem_bytes, (10 + i) * MIB);
		assert_int_equal(watch_group__bytes(group), (110 + i + i % 2) * MIB);
	}
	growth__judge(&group->growth, MIB / 4, &all);
	growth__judge(&group->shmem_growth, MIB / 4, &shmem);
	assert_int_equal(all.state, GROWTH_GROWING);
	assert_int_equal(shmem.state, GROWTH_GROWING);
	assert_true(shmem.lower <= 60 * MIB && shmem.upper >= 60 * MIB);
	/* What was there a moment ago is known when all of it goes at once. */
	put_stat(mount, "/app", is_v1, 0);
	for (uint64_t i = 0; i < GROUP_RECENT; i++) {
		assert_int_equal(watch_group__recent_shmem(group), 49 * MIB);
		assert_int_equal(watch_groups__sample(&groups, (40 + i) * 60 * SEC, false), 0);
	}
	assert_int_equal(watch_group__recent_shmem(group), 0);
	watch_groups__destroy(&groups);
	free(mount);
}

static void test_shmem(void **state)
{
	(void)state;
	check_shmem(false);
	check_shmem(true);
}

static void check_samples(bool is_v1)
{
	char *mount = hierarchy(is_v1 ? "memory" : "unified");
	struct watch_groups groups;
	struct watch_group *group;
	struct growth_verdict verdict;

	put_stat(mount, "/app.service", is_v1, MIB);
	assert_int_equal(watch_groups__init_at(&groups, is_v1 ? NULL : mount, is_v1 ? mount : NULL,
					       work_dir),
			 0);
	group = watch_groups__get(&groups, "/app.service");
	assert_non_null(group);
	for (uint64_t i = 0; i < 40; i++) {
		put_stat(mount, "/app.service", is_v1, (10 + i) * MIB);
		assert_int_equal(watch_groups__sample(&groups, i * 60 * SEC, false), 0);
		assert_int_equal(group->anon_bytes, (10 + i) * MIB);
	}
	growth__judge(&group->growth, MIB / 4, &verdict);
	assert_int_equal(verdict.state, GROWTH_GROWING);
	assert_true(verdict.lower <= 60 * MIB && verdict.upper >= 60 * MIB);
	/* The file of a group that has gone tells nothing; the next group begins anew. */
	put_group_file(mount, "/app.service", "memory.stat", "");
	assert_int_equal(watch_groups__sample(&groups, 40 * 60 * SEC, false), 0);
	put_stat(mount, "/app.service", is_v1, 90 * MIB);
	assert_int_equal(watch_groups__sample(&groups, 41 * 60 * SEC, false), 0);
	assert_int_equal(group->anon_bytes, 90 * MIB);
	assert_int_equal(group->growth.series[GROWTH_SERIES - 1].cnt, 1);
	watch_groups__put(&groups, group);
	assert_int_equal(groups.cnt, 0);
	watch_groups__destroy(&groups);
	free(mount);
}

static void test_v2(void **state)
{
	(void)state;
	check_samples(false);
}

static void test_v1(void **state)
{
	(void)state;
	check_samples(true);
}

/* Those that nobody watches go, whichever comes first, and a path is one group. */
static void test_references(void **state)
{
	struct watch_group *items[MANY], *twice;
	struct watch_groups groups;

	(void)state;
	assert_int_equal(watch_groups__init_at(&groups, NULL, NULL, work_dir), 0);
	for (int i = 0; i < MANY; i++) {
		char *path = format_text("/group-%d", i);

		items[i] = watch_groups__get(&groups, path);
		twice = watch_groups__get(&groups, path);
		assert_ptr_equal(items[i], twice);
		watch_groups__put(&groups, twice);
		free(path);
	}
	assert_int_equal(groups.cnt, MANY);
	for (int i = 0; i < MANY; i += 2)
		watch_groups__put(&groups, items[i]);
	assert_int_equal(groups.cnt, MANY / 2);
	assert_ptr_equal(watch_groups__get(&groups, "/group-1"), items[1]);
	watch_groups__put(&groups, NULL);
	watch_groups__destroy(&groups);
}

/* No directory, no file, a path that leads elsewhere, the root: no figures, and no harm. */
static void test_not_measured(void **state)
{
	static const char *const paths[] = {"/none", "/../up", "/", "", "/empty", "/broken"};
	char *mount = hierarchy("odd");
	struct watch_groups groups;

	(void)state;
	put_stat(work_dir, "/up", false, MIB);
	put_stat(mount, "", false, MIB);
	put_group_file(mount, "/empty", "memory.max", "max\n");
	put_group_file(mount, "/broken", "memory.stat", "anon many\n");
	assert_int_equal(watch_groups__init_at(&groups, mount, NULL, work_dir), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct watch_group *group = watch_groups__get(&groups, paths[i]);

		assert_int_equal(watch_groups__sample(&groups, (i + 1) * SEC, false), 0);
		if (group->anon_bytes)
			fail_msg("'%s' has memory", paths[i]);
	}
	watch_groups__destroy(&groups);
	free(mount);
}

/* What is swapped out has not been given back. */
static void check_swap(bool is_v1)
{
	char *mount = hierarchy(is_v1 ? "memory" : "unified");
	struct watch_groups groups;
	struct watch_group *group;

	put_stat(mount, "/a", is_v1, 10 * MIB);
	if (is_v1)
		put_group_file(mount, "/a", "memory.usage_in_bytes", "20000000\n");
	put_group_file(mount, "/a", is_v1 ? "memory.memsw.usage_in_bytes" : "memory.swap.current",
		       is_v1 ? "24194304\n" : "4194304\n");
	assert_int_equal(watch_groups__init_at(&groups, is_v1 ? NULL : mount, is_v1 ? mount : NULL,
					       work_dir),
			 0);
	group = watch_groups__get(&groups, "/a");
	assert_int_equal(watch_groups__sample(&groups, SEC, true), 0);
	assert_int_equal(group->anon_bytes, 14 * MIB);
	assert_int_equal(watch_groups__sample(&groups, 2 * SEC, false), 0);
	assert_int_equal(group->anon_bytes, 10 * MIB);
	watch_groups__destroy(&groups);
	free(mount);
}

static void test_swap(void **state)
{
	(void)state;
	check_swap(false);
	check_swap(true);
}

/* With few files the largest groups have them; the others are still read, now and then, and one
 * that gets larger gets one. */
static void test_few_files(void **state)
{
	struct watch_group *items[12];
	char *mount = hierarchy("many");
	struct watch_groups groups;
	struct growth_verdict verdict;
	uint64_t pass = 0;

	(void)state;
	assert_int_equal(watch_groups__init_at(&groups, mount, NULL, work_dir), 0);
	groups.max_open = 4;
	for (int i = 0; i < 12; i++) {
		char *path = format_text("/few-%d", i);

		put_stat(mount, path, false, (1 + i) * 100 * MIB);
		items[i] = watch_groups__get(&groups, path);
		free(path);
	}
	for (; pass < 400; pass++) {
		put_stat(mount, "/few-0", false, (100 + pass) * MIB);
		assert_int_equal(watch_groups__sample(&groups, pass * 60 * SEC, false), 0);
		assert_true(groups.open_cnt <= 4);
	}
	for (int i = 0; i < 12; i++) {
		assert_int_equal(items[i]->fd >= 0, i >= 8);
		assert_true(items[i]->is_read);
	}
	growth__judge(&items[0]->growth, MIB / 4, &verdict);
	assert_int_equal(verdict.state, GROWTH_GROWING);
	assert_true(verdict.lower <= 60 * MIB && verdict.upper >= 60 * MIB);
	/* Made anew under its old path, a group without a file begins anew, too. */
	assert_true(items[1]->growth.series[GROWTH_SERIES - 1].cnt > 1);
	items[1]->id++;
	put_stat(mount, "/few-1", false, 5000 * MIB);
	for (; pass < 440; pass++)
		assert_int_equal(watch_groups__sample(&groups, pass * 60 * SEC, false), 0);
	assert_true(items[1]->fd >= 0);
	assert_int_equal(groups.open_cnt, 4);
	assert_int_equal(growth__highest(&items[1]->growth), 5000 * MIB);
	assert_int_equal(items[1]->growth.series[GROWTH_SERIES - 1].slots[0].bytes, 5000 * MIB);
	watch_groups__destroy(&groups);
	free(mount);
}

static void test_above(void **state)
{
	struct watch_group *top, *inner, *other;
	struct watch_groups groups;

	(void)state;
	assert_int_equal(watch_groups__init_at(&groups, NULL, NULL, work_dir), 0);
	top = watch_groups__get(&groups, "/a");
	inner = watch_groups__get(&groups, "/a/b/c");
	other = watch_groups__get(&groups, "/ab");
	assert_ptr_equal(watch_groups__above(&groups, inner), top);
	assert_null(watch_groups__above(&groups, top));
	assert_null(watch_groups__above(&groups, other));
	watch_groups__destroy(&groups);
}

static void test_limit_and_name(void **state)
{
	char *mount = hierarchy("limits");
	struct cgroup_memory memory;
	struct watch_groups groups;
	struct watch_group *group;

	(void)state;
	put_group_file(mount, "/a.slice", "memory.max", "1000\n");
	put_group_file(mount, "/a.slice", "memory.current", "990\n");
	put_group_file(mount, "/a.slice/b.service", "memory.max", "500\n");
	put_group_file(mount, "/a.slice/b.service", "memory.current", "100\n");
	assert_int_equal(watch_groups__init_at(&groups, mount, NULL, work_dir), 0);
	group = watch_groups__get(&groups, "/a.slice/b.service");
	assert_int_equal(watch_group__limit(&groups, group, 0, &memory), 0);
	assert_string_equal(memory.path, "/a.slice");
	assert_int_equal(cgroup_memory__room(&memory), 10);
	cgroup_memory__free(&memory);
	assert_int_equal(watch_group__limit(&groups, group, 70, &memory), 0);
	assert_int_equal(cgroup_memory__room(&memory), 80);
	cgroup_memory__free(&memory);
	assert_string_equal(watch_group__name(&groups, group)->title, "b.service");
	assert_true(cgroup_name__is_service(watch_group__name(&groups, group)));
	group = watch_groups__get(&groups, "/user.slice/user-0.slice/session-1.scope");
	assert_false(cgroup_name__is_service(watch_group__name(&groups, group)));
	group = watch_groups__get(&groups, "/");
	assert_false(cgroup_name__is_service(watch_group__name(&groups, group)));
	watch_groups__destroy(&groups);
	free(mount);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(test_v2),	    UNIT_TEST(test_v1),
		UNIT_TEST(test_references), UNIT_TEST(test_not_measured),
		UNIT_TEST(test_swap),	    UNIT_TEST(test_few_files),
		UNIT_TEST(test_above),	    UNIT_TEST(test_limit_and_name),
		UNIT_TEST(test_shmem),
	};

	return cmocka_run_group_tests_name("watched groups", tests, NULL, NULL);
}
