/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/group_ledger.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/ledger_read.h"
#include "model/sweep.h"
#include "util/array.h"
#include "util/clock.h"

struct members {
	ARRAY(const struct watched *) list;
};

static int compare_sizes(const void *a, const void *b)
{
	const struct watched *left = *(const struct watched *const *)a,
			     *right = *(const struct watched *const *)b;

	return (left->anon_bytes < right->anon_bytes) - (left->anon_bytes > right->anon_bytes);
}

static int find_members(const struct watch *watch, const char *cgroup, struct members *ret)
{
	int err = 0;

	for (size_t i = 0; i < watch->items.cnt && !err; i++)
		if (watch->items.items[i].group &&
		    sweep_limit__has(cgroup, watch->items.items[i].group->path))
			err = array_push(&ret->list, &watch->items.items[i]);
	if (ret->list.cnt)
		qsort(ret->list.items, ret->list.cnt, sizeof(*ret->list.items), compare_sizes);
	return err;
}

/* Returns 0 or -ENOMEM: one that has ended, or may not be read, is no error of the group. */
static int add_member(const struct watched *item, uint64_t deadline_ns, struct ledger *sums)
{
	struct ledger ledger = {0};
	int err = -ETIME;

	if (clock_ns(CLOCK_MONOTONIC) < deadline_ns)
		err = ledger__read(item->pid, NULL, deadline_ns, &ledger);
	if (err == -ENOMEM || err == -ESRCH)
		return err == -ENOMEM ? err : 0;
	if (err) {
		ledger = (struct ledger){.is_known = true};
		ledger__put(&ledger, LEDGER_UNEXPLAINED, item->anon_bytes);
	}
	ledger__add(sums, &ledger);
	return 0;
}

/* Those that were not read may share pages, too. */
static void cut_unexplained(struct ledger *sums, uint64_t most_bytes)
{
	uint64_t *rest = &sums->part_bytes[LEDGER_UNEXPLAINED];
	uint64_t excess = sums->anon_bytes > most_bytes ? sums->anon_bytes - most_bytes : 0;

	excess = excess < *rest ? excess : *rest;
	*rest -= excess;
	sums->anon_bytes -= excess;
}

int group_ledger__read(const struct watch *watch, const char *cgroup, uint64_t most_bytes,
		       uint64_t deadline_ns, struct ledger *ret)
{
	struct members members = {0};
	struct ledger sums = {0};
	int err = find_members(watch, cgroup, &members);

	for (size_t i = 0; i < members.list.cnt && !err; i++)
		err = add_member(members.list.items[i], deadline_ns, &sums);
	cut_unexplained(&sums, most_bytes);
	array_free(&members.list);
	if (!err)
		*ret = sums;
	return err;
}
