/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * First touches of real processes, from the programs in the kernel to the rows. Each process
 * touches as much as is known in functions that are known; with every page sampled, rows agree to
 * the page, else within five standard errors of what chance makes of the truth. Takes root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "attach/attacher.h"
#include "attach/table_memory.h"
#include "bpf/sample.bpf.h"
#include "collect/collector.h"
#include "collect/touches.h"
#include "engine/deferred.h"
#include "engine/unwinder.h"
#include "small_attacher.h"
#include "touch_child.h"
#include "util/clock.h"
#include "util/procfs.h"

#define MEAN (64UL << 10)
#define SIGMAS 5

struct world {
	struct attacher *attacher;
	struct space_table table;
	struct unwinder *unwinder;
	struct collector *collector;
	struct deferred *deferred;
	struct touches *touches;
};

/* A process that is watched. */
struct watched {
	struct world *world;
	struct touch_child child;
	uint32_t space;
	struct touch_report report;
	struct snapshot *snap; /* that stacks are added to */
};

/* What is to be found in one function. */
struct want {
	const char *name;
	const char *start, *stop;
	enum touch_kind kind;
	uint64_t touched, held;
};

#define WANT(function, how, all, left)                                                             \
	(struct want)                                                                              \
	{                                                                                          \
#function, __start_in_##function, __stop_in_##function, how, all, left             \
	}

static int open_world(void **state)
{
	static struct world world;
	const struct attacher_opts opts = {.watch_touches = true};
	const struct unwinder_opts unwind = {.memory_bytes = DEFAULT_UNWIND_BYTES};

	*state = &world;
	if (geteuid())
		return 0;
	if (small_attacher__open(opts, &world.attacher) ||
	    unwinder__new(&unwind, world.attacher, &world.table, &world.unwinder))
		return -1;
	world.collector =
		collector__new(attacher__maps(world.attacher), attacher__hash_seed(world.attacher),
			       &world.table, NULL, 1U << 20);
	world.deferred = deferred__new(attacher__maps(world.attacher)->raw_stacks, world.unwinder,
				       world.collector, &world.table);
	world.touches = touches__new(attacher__maps(world.attacher), world.collector);
	attacher__start(world.attacher);
	return world.collector && world.deferred && world.touches ? 0 : -1;
}

static int close_world(void **state)
{
	struct world *world = *state;

	touches__free(world->touches);
	deferred__free(world->deferred);
	collector__free(world->collector);
	unwinder__free(world->unwinder);
	attacher__free(world->attacher);
	space_table__free(&world->table);
	return 0;
}

static struct watched watch(void **state, uint64_t mean_bytes)
{
	struct watched watched = {.world = *state};
	struct world *world = *state;
	struct space_info *space;

	if (!world->attacher) {
		print_message("loading BPF programs takes root\n");
		skip();
	}
	watched.child = touch_child__start();
	touch_child__run(&watched.child, " "); /* it has been scheduled, and knows its libc */
	assert_int_equal(attacher__add_proc(world->attacher, watched.child.pid, &watched.space), 0);
	space = space_table__add(&world->table, watched.space, watched.child.pid, 1);
	assert_non_null(space);
	assert_int_equal(space_info__refresh(&world->table, space), 0);
	assert_int_equal(unwinder__cover(world->unwinder, space), 0);
	assert_int_equal(attacher__watch_touches(world->attacher, watched.space, mean_bytes), 0);
	return watched;
}

static void unwatch(struct watched *watched)
{
	struct world *world = watched->world;

	attacher__unwatch_touches(world->attacher, watched->space);
	assert_int_equal(touches__forget(world->touches, watched->space), 0);
	touch_report__free(&watched->report);
	snapshot__free(watched->snap);
	touch_child__end(&watched->child);
}

static void look(struct watched *watched, int64_t growth_bytes)
{
	const struct touch_read_opts opts = {.growth_bytes = growth_bytes};
	const struct collect_opts collect = {.now_ns = clock_ns(CLOCK_MONOTONIC)};

	assert_int_equal(deferred__take(watched->world->deferred), 0);
	assert_int_equal(deferred__finish(watched->world->deferred, false), 0);
	snapshot__free(watched->snap);
	watched->snap = snapshot__new("sweep");
	assert_non_null(watched->snap);
	assert_int_equal(collector__fill(watched->world->collector, &collect, watched->snap), 0);
	touch_report__free(&watched->report);
	assert_int_equal(touches__read(watched->world->touches, watched->space, watched->child.pid,
				       &opts, &watched->report),
			 0);
}

