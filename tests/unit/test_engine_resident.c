/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a process's resident memory is: a process of our own that has some of everything. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/resident.h"
#include "engine/resident_read.h"
#include "engine/resident_stacks.h"
#include "util/clock.h"

#define MIB (1ULL << 20)
#define HEAP_ALIGN (64 * MIB)
#define SMALL 1000
#define NEVER UINT64_MAX
#define BIG_BYTES (192 * MIB)

/* ---- stack pointers ---- */

static void test_stack_pointer(void **state)
{
	static const char *const broken[] = {"",	  "running\n", "-1",
					     "-1 0x7ffc", "0x1 0x2",   "-1 7ffc 0x1",
					     " ",	  "1  0x",     "1 0xg 0x2"};
	uint64_t sp = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(stack_pointer__parse(broken[i], &sp), -ENOENT);
		assert_int_equal(sp, 7);
	}
	assert_int_equal(stack_pointer__parse("-1 0x7ffc12 0x45\n", &sp), 0);
	assert_int_equal(sp, 0x7ffc12);
	assert_int_equal(stack_pointer__parse("0 0x0 0x1 0x2 0x3 0x4 0x5 0x7ffd00 0x7f\n", &sp), 0);
	assert_int_equal(sp, 0x7ffd00);
}

/* ---- a process with some of everything ---- */

struct child {
	pid_t pid;
	int ready, go;
};

static void *map_pages(size_t len, int flags)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	madvise(memory, len, MADV_NOHUGEPAGE);
	return memory;
}

/* Not the sanitizer's. */
void *__libc_malloc(size_t size);

static void touch_blocks(size_t bytes)
{
	for (size_t done = 0; done < bytes; done += SMALL) {
		char *block = __libc_malloc(SMALL);

		if (!block)
			_exit(1);
		memset(block, 1, SMALL);
		__asm__ volatile("" : : "g"(block) : "memory");
	}
}

static pthread_barrier_t barrier;

/* 70 MiB in small blocks: more than one heap of a thread; and 1 MiB of stack. */
static void *use_thread(void *arg)
{
	volatile char stack[MIB];

	(void)arg;
	for (size_t i = 0; i < sizeof(stack); i += 512)
		stack[i] = 1;
	touch_blocks(70 * MIB);
	pthread_barrier_wait(&barrier);
	for (;;)
		pause();
	return NULL;
}

static void touch_file(size_t len)
{
	FILE *file = tmpfile();
	char *memory;

	if (!file || ftruncate(fileno(file), (off_t)len))
		_exit(1);
	memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
	if (memory == MAP_FAILED)
		_exit(1);
	memset(memory, 1, len);
}

/* Lies where a heap would, too far behind the start to look like a stack behind its guard, and
 * says something else. */
static void forge_heap(void)
{
	char *area = mmap(NULL, 3 * HEAP_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *heap = (char *)(((uintptr_t)area + 2 * HEAP_ALIGN - 1) & ~(HEAP_ALIGN - 1));

	if (area == MAP_FAILED || mprotect(heap, 2 * MIB, PROT_READ | PROT_WRITE))
		_exit(1);
	madvise(heap, 2 * MIB, MADV_NOHUGEPAGE);
	memset(heap, 0xff, 2 * MIB);
}

static void wait_main(int ready, int go)
{
	char byte = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

static void everything_main(int ready, int go)
{
	pthread_t thread;

	touch_blocks(5 * MIB);
	memset(map_pages(7 * MIB, MAP_PRIVATE), 1, 6 * MIB);
	memset(map_pages(4 * MIB, MAP_SHARED), 1, 3 * MIB);
	touch_file(2 * MIB);
	forge_heap();
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, use_thread, NULL))
		_exit(1);
	pthread_barrier_wait(&barrier);
	wait_main(ready, go);
}

/* Until it sleeps it may touch more pages. */
static void await_sleep(pid_t pid)
{
	char path[64], text[8] = "running";

	(void)snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	while (!strncmp(text, "running", 7)) {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		assert_non_null(fgets(text, sizeof(text), file));
		(void)fclose(file);
	}
}

