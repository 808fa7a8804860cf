/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/ledger.h"

#include <stddef.h>
#include <string.h>

void ledger__put(struct ledger *ledger, enum ledger_part part, uint64_t bytes)
{
	ledger->part_bytes[part] += bytes;
	ledger->anon_bytes += bytes;
}

static uint64_t in_proportion(uint64_t bytes, uint64_t part, uint64_t whole)
{
	return (uint64_t)((unsigned __int128)bytes * part / whole);
}

void ledger__share(struct ledger *ledger, const struct ledger *before, uint64_t own_bytes)
{
	uint64_t added = ledger->anon_bytes - before->anon_bytes;

	for (int i = 0; i < LEDGER_PART_CNT; i++) {
		ledger->others_bytes[i] = before->others_bytes[i];
		if (own_bytes < added && ledger->part_bytes[i] > before->part_bytes[i])
			ledger->others_bytes[i] +=
				in_proportion(ledger->part_bytes[i] - before->part_bytes[i],
					      added - own_bytes, added);
	}
}

uint64_t ledger__move(struct ledger *ledger, enum ledger_part from, enum ledger_part to,
		      uint64_t bytes)
{
	uint64_t others;

	if (bytes > ledger->part_bytes[from])
		bytes = ledger->part_bytes[from];
	if (!bytes)
		return 0;
	others = in_proportion(ledger->others_bytes[from], bytes, ledger->part_bytes[from]);
	ledger->others_bytes[from] -= others;
	ledger->others_bytes[to] += others;
	ledger->part_bytes[from] -= bytes;
	ledger->part_bytes[to] += bytes;
	return bytes;
}