/* Frames are offsets in the file that the function is in. */
static void find_offsets(const struct want *want, uint64_t *ret_from, uint64_t *ret_to)
{
	struct proc_maps maps = {0};
	const struct proc_map *map;

	assert_int_equal(proc_maps__read(getpid(), &maps), 0);
	map = proc_maps__find(&maps, (uintptr_t)want->start);
	assert_non_null(map);
	*ret_from = (uintptr_t)want->start - map->start + map->off;
	*ret_to = *ret_from + (want->stop - want->start);
	proc_maps__free(&maps);
}

/* Whether a row's stack leads through the function. *ret_cut: it could not be walked at once, and
 * too many were for all to be finished. */
static bool leads_through(const struct watched *watched, const struct touch_row *row,
			  const struct want *want, bool *ret_cut)
{
	struct snapshot *snap = watched->snap;
	uint64_t from, to;
	uint32_t node;

	find_offsets(want, &from, &to);
	assert_int_equal(collector__add_stack(watched->world->collector, snap, watched->space,
					      row->stack_id, &node),
			 0);
	*ret_cut = !node || !snap->nodes.items[node].parent;
	for (; node; node = snap->nodes.items[node].parent) {
		const struct snap_frame *frame = &snap->frames.items[snap->nodes.items[node].frame];

		if (frame->offset >= from && frame->offset <= to)
			return true;
	}
	return false;
}

/* Returns five standard errors of a sum of `bytes`, of pages sampled with the mean; `share` is that
 * of a page that does count. */
static double allowed(uint64_t bytes, uint64_t mean_bytes)
{
	double p = sample_probability(4096, mean_bytes) / (double)SAMPLE_ONE;

	return SIGMAS * 4096 * sqrt(bytes / 4096 * (1 - p) / p);
}

static void check_near(const char *name, const char *what, uint64_t got, uint64_t want,
		       double off_bytes)
{
	if (fabs((double)got - (double)want) > off_bytes)
		fail_msg("%s: %" PRIu64 " KiB %s instead of %" PRIu64 " KiB, off by %.0f pages, "
			 "allowed are %.0f",
			 name, got >> 10, what, want >> 10, fabs((double)got - (double)want) / 4096,
			 off_bytes / 4096);
}

struct found {
	uint64_t touched, held, samples;
	uint64_t cut_touched, cut_held; /* of stacks that do not tell */
};

static struct found find_rows(const struct watched *watched, const struct want *want)
{
	struct found found = {0};

	for (size_t i = 0; i < watched->report.rows.cnt; i++) {
		const struct touch_row *row = &watched->report.rows.items[i];
		bool is_cut, is_of = leads_through(watched, row, want, &is_cut);

		if (row->kind != want->kind || (!is_of && !is_cut))
			continue;
		*(is_of ? &found.touched : &found.cut_touched) += row->touched_bytes;
		*(is_of ? &found.held : &found.cut_held) += row->held_bytes;
		found.samples += row->samples;
	}
	print_message("%s: %" PRIu64 " KiB touched, %" PRIu64 " KiB held, %" PRIu64 " samples\n",
		      want->name, found.touched >> 10, found.held >> 10, found.samples);
	return found;
}

/* Returns the samples that the function's rows have. */
static uint64_t check(const struct watched *watched, const struct want *want, double off_bytes)
{
	struct found found = find_rows(watched, want);

	check_near(want->name, "touched", found.touched, want->touched, off_bytes);
	check_near(want->name, "held", found.held, want->held, off_bytes);
	return found.samples;
}

/* What was seen is what was sampled, but for chance, and each sample is somewhere. */
static void check_sums(const struct watched *watched, double off_bytes)
{
	const struct touch_watch *counters = &watched->report.counters;
	uint64_t seen = 0;

	for (int kind = 0; kind < TOUCH_KINDS; kind++)
		seen += counters->seen_bytes[kind];
	check_near("all", "sampled", counters->sampled_bytes, seen, off_bytes);
	assert_int_equal(watched->report.touched_bytes + counters->unsummed_bytes,
			 counters->sampled_bytes);
	assert_int_equal(counters->unsummed_bytes, 0);
	assert_int_equal(counters->unkept_bytes, 0);
	assert_int_equal(counters->unsampled_bytes, 0);
	assert_int_equal(counters->moves_lost, 0);
}

