/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ranges.c against a model that knows every single page of a small address space: which mapping it
 * belongs to and since when. The model is slow and simple; both get the same random calls and must
 * agree on every sum.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "collect/ranges.h"

#define PAGES 4096
#define STACKS 24
#define OPS 200000
#define CHECK_EVERY 20
#define BASE 0x7f0000000000ULL

/* Pages hold the number of a mapping: 0 = none, the kinds that are not counted, then mappings of
 * memory. */
#define FIRST_MAPPING 5

struct model_mapping {
	int stack;
	uint64_t time_ns;
	int64_t alloc, inherited; /* pages */
	bool is_inherited, is_marked, is_over;
};

struct model {
	uint32_t page[PAGES];
	uint64_t placed_ns[PAGES];
	ARRAY(struct model_mapping) mappings;
	size_t first_open;	  /* all before it are over */
	struct cost over[STACKS]; /* of the mappings that are; in pages */
	uint64_t unknown;
};

static uint64_t page_size, random_state;

static uint64_t random_below(uint64_t limit)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (random_state >> 33) % limit;
}

static uint64_t stack_id(int stack)
{
	return stack * 0x9e3779b97f4a7c15ULL; /* the first one is 0 */
}

/* ---- the model ---- */

static uint32_t add_mapping(struct model *m, int stack, const struct range_origin *origin)
{
	struct model_mapping mapping = {.stack = stack, .time_ns = origin->time_ns};

	if (origin->kind != RANGE_MEMORY)
		return origin->kind;
	assert_int_equal(array_push(&m->mappings, mapping), 0);
	return m->mappings.cnt - 1;
}

static void place(struct model *m, size_t page, uint32_t mapping, uint64_t placed_ns)
{
	m->page[page] = mapping;
	m->placed_ns[page] = placed_ns;
}

/* A run of pages of an allocator, or reserved ones, is one range that is as new as its newest part.
 */
static void level(struct model *m, size_t page)
{
	uint32_t mapping = m->page[page];
	size_t start = page, end = page;
	uint64_t newest = 0;

	if (mapping != RANGE_ALLOCATOR && mapping != RANGE_RESERVED)
		return;
	while (start > 0 && m->page[start - 1] == mapping)
		start--;
	while (end < PAGES && m->page[end] == mapping)
		end++;
	for (size_t i = start; i < end; i++)
		newest = m->placed_ns[i] > newest ? m->placed_ns[i] : newest;
	for (size_t i = start; i < end; i++)
		m->placed_ns[i] = newest;
}

static void model_map(struct model *m, size_t at, size_t len, int stack,
		      const struct range_origin *origin)
{
	uint32_t mapping;

	if (!len)
		return;
	mapping = add_mapping(m, stack, origin);
	for (size_t i = at; i < at + len; i++)
		place(m, i, mapping, origin->time_ns);
	m->mappings.items[mapping].alloc += len;
	level(m, at);
}

static void model_unmap(struct model *m, size_t at, size_t len, uint64_t begin_ns)
{
	for (size_t i = at; i < at + len; i++) {
		if (!m->page[i])
			m->unknown++;
		else if (m->placed_ns[i] <= begin_ns)
			m->page[i] = 0;
	}
}

static void model_protect(struct model *m, size_t at, size_t len, int stack,
			  const struct range_origin *origin)
{
	uint32_t mapping = 0;
	size_t last = PAGES;

	for (size_t i = at; i < at + len; i++) {
		if (m->page[i] != RANGE_RESERVED)
			continue;
		if (!mapping || last + 1 != i)
			mapping = add_mapping(m, stack, origin);
		m->page[i] = mapping;
		m->mappings.items[mapping].alloc++;
		last = i;
	}
	for (size_t i = at; i < at + len; i++)
		level(m, i);
}

/* Gives pages that are moved without being known to a mapping of `origin`. */
static void model_claim(struct model *m, uint32_t *moved, uint64_t *placed_ns, size_t kept,
			bool may_have_holes, int stack, const struct range_origin *origin)
{
	uint32_t mapping = 0;
	bool any_known = false;

	for (size_t i = 0; i < kept; i++)
		any_known |= moved[i] != 0;
	if (any_known && may_have_holes)
		return;
	for (size_t i = 0; i < kept; i++) {
		if (moved[i])
			continue;
		if (!mapping)
			mapping = add_mapping(m, stack, origin);
		moved[i] = mapping;
		placed_ns[i] = origin->time_ns;
		m->mappings.items[mapping].alloc++;
	}
}

