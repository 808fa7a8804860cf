/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/holdings.h"

#include <dirent.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/harness.h"

#define GONE_TRIES 500
#define GONE_PAUSE_MS 20

/* Calls `take` with the owned path of each entry of a folder below /proc/PID. */
static void each_entry(pid_t pid, const char *folder, void (*take)(const char *path, void *arg),
		       void *arg)
{
	char *dir = format("/proc/%d/%s", (int)pid, folder);
	DIR *entries = opendir(dir);
	struct dirent *entry;

	if (!entries)
		fail_msg("%s cannot be read", dir);
	while ((entry = readdir(entries))) {
		char *path = format("%s/%s", dir, entry->d_name);

		if (*entry->d_name != '.')
			take(path, arg);
		free(path);
	}
	closedir(entries);
	free(dir);
}

static uint64_t read_rss_kib(pid_t pid)
{
	char *rss = process_status(pid, "VmRSS:");
	uint64_t kib;

	if (!rss)
		fail_msg("process %d is gone", (int)pid);
	kib = strtoull(rss, NULL, 10);
	free(rss);
	return kib;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

struct identity {
	uint64_t dev, ino;
};

struct survey {
	struct holdings sums;
	struct identity *files;
};

static void take_descriptor(const char *path, void *arg)
{
	struct survey *survey = arg;
	struct identity *files;
	struct stat st;

	if (stat(path, &st))
		return; /* closed meanwhile */
	if (!S_ISREG(st.st_mode)) {
		survey->sums.others++;
		return;
	}
	for (size_t i = 0; i < survey->sums.files; i++) {
		if (survey->files[i].dev != st.st_dev || survey->files[i].ino != st.st_ino)
			continue;
		survey->sums.files_again++;
		return;
	}
	files = realloc(survey->files, (survey->sums.files + 1) * sizeof(*files));
	assert_non_null(files);
	files[survey->sums.files++] = (struct identity){st.st_dev, st.st_ino};
	survey->files = files;
}

struct holdings holdings__read(pid_t pid)
{
	struct survey survey = {.sums.rss_kib = read_rss_kib(pid)};

	each_entry(pid, "fd", take_descriptor, &survey);
	free(survey.files);
	return survey.sums;
}

/* ---- BPF objects ---------------------------------------------------------------------------- */

static const struct {
	const char *field; /* of fdinfo */
	int cmd;
} kinds[BPF_KIND_MAX] = {
	[BPF_KIND_LINK] = {"link_id:", BPF_LINK_GET_FD_BY_ID},
	[BPF_KIND_PROG] = {"prog_id:", BPF_PROG_GET_FD_BY_ID},
	[BPF_KIND_MAP] = {"map_id:", BPF_MAP_GET_FD_BY_ID},
};

static void take_object(const char *path, void *arg)
{
	struct bpf_objects *objects = arg;
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	while (file && getline(&line, &cap, file) > 0)
		for (int kind = 0; kind < BPF_KIND_MAX; kind++) {
			size_t len = strlen(kinds[kind].field);

			if (strncmp(line, kinds[kind].field, len))
				continue;
			assert_true(objects->cnt < MAX_BPF_OBJECTS);
			objects->items[objects->cnt++] = (struct bpf_object_id){
				kind, (uint32_t)strtoul(line + len, NULL, 10)};
			objects->cnt_of[kind]++;
		}
	if (file)
		fclose(file);
	free(line);
}

void bpf_objects__read(pid_t pid, struct bpf_objects *ret)
{
	memset(ret, 0, sizeof(*ret));
	each_entry(pid, "fdinfo", take_object, ret);
}

static bool is_there(const struct bpf_object_id *object)
{
	union bpf_attr attr = {.prog_id = object->id}; /* map_id and link_id lie there, too */
	int fd = (int)syscall(SYS_bpf, kinds[object->kind].cmd, &attr, sizeof(attr));

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void bpf_objects__await_gone(const struct bpf_objects *objects)
{
	size_t left = objects->cnt;

	for (int i = 0; i < GONE_TRIES && left; i++) {
		left = 0;
		for (size_t k = 0; k < objects->cnt; k++)
			left += is_there(&objects->items[k]);
		if (left)
			sleep_ms(GONE_PAUSE_MS);
	}
	if (left)
		fail_msg("%zu of %zu BPF objects are still there", left, objects->cnt);
}

/* ---- processes ------------------------------------------------------------------------------ */

/* Returns a line of a file of /proc/PID that begins with `prefix` (NULL: the first), owned; NULL
 * when there is none, or no such process any more. */
static char *proc_line(pid_t pid, const char *name, const char *prefix)
{
	char *path = format("/proc/%d/%s", (int)pid, name), *line = NULL;
	FILE *file = fopen(path, "re");
	bool found = false;
	size_t cap = 0;

	while (file && !found && getline(&line, &cap, file) > 0)
		found = !prefix || !strncmp(line, prefix, strlen(prefix));
	if (file)
		fclose(file);
	free(path);
	if (found)
		return line;
	free(line);
	return NULL;
}

/* Whether the process runs the tool's program; one that has ended runs nothing. */
static bool runs_tool(pid_t pid)
{
	char *exe = format("/proc/%d/exe", (int)pid), *tool = tool_path();
	struct stat want, st;
	bool same = !stat(tool, &want) && !stat(exe, &st) && want.st_dev == st.st_dev &&
		    want.st_ino == st.st_ino;

	free(tool);
	free(exe);
	return same;
}

/* Reads the parent and the process group, fields 4 and 5 of proc(5). */
static bool read_relatives(pid_t pid, int *ret_parent, int *ret_group)
{
	char *line = proc_line(pid, "stat", NULL), *end = line ? strrchr(line, ')') : NULL;
	bool done = end && sscanf(end + 1, " %*c %d %d", ret_parent, ret_group) == 2;

	free(line);
	return done;
}

/* Returns a process of this one's group that runs the tool, only a child of `parent` unless that is
 * 0; or 0. */
static pid_t find_tool(pid_t parent)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	assert_non_null(dir);
	while (!found && (entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);
		int its_parent, group;

		if (pid > 0 && read_relatives(pid, &its_parent, &group) && group == getpgrp() &&
		    (!parent || its_parent == parent) && runs_tool(pid))
			found = pid;
	}
	closedir(dir);
	return found;
}

pid_t tool_job__find(pid_t tool)
{
	pid_t pid = find_tool(tool);
	char *own = proc_line(tool, "limits", "Max cpu time"),
	     *limited = pid ? proc_line(pid, "limits", "Max cpu time") : NULL;
	bool is_ready = own && limited && strcmp(own, limited) != 0;

	free(limited);
	free(own);
	return is_ready ? pid : 0;
}

void tool_processes__await_gone(void)
{
	pid_t left = find_tool(0);

	for (int i = 0; i < GONE_TRIES && left; i++) {
		sleep_ms(GONE_PAUSE_MS);
		left = find_tool(0);
	}
	if (!left)
		return;
	kill(left, SIGKILL);
	fail_msg("process %d of the tool was left behind", (int)left);
}
