/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source text of a process is read as the process sees it, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/source_text.h"
#include "util/procfs.h"

#define MAX_FILES 32
#define TEXT "import json\nprint(1)\n"

static char *work_dir;

static char *path_in(const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	return path;
}

static void write_file(const char *name, const char *text, size_t len)
{
	char *path = path_in(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	/* Older than any process that uses it. */
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(futimens(fd, old), 0);
	close(fd);
	free(path);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	if (asprintf(&work_dir, "%s/leaksweep-unit-XXXXXX", base ? base : "/tmp") < 0)
		return -1;
	return mkdtemp(work_dir) ? 0 : -1;
}

static int teardown(void **state)
{
	int err;

	(void)state;
	err = nftw(work_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(work_dir);
	return err;
}

/* ---- a snapshot with one frame a file ---- */

struct scene {
	struct snapshot *snap;
	struct symbol symbols[MAX_FILES];
};

static void scene__init(struct scene *scene)
{
	*scene = (struct scene){.snap = snapshot__new("trace")};
	assert_non_null(scene->snap);
}

static uint32_t add_proc(struct scene *scene, pid_t pid)
{
	struct proc_info info = {0};

	assert_int_equal(proc_info__read(pid, &info), 0);
	return snapshot__add_proc(scene->snap, pid, info.start_ns, "python3", "", "", "");
}

static void add_row(struct scene *scene, uint32_t proc, enum frame_kind kind, const char *file)
{
	uint32_t code = snapshot__add_code(scene->snap, file, "f", 1), frame, module;
	struct snap_row row = {.proc = proc, .cost.live_bytes = 10, .cost.live_count = 1};

	module = snapshot__add_module(scene->snap, file, 0, 0, NULL, 0, -1);
	frame = snapshot__add_frame(scene->snap, kind, kind == FRAME_PYTHON ? code : module, 1);
	assert_true(frame < MAX_FILES);
	scene->symbols[frame] = (struct symbol){
		.function = "f",
		.file = scene->snap->codes.items[code].file,
		.line = 1,
	};
	row.stack = snapshot__add_stack(scene->snap, &frame, 1);
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

/* Reads one Python file of a process. Returns the only source; the scene is to be freed. */
static const struct snap_source *read_one(struct scene *scene, pid_t pid, const char *file)
{
	scene__init(scene);
	add_row(scene, add_proc(scene, pid), FRAME_PYTHON, file);
	assert_int_equal(source_text__add(scene->snap, scene->symbols, file, NULL), 0);
	assert_int_equal(scene->snap->sources.cnt, 1);
	assert_string_equal(scene->snap->sources.items[0].path, file);
	return &scene->snap->sources.items[0];
}

static void assert_text(const struct snap_source *source, const char *text, const char *reason)
{
	assert_non_null(source->text);
	assert_int_equal(source->len, strlen(text));
	assert_memory_equal(source->text, text, source->len);
	assert_string_equal(source->reason, reason);
}

static void check_refused(const char *name, const char *reason)
{
	char *path = *name == '<' ? strdup(name) : path_in(name);
	const struct snap_source *source;
	struct scene scene;

	source = read_one(&scene, getpid(), path);
	assert_null(source->text);
	assert_string_equal(source->reason, reason);
	snapshot__free(scene.snap);
	free(path);
}

/* ---- the tests ---- */

static void test_read(void **state)
{
	const struct snap_source *source;
	char *path = path_in("a.py");
	struct scene scene;

	(void)state;
	write_file("a.py", TEXT, strlen(TEXT));
	source = read_one(&scene, getpid(), path);
	assert_text(source, TEXT, "");
	assert_int_equal(source->pid, getpid());
	snapshot__free(scene.snap);
	/* An empty file is one. */
	write_file("a.py", "", 0);
	source = read_one(&scene, getpid(), path);
	assert_text(source, "", "");
	snapshot__free(scene.snap);
	/* Written since. */
	assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
	source = read_one(&scene, getpid(), path);
	assert_non_null(strstr(source->reason, "changed after the process had begun"));
	snapshot__free(scene.snap);
	free(path);
}

static void test_refused(void **state)
{
	char *path = path_in("pipe.py"), *big = calloc(1, (4 << 20) + 1);

	(void)state;
	assert_int_equal(mkfifo(path, 0644), 0);
	check_refused("pipe.py", "it is no regular file");
	check_refused("", "it is no regular file");
	check_refused("absent.py", "No such file or directory");
	check_refused("pipe.py/inside.py", "Not a directory");
	check_refused("<string>", "code made at run time: there is no file");
	write_file("zero.py", "a\0b", 3);
	check_refused("zero.py", "it is no text");
	memset(big, '\n', (4 << 20) + 1);
	write_file("big.py", big, (4 << 20) + 1);
	check_refused("big.py", "it is too big to be source");
	write_file("limit.py", big, 4 << 20);
	free(big);
	free(path);
	path = path_in("loop.py");
	assert_int_equal(symlink("loop.py", path), 0);
	check_refused("loop.py", "Too many levels of symbolic links");
	free(path);
	path = path_in("magic.py");
	assert_int_equal(symlink("/proc/self/exe", path), 0);
	check_refused("magic.py", "Too many levels of symbolic links");
	free(path);
}

/* Seventeen files of 4 MiB are more than a report reads, and each counts once. */
static void test_many(void **state)
{
	char *text = malloc(4 << 20), *path, name[24];
	const struct snap_source *source;
	struct scene scene;
	uint32_t proc;

	(void)state;
	memset(text, 'x', 4 << 20);
	write_file("text", text, 4 << 20);
	free(text);
	scene__init(&scene);
	proc = add_proc(&scene, getpid());
	for (int i = 10; i < 10 + 17; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		path = path_in(name);
		assert_int_equal(mkdir(path, 0755), 0);
		free(path);
		snprintf(name, sizeof(name), "d%d/init.py", i);
		path = path_in(name);
		assert_int_equal(symlink("../text", path), 0);
		add_row(&scene, proc, FRAME_PYTHON, path);
		add_row(&scene, proc, FRAME_PYTHON, path);
		free(path);
	}
	add_row(&scene, proc, FRAME_PYTHON, "/nowhere/myinit.py");
	assert_int_equal(source_text__add(scene.snap, scene.symbols, "init.py", NULL), 0);
	assert_int_equal(scene.snap->sources.cnt, 17);
	for (int i = 0; i < 17; i++) {
		source = &scene.snap->sources.items[i];
		assert_int_equal(source->len, i < 16 ? 4 << 20 : 0);
		assert_string_equal(source->reason, i < 16 ? "" : "too many files have this name");
	}
	snapshot__free(scene.snap);
}

/* Starts a process that waits in `dir`, as its root when asked. Returns its pid, or 0 when that is
 * not allowed. */
static pid_t start_in(const char *dir, bool as_root)
{
	int ready[2];
	char answer;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		answer = chdir(dir) || (as_root && chroot(".")) ? 'n' : 'y';
		if (write(ready[1], &answer, 1) == 1 && answer == 'y')
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &answer, 1), 1);
	close(ready[0]);
	close(ready[1]);
	if (answer == 'y')
		return pid;
	waitpid(pid, NULL, 0);
	return 0;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_root(void **state)
{
	const struct snap_source *source;
	struct scene scene;
	char *path;
	pid_t pid;

	(void)state;
	pid = start_in(work_dir, true);
	if (!pid) {
		print_message("skipped: only root may chroot\n");
		skip();
	}
	write_file("a.py", TEXT, strlen(TEXT));
	path = path_in("link.py");
	assert_int_equal(symlink("/../../a.py", path), 0);
	free(path);
	path = path_in("escape.py");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	free(path);
	source = read_one(&scene, pid, "/a.py");
	assert_text(source, TEXT, "");
	snapshot__free(scene.snap);
	source = read_one(&scene, pid, "/link.py");
	assert_text(source, TEXT, "");
	snapshot__free(scene.snap);
	source = read_one(&scene, pid, "/escape.py");
	assert_null(source->text);
	assert_string_equal(source->reason, "No such file or directory");
	snapshot__free(scene.snap);
	/* While the process lives, a file of the same name elsewhere is not its file. */
	path = path_in("a.py");
	source = read_one(&scene, pid, path);
	assert_null(source->text);
	snapshot__free(scene.snap);
	/* What a program was compiled from may be anywhere. */
	scene__init(&scene);
	add_row(&scene, add_proc(&scene, pid), FRAME_NATIVE, path);
	assert_int_equal(source_text__add(scene.snap, scene.symbols, path, NULL), 0);
	assert_text(&scene.snap->sources.items[0], TEXT, "");
	assert_int_equal(scene.snap->sources.items[0].pid, 0);
	snapshot__free(scene.snap);
	free(path);
	stop(pid);
}

static void test_relative(void **state)
{
	const struct snap_source *source;
	pid_t pid = start_in(work_dir, false);
	struct scene scene;

	(void)state;
	write_file("a.py", TEXT, strlen(TEXT));
	source = read_one(&scene, pid, "a.py");
	assert_text(source, TEXT, "");
	snapshot__free(scene.snap);
	source = read_one(&scene, pid, "../a.py");
	assert_null(source->text);
	assert_string_equal(source->reason, "it lies outside of the process's working directory");
	snapshot__free(scene.snap);
	stop(pid);
}

/* A process that has ended, and a number that another process has now. */
static void test_ended(void **state)
{
	struct scene scene, next;
	char *path = path_in("a.py");
	uint32_t proc;

	(void)state;
	write_file("a.py", TEXT, strlen(TEXT));
	for (int i = 0; i < 2; i++) {
		scene__init(&scene);
		proc = add_proc(&scene, getpid());
		if (i)
			scene.snap->procs.items[proc].state = PROC_EXITED;
		else
			scene.snap->procs.items[proc].start_ns -= 10000000;
		add_row(&scene, proc, FRAME_PYTHON, path);
		assert_int_equal(source_text__add(scene.snap, scene.symbols, "a.py", NULL), 0);
		assert_int_equal(scene.snap->sources.items[0].pid, 0);
		assert_text(&scene.snap->sources.items[0], TEXT,
			    "the process has ended: this is the file of that name on this host "
			    "now");
		/* What an earlier report had is nearer to it. */
		scene__init(&next);
		proc = add_proc(&next, getpid());
		add_row(&next, proc, FRAME_PYTHON, path);
		write_file("a.py", "other", 5);
		assert_int_equal(source_text__add(next.snap, next.symbols, "a.py", scene.snap), 0);
		assert_int_equal(next.snap->sources.cnt, 1);
		assert_int_equal(next.snap->sources.items[0].len, strlen(TEXT));
		snapshot__free(next.snap);
		snapshot__free(scene.snap);
		write_file("a.py", TEXT, strlen(TEXT));
	}
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_relative, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ended, setup, teardown),
	};

	return cmocka_run_group_tests_name("engine source text", tests, NULL, NULL);
}
