/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bad situations: one clear sentence on stderr, nothing on stdout, a non-zero exit; and nothing
 * left behind. */
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/harness.h"
#include "lib/holdings.h"

#define NOBODY 65534
#define MAX_IDS 65536

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static size_t count_lines(const char *text)
{
	size_t cnt = 0;

	for (; *text; text++)
		cnt += *text == '\n';
	return cnt;
}

/* Checks a tool that should end by itself with `code`. Returns what it said, owned. */
static char *check_error_of(struct child *tool, int code)
{
	int status = child__await_exit(tool, TIMEOUT_MS);
	char *out = child__stdout(tool), *err = child__stderr(tool);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail_msg("status 0x%x instead of exit code %d: %s", status, code, err);
	if (*out)
		fail_msg("stdout is not empty: %.500s", out);
	if (count_lines(err) != 1 || err[strlen(err) - 1] != '\n')
		fail_msg("not exactly one line on stderr: %s", err);
	if (strncmp(err, "leaksweep: ", 11))
		fail_msg("the line does not say who speaks: %s", err);
	free(out);
	return err;
}

static void check_error(const char *const *args, int code)
{
	free(check_error_of(tool__start(args, NULL), code));
}

/* The same, and the sentence has `part` in it. */
static void check_error_says(const char *const *args, int code, const char *part)
{
	char *err = check_error_of(tool__start(args, NULL), code);

	if (!strstr(err, part))
		fail_msg("\"%s\" is not in: %s", part, err);
	free(err);
}

static void test_bad_options(void **state)
{
	(void)state;
	check_error_says(ARGS("trace", "--no-such-option", "-p", "1"), EXIT_USAGE,
			 "no-such-option");
	check_error_says(ARGS("no-such-command"), EXIT_USAGE, "no-such-command");
	check_error(ARGS("trace"), EXIT_USAGE);
	check_error(ARGS("trace", "-p"), EXIT_USAGE);
	check_error(ARGS("trace", "--"), EXIT_USAGE);
	check_error_says(ARGS("trace", "-p", "one"), EXIT_USAGE, "one");
	check_error(ARGS("trace", "-p", ""), EXIT_USAGE);
	check_error(ARGS("trace", "-p", "-5"), EXIT_USAGE);
	check_error(ARGS("trace", "-p", "99999999999999999999"), EXIT_USAGE);
	check_error(ARGS("trace", "-p", "1,,2"), EXIT_USAGE);
}

static void test_bad_option_values(void **state)
{
	static const char *const bad[][2] = {
		{"--duration", "10 parsecs"},
		{"--duration", "-1s"},
		{"--interval", "soon"},
		{"--min-size", "64Q"},
		{"--min-size", "-1"},
		{"--max-size", ""},
		{"--sample-bytes", "x"},
		{"--format", "papyrus"},
		{"--sort", "colour"},
		{"--group-by", "mood"},
		{"--top", "-3"},
		{"--top", "ten"},
		{"--min-age", "old"},
		{"--max-blocks", "many"},
		{"--max-stacks", "-1"},
		{"--memory", "much"},
		{"--memory", "139M"},
		{"--alloc-fn", "my_alloc:size=first"},
		{"--alloc-fn", ""},
		{"--alloc-fn", "f:width=1"},
	};
	char pid[16];

	(void)state;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		print_message("  %s '%s'\n", bad[i][0], bad[i][1]);
		check_error_says(ARGS("trace", "-p", pid, bad[i][0], bad[i][1]), EXIT_USAGE,
				 bad[i][0]);
	}
	check_error(ARGS("trace", "-p", pid, "--min-size", "2000", "--max-size", "1000"),
		    EXIT_USAGE);
}

/* A copy that nobody may run as nobody: the build folder may be closed to others. */
static void test_not_root(void **state)
{
	char *from = tool_path(), *to = format("%s/leaksweep", scratch_dir()), *err;
	const struct child_opts opts = {.uid = NOBODY};
	char pid[16];

	(void)state;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	copy_file(from, to);
	err = check_error_of(child__start(ARGS(to, "trace", "-p", pid), &opts), EXIT_FAILED);
	if (!strstr(err, "root") && !strstr(err, "CAP_"))
		fail_msg("it does not say that root is needed: %s", err);
	free(err);
	free(from);
	free(to);
}

