/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges are kept by file offset, as the table is. Their overlaps are resolved by one pass over the
 * ranges in order of their beginnings, with the ranges that hold at the present place in a heap,
 * the one that was added first on top.
 */
#include "unwind/table_builder.h"

#include <stdbool.h>
#include <string.h>

#define MAX_OFFSET ((uint64_t)MAX_UNWIND_PAGES << UNWIND_PAGE_BITS)

struct range {
	uint32_t first, last; /* file offsets, both within */
	uint32_t order;	      /* of adding */
	int32_t cfa;
	uint8_t rule;
	int8_t fp;
};

struct heap {
	uint32_t *items; /* indexes of ranges */
	size_t cnt, cap;
};

struct table_builder {
	const struct elf_segments *segments;
	ARRAY(struct range) ranges;
	uint32_t scanned_from; /* order */
	bool sorted;

	/* while finishing */
	struct heap heap;
	ARRAY(struct unwind_row) rows;
	struct unwind_page *pages;
	uint32_t page_cnt;
	struct unwind_counts counts;
};

/* ---- ranges of code -------------------------------------------------------------------------- */

static int compare_code_ranges(const void *a, const void *b)
{
	const struct code_range *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

void code_ranges__normalize(struct code_ranges *ranges)
{
	struct code_range *items = ranges->list.items;
	size_t kept = 0;

	if (ranges->list.cnt)
		qsort(items, ranges->list.cnt, sizeof(*items), compare_code_ranges);
	for (size_t i = 0; i < ranges->list.cnt; i++) {
		if (items[i].start >= items[i].end)
			continue;
		if (!kept || items[i].start > items[kept - 1].end)
			items[kept++] = items[i];
		else if (items[i].end > items[kept - 1].end)
			items[kept - 1].end = items[i].end;
	}
	ranges->list.cnt = kept;
}

/* ---- collecting ------------------------------------------------------------------------------ */

struct table_builder *table_builder__new(const struct elf_segments *segments)
{
	struct table_builder *builder = calloc(1, sizeof(*builder));

	if (!builder)
		return NULL;
	builder->segments = segments;
	builder->scanned_from = UINT32_MAX;
	builder->sorted = true;
	return builder;
}

void table_builder__free(struct table_builder *builder)
{
	if (!builder)
		return;
	array_free(&builder->ranges);
	free(builder->heap.items);
	array_free(&builder->rows);
	free(builder->pages);
	free(builder);
}

void table_builder__begin_scanned(struct table_builder *builder)
{
	builder->scanned_from = (uint32_t)builder->ranges.cnt;
}

static bool continues(const struct range *before, const struct range *range)
{
	return before->last != UINT32_MAX && before->last + 1 == range->first &&
	       before->rule == range->rule && before->cfa == range->cfa && before->fp == range->fp;
}

static int add_offsets(struct table_builder *builder, uint64_t start, uint64_t end,
		       const struct unwind_row *row)
{
	struct range *before;
	struct range range;

	if (start >= MAX_OFFSET || end > MAX_OFFSET || builder->ranges.cnt >= MAX_UNWIND_ROWS)
		return -EFBIG;
	range = (struct range){
		.first = (uint32_t)start,
		.last = (uint32_t)(end - 1),
		.order = (uint32_t)builder->ranges.cnt,
		.cfa = row->cfa,
		.rule = row->rule,
		.fp = row->fp,
	};
	switch (row->rule) {
	case UNWIND_RULE_NONE:
	case UNWIND_RULE_SIGNAL:
	case UNWIND_RULE_END:
	case UNWIND_RULE_ODD:
		/* Without operands; so that equal rows look equal. */
		range.cfa = 0;
		range.fp = UNWIND_FP_SAME;
	}
	before = builder->ranges.cnt ? &builder->ranges.items[builder->ranges.cnt - 1] : NULL;
	if (before && continues(before, &range) && range.order != builder->scanned_from) {
		before->last = range.last;
		return 0;
	}
	if (before && before->first > range.first)
		builder->sorted = false;
	return array_push(&builder->ranges, range);
}

int table_builder__add(struct table_builder *builder, uint64_t start, uint64_t end,
		       struct unwind_row row)
{
	const struct elf_segments *segments = builder->segments;
	int err = 0;

	for (size_t i = 0; i < segments->list.cnt && !err; i++) {
		const struct elf_segment *segment = &segments->list.items[i];
		uint64_t from = start > segment->vaddr ? start : segment->vaddr;
		uint64_t to = segment->vaddr + segment->size;

		to = end < to ? end : to;
		if (segment->executable && from < to)
			err = add_offsets(builder, segment->off + (from - segment->vaddr),
					  segment->off + (to - segment->vaddr), &row);
	}
	return err;
}

/* ---- the ranges that hold at one place ------------------------------------------------------- */

static bool heap_push(struct heap *heap, const struct range *ranges, uint32_t range)
{
	size_t at = heap->cnt, parent;

	if (array_reserve_one(heap))
		return false;
	heap->cnt++;
	for (; at; at = parent) {
		parent = (at - 1) / 2;
		if (ranges[heap->items[parent]].order < ranges[range].order)
			break;
		heap->items[at] = heap->items[parent];
	}
	heap->items[at] = range;
	return true;
}

static void heap_pop(struct heap *heap, const struct range *ranges)
{
	uint32_t range = heap->items[--heap->cnt];
	size_t at = 0, child;

	for (; (child = 2 * at + 1) < heap->cnt; at = child) {
		if (child + 1 < heap->cnt &&
		    ranges[heap->items[child + 1]].order < ranges[heap->items[child]].order)
			child++;
		if (ranges[range].order < ranges[heap->items[child]].order)
			break;
		heap->items[at] = heap->items[child];
	}
	heap->items[at] = range;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool says_the_same(const struct unwind_row *a, const struct unwind_row *b)
{
	return a->rule == b->rule && a->fp == b->fp && a->cfa == b->cfa;
}

/* Appends a row to the page unless the one before says the same. */
static int put_row(struct table_builder *builder, uint32_t page_no, struct unwind_row row,
		   bool scanned)
{
	struct unwind_page *page = &builder->pages[page_no];

	if (page->cnt && says_the_same(&builder->rows.items[builder->rows.cnt - 1], &row))
		return 0;
	if (builder->rows.cnt >= MAX_UNWIND_ROWS)
		return -EFBIG;
	if (array_push(&builder->rows, row))
		return -ENOMEM;
	page->cnt++;
	builder->counts.odd_rows += row.rule == UNWIND_RULE_ODD;
	builder->counts.scanned_rows += scanned;
	return 0;
}

/* Pages are met in ascending order; those between stay empty. */
static void open_page(struct table_builder *builder, uint32_t page_no)
{
	while (builder->page_cnt <= page_no)
		builder->pages[builder->page_cnt++].first = (uint32_t)builder->rows.cnt;
}

/* The same rule from `first` to `last`, in the end of the table so far. */
static int put_range(struct table_builder *builder, uint32_t first, uint32_t last,
		     const struct range *range)
{
	struct unwind_row row = {.rule = range->rule, .fp = range->fp, .cfa = range->cfa};
	const struct unwind_row none = {.fp = UNWIND_FP_SAME};
	bool scanned = range->order >= builder->scanned_from;
	uint32_t page_no = first >> UNWIND_PAGE_BITS;
	int err = 0;

	for (; page_no <= last >> UNWIND_PAGE_BITS && !err; page_no++) {
		open_page(builder, page_no);
		row.pc = page_no == first >> UNWIND_PAGE_BITS ? (uint16_t)first : 0;
		if (!builder->pages[page_no].cnt) {
			if (row.rule == UNWIND_RULE_NONE)
				continue; /* an empty page says it, too */
			if (row.pc)
				err = put_row(builder, page_no, none, false);
		}
		if (!err)
			err = put_row(builder, page_no, row, scanned);
	}
	return err;
}

/* From `first` to the end of its page nothing is known, unless more follows. */
static int put_gap(struct table_builder *builder, uint32_t first)
{
	const struct range none = {.rule = UNWIND_RULE_NONE, .fp = UNWIND_FP_SAME};

	return put_range(builder, first, first, &none);
}

static int sweep(struct table_builder *builder)
{
	const struct range *ranges = builder->ranges.items, *top;
	struct heap *heap = &builder->heap;
	size_t cnt = builder->ranges.cnt, next = 0;
	uint64_t at = 0, end; /* at: all before is done */
	int err = 0;

	while (!err) {
		while (heap->cnt && ranges[heap->items[0]].last < at)
			heap_pop(heap, ranges);
		if (!heap->cnt) {
			if (at < MAX_OFFSET && (next == cnt || ranges[next].first > at))
				err = put_gap(builder, (uint32_t)at);
			if (err || next == cnt)
				return err;
			if (ranges[next].first > at)
				at = ranges[next].first;
		}
		for (; next < cnt && ranges[next].first <= at; next++)
			if (ranges[next].last >= at && !heap_push(heap, ranges, (uint32_t)next))
				return -ENOMEM;
		if (!heap->cnt)
			continue;
		top = &ranges[heap->items[0]];
		end = (uint64_t)top->last + 1;
		if (next < cnt && ranges[next].first < end)
			end = ranges[next].first;
		err = put_range(builder, (uint32_t)at, (uint32_t)(end - 1), top);
		at = end;
	}
	return err;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

/* One for each 64 KiB up to the last range. */
static int make_pages(struct table_builder *builder)
{
	uint32_t last = 0;

	for (size_t i = 0; i < builder->ranges.cnt; i++)
		if (builder->ranges.items[i].last > last)
			last = builder->ranges.items[i].last;
	builder->pages = calloc((last >> UNWIND_PAGE_BITS) + 2, sizeof(*builder->pages));
	return builder->pages ? 0 : -ENOMEM;
}

int table_builder__finish(struct table_builder *builder, struct unwind_table *ret)
{
	struct unwind_row *rows;
	struct unwind_page *pages;
	int err;

	if (!builder->sorted)
		qsort(builder->ranges.items, builder->ranges.cnt, sizeof(struct range),
		      compare_ranges);
	builder->sorted = true;
	err = make_pages(builder);
	if (!err)
		err = sweep(builder);
	if (err)
		return err;
	/* put_gap may have opened a page behind the last code. */
	while (builder->page_cnt && !builder->pages[builder->page_cnt - 1].cnt)
		builder->page_cnt--;
	pages = realloc(builder->pages, (builder->page_cnt + 1) * sizeof(*pages));
	rows = realloc(builder->rows.items, (builder->rows.cnt + 1) * sizeof(*rows));
	*ret = (struct unwind_table){
		.rows = rows ? rows : builder->rows.items,
		.pages = pages ? pages : builder->pages,
		.row_cnt = (uint32_t)builder->rows.cnt,
		.page_cnt = builder->page_cnt,
		.counts = builder->counts,
	};
	builder->rows.items = NULL;
	builder->rows.cnt = builder->rows.cap = 0;
	builder->pages = NULL;
	builder->page_cnt = 0;
	return 0;
}
