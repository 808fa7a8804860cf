/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lives of address spaces, and what /proc tells of them. */
#include "collect_events_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include "unit/inner_child.h"

/* ---- lives ---- */

static void test_first_sight(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);

	assert_non_null(space);
	assert_int_equal(space->id, 1);
	assert_int_equal(space->tgid, 100);
	assert_int_equal(space->born_ns, 10);
	assert_int_equal(space->state, PROC_RUNNING);
	assert_int_equal(space->parent, SPACE_NONE);
	assert_false(space->forked);
	assert_true(space->maps_stale);
	assert_string_equal(space->comm, "p100");
	assert_string_equal(space->exe, "");
	assert_string_equal(space->cgroup, "");
	assert_ptr_equal(space_table__find_tgid(table, 100), space);
	assert_null(space_table__find_tgid(table, 101));
	assert_null(space_table__find(table, 2));
	assert_null(space_table__find(table, SPACE_NONE));
	assert_int_equal(table->spaces.cnt, 1);
}

/* The kernel's names may fill all 16 bytes and end without a zero. */
static void test_longest_name(void **state)
{
	struct space_table *table = *state;
	struct event event = life_event(EV_SPACE_NEW, 1, 100, 10);

	memcpy(event.proc.comm, "0123456789abcdef", MAX_COMM);
	apply(table, event);
	assert_string_equal(space_table__find(table, 1)->comm, "0123456789abcdef");
}

static void test_add_twice(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = space_table__add(table, 1, 100, 10);

	assert_ptr_equal(space_table__add(table, 1, 100, 99), space);
	assert_int_equal(space->born_ns, 10);
	assert_int_equal(table->spaces.cnt, 1);
}

static void test_fork_copies(void **state)
{
	struct space_table *table = *state;
	struct space_info *parent = see_new(table, 1, 100, 10), *child;
	struct code_map code = {.start = 0x1000, .end = 0x2000, .off = 0x500, .module = 3};

	assert_int_equal(array_push(&parent->code, code), 0);
	assert_int_equal(space_info__set_coverage(parent, 3, "glibc", "/lib/libc.so",
						  COVERAGE_PARTIAL, "why"),
			 0);
	free(parent->exe);
	parent->exe = strdup("/bin/app");
	free(parent->cgroup);
	parent->cgroup = strdup("/a.slice");
	parent->maps_stale = false;
	parent->is_root = true;

	child = see_fork(table, 2, 101, 1, 50);
	assert_int_equal(child->parent, 1);
	assert_int_equal(child->born_ns, 50);
	assert_true(child->forked);
	assert_false(child->is_root);
	assert_false(child->maps_stale);
	assert_string_equal(child->comm, "p101");
	assert_string_equal(child->exe, "/bin/app");
	assert_string_equal(child->cgroup, "/a.slice");
	assert_int_equal(child->code.cnt, 1);
	assert_memory_equal(&child->code.items[0], &code, sizeof(code));
	assert_int_equal(child->coverage.cnt, 1);
	assert_int_equal(child->coverage.items[0].status, COVERAGE_PARTIAL);
	assert_string_equal(child->coverage.items[0].reason, "why");
	assert_int_equal(parent->state, PROC_RUNNING);
	assert_ptr_equal(space_table__find_tgid(table, 100), parent);
	assert_ptr_equal(space_table__find_tgid(table, 101), child);
}

static void test_exec_ends(void **state)
{
	struct space_table *table = *state;
	struct space_info *old = see_new(table, 1, 100, 10), *new;

	old->is_root = true;
	new = see_exec(table, 2, 100, 1, 50);
	assert_int_equal(old->state, PROC_EXECED);
	assert_int_equal(new->state, PROC_RUNNING);
	assert_true(new->is_root);
	assert_false(new->forked);
	assert_int_equal(new->parent, SPACE_NONE);
	assert_true(new->maps_stale);
	assert_int_equal(new->code.cnt, 0);
	assert_ptr_equal(space_table__find_tgid(table, 100), new);
}

static void test_forked_child_execs(void **state)
{
	struct space_table *table = *state;
	struct space_info *parent = see_new(table, 1, 100, 10), *new;

	see_fork(table, 2, 101, 1, 50);
	new = see_exec(table, 3, 101, 2, 60);
	assert_int_equal(space_table__find(table, 2)->state, PROC_EXECED);
	assert_int_equal(parent->state, PROC_RUNNING);
	assert_true(new->forked);
	assert_false(new->is_root);
	assert_int_equal(new->parent, SPACE_NONE);
}

/* A vfork child lives in its parent's space until it execs: that ends nobody's blocks. */
static void test_vfork_child_execs(void **state)
{
	struct space_table *table = *state;
	struct space_info *parent = see_new(table, 1, 100, 10), *new;

	parent->is_root = true;
	new = see_exec(table, 2, 101, 1, 50);
	assert_int_equal(parent->state, PROC_RUNNING);
	assert_int_equal(new->state, PROC_RUNNING);
	assert_true(new->forked);
	assert_false(new->is_root);
	assert_int_equal(new->parent, SPACE_NONE);
	assert_ptr_equal(space_table__find_tgid(table, 100), parent);
	assert_ptr_equal(space_table__find_tgid(table, 101), new);
}