static void check_steps(void **state, const char *letters, const struct want *wants, size_t cnt,
			uint64_t mean_bytes)
{
	struct watched watched = watch(state, mean_bytes);

	touch_child__run(&watched.child, letters);
	look(&watched, TOUCH_NOT_SCALED);
	for (size_t i = 0; i < cnt; i++)
		check(&watched, &wants[i], mean_bytes ? allowed(wants[i].touched, mean_bytes) : 0);
	check_sums(&watched, mean_bytes ? allowed(cnt * STEP_BYTES, mean_bytes) : 0);
	unwatch(&watched);
}

#define CHECK_STEPS(letters, mean, ...)                                                            \
	do {                                                                                       \
		const struct want wants_[] = {__VA_ARGS__};                                        \
		check_steps(state, letters, wants_, sizeof(wants_) / sizeof(wants_[0]), mean);     \
	} while (0)

#define ALL STEP_BYTES

static void test_every_way(void **state)
{
	CHECK_STEPS("mbprnac", 0, WANT(by_mmap, TOUCH_USER, ALL, ALL),
		    WANT(by_brk, TOUCH_USER, ALL, ALL), WANT(by_populate, TOUCH_POPULATE, ALL, ALL),
		    WANT(by_advice, TOUCH_USER, ALL / 4, ALL / 4),
		    WANT(by_advice, TOUCH_POPULATE, ALL * 3 / 4, ALL * 3 / 4),
		    WANT(by_read, TOUCH_KERNEL, ALL, ALL),
		    WANT(by_read_of_zeros, TOUCH_KERNEL, ALL, ALL),
		    WANT(by_file_copy, TOUCH_USER, ALL, ALL));
}

static void test_every_way_sampled(void **state)
{
	CHECK_STEPS("mbrc", MEAN, WANT(by_mmap, TOUCH_USER, ALL, ALL),
		    WANT(by_brk, TOUCH_USER, ALL, ALL), WANT(by_read, TOUCH_KERNEL, ALL, ALL),
		    WANT(by_file_copy, TOUCH_USER, ALL, ALL));
}

static void test_locked(void **state)
{
	CHECK_STEPS("lL", 0, WANT(by_lock, TOUCH_POPULATE, ALL, ALL),
		    WANT(by_locked_brk, TOUCH_POPULATE, ALL, ALL));
}

static void test_huge_pages(void **state)
{
	const struct want want = WANT(by_huge, TOUCH_USER, ALL, ALL);
	struct watched watched = watch(state, 0);
	bool given;

	touch_child__run(&watched.child, "h");
	look(&watched, TOUCH_NOT_SCALED);
	/* Where the kernel has none left, only the pages that were touched. */
	given = watched.report.touched_bytes >= ALL;
	if (given)
		assert_int_equal(check(&watched, &want, 0), ALL / HUGE);
	check_sums(&watched, 0);
	unwatch(&watched);
	if (!given) {
		print_message("the kernel gave no huge pages\n");
		skip();
	}
}

static void test_freed_and_refaulted(void **state)
{
	CHECK_STEPS("mdf", 0, WANT(by_mmap, TOUCH_USER, ALL, 0),
		    WANT(by_refault, TOUCH_USER, ALL / 2, ALL / 2));
	CHECK_STEPS("mdz", 0, WANT(by_mmap, TOUCH_USER, ALL, 0));
	CHECK_STEPS("mu", 0, WANT(by_mmap, TOUCH_USER, ALL, ALL * 3 / 4));
	/* What is touched again and by chance not sampled must not be taken for what was there. */
	CHECK_STEPS("mdfm", MEAN, WANT(by_mmap, TOUCH_USER, 2 * ALL, ALL),
		    WANT(by_refault, TOUCH_USER, ALL / 2, ALL / 2));
}

static void test_moved(void **state)
{
	CHECK_STEPS("mv", 0, WANT(by_mmap, TOUCH_USER, ALL, ALL),
		    WANT(by_move, TOUCH_USER, ALL, ALL));
	CHECK_STEPS("mv", MEAN, WANT(by_mmap, TOUCH_USER, ALL, ALL),
		    WANT(by_move, TOUCH_USER, ALL, ALL));
}

