/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program exports is read from its file, unless that is where nobody answers. */
#include "python/exe_places.h"

#include "unit/compile.h"

#include "unit/bind_mount.h"
#include "unit/dead_mount.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "util/clock.h"
#include "util/remote_mount.h"

#define WAIT_MS 20000

struct program {
	pid_t pid;
	uint64_t runtime, code_type; /* as it says */
};

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct program start_program(const char *path)
{
	struct program program = {0};
	int pipe_fds[2];
	FILE *out;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	program.pid = fork();
	if (!program.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pipe_fds[1], 1);
		execl(path, path, NULL);
		_exit(127);
	}
	assert_true(program.pid > 0);
	close(pipe_fds[1]);
	out = fdopen(pipe_fds[0], "r");
	assert_non_null(out);
	assert_int_equal(fscanf(out, "%lx %lx", &program.runtime, &program.code_type), 2);
	fclose(out);
	return program;
}

static void check(const struct program *program)
{
	struct exe_places places = {0};

	assert_int_equal(exe_places__read(program->pid, &places), 0);
	assert_int_equal(places.runtime, program->runtime);
	assert_int_equal(places.code_type, program->code_type);
}

static void open_file(const void *path)
{
	open(path, O_RDONLY | O_CLOEXEC);
}

/* A program is asked for what is on its own file system, not on any that its mounts have. */
static void test_other_mount(void **state)
{
	char *path = compile("gcc", "-rdynamic", "exe_places.c");
	struct program program;
	struct dead_mount mount;

	(void)state;
	if (!dead_mount__make(&mount))
		skip();
	program = start_program(path);
	check(&program);
	assert_int_equal(remote_mount__try(program.pid, 0, open_file, mount.file), -ETIMEDOUT);
	check(&program);
	stop(program.pid);
	dead_mount__end(&mount);
	free(path);
}

static void test_own_mount(void **state)
{
	char *built = compile("gcc", "-rdynamic", "exe_places.c"), path[128];
	uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + WAIT_MS * NS_PER_MS;
	struct exe_places places = {0};
	struct bind_mount mount;
	struct program program;

	(void)state;
	if (!bind_mount__make(work_dir, &mount))
		skip();
	snprintf(path, sizeof(path), "%s%s", mount.dir, built + strlen(work_dir));
	program = start_program(path);
	check(&program);
	kill(mount.server, SIGSTOP);
	/* The kernel may know enough of the file for a while. */
	while (!exe_places__read(program.pid, &places))
		assert_true(clock_ns(CLOCK_MONOTONIC) < until_ns);
	assert_int_equal(exe_places__read(program.pid, &places), -ETIMEDOUT);
	kill(mount.server, SIGCONT);
	while (exe_places__read(program.pid, &places))
		assert_true(clock_ns(CLOCK_MONOTONIC) < until_ns);
	check(&program);
	stop(program.pid);
	bind_mount__end(&mount);
	free(built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_mount),
		cmocka_unit_test(test_own_mount),
	};

	return cmocka_run_group_tests_name("exe places", tests, make_work_dir, remove_work_dir);
}
