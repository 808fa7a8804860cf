/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers that the test makes itself: other roots, other libcs, other PIDs, groups of their own.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/container.h"

#define OOM_LIMIT_MIB 48
#define FOUND_MS                                                                                   \
	1000 /* a new container is followed within that; on a machine, not an emulated one */

/* Everything that the report says of a process, it says under this cgroup. */
static void assert_in_cgroup(const struct report *report, pid_t pid, const char *cgroup)
{
	struct json_object *proc = report__process(report, pid),
			   *stacks = field(report->root, "stacks");
	size_t rows = 0;

	assert_non_null(proc);
	assert_string_equal(text_of(proc, "cgroup"), cgroup);
	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *stack = json_object_array_get_idx(stacks, i);

		if (json_object_get_int(field(stack, "pid")) != pid)
			continue;
		assert_string_equal(text_of(stack, "cgroup"), cgroup);
		rows++;
	}
	assert_true(rows > 0);
}

/* A leaker that runs, in which container, and the truth about it. */
struct inmate {
	struct container *container;
	struct child *leaker;
	struct json_object *expect;
};

static struct inmate inmate__start(const char *name, const struct container_opts *opts,
				   const char *const *args)
{
	struct inmate inmate = {.container = container__start(name, opts)};

	inmate.leaker = container__leaker(inmate.container, args);
	return inmate;
}

static void inmate__go(struct inmate *inmate)
{
	leaker__go(inmate->leaker);
	inmate->expect = container__expect(inmate->leaker);
}

static void inmate__check(const struct inmate *inmate, const struct report *report)
{
	assert_expect(report, inmate->expect);
	assert_in_cgroup(report, inmate->leaker->pid, inmate->container->cgroup);
}

static const struct container_opts debian = {.userland = USERLAND_DEBIAN, .leakers = ARGS("alloc")};
static const struct container_opts musl = {.userland = USERLAND_MUSL,
					   .leakers = ARGS("alloc-musl")};
static const struct container_opts empty = {.userland = USERLAND_STATIC,
					    .leakers = ARGS("alloc-static")};

/* ---- three at once ---- */

/* The PIDs in the report are the host's: nothing stands under those of the containers. */
static void assert_host_pid(const struct report *report, pid_t pid)
{
	int inner = inner_pid(pid);
	struct json_object *stranger = report__process(report, inner);

	assert_int_not_equal(inner, pid);
	if (stranger && !strncmp(text_of(stranger, "comm"), "alloc", 5))
		fail_msg("a leaker is told by its own namespace's PID, %d", inner);
}

/* `option` alone, or followed by the cgroup above all three. */
static void check_three(const char *option, bool with_parent)
{
	struct inmate inmates[] = {
		inmate__start("debian", &debian, ARGS("alloc", "all")),
		inmate__start("musl", &musl, ARGS("alloc-musl", "all")),
		inmate__start("empty", &empty, ARGS("alloc-static", "all")),
	};
	char *parent = with_parent ? container__parent_dir() : NULL;
	struct child *tool = trace__start(ARGS(option, parent));
	struct report report;

	for (size_t i = 0; i < 3; i++)
		child__poke(inmates[i].leaker);
	for (size_t i = 0; i < 3; i++) {
		struct child *leaker = inmates[i].leaker;

		free(child__await_line(leaker, leaker->out_fd, "DONE", TIMEOUT_MS));
		inmates[i].expect = container__expect(leaker);
	}
	report = trace__end(tool);
	for (size_t i = 0; i < 3; i++) {
		inmate__check(&inmates[i], &report);
		assert_host_pid(&report, inmates[i].leaker->pid);
		leaker__finish(inmates[i].leaker);
	}
	free(parent);
}

static void test_three_userlands_of_the_host(void **state)
{
	(void)state;
	check_three("-a", false);
}

static void test_three_userlands_below_one_cgroup(void **state)
{
	(void)state;
	check_three("--cgroup", true);
}

/* ---- they come and go ---- */