/* Moved, and looked at: what is known by then is where it is, too. */
static void test_moved_between_looks(void **state)
{
	const struct want want = WANT(by_mmap, TOUCH_USER, ALL, ALL),
			  gone = WANT(by_mmap, TOUCH_USER, ALL, 0);
	struct watched watched = watch(state, 0);

	touch_child__run(&watched.child, "m");
	look(&watched, TOUCH_NOT_SCALED);
	touch_child__run(&watched.child, "v");
	look(&watched, TOUCH_NOT_SCALED);
	check(&watched, &want, 0);
	look(&watched, TOUCH_NOT_SCALED);
	check(&watched, &want, 0);
	touch_child__run(&watched.child, "d");
	look(&watched, TOUCH_NOT_SCALED);
	check(&watched, &gone, 0);
	look(&watched, TOUCH_NOT_SCALED);
	assert_int_equal(watched.report.pages_checked * 4096, watched.report.held_bytes);
	unwatch(&watched);
}

/*
 * While one thread maps, the others' stacks cannot be walked through code that none has met before;
 * user space finishes these, of which there is room for 512. All pages are counted all the same.
 */
static void test_threads(void **state)
{
	const struct want want = WANT(by_thread, TOUCH_USER, 2 * ALL, ALL);
	struct watched watched = watch(state, 0);
	struct found found;

	touch_child__run(&watched.child, "t");
	look(&watched, TOUCH_NOT_SCALED);
	found = find_rows(&watched, &want);
	print_message("and cut: %" PRIu64 " KiB touched, %" PRIu64 " KiB held\n",
		      found.cut_touched >> 10, found.cut_held >> 10);
	if (!found.cut_touched)
		check(&watched, &want, 0);
	assert_true(found.touched <= want.touched && found.held <= want.held);
	assert_true(found.touched + found.cut_touched >= want.touched);
	assert_true(found.held + found.cut_held >= want.held);
	assert_true(found.cut_touched <= want.touched / 2 && found.cut_held <= want.held / 2);
	check_sums(&watched, 0);
	unwatch(&watched);
}

static void test_scaled(void **state)
{
	struct watched watched = watch(state, MEAN);
	uint64_t sum = 0;

	touch_child__run(&watched.child, "mb");
	look(&watched, ALL);
	for (size_t i = 0; i < watched.report.rows.cnt; i++) {
		const struct touch_row *row = &watched.report.rows.items[i];

		sum += row->bytes;
		if (row->samples > 100) { /* half of it each */
			check_near("row", "of the growth", row->bytes, ALL / 2,
				   SIGMAS * row->error_bytes);
			assert_in_range(row->error_bytes, 1, ALL / 16);
		}
	}
	check_near("rows", "altogether", sum, ALL, watched.report.rows.cnt);
	look(&watched, -1);
	for (size_t i = 0; i < watched.report.rows.cnt; i++)
		assert_int_equal(watched.report.rows.items[i].bytes, 0);
	unwatch(&watched);
}

/* Errors that are told are those that chance makes. */
static void test_error_told(void **state)
{
	struct watched watched = watch(state, MEAN);
	double told, want;

	touch_child__run(&watched.child, "m");
	look(&watched, TOUCH_NOT_SCALED);
	told = watched.report.error_bytes;
	want = allowed(ALL, MEAN) / SIGMAS;
	print_message("error told: %.0f KiB, of the truth: %.0f KiB\n", told / 1024, want / 1024);
	assert_true(told > want * 0.8 && told < want * 1.25);
	unwatch(&watched);
}

static void test_mean_adjusted(void **state)
{
	struct watched watched = watch(state, 1 << 30);
	const struct want want = WANT(by_brk, TOUCH_USER, ALL, ALL);

	touch_child__run(&watched.child, "m");
	look(&watched, TOUCH_NOT_SCALED);
	assert_in_range(watched.report.counters.samples, 0, 10); /* expected: 0.016 */
	assert_int_equal(attacher__watch_touches(watched.world->attacher, watched.space, 0), 0);
	touch_child__run(&watched.child, "b");
	look(&watched, TOUCH_NOT_SCALED);
	check(&watched, &want, 0);
	assert_true(watched.report.counters.seen_bytes[TOUCH_USER] >= 2 * ALL);
	assert_int_equal(
		attacher__watch_touches(watched.world->attacher, watched.space, MAX_TOUCH_MEAN + 1),
		-EINVAL);
	unwatch(&watched);
}

