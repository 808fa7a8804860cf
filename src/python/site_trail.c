/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_trail.h"

#include <string.h>

/* What the instruction in front says of where the argument was before. */
enum trail_sign {
	TRAIL_GOES_ON,
	TRAIL_FOUND, /* it loads it */
	TRAIL_LOST,  /* it makes it of something else */
};

void site_trail__begin(struct site_trail *trail, const struct site_sources *sources, size_t at,
		       enum gpr reg, unsigned int budget)
{
	trail->sources = sources;
	trail->cnt = 1;
	trail->budget = budget;
	trail->place_cnt = 0;
	trail->steps[0] = (struct trail_step){.at = at, .home = {.reg = (uint8_t)reg}};
}

/* ---- one instruction ------------------------------------------------------------------------- */

static bool is_kept_by_calls(struct trail_home home)
{
	return home.reg == GPR_NONE || home.reg == GPR_RBX || home.reg == GPR_RBP ||
	       (home.reg >= GPR_R12 && home.reg <= GPR_R15);
}

/* Whether the memory operand is a word of the stack. */
static bool find_slot(const struct site_insn *insn, const uint8_t *code, int32_t *ret)
{
	uint8_t mod = insn->modrm >> 6, sib;

	if (mod == 3 || (insn->modrm & 7) != 4 || insn->rex & 3)
		return false;
	sib = code[insn->modrm_at + 1];
	if (sib != 0x24) /* rsp, nothing added */
		return false;
	*ret = 0;
	if (mod == 1)
		*ret = (int8_t)code[insn->disp_at];
	else if (mod == 2)
		memcpy(ret, code + insn->disp_at, sizeof(*ret));
	return true;
}

static bool is_home(struct trail_home home, uint8_t reg)
{
	return home.reg != GPR_NONE && home.reg == reg;
}

static enum trail_sign follow_move(const struct site_insn *insn, const uint8_t *code,
				   struct trail_home *home)
{
	uint8_t reg = (insn->modrm >> 3 & 7) | (insn->rex & 4) << 1;
	uint8_t rm = (insn->modrm & 7) | (insn->rex & 1) << 3;
	bool is_load = insn->op == 0x8b, is_memory = insn->modrm >> 6 != 3;
	int32_t slot;

	if (!is_memory) {
		if (is_home(*home, is_load ? reg : rm))
			home->reg = is_load ? rm : reg;
		return TRAIL_GOES_ON;
	}
	if (!find_slot(insn, code, &slot))
		return is_load && is_home(*home, reg) ? TRAIL_FOUND : TRAIL_GOES_ON;
	if (is_load && is_home(*home, reg))
		*home = (struct trail_home){.reg = GPR_NONE, .slot = slot};
	else if (!is_load && home->reg == GPR_NONE && home->slot == slot)
		home->reg = reg;
	return TRAIL_GOES_ON;
}

static enum trail_sign follow(const struct code_area *area, size_t at, struct trail_home *home)
{
	const uint8_t *code = area->bytes + at;
	struct site_insn insn;
	uint8_t reg;

	if (!code_area__decode(area, at, &insn))
		return TRAIL_LOST;
	if (area->marks[at] & CODE_LEAVES && insn.op != 0xe9 && insn.op != 0xeb)
		return is_kept_by_calls(*home) ? TRAIL_GOES_ON : TRAIL_LOST;
	if (insn.map != SITE_MAP_ONE)
		return TRAIL_GOES_ON;
	if ((insn.op == 0x8b || insn.op == 0x89) && insn.rex & 8)
		return follow_move(&insn, code, home);
	reg = (insn.modrm >> 3 & 7) | (insn.rex & 4) << 1;
	if ((insn.op == 0x8d || insn.op == 0x8b || insn.op == 0x31) && is_home(*home, reg))
		return TRAIL_LOST; /* lea, a half, xor with itself */
	reg = (insn.op & 7) | (insn.rex & 1) << 3;
	if ((insn.op & 0xf8) == 0x58 || (insn.op & 0xf8) == 0xb8) /* pop, a constant */
		return is_home(*home, reg) ? TRAIL_LOST : TRAIL_GOES_ON;
	return TRAIL_GOES_ON;
}

/* ---- all ways -------------------------------------------------------------------------------- */

/* The `option`-th place that control may come from; SIZE_MAX = there are no more. */
static size_t source_of(const struct site_sources *sources, size_t at, size_t option)
{
	const struct site_source *list;
	size_t cnt;

	if (option == 0)
		return site_sources__before(sources, at);
	if (!(sources->area->marks[at] & CODE_LANDING))
		return SIZE_MAX;
	list = site_sources__to(sources, at, &cnt);
	return option - 1 < cnt ? list[option - 1].at : SIZE_MAX;
}

static bool was_here(const struct site_trail *trail, size_t at)
{
	for (size_t i = 0; i < trail->cnt; i++)
		if (trail->steps[i].at == at)
			return true;
	return false;
}

/* The stretch that leads to the load, as far as there is one way, or what looks like the main one.
 */
static size_t add_context(struct site_trail *trail, size_t load, size_t *places)
{
	const struct code_area *area = trail->sources->area;
	const struct site_source *list;
	size_t at = load, cnt = 0, before, source_cnt;

	while (cnt < TRAIL_CONTEXT) {
		before = site_sources__before(trail->sources, at);
		if (before == SIZE_MAX) {
			list = site_sources__to(trail->sources, at, &source_cnt);
			if (source_cnt != 1)
				break;
			before = list->at;
		}
		if (area->marks[before] & CODE_LEAVES && source_of(trail->sources, at, 0) == before)
			break; /* a call */
		places[cnt++] = before;
		at = before;
	}
	return cnt;
}

static void report(struct site_trail *trail, size_t load)
{
	size_t context[TRAIL_CONTEXT], cnt;

	cnt = add_context(trail, load, context);
	trail->place_cnt = 0;
	while (cnt > 0)
		trail->places[trail->place_cnt++] = context[--cnt];
	trail->load = trail->place_cnt;
	trail->places[trail->place_cnt++] = load;
	for (size_t i = trail->cnt; i-- > 0;)
		trail->places[trail->place_cnt++] = trail->steps[i].at;
}

bool site_trail__next(struct site_trail *trail)
{
	while (trail->cnt && trail->budget) {
		struct trail_step *step = &trail->steps[trail->cnt - 1];
		struct trail_home home = step->home;
		size_t option = step->option++;
		size_t before = source_of(trail->sources, step->at, option);

		if (before == SIZE_MAX) {
			if (option > 0)
				trail->cnt--;
			continue;
		}
		trail->budget--;
		if (was_here(trail, before))
			continue;
		switch (follow(trail->sources->area, before, &home)) {
		case TRAIL_FOUND:
			report(trail, before);
			return true;
		case TRAIL_GOES_ON:
			if (trail->cnt < MAX_TRAIL - 1)
				trail->steps[trail->cnt++] =
					(struct trail_step){.at = before, .home = home};
			break;
		case TRAIL_LOST:
			break;
		}
	}
	return false;
}
