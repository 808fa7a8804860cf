/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts and bytes of living objects, beside what their process says that it made. */
#include "unit/forged_memory.h"
#include "unit/python_child.h"

#include <inttypes.h>

#include "python/census.h"
#include "python/type_info.h"
#include "util/clock.h"

static void open_process(const struct python *python, const struct target *target,
			 struct python_process *ret)
{
	struct python_build build;
	char *reason = NULL;
	uint64_t bias;
	int err;

	assert_true(find_interpreter(target->pid, &build, &bias));
	err = python_process__check(target->pid, bias, &build, ret, &reason);
	if (err)
		fail_msg("Python %s: %s: %s", python->version, strerror(-err),
			 reason ? reason : "");
	python_build__free(&build);
}

static struct census take(const struct python_process *process)
{
	struct census census = {0};
	uint64_t cnt = 0, bytes = 0;

	assert_int_equal(census__take(process, &census), 0);
	for (size_t i = 0; i < census.rows.cnt; i++) {
		const struct census_row *row = &census.rows.items[i];

		assert_true(!i || row->bytes <= row[-1].bytes);
		assert_true(row->large_bytes <= row->bytes);
		cnt += row->cnt;
		bytes += row->bytes;
	}
	assert_int_equal(cnt, census.cnt);
	assert_int_equal(bytes, census.bytes);
	return census;
}

static struct census_row row_of(const struct census *census, const char *type)
{
	for (size_t i = 0; i < census->rows.cnt; i++)
		if (!strcmp(census->rows.items[i].type, type))
			return census->rows.items[i];
	return (struct census_row){0};
}

/* ---- exact ----------------------------------------------------------------------------------- */

/*
 * At each mark the target says how many objects of which type it has more than at the last, and how
 * many bytes they occupy (0 = not said): as pymalloc rounds them, or as they were asked of malloc.
 */
static const char truth_script[] =
	"import sys, collections\n"
	"head = 16\n"
	"def occ(n): return (n + 15) // 16 * 16 if n <= 512 else n\n"
	"def mark(*rows):\n"
	"    for name, cnt, size in rows: print('%s %d %d' % (name, cnt, size))\n"
	"    print('end'); sys.stdout.flush(); sys.stdin.readline()\n"
	"class Session:\n"
	"    def __init__(self, i): self.user = i * 1.5; self.place = None\n"
	"class Point:\n"
	"    __slots__ = ('x', 'y')\n"
	"class Outer:\n"
	"    class Inner(list): pass\n"
	"class S\u00fc\u00df(int): pass\n"
	"values311 = sys.version_info >= (3, 11)\n"
	"def local():\n"
	"    held = bytes(5 << 20)\n"
	"    mark(('bytes', 1, sys.getsizeof(held)))\n"
	"keep = []\n"
	"class Holder: pass\n"
	"h = Holder()\n"
	"h.all = {}\n"
	"def one(name, thing): h.all[name] = thing\n"
	"mark(); mark()\n"
	"one('s', [Session(i) for i in range(5000)])\n"
	"mark(('__main__.Session', 5000, 0), ('float', 5000, 5000 * 32),\n"
	"     ('dict of __main__.Session', 0 if values311 else 5000, 0))\n"
	"for s in h.all['s'][:1000]: s.__dict__\n"
	"del s\n"
	"mark(('dict of __main__.Session', 1000 if values311 else 0, 0))\n"
	"one('p', [Point() for i in range(7000)])\n"
	"mark(('__main__.Point', 7000, 7000 * 48))\n"
	"one('big', [bytes(10 << 20), bytes(10 << 20), b'x' * int('600')])\n"
	"mark(('bytes', 3, sum(sys.getsizeof(b) for b in h.all['big'])), ('list', 1, 0))\n"
	"one('l', [[[i] for i in range(100)] for j in range(40)])\n"
	"mark(('list', 4041, sum(occ(56) + occ(sys.getsizeof(x) - 56) for x in\n"
	"      [h.all['l']] + h.all['l'] + [z for y in h.all['l'] for z in y])))\n"
	"one('d', [{'k%d' % j: None for j in range(i % 40)} for i in range(1000)])\n"
	"mark(('dict', 1000, sum(occ(64) + (occ(sys.getsizeof(x) - 64) if x else 0)\n"
	"      for x in h.all['d'])))\n"
	"one('e', {i + 0.25: (i,) * 100 for i in range(20000)})\n"
	"mark(('dict', 1, occ(64) + occ(sys.getsizeof(h.all['e']) - 64)),\n"
	"     ('tuple', 20000, 20000 * (40 + 800)), ('float', 20000, 20000 * 32))\n"
	"one('t', 'y' * 100000)\n"
	"one('u', '\u20ac' * int('1000'))\n"
	"mark(('str', 2, sys.getsizeof(h.all['t']) + sys.getsizeof(h.all['u'])))\n"
	"one('i', 1 << 40000)\n"
	"mark(('int', 1, sys.getsizeof(h.all['i'])))\n"
	"one('set', set(i + 0.25 for i in range(10000)))\n"
	"mark(('set', 1, sys.getsizeof(h.all['set'])), ('float', 10000, 10000 * 32))\n"
	"one('ba', bytearray(1 << 20))\n"
	"mark(('bytearray', 1, 0))\n"
	"one('dq', collections.deque(['z' * 600 + str(i) for i in range(10000)]))\n"
	"mark(('collections.deque', 1, 0), ('str', 10000, sum(map(sys.getsizeof, h.all['dq']))))\n"
	"one('in', [Outer.Inner([1, 2]) for i in range(300)])\n"
	"mark(('__main__.Outer.Inner', 300, 0))\n"
	"one('sub', [S\u00fc\u00df(i) for i in range(200)])\n"
	"mark(('__main__.S\u00fc\u00df', 200, 0))\n"
	"one('cls', [type('Made', (), {}) for i in range(50)])\n"
	"mark(('type', 50, 0), ('dict of type', 50, 0))\n"
	"one('gen', [(i for i in range(3)) for j in range(500)])\n"
	"mark(('generator', 500, 0))\n"
	"local()\n"
	"h.all.clear()\n"
	"mark(('__main__.Session', -5000, 0), ('__main__.Point', -7000, -7000 * 48))\n";

