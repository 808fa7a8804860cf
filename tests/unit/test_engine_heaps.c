/* SPDX-License-Identifier: GPL-2.0-or-later */
/* glibc's heaps read from outside, beside what mallinfo2(3) says inside: to the byte. */
#include "unit/heap_child.h"

#include "engine/heaps.h"
#include "engine/resident_read.h"

static struct heap_sums walk(pid_t pid)
{
	struct resident_reading reading = {0};
	struct heap_sums sums;

	assert_int_equal(resident_reading__read(pid, NULL, NEVER, &reading), 0);
	assert_int_equal(heaps__walk(pid, reading.heaps.items, reading.heaps.cnt, NEVER, &sums), 0);
	resident_reading__free(&reading);
	return sums;
}

static void print_sums(const char *story, const struct heap_sums *sums, const struct truth *truth)
{
	print_message("%s: used %" PRIu64 " cached %" PRIu64 " holes %" PRIu64 " pages %" PRIu64
		      " top %" PRIu64 " unread %" PRIu64 "; mallinfo: arena %" PRIu64
		      " used %" PRIu64 " free %" PRIu64 " fast %" PRIu64 " top %" PRIu64
		      " big %" PRIu64 " live %" PRIu64 "\n",
		      story, sums->size[HEAP_USED], sums->size[HEAP_CACHED], sums->size[HEAP_HOLES],
		      sums->size[HEAP_PAGES], sums->size[HEAP_TOP], sums->size[HEAP_UNREAD],
		      truth->arena, truth->used, truth->free, truth->fast, truth->top, truth->big,
		      truth->live);
}

/* What is before the first chunk of a static program: its TLS. */
#define STATIC_TLS_MAX 8192

struct story {
	const char *name;
	uint64_t cache; /* bytes that the story leaves in its thread's cache; 1 = not told */
};

static const struct story walked_stories[] = {
	{"retain", 7 * 1008}, {"holes", 0}, {"fast", 7 * 112}, {"shuffled", 7 * 80},
	{"cache", 5 * 208},   {"top", 0},   {"threads", 1},    {"sbrk", 1},
};

static void assert_story(const struct story *story, const struct heap_sums *sums,
			 const struct truth *truth, uint64_t slack)
{
	uint64_t held = sums->size[HEAP_USED] + sums->size[HEAP_CACHED];
	uint64_t held_truth = truth->used + truth->fast;
	uint64_t free_size = sums->size[HEAP_HOLES] + sums->size[HEAP_PAGES] + sums->size[HEAP_TOP];

	assert_int_equal(sums->size[HEAP_UNREAD], 0);
	assert_int_equal(free_size, truth->free - truth->fast);
	assert_in_range(held, held_truth, held_truth + slack);
	if (story->cache != 1)
		assert_in_range(sums->size[HEAP_CACHED], truth->fast + story->cache,
				truth->fast + story->cache);
	assert_true(sums->size[HEAP_TOP] >= truth->top);
}

static void check_walk(const char *program, const struct story *story, uint64_t slack)
{
	struct truth truth;
	struct child child = tell_story(program, story->name, NULL, &truth);
	struct heap_sums sums = walk(child.pid);

	stop(&child);
	print_sums(story->name, &sums, &truth);
	assert_story(story, &sums, &truth, slack);
}

static void test_walk(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(walked_stories) / sizeof(walked_stories[0]); i++)
		check_walk(glibc_story, &walked_stories[i], 0);
}

static void test_walk_static(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(walked_stories) / sizeof(walked_stories[0]); i++)
		check_walk(static_story, &walked_stories[i], STATIC_TLS_MAX);
}

/* Asks a program until nothing has changed between before and after. */
static void ask_at_rest(const struct child *child, struct heap_sums *ret, struct truth *ret_truth)
{
	struct heap_sums before = {0}, after = {.largest_free = 1};
	char line[256];

	for (int i = 0; i < 30 && memcmp(&before, &after, sizeof(before)) != 0; i++) {
		assert_true(wait_for_rest(child));
		before = walk(child->pid);
		assert_int_equal(kill(child->pid, SIGUSR2), 0);
		read_line(child, line, sizeof(line));
		if (!parse_truth(line, ret_truth))
			fail_msg("a program said: %s", line);
		after = walk(child->pid);
	}
	*ret = after;
}

/* Programs that are not ours, with a library that says what mallinfo2(3) does, when it is asked. */
static void test_real_programs(void **state)
{
	static const char *const programs[][6] = {
		{"awk", "BEGIN { for (i = 0; i < 200000; i++) a[i] = i; getline }"},
		{"perl", "-e",
		 "my %h = map { $_ => \"x$_\" } 1 .. 200000; delete $h{$_ * 3} for 1 .. 60000; "
		 "<STDIN>"},
		{"/usr/bin/python3", "-c",
		 "import sys, json; a = [bytes(600 + i % 999) for i in range(50000)]; del a[::3]; "
		 "sys.stdin.read()"},
		{"/usr/bin/python3", "-c",
		 "import sys, threading, time\n"
		 "def f():\n a = [bytes(1000) for i in range(20000)]\n del a[::2]\n"
		 " time.sleep(999)\n"
		 "for i in range(4): threading.Thread(target=f, daemon=True).start()\n"
		 "sys.stdin.read()"},
	};
	enum { CNT = sizeof(programs) / sizeof(programs[0]) };
	char *library = compile("gcc", "-O1 -shared -fPIC", "say_mallinfo.c");
	struct child children[CNT];

	(void)state;
	for (size_t i = 0; i < CNT; i++)
		children[i] = start(programs[i], library);
	for (size_t i = 0; i < CNT; i++) {
		const struct story story = {programs[i][0], 1};
		struct heap_sums sums;
		struct truth truth;

		ask_at_rest(&children[i], &sums, &truth);
		stop(&children[i]);
		print_sums(programs[i][0], &sums, &truth);
		assert_story(&story, &sums, &truth, 0);
	}
	free(library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_walk_static),
		cmocka_unit_test(test_real_programs),
	};

	return cmocka_run_group_tests(tests, compile_stories, drop_stories);
}
