/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child process with memory that is made up: what a hostile target would show. */
#ifndef LEAKSWEEP_TESTS_UNIT_FORGED_MEMORY_H
#define LEAKSWEEP_TESTS_UNIT_FORGED_MEMORY_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB (1024ULL * 1024)

struct forged {
	uint8_t *memory; /* aligned to MIB; at the same address in the child */
	size_t len;
	pid_t pid;
};

static inline void put32(uint8_t *pool, size_t at, uint32_t value)
{
	memcpy(pool + at, &value, sizeof(value));
}

static inline void put64(uint8_t *pool, size_t at, uint64_t value)
{
	memcpy(pool + at, &value, sizeof(value));
}

static inline struct forged map_memory(size_t len)
{
	struct forged forged = {.len = len};
	uint8_t *memory = mmap(NULL, len + MIB, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(memory != MAP_FAILED);
	forged.memory = (uint8_t *)(((uintptr_t)memory + MIB - 1) & ~(MIB - 1));
	madvise(memory, len + MIB, MADV_NOHUGEPAGE);
	return forged;
}

/* The child has a copy, and may run `work` with it. */
static inline void start_forged(struct forged *forged, void (*work)(struct forged *forged))
{
	forged->pid = fork();
	assert_true(forged->pid >= 0);
	if (forged->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (work)
		work(forged);
	for (;;)
		pause();
}

static inline void end_forged(struct forged *forged)
{
	kill(forged->pid, SIGKILL);
	waitpid(forged->pid, NULL, 0);
	munmap(forged->memory, forged->len);
}

/* A field of /proc/PID/smaps_rollup, in KiB. */
static inline uint64_t rollup_of(pid_t pid, const char *field)
{
	char *path, *line = NULL;
	uint64_t value = UINT64_MAX;
	size_t cap = 0;
	FILE *file;

	assert_true(asprintf(&path, "/proc/%d/smaps_rollup", pid) > 0);
	file = fopen(path, "r");
	assert_non_null(file);
	while (getline(&line, &cap, file) > 0)
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			value = strtoull(line + strlen(field) + 1, NULL, 10);
	fclose(file);
	free(line);
	free(path);
	assert_true(value != UINT64_MAX);
	return value;
}

#endif