/* Nothing is allocated until the time has passed in which it must have been found. */
static void check_found_in_time(const char *const *target)
{
	struct child *tool = trace__start(target);
	struct inmate first = inmate__start("first", &musl, ARGS("alloc-musl", "all")),
		      second = inmate__start("second", &debian, ARGS("alloc", "all"));
	struct report report;

	sleep_ms(FOUND_MS * patience());
	inmate__go(&first);
	inmate__go(&second);
	report = trace__end(tool);
	inmate__check(&first, &report);
	inmate__check(&second, &report);
}

static void test_one_appears(void **state)
{
	(void)state;
	check_found_in_time(ARGS("-a"));
}

static void test_one_appears_below_a_cgroup(void **state)
{
	struct container *early = container__start("early", &empty);
	char *parent = container__parent_dir();

	(void)state;
	assert_true(early->init > 0);
	check_found_in_time(ARGS("--cgroup", parent));
	free(parent);
}

/* It leaks from its first moment on: the numbers are exact, or the process is said to be late. */
static void test_one_appears_and_leaks_at_once(void **state)
{
	struct container *early = container__start("early", &empty), *container;
	char *parent = container__parent_dir();
	struct child *tool = trace__start(ARGS("--cgroup", parent)), *leaker;
	struct json_object *expect, *proc;
	struct report report;

	(void)state;
	assert_true(early->init > 0);
	container = container__start("musl", &musl);
	leaker = container__run(container, ARGS(CONTAINER_SHELL, "-c",
						"exec " CONTAINER_LEAKERS "/alloc-musl malloc"));
	leaker__go(leaker);
	sleep_ms(FOUND_MS * patience());
	expect = container__expect(leaker);
	report = trace__end(tool);
	proc = report__process(&report, leaker->pid);
	assert_non_null(proc);
	assert_string_equal(text_of(proc, "cgroup"), container->cgroup);
	if (json_object_get_boolean(field(proc, "late"))) {
		print_message("its probes came late, and the report says so\n");
		assert_in_range(report__sum(&report, leaker->pid, "malloc", NULL).live_bytes, 0,
				expect__totals(expect).live_bytes);
	} else {
		assert_expect(&report, expect);
	}
	leaker__finish(leaker);
	free(parent);
}

/* What was live at the end of processes that are gone. */
static struct tally ended_tally(const struct report *report)
{
	return (struct tally){
		.live_bytes = report__number(report, "ended", "live_bytes"),
		.live_count = report__number(report, "ended", "live_count"),
	};
}

/* Live bytes of one control group; one that is not told of has none. */
static int64_t live_in(const struct report *report, const char *cgroup)
{
	struct json_object *groups = field(report->root, "cgroups");

	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);

		if (!strcmp(text_of(group, "path"), cgroup))
			return json_object_get_int64(field(group, "live_bytes"));
	}
	return 0;
}

/*
 * All of one container dies with its init: until then the reports tell in its group what it held,
 * and at the end that as much has ended. The other one's numbers stay what they are.
 */
static void test_one_is_killed(void **state)
{
	struct inmate dies = inmate__start("dies", &musl, ARGS("alloc-musl", "malloc")),
		      lives = inmate__start("lives", &empty, ARGS("alloc-static", "all"));
	char *parent = container__parent_dir(), *path = format("%s/report", scratch_dir());
	struct child *tool = trace__start(ARGS("--cgroup", parent, "--interval", "1s", "-o", path));
	struct report report;
	struct tally held;

	(void)state;
	inmate__go(&dies);
	held = expect__totals(dies.expect);
	report = report__await_file(path);
	inmate__check(&dies, &report);
	assert_int_equal(live_in(&report, dies.container->cgroup), held.live_bytes);
	container__kill(dies.container);
	assert_int_equal(WTERMSIG(dies.leaker->status), SIGKILL);
	inmate__go(&lives);
	tool__stop(tool);
	report = report__read_file(path);
	assert_ledger(&report);
	assert_null(report__process(&report, dies.leaker->pid));
	assert_int_equal(live_in(&report, dies.container->cgroup), 0);
	assert_int_equal(report__number(&report, "ended", "processes"), 2);
	assert_live(&report, "the killed container", ended_tally(&report), held);
	inmate__check(&lives, &report);
	free(path);
	free(parent);
}

