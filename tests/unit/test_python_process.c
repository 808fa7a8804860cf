/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Living Pythons of this machine, looked at from outside, beside what they say of themselves. */
#include "unit/python_debug_offsets.h"
#include "unit/python_targets.h"

#include <time.h>

#include "python/exe_places.h"
#include "python/frame_walk.h"
#include "python/process.h"

/* Says the stack of the caller, leaf first: line, instruction, name, file. */
#define TELL                                                                                       \
	"import sys, os, threading, time\n"                                                        \
	"def tell():\n"                                                                            \
	"    f, out = sys._getframe(1), []\n"                                                      \
	"    while f:\n"                                                                           \
	"        c = f.f_code\n"                                                                   \
	"        out.append('%d %d %s %s' % (c.co_firstlineno, f.f_lasti,\n"                       \
	"            getattr(c, 'co_qualname', c.co_name), c.co_filename))\n"                      \
	"        f = f.f_back\n"                                                                   \
	"    sys.stdout.write('\\n'.join(out) + '\\nend\\n')\n"                                    \
	"    sys.stdout.flush()\n"

static const char deep_script[] =
	TELL "class Süß:\n"
	     "    def größe(self, n):\n"
	     "        if n:\n"
	     "            return self.größe(n - 1)\n"
	     "        return list(map(lambda x: 日本(x), [1]))\n"
	     "def 日本(x):\n"
	     "    def inner():\n"
	     "        tell()\n"
	     "        os.read(0, 1)\n"
	     "    inner()\n"
	     "def gen(n):\n"
	     "    yield n\n"
	     "    yield Süß().größe(20)\n"
	     "exec(compile('def wrap(g): return [next(g) for _ in \"ab\"]\\n\\n'\n"
	     "    'sorted([3, 1], key=lambda x: wrap(gen(x)))\\n', "
	     "'a place/ein Süßes \U0001f40d.py', 'exec'))\n";

static const char idle_script[] = TELL "print('ready', flush=True)\n"
				       "time.sleep(600)\n";

static const char busy_script[] =
	TELL "class Node:\n"
	     "    def __init__(self, n): self.n, self.d = n, {'a': [n]}\n"
	     "def make(n): return [Node(i) for i in range(n % 7 + 1)]\n"
	     "def nest(n, k): return make(n) if k == 0 else nest(n, k - 1)\n"
	     "def gen(n):\n"
	     "    for i in range(20): yield nest(n + i, i % 5)\n"
	     "def work():\n"
	     "    n = 0\n"
	     "    while True:\n"
	     "        keep = [x for x in gen(n)]\n"
	     "        keep.sort(key=lambda x: len(x))\n"
	     "        n += 1\n"
	     "threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]\n"
	     "for t in threads: t.start()\n"
	     "print('ready', flush=True)\n"
	     "os.read(0, 1)\n";

static int check(const struct target *target, struct python_process *ret, char **ret_reason)
{
	struct python_build build;
	uint64_t bias;
	int err;

	if (!find_interpreter(target->pid, &build, &bias))
		fail_msg("no interpreter found in process %d", (int)target->pid);
	*ret_reason = NULL;
	err = python_process__check(target->pid, bias, &build, ret, ret_reason);
	python_build__free(&build);
	return err;
}

static void check_holds(const struct python *python, const struct target *target,
			struct python_process *ret)
{
	char *reason;
	int err = check(target, ret, &reason);

	if (err)
		fail_msg("Python %s: %s: %s", python->version, strerror(-err),
			 reason ? reason : "");
	assert_int_equal(ret->frames.tsd_first, 792);
	assert_int_equal(ret->frames.tsd_second, 1296);
	assert_true(ret->frames.code_type);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

/* All threads' frames; the caller frees them. */
static size_t read_all(const struct target *target, const struct python_process *process,
		       struct python_frames *ret, size_t max)
{
	struct python_threads threads;
	struct python_build build;
	const char *reason = "";
	uint64_t bias;
	size_t cnt = 0;

