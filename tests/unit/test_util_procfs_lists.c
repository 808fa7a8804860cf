/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes there are, and in which control groups. */
#include "unit/compile.h"
#include "unit/named_child.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "util/format.h"
#include "util/procfs.h"

static bool has_pid(const pid_t *pids, size_t cnt, pid_t pid)
{
	for (size_t i = 0; i < cnt; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

static void check_sorted(const pid_t *pids, size_t cnt)
{
	for (size_t i = 1; i < cnt; i++)
		assert_true(pids[i - 1] < pids[i]);
}

static void test_list(void **state)
{
	pid_t *pids, child = named_child__start("listed");
	size_t cnt;

	(void)state;
	assert_int_equal(proc_list(&pids, &cnt), 0);
	check_sorted(pids, cnt);
	assert_true(has_pid(pids, cnt, getpid()) && has_pid(pids, cnt, child));
	free(pids);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(proc_list(&pids, &cnt), 0);
	assert_false(has_pid(pids, cnt, child));
	free(pids);
}

static void test_cgroup(void **state)
{
	char *path = proc_cgroup(getpid());
	pid_t *pids = NULL, child = named_child__start("grouped");
	size_t cnt = 77;

	(void)state;
	/*
	 * A host without any control group mounted shows none; then there is nothing to list,
	 * either.
	 */
	if (path) {
		assert_int_equal(path[0], '/');
		assert_int_equal(proc_list_cgroup(path, &pids, &cnt), 0);
		check_sorted(pids, cnt);
		assert_true(has_pid(pids, cnt, getpid()) && has_pid(pids, cnt, child));
		free(pids);
		assert_int_equal(proc_list_cgroup(path + 1, &pids, &cnt), path[1] ? 0 : -ENOENT);
		if (path[1]) {
			assert_true(has_pid(pids, cnt, child));
			free(pids);
		}
		assert_int_equal(proc_list_cgroup("/", &pids, &cnt), 0); /* and everything below */
		assert_true(has_pid(pids, cnt, getpid()) && has_pid(pids, cnt, child));
		free(pids);
	}
	pids = NULL;
	cnt = 77;
	assert_int_equal(proc_list_cgroup("/no/such/group", &pids, &cnt), -ENOENT);
	assert_int_equal(proc_list_cgroup("no/such/group", &pids, &cnt), -ENOENT);
	assert_int_equal(proc_list_cgroup("", &pids, &cnt), -ENOENT);
	assert_int_equal(proc_list_cgroup(work_dir, &pids, &cnt),
			 -ENOENT); /* a folder, but not a group */
	assert_null(pids);
	assert_int_equal(cnt, 77);
	free(path);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- a host with v1 alone, as this process sees it when its /proc is made to say so ---- */

enum { V1_RIGHT = 0, V1_NOT_HERE = 77 };

static bool write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	return file && fputs(text, file) >= 0 && !fclose(file);
}

/* Puts a file of the work folder over one of /proc/PID; its later changes are seen there, too. */
static bool cover_proc_file(const char *name)
{
	char *mine = format_text("%s/%s", work_dir, name),
	     *proc = format_text("/proc/%d/%s", (int)getpid(), name);
	bool done = write_text(mine, "") && !mount(mine, proc, NULL, MS_BIND, NULL);

	free(proc);
	free(mine);
	return done;
}

static bool put_proc_file(const char *name, const char *text)
{
	char *mine = format_text("%s/%s", work_dir, name);
	bool done = write_text(mine, text);

	free(mine);
	return done;
}

static bool own_cgroup_is(const char *text, const char *expected)
{
	char *path = put_proc_file("cgroup", text) ? proc_cgroup(getpid()) : strdup("(unwritten)");
	bool right = path && expected ? !strcmp(path, expected) : !path && !expected;

	if (!right)
		print_error("%s instead of %s of:\n%s", path, expected, text);
	free(path);
	return right;
}

static bool picks_memory(void)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"12:pids:/p\n9:memory:/docker/abc\n1:name=systemd:/s/x.service\n", "/docker/abc"},
		{"1:memory:/\n", "/"},
		{"5:cpu,memory,pids:/with/others\n4:cpuset:/c\n", "/with/others"},
		{"3:name=memory:/wrong\n2:memory:/right\n", "/right"},
		{"3:memory:/right\n2:name=memory:/wrong\n", "/right"},
		{"4:memory:/colons:in:it\n", "/colons:in:it"},
		{"4:memory:/removed (deleted)\n", "/removed"},
		{"4:cpu:/c\n3:memory2:/no\n1:name=systemd:/s\n", NULL},
		{"4:memory:/v1\n0::/\n", "/v1"}, /* mounted once, and empty */
		/* a runtime that makes groups in v1 only */
		{"4:memory:/docker/abc\n0::/system.slice/containerd.service\n", "/docker/abc"},
		{"4:memory:/s/x.service/abc\n0::/s/x.service\n", "/s/x.service/abc"},
		{"4:memory:/a\n0::/ab\n", "/a"},
		{"4:memory:/../other\n0::/\n", "/../other"},
		/* systemd, with and without memory accounting of the service */
		{"4:memory:/s/x.service\n0::/s/x.service\n", "/s/x.service"},
		{"4:memory:/user.slice\n0::/user.slice/1.scope\n", "/user.slice/1.scope"},
		{"4:memory:/\n0::/s/x.service\n", "/s/x.service"},
		{"4:memory:/\n0::/\n", "/"},
		{"4:cpu:/c\n0::/s/x.service\n", "/s/x.service"},
		{"0::/s/x.service\n", "/s/x.service"},
		{"4:memory\n", NULL},
		{"", NULL},
	};
	bool right = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		right = own_cgroup_is(cases[i].text, cases[i].expected) && right;
	return right;
}

