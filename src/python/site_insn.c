/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_insn.h"

#include <string.h>

/* What follows an opcode. */
enum {
	M = 0x10, /* ModRM */
	X = 0x20, /* no instruction */
	P = 0x40, /* prefix */
	I1 = 1,	  /* immediate of so many bytes */
	I2 = 2,
	I3 = 3,
	I4 = 4,	 /* always */
	IZ = 5,	 /* 2 with an operand-size prefix, otherwise 4 */
	IV = 6,	 /* 2 with an operand-size prefix, 8 with REX.W, otherwise 4 */
	IA = 7,	 /* an address: 4 with an address-size prefix, otherwise 8 */
	IMM = 7, /* mask of these */
};

#define ARITHMETIC M, M, M, M, I1, IZ

/* clang-format off */
static const uint8_t one_byte[256] = {
	/* 00 */ ARITHMETIC, X, X, ARITHMETIC, X, 0,
	/* 10 */ ARITHMETIC, X, X, ARITHMETIC, X, X,
	/* 20 */ ARITHMETIC, P, X, ARITHMETIC, P, X,
	/* 30 */ ARITHMETIC, P, X, ARITHMETIC, P, X,
	/* 40 */ P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P,
	/* 50 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 60 */ X, X, X, M, P, P, P, P, IZ, M | IZ, I1, M | I1, 0, 0, 0, 0,
	/* 70 */ I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1,
	/* 80 */ M | I1, M | IZ, X, M | I1, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 90 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X, 0, 0, 0, 0, 0,
	/* a0 */ IA, IA, IA, IA, 0, 0, 0, 0, I1, IZ, 0, 0, 0, 0, 0, 0,
	/* b0 */ I1, I1, I1, I1, I1, I1, I1, I1, IV, IV, IV, IV, IV, IV, IV, IV,
	/* c0 */ M | I1, M | I1, I2, 0, X, X, M | I1, M | IZ, I3, 0, I2, 0, 0, I1, X, 0,
	/* d0 */ M, M, M, M, X, X, X, 0, M, M, M, M, M, M, M, M,
	/* e0 */ I1, I1, I1, I1, I1, I1, I1, I1, I4, I4, X, I1, 0, 0, 0, 0,
	/* f0 */ P, 0, P, P, 0, 0, M, M, 0, 0, 0, 0, 0, 0, M, M,
};

