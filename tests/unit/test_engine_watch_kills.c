/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kills noticed by counters in files that look as the kernel's do: whose they were, when they can
 * be told, and what is known of who has gone. */
#include "unit/kill_scene.h"

/* A group with a limit, a neighbour, and one process that is killed. */
static void check_kill(bool is_v1)
{
	const struct watch_kill *kill;
	struct sweep_oom *oom;
	struct scene scene;

	scene__init(&scene, is_v1);
	put_kills(&scene, "/app", 3);
	put_limit(&scene, "/app", "67108864\n");
	put_kills(&scene, "/other", 50);
	add_process(&scene, 10, "/app", 60);
	add_process(&scene, 11, "/app", 2);
	add_process(&scene, 12, "/other", 500);
	/* What was before the sweep is nobody's news. */
	assert_null(pass(&scene));
	assert_false(watch_kills__waits(&scene.watch));
	scene.ooms = 10;
	put_kills(&scene, "/app", 4);
	put_counter(scene.host, 101);
	/* It is killed, but still there. */
	assert_null(pass(&scene));
	assert_true(watch_kills__waits(&scene.watch));
	end_process(&scene, 10);
	kill = pass(&scene);
	assert_non_null(kill);
	assert_int_equal(kill->cnt, 1);
	assert_string_equal(kill->group->path, "/app");
	oom = tell(&scene, kill);
	assert_string_equal(oom->cgroup, "/app");
	assert_string_equal(oom->limit_cgroup, "/app");
	assert_int_equal(oom->limit_bytes, 64 * MIB);
	assert_int_equal(oom->process_cnt, 2);
	assert_int_equal(oom->anon_bytes, 62 * MIB);
	assert_int_equal(oom->list.items[0].row.pid, 10);
	assert_int_equal(oom->list.items[0].fate, OOM_KILLED);
	assert_int_equal(oom->list.items[0].row.anon_bytes, 60 * MIB);
	assert_int_equal(oom->list.items[1].row.pid, 11);
	assert_int_equal(oom->list.items[1].fate, OOM_THERE);
	sweep_oom__free(oom);
	/* The next one at once: who was killed before is not told again. */
	scene.ooms = 11;
	put_kills(&scene, "/app", 5);
	put_counter(scene.host, 102);
	end_process(&scene, 11);
	oom = tell(&scene, pass(&scene));
	assert_int_equal(oom->list.cnt, 1);
	assert_int_equal(oom->list.items[0].row.pid, 11);
	assert_int_equal(oom->list.items[0].fate, OOM_KILLED);
	sweep_oom__free(oom);
	assert_null(pass(&scene));
	assert_false(watch_kills__waits(&scene.watch));
	scene__destroy(&scene);
}

static void test_v2(void **state)
{
	(void)state;
	check_kill(false);
}

static void test_v1(void **state)
{
	(void)state;
	check_kill(true);
}

static void put_shmem(const struct scene *scene, const char *group, uint64_t mib)
{
	char *text =
		format_text(scene->is_v1 ? "total_cache %1$llu\ntotal_rss 1\ntotal_shmem %1$llu\n"
					 : "anon 1\nfile %1$llu\nshmem %1$llu\n",
			    mib * MIB);

	put_group_file(work_dir, group, "memory.stat", text);
	free(text);
}

/* Small processes are killed, as segments that nobody removed take all the room: these are told,
 * once of groups within groups, also when they go with the last process. */
static void check_shmem(bool is_v1)
{
	struct sweep_oom *oom;
	struct scene scene;

	scene__init(&scene, is_v1);
	put_kills(&scene, "/app", 0);
	put_limit(&scene, "/app", "67108864\n");
	put_shmem(&scene, "/app", 61);
	put_shmem(&scene, "/app/job", 20);
	put_shmem(&scene, "/other", 500);
	add_process(&scene, 10, "/app", 1);
	add_process(&scene, 11, "/app/job", 2);
	add_process(&scene, 12, "/other", 5);
	assert_int_equal(watch_groups__sample(&scene.watch.groups, scene.now_ns, false), 0);
	assert_null(pass(&scene));
	put_kills(&scene, "/app", 1);
	scene.ooms = 10;
	put_kills(&scene, "/app", 1);
	put_counter(scene.host, 101);
	end_process(&scene, 10);
	put_shmem(&scene, "/app", 0);
	assert_int_equal(watch_groups__sample(&scene.watch.groups, scene.now_ns, false), 0);
	oom = tell(&scene, pass(&scene));
	assert_string_equal(oom->limit_cgroup, "/app");
	assert_int_equal(oom->anon_bytes, 3 * MIB);
	assert_int_equal(oom->shmem_bytes, 61 * MIB);
	assert_false(oom->is_limit_doubtful);
	sweep_oom__free(oom);
	scene__destroy(&scene);
}

