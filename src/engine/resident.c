/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/resident.h"

#include <stdlib.h>
#include <string.h>

#include "engine/resident_read.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/procfs.h"

/*
 * The kernel looks at each page, 60 ns each as measured: 16 ms a GiB, during which the process gets
 * no new mappings if all of it is one. A larger process is not read at all.
 */
#define MAX_RSS_BYTES (16ULL << 30)
#define PROCESS_NS (200 * NS_PER_MS)
#define ALL_NS NS_PER_SEC

/* A space that was looked at, and may be again. */
struct resident_space {
	uint32_t space;
	pid_t pid;
	uint64_t rss_bytes; /* before it is read */
	struct resident_reading reading;
	bool has_least;
	uint64_t least_bytes; /* of all looks: room in heaps that no block since the trace has */
	bool is_running;
};

struct residents {
	ARRAY(struct resident_space) spaces;
	ARRAY(struct resident_view) views;
};

struct residents *residents__new(void)
{
	return calloc(1, sizeof(struct residents));
}

void residents__free(struct residents *residents)
{
	if (!residents)
		return;
	for (size_t i = 0; i < residents->spaces.cnt; i++)
		resident_reading__free(&residents->spaces.items[i].reading);
	array_free(&residents->spaces);
	array_free(&residents->views);
	free(residents);
}

/* ---- looking --------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
	const struct resident_space *x = a, *y = b;

	return x->space < y->space ? -1 : x->space > y->space;
}

static int compare_sizes(const void *a, const void *b)
{
	const struct resident_space *x = a, *y = b;

	if (x->rss_bytes != y->rss_bytes)
		return x->rss_bytes > y->rss_bytes ? -1 : 1;
	return compare_ids(a, b);
}

static void drop_ended(struct residents *residents)
{
	size_t cnt = 0;

	for (size_t i = 0; i < residents->spaces.cnt; i++) {
		struct resident_space *space = &residents->spaces.items[i];

		if (space->is_running)
			residents->spaces.items[cnt++] = *space;
		else
			resident_reading__free(&space->reading);
	}
	residents->spaces.cnt = cnt;
}

/* Makes the list that of the spaces that run now, the largest first. */
static int list_spaces(struct residents *residents, const struct space_table *table)
{
	size_t known = residents->spaces.cnt;

	for (size_t i = 0; i < known; i++)
		residents->spaces.items[i].is_running = false;
	if (known)
		qsort(residents->spaces.items, known, sizeof(struct resident_space), compare_ids);
	for (size_t i = 0; i < table->spaces.cnt; i++) {
		const struct space_info *info = table->spaces.items[i];
		struct resident_space fresh = {.space = info->id, .pid = info->tgid}, *space;

		if (info->state != PROC_RUNNING)
			continue;
		space = known ? bsearch(&fresh, residents->spaces.items, known, sizeof(fresh),
					compare_ids)
			      : NULL;
		if (!space) {
			if (array_push(&residents->spaces, fresh))
				return -ENOMEM;
			space = &residents->spaces.items[residents->spaces.cnt - 1];
		}
		space->is_running = true;
		space->rss_bytes = proc_rss_bytes(info->tgid);
	}
	drop_ended(residents);
	if (residents->spaces.cnt)
		qsort(residents->spaces.items, residents->spaces.cnt, sizeof(struct resident_space),
		      compare_sizes);
	return 0;
}

static const struct pool_scan *find_scan(uint32_t space, const struct python_view *pythons,
					 size_t python_cnt)
{
	for (size_t i = 0; i < python_cnt; i++)
		if (pythons[i].space == space)
			return pythons[i].scan;
	return NULL;
}

/* Without a deadline, only its size is told. */
static int look_at(struct residents *residents, struct resident_space *space,
		   const struct pool_scan *scan, uint64_t deadline_ns)
{
	struct resident_reading *reading = &space->reading;
	struct resident_view view = {.space = space->space};
	int err;

	if (deadline_ns) {
		err = resident_reading__read(space->pid, scan, deadline_ns, reading);
		if (err)
			return err == -ENOMEM ? err : 0;
	} else {
		reading->heaps.cnt = 0;
		reading->sums = (struct snap_resident){
			.is_known = space->rss_bytes > 0,
			.total_bytes = space->rss_bytes,
			.unread_bytes = space->rss_bytes,
		};
	}
	view.resident = reading->sums;
	view.heaps = reading->heaps.items;
	view.heap_cnt = reading->heaps.cnt;
	return array_push(&residents->views, view);
}