/* ---- the line of a group ---- */

#define HELD_BLOCKS "30000" /* of 1000 bytes, each touched */
#define GROUP_LIMIT (64ULL << 20)
#define CACHED_BYTES (8 << 20)

/*
 * The kernel counts pages for each CPU and adds them up every two seconds, or when 64 for each CPU
 * are waiting (mm/memcontrol.c); the probed pages of programs come and go.
 */
#define MEMORY_SLACK (1 << 20)

/* Reads the number behind a word of a file of a cgroup, or the file's only one. */
static int64_t read_number(const char *dir, const char *name, const char *word)
{
	char *path = format("%s/%s", dir, name), *line = NULL;
	FILE *file = fopen(path, "re");
	size_t len = strlen(word), cap = 0;
	int64_t number = -1;

	if (!file)
		fail_msg("%s cannot be read", path);
	while (number < 0 && getline(&line, &cap, file) > 0)
		if (!strncmp(line, word, len) && (!*word || line[len] == ' '))
			number = atoll(line + len);
	fclose(file);
	free(line);
	free(path);
	assert_true(number >= 0);
	return number;
}

/* What the kernel says of a container's memory. */
struct usage {
	int64_t anon, file, all, cache;
};

/* Waits until what is there at least has been added up. */
static struct usage await_usage(const char *name, int64_t least_anon)
{
	bool is_v2;
	char *dir = container__memory_dir(name, &is_v2);
	struct usage usage = {0};

	if (!dir) {
		print_message("skipped: no memory controller is mounted\n");
		skip();
	}
	for (int i = 0; i < 100 * patience() && usage.anon < least_anon; i++) {
		sleep_ms(50);
		usage.anon = read_number(dir, "memory.stat", is_v2 ? "anon" : "total_rss");
	}
	usage.file = read_number(dir, "memory.stat", is_v2 ? "file" : "total_cache");
	usage.cache =
		read_number(dir, "memory.stat", is_v2 ? "active_file" : "total_active_file") +
		read_number(dir, "memory.stat", is_v2 ? "inactive_file" : "total_inactive_file");
	usage.all = read_number(dir, is_v2 ? "memory.current" : "memory.usage_in_bytes", "");
	free(dir);
	assert_true(usage.anon >= least_anon);
	return usage;
}

/* Returns the item of a list whose member is this text. */
static struct json_object *item_of(const struct report *report, const char *list, const char *name,
				   const char *text)
{
	struct json_object *items = field(report->root, list);

	for (size_t i = 0; items && i < json_object_array_length(items); i++) {
		struct json_object *item = json_object_array_get_idx(items, i);

		if (!strcmp(text_of(item, name), text))
			return item;
	}
	fail_msg("nothing of %s is in \"%s\"", text, list);
	return NULL;
}

static void assert_near(struct json_object *group, const char *name, int64_t want)
{
	int64_t got = json_object_get_int64(field(group, name));

	print_message("  %s: %lld, the kernel says %lld\n", name, (long long)got, (long long)want);
	if (got < want - MEMORY_SLACK || got > want + MEMORY_SLACK)
		fail_msg("%s is not what the kernel says", name);
}

/* Files are memory of the group, too, but nothing that leaks: those of a tmpfs stay. */
static void fill_file(const struct container *container)
{
	struct child *filler = container__run(
		container, ARGS(CONTAINER_SHELL, "-c", "yes | head -c 8388608 >/filled"));

	assert_int_equal(child__await_exit(filler, TIMEOUT_MS), 0);
}

/* Makes a file of which the kernel has nothing in memory. */
static char *make_uncached_file(void)
{
	static const char zeros[CACHED_BYTES];
	char *path = format("%s/uncached", scratch_dir());
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	return path;
}