static void test_exec_of_unknown(void **state)
{
	struct space_table *table = *state;
	struct event event = life_event(EV_EXEC, SPACE_NONE, 102, 60);
	struct space_info *space;

	space = see_exec(table, 5, 101, 4, 50);
	assert_int_equal(space->state, PROC_RUNNING);
	assert_true(space->forked);
	event.flags = EVENT_UNTRACED;
	apply(table, event);
	assert_int_equal(table->spaces.cnt, 1);
	assert_null(space_table__find_tgid(table, 102));
}

static void test_exit(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);

	see_exit(table, 1, 100, 3 << 8, 50);
	assert_int_equal(space->state, PROC_EXITED);
	assert_int_equal(space->exit_code, 3 << 8);
	assert_ptr_equal(space_table__find(table, 1), space);
	/* nobody runs there now: whoever gets the number next is a new process */
	assert_null(space_table__find_tgid(table, 100));
	see_exit(table, 9, 109, 0, 60); /* of somebody unknown */
	assert_int_equal(table->spaces.cnt, 1);
}

static void test_pid_reuse(void **state)
{
	struct space_table *table = *state;
	struct space_info *old = see_new(table, 1, 100, 10), *new;

	see_exit(table, 1, 100, 0, 50);
	new = see_new(table, 2, 100, 60);
	assert_ptr_not_equal(old, new);
	assert_int_equal(old->state, PROC_EXITED);
	assert_int_equal(new->state, PROC_RUNNING);
	assert_int_equal(new->born_ns, 60);
	assert_ptr_equal(space_table__find_tgid(table, 100), new);
	space_table__drop(table, old);
	assert_ptr_equal(space_table__find_tgid(table, 100), new);
	see_exit(table, 2, 100, 0, 70);
	assert_int_equal(new->state, PROC_EXITED);
}

/* The ring buffer was full when the first one exited: it must not live on in the report. */
static void test_pid_reuse_without_exit(void **state)
{
	struct space_table *table = *state;
	struct space_info *first = see_new(table, 1, 100, 10), *second, *third;

	second = see_fork(table, 5, 100, 4, 60);
	assert_int_equal(first->state, PROC_EXITED);
	assert_int_equal(second->state, PROC_RUNNING);
	third = space_table__add(table, 6, 100, 70);
	assert_int_equal(second->state, PROC_EXITED);
	assert_int_equal(third->state, PROC_RUNNING);
	assert_ptr_equal(space_table__find_tgid(table, 100), third);
}

/* A scan of /proc may find the new space before the events that led to it are read. */
static void test_scan_overtakes_events(void **state)
{
	struct space_table *table = *state;
	struct space_info *parent = see_new(table, 1, 100, 10);
	struct space_info *late = space_table__add(table, 3, 101, 70);

	see_fork(table, 2, 101, 1, 50);
	assert_int_equal(late->state, PROC_RUNNING);
	assert_ptr_equal(space_table__find_tgid(table, 101), late);
	see_exec(table, 3, 101, 2, 60);
	assert_int_equal(late->state, PROC_RUNNING);
	assert_int_equal(space_table__find(table, 2)->state, PROC_EXECED);
	assert_int_equal(parent->state, PROC_RUNNING);
	assert_int_equal(table->spaces.cnt, 3);
}

static void test_drop(void **state)
{
	struct space_table *table = *state;

	for (uint32_t id = 1; id <= 100; id++)
		see_new(table, id, 1000 + id, id);
	for (uint32_t id = 1; id <= 100; id += 2)
		space_table__drop(table, space_table__find(table, id));
	assert_int_equal(table->spaces.cnt, 50);
	for (uint32_t id = 1; id <= 100; id++) {
		struct space_info *space = space_table__find(table, id);

		assert_ptr_equal(space_table__find_tgid(table, 1000 + id), space);
		if (id % 2)
			assert_null(space);
		else /* still by birth */
			assert_ptr_equal(table->spaces.items[id / 2 - 1], space);
	}
	/* what comes late for one that is gone does no harm */
	see_exit(table, 1, 1001, 0, 200);
	see_unknown_free(table, 1, 0x1000, 200);
	see_ancestor_free(table, 1, 0x1000, make_block(16, 1), 200);
	assert_int_equal(table->spaces.cnt, 50);
}

