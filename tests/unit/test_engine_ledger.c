/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process's anonymous memory is made of, read from outside, beside what the process knows
 * itself (mallinfo2, the blocks that it holds) and what the kernel says (smaps_rollup).
 */
#include <sys/mman.h>

#include "unit/heap_child.h"

#include "engine/ledger_read.h"

/* ---- the ledger ------------------------------------------------------------------------------ */

static uint64_t rollup_anonymous(pid_t pid)
{
	char path[64], line[256];
	uint64_t kib = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		(void)sscanf(line, "Anonymous: %" SCNu64, &kib);
	(void)fclose(file);
	return kib * 1024;
}

static void print_ledger(const char *name, const struct ledger *ledger)
{
	print_message("%-14s %8" PRIu64 " KiB%s%s:", name, ledger->anon_bytes / 1024,
		      ledger->allocator ? ", " : "", ledger->allocator ? ledger->allocator : "");
	for (enum ledger_part i = 1; i < LEDGER_PART_CNT; i++)
		if (ledger->part_bytes[i])
			print_message(" %s %" PRIu64 ",", ledger_part__name(i),
				      ledger->part_bytes[i] / 1024);
	print_message(" beside: huge %" PRIu64 " shared %" PRIu64 " files %" PRIu64 "\n",
		      ledger->huge_bytes / 1024, ledger->shared_bytes / 1024,
		      ledger->file_bytes / 1024);
}

/* Reads a process that is at rest: what the kernel says is the same before and after. */
static struct ledger read_at_rest(pid_t pid, const struct pool_scan *scan)
{
	struct ledger ledger = {0};
	uint64_t before = 0, after = 1;

	for (int i = 0; i < 100 && before != after; i++) {
		usleep(i ? 100000 : 0);
		before = rollup_anonymous(pid);
		assert_int_equal(ledger__read(pid, scan, NEVER, &ledger), 0);
		after = rollup_anonymous(pid);
	}
	assert_int_equal(ledger.anon_bytes, before);
	return ledger;
}

static uint64_t sum_of(const struct ledger *ledger)
{
	uint64_t sum = 0;

	for (int i = 0; i < LEDGER_PART_CNT; i++)
		sum += ledger->part_bytes[i];
	return sum;
}

static void assert_adds_up(const char *name, const struct ledger *ledger)
{
	uint64_t unknown =
		ledger->part_bytes[LEDGER_UNEXPLAINED] + ledger->part_bytes[LEDGER_HEAP_UNREAD];

	print_ledger(name, ledger);
	assert_int_equal(sum_of(ledger), ledger->anon_bytes);
	assert_true(unknown * 50 <= ledger->anon_bytes);
}

static struct ledger ledger_of(const char *program, const char *story, const char *preload,
			       struct truth *ret_truth)
{
	struct child child = tell_story(program, story, preload, ret_truth);
	struct ledger ledger = read_at_rest(child.pid, NULL);

	stop(&child);
	assert_adds_up(story, &ledger);
	return ledger;
}

static uint64_t part(const struct ledger *ledger, enum ledger_part which)
{
	return ledger->part_bytes[which];
}

static void assert_near(const char *what, uint64_t bytes, uint64_t want, uint64_t slack)
{
	if (bytes + slack < want || bytes > want + slack)
		fail_msg("%s: %" PRIu64 " KiB, should be %" PRIu64 " KiB, %" PRIu64 " more or less",
			 what, bytes / 1024, want / 1024, slack / 1024);
}

/* 200 MiB in small blocks, of which each 1000th is kept. */
static void test_retention(void **state)
{
	struct ledger none = {0}, ledger;
	struct ledger_verdict verdict;
	struct truth truth;

	(void)state;
	ledger = ledger_of(glibc_story, "retain", NULL, &truth);
	verdict = ledger__judge(&none, &ledger, MIB);
	assert_near("blocks", part(&ledger, LEDGER_HEAP_USED), truth.live, 16 << 10);
	assert_near("kept", ledger__kept(&ledger), truth.free, 64 << 10);
	assert_int_equal(verdict.cause, LEDGER_CAUSE_RETAINED);
	assert_true(ledger.cache_key); /* seven small blocks are in the thread's cache */
	assert_true(verdict.bytes > 198 * MIB);
	assert_true(ledger.largest_free_bytes > 1000 * 1000);
	assert_true(ledger.largest_free_bytes < 1100 * 1000);
}