/* Has a container read it. Where the host's files are in memory anyway, nothing is cached. */
static void cache_file(const struct container *container, char *path)
{
	struct child *reader = container__run(container, ARGS("/usr/bin/cksum", path));

	if (child__await_exit(reader, TIMEOUT_MS))
		print_message("%s is not in the container's root\n", path);
	free(path);
}

static void test_line_of_a_group(void **state)
{
	char *uncached = make_uncached_file();
	const struct container_opts opts = {.leakers = ARGS("many"), .memory_bytes = GROUP_LIMIT};
	struct inmate inmate =
		inmate__start("limited", &opts, ARGS("many", "pairs", HELD_BLOCKS, "9"));
	char *dir = container__cgroup_dir("limited");
	struct child *tool = trace__start(ARGS("--cgroup", dir, "--group-by", "container"));
	struct json_object *group, *leaf;
	struct report report;
	struct usage usage;
	struct tally truth;

	(void)state;
	fill_file(inmate.container);
	cache_file(inmate.container, uncached);
	inmate__go(&inmate);
	truth = expect__totals(inmate.expect);
	usage = await_usage("limited", truth.live_bytes);
	report = trace__end(tool);
	inmate__check(&inmate, &report);
	group = item_of(&report, "groups", "key", inmate.container->cgroup);
	assert_tally(&report, "the container's line", read_tally(group), truth);
	group = item_of(&report, "cgroups", "path", inmate.container->cgroup);
	assert_int_equal(json_object_get_int64(field(group, "live_bytes")), truth.live_bytes);
	assert_int_equal(json_object_get_int64(field(group, "limit_bytes")), GROUP_LIMIT);
	assert_near(group, "anon_bytes", usage.anon);
	assert_near(group, "file_bytes", usage.file);
	assert_near(group, "usage_bytes", usage.all);
	assert_near(group, "reclaimable_bytes", usage.cache);
	assert_string_equal(text_of(group, "limit_cgroup"), inmate.container->cgroup);
	assert_true(usage.all > usage.anon + 2 * MEMORY_SLACK);
	leaf = json_object_array_get_idx(field(report.root, "stacks"), 0);
	leaf = json_object_array_get_idx(field(leaf, "frames"), 0);
	assert_string_equal(text_of(leaf, "function"), "hold_block");
	free(dir);
}

/* ---- out of memory ---- */

static struct json_object *oom_kill_of(const struct report *report, pid_t pid)
{
	struct json_object *failures = field(report->root, "failures");

	for (size_t i = 0; failures && i < json_object_array_length(failures); i++) {
		struct json_object *failure = json_object_array_get_idx(failures, i);

		if (!strcmp(text_of(failure, "kind"), "oom_kill") &&
		    json_object_get_int(field(failure, "pid")) == pid)
			return failure;
	}
	return NULL;
}

static void assert_oom_kill(const struct report *report, const struct inmate *eater)
{
	pid_t pid = eater->leaker->pid;
	struct json_object *kill = oom_kill_of(report, pid), *proc = report__process(report, pid);

	assert_non_null(kill);
	assert_string_equal(text_of(kill, "comm"), "refused");
	if (!strstr(text_of(kill, "limit"), eater->container->cgroup))
		fail_msg("the kill's reason is told as: %s", text_of(kill, "limit"));
	assert_non_null(proc);
	assert_string_equal(text_of(proc, "cgroup"), eater->container->cgroup);
	assert_int_equal(json_object_get_int(field(proc, "exit_signal")), SIGKILL);
}

/* What it held, up to its limit, is what ended; all of it is told, and why. */
static void test_one_is_killed_at_its_limit(void **state)
{
	const struct container_opts opts = {.userland = USERLAND_DEBIAN,
					    .leakers = ARGS("refused"),
					    .memory_bytes = (uint64_t)OOM_LIMIT_MIB << 20};
	struct inmate eater = inmate__start("eater", &opts, ARGS("refused", "eat")),
		      lives = inmate__start("lives", &empty, ARGS("alloc-static", "all"));
	char *parent = container__parent_dir();
	struct child *tool = trace__start(ARGS("--cgroup", parent));
	struct report report;

	(void)state;
	child__poke(eater.leaker);
	assert_int_equal(WTERMSIG(child__await_exit(eater.leaker, TIMEOUT_MS)), SIGKILL);
	inmate__go(&lives);
	report = trace__end(tool);
	assert_oom_kill(&report, &eater);
	assert_int_equal(report__number(&report, "ended", "processes"), 1);
	assert_in_range(report__number(&report, "ended", "live_bytes"), (OOM_LIMIT_MIB / 2) << 20,
			(OOM_LIMIT_MIB + 1) << 20);
	inmate__check(&lives, &report);
	free(parent);
}

