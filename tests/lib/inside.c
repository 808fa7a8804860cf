/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/inside.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/stats.h"
#include "tests/leakers/count_preload.h"

char *need_program(const char *name, const char *package)
{
	static const char *const dirs[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin",
					   "/usr/lib/heaptrack"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char *path = format("%s/%s", dirs[i], name);

		if (!access(path, R_OK))
			return path;
		free(path);
	}
	fail_msg("%s is missing: install the package %s (tests/lib/install-deps.sh test)", name,
		 package);
	return NULL;
}

void print_count(const char *what, const char *name, const char *by, const struct tally *tally)
{
	print_message(
		"  %-14s %-14s %-10s %9lld allocs %9lld frees %12lld bytes  live %8lld in %lld\n",
		what, name, by, (long long)tally->alloc_count, (long long)tally->free_count,
		(long long)tally->alloc_bytes, (long long)tally->live_bytes,
		(long long)tally->live_count);
}

/* ---- reports ------------------------------------------------------------------------------- */

static struct json_object *processes_of(const struct report *report)
{
	struct json_object *procs = field(report->root, "processes");

	assert_non_null(procs);
	return procs;
}

static int pid_of(struct json_object *proc)
{
	return json_object_get_int(field(proc, "pid"));
}

static const char *comm_of(struct json_object *proc)
{
	return json_object_get_string(field(proc, "comm"));
}

struct tally report__named(const struct report *report, const char *name, int *ret_pid)
{
	struct json_object *procs = processes_of(report);
	struct tally sum = {0};
	size_t found = 0;

	for (size_t i = 0; i < json_object_array_length(procs); i++) {
		struct json_object *proc = json_object_array_get_idx(procs, i);

		if (strcmp(comm_of(proc), name))
			continue;
		found++;
		add_tally(&sum, report__sum(report, pid_of(proc), "malloc", NULL));
		if (ret_pid)
			*ret_pid = pid_of(proc);
	}
	if (!found)
		fail_msg("the report has no process \"%s\"", name);
	return sum;
}

enum stat_class { WORK, LOSS };

void assert_no_loss(const struct report *report, const char *what)
{
	static const struct {
		const char *name;
		enum stat_class class;
	} counters[] = {
#define STAT(symbol, name, class, meaning, cure) {name, class},
		STATS(STAT)
#undef STAT
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		int64_t value = report__loss(report, counters[i].name);

		/*
		 * A program that nobody has traced before is some milliseconds ahead of its unwind
		 * table: its blocks are counted all the same.
		 */
		if (!strcmp(counters[i].name, "stacks_no_table") ||
		    !strcmp(counters[i].name, "stacks_unreadable"))
			continue;
		if (counters[i].class == LOSS && value)
			fail_msg("%s: %s is %lld", what, counters[i].name, (long long)value);
	}
}

/* ---- libcount.so --------------------------------------------------------------------------- */

struct counted counted__begin(void)
{
	char *library = leaker_path("libcount.so");
	struct counted counted = {.path = format("%s/counts", scratch_dir())};
	int fd = open(counted.path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(struct count_file)), 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
	counted.env[0] = format("LD_PRELOAD=%s", library);
	counted.env[1] = format("COUNT_FILE=%s", counted.path);
	free(library);
	return counted;
}

void counted__free(struct counted *counted)
{
	free(counted->path);
	free(counted->env[0]);
	free(counted->env[1]);
	*counted = (struct counted){0};
}

static struct count_file *read_counts(const struct counted *counted)
{
	struct count_file *file = malloc(sizeof(*file));
	int fd = open(counted->path, O_RDONLY | O_CLOEXEC);

	assert_non_null(file);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, file, sizeof(*file), 0), sizeof(*file));
	close(fd);
	assert_true(file->slot_cnt <= COUNT_SLOTS);
	return file;
}

/* The last image of a process: what it was before exec is gone. */
static const struct count_slot *slot_of(const struct count_file *file, int pid)
{
	for (int64_t i = file->slot_cnt; i-- > 0;)
		if (file->slots[i].pid == pid)
			return &file->slots[i];
	return NULL;
}

int counted__await(const struct counted *counted, const char *name)
{
	for (int waited_ms = 0; waited_ms < TIMEOUT_MS; waited_ms += 10) {
		struct count_file *file = read_counts(counted);
		int pid = 0;

		for (int64_t i = 0; i < file->slot_cnt && !pid; i++)
			if (!strncmp(file->slots[i].comm, name, sizeof(file->slots[i].comm)))
				pid = (int)file->slots[i].pid;
		free(file);
		if (pid)
			return pid;
		sleep_ms(10);
	}
	fail_msg("no process \"%s\" came to allocate", name);
	return 0;
}

