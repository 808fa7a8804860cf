/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapped files of an overlay that were copied up, as an image's are when a container's entrypoint
 * changes their mode: /proc/PID/maps and stat(2) do not agree about them.
 */
#include "unit/compile.h"
#include "unit/mapped_file.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "util/format.h"

enum { MARK_SINGLE = 1, MARK_LINKED, MARK_OTHER };

static char *stage; /* a tmpfs with the overlay's parts; NULL = none can be mounted here */

static char *place(const char *name)
{
	char *path = format_text("%s/%s", stage, name);

	assert_non_null(path);
	return path;
}

static void make_in_stage(const char *name, uint8_t mark)
{
	char *path = place(name);

	make_marked_file(path, mark);
	free(path);
}

static void make_link(const char *from, const char *to)
{
	char *old = place(from), *new = place(to);

	assert_int_equal(link(old, new), 0);
	free(new);
	free(old);
}

static bool mount_stage(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("none", stage, "tmpfs", 0, "mode=755");
}

static bool mount_overlay(void)
{
	static const char *const dirs[] = {"lower", "upper", "work", "root"};
	char *options = format_text("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,index=off",
				    stage, stage, stage),
	     *root = place("root");
	bool done = true;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char *dir = place(dirs[i]);

		done = !mkdir(dir, 0755) && done;
		free(dir);
	}
	make_in_stage("lower/single", MARK_SINGLE);
	make_in_stage("lower/linked", MARK_LINKED);
	make_link("lower/linked", "lower/link");
	done = done && !mount("overlay", root, "overlay", 0, options);
	free(root);
	free(options);
	return done;
}

static int set_up(void **state)
{
	if (make_work_dir(state))
		return -1;
	stage = format_text("%s/stage", work_dir);
	if (!stage || mkdir(stage, 0755))
		return -1;
	if (mount_stage() && mount_overlay()) {
		make_in_stage("root/other", MARK_OTHER);
		return 0;
	}
	umount2(stage, MNT_DETACH);
	free(stage);
	stage = NULL;
	return 0;
}

static int tear_down(void **state)
{
	if (stage)
		umount2(stage, MNT_DETACH);
	free(stage);
	return remove_work_dir(state);
}

static void need_stage(void)
{
	if (stage)
		return;
	print_message("skipped: no overlay can be mounted here\n");
	skip();
}

/* Copies a file up while it is in use, and maps what it is then. Returns the path, owned. */
static char *map_copied_up(const char *name, void **ret_addr)
{
	char *path = place(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(chmod(path, 0711), 0);
	*ret_addr = map_page(path, NULL);
	close(fd);
	return path;
}

static void check_copied_up(const char *name, uint8_t mark)
{
	void *addr;
	char *path = map_copied_up(name, &addr);
	struct proc_maps maps;
	struct proc_map map = *own_map(&maps, addr);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	print_message("%s: inode %llu in maps, %llu by stat\n", name, (unsigned long long)map.ino,
		      (unsigned long long)st.st_ino);
	assert_int_equal(first_byte(&map), mark);
	map.start = (uint64_t)sysconf(_SC_PAGESIZE); /* by name: the range is none that exists */
	map.end = 2 * map.start;
	assert_int_equal(first_byte(&map), mark);
	proc_maps__free(&maps);
	munmap(addr, (size_t)sysconf(_SC_PAGESIZE));
	free(path);
}

static void test_copied_up(void **state)
{
	(void)state;
	need_stage();
	check_copied_up("root/single", MARK_SINGLE);
	check_copied_up("root/linked", MARK_LINKED);
}

/* Whoever maps a file decides what lies there by the time it is opened. */
static void test_another_file_is_not_taken(void **state)
{
	char *path, *other;
	struct proc_maps maps;
	struct proc_map map;
	void *addr;

	(void)state;
	need_stage();
	other = place("root/other");
	path = map_copied_up("root/linked", &addr);
	map = *own_map(&maps, addr);
	assert_ptr_equal(map_page(other, addr), addr);
	assert_int_equal(first_byte(&map), MARK_LINKED); /* by name */
	map.deleted = true;
	assert_int_equal(first_byte(&map), -ESTALE);
	map.deleted = false;
	map.path = other;
	assert_int_equal(first_byte(&map), -ESTALE);
	proc_maps__free(&maps);
	munmap(addr, (size_t)sysconf(_SC_PAGESIZE));
	free(path);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copied_up),
		cmocka_unit_test(test_another_file_is_not_taken),
	};

	return cmocka_run_group_tests_name("util procfs overlay", tests, set_up, tear_down);
}