static void test_shmem(void **state)
{
	(void)state;
	check_shmem(false);
	check_shmem(true);
}

/* More have gone than were killed: nobody is called killed. Who was found later is not told. */
static void test_others_gone(void **state)
{
	struct sweep_oom *oom;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/app", 0);
	for (pid_t pid = 10; pid < 13; pid++)
		add_process(&scene, pid, "/app", (uint64_t)pid);
	assert_null(pass(&scene));
	put_kills(&scene, "/app", 1);
	put_counter(scene.host, 101);
	end_process(&scene, 10);
	end_process(&scene, 11);
	add_process(&scene, 20, "/app", 1);
	scene.watch.items.items[scene.watch.items.cnt - 1].found_ns = scene.now_ns;
	oom = tell(&scene, pass(&scene));
	assert_string_equal(oom->limit_cgroup, "");
	assert_true(oom->limit_bytes > 0);
	assert_int_equal(oom->process_cnt, 3);
	for (size_t i = 0; i < oom->list.cnt; i++) {
		const struct oom_process *process = &oom->list.items[i];

		assert_int_not_equal(process->row.pid, 20);
		assert_int_equal(process->fate, process->row.pid == 12 ? OOM_THERE : OOM_GONE);
	}
	sweep_oom__free(oom);
	scene__destroy(&scene);
}

/* Two groups below one limit are killed at once: each table has all, and says who was killed. */
static void test_two_groups(void **state)
{
	const struct watch_kill *kill;
	struct scene scene;
	size_t tables = 0;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/pod", 0);
	put_kills(&scene, "/pod/a", 0);
	put_kills(&scene, "/pod/b", 0);
	put_limit(&scene, "/pod", "134217728\n");
	add_process(&scene, 10, "/pod/a", 60);
	add_process(&scene, 11, "/pod/b", 50);
	add_process(&scene, 12, "/pod/b", 5);
	assert_null(pass(&scene));
	put_kills(&scene, "/pod/a", 1);
	put_kills(&scene, "/pod/b", 1);
	scene.ooms = 10;
	put_kills(&scene, "/pod", 0);
	put_counter(scene.host, 102);
	end_process(&scene, 10);
	end_process(&scene, 11);
	for (kill = pass(&scene); kill; kill = watch_kills__ready(&scene.watch)) {
		struct sweep_oom *oom = tell(&scene, kill);

		assert_string_equal(oom->limit_cgroup, "/pod");
		assert_int_equal(oom->process_cnt, 3);
		assert_int_equal(oom->anon_bytes, 115 * MIB);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(oom->list.items[i].fate, i < 2 ? OOM_KILLED : OOM_THERE);
		sweep_oom__free(oom);
		tables++;
	}
	assert_int_equal(tables, 2);
	assert_int_equal(scene.watch.kills.gone.cnt, 2);
	assert_null(pass(&scene));
	assert_int_equal(scene.watch.kills.gone.cnt, 0);
	scene__destroy(&scene);
}

/* Ends a process that the kernel has killed, and returns its table. */
static struct sweep_oom *kill_one(struct scene *scene, pid_t pid, const char *group, uint64_t kills,
				  uint64_t host)
{
	put_kills(scene, group, kills);
	put_counter(scene->host, host);
	end_process(scene, pid);
	return tell(scene, pass(scene));
}

static void check_limit(struct sweep_oom *oom, const char *limit, bool is_doubtful)
{
	assert_string_equal(oom->limit_cgroup, limit);
	assert_int_equal(oom->is_limit_doubtful, is_doubtful);
	sweep_oom__free(oom);
}

/* The kernel counts a kill in the victim's group when it was the host that ran out, too. */
static void test_host_ran_out(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/app", 0);
	put_limit(&scene, "/app", "67108864\n");
	add_process(&scene, 10, "/app", 60);
	add_process(&scene, 11, "/app", 3);
	assert_null(pass(&scene));
	check_limit(kill_one(&scene, 10, "/app", 1, 101), "", false);
	scene.ooms = 10;
	check_limit(kill_one(&scene, 11, "/app", 2, 102), "/app", false);
	scene__destroy(&scene);
}

static void put_peak(const char *text)
{
	put_group_file(work_dir, "/app", "memory.max_usage_in_bytes", text);
}

/* In v1 it is guessed, and told to be in doubt: by what they had, what the group ever had, and
 * whether it was at its limit since. */