/*
 * What the report should say of the process in this slot. A process that has ended is reported with
 * what it did itself: what it inherited from its parent is not listed any more, nor what it freed
 * of that.
 */
static struct tally slot_tally(const struct count_slot *slot, bool is_running)
{
	struct tally tally = {
		.alloc_bytes = slot->alloc_bytes,
		.alloc_count = slot->alloc_count,
		.free_bytes = slot->free_bytes,
		.free_count = slot->free_count,
	};

	if (!is_running) {
		tally.free_bytes -= slot->inherited_free_bytes;
		tally.free_count -= slot->inherited_free_count;
	}
	tally.live_bytes =
		tally.alloc_bytes - tally.free_bytes + (is_running ? slot->inherited_bytes : 0);
	tally.live_count =
		tally.alloc_count - tally.free_count + (is_running ? slot->inherited_count : 0);
	return tally;
}

int64_t counted__before_fork(const struct counted *counted, int pid)
{
	struct count_file *file = read_counts(counted);
	const struct count_slot *slot = slot_of(file, pid);
	int64_t cnt;

	assert_non_null(slot);
	cnt = slot->parent_alloc_count;
	free(file);
	return cnt;
}

struct tally counted__of(const struct counted *counted, int pid)
{
	struct count_file *file = read_counts(counted);
	const struct count_slot *slot = slot_of(file, pid);
	struct tally tally;

	assert_non_null(slot);
	tally = slot_tally(slot, true);
	free(file);
	return tally;
}

static void check_process(const struct count_file *file, const struct report *report,
			  struct json_object *proc, const char *what)
{
	static const struct count_slot never_allocated;
	const struct count_slot *slot = slot_of(file, pid_of(proc));
	bool is_running = !strcmp(json_object_get_string(field(proc, "state")), "running");
	struct tally want = slot_tally(slot ? slot : &never_allocated, is_running);
	struct tally got = report__sum(report, pid_of(proc), "malloc", NULL);
	char *name = format("%s: %s (%d)", what, comm_of(proc), pid_of(proc));

	if (slot) {
		assert_int_equal(slot->blocks_lost, 0);
		assert_int_equal(slot->unknown_frees, 0);
		print_count(what, comm_of(proc), "libcount", &want);
		assert_tally(report, name, got, want);
	} else { /* at most what it inherited */
		assert_int_equal(got.alloc_count, 0);
		assert_int_equal(got.free_count, 0);
	}
	if (json_object_get_boolean(field(proc, "late")))
		fail_msg("%s: some of its probes came late", name);
	free(name);
}

size_t counted__check(const struct counted *counted, const struct report *report, const char *what)
{
	struct count_file *file = read_counts(counted);
	struct json_object *procs = processes_of(report);
	size_t cnt = json_object_array_length(procs);

	for (size_t i = 0; i < cnt; i++)
		check_process(file, report, json_object_array_get_idx(procs, i), what);
	for (int64_t i = 0; i < file->slot_cnt; i++) {
		const struct count_slot *slot = &file->slots[i];

		if (strcmp(slot->comm, "leaksweep") && !report__process(report, (int)slot->pid))
			fail_msg("%s: %s (%d) allocated and is not in the report", what, slot->comm,
				 (int)slot->pid);
	}
	assert_no_loss(report, what);
	assert_ledger(report);
	free(file);
	return cnt;
}

/* ---- valgrind ------------------------------------------------------------------------------ */

static size_t list_len(const char *const *list)
{
	size_t cnt = 0;

	while (list && list[cnt])
		cnt++;
	return cnt;
}

/* The redis of Debian has jemalloc's malloc. What valgrind would free itself at the end is left
 * alone. */
struct child *valgrind__start(const char *const *argv, const char *const *env, const char *dir)
{
	char *valgrind = need_program("valgrind", "valgrind"),
	     *log = format("--log-file=%s/%%p", dir);
	const char *const options[] = {
		valgrind,
		"--leak-check=no",
		"--run-libc-freeres=no",
		"--run-cxx-freeres=no",
		"--trace-children=yes",
		"--soname-synonyms=somalloc=libjemalloc*",
		log,
	};
	const size_t option_cnt = sizeof(options) / sizeof(options[0]);
	const char **all = calloc(option_cnt + list_len(argv) + 1, sizeof(*all));
	const struct child_opts opts = {.env = env};
	struct child *child;

	assert_non_null(all);
	memcpy(all, options, sizeof(options));
	memcpy(all + option_cnt, argv, list_len(argv) * sizeof(*argv));
	child = child__start(all, &opts);
	free(all);
	free(log);
	free(valgrind);
	return child;
}