/* Parts of one mapping that lie and stay side by side become one. */
static void level_kept(const uint32_t *moved, uint64_t *placed_ns, size_t kept)
{
	for (size_t i = 1; i < kept; i++)
		if (moved[i] == moved[i - 1] && placed_ns[i] < placed_ns[i - 1])
			placed_ns[i] = placed_ns[i - 1];
	for (size_t i = kept - 1; i > 0; i--)
		if (moved[i - 1] == moved[i] && placed_ns[i - 1] < placed_ns[i])
			placed_ns[i - 1] = placed_ns[i];
}

static void model_remap(struct model *m, size_t from, size_t old_len, size_t to, size_t len,
			bool keep_old, int stack, const struct range_origin *origin)
{
	bool overlap = from < to + len && to < from + old_len, in_place = from == to;
	size_t kept = old_len < len ? old_len : len;
	static uint32_t moved[PAGES];
	static uint64_t placed_ns[PAGES];

	for (size_t i = 0; i < kept; i++) {
		moved[i] = 0;
		if (in_place || m->placed_ns[from + i] <= origin->begin_ns) {
			moved[i] = m->page[from + i];
			placed_ns[i] = m->placed_ns[from + i];
			m->page[from + i] = 0;
		}
	}
	level_kept(moved, placed_ns, kept);
	model_claim(m, moved, placed_ns, kept, !in_place && old_len == len, stack, origin);
	model_unmap(m, from + kept, old_len - kept, origin->begin_ns);
	for (size_t i = 0; i < len; i++)
		m->page[to + i] = 0;
	for (size_t i = 0; i < kept; i++)
		place(m, to + i, moved[i], in_place ? placed_ns[i] : origin->time_ns);
	for (size_t i = kept; i < len; i++) {
		place(m, to + i, moved[kept - 1], origin->time_ns);
		m->mappings.items[moved[kept - 1]].alloc++;
	}
	if (keep_old && !overlap)
		for (size_t i = from; i < from + kept; i++)
			if (!m->page[i])
				place(m, i, RANGE_RESERVED, origin->begin_ns);
	for (size_t i = 0; i < len; i++)
		level(m, to + i);
	for (size_t i = 0; i < old_len; i++)
		level(m, from + i);
}

static void model_mark(struct model *m, size_t page)
{
	if (m->page[page] >= FIRST_MAPPING)
		m->mappings.items[m->page[page]].is_marked = true;
}

static uint32_t *count_live(const struct model *m)
{
	uint32_t *live = calloc(m->mappings.cnt, sizeof(*live));

	assert_non_null(live);
	for (size_t i = 0; i < PAGES; i++)
		live[m->page[i]]++;
	return live;
}

static void model_fork(const struct model *parent, struct model *child)
{
	uint32_t *live = count_live(parent);

	*child = *parent;
	memset(child->over, 0, sizeof(child->over));
	child->unknown = 0;
	memset(&child->mappings, 0, sizeof(child->mappings));
	for (size_t i = 0; i < parent->mappings.cnt; i++) {
		struct model_mapping mapping = parent->mappings.items[i];

		mapping.alloc = 0;
		mapping.inherited = live[i];
		mapping.is_inherited = true;
		mapping.is_over = !live[i];
		assert_int_equal(array_push(&child->mappings, mapping), 0);
	}
	free(live);
}

static void add_to_row(struct cost *row, const struct model_mapping *mapping, int64_t live)
{
	row->live_bytes += live;
	row->live_count += live > 0;
	row->alloc_bytes += mapping->alloc;
	row->alloc_count += !mapping->is_inherited;
	row->inherited_bytes += mapping->inherited;
	row->inherited_count += mapping->is_inherited;
	row->free_bytes += mapping->alloc + mapping->inherited - live;
	row->free_count += !live;
}

