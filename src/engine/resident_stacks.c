/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/resident_stacks.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/format.h"
#include "util/procfs_read.h"

#define MAX_THREADS 4096

/* "running", "-1 SP PC", or "NR ARG1 ... ARG6 SP PC": the last number but one, in hexadecimal. */
int stack_pointer__parse(const char *text, uint64_t *ret)
{
	const char *end = strrchr(text, ' '), *begin;
	unsigned long long value;
	char *behind;

	if (!end || end == text)
		return -ENOENT;
	for (begin = end; begin > text && begin[-1] != ' '; begin--)
		;
	if (begin == text || strncmp(begin, "0x", 2) != 0)
		return -ENOENT;
	errno = 0;
	value = strtoull(begin, &behind, 16);
	if (errno || behind != end)
		return -ENOENT;
	*ret = value;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void read_thread(struct stack_pointers *stacks, pid_t pid, const char *tid)
{
	char *name = format_text("task/%s/syscall", tid), *text = NULL;
	uint64_t sp;
	size_t len;

	if (name && !procfs_read_pid(pid, name, &text, &len) && !stack_pointer__parse(text, &sp))
		(void)!array_push(&stacks->list, sp); /* without it, a stack is "mapped" */
	free(text);
	free(name);
}

static void read_all(struct stack_pointers *stacks, pid_t pid)
{
	char *path = format_text("/proc/%d/task", (int)pid);
	struct dirent *entry;
	DIR *dir;
	int cnt = 0;

	dir = path ? opendir(path) : NULL;
	free(path);
	if (!dir)
		return;
	while (cnt < MAX_THREADS && (entry = readdir(dir))) {
		if (entry->d_name[strspn(entry->d_name, "0123456789")] != '\0')
			continue;
		read_thread(stacks, pid, entry->d_name);
		cnt++;
	}
	closedir(dir);
	if (stacks->list.cnt)
		qsort(stacks->list.items, stacks->list.cnt, sizeof(uint64_t), compare);
}

bool stack_pointers__any(struct stack_pointers *stacks, pid_t pid, uint64_t start, uint64_t end)
{
	size_t low = 0, high;

	if (!stacks->was_read)
		read_all(stacks, pid);
	stacks->was_read = true;
	for (high = stacks->list.cnt; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (stacks->list.items[middle] < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low < stacks->list.cnt && stacks->list.items[low] < end;
}

void stack_pointers__free(struct stack_pointers *stacks)
{
	array_free(&stacks->list);
}
