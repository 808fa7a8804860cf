/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes, files and time for end-to-end tests. */
#include "lib/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/harness_internal.h"

#define MAX_CHILDREN 256
#define MAX_DIRS 16
#define POLL_MS 2

static struct child *children[MAX_CHILDREN];
static size_t child_cnt;
static char *dirs[MAX_DIRS];
static size_t dir_cnt;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int patience(void)
{
	const char *factor = getenv("TEST_PATIENCE");

	return factor ? atoi(factor) : 1;
}

int slowness(void)
{
	return patience() < 4 ? patience() : 4;
}

void sleep_ms(int ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)ms % 1000 * 1000000};

	while (nanosleep(&pause, &pause) && errno == EINTR)
		;
}

char *format(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return text;
}

static const char *output_dir(void)
{
	const char *dir = getenv("OUTPUT");

	return dir && *dir ? dir : "build";
}

static char *absolute(const char *name)
{
	char *cwd, *path;

	if (*output_dir() == '/')
		return format("%s/%s", output_dir(), name);
	cwd = getcwd(NULL, 0);
	path = format("%s/%s/%s", cwd, output_dir(), name);
	free(cwd);
	return path;
}

char *tool_path(void)
{
	return absolute("leaksweep");
}

char *leaker_path(const char *name)
{
	char *relative = format("leakers/%s", name), *path = absolute(relative);

	free(relative);
	return path;
}

/* In the new process: into `root`, seen by nobody else because its mount namespace is its own. */
static void enter_root(const char *root)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(root, root, NULL, MS_BIND, NULL) || chroot(root) || chdir("/")) {
		perror("enter_root");
		_exit(126);
	}
}

static void become_child(const char *const *argv, const struct child_opts *opts, int in, int out,
			 int err)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL); /* what a background job ignores, its children would */
	signal(SIGHUP, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	for (const char *const *item = opts->env; item && *item; item++)
		putenv((char *)*item);
	if (opts->root)
		enter_root(opts->root);
	if (opts->uid && (setgroups(0, NULL) || setgid((gid_t)opts->uid) || setuid(opts->uid)))
		_exit(126);
	execv(argv[0], (char *const *)argv);
	perror(argv[0]);
	_exit(127);
}

struct child *child__start(const char *const *argv, const struct child_opts *opts)
{
	static const struct child_opts no_opts;
	struct child *child = calloc(1, sizeof(*child));
	int in[2];

	if (!opts)
		opts = &no_opts;
	assert_non_null(child);
	assert_true(child_cnt < MAX_CHILDREN);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	child->out_fd = opts->out_path ? open(opts->out_path, O_WRONLY | O_CLOEXEC)
				       : memfd_create("stdout", MFD_CLOEXEC);
	child->err_fd = memfd_create("stderr", MFD_CLOEXEC);
	assert_true(child->out_fd >= 0 && child->err_fd >= 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (!child->pid)
		become_child(argv, opts, in[0], child->out_fd, child->err_fd);
	close(in[0]);
	child->in_fd = in[1];
	children[child_cnt++] = child;
	return child;
}

static const char **prepend(const char *first, const char *const *args)
{
	size_t cnt = 0;
	const char **list;

	while (args[cnt])
		cnt++;
	list = calloc(cnt + 2, sizeof(*list));
	assert_non_null(list);
	list[0] = first;
	memcpy(list + 1, args, cnt * sizeof(*list));
	return list;
}

struct child *leaker__start(const char *const *args, const struct child_opts *opts)
{
	char *path = *args[0] == '/' ? strdup(args[0]) : leaker_path(args[0]);
	const char **argv = prepend(path, args + 1);
	struct child *leaker = child__start(argv, opts);

	free(child__await_line(leaker, leaker->out_fd, "READY", TIMEOUT_MS));
	free(argv);
	free(path);
	return leaker;
}

struct child *tool__start(const char *const *args, const struct child_opts *opts)
{
	char *path = tool_path();
	const char **argv = prepend(path, args);
	struct child *tool = child__start(argv, opts);

