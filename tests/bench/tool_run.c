/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a tracer and takes its times: tool_run LOG READY_TEXT REPORT LIMIT_S CMD [ARG...]
 *
 * The command's output goes to LOG. When READY_TEXT first appears in it, says "ready MS", then
 * "probe MS PID": when its first uprobe link was seen, 0 = never, and who it is. SIGINT to this
 * program is passed on; when the report is there - REPORT is a file that appears, if it begins
 * with '/', else a text in the output - says "report MS", counted from the signal. At the end:
 * "exit STATUS MS PEAK_KB MAPS_KB", MS from the signal too, MAPS_KB the kernel memory of the
 * command's BPF maps before the signal. A command that is not ready, or not gone, within LIMIT_S
 * seconds is killed: its status is 137.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 2
#define START_MS 20
#define MAX_MAPS 256
#define MIN_MAPS 8 /* with fewer it is still trying out what the kernel can do */

struct run {
	const char *ready_text, *report;
	pid_t pid;
	int pipe_fd, signal_fd, log_fd;
	uint64_t limit_ms, start_us, probe_us, ready_us, asked_us, report_us;
	char *text;		    /* all output so far */
	size_t text_len, text_from; /* from: where the output after the signal begins */
	uint64_t maps_bytes;
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void say_ms(const char *what, uint64_t us)
{
	printf("%s %.1f\n", what, (double)us / 1000);
	fflush(stdout);
}

static int run__start(struct run *run, const char *log, char **argv)
{
	sigset_t set, old;
	int fds[2];

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, &old) || pipe2(fds, O_CLOEXEC))
		return -errno;
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	run->log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (run->signal_fd < 0 || run->log_fd < 0)
		return -errno;
	run->pipe_fd = fds[0];
	run->start_us = now_us();
	run->pid = fork();
	if (run->pid < 0)
		return -errno;
	if (!run->pid) {
		signal(SIGINT, SIG_DFL); /* a shell's background job ignores it */
		sigprocmask(SIG_SETMASK, &old, NULL);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execvp(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(fds[1]);
	return 0;
}

/* Returns false at the end of the output. */
static bool run__read(struct run *run)
{
	char chunk[65536];
	ssize_t got = read(run->pipe_fd, chunk, sizeof(chunk));
	char *text;

	if (got <= 0)
		return false;
	if (write(run->log_fd, chunk, (size_t)got) != got)
		return false;
	text = realloc(run->text, run->text_len + (size_t)got + 1);
	if (!text)
		return false;
	memcpy(text + run->text_len, chunk, (size_t)got);
	run->text = text;
	run->text_len += (size_t)got;
	text[run->text_len] = '\0';
	return true;
}

/* Notes when the command holds its maps and a link of a uprobe. */
static void run__find_probe(struct run *run)
{
	size_t maps = 0, links = 0;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)run->pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char text[2048];
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

		text[len > 0 ? len : 0] = '\0';
		maps += strstr(text, "\nmap_id:") != NULL;
		links += strstr(text, "link_type:\tuprobe_multi") ||
			 strstr(text, "link_type:\tperf");
		if (fd >= 0)
			close(fd);
	}
	closedir(dir);
	if (maps >= MIN_MAPS && links)
		run->probe_us = now_us();
}

static void run__look(struct run *run)
{
	if (!run->ready_us && run->text && strstr(run->text, run->ready_text)) {
		run->ready_us = now_us();
		say_ms("ready", run->ready_us - run->start_us);
		printf("probe %.1f %d\n",
		       run->probe_us ? (double)(run->probe_us - run->start_us) / 1000 : 0,
		       (int)run->pid);
		fflush(stdout);
	}
	if (!run->asked_us || run->report_us)
		return;
	if (run->report[0] == '/' ? access(run->report, F_OK) == 0
				  : run->text && strstr(run->text + run->text_from, run->report)) {
		run->report_us = now_us();
		say_ms("report", run->report_us - run->asked_us);
	}
}

/* Adds what /proc/PID/fdinfo tells of one descriptor, unless its map was seen through another one.
 */
static void run__add_map(struct run *run, int dir_fd, const char *name, uint64_t *seen,
			 size_t *seen_cnt)
{
	unsigned long long bytes = 0, id = 0;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	char text[2048], *at;
	ssize_t len;

	if (fd < 0)
		return;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	at = strstr(text, "\nmap_id:");
	if (!at || sscanf(at, " map_id: %llu", &id) != 1)
		return;
	for (size_t i = 0; i < *seen_cnt; i++) {
		if (seen[i] == id)
			return;
	}
	at = strstr(text, "\nmemlock:");
	if (*seen_cnt == MAX_MAPS || !at || sscanf(at, " memlock: %llu", &bytes) != 1)
		return;
	seen[(*seen_cnt)++] = id;
	run->maps_bytes += bytes;
}

static void run__measure_maps(struct run *run)
{
	uint64_t seen[MAX_MAPS];
	size_t seen_cnt = 0;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)run->pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		run__add_map(run, dirfd(dir), entry->d_name, seen, &seen_cnt);
	closedir(dir);
}

static void run__signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (!run->asked_us) {
		run__measure_maps(run);
		run->asked_us = now_us();
		run->text_from = run->text_len;
	}
	kill(run->pid, (int)info.ssi_signo);
}

static bool run__late(const struct run *run)
{
	uint64_t from = run->asked_us ? run->asked_us : run->ready_us ? 0 : run->start_us;

	return from && now_us() - from > run->limit_ms * 1000;
}

static void run__follow(struct run *run)
{
	struct pollfd fds[] = {{run->pipe_fd, POLLIN, 0}, {run->signal_fd, POLLIN, 0}};
	bool open = true;

	while (open) {
		bool starting = !run->ready_us && !run->probe_us;

		poll(fds, 2, run->asked_us ? LOOK_MS : starting ? START_MS : 100);
		if (starting)
			run__find_probe(run);
		if (fds[1].revents & POLLIN)
			run__signal(run);
		if (fds[0].revents)
			open = run__read(run);
		run__look(run);
		if (run__late(run))
			kill(run->pid, SIGKILL);
	}
}

int main(int argc, char **argv)
{
	struct run run = {};
	struct rusage usage;
	int status, err;

	if (argc < 6) {
		fprintf(stderr, "usage: tool_run LOG READY_TEXT REPORT LIMIT_S CMD [ARG...]\n");
		return 2;
	}
	run.ready_text = argv[2];
	run.report = argv[3];
	run.limit_ms = strtoul(argv[4], NULL, 10) * 1000;
	err = run__start(&run, argv[1], argv + 5);
	if (err) {
		fprintf(stderr, "tool_run: %s\n", strerror(-err));
		return 1;
	}
	run__follow(&run);
	if (wait4(run.pid, &status, 0, &usage) < 0)
		return 1;
	run__look(&run);
	printf("exit %d %.1f %ld %ju\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
	       (double)(now_us() - (run.asked_us ? run.asked_us : run.start_us)) / 1000,
	       usage.ru_maxrss, (uintmax_t)(run.maps_bytes / 1024));
	free(run.text);
	return 0;
}