static void test_host_ran_out_v1(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene, true);
	put_kills(&scene, "/app", 0);
	put_kills(&scene, "/free", 0);
	put_limit(&scene, "/app", "67108864\n");
	for (pid_t pid = 10; pid < 16; pid++)
		add_process(&scene, pid, "/app", 10);
	add_process(&scene, 20, "/free", 60);
	assert_null(pass(&scene));
	check_limit(kill_one(&scene, 10, "/app", 1, 101), "/app", false);
	check_limit(kill_one(&scene, 11, "/app", 2, 102), "/app", true);
	put_peak("60000000\n");
	check_limit(kill_one(&scene, 12, "/app", 3, 103), "", false);
	put_peak("67108864\n");
	check_limit(kill_one(&scene, 13, "/app", 4, 104), "/app", true);
	put_peak("0\n");
	check_limit(kill_one(&scene, 14, "/app", 5, 105), "", true);
	scene.ooms++;
	check_limit(kill_one(&scene, 15, "/app", 6, 106), "/app", true);
	check_limit(kill_one(&scene, 20, "/free", 1, 107), "", false);
	scene__destroy(&scene);
}

/* It is the limit above that was reached, while one's own has less room; that is not told again of
 * another group's kill when it was not. */
static void test_limit_above(void **state)
{
	struct sweep_oom *oom;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/pod", 0);
	put_limit(&scene, "/pod", "134217728\n");
	put_kills(&scene, "/pod/a", 0);
	put_limit(&scene, "/pod/a", "67108864\n");
	put_kills(&scene, "/pod/b", 0);
	add_process(&scene, 10, "/pod/a", 60);
	add_process(&scene, 11, "/pod/b", 60);
	assert_null(pass(&scene));
	scene.ooms = 10;
	put_kills(&scene, "/pod", 0);
	scene.ooms = 9;
	oom = kill_one(&scene, 10, "/pod/a", 1, 101);
	assert_int_equal(oom->limit_bytes, 128 * MIB);
	assert_int_equal(oom->process_cnt, 2);
	check_limit(oom, "/pod", false);
	check_limit(kill_one(&scene, 11, "/pod/b", 1, 102), "", false);
	scene__destroy(&scene);
}

/* The host's counter rises first; a group tells later, and a victim that lingers is waited for no
 * longer than some passes. */
static void test_late(void **state)
{
	struct sweep_oom *oom;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/app", 0);
	add_process(&scene, 10, "/app", 5);
	assert_null(pass(&scene));
	put_counter(scene.host, 101);
	assert_null(pass(&scene));
	assert_true(watch_kills__waits(&scene.watch));
	put_kills(&scene, "/app", 1);
	assert_null(pass(&scene));
	assert_null(pass(&scene));
	oom = tell(&scene, pass(&scene));
	assert_string_equal(oom->cgroup, "/app");
	assert_int_equal(oom->list.items[0].fate, OOM_THERE);
	sweep_oom__free(oom);
	for (int i = 0; i < 5; i++)
		assert_null(pass(&scene));
	scene__destroy(&scene);
}

/* With its last process a container goes: the largest that went with its group was killed. */
static void test_group_gone(void **state)
{
	const struct watch_kill *kill = NULL;
	struct sweep_oom *oom;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/stays", 0);
	put_kills(&scene, "/small", 0);
	put_kills(&scene, "/large", 0);
	put_limit(&scene, "/large", "33554432\n");
	add_process(&scene, 10, "/stays", 900);
	add_process(&scene, 11, "/small", 1);
	add_process(&scene, 12, "/large", 30);
	assert_null(pass(&scene));
	for (pid_t pid = 10; pid < 13; pid++)
		end_process(&scene, pid);
	remove_group("/small");
	remove_group("/large");
	put_counter(scene.host, 101);
	for (int i = 0; i < 6 && !kill; i++)
		kill = pass(&scene);
	oom = tell(&scene, kill);
	assert_string_equal(oom->cgroup, "/large");
	assert_string_equal(oom->limit_cgroup, "/large");
	assert_int_equal(oom->limit_bytes, 32 * MIB);
	assert_int_equal(oom->list.cnt, 1);
	assert_int_equal(oom->list.items[0].row.pid, 12);
	assert_int_equal(oom->list.items[0].fate, OOM_KILLED);
	sweep_oom__free(oom);
	scene__destroy(&scene);
}

