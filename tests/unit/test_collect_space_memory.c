/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What memory system calls of an address space become: its ranges and its code. */
#include "collect_events_fixture.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>

#define PAGE 4096ULL
#define AREA 0x7f0000000000ULL
#define STACK_ID 7

/* ---- ranges ---- */

static struct event map_event(enum event_kind kind, uint64_t page, uint64_t pages, uint64_t time_ns)
{
	return (struct event){
		.kind = kind,
		.space = 1,
		.time_ns = time_ns,
		.begin_ns = time_ns - 1,
		.stack_id = STACK_ID,
		.map =
			{
				.addr = AREA + page * PAGE,
				.len = pages * PAGE,
				.prot = PROT_READ | PROT_WRITE,
				.flags = MAP_PRIVATE | MAP_ANONYMOUS,
				.tgid = 100,
			},
	};
}

/* Live pages and mappings of all stacks. */
static void check_ranges(const struct space_info *space, uint64_t pages, int64_t mappings)
{
	struct range_costs costs = {0};
	struct cost sum = {0};

	assert_int_equal(ranges__costs(space->ranges, &costs), 0);
	for (size_t i = 0; i < costs.rows.cnt; i++)
		cost__add(&sum, &costs.rows.items[i].cost);
	range_costs__free(&costs);
	assert_int_equal(sum.live_bytes, pages * PAGE);
	assert_int_equal(sum.live_count, mappings);
}

static void test_mmap_and_munmap(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct event event;

	apply(table, map_event(EV_MMAP, 0, 8, 20));
	check_ranges(space, 8, 1);
	apply(table, map_event(EV_MUNMAP, 2, 3, 30));
	check_ranges(space, 5, 1);
	event = map_event(EV_MMAP, 100, 4, 40); /* what an allocator maps is its own */
	event.flags = EVENT_IN_ALLOCATOR;
	apply(table, event);
	event = map_event(EV_MMAP, 200, 4, 50); /* a file's pages are no memory of the program's */
	event.map.flags = MAP_PRIVATE;
	event.map.ino = 5;
	apply(table, event);
	check_ranges(space, 5, 1);
	apply(table, map_event(EV_MUNMAP, 0, 300, 60));
	check_ranges(space, 0, 0);
}

static void test_reserve_and_mprotect(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct event event = map_event(EV_MMAP, 0, 100, 20);

	event.map.prot = PROT_NONE;
	apply(table, event);
	check_ranges(space, 0, 0);
	apply(table, map_event(EV_MPROTECT, 10, 5, 30));
	check_ranges(space, 5, 1);
	event = map_event(EV_MPROTECT, 10, 5, 40);
	event.map.prot = PROT_NONE;
	apply(table, event);
	check_ranges(space, 5, 1);
	event = map_event(EV_MPROTECT, 50, 5, 50);
	event.flags = EVENT_IN_ALLOCATOR;
	apply(table, event);
	check_ranges(space, 5, 1);
}

static void test_mremap_and_brk(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct event event = {.space = 1, .time_ns = 30, .begin_ns = 29, .stack_id = STACK_ID};

	apply(table, map_event(EV_MMAP, 0, 4, 20));
	event.kind = EV_MREMAP;
	event.remap.old_addr = AREA;
	event.remap.old_len = 4 * PAGE;
	event.remap.addr = AREA + 100 * PAGE;
	event.remap.len = 6 * PAGE;
	event.remap.flags = MREMAP_MAYMOVE;
	apply(table, event);
	check_ranges(space, 6, 1);
	apply(table, map_event(EV_MUNMAP, 0, 4, 40));
	check_ranges(space, 6, 1);
	/* nothing was left there */
	assert_int_equal(ranges__unknown_bytes(space->ranges), 4 * PAGE);
	event.kind = EV_BRK;
	event.time_ns = 50;
	event.begin_ns = 49;
	memset(&event.remap, 0, sizeof(event.remap));
	event.remap.old_addr = AREA / 2;
	event.remap.addr = AREA / 2 + 3 * PAGE;
	apply(table, event);
	check_ranges(space, 9, 2);
	event.time_ns = 60;
	event.begin_ns = 59;
	event.remap.old_addr = AREA / 2 + 3 * PAGE;
	event.remap.addr = AREA / 2 + PAGE;
	apply(table, event);
	check_ranges(space, 7, 2);
}

