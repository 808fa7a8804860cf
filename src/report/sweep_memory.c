/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/sweep_memory.h"

#include <stdlib.h>

#include "report/render.h"
#include "util/units.h"

#define MAX_PARTS_SHOWN 4

/* ---- what grew ---- */

/* What a part of the memory says that grew: a verdict if no block is to blame. */
static const struct {
	const char *verdict, *what, *hint;
} causes[LEDGER_CAUSE_CNT] = {
	[LEDGER_CAUSE_LIVE] = {NULL, "blocks and mappings in use", NULL},
	[LEDGER_CAUSE_MAPPED] = {NULL, "what is mapped, what its allocator keeps free included,",
				 NULL},
	[LEDGER_CAUSE_RETAINED] = {"kept by the allocator, not leaked",
				   "what is free in whole pages of malloc's heaps",
				   "malloc_trim(3) gives that back"},
	[LEDGER_CAUSE_FRAGMENTED] = {"kept by the allocator, not leaked",
				     "what is free between blocks in malloc's heaps (fragmented)",
				     "no call gives that back"},
	[LEDGER_CAUSE_HUGE_PAGES] = {"huge pages, not leaked",
				     "what is zero in huge pages, most of it never touched,",
				     "transparent_hugepage=madvise avoids that"},
	[LEDGER_CAUSE_STACKS] = {"stacks, not the heap", "what stacks of threads take up",
				 "there are more threads, or calls go deeper"},
	[LEDGER_CAUSE_FILES] = {"files, not the heap", "written pages of files", NULL},
	[LEDGER_CAUSE_UNEXPLAINED] = {NULL, "memory that could not be looked into", NULL},
};

/* "blocks and mappings in use grew by 180.0 MiB in 3m00s" */
static void put_grown(struct screen *screen, const struct sweep_code *code, const char *what)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%s grew by %s", what, format_bytes(code->cause.bytes, buf));
	if (code->cause_ns)
		fprintf(screen->line, " in %s", format_duration(code->cause_ns, buf));
}

/* It is of an earlier report. */
static void put_ago(struct screen *screen, const struct sweep_code *code)
{
	char buf[UNITS_MAX];

	if (code->ledger_ago_ns)
		fprintf(screen->line, " (%s ago)", format_duration(code->ledger_ago_ns, buf));
}

bool sweep_has_cause(const struct sweep_code *code)
{
	return causes[code->cause.cause].verdict != NULL;
}

/* What pymalloc keeps is of pools, and no call gives it back. */
static bool is_of_pools(const struct sweep_code *code)
{
	const uint64_t *parts = code->ledger.part_bytes;

	return code->cause.cause == LEDGER_CAUSE_RETAINED &&
	       parts[LEDGER_OBJECTS_FREE] > parts[LEDGER_HEAP_PAGES] + parts[LEDGER_HEAP_TOP];
}

void sweep_put_cause(struct screen *screen, const struct sweep_code *code)
{
	enum ledger_cause cause = code->cause.cause;
	const char *what = causes[cause].what, *hint = causes[cause].hint;

	if (is_of_pools(code)) {
		what = "what is free in pymalloc's pools";
		hint = "an arena goes back with the last object in it";
	}
	fprintf(screen->line, "%s: ", causes[cause].verdict);
	put_grown(screen, code, what);
	put_ago(screen, code);
	if (hint)
		fprintf(screen->line, "; %s", hint);
}

/* ---- parts ---- */

struct amount {
	const char *name;
	uint64_t bytes;
};

static int by_bytes(const void *a, const void *b)
{
	const struct amount *left = a, *right = b;

	return (left->bytes < right->bytes) - (left->bytes > right->bytes);
}