int residents__look(struct residents *residents, const struct space_table *table,
		    const struct python_view *pythons, size_t python_cnt)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + ALL_NS;
	int err;

	residents->views.cnt = 0;
	err = list_spaces(residents, table);
	for (size_t i = 0; !err && i < residents->spaces.cnt; i++) {
		struct resident_space *space = &residents->spaces.items[i];
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
		uint64_t deadline_ns = now_ns + PROCESS_NS < end_ns ? now_ns + PROCESS_NS : end_ns;

		if (now_ns >= end_ns || space->rss_bytes > MAX_RSS_BYTES)
			deadline_ns = 0;
		err = look_at(residents, space, find_scan(space->space, pythons, python_cnt),
			      deadline_ns);
	}
	return err;
}

const struct resident_view *residents__views(const struct residents *residents, size_t *ret_cnt)
{
	*ret_cnt = residents->views.cnt;
	return residents->views.items;
}

/* ---- what malloc keeps ----------------------------------------------------------------------- */

/* Whether every block of malloc's was seen from the process's first instruction on. */
static bool is_whole(const struct space_table *table, uint32_t space, pid_t command)
{
	const struct space_info *info;

	while ((info = space_table__find(table, space))) {
		if (info->late || (info->is_root && info->tgid != command))
			return false;
		if (info->parent == SPACE_NONE || info->parent >= space)
			return command && info->parent == SPACE_NONE;
		space = info->parent;
	}
	return false;
}

static bool is_probed(const struct snap_proc *proc)
{
	for (size_t i = 0; i < proc->coverage.cnt; i++)
		if (proc->coverage.items[i].status != COVERAGE_PROBED)
			return false;
	return proc->coverage.cnt > 0;
}

static bool lost_blocks(const struct snapshot *snap)
{
	return snap->stats[STAT_MAP_FULL] || snap->stats[STAT_COSTS_FULL] ||
	       snap->stats[STAT_THREADS_LOST] || snap->stats[STAT_PENDING_FULL] ||
	       snap->stats[STAT_OUT_UNREADABLE] || snap->stats[STAT_SPACES_FULL];
}

static struct resident_space *find_pid(struct residents *residents, pid_t pid)
{
	for (size_t i = 0; i < residents->spaces.cnt; i++)
		if (residents->spaces.items[i].pid == pid &&
		    residents->spaces.items[i].reading.sums.is_known)
			return &residents->spaces.items[i];
	return NULL;
}

static uint64_t beyond(uint64_t bytes, uint64_t least)
{
	return bytes > least ? bytes - least : 0;
}

static void tell(struct resident_space *space, bool whole, struct snap_resident *resident)
{
	uint64_t used = resident->heaps_used_bytes;
	uint64_t room = beyond(space->reading.heaps_mapped_bytes, used);

	resident->heaps_kept_bytes = beyond(resident->heaps_bytes, used);
	if (whole) {
		resident->heaps_kept = HEAPS_KEPT_WHOLE;
		return;
	}
	resident->heaps_kept_bytes = beyond(resident->heaps_kept_bytes, space->least_bytes);
	resident->heaps_kept = space->has_least ? HEAPS_KEPT_AT_LEAST : HEAPS_KEPT_UNKNOWN;
	if (!space->has_least) {
		resident->heaps_kept_bytes = 0;
		space->least_bytes = room;
	}
	if (room < space->least_bytes)
		space->least_bytes = room;
	space->has_least = true;
}

void residents__tell(struct residents *residents, const struct space_table *table,
		     const struct residents_known *known, struct snapshot *snap)
{
	bool is_lost = lost_blocks(snap) || known->is_filtered;

	for (size_t i = 0; i < snap->procs.cnt; i++) {
		struct snap_proc *proc = &snap->procs.items[i];
		struct resident_space *space;
		bool whole;

		if (!proc->resident.is_known || proc->resident.unread_bytes || is_lost ||
		    !is_probed(proc))
			continue;
		space = find_pid(residents, proc->pid);
		if (!space)
			continue;
		whole = is_whole(table, space->space, known->command);
		if (whole || !snap->estimated) /* a bound takes every block */
			tell(space, whole, &proc->resident);
	}
}