static void test_frees_are_kept(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);

	see_ancestor_free(table, 1, 0x1000, make_block(16, 20), 50);
	see_ancestor_free(table, 1, 0x1000, make_block(32, 60), 70);
	assert_int_equal(space->ancestor_frees.cnt, 2);
	assert_int_equal(space->ancestor_frees.items[1].time_ns, 70);
	assert_int_equal(space->ancestor_frees.items[1].block.size, 32);
	see_unknown_free(table, 1, 0x2000, 80);
	see_unknown_free(table, 1, 0x2000, 90);
	assert_int_equal(*hashmap__find(&space->unknown_frees, 0x2000, 0), 80 << 1);
	assert_int_equal(space->unknown_free_cnt, 2);
	/* a free that surely was of an inherited block is nobody's riddle */
	see_inherited_free(table, 1, 0x3000, 95);
	assert_int_equal(*hashmap__find(&space->unknown_frees, 0x3000, 0), 95 << 1 | 1);
	assert_int_equal(space->unknown_free_cnt, 2);
}

/* ---- what /proc and the prober tell ---- */

static void test_refresh_ourselves(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, getpid(), 10);
	const struct code_map *code;

	assert_int_equal(space_info__refresh(table, space), 0);
	assert_false(space->maps_stale);
	assert_true(space->start_ns > 0);
	assert_true(space->rss_bytes > 0);
	assert_non_null(strstr(space->exe, "test_collect_space_table"));
	assert_string_not_equal(space->comm, "");
	code = space_info__find_code(space, (uintptr_t)test_refresh_ourselves);
	assert_non_null(code);
	assert_string_equal(table->modules.modules.items[code->module].path, space->exe);
	space->maps_stale = true;
	assert_int_equal(space_info__refresh(table, space), 0);
	assert_ptr_equal(space_info__find_code(space, (uintptr_t)test_refresh_ourselves), code);

	space->start_ns--; /* as if the number had another owner by now */
	space->maps_stale = true;
	assert_int_equal(space_info__refresh(table, space), -ESRCH);
	assert_true(space->code.cnt > 0);
}

static void test_refresh_of_the_dead(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, NO_SUCH_PID, 10), *zombie;
	siginfo_t info;
	pid_t pid;

	assert_int_equal(space_info__refresh(table, space), -ESRCH);
	assert_string_equal(space->comm, "p1073741823");
	see_exit(table, 1, NO_SUCH_PID, 0, 20);
	assert_int_equal(space_info__refresh(table, space), 0);

	pid = fork();
	if (!pid)
		_exit(0);
	assert_true(pid > 0);
	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	zombie = see_new(table, 2, pid, 30);
	assert_int_equal(space_info__refresh(table, zombie), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Its number inside is its own, although its mappings are its parent's and are not read. */
static void test_refresh_of_a_forked_child(void **state)
{
	struct space_table *table = *state;
	struct inner_child inner = inner_child__start();
	struct space_info *parent = see_new(table, 1, inner.outer, 10), *child;

	assert_int_equal(space_info__refresh(table, parent), 0);
	assert_int_equal(parent->ns_pid, 0);
	child = see_fork(table, 2, inner.pid, 1, 20);
	assert_false(child->maps_stale);
	assert_int_equal(space_info__refresh(table, child), 0);
	assert_int_equal(child->ns_pid, 1);
	inner_child__end(&inner);
}

static void test_coverage(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);

	assert_int_equal(space_info__set_coverage(space, MODULE_NONE, "none", "/bin/app",
						  COVERAGE_SKIPPED, "x"),
			 0);
	assert_int_equal(
		space_info__set_coverage(space, 4, "glibc", "/lib/libc.so", COVERAGE_PROBED, NULL),
		0);
	assert_int_equal(space->coverage.cnt, 1); /* "nothing to probe" no longer holds */
	assert_string_equal(space->coverage.items[0].name, "glibc");
	assert_string_equal(space->coverage.items[0].reason, "");
	assert_int_equal(space_info__set_coverage(space, 5, "jemalloc", NULL, COVERAGE_PROBED, ""),
			 0);
	assert_int_equal(space_info__set_coverage(space, 4, "glibc", "/lib/libc.so",
						  COVERAGE_PARTIAL, "why"),
			 0);
	assert_int_equal(space->coverage.cnt, 2);
	assert_int_equal(space->coverage.items[0].status, COVERAGE_PARTIAL);
	assert_string_equal(space->coverage.items[0].reason, "why");
	assert_string_equal(space->coverage.items[1].path, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_first_sight),
		TABLE_TEST(test_longest_name),
		TABLE_TEST(test_add_twice),
		TABLE_TEST(test_fork_copies),
		TABLE_TEST(test_exec_ends),
		TABLE_TEST(test_forked_child_execs),
		TABLE_TEST(test_vfork_child_execs),
		TABLE_TEST(test_exec_of_unknown),
		TABLE_TEST(test_exit),
		TABLE_TEST(test_pid_reuse),
		TABLE_TEST(test_pid_reuse_without_exit),
		TABLE_TEST(test_scan_overtakes_events),
		TABLE_TEST(test_drop),
		TABLE_TEST(test_frees_are_kept),
		TABLE_TEST(test_refresh_ourselves),
		TABLE_TEST(test_refresh_of_the_dead),
		TABLE_TEST(test_refresh_of_a_forked_child),
		TABLE_TEST(test_coverage),
	};

	return cmocka_run_group_tests_name("collect space table", tests, NULL, NULL);
}