/* Opcodes 38 and 3a lead to maps of their own; 0f is 3DNow!, whose opcode is its immediate. */
static const uint8_t map_0f[256] = {
	/* 00 */ M, M, M, M, X, 0, 0, 0, 0, 0, X, 0, X, M, 0, M | I1,
	/* 10 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 20 */ M, M, M, M, X, X, X, X, M, M, M, M, M, M, M, M,
	/* 30 */ 0, 0, 0, 0, 0, 0, X, 0, M, X, M | I1, X, X, X, X, X,
	/* 40 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 50 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 60 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* 70 */ M | I1, M | I1, M | I1, M | I1, M, M, M, 0, M, M, X, X, M, M, M, M,
	/* 80 */ I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4, I4,
	/* 90 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* a0 */ 0, 0, 0, M, M | I1, M, X, X, 0, 0, 0, M, M | I1, M, M, M,
	/* b0 */ M, M, M, M, M, M, M, M, M, M, M | I1, M, M, M, M, M,
	/* c0 */ M, M, M | I1, M, M | I1, M | I1, M | I1, M, 0, 0, 0, 0, 0, 0, 0, 0,
	/* d0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* e0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
	/* f0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
};
/* clang-format on */

struct cursor {
	const uint8_t *code;
	size_t len, at;
	bool address_size;
};

static bool is_at_end(const struct cursor *c)
{
	return c->at >= c->len;
}

static void skip_prefixes(struct cursor *c, struct site_insn *insn)
{
	for (; !is_at_end(c); c->at++) {
		uint8_t byte = c->code[c->at];

		if (!(one_byte[byte] & P))
			return;
		if ((byte & 0xf0) == 0x40) {
			insn->rex = byte; /* only the last byte before the opcode counts */
			continue;
		}
		insn->rex = 0;
		insn->opsize |= byte == 0x66;
		c->address_size |= byte == 0x67;
	}
}

/*
 * VEX (c4, c5), EVEX (62) and XOP (8f) have a payload with the number of the map, and the opcode
 * behind it. Returns what follows, X = none of these.
 */
static uint8_t read_vector(struct cursor *c, struct site_insn *insn)
{
	uint8_t first = c->code[c->at], map;
	size_t payload = first == 0xc5 ? 1 : first == 0x62 ? 3 : 2;

	if (c->len - c->at < payload + 2)
		return X;
	map = first == 0xc5 ? 1 : c->code[c->at + 1] & (first == 0x62 ? 7 : 31);
	c->at += 1 + payload;
	insn->map = SITE_MAP_OTHER;
	insn->op = c->code[c->at++];
	if (first == 0x8f)
		return map == 8 ? M | I1 : map == 9 ? M : map == 10 ? M | I4 : X;
	switch (map) {
	case 1:
		if (insn->op == 0x77 && first != 0x62)
			return 0; /* vzeroupper */
		return M | (map_0f[insn->op] & M ? map_0f[insn->op] & IMM : 0);
	case 3:
		return M | I1;
	case 2:
	case 5:
	case 6:
		return M;
	default:
		return X;
	}
}

static bool is_vector(const struct cursor *c)
{
	uint8_t byte = c->code[c->at];

	if (byte == 0xc4 || byte == 0xc5 || byte == 0x62)
		return true;
	/* 8f is pop unless the map that would follow is one of XOP's. */
	return byte == 0x8f && c->len - c->at > 1 && (c->code[c->at + 1] & 31) >= 8;
}

static uint8_t read_opcode(struct cursor *c, struct site_insn *insn)
{
	if (is_at_end(c))
		return X;
	if (is_vector(c))
		return read_vector(c, insn);
	insn->op = c->code[c->at++];
	if (insn->op != 0x0f)
		return one_byte[insn->op];
	if (is_at_end(c))
		return X;
	insn->map = SITE_MAP_0F;
	insn->op = c->code[c->at++];
	if (insn->op != 0x38 && insn->op != 0x3a)
		return map_0f[insn->op];
	if (is_at_end(c))
		return X;
	insn->map = SITE_MAP_OTHER;
	c->at++;
	return insn->op == 0x3a ? M | I1 : M;
}

static void read_modrm(struct cursor *c, struct site_insn *insn)
{
	uint8_t mod, rm;

	if (is_at_end(c)) {
		c->at++; /* the caller finds it beyond the end */
		return;
	}
	insn->modrm_at = (uint8_t)c->at;
	insn->modrm = c->code[c->at++];
	mod = insn->modrm >> 6;
	rm = insn->modrm & 7;
	if (mod == 3)
		return;
	if (mod == 1)
		insn->disp_len = 1;
	else if (mod == 2 || rm == 5)
		insn->disp_len = 4;
	if (rm == 4) {
		if (mod == 0 && !is_at_end(c) && (c->code[c->at] & 7) == 5)
			insn->disp_len = 4;
		c->at++;
	}
	if (insn->disp_len)
		insn->disp_at = (uint8_t)c->at;
	c->at += insn->disp_len;
}

static uint8_t immediate_len(uint8_t kind, const struct cursor *c, const struct site_insn *insn)
{
	bool is_wide = insn->rex & 8;

	switch (kind & IMM) {
	case IZ:
		return insn->opsize && !is_wide ? 2 : 4;
	case IV:
		return is_wide ? 8 : insn->opsize ? 2 : 4;
	case IA:
		return c->address_size ? 4 : 8;
	default:
		return kind & IMM;
	}
}

/* test, alone of its group, has an immediate. */
static uint8_t group_3(uint8_t kind, const struct site_insn *insn)
{
	if (insn->map != SITE_MAP_ONE || (insn->op & 0xfe) != 0xf6 || insn->modrm & 0x30)
		return kind;
	return kind | (insn->op == 0xf6 ? I1 : IZ);
}

bool site_insn__decode(const uint8_t *code, size_t len, struct site_insn *ret)
{
	struct cursor c = {.code = code, .len = len < MAX_X86_INSN ? len : MAX_X86_INSN};
	struct site_insn insn = {0};
	uint8_t kind;

	skip_prefixes(&c, &insn);
	kind = read_opcode(&c, &insn);
	if (kind & X)
		return false;
	if (kind & M) {
		read_modrm(&c, &insn);
		kind = group_3(kind, &insn);
	}
	insn.imm_len = immediate_len(kind, &c, &insn);
	if (insn.imm_len)
		insn.imm_at = (uint8_t)c.at;
	c.at += insn.imm_len;
	if (c.at > c.len)
		return false;
	insn.len = (uint8_t)c.at;
	*ret = insn;
	return true;
}

/* ---- control --------------------------------------------------------------------------------- */

static enum site_control control_one_byte(const struct site_insn *insn)
{
	uint8_t reg = insn->modrm >> 3 & 7;

	if ((insn->op & 0xf0) == 0x70)
		return SITE_BRANCH;
	switch (insn->op) {
	case 0xe0: /* loopne, loope, loop, jrcxz */
	case 0xe1:
	case 0xe2:
	case 0xe3:
		return SITE_BRANCH;
	case 0xe9:
	case 0xeb:
		return SITE_JUMP;
	case 0xe8:
		return SITE_CALL;
	case 0xc7: /* xbegin */
		return insn->modrm == 0xf8 ? SITE_BRANCH : SITE_NEXT;
	case 0xff:
		if (reg == 2 || reg == 3)
			return SITE_CALL_INDIRECT;
		return reg == 4 || reg == 5 ? SITE_END : SITE_NEXT;
	case 0xc2: /* ret */
	case 0xc3:
	case 0xca: /* far */
	case 0xcb:
	case 0xcc: /* int3 */
	case 0xcf: /* iret */
	case 0xf1: /* int1 */
	case 0xf4: /* hlt */
		return SITE_END;
	default:
		return SITE_NEXT;
	}
}

static enum site_control control_of(const struct site_insn *insn)
{
	if (insn->map == SITE_MAP_ONE)
		return control_one_byte(insn);
	if (insn->map != SITE_MAP_0F)
		return SITE_NEXT;
	if ((insn->op & 0xf0) == 0x80)
		return SITE_BRANCH;
	/* ud2, ud1, ud0, sysret, sysexit */
	return insn->op == 0x0b || insn->op == 0xb9 || insn->op == 0xff || insn->op == 0x07 ||
			       insn->op == 0x35
		       ? SITE_END
		       : SITE_NEXT;
}

enum site_control site_insn__control(const struct site_insn *insn, const uint8_t *code, uint64_t at,
				     uint64_t *ret_target)
{
	enum site_control control = control_of(insn);
	int32_t wide;

	if (control != SITE_BRANCH && control != SITE_JUMP && control != SITE_CALL)
		return control;
	if (insn->imm_len == 1) {
		*ret_target = at + insn->len + (uint64_t)(int64_t)(int8_t)code[insn->imm_at];
	} else if (insn->imm_len == 4) {
		memcpy(&wide, code + insn->imm_at, sizeof(wide));
		*ret_target = at + insn->len + (uint64_t)(int64_t)wide;
	} else {
		return SITE_END; /* with a prefix that processors read differently */
	}
	return control;
}