	free(argv);
	free(path);
	return tool;
}

void tool__await_tracing(struct child *tool)
{
	free(child__await_line(tool, tool->err_fd, "leaksweep: tracing", TIMEOUT_MS));
}

void child__poke(struct child *child)
{
	if (write(child->in_fd, "\n", 1) != 1)
		fail_msg("process %d does not listen: %s", (int)child->pid, strerror(errno));
}

static bool has_exited(struct child *child)
{
	if (!child->reaped && waitpid(child->pid, &child->status, WNOHANG) == child->pid)
		child->reaped = true;
	return child->reaped;
}

int child__await_exit(struct child *child, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	while (!has_exited(child)) {
		if (now_ms() > deadline)
			fail_msg("process %d has not ended after %d ms; stderr: %s",
				 (int)child->pid, timeout_ms, child__stderr(child));
		sleep_ms(POLL_MS);
	}
	return child->status;
}

void child__await_code(struct child *child, int code)
{
	int status = child__await_exit(child, TIMEOUT_MS);
	char *err = child__stderr(child);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status 0x%x instead of exit code %d: %s", status, code, err);
	free(err);
}

static char *read_all(int fd)
{
	struct stat st;
	size_t done = 0;
	char *text;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return strdup("");
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		abort();
	while (done < (size_t)st.st_size) {
		ssize_t got = pread(fd, text + done, (size_t)st.st_size - done, (off_t)done);

		if (got <= 0)
			break;
		done += (size_t)got;
	}
	text[done] = '\0';
	return text;
}

char *child__stdout(const struct child *child)
{
	return read_all(child->out_fd);
}

char *child__stderr(const struct child *child)
{
	return read_all(child->err_fd);
}

/* Returns the first complete line with this prefix, owned, or NULL. */
static char *find_line(const char *text, const char *prefix)
{
	while (*text) {
		const char *end = strchr(text, '\n');

		if (!end)
			return NULL;
		if (!strncmp(text, prefix, strlen(prefix)))
			return strndup(text, (size_t)(end - text));
		text = end + 1;
	}
	return NULL;
}

char *child__await_line(struct child *child, int fd, const char *prefix, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		bool exited = has_exited(child);
		char *text = read_all(fd), *line = find_line(text, prefix);

		free(text);
		if (line)
			return line;
		if (exited || now_ms() > deadline)
			fail_msg("\"%s\" never came from process %d, %s (status 0x%x)\nstdout: "
				 "%.2000s\nstderr: %.2000s",
				 prefix, (int)child->pid, exited ? "which has ended" : "in time",
				 child->status, child__stdout(child), child__stderr(child));
		sleep_ms(POLL_MS);
	}
}

void leaker__finish(struct child *leaker)
{
	child__poke(leaker);
	assert_int_equal(child__await_exit(leaker, TIMEOUT_MS), 0);
}

void tool__stop(struct child *tool)
{
	kill(tool->pid, SIGINT);
	if (child__await_exit(tool, LONG_MS))
		fail_msg("the tool ended with status 0x%x: %s", tool->status, child__stderr(tool));
}

const char *scratch_dir(void)
{
	char *dir = strdup("/tmp/leaksweep-e2e-XXXXXX");

	assert_true(dir_cnt < MAX_DIRS);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	dirs[dir_cnt++] = dir;
	return dir;
}

char *process_status(pid_t pid, const char *key)
{
	char *path = format("/proc/%d/status", (int)pid), *line = NULL, *words = NULL;
	FILE *file = fopen(path, "re");
	size_t room = 0;

	while (file && !words && getline(&line, &room, file) > 0)
		if (!strncmp(line, key, strlen(key)))
			words = format("%s", line + strlen(key));
	if (file)
		fclose(file);
	free(line);
	free(path);
	return words;
}

void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out;
	char buf[1 << 16];
	struct stat st;
	ssize_t got;

	if (in < 0 || fstat(in, &st))
		fail_msg("%s: %s", from, strerror(errno));
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 0777);
	if (out < 0)
		fail_msg("%s: %s", to, strerror(errno));
	while ((got = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)got), got);
	assert_int_equal(got, 0);
	close(in);
	close(out);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int harness__teardown(void **state)
{
	(void)state;
	for (size_t i = child_cnt; i > 0; i--) {
		struct child *child = children[i - 1];

		if (!has_exited(child)) {
			kill(child->pid, SIGKILL);
			waitpid(child->pid, &child->status, 0);
		}
		close(child->in_fd);
		close(child->out_fd);
		close(child->err_fd);
		free(child);
	}
	child_cnt = 0;
	for (size_t i = 0; i < dir_cnt; i++) {
		nftw(dirs[i], remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
		free(dirs[i]);
	}
	dir_cnt = 0;
	report__release_all();
	return 0;
}
