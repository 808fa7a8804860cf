/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel simulates branches and adr (arch/arm64/kernel/probes/decode-insn.c); all else is
 * stepped, and the loads of a literal, exceptions and exclusive accesses are refused. Functions
 * mostly begin by saving registers, which ends the walk: a probe stays at the entry then. Only
 * words of the entry that change nothing a probe looks at are passed, and only if no branch leads
 * back to one of them.
 */
#include "discover/placement_arm64.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WORD 4
#define MAX_WORDS 16 /* to look at from the entry on */

struct pattern {
	uint32_t mask, value;
};

static bool matches(uint32_t word, const struct pattern *patterns, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if ((word & patterns[i].mask) == patterns[i].value)
			return true;
	return false;
}

#define MATCHES(word, patterns) matches(word, patterns, sizeof(patterns) / sizeof(*(patterns)))

static bool is_simulated(uint32_t word)
{
	static const struct pattern patterns[] = {
		{0x7c000000, 0x14000000}, /* b, bl */
		{0xff000010, 0x54000000}, /* b.cond */
		{0x7e000000, 0x34000000}, /* cbz, cbnz */
		{0x7e000000, 0x36000000}, /* tbz, tbnz */
		{0xfffffc1f, 0xd65f0000}, /* ret */
		{0x1f000000, 0x10000000}, /* adr, adrp */
	};

	return MATCHES(word, patterns);
}

static bool is_refused(uint32_t word)
{
	static const struct pattern patterns[] = {
		{0xffff0000, 0x00000000}, /* udf */
		{0xff000000, 0xd4000000}, /* svc, hvc, smc, brk, hlt */
		{0x3b000000, 0x18000000}, /* ldr, ldrsw, prfm of a literal */
		{0x3f000000, 0x08000000}, /* exclusive loads and stores */
	};

	return MATCHES(word, patterns);
}

/* nop, bti: the hints that change nothing. */
static bool is_hint(uint32_t word)
{
	return word == 0xd503201f || (word & 0xffffff3f) == 0xd503241f;
}

/* Whether a branch at `off` (bytes) leads to (0, end]. */
static bool leads_back(uint32_t word, int64_t off, int64_t end)
{
	int64_t distance;

	if ((word & 0x7c000000) == 0x14000000)
		distance = (int32_t)(word << 6) >> 4;
	else if ((word & 0xff000010) == 0x54000000 || (word & 0x7e000000) == 0x34000000)
		distance = (int32_t)(word << 8) >> 11 & ~3;
	else if ((word & 0x7e000000) == 0x36000000)
		distance = (int32_t)(word << 13) >> 16 & ~3;
	else
		return false;
	return off + distance > 0 && off + distance <= end;
}

static bool is_landed_on(const uint8_t *code, size_t len, size_t end)
{
	uint32_t word;

	for (size_t off = 0; len - off >= WORD; off += WORD) {
		memcpy(&word, code + off, WORD);
		if (leads_back(word, (int64_t)off, (int64_t)end))
			return true;
	}
	return false;
}

/* Whether a probe behind a write to the register sees what one at the entry does: x8 (or an
 * argument that nobody asks for) to x17, flags, and vectors are the function's own (AAPCS64, 6.1).
 */
static bool is_free(csh handle, uint16_t reg, unsigned int arg_cnt)
{
	const char *name = cs_reg_name(handle, reg);
	unsigned int number;
	int used = 0;

	if (!name)
		return false;
	if (!strcmp(name, "nzcv") || strchr("vqdshb", name[0]))
		return strcmp(name, "sp") != 0;
	if (sscanf(name, "%*1[xw]%2u%n", &number, &used) != 1 || name[used])
		return !strcmp(name, "xzr") || !strcmp(name, "wzr");
	return number >= arg_cnt && number < 18;
}

static bool may_pass(csh handle, const cs_insn *insn, uint32_t word, unsigned int arg_cnt)
{
	cs_regs read, written;
	uint8_t read_cnt, written_cnt;

	if (is_hint(word))
		return true;
	/* Branches, exceptions, and what says nothing of what it does: paciasp, mrs, barriers. */
	if ((word & 0x1c000000) == 0x14000000 || is_refused(word) ||
	    cs_regs_access(handle, insn, read, &read_cnt, written, &written_cnt) != CS_ERR_OK)
		return false;
	for (uint8_t i = 0; i < written_cnt; i++)
		if (!is_free(handle, written[i], arg_cnt))
			return false;
	return true;
}

/* Returns the offset of the first simulated instruction that may stand in for the entry, or 0. */
static size_t find_simulated(csh handle, const uint8_t *code, size_t len, unsigned int arg_cnt,
			     cs_insn *insn)
{
	const uint8_t *pos = code;
	uint64_t address = 0;
	uint32_t word;

	for (size_t off = 0; off < MAX_WORDS * WORD && len - off >= WORD; off += WORD) {
		size_t left = WORD;

		memcpy(&word, code + off, WORD);
		if (is_simulated(word))
			return is_landed_on(code, len, off) ? 0 : off;
		pos = code + off;
		if (!cs_disasm_iter(handle, &pos, &left, &address, insn) ||
		    !may_pass(handle, insn, word, arg_cnt))
			return 0;
	}
	return 0;
}

static int choose(csh handle, const uint8_t *code, size_t len, unsigned int arg_cnt, cs_insn *insn,
		  struct placement *ret)
{
	const uint8_t *pos;
	uint64_t address = 0;
	size_t off = find_simulated(handle, code, len, arg_cnt, insn), left = WORD;
	uint32_t word;

	memcpy(&word, code + off, WORD);
	pos = code + off;
	if (is_refused(word) || !cs_disasm_iter(handle, &pos, &left, &address, insn))
		return -ENOTSUP;
	*ret = (struct placement){
		.off = (uint32_t)off,
		.cost = is_simulated(word) ? PROBE_EMULATED : PROBE_STEPPED,
		.why = off		    ? "first emulated instruction: arguments and stack are "
					      "as at the entry"
		       : is_simulated(word) ? "entry: emulated"
					    : "entry: no emulated instruction before registers or "
					      "the stack change",
	};
	snprintf(ret->insn, sizeof(ret->insn), "%s", insn->mnemonic);
	return 0;
}

int placement_arm64__choose(const uint8_t *code, size_t len, unsigned int arg_cnt,
			    struct placement *ret)
{
	cs_insn *insn = NULL;
	int err = -ENOMEM;
	csh handle;

	if (len < WORD)
		return -ENOTSUP;
	if (cs_open(CS_ARCH_ARM64, CS_MODE_ARM, &handle) != CS_ERR_OK)
		return -ENOMEM;
	if (cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK)
		insn = cs_malloc(handle);
	if (insn) {
		err = choose(handle, code, len, arg_cnt, insn, ret);
		cs_free(insn, 1);
	}
	cs_close(&handle);
	return err;
}