static void check_row(const struct python *python, const char *line, const struct census *last,
		      const struct census *now)
{
	int64_t cnt, bytes, seen_cnt, seen_bytes, slack = 3, slack_bytes = 1200;
	struct census_row before, after;
	char *copy = strdup(line), *at;

	assert_non_null(copy);
	at = strrchr(copy, ' ');
	bytes = strtoll(at + 1, NULL, 10);
	*at = 0;
	at = strrchr(copy, ' ');
	cnt = strtoll(at + 1, NULL, 10);
	*at = 0;
	before = row_of(last, copy);
	after = row_of(now, copy);
	seen_cnt = (int64_t)(after.cnt - before.cnt);
	seen_bytes = (int64_t)(after.bytes - before.bytes);
	/* A line that is printed or read leaves a few strings and the like, no classes; while it
	 * waits it holds a buffer of 8 KiB. */
	if (strchr(copy, '.'))
		slack = slack_bytes = 0;
	else if (!strcmp(copy, "bytes"))
		slack_bytes = 9000;
	if (labs(seen_cnt - cnt) > slack || (bytes && labs(seen_bytes - bytes) > slack_bytes))
		fail_msg("Python %s: %s: %" PRId64 " in %" PRId64 " bytes made, %" PRId64
			 " in %" PRId64 " bytes seen",
			 python->version, copy, cnt, bytes, seen_cnt, seen_bytes);
	free(copy);
}

static void check_truth(const struct python *python)
{
	struct target target = start_python(python, truth_script);
	struct census last = {0}, now;
	struct python_process process;
	unsigned int rows = 0;
	char *line;

	for (int step = 0;; step++) {
		char *lines[8];
		size_t cnt = 0;

		while ((line = read_line(&target)) && strcmp(line, "end")) {
			assert_true(cnt < 8);
			lines[cnt++] = line;
		}
		if (!line)
			break;
		free(line);
		wait_until_idle(&target);
		if (!step)
			open_process(python, &target, &process);
		now = take(&process);
		assert_int_equal(now.torn, 0);
		for (size_t i = 0; i < cnt; i++) {
			check_row(python, lines[i], &last, &now);
			free(lines[i]);
			rows++;
		}
		census__free(&last);
		last = now;
		go_on(&target);
	}
	assert_true(rows >= 24);
	print_message("Python %s: %u rows as the target said; in the end %" PRIu64
		      " objects, %" PRIu64 " bytes, %" PRIu64 " not objects\n",
		      python->version, rows, last.cnt, last.bytes,
		      row_of(&last, "(not an object)").cnt);
	census__free(&last);
	stop_target(&target);
}