/* Each second one: nothing can be given back. */
static void test_fragmentation(void **state)
{
	struct ledger none = {0}, ledger;
	struct truth truth;

	(void)state;
	ledger = ledger_of(glibc_story, "holes", NULL, &truth);
	assert_near("holes", part(&ledger, LEDGER_HEAP_HOLES), truth.free - truth.top, 16 << 10);
	assert_int_equal(part(&ledger, LEDGER_HEAP_PAGES), 0);
	assert_int_equal(ledger.largest_free_bytes, 2016);
	/* What is between the blocks is as much as these: what grows is told by the difference. */
	ledger__put(&none, LEDGER_HEAP_USED, part(&ledger, LEDGER_HEAP_USED));
	assert_int_equal(ledger__judge(&none, &ledger, MIB).cause, LEDGER_CAUSE_FRAGMENTED);
	ledger = ledger_of(static_story, "shuffled", NULL, &truth);
	assert_near("fast bins", part(&ledger, LEDGER_HEAP_CACHED), truth.fast, 16 << 10);
}

static void test_other_parts(void **state)
{
	struct ledger ledger;
	struct truth truth;

	(void)state;
	ledger = ledger_of(glibc_story, "top", NULL, &truth);
	assert_near("top", part(&ledger, LEDGER_HEAP_TOP), 20 * MIB, 256 << 10);
	ledger = ledger_of(glibc_story, "big", NULL, &truth);
	assert_int_equal(part(&ledger, LEDGER_BIG_BLOCKS), truth.big);
	ledger = ledger_of(glibc_story, "mapped", NULL, &truth);
	assert_near("mapped", part(&ledger, LEDGER_MAPPED), 20 * MIB, 64 << 10);
	assert_int_equal(ledger.shared_bytes, 16 * MIB);
	ledger = ledger_of(glibc_story, "threads", NULL, &truth);
	assert_near("heaps of threads", part(&ledger, LEDGER_HEAP_USED), truth.used, 64 << 10);
	assert_near("blocks of threads", part(&ledger, LEDGER_BIG_BLOCKS), truth.big, 0);
	assert_true(part(&ledger, LEDGER_THREAD_STACKS) >= 12 << 10);
	ledger = ledger_of(glibc_story, "huge", NULL, &truth);
	/* The kernel's first huge page begins where the mapping is aligned. */
	if (ledger.huge_bytes >= 30 * MIB)
		assert_near("zeros", part(&ledger, LEDGER_HUGE_ZEROS),
			    ledger.huge_bytes - ledger.huge_bytes / (2 * MIB) * 4096, 0);
	else
		print_message("skipped: this host gives no huge pages\n");
}

/* Another malloc's memory is mapped, or by brk: its name is known where it is a library's. */
static void test_other_allocators(void **state)
{
	static const struct {
		const char *library, *name;
	} others[] = {
		{"libjemalloc.so.2", "jemalloc"},
		{"libtcmalloc_minimal.so.4", "tcmalloc"},
		{"libmimalloc.so.2", "mimalloc"},
	};
	char *musl = compile("musl-gcc", "-O1 -pthread", "heap_story.c");
	struct ledger none = {0}, ledger;
	struct truth truth;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ledger = ledger_of(glibc_story, "holes", others[i].library, &truth);
		assert_string_equal(ledger.allocator, others[i].name);
		assert_false(ledger.has_unread_pools);
		assert_int_equal(ledger__judge(&none, &ledger, MIB).cause, LEDGER_CAUSE_MAPPED);
		assert_true(part(&ledger, LEDGER_MAPPED) + part(&ledger, LEDGER_OTHER_HEAP) >
			    30 * MIB);
		assert_int_equal(part(&ledger, LEDGER_HEAP_USED), 0);
	}
	ledger = ledger_of(musl, "holes", NULL, &truth);
	assert_string_equal(ledger.allocator, "musl");
	assert_int_equal(part(&ledger, LEDGER_HEAP_USED), 0);
	free(musl);
}

