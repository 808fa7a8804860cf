/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/build_eval.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "python/build_frames.h"
#include "python/build_symbols.h"

#define MAX_PART_BYTES (1U << 20) /* the interpreter loop has 40 to 120 KiB */
#define MAX_DECODED (4U << 20)	  /* bytes of all, what a hostile file can make it cost */
#define MAX_PARTS 8
#define MAX_CANDIDATES 64
#define MAX_JUMPS (256U << 10)

struct jumps {
	ARRAY(uint64_t) targets;
};

struct candidate {
	struct frame_range range;
	bool is_entered; /* in its middle */
	bool is_named;	 /* by the symbol of another function */
};

struct search {
	const struct elf_image *image;
	const char *name;
	struct code_parts *parts;
	struct frame_index index;
	csh handle;
	uint64_t budget; /* bytes that may yet be decoded */
	ARRAY(struct candidate) candidates;
};

static const struct code_part *find_part(const struct code_parts *parts, uint64_t vaddr)
{
	for (size_t i = 0; i < parts->list.cnt; i++)
		if (vaddr >= parts->list.items[i].start && vaddr < parts->list.items[i].end)
			return &parts->list.items[i];
	return NULL;
}

/* ---- jumps ----------------------------------------------------------------------------------- */

static bool is_direct_jump(csh handle, const cs_insn *insn, uint64_t *ret_target)
{
	const cs_x86 *x86 = &insn->detail->x86;

	if (!insn->id || !cs_insn_group(handle, insn, CS_GRP_JUMP) || x86->op_count != 1 ||
	    x86->operands[0].type != X86_OP_IMM)
		return false;
	*ret_target = (uint64_t)x86->operands[0].imm;
	return true;
}

/* Lists where direct jumps lead that leave the range. */
static int find_jumps(struct search *search, uint64_t start, uint64_t end, struct jumps *ret)
{
	uint64_t off, avail, target, vaddr = start;
	const uint8_t *pos;
	char *code = NULL;
	cs_insn *insn;
	size_t left;
	int err;

	if (!elf_segments__offset(&search->image->segments, start, true, &off, &avail) ||
	    end - start > avail || end - start > MAX_PART_BYTES || end - start > search->budget)
		return 0;
	search->budget -= end - start;
	err = elf_image__load(search->image, off, end - start, MAX_PART_BYTES, &code);
	if (err)
		return err == -ENOMEM ? err : 0;
	insn = cs_malloc(search->handle);
	err = insn ? 0 : -ENOMEM;
	pos = (const uint8_t *)code;
	left = (size_t)(end - start);
	while (!err && ret->targets.cnt < MAX_JUMPS &&
	       cs_disasm_iter(search->handle, &pos, &left, &vaddr, insn))
		if (is_direct_jump(search->handle, insn, &target) &&
		    (target < start || target >= end))
			err = array_push(&ret->targets, target);
	if (insn)
		cs_free(insn, 1);
	free(code);
	return err;
}

/* ---- candidates ------------------------------------------------------------------------------ */

static int add_candidate(struct search *search, uint64_t target)
{
	struct candidate candidate = {0};

	for (size_t i = 0; i < search->candidates.cnt; i++) {
		struct candidate *known = &search->candidates.items[i];

		if (target < known->range.start || target >= known->range.end)
			continue;
		known->is_entered |= target != known->range.start;
		return 0;
	}
	if (search->candidates.cnt >= MAX_CANDIDATES ||
	    !frame_index__find(&search->index, target, &candidate.range))
		return 0;
	candidate.is_entered = target != candidate.range.start;
	return array_push(&search->candidates, candidate);
}

static int mark_named(void *arg, const struct build_symbol *symbol)
{
	struct search *search = arg;
	size_t len = strlen(search->name);

	if (symbol->type != STT_FUNC && symbol->type != STT_GNU_IFUNC)
		return 0;
	if (!strncmp(symbol->name, search->name, len) && !strncmp(symbol->name + len, ".cold", 5))
		return 0;
	for (size_t i = 0; i < search->candidates.cnt; i++) {
		struct candidate *candidate = &search->candidates.items[i];

		candidate->is_named |= symbol->vaddr >= candidate->range.start &&
				       symbol->vaddr < candidate->range.end;
	}
	return 0;
}

/* Whether the candidate jumps into the middle of a known part. */
static int jumps_back(struct search *search, const struct candidate *candidate, bool *ret_is_back)
{
	const struct code_part *part;
	struct jumps jumps = {0};
	bool is_back = false;
	int err;

	err = find_jumps(search, candidate->range.start, candidate->range.end, &jumps);
	for (size_t i = 0; i < jumps.targets.cnt && !is_back; i++) {
		part = find_part(search->parts, jumps.targets.items[i]);
		is_back = part && part->start != jumps.targets.items[i];
	}
	array_free(&jumps.targets);
	if (!err)
		*ret_is_back = is_back;
	return err;
}

/* Takes those candidates over that are parts. */
static int add_parts(struct search *search)
{
	int err = 0;

	for (size_t i = 0; i < search->candidates.cnt && !err; i++) {
		const struct candidate *candidate = &search->candidates.items[i];
		bool is_part = candidate->is_entered || candidate->range.has_frame;

		if (candidate->is_named || find_part(search->parts, candidate->range.start))
			continue;
		if (!is_part)
			err = jumps_back(search, candidate, &is_part);
		if (!err && is_part && search->parts->list.cnt < MAX_PARTS)
			err = array_push(&search->parts->list, ((struct code_part){
								       candidate->range.start,
								       candidate->range.end,
							       }));
	}
	return err;
}

/* Follows the jumps out of one part. */
static int follow_part(struct search *search, struct code_part part)
{
	struct jumps jumps = {0};
	int err;

	search->candidates.cnt = 0;
	err = find_jumps(search, part.start, part.end, &jumps);
	for (size_t i = 0; i < jumps.targets.cnt && !err; i++)
		if (!find_part(search->parts, jumps.targets.items[i]))
			err = add_candidate(search, jumps.targets.items[i]);
	array_free(&jumps.targets);
	if (!err && search->candidates.cnt)
		err = build_symbols__each_dynamic(search->image, mark_named, search);
	if (!err && search->candidates.cnt)
		err = build_symbols__each_static(search->image, mark_named, search);
	return err ? err : add_parts(search);
}

int code_parts__complete(struct code_parts *parts, const struct elf_image *image, const char *name)
{
	struct search search = {
		.image = image,
		.name = name,
		.parts = parts,
		.budget = MAX_DECODED,
	};
	int err;

	if (image->machine != EM_X86_64)
		return 0;
	err = frame_index__open(image, &search.index);
	if (err)
		return err;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &search.handle) != CS_ERR_OK) {
		frame_index__close(&search.index);
		return -ENOMEM;
	}
	if (cs_option(search.handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK ||
	    cs_option(search.handle, CS_OPT_SKIPDATA, CS_OPT_ON) != CS_ERR_OK)
		err = -ENOMEM;
	for (size_t i = 0; i < parts->list.cnt && search.index.cnt && !err; i++)
		err = follow_part(&search, parts->list.items[i]);
	array_free(&search.candidates);
	cs_close(&search.handle);
	frame_index__close(&search.index);
	return err;
}
