/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that is traced all the time is left alone while nobody reads the sweep's report. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/container.h"

#define POLL_MS 20
#define EXACT_MS 6000 /* no window is open so long */
#define CODE_BYTES 8

struct scene {
	struct child *tool;
	int pipe_fd;
	char *text; /* owned: what was read of it */
	size_t len;
	int memory_fd; /* of the process that is traced */
	off_t malloc_addr;
};

/* Where malloc lies in a process that has the same libc. */
static off_t malloc_in(pid_t pid)
{
	char *path = format("/proc/%d/maps", (int)pid), *line = NULL;
	FILE *maps = fopen(path, "re");
	unsigned long base = 0;
	size_t room = 0;
	Dl_info own;

	assert_true(dladdr((void *)malloc, &own));
	assert_non_null(maps);
	while (!base && getline(&line, &room, maps) > 0)
		if (strstr(line, "/libc.so.6"))
			base = strtoul(line, NULL, 16);
	fclose(maps);
	free(line);
	free(path);
	assert_int_not_equal(base, 0);
	return (off_t)(base + ((unsigned long)malloc - (unsigned long)own.dli_fbase));
}

/* Whether there is a breakpoint in its malloc. */
static bool is_probed(const struct scene *scene)
{
	char code[CODE_BYTES];

	assert_int_equal(pread(scene->memory_fd, code, sizeof(code), scene->malloc_addr),
			 sizeof(code));
	return memcmp(code, (void *)malloc, sizeof(code));
}

static void begin(struct scene *scene, const struct container *host, pid_t pid)
{
	char *path = format("%s/reader", scratch_dir()), *memory = format("/proc/%d/mem", (int)pid);
	const struct child_opts opts = {.out_path = path};

	*scene = (struct scene){.malloc_addr = malloc_in(pid)};
	scene->memory_fd = open(memory, O_RDONLY | O_CLOEXEC);
	assert_true(scene->memory_fd >= 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	scene->pipe_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(scene->pipe_fd >= 0);
	scene->tool = tool__start(ARGS("sweep", "--interval", "1h", "--format", "json", "--budget",
				       "10", "--cgroup", host->cgroup),
				  &opts);
	free(memory);
	free(path);
}

static void drain(struct scene *scene)
{
	char part[4096];
	ssize_t got;

	while ((got = read(scene->pipe_fd, part, sizeof(part))) > 0) {
		scene->text = realloc(scene->text, scene->len + (size_t)got + 1);
		assert_non_null(scene->text);
		memcpy(scene->text + scene->len, part, (size_t)got);
		scene->len += (size_t)got;
		scene->text[scene->len] = 0;
	}
}

/* What a report may begin with fills the pipe. */
static void fill(const struct scene *scene)
{
	static const char blank[4096] = {[0 ... 4095] = ' '};

	while (write(scene->pipe_fd, blank, sizeof(blank)) > 0)
		;
}

/* Waits until it is so for `len_ms`, while the reports are read or are not. */
static void await_probed(struct scene *scene, bool probed, int len_ms, bool reads)
{
	int so_ms = 0;

	for (int waited = 0; so_ms < len_ms; waited += POLL_MS) {
		if (waited >= TIMEOUT_MS)
			fail_msg("malloc is not %s for %d ms", probed ? "probed" : "free", len_ms);
		if (reads)
			drain(scene);
		so_ms = is_probed(scene) == probed ? so_ms + POLL_MS : 0;
		sleep_ms(POLL_MS);
	}
}

static void end(struct scene *scene)
{
	kill(scene->tool->pid, SIGTERM);
	while (waitpid(scene->tool->pid, &scene->tool->status, WNOHANG) == 0) {
		drain(scene);
		sleep_ms(POLL_MS);
	}
	scene->tool->reaped = true;
	drain(scene);
	close(scene->memory_fd);
	close(scene->pipe_fd);
}

static void test_nobody_reads(void **state)
{
	const struct container_opts opts = {.leakers = ARGS("service")};
	struct container *host = container__start("unread", &opts);
	struct child *leak =
		container__leaker(host, ARGS("service", "--rate", "1", "leak", "4000000"));
	struct json_object *row;
	struct report report;
	struct scene scene;

	(void)state;
	begin(&scene, host, leak->pid);
	await_probed(&scene, true, EXACT_MS, true);
	fill(&scene);
	kill(scene.tool->pid, SIGUSR1);
	await_probed(&scene, false, EXACT_MS, false);
	await_probed(&scene, true, EXACT_MS, true);
	end(&scene);
	assert_int_equal(scene.tool->status, 0);
	report = report__parse(scene.text);
	row = sweep__row(report.root, leak->pid);
	assert_non_null(row);
	assert_string_equal(text_of(field(row, "code"), "look"), "exact");
	free(scene.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {CONTAINER_TEST(test_nobody_reads)};

	return harness__main("e2e sweep reader", tests, sizeof(tests) / sizeof(tests[0]));
}
