/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/resident.h"

#include <errno.h>
#include <stdlib.h>

#include "model/profile.h"
#include "util/hashmap.h"

#define LEAST_BYTES (1 << 20)
/* What a program that is at rest still does: a thousandth of its memory, and a page. */
#define REST_PART 1000
#define REST_BYTES 4096

static int index_procs(const struct profile *profile, struct hashmap *index)
{
	for (size_t i = 0; i < profile->snap->procs.cnt; i++) {
		const struct snap_proc *proc = &profile->snap->procs.items[i];
		uint64_t *slot;

		if (!proc->resident.is_known)
			continue;
		slot = hashmap__insert(index, proc->start_ns, (uint32_t)proc->pid, NULL);
		if (!slot)
			return -ENOMEM;
		*slot = i;
	}
	return 0;
}

int residents__match(const struct profile *profile, const struct profile *previous,
		     struct resident_before **ret)
{
	const struct snapshot *snap = profile->snap;
	struct resident_before *list = calloc(snap->procs.cnt + 1, sizeof(*list));
	struct hashmap index = {0};
	int err = list ? index_procs(previous, &index) : -ENOMEM;

	for (size_t i = 0; i < snap->procs.cnt && !err; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];
		uint64_t *slot = hashmap__find(&index, proc->start_ns, (uint32_t)proc->pid);

		if (!slot)
			continue;
		list[i].resident = previous->snap->procs.items[*slot].resident;
		list[i].live_bytes = previous->proc_totals[*slot].live_bytes;
	}
	hashmap__free(&index);
	if (err)
		free(list);
	else
		*ret = list;
	return err;
}

static uint64_t if_much(uint64_t bytes, uint64_t least)
{
	return bytes > least ? bytes : 0;
}

bool resident__is_retained(const struct snap_resident *now, int64_t live_bytes,
			   const struct resident_before *before, struct retained *ret)
{
	uint64_t was = before->resident.total_bytes, kept, least;
	struct retained retained = {0};
	int64_t live_change, change, much;

	if (!now->is_known || !before->resident.is_known)
		return false;
	live_change = live_bytes - before->live_bytes;
	change = (int64_t)now->total_bytes - (int64_t)was;
	much = (int64_t)(was / 10 > LEAST_BYTES ? was / 10 : LEAST_BYTES);
	if (live_change > (int64_t)(was / REST_PART + REST_BYTES))
		return false;
	if (change < -much && change - live_change <= much)
		return false;
	kept = now->objects_kept_bytes;
	if (now->heaps_kept != HEAPS_KEPT_UNKNOWN)
		kept += now->heaps_kept_bytes;
	least = now->total_bytes / 10 > LEAST_BYTES ? now->total_bytes / 10 : LEAST_BYTES;
	if (kept <= least)
		return false;
	retained.pymalloc_bytes = if_much(now->objects_kept_bytes, LEAST_BYTES);
	if (now->heaps_kept != HEAPS_KEPT_UNKNOWN)
		retained.heaps_bytes = if_much(now->heaps_kept_bytes, LEAST_BYTES);
	retained.at_least = now->heaps_kept == HEAPS_KEPT_AT_LEAST;
	if (!retained.pymalloc_bytes && !retained.heaps_bytes)
		return false;
	*ret = retained;
	return true;
}
