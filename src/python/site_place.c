/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_place.h"

#include "include/python.h"
#include "util/x86_opcode.h"

/* Finds the register that an address can be told from. */
static bool find_register(const struct window_insn *insn, struct value addr, uint8_t *ret_reg,
			  int32_t *ret_disp)
{
	for (int reg = 0; reg < GPR_CNT; reg++) {
		struct value value = insn->regs[reg];
		int64_t disp = (int64_t)((uint64_t)addr.add - (uint64_t)value.add);

		if (value.symbol != addr.symbol || value.factor != addr.factor ||
		    disp < INT32_MIN || disp > INT32_MAX)
			continue;
		*ret_reg = (uint8_t)reg;
		*ret_disp = (int32_t)disp;
		return true;
	}
	return false;
}

static bool in_register(const struct window_insn *insn, struct value block,
			struct site_place *place)
{
	if (value__is_const(block) || !find_register(insn, block, &place->reg, &place->disp))
		return false;
	place->place = PYTHON_PLACE_REG;
	return true;
}

static bool is_overwritten(const struct values *values, const struct stored *stored, size_t index)
{
	for (const struct stored *later = stored + 1; later < values->stores + values->store_cnt;
	     later++)
		if (later->at < index && stored__overlaps(later, stored->addr, 8))
			return true;
	return false;
}

/*
 * A word of memory that holds the address when the `index`-th instruction begins: a stack slot, or
 * the pool's `freeblock` itself.
 */
static bool in_memory(const struct site_window *window, size_t index, struct value block,
		      struct site_place *place)
{
	const struct values *values = &window->values;

	for (uint16_t i = values->store_cnt; i-- > 0;) {
		const struct stored *stored = &values->stores[i];

		if (stored->at >= index || stored->size != 8 ||
		    !value__is_same(stored->value, block) || value__is_const(stored->addr) ||
		    is_overwritten(values, stored, index) ||
		    !find_register(&window->insns[index], stored->addr, &place->reg, &place->disp))
			continue;
		place->place = PYTHON_PLACE_MEM;
		return true;
	}
	return false;
}

int site_place__rate(const struct site_window *window, struct value block, size_t index,
		     struct site_place *ret)
{
	const struct window_insn *insn = &window->insns[index];
	struct x86_opcode opcode = x86_opcode__split(window->area->bytes + insn->at, insn->len);
	bool is_emulated = x86_opcode__is_emulated(&opcode);

	if (x86_opcode__is_refused(&opcode))
		return 0;
	*ret = (struct site_place){.at = insn->at, .is_stepped = !is_emulated};
	if (in_register(insn, block, ret))
		return is_emulated ? SITE_PLACE_EMULATED + 1 : 2;
	if (in_memory(window, index, block, ret))
		return is_emulated ? SITE_PLACE_EMULATED : 1;
	return 0;
}

bool site_place__choose(const struct site_window *window, const struct site_match *match,
			struct site_place *ret)
{
	struct site_place place;
	int best = 0, rating;

	for (size_t i = window->center + 1; i < window->cnt && best <= SITE_PLACE_EMULATED; i++) {
		const struct window_insn *insn = &window->insns[i];

		/* Only what runs with the store, no more and no less. */
		if (insn->is_landing || insn->is_apart)
			break;
		rating = i >= match->first ? site_place__rate(window, match->block, i, &place) : 0;
		if (rating > best) {
			best = rating;
			*ret = place;
		}
		if (insn->control != SITE_NEXT)
			break;
	}
	/* The store itself, when paths meet right behind it. */
	if (!best && match->first == window->center + 1) {
		best = site_place__rate(window, match->block, window->center, &place);
		if (best)
			*ret = place;
	}
	return best > 0;
}