/* Sums up all mappings; those without a page left are set aside for good. */
static bool model_costs(struct model *m, struct range_cost *rows)
{
	uint32_t *live = count_live(m);
	bool has_memory = false;

	for (size_t i = m->first_open; i < m->mappings.cnt; i++) {
		struct model_mapping *mapping = &m->mappings.items[i];

		if (!mapping->is_over && !live[i] && !mapping->is_marked)
			add_to_row(&m->over[mapping->stack], mapping, 0);
		mapping->is_over |= !live[i];
		if (mapping->is_over && i == m->first_open)
			m->first_open++;
	}
	for (int s = 0; s < STACKS; s++)
		rows[s] = (struct range_cost){.stack_id = stack_id(s), .cost = m->over[s]};
	for (size_t i = m->first_open; i < m->mappings.cnt; i++) {
		const struct model_mapping *mapping = &m->mappings.items[i];
		struct range_cost *row = &rows[mapping->stack];

		if (mapping->is_over || mapping->is_marked)
			continue;
		has_memory = true;
		add_to_row(&row->cost, mapping, live[i]);
		if (!row->oldest_ns || mapping->time_ns < row->oldest_ns)
			row->oldest_ns = mapping->time_ns;
		if (mapping->time_ns > row->newest_ns)
			row->newest_ns = mapping->time_ns;
	}
	free(live);
	return has_memory;
}

/* ---- both together ---- */

static void compare_row(const struct range_cost *row, const struct range_cost *want)
{
	const struct cost *cost = &row->cost;

	assert_int_equal(cost->live_bytes, want->cost.live_bytes * page_size);
	assert_int_equal(cost->live_count, want->cost.live_count);
	assert_int_equal(cost->alloc_bytes, want->cost.alloc_bytes * page_size);
	assert_int_equal(cost->alloc_count, want->cost.alloc_count);
	assert_int_equal(cost->free_bytes, want->cost.free_bytes * page_size);
	assert_int_equal(cost->free_count, want->cost.free_count);
	assert_int_equal(cost->inherited_bytes, want->cost.inherited_bytes * page_size);
	assert_int_equal(cost->inherited_count, want->cost.inherited_count);
	assert_int_equal(row->oldest_ns, want->oldest_ns);
	assert_int_equal(row->newest_ns, want->newest_ns);
	assert_int_equal(cost->alloc_bytes + cost->inherited_bytes,
			 cost->live_bytes + cost->free_bytes);
	assert_int_equal(cost->alloc_count + cost->inherited_count,
			 cost->live_count + cost->free_count);
}

static void compare(const struct ranges *ranges, struct model *m)
{
	struct range_cost want[STACKS], zero;
	struct range_costs costs = {0};
	bool has_memory = model_costs(m, want);
	size_t found, rows = 0;

	assert_int_equal(ranges__has_memory(ranges), has_memory);
	assert_int_equal(ranges__unknown_bytes(ranges), m->unknown * page_size);
	assert_int_equal(ranges__costs(ranges, &costs), 0);
	for (int s = 0; s < STACKS; s++) {
		for (found = 0; found < costs.rows.cnt; found++)
			if (costs.rows.items[found].stack_id == want[s].stack_id)
				break;
		zero = (struct range_cost){.stack_id = want[s].stack_id};
		rows += found < costs.rows.cnt;
		compare_row(found < costs.rows.cnt ? &costs.rows.items[found] : &zero, &want[s]);
	}
	assert_int_equal(rows, costs.rows.cnt);
	range_costs__free(&costs);
}

static struct range_origin random_origin(uint64_t *now_ns, int *ret_stack)
{
	static const uint8_t kinds[] = {RANGE_MEMORY,	 RANGE_MEMORY,	 RANGE_MEMORY,
					RANGE_ALLOCATOR, RANGE_RESERVED, RANGE_FILE};
	struct range_origin origin;

	*now_ns += 1 + random_below(10);
	*ret_stack = random_below(STACKS);
	origin.stack_id = stack_id(*ret_stack);
	origin.time_ns = *now_ns;
	origin.begin_ns = *now_ns - 1 - (random_below(4) ? 0 : random_below(300));
	origin.kind = kinds[random_below(sizeof(kinds))];
	return origin;
}

static size_t random_len(void)
{
	static const uint16_t limits[] = {2, 8, 8, 32, 32, 400};

	return 1 + random_below(limits[random_below(6)]);
}

/* A random part of the space, most of the time in pages that are in use. */
static size_t random_at(const struct model *m, size_t len)
{
	size_t at = random_below(PAGES - len + 1);

	for (int i = 0; i < 8 && !m->page[at]; i++)
		at = random_below(PAGES - len + 1);
	return at;
}

static uint64_t addr_of(size_t page)
{
	return BASE + page * page_size;
}

/* A length that comes to `pages` only when rounded up. */
static uint64_t ragged(size_t pages)
{
	return pages * page_size - random_below(page_size);
}

