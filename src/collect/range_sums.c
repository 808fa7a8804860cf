/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/range_sums.h"

#include <errno.h>

#define MAPPING_FIRST (RANGE_ARENA + 1)

static void add_wrapping(int64_t *sum, uint64_t value)
{
	*sum = (int64_t)((uint64_t)*sum + value);
}

static bool is_counted(const struct range_mapping *mapping)
{
	return mapping->kind == RANGE_MEMORY;
}

int range_sums__init(struct range_sums *sums)
{
	struct range_mapping mapping = {0};
	int err;

	*sums = (struct range_sums){0};
	/* Row 0 is for mappings without a stack of their own. Nothing is ever added to it. */
	err = array_push(&sums->rows, (struct range_cost){0});
	for (uint8_t kind = 0; kind < MAPPING_FIRST && !err; kind++) {
		mapping.kind = kind == RANGE_MEMORY ? 0 : kind;
		err = array_push(&sums->mappings, mapping);
	}
	return err;
}

void range_sums__free(struct range_sums *sums)
{
	array_free(&sums->mappings);
	array_free(&sums->rows);
	hashmap__free(&sums->row_index);
}

static int find_row(struct range_sums *sums, uint64_t stack_id, uint32_t *ret_row)
{
	struct range_cost row = {.stack_id = stack_id};
	uint64_t *slot;
	bool is_new;

	if (array_reserve_one(&sums->rows) || sums->rows.cnt >= UINT32_MAX)
		return -ENOMEM;
	slot = hashmap__insert(&sums->row_index, stack_id, 0, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new) {
		*slot = sums->rows.cnt;
		sums->rows.items[sums->rows.cnt++] = row;
	}
	*ret_row = *slot;
	return 0;
}

static int inherit_mapping(struct range_sums *child, struct range_mapping *mapping,
			   uint64_t stack_id)
{
	struct cost *cost;

	mapping->inherited = true;
	mapping->inherited_bytes = mapping->live_bytes;
	mapping->alloc_bytes = 0;
	mapping->row = 0;
	if (!is_counted(mapping))
		return 0;
	if (find_row(child, stack_id, &mapping->row))
		return -ENOMEM;
	cost = &child->rows.items[mapping->row].cost;
	add_wrapping(&cost->inherited_bytes, mapping->live_bytes);
	add_wrapping(&cost->live_bytes, mapping->live_bytes);
	cost->inherited_count++;
	cost->live_count++;
	return 0;
}

int range_sums__inherit(struct range_sums *child, const struct range_sums *parent)
{
	struct range_mapping mapping;

	for (size_t i = MAPPING_FIRST; i < parent->mappings.cnt; i++) {
		mapping = parent->mappings.items[i];
		if (mapping.kind &&
		    inherit_mapping(child, &mapping, parent->rows.items[mapping.row].stack_id))
			return -ENOMEM;
		if (array_push(&child->mappings, mapping))
			return -ENOMEM;
	}
	child->free_mapping = parent->free_mapping;
	child->live_cnt = parent->live_cnt;
	return 0;
}

int range_sums__add(struct range_sums *sums, const struct range_origin *origin,
		    uint32_t *ret_mapping)
{
	struct range_mapping mapping = {.time_ns = origin->time_ns, .kind = RANGE_MEMORY};
	uint32_t i = sums->free_mapping;
	struct cost *cost;

	switch (origin->kind) {
	case RANGE_MEMORY:
		break;
	case RANGE_ALLOCATOR:
	case RANGE_RESERVED:
		*ret_mapping = origin->kind;
		return 0;
	default:
		*ret_mapping = RANGE_FILE;
		return 0;
	}
	if (i == MAPPING_NONE &&
	    (array_reserve_one(&sums->mappings) || sums->mappings.cnt >= UINT32_MAX))
		return -ENOMEM;
	if (find_row(sums, origin->stack_id, &mapping.row))
		return -ENOMEM;
	if (i == MAPPING_NONE)
		i = sums->mappings.cnt++;
	else
		sums->free_mapping = sums->mappings.items[i].row;
	sums->mappings.items[i] = mapping;
	cost = &sums->rows.items[mapping.row].cost;
	cost->alloc_count++;
	cost->live_count++;
	sums->live_cnt++;
	*ret_mapping = i;
	return 0;
}