/* ---- files that change below a container ---- */

/* Puts a new file, another inode, in the place of one inside. */
static void upgrade(const struct container *container, const char *inside, const char *from)
{
	char *path = container__path(container, inside), *fresh = format("%s.new", path);

	copy_file(from, fresh);
	assert_int_equal(rename(fresh, path), 0);
	free(fresh);
	free(path);
}

static void delete (const struct container *container, const char *inside)
{
	char *path = container__path(container, inside);

	assert_int_equal(unlink(path), 0);
	free(path);
}

/* Three processes in one overlay: a library that was replaced, the new one, one without a file. */
static void test_deleted_and_upgraded_library(void **state)
{
	const char *upgraded = CONTAINER_LEAKERS "/libsecond.so",
		   *deleted = CONTAINER_LEAKERS "/libgone.so";
	const struct container_opts opts = {.leakers = ARGS("plugin", "libsecond.so")};
	struct container *container = container__start("debian", &opts);
	char *library = leaker_path("libsecond.so"), *dir = container__cgroup_dir("debian");
	struct child *leakers[3], *tool;
	struct report report;

	(void)state;
	leakers[0] = container__leaker(container, ARGS("plugin", "loaded", upgraded));
	upgrade(container, upgraded, library);
	leakers[1] = container__leaker(container, ARGS("plugin", "loaded", upgraded));
	upgrade(container, deleted, library);
	leakers[2] = container__leaker(container, ARGS("plugin", "loaded", deleted));
	delete (container, deleted);
	tool = trace__start(
		ARGS("--alloc-fn", "my_alloc:size=1", "--free-fn", "my_free", "--cgroup", dir));
	for (size_t i = 0; i < 3; i++)
		leaker__go(leakers[i]);
	report = trace__end(tool);
	for (size_t i = 0; i < 3; i++) {
		assert_expect(&report, container__expect(leakers[i]));
		leaker__finish(leakers[i]);
	}
	free(dir);
	free(library);
}

/* The libc below the overlay stays in use when one above hides it. */
static void test_upgraded_libc(void **state)
{
	struct container *container = container__start("debian", &debian);
	struct child *before = container__leaker(container, ARGS("alloc", "all")), *after, *tool;
	struct report report;
	Dl_info libc;

	(void)state;
	assert_true(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &libc));
	upgrade(container, libc.dli_fname, libc.dli_fname);
	after = container__leaker(container, ARGS("alloc", "all"));
	tool = trace__start(ARGS("--cgroup", container->cgroup));
	leaker__go(before);
	leaker__go(after);
	report = trace__end(tool);
	assert_expect(&report, container__expect(before));
	assert_expect(&report, container__expect(after));
}

static bool is_inside(const struct container *container, const char *program)
{
	char *path = container__path(container, program);
	bool is_there = !access(path, X_OK);

	free(path);
	return is_there;
}

/*
 * Returns the path of a leaker that the container's overlay has below, owned; with a second link if
 * temporary files are below, too. A guest of a virtual machine has its own.
 */
static char *leaker_below(const struct container *container)
{
	const char *dir = scratch_dir();
	char *leaker = leaker_path("alloc"), *copy = format("%s/alloc", dir),
	     *second = format("%s/link", dir);

	copy_file(leaker, copy);
	assert_int_equal(link(copy, second), 0);
	free(second);
	if (is_inside(container, copy)) {
		free(leaker);
		return copy;
	}
	free(copy);
	if (is_inside(container, leaker))
		return leaker;
	free(leaker);
	print_message("skipped: the leakers are not on the root's file system\n");
	skip();
	return NULL;
}