/* MREMAP_DONTUNMAP leaves the old range mapped, and empty. */
static void test_mremap_keeping_the_old(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct event event = {
		.kind = EV_MREMAP, .space = 1, .time_ns = 30, .begin_ns = 29, .stack_id = STACK_ID};

	apply(table, map_event(EV_MMAP, 0, 4, 20));
	event.remap.old_addr = AREA;
	event.remap.old_len = event.remap.len = 4 * PAGE;
	event.remap.addr = AREA + 100 * PAGE;
	event.remap.flags = MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */;
	apply(table, event);
	check_ranges(space, 4, 1);
	apply(table, map_event(EV_MUNMAP, 0, 4, 40));
	check_ranges(space, 4, 1);
	assert_int_equal(ranges__unknown_bytes(space->ranges), 0);
}

static void test_fork_inherits_ranges(void **state)
{
	struct space_table *table = *state;
	struct space_info *parent = see_new(table, 1, 100, 10), *child;
	struct event event;

	apply(table, map_event(EV_MMAP, 0, 4, 20));
	child = see_fork(table, 2, 101, 1, 50);
	check_ranges(child, 4, 1);
	event = map_event(EV_MUNMAP, 0, 4, 60);
	event.space = 2;
	apply(table, event);
	check_ranges(child, 0, 0);
	check_ranges(parent, 4, 1);
	see_exec(table, 3, 100, 1, 70);
	check_ranges(space_table__find(table, 3), 0, 0);
}

static void test_events_of_unknown_spaces(void **state)
{
	struct space_table *table = *state;

	apply(table, map_event(EV_MMAP, 0, 4, 20));
	assert_int_equal(table->spaces.cnt, 0);
}

/* ---- code ---- */

static struct event code_event(uint64_t addr, uint64_t len, uint64_t pgoff, uint64_t ino)
{
	struct event event = {.kind = EV_EXEC_MAP, .space = 1, .time_ns = 20, .begin_ns = 19};

	event.map.addr = addr;
	event.map.len = len;
	event.map.prot = PROT_READ | PROT_EXEC;
	event.map.flags = MAP_PRIVATE;
	event.map.dev = 8 << 20 | 1; /* the kernel's encoding of 8:1 */
	event.map.ino = ino;
	event.map.pgoff = pgoff;
	return event;
}

static void test_exec_map(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct proc_map map = {
		.dev = makedev(8, 1), .ino = 77, .path = (char *)"/lib/plugin.so", .deleted = true};
	uint32_t module = module_table__add(&table->modules, NO_SUCH_PID, &map);

	assert_int_not_equal(module, MODULE_NONE);
	space->maps_stale = false;
	apply(table, code_event(AREA, 16 * PAGE, 3 * PAGE, 77));
	assert_true(space->maps_stale);
	assert_int_equal(space->code.cnt, 1);
	assert_null(space_info__find_code(space, AREA - 1));
	assert_non_null(space_info__find_code(space, AREA));
	assert_null(space_info__find_code(space, AREA + 16 * PAGE));
	assert_int_equal(space_info__find_code(space, AREA + 5)->module, module);
	assert_int_equal(space_info__find_code(space, AREA + 5)->off, 3 * PAGE);
	check_ranges(space, 0, 0);

	/* a file never seen: only /proc can tell */
	apply(table, code_event(AREA + 100 * PAGE, PAGE, 0, 78));
	assert_int_equal(space->code.cnt, 1);
	/* what lies on top is newer; an impossible range is not believed */
	apply(table, code_event(AREA + PAGE, PAGE, 9 * PAGE, 77));
	assert_int_equal(space_info__find_code(space, AREA + PAGE)->off, 9 * PAGE);
	apply(table, code_event(UINT64_MAX - PAGE, 16 * PAGE, 0, 77));
	assert_int_equal(space->code.cnt, 2);
}

/* Code made at run time: mapped executable at once, or made so later. */
static void test_jit_code(void **state)
{
	struct space_table *table = *state;
	struct space_info *space = see_new(table, 1, 100, 10);
	struct event event = map_event(EV_MMAP, 0, 4, 20);

	space->maps_stale = false;
	apply(table, event);
	assert_false(space->maps_stale);
	event.map.prot |= PROT_EXEC;
	apply(table, event);
	assert_true(space->maps_stale);
	space->maps_stale = false;
	event = map_event(EV_MPROTECT, 0, 4, 30);
	apply(table, event);
	assert_false(space->maps_stale);
	event.map.prot = PROT_READ | PROT_EXEC;
	apply(table, event);
	assert_true(space->maps_stale);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_mmap_and_munmap),
		TABLE_TEST(test_reserve_and_mprotect),
		TABLE_TEST(test_mremap_and_brk),
		TABLE_TEST(test_mremap_keeping_the_old),
		TABLE_TEST(test_fork_inherits_ranges),
		TABLE_TEST(test_events_of_unknown_spaces),
		TABLE_TEST(test_exec_map),
		TABLE_TEST(test_jit_code),
	};

	return cmocka_run_group_tests_name("collect space memory", tests, NULL, NULL);
}
