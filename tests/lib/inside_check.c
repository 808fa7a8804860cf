/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole runs of programs that are counted from inside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/inside.h"

#define MAX_ARGS 64

void program__run(const char *const *argv, const char *const *env)
{
	const struct child_opts opts = {.env = env};
	struct child *child = child__start(argv, &opts);
	int status = child__await_exit(child, LONG_MS);

	if (status)
		fail_msg("%s ended with status 0x%x: %s", argv[0], status, child__stderr(child));
}

/* ---- traced by the tool -------------------------------------------------------------------- */

struct child *traced__start(const char *const *argv, const char *const *env, const char *out)
{
	const char *args[MAX_ARGS] = {"trace", "--until-exit", "--format", "json", "--top",
				      "0",     "-o",	       out,	   "--"};
	const struct child_opts opts = {.env = env};

	for (size_t i = 0, at = 9; argv[i]; i++, at++) {
		assert_true(at + 1 < MAX_ARGS);
		args[at] = argv[i];
	}
	return tool__start(args, &opts);
}

struct report traced__end(struct child *tool, const char *out)
{
	if (child__await_exit(tool, LONG_MS))
		fail_msg("the tool ended with status 0x%x: %s", tool->status, child__stderr(tool));
	return report__read_file(out);
}

struct report traced__run(const char *const *argv, const char *const *env)
{
	char *out = format("%s/report.json", scratch_dir());
	struct report report = traced__end(traced__start(argv, env, out), out);

	free(out);
	return report;
}

const char **join_lists(const char *const *a, char *const *b)
{
	const char **all = calloc(MAX_ARGS, sizeof(*all));
	size_t cnt = 0;

	assert_non_null(all);
	for (size_t i = 0; a && a[i]; i++)
		all[cnt++] = a[i];
	for (size_t i = 0; b && b[i]; i++)
		all[cnt++] = b[i];
	assert_true(cnt < MAX_ARGS);
	return all;
}

void check_counted(const char *what, const char *const *argv, const char *const *env,
		   size_t min_procs)
{
	struct counted counted = counted__begin();
	const char **all = join_lists(env, counted.env);
	struct report report = traced__run(argv, all);

	assert_true(counted__check(&counted, &report, what) >= min_procs);
	free(all);
	counted__free(&counted);
}

/* ---- beside valgrind ----------------------------------------------------------------------- */

static void check_same(const char *what, const struct valgrind_count *theirs,
		       const struct report *report, const struct freedom *freedom)
{
	struct tally ours = report__named(report, theirs->name, NULL), want = theirs->tally;
	char *name = format("%s: %s beside valgrind", what, theirs->name);

	print_count(what, theirs->name, "valgrind", &want);
	print_count(what, theirs->name, "leaksweep", &ours);
	if (freedom && !strcmp(freedom->name, theirs->name)) {
		int64_t more = ours.alloc_count - want.alloc_count;

		assert_true(llabs(more) <= freedom->max_cnt);
		want.alloc_count += more;
		want.live_count += more;
		want.alloc_bytes += more * freedom->bytes;
		want.live_bytes += more * freedom->bytes;
	}
	assert_tally(report, name, ours, want);
	free(name);
}

void check_beside_valgrind(const char *what, const char *const *argv, const char *const *env,
			   const struct freedom *freedom)
{
	const char *dir = scratch_dir();
	char **padded = valgrind__env(env);
	struct valgrind_run theirs;
	struct report report;
	int status;

	status = child__await_exit(valgrind__start(argv, env, dir), LONG_MS);
	assert_int_equal(status, 0);
	theirs = valgrind__read(dir);
	report = traced__run(argv, (const char *const *)padded);
	assert_true(theirs.cnt > 0);
	for (size_t i = 0; i < theirs.cnt; i++)
		check_same(what, &theirs.items[i], &report, freedom);
	assert_no_loss(&report, what);
	env__free(padded);
}

/* ---- beside heaptrack ---------------------------------------------------------------------- */

/*
 * Starts a shell that has heaptrack's library loaded; poked, it becomes the program, recorded to
 * DIR/program. The tool finds the library in the shell: probes follow a library that is new to it,
 * they do not precede it.
 */
static struct child *start_recorded(const char *const *argv, const char *const *env,
				    const char *dir)
{
	char *library = need_program("libheaptrack_preload.so", "heaptrack");
	char *preload = format("LD_PRELOAD=%s", library);
	char *own = format("DUMP_HEAPTRACK_OUTPUT=%s/shell", dir);
	char *script = format("echo READY; read go; export %s DUMP_HEAPTRACK_OUTPUT=%s/program; "
			      "exec \"$@\" > /dev/null",
			      preload, dir);
	const char **all_env = join_lists(env, (char *[]){preload, own, NULL});
	const char **args = join_lists(ARGS("/bin/sh", "-c", script, "sh"), (char *const *)argv);
	const struct child_opts opts = {.env = all_env};
	struct child *program = child__start(args, &opts);

	free(child__await_line(program, program->out_fd, "READY", TIMEOUT_MS));
	free(args);
	free(all_env);
	free(script);
	free(own);
	free(preload);
	free(library);
	return program;
}

static void check_recorded(const char *what, const char *record, const struct report *report,
			   int pid)
{
	struct tally theirs = heaptrack__read(record);
	struct tally ours = report__sum(report, pid, "malloc", NULL);
	struct tally own = report__sum(report, pid, "malloc", "__cxa_allocate_exception");

	print_count(what, "", "heaptrack", &theirs);
	print_count(what, "", "leaksweep", &ours);
	print_count(what, "an exception", "leaksweep", &own);
	assert_int_equal(ours.alloc_count - own.alloc_count, theirs.alloc_count);
	assert_int_equal(ours.alloc_bytes - own.alloc_bytes, theirs.alloc_bytes);
	assert_int_equal(ours.free_count - own.free_count, theirs.free_count);
}

void check_beside_heaptrack(const char *what, const char *const *argv, const char *const *env)
{
	const char *dir = scratch_dir();
	struct child *program = start_recorded(argv, env, dir), *tool;
	char *pid = format("%d", (int)program->pid), *record = format("%s/program", dir), *out;
	struct report report;

	tool = tool__start(ARGS("trace", "--format", "json", "--top", "0", "-p", pid), NULL);
	tool__await_tracing(tool);
	child__poke(program);
	assert_int_equal(child__await_exit(program, LONG_MS), 0);
	assert_int_equal(child__await_exit(tool, LONG_MS), 0);
	out = child__stdout(tool);
	report = report__parse(out);
	check_recorded(what, record, &report, program->pid);
	free(out);
	free(record);
	free(pid);
}