/* There the kernel's numbers of processes are not those that are seen. */
static void test_foreign_pid_namespace(void **state)
{
	static const char unshare[] = "/usr/bin/unshare";
	char *tool = tool_path(), *err;

	(void)state;
	if (access(unshare, X_OK)) {
		print_message("skipped: %s is not here\n", unshare);
		skip();
	}
	err = check_error_of(
		child__start(ARGS(unshare, "--pid", "--fork", "--mount-proc", tool, "trace", "-a"),
			     NULL),
		EXIT_FAILED);
	if (!strstr(err, "PID namespace"))
		fail_msg("it does not say why: %s", err);
	free(err);
	free(tool);
}

static void test_no_such_process(void **state)
{
	struct child *gone = leaker__start(ARGS("alloc", "idle", "now"), NULL);
	char *pid = format("%d", (int)gone->pid);

	(void)state;
	child__await_exit(gone, TIMEOUT_MS);
	check_error_says(ARGS("trace", "-p", pid), EXIT_FAILED, pid);
	check_error(ARGS("trace", "-p", "4194303"), EXIT_FAILED);
	check_error_says(ARGS("trace", "--comm", "no-such-name-1"), EXIT_FAILED, "no-such-name-1");
	check_error_says(ARGS("trace", "--cgroup", "/no/such/cgroup"), EXIT_FAILED,
			 "/no/such/cgroup");
	free(pid);
}

/* Returns a process with the kernel's PF_KTHREAD flag, 0 when there is none to be seen. */
static int find_kernel_thread(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	assert_non_null(dir);
	while (!found && (entry = readdir(dir))) {
		char *path = format("/proc/%s/stat", entry->d_name), line[1024] = "", *after;
		FILE *file = atoi(entry->d_name) > 0 ? fopen(path, "re") : NULL;
		unsigned int flags = 0;

		free(path);
		if (!file)
			continue;
		if (fgets(line, sizeof(line), file) && (after = strrchr(line, ')')) &&
		    sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
		    flags & 0x00200000)
			found = atoi(entry->d_name);
		fclose(file);
	}
	closedir(dir);
	return found;
}

static void test_kernel_thread(void **state)
{
	char pid[16];
	int thread = find_kernel_thread();

	(void)state;
	if (!thread) {
		print_message("skipped: no kernel thread to be seen here\n");
		skip();
	}
	snprintf(pid, sizeof(pid), "%d", thread);
	check_error_says(ARGS("trace", "-p", pid), EXIT_FAILED, "kernel thread");
}

static void test_32_bit_process(void **state)
{
	char *path = leaker_path("tiny32"), *pid;
	struct child *child;

	(void)state;
	if (access(path, X_OK)) {
		print_message("skipped: no 32-bit program was built here\n");
		skip();
	}
	child = child__start(ARGS(path), NULL);
	sleep_ms(200);
	pid = child__stdout(child);
	if (strcmp(pid, "READY\n")) {
		print_message("skipped: this kernel does not run 32-bit programs\n");
		skip();
	}
	free(pid);
	pid = format("%d", (int)child->pid);
	check_error_says(ARGS("trace", "-p", pid), EXIT_FAILED, "32");
	assert_int_equal(waitpid(child->pid, NULL, WNOHANG), 0); /* and it lives on */
	free(pid);
	free(path);
}

static void test_command_that_cannot_run(void **state)
{
	const char *dir = scratch_dir();
	char *script = format("%s/not-a-program", dir);
	FILE *file = fopen(script, "we");

	(void)state;
	assert_non_null(file);
	fputs("neither ELF nor script\n", file);
	fclose(file);
	check_error_says(ARGS("trace", "--", "no-such-command-anywhere"), EXIT_FAILED,
			 "no-such-command-anywhere");
	check_error(ARGS("trace", "--", script), EXIT_FAILED);
	check_error(ARGS("trace", "--", dir), EXIT_FAILED);
	free(script);
}

/* Found out before anything is traced. */
static void test_output_not_writable(void **state)
{
	struct child *leaker = leaker__start(ARGS("alloc", "malloc"), NULL);
	char *pid = format("%d", (int)leaker->pid), *dir = format("%s", scratch_dir());

	(void)state;
	check_error_says(ARGS("trace", "-p", pid, "-o", "/no/such/folder/report"), EXIT_FAILED,
			 "/no/such/folder/report");
	check_error_says(ARGS("trace", "-p", pid, "-o", dir), EXIT_FAILED, dir);
	free(dir);
	free(pid);
}