/* What is not looked up in time is told by the rest. */
static void test_time_limit(void **state)
{
	const struct touch_read_opts opts = {.growth_bytes = TOUCH_NOT_SCALED, .limit_ns = 1};
	struct watched watched = watch(state, 0);

	touch_child__run(&watched.child, "m");
	assert_int_equal(touches__read(watched.world->touches, watched.space, watched.child.pid,
				       &opts, &watched.report),
			 0);
	assert_in_range(watched.report.pages_checked, 1, STEP_PAGES / 2);
	assert_in_range(watched.report.pages_unchecked, STEP_PAGES / 2, 2 * STEP_PAGES);
	assert_in_range(watched.report.held_bytes, ALL, 2 * ALL);
	look(&watched, TOUCH_NOT_SCALED); /* and is not lost */
	assert_int_equal(watched.report.pages_unchecked, 0);
	assert_in_range(watched.report.held_bytes, ALL, 2 * ALL);
	unwatch(&watched);
}

/* Counts this process's own links on kmem:rss_stat. */
static uint32_t count_links(void)
{
	uint32_t cnt = 0;

	for (int fd = 0; fd < 256; fd++) {
		struct bpf_link_info info = {0};
		char path[64], target[64] = "", name[16] = "";
		uint32_t len = sizeof(info);

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) < 0 || !strstr(target, "bpf_link"))
			continue;
		info.raw_tracepoint.tp_name = (uintptr_t)name;
		info.raw_tracepoint.tp_name_len = sizeof(name);
		if (!bpf_obj_get_info_by_fd(fd, &info, &len) &&
		    info.type == BPF_LINK_TYPE_RAW_TRACEPOINT)
			cnt += !strcmp(name, "rss_stat");
	}
	return cnt;
}

static void wait_for_no_links(void)
{
	for (int i = 0; i < 200 && count_links(); i++)
		usleep(50000); /* they are closed on a thread */
	assert_int_equal(count_links(), 0);
}

static void test_attached_while_watched(void **state)
{
	struct watched first, second;

	if (geteuid())
		skip();
	wait_for_no_links();
	first = watch(state, 0);
	assert_int_equal(count_links(), 1);
	second = watch(state, 0);
	assert_int_equal(count_links(), 1);
	unwatch(&first);
	assert_int_equal(count_links(), 1);
	unwatch(&second);
	wait_for_no_links();
}

/* After exec it is another space: nothing of it is counted for the old one. */
static void test_exec_ends_it(void **state)
{
	struct watched watched = watch(state, 0);
	uint64_t samples;

	touch_child__run(&watched.child, "b");
	look(&watched, TOUCH_NOT_SCALED);
	samples = watched.report.counters.samples;
	assert_int_equal(write(watched.child.in, "x", 1), 1);
	for (int i = 0; i < 200; i++) {
		struct proc_info info;

		assert_int_equal(proc_info__read(watched.child.pid, &info), 0);
		if (!strcmp(info.comm, "sleep"))
			break;
		usleep(20000);
	}
	usleep(200000);
	look(&watched, TOUCH_NOT_SCALED);
	assert_in_range(watched.report.counters.samples, samples, samples + 64); /* until exec */
	assert_true(watched.report.held_bytes < ALL / 16);
	unwatch(&watched);
}

static void test_nobody(void **state)
{
	const struct touch_read_opts opts = {.growth_bytes = TOUCH_NOT_SCALED};
	struct touch_report report;
	struct watched watched = watch(state, 0);

	assert_int_equal(touches__read(watched.world->touches, watched.space + 1000, getpid(),
				       &opts, &report),
			 -ENOENT);
	touch_report__free(&report);
	touch_child__run(&watched.child, "m");
	kill(watched.child.pid, SIGKILL);
	waitpid(watched.child.pid, NULL, 0);
	assert_int_equal(touches__read(watched.world->touches, watched.space, watched.child.pid,
				       &opts, &watched.report),
			 -ESRCH);
	watched.child.pid = 0; /* has been waited for */
	unwatch(&watched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_way),
		cmocka_unit_test(test_every_way_sampled),
		cmocka_unit_test(test_locked),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_freed_and_refaulted),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_moved_between_looks),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_scaled),
		cmocka_unit_test(test_error_told),
		cmocka_unit_test(test_mean_adjusted),
		cmocka_unit_test(test_time_limit),
		cmocka_unit_test(test_attached_while_watched),
		cmocka_unit_test(test_exec_ends_it),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
