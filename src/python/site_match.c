/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_match.h"

#include <string.h>

#include "include/python.h"
#include "python/sites.h"

#define MAX_ARM 16	   /* instructions of the other way of a branch that are looked at */
#define MAX_JOIN (1 << 16) /* bytes between a place and a jump to it */

/* The store in the center: *(pool + PYTHON_POOL_FREE) = value. */
struct shape {
	const struct site_window *window;
	const struct values *values;
	struct value pool, value;
};

static struct value field(const struct shape *shape, int64_t at)
{
	return value__plus(shape->pool, at);
}

static bool find_store(const struct site_window *window, struct shape *ret)
{
	const struct values *values = &window->values;

	for (uint16_t i = 0; i < values->store_cnt; i++) {
		const struct stored *stored = &values->stores[i];

		if (stored->at != window->center || stored->size != 8)
			continue;
		if (value__is_initial(stored->addr, GPR_RSP))
			return false;
		*ret = (struct shape){
			.window = window,
			.values = values,
			.pool = value__plus(stored->addr, -PYTHON_POOL_FREE),
			.value = stored->value,
		};
		return true;
	}
	return false;
}

static bool is_load_of(const struct shape *shape, struct value value, uint8_t size,
		       struct value addr)
{
	const struct symbol *symbol = values__as_load(shape->values, value, size);

	return symbol && value__is_same(symbol->a, addr);
}

/* ---- what belongs to it ---------------------------------------------------------------------- */

/* Whether ref.count is changed by `change`. */
static bool counts(const struct shape *shape, int64_t change)
{
	struct value addr = field(shape, PYTHON_POOL_REF);

	for (uint16_t i = 0; i < shape->values->store_cnt; i++) {
		const struct stored *stored = &shape->values->stores[i];

		if (stored->size == 4 && value__is_same(stored->addr, addr) &&
		    is_load_of(shape, value__plus(stored->value, -change), 4, addr))
			return true;
	}
	return false;
}

static bool is_tested(const struct shape *shape, struct value value)
{
	for (size_t i = 0; i < shape->window->cnt; i++)
		if (shape->window->insns[i].has_tested &&
		    value__is_same(shape->window->insns[i].tested, value))
			return true;
	return false;
}

static bool arm_extends(const struct code_area *area, size_t at)
{
	struct site_insn insn;

	for (int i = 0; i < MAX_ARM && at < area->len; i++) {
		if (area->marks[at] & CODE_TOUCH_28)
			return true;
		if (area->marks[at] & CODE_LEAVES || !code_area__decode(area, at, &insn))
			return false;
		at += insn.len;
	}
	return false;
}

/* Whether a branch behind the store leads to where a pool's next block is begun (pool_extend). */
static bool may_extend(const struct shape *shape)
{
	const struct site_window *window = shape->window;

	for (size_t i = window->center; i < window->cnt; i++) {
		const struct window_insn *insn = &window->insns[i];

		if (insn->control != SITE_BRANCH)
			continue;
		if (insn->target != SIZE_MAX && arm_extends(window->area, insn->target))
			return true;
		if (arm_extends(window->area, insn->at + insn->len))
			return true;
	}
	return false;
}

/* ---- the first block of a recycled pool ------------------------------------------------------ */

static bool stores_one(const struct shape *shape)
{
	struct value addr = field(shape, PYTHON_POOL_REF);

	for (uint16_t i = 0; i < shape->values->store_cnt; i++) {
		const struct stored *stored = &shape->values->stores[i];

		if (stored->size == 4 && value__is_same(stored->addr, addr) &&
		    value__is_same(stored->value, value_const(1)))
			return true;
	}
	return false;
}

/* movl $1, (reg) in what leads straight to `at`. */
static bool stretch_stores_one(const struct code_area *area, size_t at)
{
	static const uint8_t one[] = {1, 0, 0, 0};
	struct site_insn insn;

	for (int i = 0; i < MAX_ARM; i++) {
		at = code_area__previous(area, at);
		if (at == SIZE_MAX || area->marks[at] & CODE_LEAVES)
			return false;
		if (area->marks[at] & CODE_WRITE_0 && code_area__decode(area, at, &insn) &&
		    insn.op == 0xc7 && !memcmp(area->bytes + at + insn.imm_at, one, sizeof(one)))
			return true;
	}
	return false;
}