	assert_true(find_interpreter(target->pid, &build, &bias));
	assert_int_equal(python_threads__read(target->pid, bias + build.runtime_vaddr,
					      &process->layout, &threads, &reason),
			 0);
	python_build__free(&build);
	for (; cnt < threads.list.cnt && cnt < max; cnt++)
		if (python_frames__read(target->pid, &process->layout, threads.list.items[cnt].addr,
					1000, &ret[cnt], &reason))
			fail_msg("%s", reason);
	array_free(&threads.list);
	return cnt;
}

/* Compares with what the target tells; returns the number of frames. */
static size_t compare_stack(struct target *target, const struct python_frames *frames)
{
	size_t i = 0;
	char *line;

	assert_true(frames->is_complete);
	for (;; i++) {
		int first_line, lasti, name_at = 0;
		const struct python_frame *frame = &frames->list.items[i];
		char *want;

		line = read_line(target);
		assert_non_null(line);
		if (!strcmp(line, "end"))
			break;
		assert_true(i < frames->list.cnt);
		assert_int_equal(sscanf(line, "%d %d %n", &first_line, &lasti, &name_at), 2);
		assert_int_equal(frame->first_line, first_line);
		if (i) /* the first one has gone on since */
			assert_int_equal(frame->unit, lasti / 2);
		assert_true(asprintf(&want, "%s %s", frame->name, frame->file) > 0);
		assert_string_equal(line + name_at, want);
		free(want);
		free(line);
	}
	free(line);
	assert_int_equal(i, frames->list.cnt);
	return i;
}

/* Once it has told something, it waits a moment later in the function that did. */
static void wait_for_answer(const struct target *target)
{
	struct pollfd wait = {.fd = fileno(target->out), .events = POLLIN};

	assert_int_equal(poll(&wait, 1, READY_MS), 1);
	usleep(50000);
}

static void test_deep(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct target target;
		struct python_process process;
		struct python_frames frames[4];
		size_t cnt, last = 0;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], deep_script);
		wait_for_answer(&target);
		check_holds(&pythons[i], &target, &process);
		assert_int_equal(read_all(&target, &process, frames, 4), 1);
		cnt = compare_stack(&target, &frames[0]);
		for (size_t k = 0; k < cnt; k++)
			last += frames[0].list.items[k].is_last;
		assert_true(cnt > 25);
		assert_true(frames[0].list.items[cnt - 1].is_last);
		printf("Python %s: %zu frames as it says itself, in %zu chunks\n",
		       pythons[i].version, cnt, last);
		python_frames__free(&frames[0]);
		stop_target(&target);
	}
}

static void test_idle(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct python_frames frames[2];
		struct target target;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], idle_script);
		expect_line(&target, "ready");
		check_holds(&pythons[i], &target, &process);
		assert_int_equal(read_all(&target, &process, frames, 2), 1);
		assert_int_equal(frames[0].list.cnt, 1);
		assert_string_equal(frames[0].list.items[0].file, "<string>");
		assert_string_equal(frames[0].list.items[0].name, "<module>");
		python_frames__free(&frames[0]);
		stop_target(&target);
	}
}

/* A child of a process with threads: their thread states are gone. */
static void test_forked(void **state)
{
	static const char script[] = "import os, sys, threading, time\n"
				     "threading.Thread(target=time.sleep, args=(600,), "
				     "daemon=True).start()\n"
				     "if os.fork() == 0:\n"
				     "    print(os.getpid(), flush=True)\n"
				     "    time.sleep(600)\n"
				     "os.read(0, 1)\n";

	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct target target, child;
		char *line;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], script);
		line = read_line(&target);
		assert_non_null(line);
		child = (struct target){.pid = atoi(line)};
		check_holds(&pythons[i], &child, &process);
		kill(child.pid, SIGKILL);
		free(line);
		stop_target(&target);
	}
}