/* Any hierarchy will do for v1's memory: what lies in it looks the same. */
static bool lists_v1_memory(const char *dir)
{
	char *text = format_text("30 20 0:1 / /cpu rw - cgroup cgroup rw,cpu\n"
				 "31 20 0:2 / %s rw shared:9 - cgroup cgroup rw,memory\n",
				 dir);
	struct cgroup_mounts mounts = {0};
	bool right = put_proc_file("mountinfo", text) && !cgroup_mounts__read(&mounts);
	pid_t *pids = NULL;
	size_t cnt = 0;

	right = right && !mounts.unified && mounts.memory && !strcmp(mounts.memory, dir) &&
		mounts.v1_cnt == 2;
	right = right && !proc_list_cgroup("/", &pids, &cnt) && has_pid(pids, cnt, getpid()) &&
		proc_list_cgroup("/no/such/group", &pids, &cnt) == -ENOENT;
	free(pids);
	/* With v1, but without memory, there is no group that could be named. */
	right = right &&
		put_proc_file("mountinfo", "30 20 0:1 / /cpu rw - cgroup cgroup rw,cpu\n") &&
		proc_list_cgroup("/", &pids, &cnt) == -ENOENT;
	cgroup_mounts__free(&mounts);
	free(text);
	return right;
}

static int be_on_v1(void)
{
	struct cgroup_mounts real = {0};
	const char *dir;

	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || cgroup_mounts__read(&real) ||
	    !cover_proc_file("cgroup") || !cover_proc_file("mountinfo"))
		return V1_NOT_HERE;
	dir = real.memory ? real.memory : real.unified;
	if (!picks_memory())
		return 1;
	return dir && !lists_v1_memory(dir) ? 2 : V1_RIGHT;
}

static void test_cgroup_v1(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid)
		_exit(be_on_v1());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == V1_NOT_HERE) {
		print_message("skipped: no mount namespaces here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), V1_RIGHT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test(test_cgroup_v1),
	};

	return cmocka_run_group_tests_name("util procfs lists", tests, make_work_dir,
					   remove_work_dir);
}