/* Fills `amounts` with the parts, what is free in malloc's heaps as one, the largest first. */
static size_t sort_parts(const struct ledger *ledger, struct amount amounts[LEDGER_PART_CNT])
{
	struct amount heaps = {"free in heaps", 0};
	size_t cnt = 0;

	for (enum ledger_part part = 1; part < LEDGER_PART_CNT; part++) {
		uint64_t bytes = ledger->part_bytes[part];

		if (part >= LEDGER_HEAP_CACHED && part <= LEDGER_HEAP_TOP)
			heaps.bytes += bytes;
		else if (bytes)
			amounts[cnt++] = (struct amount){ledger_part__name(part), bytes};
	}
	if (heaps.bytes)
		amounts[cnt++] = heaps;
	if (cnt)
		qsort(amounts, cnt, sizeof(*amounts), by_bytes);
	return cnt;
}

static void put_parts(struct screen *screen, const struct ledger *ledger)
{
	struct amount amounts[LEDGER_PART_CNT];
	size_t cnt = sort_parts(ledger, amounts), i;
	const char *separator = " = ";
	uint64_t rest = 0;
	char buf[UNITS_MAX];

	for (i = 0; i < cnt && i < MAX_PARTS_SHOWN; i++) {
		if (i && amounts[i].bytes < ledger->anon_bytes / 100)
			break;
		fprintf(screen->line, "%s%s %s", separator, format_bytes(amounts[i].bytes, buf),
			amounts[i].name);
		separator = " + ";
	}
	for (; i < cnt; i++)
		rest += amounts[i].bytes;
	if (rest)
		fprintf(screen->line, "%s%s other", separator, format_bytes(rest, buf));
}

/* ": 40.0 MiB = 30.0 MiB heap blocks + ..." */
static void put_sum(struct screen *screen, const struct ledger *ledger)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, ": %s", format_bytes(ledger->anon_bytes, buf));
	put_parts(screen, ledger);
	if (ledger->has_unread_pools && ledger->part_bytes[LEDGER_MAPPED])
		fputs(" (what Python's pools have is in mapped: they were not read)", screen->line);
	else if (ledger->allocator && ledger->part_bytes[LEDGER_MAPPED])
		fprintf(screen->line, " (what %s has is in mapped)", ledger->allocator);
	if (ledger->swapped_bytes)
		fprintf(screen->line, "; %s swapped out", format_bytes(ledger->swapped_bytes, buf));
}

void sweep_put_shmem(struct screen *screen, const struct sweep_row *row)
{
	bool is_growing = row->shmem_per_hour > 0;
	char rate[UNITS_MAX], bytes[UNITS_MAX];

	if (!is_growing && row->shmem_bytes <= row->anon_bytes / 100)
		return;
	screen__label(screen, "");
	fputs("shared memory and tmpfs files", screen->line);
	if (is_growing) {
		fputs(sweep_row__is_shmem(row) ? ", not the heap" : "", screen->line);
		fprintf(screen->line, ": %s per hour, which stay when processes end; there are %s",
			format_bytes(row->shmem_per_hour, rate),
			format_bytes(row->shmem_bytes, bytes));
	} else {
		fprintf(screen->line, ": %s", format_bytes(row->shmem_bytes, bytes));
	}
	screen__end(screen);
}

void sweep_put_group_ledger(struct screen *screen, const struct ledger *ledger)
{
	if (!ledger->is_known)
		return;
	screen__label(screen, "");
	fputs("anonymous, of its processes", screen->line);
	put_sum(screen, ledger);
	screen__end(screen);
}

void sweep_put_ledger(struct screen *screen, const struct sweep_code *code, bool is_cause_told)
{
	if (!code->ledger.is_known)
		return;
	screen__label(screen, "");
	fputs("anonymous", screen->line);
	put_ago(screen, code);
	put_sum(screen, &code->ledger);
	if (code->cause.cause != LEDGER_CAUSE_NONE && !is_cause_told) {
		fputs("; ", screen->line);
		put_grown(screen, code, causes[code->cause.cause].what);
	}
	screen__end(screen);
}