static void start_child(struct child *child, void (*child_main)(int ready, int go))
{
	int ready[2], go[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (!child->pid) {
		close(ready[0]);
		close(go[1]);
		child_main(ready[1], go[0]);
	}
	close(ready[1]);
	close(go[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	await_sleep(child->pid);
	child->ready = ready[0];
	child->go = go[1];
}

static void end_child(struct child *child)
{
	int status;

	close(child->ready);
	close(child->go);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	assert_int_equal(status, 0);
}

static uint64_t sum_of(const struct snap_resident *sums)
{
	return sums->objects_bytes + sums->objects_kept_bytes + sums->heaps_bytes +
	       sums->mapped_bytes + sums->files_bytes + sums->stacks_bytes + sums->shared_bytes +
	       sums->unread_bytes;
}

static void assert_about(uint64_t bytes, uint64_t want)
{
	if (bytes < want || bytes > want + MIB)
		fail_msg("%llu KiB, should be %llu and not 1 MiB more",
			 (unsigned long long)bytes / 1024, (unsigned long long)want / 1024);
}

static void test_everything(void **state)
{
	struct resident_reading reading = {0};
	struct child child;

	(void)state;
	start_child(&child, everything_main);
	assert_int_equal(resident_reading__read(child.pid, NULL, NEVER, &reading), 0);
	assert_true(reading.sums.is_known);
	assert_int_equal(sum_of(&reading.sums), reading.sums.total_bytes);
	assert_about(reading.sums.heaps_bytes, 75 * MIB * 1008 / SMALL);
	assert_int_equal(reading.sums.thread_heaps, 2);
	assert_true(reading.heaps.cnt >= 3); /* after a fork, the main one may be in parts */
	assert_true(reading.heaps_mapped_bytes >= reading.sums.heaps_bytes);
	for (size_t i = 1; i < reading.heaps.cnt; i++)
		assert_true(reading.heaps.items[i].start >= reading.heaps.items[i - 1].end);
	/* A sanitizer has some of its own. */
	assert_true(reading.sums.mapped_bytes >= 8 * MIB);
	assert_true(reading.sums.mapped_bytes < 12 * MIB);
	assert_about(reading.sums.shared_bytes, 3 * MIB);
	assert_about(reading.sums.stacks_bytes, MIB);
	assert_true(reading.sums.files_bytes > 2 * MIB);
	assert_true(reading.sums.files_dirty_bytes >= 2 * MIB);
	assert_true(reading.sums.files_dirty_bytes <= reading.sums.files_bytes);
	assert_int_equal(reading.sums.objects_bytes + reading.sums.objects_kept_bytes, 0);
	end_child(&child);
	assert_int_equal(resident_reading__read(child.pid, NULL, NEVER, &reading), -ESRCH);
	assert_false(reading.sums.is_known);
	resident_reading__free(&reading);
}

/* Pools take their part of the mapping that they are in, whatever else it holds. */
static void test_pools(void **state)
{
	struct resident_reading reading = {0};
	struct pool_scan scan = {.pool_bytes = 16384, .live_bytes = MIB};
	struct pool_range range = {.pool_cnt = 128};
	char *memory =
		mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t mapped;

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, 8 * MIB, MADV_NOHUGEPAGE);
	memset(memory, 1, 8 * MIB);
	assert_int_equal(resident_reading__read(getpid(), &scan, NEVER, &reading), 0);
	assert_int_equal(reading.sums.objects_bytes, 0);
	mapped = reading.sums.mapped_bytes;
	range.start = (uintptr_t)memory;
	range.end = range.start + 8 * MIB;
	assert_int_equal(array_push(&scan.ranges, range), 0);
	assert_int_equal(resident_reading__read(getpid(), &scan, NEVER, &reading), 0);
	assert_int_equal(reading.sums.objects_bytes, MIB);
	assert_int_equal(reading.sums.objects_kept_bytes, MIB);
	assert_about(reading.sums.mapped_bytes + 5 * MIB / 2, mapped);
	assert_int_equal(sum_of(&reading.sums), reading.sums.total_bytes);
	/* No more than is there, whatever the scan says. */
	scan.ranges.items[0].pool_cnt = UINT32_MAX;
	scan.live_bytes = UINT64_MAX;
	assert_int_equal(resident_reading__read(getpid(), &scan, NEVER, &reading), 0);
	assert_true(reading.sums.objects_bytes >= 8 * MIB);
	assert_int_equal(reading.sums.objects_kept_bytes, 0);
	assert_int_equal(sum_of(&reading.sums), reading.sums.total_bytes);
	array_free(&scan.ranges);
	resident_reading__free(&reading);
	munmap(memory, 8 * MIB);
}

static char *zero_data;

static void zero_data_main(int ready, int go)
{
	memset(zero_data, 1, 2 * MIB);
	wait_main(ready, go);
}

/* The kernel makes one mapping of a library's zero data and an arena that comes to lie behind it.
 */
static void test_pools_behind_zero_data(void **state)
{
	char name[] = "/tmp/leaksweep-data-XXXXXX";
	struct pool_range range = {.pool_cnt = 64};
	struct pool_scan scan = {.pool_bytes = 16384, .live_bytes = MIB / 2};
	struct resident_reading before = {0}, after = {0};
	struct child child;
	char *room = map_pages(4 * MIB, MAP_PRIVATE);
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0 && !unlink(name) && !ftruncate(fd, MIB));
	assert_ptr_equal(mmap(room, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0),
			 room);
	close(fd);
	/* It must not become one with what lies above. */
	assert_int_equal(mprotect(room + 3 * MIB, MIB, PROT_NONE), 0);
	zero_data = room + MIB;
	range.start = (uint64_t)(uintptr_t)room + 2 * MIB;
	range.end = range.start + MIB;
	scan.ranges.items = &range;
	scan.ranges.cnt = 1;
	start_child(&child, zero_data_main);
	assert_int_equal(resident_reading__read(child.pid, NULL, NEVER, &before), 0);
	assert_int_equal(resident_reading__read(child.pid, &scan, NEVER, &after), 0);
	end_child(&child);
	assert_int_equal(after.sums.objects_bytes, MIB / 2);
	assert_int_equal(after.sums.objects_kept_bytes, MIB / 2);
	assert_int_equal(before.sums.files_bytes - after.sums.files_bytes, MIB);
	/* Pages that this process writes to meanwhile become the child's alone. */
	assert_in_range(before.sums.files_dirty_bytes - after.sums.files_dirty_bytes, MIB - MIB / 4,
			MIB);
	assert_int_equal(sum_of(&after.sums), after.sums.total_bytes);
	resident_reading__free(&before);
	resident_reading__free(&after);
	munmap(room, 4 * MIB);
}

/* When time is up, the rest is said to be not looked at. */
static void test_deadline(void **state)
{
	struct resident_reading reading = {0};

	(void)state;
	assert_int_equal(resident_reading__read(getpid(), NULL, 1, &reading), 0);
	assert_true(reading.sums.unread_bytes > 0);
	assert_int_equal(sum_of(&reading.sums), reading.sums.total_bytes);
	resident_reading__free(&reading);
}

/* The kernel does not stop within a mapping: one that takes longer than there is time is not begun
 * with, as nothing else is. Many small ones are read as far as it goes. */
static void test_one_is_too_much(void **state)
{
	struct resident_reading reading = {0};
	char *room =
		mmap(NULL, BIG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(room != MAP_FAILED);
	memset(room, 1, BIG_BYTES);
	assert_int_equal(resident_reading__read(getpid(), NULL, 1, &reading), 0);
	assert_true(reading.sums.total_bytes >= BIG_BYTES);
	assert_int_equal(reading.sums.unread_bytes, reading.sums.total_bytes);
	assert_int_equal(reading.ledger.part_bytes[LEDGER_UNEXPLAINED], reading.ledger.anon_bytes);
	assert_true(reading.ledger.anon_bytes >= BIG_BYTES);
	assert_int_equal(resident_reading__read(getpid(), NULL, NEVER, &reading), 0);
	assert_int_equal(reading.sums.unread_bytes, 0);
	for (size_t at = 0; at < BIG_BYTES; at += 16 * MIB)
		assert_int_equal(mprotect(room + at, 8 * MIB, PROT_READ), 0);
	assert_int_equal(resident_reading__read(getpid(), NULL, 1, &reading), 0);
#ifndef __SANITIZE_ADDRESS__ /* its shadow is as big, for all that is known beforehand */
	assert_true(reading.sums.unread_bytes < reading.sums.total_bytes);
#endif
	resident_reading__free(&reading);
	munmap(room, BIG_BYTES);
}

/* ---- what malloc keeps ---- */

struct stage {
	struct space_table table;
	struct residents *residents;
	struct snapshot *snap;
	struct snap_proc *proc;
};

/* Looks at this process, of whose heap all but `kept` bytes are in blocks. */
static void look(struct stage *stage, uint64_t kept)
{
	const struct resident_view *views;
	uint32_t idx;
	size_t cnt;

	assert_int_equal(residents__look(stage->residents, &stage->table, NULL, 0), 0);
	views = residents__views(stage->residents, &cnt);
	assert_int_equal(cnt, 1);
	assert_true(views[0].heap_cnt >= 1);
	snapshot__free(stage->snap);
	stage->snap = snapshot__new("trace");
	assert_non_null(stage->snap);
	idx = snapshot__add_proc(stage->snap, getpid(), 1, "me", "", "", "");
	snapshot__add_coverage(stage->snap, idx, "glibc", "", COVERAGE_PROBED, "");
	stage->proc = &stage->snap->procs.items[idx];
	stage->proc->resident = views[0].resident;
	stage->proc->resident.heaps_used_bytes = stage->proc->resident.heaps_bytes - kept;
}

static enum heaps_kept tell(struct stage *stage, const struct residents_known *known)
{
	residents__tell(stage->residents, &stage->table, known, stage->snap);
	return stage->proc->resident.heaps_kept;
}

static struct space_info *begin_stage(struct stage *stage)
{
	struct space_info *space;

	*stage = (struct stage){.residents = residents__new()};
	assert_non_null(stage->residents);
	touch_blocks(5 * MIB);
	space = space_table__add(&stage->table, 1, getpid(), 1);
	assert_non_null(space);
	space->state = PROC_RUNNING;
	space->is_root = true;
	return space;
}

static void end_stage(struct stage *stage)
{
	snapshot__free(stage->snap);
	residents__free(stage->residents);
	space_table__free(&stage->table);
}

static void test_whole(void **state)
{
	const struct residents_known known = {.command = getpid()};
	const struct residents_known filtered = {.command = getpid(), .is_filtered = true};
	struct space_info *space;
	struct stage stage;

	(void)state;
	space = begin_stage(&stage);
	look(&stage, 2 * MIB);
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_WHOLE);
	assert_int_equal(stage.proc->resident.heaps_kept_bytes, 2 * MIB);
	look(&stage, 2 * MIB);
	assert_int_equal(tell(&stage, &filtered), HEAPS_KEPT_UNKNOWN);
	look(&stage, 2 * MIB);
	stage.snap->stats[STAT_MAP_FULL] = 1;
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_UNKNOWN);
	look(&stage, 2 * MIB);
	snapshot__add_coverage(stage.snap, 0, "static", "", COVERAGE_SKIPPED, "stripped");
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_UNKNOWN);
	space->late = true;
	look(&stage, 2 * MIB);
	assert_int_not_equal(tell(&stage, &known), HEAPS_KEPT_WHOLE);
	end_stage(&stage);
}

/* Of a process that ran before: what was not there at the best moment is kept now. */
static void test_at_least(void **state)
{
	const struct residents_known known = {0};
	struct stage stage;

	(void)state;
	begin_stage(&stage);
	look(&stage, 2 * MIB);
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_UNKNOWN);
	look(&stage, MIB);
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_AT_LEAST);
	assert_int_equal(stage.proc->resident.heaps_kept_bytes, 0);
	look(&stage, 4 * MIB);
	assert_int_equal(tell(&stage, &known), HEAPS_KEPT_AT_LEAST);
	assert_true(stage.proc->resident.heaps_kept_bytes <= 3 * MIB);
	assert_true(stage.proc->resident.heaps_kept_bytes >= 2 * MIB);
	end_stage(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_pointer), cmocka_unit_test(test_everything),
		cmocka_unit_test(test_pools),	      cmocka_unit_test(test_pools_behind_zero_data),
		cmocka_unit_test(test_deadline),      cmocka_unit_test(test_whole),
		cmocka_unit_test(test_at_least),      cmocka_unit_test(test_one_is_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
