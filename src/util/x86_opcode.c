/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/x86_opcode.h"

#include <string.h>

static bool is_legacy_prefix(uint8_t byte, struct x86_opcode *opcode)
{
	switch (byte) {
	case 0x66:
		opcode->opsize = true;
		return true;
	case 0xf2:
	case 0xf3:
		opcode->repeat = true;
		return true;
	case 0x64:
	case 0x65:
	case 0x67:
		opcode->other_prefix = true;
		return true;
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0xf0:
		opcode->refused_prefix = true;
		return true;
	default:
		return false;
	}
}

struct x86_opcode x86_opcode__split(const uint8_t *code, size_t size)
{
	struct x86_opcode opcode = {0};
	size_t i = 0;

	while (i < size && is_legacy_prefix(code[i], &opcode))
		i++;
	if (i < size && (code[i] & 0xf0) == 0x40)
		opcode.rex = code[i++];
	if (i + 2 < size && code[i] == 0xc5) {
		opcode.vex = true;
		i += 2;
	} else if (i + 3 < size && code[i] == 0xc4) {
		opcode.vex = true;
		i += 3;
	}
	if (i < size)
		opcode.op[0] = code[i];
	if (i + 1 < size)
		opcode.op[1] = code[i + 1];
	opcode.rest = i < size ? size - i - 1 : 0;
	return opcode;
}

bool x86_opcode__is_endbr64(const uint8_t *code, size_t len)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	return len >= sizeof(endbr64) && memcmp(code, endbr64, sizeof(endbr64)) == 0;
}

static bool is_jcc(const struct x86_opcode *o)
{
	return (o->op[0] & 0xf0) == 0x70 || (o->op[0] == 0x0f && (o->op[1] & 0xf0) == 0x80);
}

static bool is_jmp_or_call_rel(const struct x86_opcode *o)
{
	return o->op[0] == 0xe8 || o->op[0] == 0xe9 || o->op[0] == 0xeb;
}

static bool is_refused_opcode(uint8_t op)
{
	/*
	 * Invalid in 64-bit mode, or never to be stepped (int3, int, iret, in, out, hlt, cli, sti);
	 * EVEX: not known.
	 */
	static const uint8_t refused[] = {
		0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62,
		0x6c, 0x6d, 0x6e, 0x6f, 0x82, 0x9a, 0xcc, 0xcd, 0xce, 0xcf, 0xd4, 0xd5, 0xd6, 0xe4,
		0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4, 0xfa, 0xfb,
	};

	return memchr(refused, op, sizeof(refused)) != NULL;
}

bool x86_opcode__is_refused(const struct x86_opcode *o)
{
	if (o->refused_prefix || is_refused_opcode(o->op[0]))
		return true;
	if (o->vex)
		return false;
	if (o->op[0] == 0x8e && (o->op[1] >> 3 & 7) == 2)
		return true; /* mov to ss holds off traps for one instruction */
	/*
	 * 66 e8 and the like: Intel and AMD disagree on what they mean. 41 90 is xchg, taken for a
	 * nop.
	 */
	if (o->opsize && (is_jcc(o) || is_jmp_or_call_rel(o)))
		return true;
	return o->op[0] == 0x90 && o->rex;
}

bool x86_opcode__is_emulated(const struct x86_opcode *o)
{
	if (o->vex || o->other_prefix || x86_opcode__is_refused(o))
		return false;
	if (o->op[0] == 0x90)
		return !o->repeat;
	if (o->opsize)
		return false;
	if (o->op[0] >= 0x50 && o->op[0] <= 0x57)
		return !o->repeat && (o->rex == 0 || o->rex == 0x41);
	return !o->rex && (is_jcc(o) || is_jmp_or_call_rel(o));
}

/* The displacement is the last bytes of the instruction. */
bool x86_opcode__branch_target(const uint8_t *code, size_t size, uint64_t off, int64_t *ret_target)
{
	struct x86_opcode o = x86_opcode__split(code, size);
	bool is_short =
		(o.op[0] & 0xf0) == 0x70 || o.op[0] == 0xeb || (o.op[0] >= 0xe0 && o.op[0] <= 0xe3);
	bool is_near = o.op[0] == 0xe8 || o.op[0] == 0xe9 ||
		       (o.op[0] == 0x0f && (o.op[1] & 0xf0) == 0x80) ||
		       (o.op[0] == 0xc7 && o.op[1] == 0xf8); /* xbegin */
	int32_t displacement;

	if (o.vex)
		return false;
	if (is_short && o.rest == 1) {
		displacement = (int8_t)code[size - 1];
	} else if (is_near && o.rest >= 4) {
		memcpy(&displacement, code + size - 4, 4);
	} else {
		return false;
	}
	*ret_target = (int64_t)(off + size + (uint64_t)(int64_t)displacement);
	return true;
}