static void random_remap(struct ranges *r, struct model *m, int stack,
			 const struct range_origin *origin)
{
	size_t old_len = random_len(), len = random_below(3) ? random_len() : old_len;
	size_t from = random_at(m, old_len), to = from;
	bool keep_old = !random_below(6);

	if (random_below(3))
		to = random_below(PAGES - len + 1);
	else if (to + len > PAGES)
		len = PAGES - to;
	assert_int_equal(ranges__remap(r, addr_of(from), ragged(old_len), addr_of(to), ragged(len),
				       keep_old, origin),
			 0);
	model_remap(m, from, old_len, to, len, keep_old, stack, origin);
}

static void random_brk(struct ranges *r, struct model *m, int stack,
		       const struct range_origin *origin)
{
	size_t len = random_len(), at = random_at(m, len);
	uint64_t low = addr_of(at) - random_below(page_size), high = addr_of(at) + ragged(len);

	if (random_below(2)) {
		assert_int_equal(ranges__brk(r, low, high, origin), 0);
		model_map(m, at, len, stack, origin);
	} else {
		assert_int_equal(ranges__brk(r, high, low, origin), 0);
		model_unmap(m, at, len, origin->begin_ns);
	}
}

static void random_call(struct ranges *r, struct model *m, uint64_t *now_ns)
{
	size_t len = random_len(), at = random_at(m, len);
	struct range_origin origin;
	int stack;

	origin = random_origin(now_ns, &stack);
	switch (random_below(16)) {
	case 0 ... 4:
		assert_int_equal(ranges__map(r, addr_of(at), ragged(len), &origin), 0);
		model_map(m, at, len, stack, &origin);
		break;
	case 5 ... 8:
		assert_int_equal(ranges__unmap(r, addr_of(at), ragged(len), origin.begin_ns), 0);
		model_unmap(m, at, len, origin.begin_ns);
		break;
	case 9 ... 11:
		random_remap(r, m, stack, &origin);
		break;
	case 12:
		random_brk(r, m, stack, &origin);
		break;
	case 13 ... 14:
		origin.kind = random_below(2) ? RANGE_MEMORY : RANGE_ALLOCATOR;
		assert_int_equal(ranges__protect(r, addr_of(at), ragged(len), true, &origin), 0);
		model_protect(m, at, len, stack, &origin);
		break;
	default:
		if (random_below(4))
			break;
		ranges__mark_allocator(r, addr_of(at) + random_below(page_size));
		model_mark(m, at);
	}
}

static void free_model(struct model *m)
{
	array_free(&m->mappings);
	free(m);
}

/* Forks, lets parent and child go separate ways for a while, and goes on with one of them. */
static void fork_both(struct ranges **r, struct model **m, uint64_t *now_ns)
{
	struct ranges *child = ranges__fork(*r), *ranges;
	struct model *child_model = malloc(sizeof(*child_model)), *model;

	assert_non_null(child);
	assert_non_null(child_model);
	model_fork(*m, child_model);
	compare(child, child_model);
	for (int i = 0; i < 50; i++) {
		random_call(*r, *m, now_ns);
		random_call(child, child_model, now_ns);
	}
	compare(*r, *m);
	compare(child, child_model);
	if (random_below(2)) {
		ranges = *r;
		*r = child;
		child = ranges;
		model = *m;
		*m = child_model;
		child_model = model;
	}
	ranges__free(child);
	free_model(child_model);
}

static void test_random_calls(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct ranges *r = ranges__new();
	uint64_t now_ns = 1000;

	(void)state;
	assert_non_null(m);
	assert_non_null(r);
	page_size = sysconf(_SC_PAGESIZE);
	random_state = 20240607;
	for (int i = 0; i < FIRST_MAPPING; i++)
		assert_int_equal(array_push(&m->mappings, (struct model_mapping){0}), 0);
	m->first_open = FIRST_MAPPING;
	for (int i = 0; i < OPS; i++) {
		random_call(r, m, &now_ns);
		if (i % CHECK_EVERY == 0)
			compare(r, m);
		if (i % 2000 == 1999)
			fork_both(&r, &m, &now_ns);
	}
	compare(r, m);
	/* The end of everything: what lives is freed, all that was is still told. */
	assert_int_equal(ranges__unmap(r, BASE, PAGES * page_size, UINT64_MAX), 0);
	model_unmap(m, 0, PAGES, UINT64_MAX);
	compare(r, m);
	assert_false(ranges__has_memory(r));
	ranges__free(r);
	free_model(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
