/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A report arrives whole or not at all, and the last one survives whatever goes wrong. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/publish.h"
#include "engine/report_file.h"

static char *work_dir;

/* What the fake renderer writes. */
static const char *report_text = "";
static int report_err;

static int fake_report(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	(void)profile;
	(void)opts;
	fputs(report_text, out);
	return report_err;
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
	report_text = "";
	report_err = 0;
	signal(SIGPIPE, SIG_IGN);
	if (asprintf(&work_dir, "%s/leaksweep-unit-XXXXXX", base ? base : "/tmp") < 0)
		return -1;
	return mkdtemp(work_dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	nftw(work_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(work_dir);
	return 0;
}

/* Returns an owned path in the test's folder. */
static char *path_of(const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	return path;
}

static void write_old(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void check_content(const char *path, const char *want)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t cap = 0;
	ssize_t len;

	assert_non_null(file);
	len = getdelim(&text, &cap, '\0', file);
	fclose(file);
	assert_string_equal(len < 0 ? "" : text, want);
	free(text);
}

/* Entries of the test's folder: no temporary file may be left there. */
static size_t count_files(void)
{
	DIR *dir = opendir(work_dir);
	struct dirent *entry;
	size_t cnt = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		cnt += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(dir);
	return cnt;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Publishes one empty snapshot with `text` as its report. */
static int publish_to(const char *path, int fd, const char *text)
{
	struct publish_opts opts = {.path = path, .fd = fd, .report = fake_report};
	struct publisher *publisher = publisher__new(&opts);
	int64_t live_bytes = -1;
	int err;

	assert_non_null(publisher);
	report_text = text;
	err = publisher__publish(publisher, snapshot__new("trace"), &live_bytes);
	assert_int_equal(live_bytes, err ? -1 : 0);
	publisher__free(publisher);
	return err;
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static void test_new_file(void **state)
{
	char *path = path_of("report");
	mode_t mask = umask(027);

	(void)state;
	assert_int_equal(publish_to(path, -1, "first\n"), 0);
	check_content(path, "first\n");
	assert_int_equal(mode_of(path), 0640);
	assert_int_equal(umask(mask), 027);
	assert_int_equal(count_files(), 1);
	free(path);
}

static void test_replaced_at_once(void **state)
{
	char *path = path_of("report"), buf[32] = "";
	struct stat before, after;
	int fd;

	(void)state;
	write_old(path, "old\n");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(stat(path, &before), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(publish_to(path, -1, "new\n"), 0);
	check_content(path, "new\n");
	/* whoever was reading still reads the old one, whole */
	assert_int_equal(read(fd, buf, sizeof(buf)), 4);
	assert_string_equal(buf, "old\n");
	close(fd);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	/* nobody can read it who could not before */
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(count_files(), 1);
	free(path);
}

static void test_owner_stays(void **state)
{
	struct stat st;
	char *path;

	(void)state;
	if (geteuid())
		skip();
	path = path_of("report");
	write_old(path, "old\n");
	assert_int_equal(chown(path, 1234, 5678), 0);
	assert_int_equal(publish_to(path, -1, "new\n"), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 5678);
	free(path);
}

static void test_current_folder(void **state)
{
	char *cwd = getcwd(NULL, 0), *path = path_of("report");

	(void)state;
	assert_non_null(cwd);
	assert_int_equal(chdir(work_dir), 0);
	assert_int_equal(publish_to("report", -1, "here\n"), 0);
	assert_int_equal(chdir(cwd), 0);
	check_content(path, "here\n");
	assert_int_equal(count_files(), 1);
	free(path);
	free(cwd);
}

static void test_repeated(void **state)
{
	char *path = path_of("report");
	struct publish_opts opts = {.path = path, .report = fake_report};
	struct publisher *publisher = publisher__new(&opts);

	(void)state;
	assert_non_null(publisher);
	for (unsigned int i = 0; i < 5; i++) {
		report_text = i % 2 ? "odd\n" : "even\n";
		assert_int_equal(publisher__publish(publisher, snapshot__new("trace"), NULL), 0);
		check_content(path, report_text);
	}
	publisher__free(publisher);
	publisher__free(NULL);
	assert_int_equal(count_files(), 1);
	free(path);
}

/* ---- what can go wrong ---------------------------------------------------------------------------------------- */

/* The file system takes so much and no more. */
static void test_no_room(void **state)
{
	struct rlimit saved, limit;
	char *path = path_of("report"), *big = malloc(100001);
	int err;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', 100000);
	big[100000] = '\0';
	write_old(path, "old\n");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	limit = saved;
	limit.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	err = publish_to(path, -1, big);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
	assert_int_equal(err, -EFBIG);
	check_content(path, "old\n");
	assert_int_equal(count_files(), 1);
	free(big);
	free(path);
}

/* Through a link: should the device ever be taken for a file, only the link is replaced. */
static void test_full_device(void **state)
{
	char *full = path_of("full"), *null = path_of("null");

	(void)state;
	assert_int_equal(symlink("/dev/full", full), 0);
	assert_int_equal(symlink("/dev/null", null), 0);
	assert_int_equal(report_file__check(full), 0);
	assert_int_equal(publish_to(full, -1, "report\n"), -ENOSPC);
	assert_int_equal(publish_to(null, -1, "report\n"), 0);
	check_content(null, "");
	assert_int_equal(count_files(), 2);
	free(full);
	free(null);
}

static void test_no_such_folder(void **state)
{
	char *path = path_of("missing/report");

	(void)state;
	assert_int_equal(publish_to(path, -1, "report\n"), -ENOENT);
	assert_int_equal(count_files(), 0);
	free(path);
}

static void test_target_is_a_folder(void **state)
{
	char *path = path_of("folder");

	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(publish_to(path, -1, "report\n"), -EISDIR);
	assert_int_equal(count_files(), 1);
	free(path);
}

static void test_renderer_fails(void **state)
{
	char *path = path_of("report");

	(void)state;
	write_old(path, "old\n");
	report_err = -EIO;
	assert_int_equal(publish_to(path, -1, "half a rep"), -EIO);
	check_content(path, "old\n");
	assert_int_equal(count_files(), 1);
	free(path);
}

/* Runs `what` in a child and returns its exit status, 255 = it could not be set up. */
static int in_child(int (*what)(const char *path), const char *path)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(what(path));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define NOT_POSSIBLE 255

static int without_rights(const char *path)
{
	int err;

	if (!geteuid() && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return NOT_POSSIBLE;
	err = report_file__check(path);
	return err ? -err : -publish_to(path, -1, "new\n");
}

static void test_read_only_folder(void **state)
{
	char *path = path_of("report"), *missing = path_of("other");

	(void)state;
	write_old(path, "old\n");
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chmod(work_dir, 0555), 0);
	assert_int_equal(in_child(without_rights, path), EACCES);
	assert_int_equal(in_child(without_rights, missing), EACCES);
	assert_int_equal(chmod(work_dir, 0777), 0);
	assert_int_equal(in_child(without_rights, missing), 0);
	check_content(missing, "new\n");
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(in_child(without_rights, path), EACCES);
	check_content(path, "old\n");
	assert_int_equal(count_files(), 2);
	free(path);
	free(missing);
}

static int onto_mount_point(const char *path)
{
	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(path, path, NULL, MS_BIND, NULL))
		return NOT_POSSIBLE;
	return report_file__check(path) ? 1 : -publish_to(path, -1, "new\n");
}

/* A single file that is mounted into a container cannot be replaced by another: it is overwritten. */
static void test_mount_point(void **state)
{
	char *path = path_of("report");
	int status;

	(void)state;
	write_old(path, "a longer old report\n");
	status = in_child(onto_mount_point, path);
	if (status == NOT_POSSIBLE) {
		free(path);
		skip();
	}
	assert_int_equal(status, 0);
	check_content(path, "new\n");
	assert_int_equal(count_files(), 1);
	free(path);
}

/* ---- descriptors, pipes, devices ------------------------------------------------------------------------------ */

static void test_descriptor(void **state)
{
	int fds[2];
	char buf[32] = "";

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(publish_to(NULL, fds[1], "report\n"), 0);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 7);
	assert_string_equal(buf, "report\n");
	close(fds[0]);
	assert_int_equal(publish_to(NULL, fds[1], "report\n"), -EPIPE);
	close(fds[1]);
	assert_int_equal(publish_to(NULL, -1, "report\n"), -EBADF);
}

static void test_fifo(void **state)
{
	char *path = path_of("fifo"), buf[32] = "";
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(report_file__check(path), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(publish_to(path, -1, "report\n"), 0);
	assert_int_equal(read(fd, buf, sizeof(buf)), 7);
	assert_string_equal(buf, "report\n");
	assert_int_equal(read(fd, buf, sizeof(buf)), 0); /* closed: the reader sees the end */
	close(fd);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(count_files(), 1);
	free(path);
}

/* More than a pipe holds, to a reader that is slow and interrupts us all the time. */
static void count_alarms(int signal)
{
	(void)signal;
}

static void test_big_report_through_a_pipe(void **state)
{
	struct sigaction action = {.sa_handler = count_alarms}, saved;
	const size_t len = 1 << 20;
	char *big = malloc(len + 1);
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', len);
	big[len] = '\0';
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sigaction(SIGUSR1, &action, &saved);
	pid = fork();
	if (!pid) {
		size_t got = 0;
		ssize_t part;
		char buf[9973];

		close(fds[1]);
		/* the pipe is full: the first signal cuts the write short, the others find it without a byte */
		for (unsigned int i = 0; i < 20; i++) {
			usleep(2000);
			kill(getppid(), SIGUSR1);
		}
		while ((part = read(fds[0], buf, sizeof(buf))) > 0) {
			kill(getppid(), SIGUSR1);
			got += part;
		}
		_exit(got == len ? 0 : 1);
	}
	assert_true(pid > 0);
	close(fds[0]);
	assert_int_equal(publish_to(NULL, fds[1], big), 0);
	close(fds[1]);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(status, 0);
	sigaction(SIGUSR1, &saved, NULL);
	free(big);
}

/* ---- the check beforehand ------------------------------------------------------------------------------------- */

static void test_check_path(void **state)
{
	char *file = path_of("file"), *new = path_of("new"), *folder = path_of("folder");
	char *in_folder = path_of("folder/new"), *in_missing = path_of("missing/new"), *in_file = path_of("file/new");
	char *slash = path_of("new/"), *file_slash = path_of("file/"), *link_path = path_of("link");
	char *loop = path_of("loop"), *long_name;

	(void)state;
	assert_int_equal(mkdir(folder, 0755), 0);
	write_old(file, "old\n");
	assert_int_equal(symlink("nowhere", link_path), 0);
	assert_int_equal(symlink("loop", loop), 0);
	assert_true(asprintf(&long_name, "%s/%0300d", work_dir, 1) > 0);

	assert_int_equal(report_file__check(file), 0);
	assert_int_equal(report_file__check(new), 0);
	assert_int_equal(report_file__check(in_folder), 0);
	assert_int_equal(report_file__check(link_path), 0);
	assert_int_equal(report_file__check("/dev/null"), 0);
	assert_int_equal(report_file__check("/dev/full"), 0);

	assert_int_equal(report_file__check(folder), -EISDIR);
	assert_int_equal(report_file__check("/"), -EISDIR);
	assert_int_equal(report_file__check("."), -EISDIR);
	assert_int_equal(report_file__check(slash), -EISDIR);
	assert_int_equal(report_file__check(file_slash), -ENOTDIR);
	assert_int_equal(report_file__check(in_file), -ENOTDIR);
	assert_int_equal(report_file__check(in_missing), -ENOENT);
	assert_int_equal(report_file__check(""), -ENOENT);
	assert_int_equal(report_file__check(loop), -ELOOP);
	assert_int_equal(report_file__check(long_name), -ENAMETOOLONG);

	/* it was only a question */
	check_content(file, "old\n");
	assert_int_equal(access(new, F_OK), -1);
	assert_int_equal(access(in_folder, F_OK), -1);
	assert_int_equal(count_files(), 4);

	free(file);
	free(new);
	free(folder);
	free(in_folder);
	free(in_missing);
	free(in_file);
	free(slash);
	free(file_slash);
	free(link_path);
	free(loop);
	free(long_name);
}

static void test_check_socket(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char *path = path_of("socket");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(fd >= 0 && strlen(path) < sizeof(addr.sun_path));
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(report_file__check(path), -ENXIO);
	close(fd);
	free(path);
}

/* What the check promises, publishing keeps. */
static void test_check_agrees(void **state)
{
	static const char *const names[] = {"new", "file", "file/new", "folder", "missing/new", "new/", "folder/new"};
	char *file = path_of("file"), *folder = path_of("folder");

	(void)state;
	assert_int_equal(mkdir(folder, 0755), 0);
	write_old(file, "old\n");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = path_of(names[i]);
		bool promised = !report_file__check(path);

		assert_int_equal(publish_to(path, -1, "text\n") == 0, promised);
		free(path);
	}
	free(file);
	free(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_new_file),
		TEST(test_replaced_at_once),
		TEST(test_owner_stays),
		TEST(test_current_folder),
		TEST(test_repeated),
		TEST(test_no_room),
		TEST(test_full_device),
		TEST(test_no_such_folder),
		TEST(test_target_is_a_folder),
		TEST(test_renderer_fails),
		TEST(test_read_only_folder),
		TEST(test_mount_point),
		TEST(test_descriptor),
		TEST(test_fifo),
		TEST(test_big_report_through_a_pipe),
		TEST(test_check_path),
		TEST(test_check_socket),
		TEST(test_check_agrees),
	};

	return cmocka_run_group_tests_name("engine publish", tests, NULL, NULL);
}