void range_sums__grow(struct range_sums *sums, uint32_t i, uint64_t bytes)
{
	struct range_mapping *mapping = &sums->mappings.items[i];
	struct cost *cost = &sums->rows.items[mapping->row].cost;

	mapping->live_bytes += bytes;
	mapping->alloc_bytes += bytes;
	if (!is_counted(mapping))
		return;
	add_wrapping(&cost->alloc_bytes, bytes);
	add_wrapping(&cost->live_bytes, bytes);
}

void range_sums__shrink(struct range_sums *sums, uint32_t i, uint64_t bytes)
{
	struct range_mapping *mapping = &sums->mappings.items[i];
	struct cost *cost = &sums->rows.items[mapping->row].cost;

	mapping->live_bytes -= bytes;
	if (is_counted(mapping)) {
		add_wrapping(&cost->live_bytes, -bytes);
		add_wrapping(&cost->free_bytes, bytes);
	}
	if (mapping->live_bytes || i < MAPPING_FIRST)
		return;
	if (is_counted(mapping)) {
		cost->live_count--;
		cost->free_count++;
		sums->live_cnt--;
	}
	*mapping = (struct range_mapping){.row = sums->free_mapping};
	sums->free_mapping = i;
}

enum range_kind range_sums__kind(const struct range_sums *sums, uint32_t mapping)
{
	return sums->mappings.items[mapping].kind;
}

void range_sums__discount(struct range_sums *sums, uint32_t i, enum range_kind kind)
{
	struct range_mapping *mapping = &sums->mappings.items[i];
	struct cost *cost = &sums->rows.items[mapping->row].cost;
	uint64_t given = mapping->alloc_bytes + mapping->inherited_bytes;

	if (!is_counted(mapping))
		return;
	add_wrapping(&cost->live_bytes, -mapping->live_bytes);
	add_wrapping(&cost->alloc_bytes, -mapping->alloc_bytes);
	add_wrapping(&cost->inherited_bytes, -mapping->inherited_bytes);
	add_wrapping(&cost->free_bytes, -(given - mapping->live_bytes));
	cost->live_count--;
	if (mapping->inherited)
		cost->inherited_count--;
	else
		cost->alloc_count--;
	mapping->kind = kind;
	sums->live_cnt--;
}

uint64_t range_sums__bytes(const struct range_sums *sums, enum range_kind kind)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < sums->mappings.cnt; i++)
		if (sums->mappings.items[i].kind == kind)
			bytes += sums->mappings.items[i].live_bytes;
	return bytes;
}

static void find_ages(const struct range_sums *sums, struct range_costs *costs)
{
	for (size_t i = MAPPING_FIRST; i < sums->mappings.cnt; i++) {
		const struct range_mapping *mapping = &sums->mappings.items[i];
		struct range_cost *row;

		if (!is_counted(mapping))
			continue;
		row = &costs->rows.items[mapping->row];
		if (!row->oldest_ns || mapping->time_ns < row->oldest_ns)
			row->oldest_ns = mapping->time_ns;
		if (mapping->time_ns > row->newest_ns)
			row->newest_ns = mapping->time_ns;
	}
}

int range_sums__costs(const struct range_sums *sums, struct range_costs *ret)
{
	struct range_costs costs = {0};
	size_t kept = 0;

	for (size_t i = 0; i < sums->rows.cnt; i++) {
		if (!array_push(&costs.rows, sums->rows.items[i]))
			continue;
		range_costs__free(&costs);
		return -ENOMEM;
	}
	find_ages(sums, &costs);
	/* A stack whose mappings were all discounted never was, nor was row 0. */
	for (size_t i = 0; i < costs.rows.cnt; i++) {
		const struct range_cost *row = &costs.rows.items[i];

		if (row->cost.alloc_count || row->cost.inherited_count)
			costs.rows.items[kept++] = *row;
	}
	costs.rows.cnt = kept;
	*ret = costs;
	return 0;
}

void range_costs__free(struct range_costs *costs)
{
	array_free(&costs->rows);
}
