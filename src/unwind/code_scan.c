/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unwind/code_scan.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "unwind/code_flow.h"
#include "unwind/code_seeds.h"
#include "unwind/code_text.h"

#define MAX_PASSES 8 /* over all functions; compilers' code takes 3 to 5 */

/* ---- sigreturn ------------------------------------------------------------------------------- */

/* mov $15, %rax or %eax; syscall: rt_sigreturn, as the C libraries write it. */
static size_t match_sigreturn(const uint8_t *bytes, size_t len)
{
	static const uint8_t wide[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
	static const uint8_t narrow[] = {0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};

	if (len >= sizeof(wide) && !memcmp(bytes, wide, sizeof(wide)))
		return sizeof(wide);
	if (len >= sizeof(narrow) && !memcmp(bytes, narrow, sizeof(narrow)))
		return sizeof(narrow);
	return 0;
}

/*
 * A signal handler returns to the first byte, with nothing before it having been called: what looks
 * up the byte before a return address must find it, too.
 */
static int add_sigreturns(const struct code_text *text, const struct code_region *region,
			  struct table_builder *builder)
{
	const struct unwind_row row = {.rule = UNWIND_RULE_SIGNAL, .fp = UNWIND_FP_SAME};
	const uint8_t *bytes = region->bytes, *end = bytes + (region->end - region->start);
	size_t len;
	int err = 0;

	for (const uint8_t *pos = bytes; pos < end && !err; pos++) {
		uint64_t vaddr = text->base + region->start + (uint64_t)(pos - bytes);

		len = match_sigreturn(pos, (size_t)(end - pos));
		if (len)
			err = table_builder__add(builder, vaddr ? vaddr - 1 : 0, vaddr + len, row);
	}
	return err;
}

/* ---- functions ------------------------------------------------------------------------------- */

/* What calls what does not return may lie before or behind it: passes go up and down in turn. */
static int learn(struct code_flow *flow, const struct code_seeds *seeds, bool certain)
{
	bool learned = true;
	int err = 0;

	for (unsigned int pass = 0; pass < MAX_PASSES && learned && !err; pass++) {
		size_t cnt = seeds->list.cnt;

		for (size_t i = 0; i < cnt && !err; i++)
			err = code_flow__learn(flow, pass % 2 ? i : cnt - 1 - i, certain);
		if (!err)
			err = code_flow__end_pass(flow, &learned);
	}
	return err;
}

static int follow_seeds(struct code_flow *flow, const struct code_seeds *seeds)
{
	int err;

	err = learn(flow, seeds, true);
	if (!err)
		err = learn(flow, seeds, false);
	for (size_t i = 0; i < seeds->list.cnt && !err; i++)
		err = code_flow__keep(flow, i);
	return err;
}

/* Functions that nobody calls by a known address begin where no other code leads. */
static int try_gaps(struct code_flow *flow, const struct code_text *text)
{
	bool leads_here = false, seen;
	uint32_t end = 0;
	int err = 0;

	for (uint32_t i = 0; i < text->sweep_cnt && !err; i++) {
		const struct code_insn insn = text->insns.items[i];

		code_flow__row(flow, i, &seen);
		if (insn.at != end)
			leads_here = false;
		if (!seen && !leads_here && insn.op != CODE_NOP && insn.op != CODE_STOP) {
			err = code_flow__try(flow, i);
			code_flow__row(flow, i, &seen);
		}
		end = insn.at + insn.len;
		if (insn.op != CODE_NOP)
			leads_here = code_insn__goes_on(&insn) && !seen;
	}
	return err;
}

static bool same_row(struct unwind_row a, struct unwind_row b)
{
	return a.rule == b.rule && a.fp == b.fp && a.cfa == b.cfa;
}

static int add_rows(const struct code_flow *flow, const struct code_text *text,
		    struct table_builder *builder)
{
	struct unwind_row row = {0}, next;
	uint64_t start = 0, end = 0;
	int err = 0;
	bool seen;

	for (uint32_t i = 0; i < text->insns.cnt && !err; i++) {
		const struct code_insn *insn = &text->insns.items[i];
		uint64_t vaddr = text->base + insn->at;

		next = code_flow__row(flow, i, &seen);
		if (vaddr == end && same_row(row, next)) {
			end += insn->len;
			continue;
		}
		if (row.rule != UNWIND_RULE_NONE)
			err = table_builder__add(builder, start, end, row);
		row = next;
		start = vaddr;
		end = vaddr + insn->len;
	}
	if (!err && row.rule != UNWIND_RULE_NONE)
		err = table_builder__add(builder, start, end, row);
	return err;
}

/* Names are to be believed before what instructions seem to be there. */
static int sweep(struct code_text *text, const struct code_seeds *seeds)
{
	ARRAY(uint32_t) starts = {0};
	int err = 0;

	for (size_t i = 0; i < seeds->list.cnt && !err; i++)
		if (seeds->list.items[i].trust == SEED_NAMED)
			err = array_push(&starts, seeds->list.items[i].at);
	if (!err)
		err = code_text__sweep(text, starts.items, starts.cnt);
	array_free(&starts);
	return err;
}

static int scan(const struct elf_image *image, struct code_text *text, struct code_seeds *seeds,
		struct table_builder *builder)
{
	struct code_flow *flow = NULL;
	int err;

	err = code_seeds__from_file(seeds, image, text);
	if (!err)
		err = sweep(text, seeds);
	if (!err)
		err = code_seeds__from_text(seeds, text);
	for (size_t i = 0; i < text->regions.cnt && !err; i++)
		err = add_sigreturns(text, &text->regions.items[i], builder);
	if (err)
		return err;
	flow = code_flow__new(text, seeds);
	if (!flow)
		return -ENOMEM;
	err = follow_seeds(flow, seeds);
	if (!err)
		err = try_gaps(flow, text);
	if (!err)
		err = add_rows(flow, text, builder);
	code_flow__free(flow);
	return err == -ETIME ? 0 : err;
}

int code_scan__run(const struct elf_image *image, const struct code_ranges *covered,
		   uint64_t max_bytes, struct table_builder *builder)
{
	struct code_seeds seeds = {0};
	struct code_text text = {0};
	int err;

	if (image->machine != EM_X86_64)
		return 0;
	err = code_text__load(image, covered,
			      max_bytes < MAX_SCANNED_CODE ? max_bytes : MAX_SCANNED_CODE, &text);
	if (!err && text.regions.cnt)
		err = scan(image, &text, &seeds, builder);
	code_seeds__free(&seeds);
	code_text__free(&text);
	return err;
}
