/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_sources.h"

#include <errno.h>
#include <stdlib.h>

static int compare_sources(const void *a, const void *b)
{
	const struct site_source *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

int site_sources__index(const struct code_area *area, struct site_sources *ret)
{
	struct site_sources sources = {.area = area};
	enum site_control control;
	struct site_insn insn;
	size_t target;
	int err = 0;

	for (size_t at = 0; at < area->len && !err; at++) {
		if (!(area->marks[at] & CODE_INSN) || !code_area__decode(area, at, &insn))
			continue;
		control = code_area__control(area, at, &insn, &target);
		if ((control != SITE_BRANCH && control != SITE_JUMP) || target == SIZE_MAX)
			continue;
		err = array_push(&sources.list, ((struct site_source){
							.target = (uint32_t)target,
							.at = (uint32_t)at,
						}));
	}
	if (err) {
		site_sources__free(&sources);
		return err;
	}
	if (sources.list.cnt)
		qsort(sources.list.items, sources.list.cnt, sizeof(*sources.list.items),
		      compare_sources);
	*ret = sources;
	return 0;
}

void site_sources__free(struct site_sources *sources)
{
	array_free(&sources->list);
}

const struct site_source *site_sources__to(const struct site_sources *sources, size_t target,
					   size_t *ret_cnt)
{
	const struct site_source *items = sources->list.items;
	size_t low = 0, high = sources->list.cnt, mid, end;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (items[mid].target < target)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < sources->list.cnt && items[end].target == target; end++)
		;
	*ret_cnt = end - low;
	return end > low ? &items[low] : NULL;
}

/* nop, of any length; with xchg %ax, %ax. */
static bool is_padding(const struct site_insn *insn)
{
	if (insn->map == SITE_MAP_ONE)
		return insn->op == 0x90 && !(insn->rex & 1);
	return insn->map == SITE_MAP_0F && insn->op == 0x1f;
}

/* Whether control ends at `at`, or what is there only fills up the space behind such an end. */
static bool is_end(const struct code_area *area, size_t at)
{
	enum site_control control;
	struct site_insn insn;
	size_t target;

	while (at != SIZE_MAX && code_area__decode(area, at, &insn)) {
		if (area->marks[at] & CODE_LEAVES) {
			control = code_area__control(area, at, &insn, &target);
			return control != SITE_CALL && control != SITE_CALL_INDIRECT;
		}
		if (!is_padding(&insn))
			return false;
		at = code_area__previous(area, at);
	}
	return true;
}

size_t site_sources__before(const struct site_sources *sources, size_t at)
{
	size_t previous = code_area__previous(sources->area, at);

	return is_end(sources->area, previous) ? SIZE_MAX : previous;
}

bool site_sources__is_join(const struct site_sources *sources, size_t at)
{
	const struct code_area *area = sources->area;
	size_t cnt;

	if (!(area->marks[at] & (CODE_LANDING | CODE_ENTRY)))
		return false;
	if (area->marks[at] & CODE_ENTRY)
		return true;
	site_sources__to(sources, at, &cnt);
	return cnt + (site_sources__before(sources, at) != SIZE_MAX) > 1;
}