/* Threads of other interpreters are found, though the key leads to the first one's states. */
static void test_interpreters(void **state)
{
	static const char script[] =
		"import os, threading, time\n"
		"try: import _interpreters as i\n"
		"except ImportError: import _xxsubinterpreters as i\n"
		"run = getattr(i, 'run_string')\n"
		"for _ in range(3):\n"
		"    s = i.create()\n"
		"    threading.Thread(target=run, args=(s, 'import time\\ntime.sleep(600)'), "
		"daemon=True).start()\n"
		"time.sleep(0.5)\n"
		"print('ready', flush=True)\n"
		"os.read(0, 1)\n";

	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct python_frames frames[16];
		struct target target;
		size_t cnt;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], script);
		expect_line(&target, "ready");
		check_holds(&pythons[i], &target, &process);
		cnt = read_all(&target, &process, frames, 16);
		printf("Python %s: %zu threads of 4 interpreters\n", pythons[i].version, cnt);
		assert_true(cnt >= 4);
		for (size_t k = 0; k < cnt; k++)
			python_frames__free(&frames[k]);
		stop_target(&target);
	}
}

/* ---- while it runs --------------------------------------------------------------------------- */

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void test_busy(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		double longest = 0, begin, took;
		struct python_build build;
		struct target target;
		uint64_t bias;
		char *reason;
		int err;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], busy_script);
		expect_line(&target, "ready");
		assert_true(find_interpreter(target.pid, &build, &bias));
		for (int k = 0; k < 50; k++) {
			begin = now_ms();
			reason = NULL;
			err = python_process__check(target.pid, bias, &build, &process, &reason);
			if (err)
				fail_msg("Python %s, look %d: %s", pythons[i].version, k,
					 reason ? reason : strerror(-err));
			took = now_ms() - begin;
			longest = took > longest ? took : longest;
		}
		printf("Python %s: 50 looks at 3 threads, the longest took %.1f ms\n",
		       pythons[i].version, longest);
		python_build__free(&build);
		stop_target(&target);
	}
}

/* ---- layouts of other versions --------------------------------------------------------------- */

/* A build of another version, as far as a file could claim it. */
static struct python_build pretend(const struct python_build *build, const struct python_build *as)
{
	struct python_build other = *build;

	other.version = as->version;
	other.debug_offsets = as->debug_offsets;
	other.debug_offsets_len = as->debug_offsets_len;
	return other;
}

/* The interpreters' builds, one for each minor version. */
static size_t read_builds(struct python_build *ret, size_t max)
{
	size_t cnt = 0;

	for (size_t i = 0; i < python_cnt && cnt < max; i++) {
		struct target target;
		uint64_t bias;
		bool is_new = is_supported(&pythons[i]);

		for (size_t k = 0; k < cnt; k++)
			is_new &= ret[k].version != pythons[i].version_hex;
		if (!is_new)
			continue;
		target = start_python(&pythons[i], idle_script);
		expect_line(&target, "ready");
		assert_true(find_interpreter(target.pid, &ret[cnt], &bias));
		cnt++;
		stop_target(&target);
	}
	return cnt;
}

static void test_wrong_layouts(void **state)
{
	struct debug_offsets_314 offsets = make_debug_offsets_314();
	struct python_build builds[MAX_PYTHONS + 1], build, other;
	size_t build_cnt = read_builds(builds, MAX_PYTHONS), pairs = 0;
	(void)state;
	builds[build_cnt] = (struct python_build){
		.version = 0x030e,
		.debug_offsets = (uint8_t *)&offsets,
		.debug_offsets_len = sizeof(offsets),
	};
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct target target;
		uint64_t bias;
		char *reason;
		int err;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], deep_script);
		free(read_line(&target));
		assert_true(find_interpreter(target.pid, &build, &bias));
		for (size_t k = 0; k <= build_cnt; k++) {
			if (builds[k].version == pythons[i].version_hex)
				continue;
			other = pretend(&build, &builds[k]);
			reason = NULL;
			err = python_process__check(target.pid, bias, &other, &process, &reason);
			if (err != -ENOTSUP && err != -EAGAIN)
				fail_msg("Python %s with the layout of 3.%u: %d",
					 pythons[i].version, builds[k].version & 0xff, err);
			if (err == -ENOTSUP)
				assert_non_null(reason);
			free(reason);
			pairs++;
		}
		python_build__free(&build);
		stop_target(&target);
	}
	for (size_t k = 0; k < build_cnt; k++)
		python_build__free(&builds[k]);
	printf("%zu wrong pairs of layout and process, all refused\n", pairs);
}

