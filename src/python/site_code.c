/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool has_memory(const struct site_insn *insn)
{
	return insn->modrm_at && insn->modrm >> 6 != 3;
}

/* Displacement of a register and nothing else, or INT32_MIN. rip has none. */
static int32_t displacement(const struct site_insn *insn, const uint8_t *code)
{
	int32_t wide;

	if (!has_memory(insn) || (insn->modrm >> 6 == 0 && (insn->modrm & 7) == 5))
		return INT32_MIN;
	if (!insn->disp_len)
		return 0;
	if (insn->disp_len == 1)
		return (int8_t)code[insn->disp_at];
	memcpy(&wide, code + insn->disp_at, sizeof(wide));
	return wide;
}

/* add, or, adc, sbb, and, sub, xor, cmp, mov, test, inc, dec: whatever compilers use there. */
static bool touches_32(const struct site_insn *insn)
{
	if (insn->map != SITE_MAP_ONE || insn->opsize || insn->rex & 8)
		return false;
	if (insn->op < 0x40)
		return (insn->op & 7) == 1 || (insn->op & 7) == 3;
	return insn->op == 0x81 || insn->op == 0x83 || insn->op == 0x89 || insn->op == 0x8b ||
	       insn->op == 0xc7 || insn->op == 0xff || insn->op == 0xf7 || insn->op == 0x85;
}

static bool writes_32(const struct site_insn *insn)
{
	uint8_t reg = insn->modrm >> 3 & 7;

	if (!touches_32(insn))
		return false;
	if (insn->op < 0x40)
		return (insn->op & 7) == 1 && insn->op != 0x39;
	if (insn->op == 0xff)
		return reg < 2;
	if (insn->op == 0x81 || insn->op == 0x83)
		return reg != 7;
	return insn->op == 0x89 || insn->op == 0xc7;
}

/* Accesses to the header of a pool. */
static uint8_t marks_of(const struct site_insn *insn, const uint8_t *code)
{
	int32_t at = displacement(insn, code);

	switch (at) {
	case 0:
		return writes_32(insn) ? CODE_WRITE_0 : 0;
	case 8:
		if (insn->map != SITE_MAP_ONE || !(insn->rex & 8))
			return 0;
		return insn->op == 0x89 ? CODE_STORE_8 : insn->op == 0x8b ? CODE_LOAD_8 : 0;
	case 0x28:
	case 0x2c:
		return touches_32(insn) ? CODE_TOUCH_28 : 0;
	default:
		return 0;
	}
}

/* ---- the sweep ------------------------------------------------------------------------------- */

static void mark(const struct site_code *code, uint64_t vaddr, uint8_t bits)
{
	size_t at;
	const struct code_area *area = site_code__find(code, vaddr, &at);

	if (area)
		area->marks[at] |= bits;
}

static void sweep_one(const struct site_code *code, const struct code_area *area, size_t at,
		      const struct site_insn *insn)
{
	const uint8_t *bytes = area->bytes + at;
	uint64_t target;

	area->marks[at] |= CODE_INSN | marks_of(insn, bytes);
	switch (site_insn__control(insn, bytes, area->vaddr + at, &target)) {
	case SITE_BRANCH:
		mark(code, target, CODE_LANDING);
		break;
	case SITE_JUMP:
		area->marks[at] |= CODE_LEAVES;
		mark(code, target, CODE_LANDING);
		break;
	case SITE_CALL:
		area->marks[at] |= CODE_LEAVES;
		mark(code, target, CODE_ENTRY);
		break;
	case SITE_CALL_INDIRECT:
	case SITE_END:
		area->marks[at] |= CODE_LEAVES;
		break;
	case SITE_NEXT:
		if (x86_opcode__is_endbr64(bytes, area->len - at))
			area->marks[at] |= CODE_LANDING; /* indirect ones do */
		break;
	}
}

/* Bytes that are no instruction are stepped over one by one, which finds the line again. */
static void sweep(const struct site_code *code, const struct code_area *area)
{
	struct site_insn insn;
	size_t at = 0;

	while (at < area->len) {
		if (!code_area__decode(area, at, &insn)) {
			at++;
			continue;
		}
		sweep_one(code, area, at, &insn);
		at += insn.len;
	}
}

static int add_area(const struct elf_image *image, const struct elf_segment *segment,
		    struct site_code *code)
{
	struct code_area area = {.vaddr = segment->vaddr, .off = segment->off};
	char *bytes;
	int err;