/* Nothing is told of what was not begun with. */
static void test_too_much(void **state)
{
	const size_t bytes = 192 * MIB;
	char *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ledger ledger = {0};

	(void)state;
	assert_true(room != MAP_FAILED);
	memset(room, 1, bytes);
	assert_int_equal(ledger__read(getpid(), NULL, 1, &ledger), -ETIME);
	assert_false(ledger.is_known);
	munmap(room, bytes);
}

/* When there is no time, the sum is still the kernel's, and what is not known is said. */
static void test_deadline(void **state)
{
	struct truth truth;
	struct child child = tell_story(glibc_story, "holes", NULL, &truth);
	struct ledger ledger = {0};

	(void)state;
	assert_int_equal(ledger__read(child.pid, NULL, 1, &ledger), 0);
	stop(&child);
	print_ledger("no time", &ledger);
	assert_int_equal(sum_of(&ledger), ledger.anon_bytes);
	assert_true(ledger.anon_bytes > 60 * MIB);
	assert_true(part(&ledger, LEDGER_UNEXPLAINED) + part(&ledger, LEDGER_HEAP_UNREAD) >
		    60 * MIB);
	assert_int_equal(ledger__read(child.pid, NULL, NEVER, &ledger), -ESRCH);
}

/* A process that allocates and frees all the time, in two threads. */
static void test_busy(void **state)
{
	uint64_t least = NEVER;
	struct truth truth;
	struct child child = tell_story(glibc_story, "busy", NULL, &truth);

	(void)state;
	for (int i = 0; i < 8 || (i < 200 && least >= MIB); i++) {
		struct ledger ledger;
		uint64_t unread;

		assert_int_equal(ledger__read(child.pid, NULL, NEVER, &ledger), 0);
		print_ledger("busy", &ledger);
		unread = part(&ledger, LEDGER_HEAP_UNREAD);
		assert_int_equal(sum_of(&ledger), ledger.anon_bytes);
		assert_int_equal(part(&ledger, LEDGER_UNEXPLAINED), 0);
		least = unread < least ? unread : least;
		if (unread * 50 <= ledger.anon_bytes)
			assert_true(part(&ledger, LEDGER_HEAP_USED) > 25 * MIB);
	}
	stop(&child);
	assert_true(least < MIB);
}

/* ---- Python ---------------------------------------------------------------------------------- */

/* Objects of 64 bytes, all but each 100th of which go again: pools stay, with a few in each. */
static void test_python(void **state)
{
	static const char script[] = "import sys\n"
				     "held = [b'x' * 30 + b'%d' % i for i in range(400000)]\n"
				     "held = held[::100]\n"
				     "print(14 if sys.version_info >= (3, 10) else 12, "
				     "sys.getallocatedblocks(), flush=True)\n"
				     "sys.stdin.read()\n";
	static const char *const argv[] = {"/usr/bin/python3", "-c", script, NULL};
	struct pool_scan_opts opts = {.alignment = 16};
	struct child child = start(argv, NULL);
	struct ledger ledger, blind;
	struct pool_scan *scan;
	char said[64];
	uint64_t blocks;

	(void)state;
	read_line(&child, said, sizeof(said));
	assert_int_equal(sscanf(said, "%hu %" SCNu64, &opts.pool_shift, &blocks), 2);
	usleep(100000);
	assert_int_equal(pool_scan__read(child.pid, &opts, &scan), 0);
	assert_near("blocks in use", scan->live_cnt, blocks, 2000);
	ledger = read_at_rest(child.pid, scan);
	blind = read_at_rest(child.pid, NULL);
	stop(&child);
	assert_adds_up("python", &ledger);
	assert_adds_up("no pools", &blind);
	assert_false(ledger.has_unread_pools);
	assert_true(blind.has_unread_pools);
	assert_int_equal(part(&ledger, LEDGER_OBJECTS), scan->live_bytes);
	/* 396000 of 33 bytes of their own and 6 of a number, and a head of 33: 80 or 64 each. */
	assert_true(part(&ledger, LEDGER_OBJECTS_FREE) > 396000ULL * 64);
	assert_near("mapped", part(&blind, LEDGER_MAPPED) - part(&ledger, LEDGER_MAPPED),
		    part(&ledger, LEDGER_OBJECTS) + part(&ledger, LEDGER_OBJECTS_FREE), 0);
	pool_scan__free(scan);
}