static void test_truth(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		if (is_supported(&pythons[i]))
			check_truth(&pythons[i]);
}

/* ---- speed ----------------------------------------------------------------------------------- */

static const char million_script[] =
	"import sys\n"
	"class Session:\n"
	"    def __init__(self, i): self.user = i + 0.5; self.items = [i]\n"
	"keep = [Session(i) for i in range(333334)]\n"
	"print(len(keep)); sys.stdout.flush(); sys.stdin.readline()\n";

static void test_million(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		struct target target;
		struct python_process process;
		struct census census;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], million_script);
		assert_int_equal(next_number(&target), 333334);
		wait_until_idle(&target);
		open_process(&pythons[i], &target, &process);
		census = take(&process);
		print_message("Python %s: %" PRIu64 " objects in %.0f ms\n", pythons[i].version,
			      census.cnt, (double)census.elapsed_ns / 1e6);
		assert_int_equal(row_of(&census, "__main__.Session").cnt, 333334);
		assert_true(census.cnt > 1000000);
		assert_true(census.elapsed_ns < 10 * NS_PER_SEC);
		census__free(&census);
		stop_target(&target);
	}
}

/* ---- a busy process, and what a census costs it -------------------------------------------------
 */

static const char busy_script[] =
	"import sys, threading\n"
	"class Point:\n"
	"    __slots__ = ('x', 'y')\n"
	"class Session:\n"
	"    def __init__(self): self.a = {'k': self}\n"
	"keep = [Point() for i in range(20000)], [Session() for i in range(5000)]\n"
	"def churn():\n"
	"    while True:\n"
	"        x = [{j: [j, str(j) * 9]} for j in range(3000)]\n"
	"        y = [bytes(600 + j) for j in range(300)]\n"
	"for i in range(2): threading.Thread(target=churn, daemon=True).start()\n"
	"print(1); sys.stdout.flush(); sys.stdin.readline()\n";

static void test_busy(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++) {
		uint64_t torn = 0;
		struct python_process process;
		struct target target;

		if (!is_supported(&pythons[i]))
			continue;
		target = start_python(&pythons[i], busy_script);
		assert_int_equal(next_number(&target), 1);
		open_process(&pythons[i], &target, &process);
		for (int round = 0; round < 12; round++) {
			struct census census = take(&process);

			assert_int_equal(row_of(&census, "__main__.Point").cnt, 20000);
			assert_int_equal(row_of(&census, "__main__.Session").cnt, 5000);
			torn += census.torn;
			census__free(&census);
		}
		print_message("Python %s, busy: 12 times exact, %" PRIu64 " torn\n",
			      pythons[i].version, torn);
		stop_target(&target);
	}
}

static const char untouched_script[] =
	"import sys, mmap\n"
	"room = mmap.mmap(-1, 4 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
	"room[1 << 30] = 1\n"
	"keep = [i + 0.5 for i in range(100000)], [None] * 3000000, bytes(50 << 20)\n"
	"print(1); sys.stdout.flush(); sys.stdin.readline()\n";

static void test_cost(void **state)
{
	struct python_process process;
	struct target target;
	uint64_t anonymous, rss;

	(void)state;
	if (!python_cnt || !is_supported(&pythons[0]))
		skip();
	target = start_python(&pythons[0], untouched_script);
	assert_int_equal(next_number(&target), 1);
	wait_until_idle(&target);
	open_process(&pythons[0], &target, &process);
	anonymous = rollup_of(target.pid, "Anonymous");
	rss = rollup_of(target.pid, "Rss");
	for (int round = 0; round < 3; round++) {
		struct census census = take(&process);

		assert_true(row_of(&census, "bytes").large_bytes > 50 << 20);
		census__free(&census);
		/* Names of types are read from pages of files, which are mapped then. */
		/* 4 GiB are untouched; a page more or less may be the process's own doing. */
		assert_in_range(rollup_of(target.pid, "Anonymous"), 0, anonymous + 64);
		assert_in_range(rollup_of(target.pid, "Rss"), rss, rss + 1024);
	}
	stop_target(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth),
		cmocka_unit_test(test_million),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