void ledger__divide_heaps(struct ledger *ledger, const struct heap_sums *heaps)
{
	static const struct {
		enum heap_part from;
		enum ledger_part to;
	} parts[] = {
		{HEAP_USED, LEDGER_HEAP_USED},	 {HEAP_CACHED, LEDGER_HEAP_CACHED},
		{HEAP_HOLES, LEDGER_HEAP_HOLES}, {HEAP_PAGES, LEDGER_HEAP_PAGES},
		{HEAP_TOP, LEDGER_HEAP_TOP},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ledger__move(ledger, LEDGER_HEAP_UNREAD, parts[i].to,
			     heaps->resident[parts[i].from]);
	ledger->largest_free_bytes = heaps->largest_free;
	ledger->free_cnt = heaps->free_cnt;
}

void ledger__add(struct ledger *group, const struct ledger *process)
{
	if (!process->is_known)
		return;
	if (!group->is_known)
		group->allocator = process->allocator;
	else if (!group->allocator || !process->allocator ||
		 strcmp(group->allocator, process->allocator) != 0)
		group->allocator = NULL;
	group->is_known = true;
	group->has_unread_pools |= process->has_unread_pools;
	for (int i = 0; i < LEDGER_PART_CNT; i++)
		ledger__put(group, i, process->part_bytes[i] - process->others_bytes[i]);
	group->free_cnt += process->free_cnt;
	group->huge_bytes += process->huge_bytes;
	group->file_bytes += process->file_bytes;
	group->shared_bytes += process->shared_bytes;
	group->swapped_bytes += process->swapped_bytes;
	if (process->largest_free_bytes > group->largest_free_bytes)
		group->largest_free_bytes = process->largest_free_bytes;
}

static const struct {
	const char *name, *field;
} part_names[LEDGER_PART_CNT] = {
	[LEDGER_HEAP_USED] = {"heap blocks", "heap_used"},
	[LEDGER_HEAP_CACHED] = {"heap caches", "heap_cached"},
	[LEDGER_HEAP_HOLES] = {"heap holes", "heap_holes"},
	[LEDGER_HEAP_PAGES] = {"free heap pages", "heap_pages"},
	[LEDGER_HEAP_TOP] = {"heap ends", "heap_top"},
	[LEDGER_HEAP_UNREAD] = {"heap not read", "heap_unread"},
	[LEDGER_BIG_BLOCKS] = {"large blocks", "big_blocks"},
	[LEDGER_OBJECTS] = {"objects", "objects"},
	[LEDGER_OBJECTS_FREE] = {"kept by pymalloc", "objects_free"},
	[LEDGER_MAPPED] = {"mapped", "mapped"},
	[LEDGER_OTHER_HEAP] = {"another allocator's heap", "other_heap"},
	[LEDGER_HUGE_ZEROS] = {"zeros in huge pages", "huge_zeros"},
	[LEDGER_THREAD_STACKS] = {"thread stacks", "thread_stacks"},
	[LEDGER_MAIN_STACK] = {"main stack", "main_stack"},
	[LEDGER_FILES] = {"written file pages", "files"},
	[LEDGER_UNEXPLAINED] = {"not explained", "unexplained"},
};

const char *ledger_part__name(enum ledger_part part)
{
	return part > 0 && part < LEDGER_PART_CNT ? part_names[part].name : "?";
}

const char *ledger_part__field(enum ledger_part part)
{
	return part > 0 && part < LEDGER_PART_CNT ? part_names[part].field : "?";
}

const char *ledger_cause__name(enum ledger_cause cause)
{
	static const char *const names[LEDGER_CAUSE_CNT] = {
		[LEDGER_CAUSE_NONE] = "none",
		[LEDGER_CAUSE_LIVE] = "live",
		[LEDGER_CAUSE_MAPPED] = "mapped",
		[LEDGER_CAUSE_RETAINED] = "retained",
		[LEDGER_CAUSE_FRAGMENTED] = "fragmented",
		[LEDGER_CAUSE_HUGE_PAGES] = "huge_pages",
		[LEDGER_CAUSE_STACKS] = "stacks",
		[LEDGER_CAUSE_FILES] = "files",
		[LEDGER_CAUSE_UNEXPLAINED] = "unexplained",
	};

	return cause < LEDGER_CAUSE_CNT ? names[cause] : "?";
}

uint64_t ledger__live(const struct ledger *ledger)
{
	return ledger->part_bytes[LEDGER_HEAP_USED] + ledger->part_bytes[LEDGER_BIG_BLOCKS] +
	       ledger->part_bytes[LEDGER_OBJECTS];
}

uint64_t ledger__fragmented(const struct ledger *ledger)
{
	return ledger->part_bytes[LEDGER_HEAP_HOLES] + ledger->part_bytes[LEDGER_HEAP_CACHED];
}

uint64_t ledger__kept(const struct ledger *ledger)
{
	return ledger__fragmented(ledger) + ledger->part_bytes[LEDGER_HEAP_PAGES] +
	       ledger->part_bytes[LEDGER_HEAP_TOP] + ledger->part_bytes[LEDGER_OBJECTS_FREE];
}

static uint64_t cause_bytes(const struct ledger *ledger, enum ledger_cause cause)
{
	const uint64_t *parts = ledger->part_bytes;
	uint64_t mapped = parts[LEDGER_MAPPED] + parts[LEDGER_OTHER_HEAP];

	switch (cause) {
	case LEDGER_CAUSE_LIVE:
		return ledger__live(ledger) + (ledger->allocator ? 0 : mapped);
	case LEDGER_CAUSE_MAPPED:
		return ledger->allocator ? mapped : 0;
	case LEDGER_CAUSE_RETAINED:
		return ledger__kept(ledger) - ledger__fragmented(ledger);
	case LEDGER_CAUSE_FRAGMENTED:
		return ledger__fragmented(ledger);
	case LEDGER_CAUSE_HUGE_PAGES:
		return parts[LEDGER_HUGE_ZEROS];
	case LEDGER_CAUSE_STACKS:
		return parts[LEDGER_THREAD_STACKS] + parts[LEDGER_MAIN_STACK];
	case LEDGER_CAUSE_FILES:
		return parts[LEDGER_FILES];
	case LEDGER_CAUSE_UNEXPLAINED:
		return parts[LEDGER_HEAP_UNREAD] + parts[LEDGER_UNEXPLAINED] +
		       ledger->swapped_bytes;
	case LEDGER_CAUSE_NONE:
	case LEDGER_CAUSE_CNT:
		break;
	}
	return 0;
}

static void move_all(struct ledger *ledger, const enum ledger_part *from, size_t cnt,
		     enum ledger_part to)
{
	for (size_t i = 0; i < cnt; i++)
		ledger__move(ledger, from[i], to, UINT64_MAX);
}

static uint64_t increase(uint64_t was, uint64_t is)
{
	return is > was ? is - was : 0;
}

/* What was not read may be free. What was not free when it was read has not become so by then. */
static void doubt_mapped(struct ledger *before, struct ledger *now, uint64_t free_bytes)
{
	uint64_t grown =
		increase(before->part_bytes[LEDGER_MAPPED], now->part_bytes[LEDGER_MAPPED]);

	if (now->has_unread_pools || grown < free_bytes)
		free_bytes = grown;
	ledger__move(now, LEDGER_MAPPED, LEDGER_UNEXPLAINED, free_bytes);
}

/* What was gone over in one of them only has not changed for that. */
static void make_alike(struct ledger *before, struct ledger *now, uint64_t least_bytes)
{
	static const enum ledger_part pools[] = {LEDGER_OBJECTS, LEDGER_OBJECTS_FREE},
				      heaps[] = {LEDGER_HEAP_USED, LEDGER_HEAP_CACHED,
						 LEDGER_HEAP_HOLES, LEDGER_HEAP_PAGES,
						 LEDGER_HEAP_TOP};
	uint64_t was_unread = before->part_bytes[LEDGER_HEAP_UNREAD],
		 is_unread = now->part_bytes[LEDGER_HEAP_UNREAD],
		 free_bytes = now->part_bytes[LEDGER_OBJECTS_FREE];
	bool has_unread = before->has_unread_pools || now->has_unread_pools;

	if (has_unread || !before->part_bytes[LEDGER_OBJECTS] != !now->part_bytes[LEDGER_OBJECTS]) {
		move_all(before, pools, 2, LEDGER_MAPPED);
		move_all(now, pools, 2, LEDGER_MAPPED);
	}
	if (has_unread)
		doubt_mapped(before, now, free_bytes);
	if (was_unread > is_unread + least_bytes || is_unread > was_unread + least_bytes) {
		move_all(before, heaps, 5, LEDGER_HEAP_UNREAD);
		move_all(now, heaps, 5, LEDGER_HEAP_UNREAD);
	}
}

static struct ledger_verdict grown(const struct ledger *before, const struct ledger *now,
				   enum ledger_cause cause, uint64_t least_bytes)
{
	uint64_t bytes = increase(cause_bytes(before, cause), cause_bytes(now, cause));

	return bytes < least_bytes ? (struct ledger_verdict){LEDGER_CAUSE_NONE, 0}
				   : (struct ledger_verdict){cause, bytes};
}

struct ledger_verdict ledger__judge(const struct ledger *before, const struct ledger *now,
				    uint64_t least_bytes)
{
	uint64_t all = increase(before->anon_bytes + before->swapped_bytes,
				now->anon_bytes + now->swapped_bytes);
	struct ledger_verdict verdict = {LEDGER_CAUSE_NONE, 0};
	struct ledger old = *before, new = *now;

	if (old.is_known)
		make_alike(&old, &new, least_bytes);
	old.allocator = new.allocator;
	for (enum ledger_cause i = LEDGER_CAUSE_LIVE; i <= LEDGER_CAUSE_UNEXPLAINED; i++) {
		struct ledger_verdict one = grown(&old, &new, i, least_bytes);

		if (one.bytes > verdict.bytes)
			verdict = one;
	}
	if (verdict.cause == LEDGER_CAUSE_LIVE || verdict.cause == LEDGER_CAUSE_MAPPED ||
	    verdict.bytes > all / 2)
		return verdict;
	verdict = grown(&old, &new, LEDGER_CAUSE_LIVE, least_bytes);
	if (!verdict.cause)
		verdict = grown(&old, &new, LEDGER_CAUSE_MAPPED, least_bytes);
	return verdict.cause ? verdict : grown(&old, &new, LEDGER_CAUSE_UNEXPLAINED, least_bytes);
}