/* An entrypoint changes its program's mode: what runs is a copy, whose inode is told in two ways.
 */
static void test_copied_up_program(void **state)
{
	struct container *container =
		container__start("copied", &(struct container_opts){.leakers = NO_ARGS});
	char *program = leaker_below(container),
	     *script = format("chmod 711 %s && exec %s malloc", program, program);
	struct child *leaker = container__run(container, ARGS(CONTAINER_SHELL, "-c", script));
	struct child *tool;
	struct report report;

	(void)state;
	free(child__await_line(leaker, leaker->out_fd, "READY", TIMEOUT_MS));
	tool = trace__start(ARGS("--cgroup", container->cgroup));
	leaker__go(leaker);
	report = trace__end(tool);
	assert_expect(&report, container__expect(leaker));
	leaker__finish(leaker);
	free(script);
	free(program);
}

/* ---- a cgroup and nothing else ---- */

static void test_cgroup_is_its_subtree(void **state)
{
	struct inmate outer = inmate__start("outer", &debian, ARGS("alloc", "all")),
		      inner = inmate__start("outer/inner", &musl, ARGS("alloc-musl", "all")),
		      aside = inmate__start("outermost", &empty, ARGS("alloc-static", "all"));
	struct child *bystander = leaker__start(ARGS("alloc", "malloc"), NULL);
	char *dir = container__cgroup_dir("outer");
	struct child *tool = trace__start(ARGS("--cgroup", dir));
	struct json_object *procs;
	struct report report;

	(void)state;
	leaker__go(bystander);
	inmate__go(&aside);
	inmate__go(&outer);
	inmate__go(&inner);
	report = trace__end(tool);
	inmate__check(&outer, &report);
	inmate__check(&inner, &report);
	procs = field(report.root, "processes");
	for (size_t i = 0; i < json_object_array_length(procs); i++) {
		const char *cgroup = text_of(json_object_array_get_idx(procs, i), "cgroup");

		if (strcmp(cgroup, outer.container->cgroup) &&
		    strcmp(cgroup, inner.container->cgroup))
			fail_msg("a process of cgroup %s is in the report", cgroup);
	}
	free(dir);
}

/* ---- a container of a real runtime ---- */

static void test_runc(void **state)
{
	struct json_object *expect;
	struct report report;
	struct child *tool;
	struct runc *runc;

	(void)state;
	if (!runc__exists()) {
		print_message("skipped: runc is not installed\n");
		skip();
	}
	runc = runc__start(ARGS("alloc-static", "all"));
	tool = trace__start(ARGS("--cgroup", runc->cgroup));
	leaker__go(runc->child);
	expect = container__expect_of(runc->child, runc->pid);
	report = trace__end(tool);
	assert_expect(&report, expect);
	assert_in_cgroup(&report, runc->pid, runc->cgroup);
	assert_host_pid(&report, runc->pid);
	leaker__finish(runc->child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: an init, forked from here, must be smaller than the process to be killed.
		 */
		CONTAINER_TEST(test_one_is_killed_at_its_limit),
		CONTAINER_TEST(test_three_userlands_of_the_host),
		CONTAINER_TEST(test_three_userlands_below_one_cgroup),
		CONTAINER_TEST(test_one_appears),
		CONTAINER_TEST(test_one_appears_below_a_cgroup),
		CONTAINER_TEST(test_one_appears_and_leaks_at_once),
		CONTAINER_TEST(test_one_is_killed),
		CONTAINER_TEST(test_line_of_a_group),
		CONTAINER_TEST(test_deleted_and_upgraded_library),
		CONTAINER_TEST(test_upgraded_libc),
		CONTAINER_TEST(test_copied_up_program),
		CONTAINER_TEST(test_cgroup_is_its_subtree),
		CONTAINER_TEST(test_runc),
	};

	return harness__main("e2e containers", tests, sizeof(tests) / sizeof(tests[0]));
}