/* Reads the number, written with commas, that follows `before`. */
static int64_t number_after(const char *text, const char *before)
{
	const char *at = text ? strstr(text, before) : NULL;
	int64_t value = 0;

	if (!at)
		return 0;
	for (at += strlen(before); isdigit((unsigned char)*at) || *at == ','; at++)
		if (*at != ',')
			value = value * 10 + (*at - '0');
	return value;
}

/* "total heap usage: 3,619 allocs, 3,433 frees, 10,059,670 bytes allocated" and its like. */
static struct valgrind_count parse_log(const char *path, int pid)
{
	struct valgrind_count count = {.pid = pid};
	char *text = NULL, *usage, *command, *name;
	FILE *file = fopen(path, "re");
	size_t len = 0;

	assert_non_null(file);
	assert_true(getdelim(&text, &len, '\0', file) > 0);
	fclose(file);
	usage = strstr(text, "total heap usage: ");
	command = strstr(text, "Command: ");
	if (!usage || !command)
		fail_msg("valgrind did not finish: %.2000s", text);
	count.tally.alloc_count = number_after(usage, "total heap usage: ");
	count.tally.free_count = number_after(usage, "allocs, ");
	count.tally.alloc_bytes = number_after(usage, "frees, ");
	count.tally.live_bytes = number_after(text, "in use at exit: ");
	count.tally.live_count = count.tally.alloc_count - count.tally.free_count;
	count.tally.free_bytes = count.tally.alloc_bytes - count.tally.live_bytes;
	command += strlen("Command: ");
	command[strcspn(command, " \n")] = '\0';
	name = strrchr(command, '/');
	snprintf(count.name, sizeof(count.name), "%s", name ? name + 1 : command);
	free(text);
	return count;
}

struct valgrind_run valgrind__read(const char *dir)
{
	struct valgrind_run run = {0};
	DIR *stream = opendir(dir);
	struct dirent *entry;

	assert_non_null(stream);
	while ((entry = readdir(stream))) {
		char *path;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		path = format("%s/%s", dir, entry->d_name);
		assert_true(run.cnt < sizeof(run.items) / sizeof(run.items[0]));
		run.items[run.cnt++] = parse_log(path, atoi(entry->d_name));
		free(path);
	}
	closedir(stream);
	return run;
}

const struct valgrind_count *valgrind__find(const struct valgrind_run *run, const char *name)
{
	for (size_t i = 0; i < run->cnt; i++)
		if (!strcmp(run->items[i].name, name))
			return &run->items[i];
	fail_msg("valgrind has not seen a process \"%s\"", name);
	return NULL;
}

static char *env_seen(const char *const *argv, const char *const *env)
{
	const struct child_opts opts = {.env = env};
	struct child *child = child__start(argv, &opts);

	assert_int_equal(child__await_exit(child, TIMEOUT_MS), 0);
	return child__stdout(child);
}

/* Whether `line` is a whole line of `text`. */
static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	return false;
}

char **valgrind__env(const char *const *env)
{
	char *valgrind = need_program("valgrind", "valgrind"),
	     *program = need_program("env", "coreutils");
	char *without = env_seen(ARGS(program), env);
	char *with = env_seen(ARGS(valgrind, "-q", "--leak-check=no", program), env);
	char **list = calloc(list_len(env) + 32, sizeof(*list)), *rest = with, *line;
	size_t cnt = 0;

	assert_non_null(list);
	for (; env && env[cnt]; cnt++)
		list[cnt] = strdup(env[cnt]);
	while ((line = strsep(&rest, "\n"))) {
		if (!*line || has_line(without, line))
			continue;
		if (!strncmp(line, "LD_", 3)) /* of the same length, but without effect */
			line[1] = '_';
		assert_true(cnt + 1 < list_len(env) + 32);
		list[cnt++] = strdup(line);
	}
	free(without);
	free(with);
	free(program);
	free(valgrind);
	return list;
}

void env__free(char **env)
{
	for (char **item = env; item && *item; item++)
		free(*item);
	free(env);
}

/* ---- heaptrack ----------------------------------------------------------------------------- */

/* Lines of its raw format (libheaptrack.cpp): "+ SIZE STACK ADDRESS" and "- ADDRESS", in
 * hexadecimal. */
struct tally heaptrack__read(const char *path)
{
	struct tally tally = {0};
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t len = 0;

	if (!file)
		fail_msg("heaptrack has not written %s", path);
	while (getline(&line, &len, file) > 0) {
		if (!strncmp(line, "+ ", 2)) {
			tally.alloc_count++;
			tally.alloc_bytes += strtoll(line + 2, NULL, 16);
		}
		if (!strncmp(line, "- ", 2))
			tally.free_count++;
	}
	free(line);
	fclose(file);
	return tally;
}