/* Whatever the tool wrote to stderr before, the end is one sentence about the full disk and a
 * failure. */
static void check_disk_full(const char *const *args, const struct child_opts *opts)
{
	struct child *tool = tool__start(args, opts);
	int status = child__await_exit(tool, TIMEOUT_MS);
	char *err = child__stderr(tool);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_FAILED)
		fail_msg("status 0x%x: %s", status, err);
	if (!strstr(err, "space"))
		fail_msg("it does not say that the device is full: %s", err);
	free(err);
}

static void test_disk_full(void **state)
{
	struct child *leaker = leaker__start(ARGS("alloc", "malloc"), NULL);
	char *pid = format("%d", (int)leaker->pid);
	const struct child_opts full = {.out_path = "/dev/full"};

	(void)state;
	check_disk_full(ARGS("trace", "-p", pid, "--duration", "300ms", "-o", "/dev/full"), NULL);
	check_disk_full(ARGS("trace", "-p", pid, "--duration", "300ms"), &full);
	check_disk_full(ARGS("trace", "-p", pid, "--duration", "300ms", "--format", "json"), &full);
	child__poke(leaker);
	free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
	leaker__finish(leaker);
	free(pid);
}

/* ---- nothing is left behind
 * ------------------------------------------------------------------------------ */

struct ids {
	uint32_t items[MAX_IDS];
	size_t cnt;
};

/* Lists the ids of all BPF programs or links of the host. */
static void list_bpf(int cmd, struct ids *ret)
{
	union bpf_attr attr;
	uint32_t id = 0;

	ret->cnt = 0;
	for (;;) {
		memset(&attr, 0, sizeof(attr));
		attr.start_id = id;
		if (syscall(SYS_bpf, cmd, &attr, sizeof(attr)) || ret->cnt == MAX_IDS)
			return;
		id = attr.next_id;
		ret->items[ret->cnt++] = id;
	}
}

