/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/ledger_read.h"

#include <errno.h>
#include <string.h>

#include "engine/heaps.h"
#include "engine/huge_zeros.h"
#include "engine/resident_read.h"
#include "util/procfs.h"

#define MAX_ZEROS_READ (256ULL << 20) /* a process of many GiB is not read through */

/* Allocators that take their memory by mmap, unmarked, by what their libraries are called. */
static const struct {
	const char *in_path, *name;
} allocators[] = {
	{"/libjemalloc", "jemalloc"}, {"/libtcmalloc", "tcmalloc"},    {"/libmimalloc", "mimalloc"},
	{"/ld-musl-", "musl"},	      {"-linux-musl/libc.so", "musl"}, {"/libjvm.so", "JVM"},
};

static const char *allocator_of(const struct proc_map *map)
{
	for (size_t i = 0; i < sizeof(allocators) / sizeof(allocators[0]); i++)
		if (strstr(map->path, allocators[i].in_path))
			return allocators[i].name;
	return NULL;
}

/* The program or the library, as everybody who builds it calls them. */
static bool is_python(const struct proc_map *map)
{
	const char *slash = strrchr(map->path, '/');

	return map->executable && slash &&
	       (!strncmp(slash, "/python", 7) || !strncmp(slash, "/libpython", 10));
}

static int name_allocators(pid_t pid, const struct pool_scan *scan, struct ledger *ledger)
{
	struct proc_maps maps = {0};
	int err;

	err = proc_maps__read(pid, &maps);
	for (size_t i = 0; !err && i < maps.maps.cnt; i++) {
		if (!ledger->allocator)
			ledger->allocator = allocator_of(&maps.maps.items[i]);
		ledger->has_unread_pools |= !scan && is_python(&maps.maps.items[i]);
	}
	proc_maps__free(&maps);
	return err;
}

/* Heaps in which not a single chunk was found are not glibc's. */
static bool is_glibc(const struct heap_sums *sums)
{
	for (int i = 0; i < HEAP_PART_CNT; i++)
		if (i != HEAP_UNREAD && sums->size[i])
			return true;
	return false;
}

/*
 * In a mapping of some huge pages and some others, zeros may be of the latter: no more are told
 * than huge pages hold. What is beyond the bytes that are looked at stays where it was.
 */
static int find_zeros(pid_t pid, const struct resident_reading *reading, uint64_t deadline_ns,
		      struct ledger *ledger)
{
	uint64_t left = MAX_ZEROS_READ, zeros;
	int err = 0;

	for (size_t i = 0; !err && i < reading->huge.cnt && left; i++) {
		const struct huge_area *area = &reading->huge.items[i];
		uint64_t bytes = area->end - area->start;

		err = huge_zeros__count(pid, area->start, area->end, left, deadline_ns, &zeros);
		left -= bytes < left ? bytes : left;
		if (!err)
			ledger__move(ledger, area->part, LEDGER_HUGE_ZEROS,
				     zeros < area->huge_bytes ? zeros : area->huge_bytes);
	}
	return err;
}

int ledger__read(pid_t pid, const struct pool_scan *scan, uint64_t deadline_ns, struct ledger *ret)
{
	struct resident_reading reading = {0};
	struct ledger *ledger = &reading.ledger;
	struct heap_sums sums;
	int err;

	err = resident_reading__read(pid, scan, deadline_ns, &reading);
	if (!err && reading.sums.unread_bytes == reading.sums.total_bytes)
		err = -ETIME;
	if (!err)
		err = name_allocators(pid, scan, ledger);
	if (!err)
		err = heaps__walk(pid, reading.heaps.items, reading.heaps.cnt, deadline_ns, &sums);
	if (!err)
		ledger->cache_key = sums.cache_key;
	if (!err && is_glibc(&sums))
		ledger__divide_heaps(ledger, &sums);
	else if (!err && !sums.is_late)
		ledger__move(ledger, LEDGER_HEAP_UNREAD, LEDGER_OTHER_HEAP, UINT64_MAX);
	if (!err)
		err = find_zeros(pid, &reading, deadline_ns, ledger);
	resident_reading__free(&reading);
	if (!err)
		*ret = *ledger;
	return err;
}