/* ---- many kinds of processes ----------------------------------------------------------------- */

#define MAX_WORDS 12

struct kind {
	const char *name;
	const char *argv[MAX_WORDS];
};

static const struct kind kinds[] = {
	{"cat", {"cat"}},
	{"sh", {"sh", "-c", "read x; echo"}},
	{"bash", {"bash", "-c", "for i in {1..100000}; do a[$i]=$i; done; read x; echo"}},
	{"busybox", {"busybox", "cat"}},
	{"tail", {"tail", "-f", "/dev/null"}},
	{"sort", {"sort"}},
	{"awk", {"awk", "BEGIN { for (i = 0; i < 200000; i++) a[i] = i; getline }"}},
	{"perl", {"perl", "-e", "my @a = map { \"x$_\" } 1 .. 200000; <STDIN>"}},
	{"python3",
	 {"/usr/bin/python3", "-c", "import json, sys; d = list(range(10**6)); sys.stdin.read()"}},
	{"python threads",
	 {"/usr/bin/python3", "-c",
	  "import sys, threading, time\n"
	  "def f():\n a = [bytes(1000) for i in range(20000)]\n del a[::2]\n time.sleep(99)\n"
	  "for i in range(4): threading.Thread(target=f, daemon=True).start()\n"
	  "sys.stdin.read()"}},
	{"numpy",
	 {"/usr/bin/python3", "-c",
	  "import numpy, sys; a = numpy.ones(4 << 20); sys.stdin.read()"}},
	{"redis",
	 {"redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--loglevel",
	  "warning"}},
	{"nginx", {"nginx", "-e", "stderr", "-p", ".", "-c", "nginx.conf"}},
	{"node",
	 {"node", "-e", "a = []; for (i = 0; i < 1e6; i++) a.push({i}); process.stdin.resume()"}},
	{"gdb", {"gdb", "-q", "-nx"}},
	{"make", {"make", "-f", "-"}},
	{"xargs", {"xargs"}},
	{"jemalloc",
	 {"env", "LD_PRELOAD=libjemalloc.so.2", "perl", "-e", "my @a = (1) x 1e6; <STDIN>"}},
	{"tcmalloc",
	 {"env", "LD_PRELOAD=libtcmalloc_minimal.so.4", "perl", "-e",
	  "my @a = (1) x 1e6; <STDIN>"}},
	{"mimalloc",
	 {"env", "LD_PRELOAD=libmimalloc.so.2", "perl", "-e", "my @a = (1) x 1e6; <STDIN>"}},
};

#define KIND_CNT (sizeof(kinds) / sizeof(kinds[0]))

static void write_nginx_config(void)
{
	char *path;
	FILE *file;

	assert_true(asprintf(&path, "%s/nginx.conf", work_dir) > 0);
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file,
		"daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
		"events {}\n"
		"http { access_log off; server { listen unix:%s/nginx.sock; } }\n",
		work_dir);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static void test_kinds(void **state)
{
	struct child children[KIND_CNT];
	unsigned int read_cnt = 0;

	(void)state;
	write_nginx_config();
	for (size_t i = 0; i < KIND_CNT; i++)
		children[i] = start(kinds[i].argv, NULL);
	for (size_t i = 0; i < KIND_CNT; i++) {
		struct ledger ledger;

		if (wait_for_rest(&children[i])) {
			ledger = read_at_rest(children[i].pid, NULL);
			assert_adds_up(kinds[i].name, &ledger);
			read_cnt++;
		} else {
			print_message("skipped: %s does not run here\n", kinds[i].name);
		}
		stop(&children[i]);
	}
	assert_true(read_cnt >= KIND_CNT - 1); /* node is optional */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retention),   cmocka_unit_test(test_fragmentation),
		cmocka_unit_test(test_other_parts), cmocka_unit_test(test_other_allocators),
		cmocka_unit_test(test_deadline),    cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_busy),	    cmocka_unit_test(test_python),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, compile_stories, drop_stories);
}