static void test_unsupported(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct target target;
		char *reason;

		if (is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], "import sys\n"
						   "sys.stdout.write('ready\\n')\n"
						   "sys.stdout.flush()\n"
						   "sys.stdin.read()\n");
		expect_line(&target, "ready");
		assert_int_equal(check(&target, &process, &reason), -ENOTSUP);
		assert_non_null(reason);
		printf("Python %s: %s\n", pythons[i].version, reason);
		free(reason);
		stop_target(&target);
	}
}

static void test_gone(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct python_process process;
		struct python_build build;
		struct target target;
		char *reason = NULL;
		uint64_t bias;
		pid_t pid;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], idle_script);
		expect_line(&target, "ready");
		assert_true(find_interpreter(target.pid, &build, &bias));
		pid = target.pid;
		stop_target(&target);
		assert_int_equal(python_process__check(pid, bias, &build, &process, &reason),
				 -ESRCH);
		python_build__free(&build);
		return;
	}
	skip();
}

/* ---- interpreters in other programs ---------------------------------------------------------- */

static void check_embedded(const struct python *python, const char *program)
{
	const char *const before[] = {program, "before", NULL};
	const char *const without[] = {program, "without", NULL};
	const char *const deep[] = {program, "deep", NULL};
	struct python_process process;
	struct python_threads threads;
	struct python_frames frames;
	struct exe_places exe = {0};
	struct target target;
	const char *why = "";
	char *reason;

	target = start_target(before);
	expect_line(&target, "ready");
	assert_int_equal(check(&target, &process, &reason), -EAGAIN);
	assert_null(reason);
	stop_target(&target);

	target = start_target(without);
	expect_line(&target, "ready");
	assert_int_equal(check(&target, &process, &reason), -EAGAIN);
	assert_null(reason);
	stop_target(&target);

	target = start_target(deep);
	expect_line(&target, "ready");
	usleep(20000);
	check_holds(python, &target, &process);
	exe_places__read(target.pid, &exe);
	assert_true(exe.runtime);
	assert_true(exe.code_type);
	assert_int_equal(
		python_threads__read(target.pid, exe.runtime, &process.layout, &threads, &why), 0);
	assert_int_equal(python_frames__read(target.pid, &process.layout,
					     threads.list.items[0].addr, 100, &frames, &why),
			 0);
	assert_int_equal(frames.list.cnt, 22);
	for (size_t i = 0; i < 21; i++)
		assert_string_equal(frames.list.items[i].name, "down");
	assert_string_equal(frames.list.items[21].name, "<module>");
	python_frames__free(&frames);
	array_free(&threads.list);
	stop_target(&target);
}

static void test_embedded(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		const struct python *python = &pythons[i];
		char *flags, *program, *header;
		bool is_there;

		if (!is_supported(python))
			continue;
		assert_true(asprintf(&header, "%s/Python.h", python->include) > 0);
		is_there = python->lib_name[0] && !access(header, R_OK);
		free(header);
		if (!is_there) {
			printf("skipped: Python %s has no headers or no library here\n",
			       python->version);
			continue;
		}
		assert_true(asprintf(&flags,
				     "-O1 -no-pie -fno-pie -I%s -L%s -Wl,-rpath,%s "
				     "-Wl,--no-as-needed -lpython%s",
				     python->include, python->lib_dir, python->lib_dir,
				     python->lib_name) > 0);
		program = compile("gcc", flags, "python_embed.c");
		check_embedded(python, program);
		printf("Python %s: in a program with copies of its data\n", python->version);
		free(program);
		free(flags);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),	    cmocka_unit_test(test_deep),
		cmocka_unit_test(test_busy),	    cmocka_unit_test(test_wrong_layouts),
		cmocka_unit_test(test_unsupported), cmocka_unit_test(test_gone),
		cmocka_unit_test(test_forked),	    cmocka_unit_test(test_interpreters),
		cmocka_unit_test(test_embedded),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