/* Nobody who was watched has gone: the host's table, unless only some groups are watched. */
static void check_unknown(bool is_restricted)
{
	static const char *const only[] = {"/app"};
	const struct watch_kill *kill = NULL;
	struct sweep_oom *oom;
	struct scene scene;

	scene__init(&scene, false);
	scene.watch.opts.cgroups = only;
	scene.watch.opts.cgroup_cnt = is_restricted;
	put_kills(&scene, "/app", 0);
	add_process(&scene, 10, "/app", 5);
	assert_null(pass(&scene));
	put_counter(scene.host, 103);
	for (int i = 0; i < 6 && !kill; i++)
		kill = pass(&scene);
	if (is_restricted) {
		assert_null(kill);
	} else {
		oom = tell(&scene, kill);
		assert_int_equal(oom->kills, 3);
		assert_string_equal(oom->cgroup, "");
		assert_int_equal(oom->list.items[0].row.pid, 10);
		assert_int_equal(oom->list.items[0].fate, OOM_THERE);
		sweep_oom__free(oom);
	}
	assert_false(watch_kills__waits(&scene.watch));
	scene__destroy(&scene);
}

static void test_unknown(void **state)
{
	(void)state;
	check_unknown(false);
	remove_group("/app");
	check_unknown(true);
}

/* What a container may write over its files, and what a kernel does not have. */
static void test_bad_files(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_group_file(work_dir, "/app", "memory.events.local", "oom_kill lots\n");
	add_process(&scene, 10, "/app", 5);
	add_process(&scene, 11, "/none", 5);
	add_process(&scene, 12, "/../up", 5);
	assert_null(pass(&scene));
	put_kills(&scene, "/app", 7); /* its first figure tells of no kill */
	put_counter(scene.host, 101);
	for (int i = 0; i < 6; i++) {
		const struct watch_kill *kill = pass(&scene);

		if (!kill)
			continue;
		assert_null(kill->group);
		watch_kills__drop(&scene.watch, kill);
	}
	put_counter(scene.host, 1); /* no counter goes down */
	assert_null(pass(&scene));
	put_kills(&scene, "/app", 2);
	assert_null(pass(&scene));
	assert_int_equal(truncate(scene.host, 0), 0);
	assert_null(pass(&scene));
	assert_false(watch_kills__waits(&scene.watch));
	scene__destroy(&scene);
}

/* Limits are looked for now and then: one that is taken away is none any more, while that of a
 * group that has gone stays known. */
static void test_limits(void **state)
{
	const struct watch_group *group;
	struct scene scene;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/app", 0);
	put_limit(&scene, "/app", "5000\n");
	add_process(&scene, 10, "/app", 5);
	group = scene.watch.items.items[0].group;
	assert_null(pass(&scene));
	assert_int_equal(group->limit.limit, 5000);
	put_limit(&scene, "/app", "9000\n");
	for (int i = 0; i < 100; i++)
		pass(&scene);
	assert_int_equal(group->limit.limit, 9000);
	remove_group("/app");
	for (int i = 0; i < 100; i++)
		pass(&scene);
	assert_int_equal(group->limit.limit, 9000);
	put_limit(&scene, "/app", "max\n");
	scene.watch.items.items[0].group->is_read = true;
	for (int i = 0; i < 100; i++)
		pass(&scene);
	assert_null(group->limit.path);
	scene__destroy(&scene);
}

/* What has gone is kept for some passes, of very many the largest. */
static void test_many_gone(void **state)
{
	struct scene scene;
	uint64_t least = UINT64_MAX;

	(void)state;
	scene__init(&scene, false);
	put_kills(&scene, "/app", 0);
	for (pid_t pid = 1; pid <= 600; pid++) {
		add_process(&scene, pid, "/app", (uint64_t)(pid * 7 % 601));
		end_process(&scene, pid);
	}
	assert_int_equal(scene.watch.kills.gone.cnt, 512);
	for (size_t i = 0; i < 512; i++)
		if (scene.watch.kills.gone.items[i].anon_bytes < least)
			least = scene.watch.kills.gone.items[i].anon_bytes;
	assert_int_equal(least, 89 * MIB);
	for (int i = 0; i < 3; i++)
		pass(&scene);
	assert_int_equal(scene.watch.kills.gone.cnt, 0);
	assert_int_equal(scene.watch.groups.cnt, 0);
	scene__destroy(&scene);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(test_v2),	      UNIT_TEST(test_v1),
		UNIT_TEST(test_shmem),	      UNIT_TEST(test_others_gone),
		UNIT_TEST(test_host_ran_out), UNIT_TEST(test_host_ran_out_v1),
		UNIT_TEST(test_limit_above),  UNIT_TEST(test_two_groups),
		UNIT_TEST(test_late),	      UNIT_TEST(test_group_gone),
		UNIT_TEST(test_unknown),      UNIT_TEST(test_bad_files),
		UNIT_TEST(test_many_gone),    UNIT_TEST(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