static bool ids__has(const struct ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->cnt; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

/* How many of `now` are in `during` but not in `before`: those that came with the tool and are
 * still there. */
static size_t count_left(const struct ids *before, const struct ids *during, const struct ids *now)
{
	size_t cnt = 0;

	for (size_t i = 0; i < now->cnt; i++)
		cnt += ids__has(during, now->items[i]) && !ids__has(before, now->items[i]);
	return cnt;
}

/* Waits until what came with the tool is gone; the kernel needs a moment to put the last
 * references. */
static void check_all_gone(int cmd, const struct ids *before, const struct ids *during)
{
	static struct ids now;

	for (int i = 0; i < 500; i++) {
		list_bpf(cmd, &now);
		if (!count_left(before, during, &now))
			return;
		sleep_ms(20);
	}
	fail_msg("%zu BPF objects are still there", count_left(before, during, &now));
}

static void test_killed_tool_leaves_nothing(void **state)
{
	static struct ids progs_before, progs_during, links_before, links_during;
	struct run run = {0};
	struct expects expects;

	(void)state;
	list_bpf(BPF_PROG_GET_NEXT_ID, &progs_before);
	list_bpf(BPF_LINK_GET_NEXT_ID, &links_before);
	run = run__begin(ARGS("threads", "handoff"), NO_ARGS, NULL);
	list_bpf(BPF_PROG_GET_NEXT_ID, &progs_during);
	list_bpf(BPF_LINK_GET_NEXT_ID, &links_during);
	assert_true(progs_during.cnt > progs_before.cnt);
	child__poke(run.leaker);
	sleep_ms(100); /* in the middle of its work */
	kill(run.tool->pid, SIGKILL);
	child__await_exit(run.tool, TIMEOUT_MS);
	tool_processes__await_gone();
	check_all_gone(BPF_LINK_GET_NEXT_ID, &links_before, &links_during);
	check_all_gone(BPF_PROG_GET_NEXT_ID, &progs_before, &progs_during);
	free(child__await_line(run.leaker, run.leaker->out_fd, "DONE", LONG_MS));
	expects = expects__read(run.leaker);
	assert_int_equal(expects.cnt, 1);
	leaker__finish(run.leaker);
}

/* The command that the tool started goes on without it. */
static void test_killed_tool_leaves_its_command_running(void **state)
{
	const char *dir = scratch_dir();
	char *out = format("%s/report", dir), *path = leaker_path("alloc"), *ready;
	struct child *tool = tool__start(ARGS("trace", "-o", out, "--", path, "all"), NULL);
	struct dirent *entry;
	DIR *files;
	int pid;

	(void)state;
	ready = child__await_line(tool, tool->out_fd, "READY", TIMEOUT_MS);
	pid = atoi(ready + 6);
	assert_true(pid > 0);
	kill(tool->pid, SIGKILL);
	child__await_exit(tool, TIMEOUT_MS);
	child__poke(tool);
	for (int i = 0; i < 5000 && !strstr(ready, "DONE"); i++) {
		free(ready);
		ready = child__stdout(tool);
		sleep_ms(2);
	}
	assert_non_null(strstr(ready, "DONE"));
	child__poke(tool);
	for (int i = 0; i < 5000 && !kill(pid, 0); i++)
		sleep_ms(2);
	assert_int_equal(kill(pid, 0), -1);
	files = opendir(dir);
	assert_non_null(files);
	while ((entry = readdir(files)))
		if (*entry->d_name != '.')
			fail_msg("%s was left behind", entry->d_name);
	closedir(files);
	free(ready);
	free(path);
	free(out);
}

/* Also when the kill hits while the probes are being placed, at whatever moment. */
static void test_killed_while_starting(void **state)
{
	(void)state;
	for (int ms = 0; ms < 200; ms += 10) {
		struct child *leaker = leaker__start(ARGS("alloc", "all"), NULL), *tool;
		char *pid = format("%d", (int)leaker->pid);

		tool = tool__start(ARGS("trace", "-p", pid, "--cache-dir", "none"), NULL);
		sleep_ms(ms);
		kill(tool->pid, SIGKILL);
		child__await_exit(tool, TIMEOUT_MS);
		tool_processes__await_gone();
		child__poke(leaker);
		free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
		leaker__finish(leaker);
		free(pid);
	}
}

static bool is_tracing(const struct child *tool)
{
	char *err = child__stderr(tool);
	bool tracing = strstr(err, "leaksweep: tracing");

	free(err);
	return tracing;
}

static bool is_stopped(pid_t pid)
{
	char *path = format("/proc/%d/stat", (int)pid), line[256] = "", *end;
	FILE *file = fopen(path, "re");
	bool stopped = file && fgets(line, sizeof(line), file) && (end = strrchr(line, ')')) &&
		       end[2] == 'T';

	if (file)
		fclose(file);
	free(path);
	return stopped;
}

/* Stops a child of the tool in the middle of its job. Returns false when it was too late for any.
 */
static bool stop_a_job(const struct child *tool)
{
	for (int i = 0; i < TIMEOUT_MS && !is_tracing(tool); i++) {
		pid_t job = tool_job__find(tool->pid);

		if (!job) {
			sleep_ms(1);
			continue;
		}
		kill(job, SIGSTOP);
		for (int k = 0; k < 1000 && tool_job__find(tool->pid) == job; k++) {
			if (is_stopped(job))
				return true;
			sleep_ms(1);
		}
	}
	return false;
}

/* A child that compiles tables then, and would never end by itself, ends with it. */
static void test_killed_while_compiling(void **state)
{
	struct child *tool = tool__start(ARGS("trace", "-a", "--cache-dir", "none"), NULL);

	(void)state;
	if (!stop_a_job(tool))
		fail_msg("no child of the tool was seen to compile: %s", child__stderr(tool));
	kill(tool->pid, SIGKILL);
	child__await_exit(tool, TIMEOUT_MS);
	tool_processes__await_gone();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_bad_options),
		E2E_TEST(test_bad_option_values),
		E2E_TEST(test_not_root),
		E2E_TEST(test_foreign_pid_namespace),
		E2E_TEST(test_no_such_process),
		E2E_TEST(test_kernel_thread),
		E2E_TEST(test_32_bit_process),
		E2E_TEST(test_command_that_cannot_run),
		E2E_TEST(test_output_not_writable),
		E2E_TEST(test_disk_full),
		E2E_TEST(test_killed_tool_leaves_nothing),
		E2E_TEST(test_killed_tool_leaves_its_command_running),
		E2E_TEST(test_killed_while_starting),
		E2E_TEST(test_killed_while_compiling),
	};

	return harness__main("e2e errors", tests, sizeof(tests) / sizeof(tests[0]));
}