/* The same in what jumps to `to`. */
static bool joining_stores_one(const struct code_area *area, size_t to)
{
	size_t at = to > MAX_JOIN ? to - MAX_JOIN : 0, target;
	size_t end = area->len - to > MAX_JOIN ? to + MAX_JOIN : area->len;
	struct site_insn insn;

	for (; at < end; at++) {
		if (!(area->marks[at] & CODE_INSN) || !code_area__decode(area, at, &insn))
			continue;
		target = SIZE_MAX;
		code_area__control(area, at, &insn, &target);
		if (target == to && stretch_stores_one(area, at))
			return true;
	}
	return false;
}

static bool begins_count(const struct shape *shape)
{
	const struct site_window *window = shape->window;

	if (stores_one(shape))
		return true;
	for (size_t i = 0; i <= window->center; i++)
		if (window->insns[i].is_landing &&
		    joining_stores_one(window->area, window->insns[i].at))
			return true;
	return false;
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* value = *block, block = pool->freeblock */
static struct site_match match_alloc(const struct shape *shape)
{
	const struct symbol *next = values__as_load(shape->values, shape->value, 8);
	struct site_match match = {.first = shape->window->center + 1};

	if (!next || !is_load_of(shape, next->a, 8, field(shape, PYTHON_POOL_FREE)))
		return match;
	match.block = next->a;
	if (counts(shape, 1)) {
		if (is_tested(shape, shape->value) || may_extend(shape))
			match.kind = SITE_ALLOC;
	} else if (begins_count(shape)) {
		match.kind = SITE_NEW_POOL;
	}
	return match;
}

/* ---- release --------------------------------------------------------------------------------- */

static uint64_t pool_mask(const struct shape *shape)
{
	const struct symbol *symbol = &shape->values->symbols[shape->pool.symbol];

	if (!shape->pool.symbol || shape->pool.factor != 1 || shape->pool.add ||
	    symbol->kind != SYMBOL_AND)
		return 0;
	if (value__is_const(symbol->b))
		return (uint64_t)symbol->b.add;
	return value__is_const(symbol->a) ? (uint64_t)symbol->a.add : 0;
}

/*
 * *block = pool->freeblock, pool->freeblock = block. Where the block's header was reached by
 * another register than the one that is stored here (PyObject_GC_Del), that both are the same is
 * not known: then any other store of the old freeblock will do.
 */
static struct site_match match_free(const struct shape *shape)
{
	struct value old_addr = field(shape, PYTHON_POOL_FREE);
	struct site_match match = {.block = shape->value, .first = shape->window->center + 1};

	for (uint16_t i = 0; i < shape->values->store_cnt && !match.kind; i++) {
		const struct stored *stored = &shape->values->stores[i];

		if (stored->size != 8 || !is_load_of(shape, stored->value, 8, old_addr) ||
		    value__is_same(stored->value, shape->value) ||
		    value__is_initial(stored->addr, GPR_RSP))
			continue;
		if (counts(shape, -1) && is_tested(shape, stored->value))
			match.kind = SITE_FREE;
	}
	if (match.kind)
		match.pool_mask = pool_mask(shape);
	return match;
}

/* ---- the first block of a fresh pool --------------------------------------------------------- */

static const struct stored *last_store(const struct shape *shape, int64_t at, uint16_t size)
{
	struct value addr = field(shape, at);

	for (uint16_t i = shape->values->store_cnt; i-- > 0;) {
		const struct stored *stored = &shape->values->stores[i];

		if (stored->size == size && value__is_same(stored->addr, addr))
			return stored;
	}
	return NULL;
}

static bool ends_list(const struct shape *shape)
{
	for (uint16_t i = 0; i < shape->values->store_cnt; i++) {
		const struct stored *stored = &shape->values->stores[i];

		if (stored->size == 8 && value__is_same(stored->addr, shape->value) &&
		    value__is_same(stored->value, value_const(0)))
			return true;
	}
	return false;
}

static void note_sizes(int64_t alignment, int64_t bytes, struct site_match *match)
{
	if (alignment < 8 || alignment > 64 || alignment & (alignment - 1) || bytes < 4096 ||
	    bytes > 1 << 24 || bytes & (bytes - 1))
		return;
	match->alignment = (uint32_t)alignment;
	match->pool_bytes = (uint32_t)bytes;
}

/*
 * The size class c, of blocks of (c + 1) * alignment bytes, and the largest offset of a block,
 * which is that of the pool's end minus such a block, have one unknown.
 */
static void sizes_by_class(struct value size_class, struct value max_next, struct site_match *match)
{
	int64_t alignment = -(int64_t)(int32_t)max_next.factor;

	if (value__is_const(size_class) || size_class.symbol != max_next.symbol ||
	    size_class.factor != 1)
		return;
	note_sizes(alignment,
		   (int32_t)max_next.add + alignment * ((int64_t)(int32_t)size_class.add + 1),
		   match);
}

/*
 * The same where the class is written together with others, by a vector register: the second block,
 * which is the free one, is one block behind the first.
 */
static void sizes_by_block(const struct shape *shape, struct value max_next,
			   struct site_match *match)
{
	const struct symbol *sum = &shape->values->symbols[shape->value.symbol];
	struct value bytes;

	if (!shape->value.symbol || shape->value.factor != 1 || sum->kind != SYMBOL_SUM ||
	    shape->pool.factor != 1)
		return;
	if (sum->a.symbol == shape->pool.symbol && sum->a.factor == 1)
		bytes = sum->b;
	else if (sum->b.symbol == shape->pool.symbol && sum->b.factor == 1)
		bytes = sum->a;
	else
		return;
	bytes = value__plus(bytes, (int64_t)((uint64_t)shape->value.add -
					     (uint64_t)shape->pool.add - PYTHON_POOL_HEADER));
	if (bytes.symbol != max_next.symbol ||
	    (int32_t)bytes.factor != -(int64_t)(int32_t)max_next.factor)
		return;
	note_sizes((int32_t)bytes.factor, (int64_t)(int32_t)max_next.add + (int32_t)bytes.add,
		   match);
}

/* Which instruction was the last to write the size class, or nothing: 0. */
static size_t class_written_at(const struct shape *shape)
{
	struct value addr = field(shape, PYTHON_POOL_CLASS);
	size_t at = 0;

	for (uint16_t i = 0; i < shape->values->store_cnt; i++)
		if (stored__overlaps(&shape->values->stores[i], addr, 4))
			at = shape->values->stores[i].at;
	return at;
}

static struct site_match match_fresh(const struct shape *shape)
{
	const struct stored *size_class = last_store(shape, PYTHON_POOL_CLASS, 4);
	const struct stored *max_next = last_store(shape, PYTHON_POOL_MAX_NEXT, 4);
	bool has_next = last_store(shape, PYTHON_POOL_NEXT, 4) ||
			last_store(shape, PYTHON_POOL_CLASS, 8); /* both at once */
	bool has_both = last_store(shape, PYTHON_POOL_NEXT, 8) && size_class;
	struct site_match match = {
		.block = field(shape, PYTHON_POOL_HEADER),
		.first = shape->window->center + 1,
	};
	size_t written_at;

	if (!((has_next && max_next) || has_both) || !ends_list(shape))
		return match;
	match.kind = SITE_NEW_INIT;
	written_at = class_written_at(shape);
	if (written_at >= match.first)
		match.first = written_at + 1;
	if (max_next && size_class)
		sizes_by_class(size_class->value, max_next->value, &match);
	if (max_next && !match.pool_bytes)
		sizes_by_block(shape, max_next->value, &match);
	return match;
}

struct site_match site_match__find(const struct site_window *window)
{
	struct site_match match = {0};
	struct shape shape;

	if (!find_store(window, &shape))
		return match;
	match = match_alloc(&shape);
	if (!match.kind)
		match = match_free(&shape);
	if (!match.kind)
		match = match_fresh(&shape);
	return match;
}
