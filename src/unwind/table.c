/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/table.h"

#include <stdlib.h>

#define MAX_CONTEXT_WORD 16 /* rip, the last register of the signal frame's machine context */
#define PLT_ENTRY_SIZE 16

void unwind_table__free(struct unwind_table *table)
{
	free(table->rows);
	free(table->pages);
	*table = (struct unwind_table){0};
}

struct unwind_row unwind_table__find(const struct unwind_table *table, uint64_t offset)
{
	const struct unwind_row none = {.fp = UNWIND_FP_SAME};
	const struct unwind_row *rows;
	uint16_t pc = (uint16_t)(offset & (UNWIND_PAGE_SIZE - 1));
	uint32_t low = 0, high, mid;

	if (offset >> UNWIND_PAGE_BITS >= table->page_cnt)
		return none;
	rows = table->rows + table->pages[offset >> UNWIND_PAGE_BITS].first;
	high = table->pages[offset >> UNWIND_PAGE_BITS].cnt;
	if (!high)
		return none;
	/* The first row is at the page's first byte, so rows[low].pc <= pc always. */
	while (high - low > 1) {
		mid = low + (high - low) / 2;
		if (rows[mid].pc <= pc)
			low = mid;
		else
			high = mid;
	}
	return rows[low];
}

static bool row_is_valid(const struct unwind_row *row)
{
	switch (row->rule) {
	case UNWIND_RULE_SP:
	case UNWIND_RULE_FP:
	case UNWIND_RULE_SP_DEREF:
	case UNWIND_RULE_FP_DEREF:
		return true;
	case UNWIND_RULE_PLT:
		return row->cfa > 0 && row->cfa < PLT_ENTRY_SIZE;
	case UNWIND_RULE_REG:
		return (row->cfa & 0xff) <= MAX_CONTEXT_WORD;
	case UNWIND_RULE_NONE:
	case UNWIND_RULE_SIGNAL:
	case UNWIND_RULE_END:
	case UNWIND_RULE_ODD:
		return !row->cfa && row->fp == UNWIND_FP_SAME;
	default:
		return false;
	}
}

static bool page_is_valid(const struct unwind_row *rows, uint32_t cnt)
{
	for (uint32_t i = 0; i < cnt; i++)
		if (!row_is_valid(&rows[i]) || (i ? rows[i].pc <= rows[i - 1].pc : rows[i].pc))
			return false;
	return true;
}

bool unwind_table__is_valid(const struct unwind_table *table)
{
	uint32_t next = 0;

	if (table->row_cnt > MAX_UNWIND_ROWS || table->page_cnt > MAX_UNWIND_PAGES ||
	    (table->row_cnt && !table->rows) || (table->page_cnt && !table->pages))
		return false;
	for (uint32_t i = 0; i < table->page_cnt; i++) {
		const struct unwind_page *page = &table->pages[i];

		if (page->first != next || page->cnt > table->row_cnt - next ||
		    !page_is_valid(table->rows + next, page->cnt))
			return false;
		next += page->cnt;
	}
	return next == table->row_cnt;
}
