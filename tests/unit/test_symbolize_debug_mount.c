/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A target's path may lead to where nobody answers: its debug file is not waited for. */
#include "symbolize/debug_file.h"

#include "unit/compile.h"
#include "unit/dead_mount.h"

#include <elf.h>
#include <errno.h>

#define PATIENCE_SEC 60 /* then this test is killed */

static int find_debug_file(const char *path, const char *file_path)
{
	int fd = open(file_path, O_RDONLY | O_CLOEXEC), debug_fd = -1, err;
	struct elf_image image;

	assert_int_equal(elf_image__open(&image, fd, EM_NONE), 0);
	err = debug_file__open(&image, path, "/nonexistent", &debug_fd);
	elf_image__close(&image);
	close(fd);
	if (!err)
		close(debug_fd);
	return err;
}

static void test_beside(void **state)
{
	char *path = compile("gcc", "-g -Wl,--build-id=none", "user.c");
	struct dead_mount mount;

	(void)state;
	run_command("objcopy --only-keep-debug %s %s.debug", path, path);
	run_command("strip %s", path);
	run_command("objcopy --add-gnu-debuglink=%s.debug %s", path, path);
	assert_int_equal(find_debug_file(path, path), 0);
	if (!dead_mount__make(&mount))
		skip();
	alarm(PATIENCE_SEC);
	/* Others go on as ever until somebody waits. */
	assert_int_equal(find_debug_file(path, path), 0);
	assert_int_equal(find_debug_file(mount.file, path), -ENOENT);
	dead_mount__end(&mount);
	assert_int_equal(find_debug_file(mount.file, path), -ENOENT);
	alarm(0);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside),
	};

	return cmocka_run_group_tests_name("debug file on a mount", tests, make_work_dir,
					   remove_work_dir);
}
