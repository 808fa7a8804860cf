/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_window.h"

#include <errno.h>

#include "python/site_effect.h"

int site_window__open(struct site_window *window)
{
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &window->handle) != CS_ERR_OK)
		return -ENOMEM;
	window->insn = cs_option(window->handle, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK
			       ? cs_malloc(window->handle)
			       : NULL;
	if (!window->insn) {
		cs_close(&window->handle);
		return -ENOMEM;
	}
	return 0;
}

void site_window__close(struct site_window *window)
{
	cs_free(window->insn, 1);
	cs_close(&window->handle);
}

/* ---- where it goes --------------------------------------------------------------------------- */

/* Finds where the stretch that leads to `at` begins. */
static size_t find_begin(const struct code_area *area, size_t at, size_t *ret_cnt)
{
	size_t begin = at, cnt = 0, previous;

	while (cnt < WINDOW_BEFORE) {
		previous = code_area__previous(area, begin);
		if (previous == SIZE_MAX || area->marks[previous] & CODE_LEAVES)
			break;
		begin = previous;
		cnt++;
	}
	*ret_cnt = cnt;
	return begin;
}

/* Walks in the direction of control. */
struct walk {
	const struct code_area *area;
	size_t at; /* of the next instruction */
	unsigned int jumps;
	bool has_jumped, has_ended;
};

/* Steps over one instruction; *ret_target as code_area__control. */
static enum site_control step(struct walk *walk, const struct site_insn *insn, size_t *ret_target)
{
	enum site_control control;

	*ret_target = SIZE_MAX;
	control = code_area__control(walk->area, walk->at, insn, ret_target);
	walk->at += insn->len;
	walk->has_jumped = false;
	if (control == SITE_NEXT || control == SITE_BRANCH)
		return control;
	if (control == SITE_JUMP && *ret_target != SIZE_MAX && walk->jumps++ < WINDOW_JUMPS) {
		walk->at = *ret_target;
		walk->has_jumped = true;
	} else {
		walk->has_ended = true;
	}
	return control;
}

bool site_window__has_marks(const struct code_area *area, size_t at, uint8_t marks)
{
	struct walk walk = {.area = area};
	struct site_insn insn;
	size_t before, target;
	uint8_t found = 0;

	walk.at = find_begin(area, at, &before);
	for (size_t i = 0; i < before + 1 + WINDOW_AFTER && !walk.has_ended; i++) {
		if (walk.at >= area->len || !code_area__decode(area, walk.at, &insn))
			break;
		found |= area->marks[walk.at];
		if ((found & marks) == marks)
			return true;
		step(&walk, &insn, &target);
	}
	return false;
}

/* ---- running it ------------------------------------------------------------------------------ */

static bool apply(struct site_window *window, struct window_insn *to, uint16_t index)
{
	const struct code_area *area = window->area;
	const uint8_t *pos = area->bytes + to->at;
	size_t left = to->len;
	uint64_t address = area->vaddr + to->at;

	if (x86_opcode__is_endbr64(pos, left))
		return true;
	if (!cs_disasm_iter(window->handle, &pos, &left, &address, window->insn) || left)
		return false;
	to->has_tested = site_effect__apply(&window->values, window->insn, index, &to->tested);
	return true;
}

/* Returns false when the stretch ends here. */
static bool add_insn(struct site_window *window, struct walk *walk)
{
	struct window_insn *to = &window->insns[window->cnt];
	const struct code_area *area = window->area;
	struct site_insn insn;

	if (walk->has_ended || walk->at >= area->len || !code_area__decode(area, walk->at, &insn))
		return false;
	*to = (struct window_insn){
		.at = walk->at,
		.len = insn.len,
		.is_landing = area->marks[walk->at] & (CODE_LANDING | CODE_ENTRY),
		.is_apart = walk->has_jumped,
	};
	for (int reg = 0; reg < GPR_CNT; reg++)
		to->regs[reg] = window->values.regs[reg];
	to->control = (uint8_t)step(walk, &insn, &to->target);
	if ((to->control == SITE_NEXT || to->control == SITE_BRANCH) &&
	    !apply(window, to, (uint16_t)window->cnt))
		return false;
	window->cnt++;
	return true;
}

bool site_window__read(struct site_window *window, const struct code_area *area, size_t at)
{
	struct walk walk = {.area = area};
	size_t before;

	window->area = area;
	window->cnt = 0;
	values__begin(&window->values);
	walk.at = find_begin(area, at, &before);
	window->center = before;
	while (window->cnt < before + 1 + WINDOW_AFTER && add_insn(window, &walk))
		;
	return window->cnt > before && window->insns[before].at == at && !window->values.is_full;
}

/* ---- a path that is given ----------------------------------------------------------------------
 */

/* What a function need not keep (psABI for x86-64, 3.2.1). */
static void forget_call(struct values *values)
{
	static const uint8_t lost[] = {GPR_RAX, GPR_RCX, GPR_RDX, GPR_RSI, GPR_RDI,
				       GPR_R8,	GPR_R9,	 GPR_R10, GPR_R11};

	for (size_t i = 0; i < sizeof(lost); i++)
		values->regs[lost[i]] = values__any(values, 8);
}

bool site_window__run(struct site_window *window, const struct code_area *area,
		      const size_t *places, size_t cnt)
{
	struct window_insn *to;
	struct site_insn insn;

	window->area = area;
	window->cnt = 0;
	values__begin(&window->values);
	if (!cnt || cnt > MAX_WINDOW)
		return false;
	for (; window->cnt < cnt; window->cnt++) {
		to = &window->insns[window->cnt];
		if (!code_area__decode(area, places[window->cnt], &insn))
			return false;
		*to = (struct window_insn){
			.at = places[window->cnt], .len = insn.len, .target = SIZE_MAX};
		to->control = (uint8_t)code_area__control(area, to->at, &insn, &to->target);
		for (int reg = 0; reg < GPR_CNT; reg++)
			to->regs[reg] = window->values.regs[reg];
		if (to->control == SITE_CALL || to->control == SITE_CALL_INDIRECT)
			forget_call(&window->values);
		else if (!apply(window, to, (uint16_t)window->cnt))
			return false;
	}
	window->center = cnt - 1;
	return !window->values.is_full;
}