	err = elf_image__load(image, segment->off, segment->size, MAX_SITE_CODE, &bytes);
	if (err)
		return err;
	area.bytes = (uint8_t *)bytes;
	area.len = segment->size;
	area.marks = calloc(1, area.len);
	err = area.marks ? array_push(&code->areas, area) : -ENOMEM;
	if (err) {
		free(area.bytes);
		free(area.marks);
	}
	return err;
}

static bool is_too_large(const struct elf_image *image)
{
	uint64_t total = 0;

	for (size_t i = 0; i < image->segments.list.cnt; i++) {
		const struct elf_segment *segment = &image->segments.list.items[i];

		if (!segment->executable)
			continue;
		if (segment->size > MAX_SITE_CODE - total)
			return true;
		total += segment->size;
	}
	return false;
}

int site_code__read(const struct elf_image *image, struct site_code *ret)
{
	struct site_code code = {0};
	int err = 0;

	if (is_too_large(image))
		return -EFBIG;
	for (size_t i = 0; i < image->segments.list.cnt && !err; i++)
		if (image->segments.list.items[i].executable)
			err = add_area(image, &image->segments.list.items[i], &code);
	if (err) {
		site_code__free(&code);
		return err;
	}
	for (size_t i = 0; i < code.areas.cnt; i++)
		sweep(&code, &code.areas.items[i]);
	*ret = code;
	return 0;
}

void site_code__free(struct site_code *code)
{
	for (size_t i = 0; i < code->areas.cnt; i++) {
		free(code->areas.items[i].bytes);
		free(code->areas.items[i].marks);
	}
	array_free(&code->areas);
}

/* ---- looking around -------------------------------------------------------------------------- */

const struct code_area *site_code__find(const struct site_code *code, uint64_t vaddr,
					size_t *ret_at)
{
	for (size_t i = 0; i < code->areas.cnt; i++) {
		const struct code_area *area = &code->areas.items[i];

		if (vaddr - area->vaddr < area->len) {
			*ret_at = vaddr - area->vaddr;
			return area;
		}
	}
	return NULL;
}

bool code_area__decode(const struct code_area *area, size_t at, struct site_insn *ret)
{
	return site_insn__decode(area->bytes + at, area->len - at, ret);
}

enum site_control code_area__control(const struct code_area *area, size_t at,
				     const struct site_insn *insn, size_t *ret_target)
{
	uint64_t target = UINT64_MAX;
	enum site_control control =
		site_insn__control(insn, area->bytes + at, area->vaddr + at, &target);

	if (control == SITE_BRANCH || control == SITE_JUMP || control == SITE_CALL)
		*ret_target = target - area->vaddr < area->len ? target - area->vaddr : SIZE_MAX;
	return control;
}

size_t code_area__previous(const struct code_area *area, size_t at)
{
	struct site_insn insn;

	for (size_t back = 1; back <= MAX_X86_INSN && back <= at; back++) {
		if (!(area->marks[at - back] & CODE_INSN))
			continue;
		return code_area__decode(area, at - back, &insn) && insn.len == back ? at - back
										     : SIZE_MAX;
	}
	return SIZE_MAX;
}

size_t code_area__entry(const struct code_area *area, size_t at)
{
	for (size_t i = at + 1; i-- > 0;)
		if (area->marks[i] & CODE_ENTRY)
			return i;
	return SIZE_MAX;
}

static uint32_t count_in(const struct code_area *area, uint64_t vaddr)
{
	struct site_insn insn;
	uint64_t target;
	uint32_t cnt = 0;

	for (size_t at = 0; at < area->len; at++) {
		if (!(area->marks[at] & CODE_INSN) || !code_area__decode(area, at, &insn))
			continue;
		switch (site_insn__control(&insn, area->bytes + at, area->vaddr + at, &target)) {
		case SITE_BRANCH:
		case SITE_JUMP:
		case SITE_CALL:
			cnt += target == vaddr;
			break;
		default:
			break;
		}
	}
	return cnt;
}

uint32_t site_code__count_refs(const struct site_code *code, uint64_t vaddr)
{
	uint32_t cnt = 0;

	for (size_t i = 0; i < code->areas.cnt; i++)
		cnt += count_in(&code->areas.items[i], vaddr);
	return cnt;
}
