/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program exports is read from its file, unless that is where nobody answers. */
#include "python/exe_places.h"

#include "unit/compile.h"
#include "unit/dead_mount.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "util/clock.h"
#include "util/remote_mount.h"

#define BINDFS "/usr/bin/bindfs"
#define WAIT_MS 20000

struct program {
	pid_t pid;
	uint64_t runtime, code_type; /* as it says */
};

/* Returns the child, that ends with this process; what it prints can be read from *ret_out. */
static pid_t start(const char *const argv[], FILE **ret_out)
{
	int out[2];
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_true(pid > 0);
	close(out[1]);
	*ret_out = fdopen(out[0], "r");
	assert_non_null(*ret_out);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct program start_program(const char *path)
{
	struct program program = {0};
	FILE *out;

	program.pid = start((const char *const[]){path, NULL}, &out);
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

/* Shows a folder at another place. Returns the server. */
static pid_t start_bindfs(const char *from, const char *to)
{
	struct stat before, now;
	FILE *out;
	pid_t pid;

	assert_int_equal(stat(to, &before), 0);
	pid = start((const char *const[]){BINDFS, "-f", from, to, NULL}, &out);
	fclose(out);
	for (int waited_ms = 0; waited_ms < WAIT_MS; waited_ms += 20) {
		assert_int_equal(stat(to, &now), 0);
		if (now.st_dev != before.st_dev)
			return pid;
		usleep(20000);
	}
	fail_msg("%s has not begun", BINDFS);
	return 0;
}

static void test_own_mount(void **state)
{
	char *built = compile("gcc", "-rdynamic", "exe_places.c"), path[128];
	char dir[] = "/tmp/leaksweep-mount-XXXXXX";
	uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + WAIT_MS * NS_PER_MS;
	struct exe_places places = {0};
	struct program program;
	pid_t server;

	(void)state;
	if (geteuid() || access(BINDFS, X_OK) || access("/dev/fuse", W_OK))
		skip();
	assert_non_null(mkdtemp(dir));
	server = start_bindfs(work_dir, dir);
	snprintf(path, sizeof(path), "%s%s", dir, built + strlen(work_dir));
	program = start_program(path);
	check(&program);
	kill(server, SIGSTOP);
	/* The kernel may know enough of the file for a while. */
	while (!exe_places__read(program.pid, &places))
		assert_true(clock_ns(CLOCK_MONOTONIC) < until_ns);
	assert_int_equal(exe_places__read(program.pid, &places), -ETIMEDOUT);
	kill(server, SIGCONT);
	while (exe_places__read(program.pid, &places))
		assert_true(clock_ns(CLOCK_MONOTONIC) < until_ns);
	check(&program);
	stop(program.pid);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	stop(server);
	rmdir(dir);
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
