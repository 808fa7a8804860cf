/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "discover/placement.h"

#if defined(__x86_64__)

struct sample {
	const char *what;
	const char *code; /* hex, blanks ignored */
	unsigned int arg_cnt;
	int err;
	uint32_t off;
	enum probe_cost cost;
	const char *insn;
};

static size_t parse_hex(const char *text, uint8_t *code, size_t cap)
{
	size_t len = 0;

	while (*text) {
		char byte[3] = {0};

		if (*text == ' ') {
			text++;
			continue;
		}
		memcpy(byte, text, 2);
		assert_true(len < cap);
		code[len++] = (uint8_t)strtoul(byte, NULL, 16);
		text += 2;
	}
	return len;
}

static const struct sample samples[] = {
	/* as compilers write them */
	{"glibc malloc: push %r12", "4154 55 53 4889fb c3", 1, 0, 0, PROBE_EMULATED, "push"},
	{"glibc free: test; je", "4885ff 7405 55 5d c3 90 c3", 1, 0, 3, PROBE_EMULATED, "je"},
	{"glibc free: test; near je", "4885ff 0f84 03000000 55 5d c3 c3", 1, 0, 3, PROBE_EMULATED,
	 "je"},
	{"CET: endbr64; push", "f30f1efa 55 4889e5 5d c3", 1, 0, 4, PROBE_EMULATED, "push"},
	{"CET: endbr64; test; je", "f30f1efa 4885ff 7402 55 5d c3", 1, 0, 7, PROBE_EMULATED, "je"},
	{"tail call", "e9 00010000", 1, 0, 0, PROBE_EMULATED, "jmp"},
	{"short jmp", "eb 10", 1, 0, 0, PROBE_EMULATED, "jmp"},
	{"bnd jmp", "f2 e9 00010000", 1, 0, 0, PROBE_EMULATED, NULL},
	{"call", "e8 00010000 c3", 1, 0, 0, PROBE_EMULATED, "call"},
	{"nop", "90 c3", 1, 0, 0, PROBE_EMULATED, "nop"},
	{"xchg %ax,%ax", "6690 c3", 1, 0, 0, PROBE_EMULATED, NULL},
	{"nop3 is stepped before 6.18: go past it", "0f1f00 55 c3", 1, 0, 3, PROBE_EMULATED,
	 "push"},
	{"nop5 is stepped before 6.18: go past it", "0f1f440000 55 c3", 1, 0, 5, PROBE_EMULATED,
	 "push"},
	{"nop10 cannot be probed, but stepped over", "662e0f1f840000000000 55 c3", 1, 0, 10,
	 PROBE_EMULATED, "push"},
	{"cmpb $0,x(%rip); je", "803d 01020300 00 7401 c3 c3", 2, 0, 7, PROBE_EMULATED, "je"},
	{"mov %fs:..; push", "64488b042528000000 55 c3", 3, 0, 9, PROBE_EMULATED, "push"},
	{"48 bytes of address arithmetic before the first jump (jemalloc free)",
	 "4889f8488b150e530a004889f948c1e81a4881e1000000c025f00000006448030425000000004801d0483b88b"
	 "0010000"
	 "0f858a000000 c3",
	 1, 0, 48, PROBE_EMULATED, "jne"},
	{"more than 64 bytes before the first jump",
	 "488b05000000004889c8488b05000000004889c8488b05000000004889c8488b05000000004889c8488b05000"
	 "000004889c8"
	 "488b05000000004889c8488b05000000004889c8 55 c3",
	 1, 0, 0, PROBE_STEPPED, "mov"},

	/* what a probe looks at must be intact */
	{"argument 1 changes", "4889f7 55 c3", 1, 0, 0, PROBE_STEPPED, "mov"},
	{"argument 1 changes by its 32-bit part", "31ff 55 c3", 1, 0, 0, PROBE_STEPPED, "xor"},
	{"argument 1 changes by its 16-bit part", "6631ff 55 c3", 1, 0, 0, PROBE_STEPPED, "xor"},
	{"argument 1 changes by its 8-bit part", "40b701 55 c3", 1, 0, 0, PROBE_STEPPED, "mov"},
	{"argument 3 changes by %dh", "b601 55 c3", 3, 0, 0, PROBE_STEPPED, "mov"},
	{"argument 3 is none here", "31d2 55 c3", 2, 0, 2, PROBE_EMULATED, "push"},
	{"argument 3 changes", "31d2 55 c3", 3, 0, 0, PROBE_STEPPED, "xor"},
	{"argument 4 changes", "31c9 55 c3", 4, 0, 0, PROBE_STEPPED, "xor"},
	{"argument 5 changes", "4531c0 55 c3", 5, 0, 0, PROBE_STEPPED, "xor"},
	{"argument 6 changes", "4d89f9 55 c3", 6, 0, 0, PROBE_STEPPED, "mov"},
	{"all of six changed, none counted", "4d89f9 31ff 31f6 31d2 31c9 4531c0 55 c3", 0, 0, 14,
	 PROBE_EMULATED, "push"},
	{"argument only read", "4889f8 4889f1 55 c3", 2, 0, 6, PROBE_EMULATED, "push"},
	{"mul writes %rdx behind the back", "4889f0 48f7e2 7001 c3 c3", 3, 0, 0, PROBE_STEPPED,
	 "mov"},
	{"one-operand imul, too", "48f7ee 7001 c3 c3", 3, 0, 0, PROBE_STEPPED, "imul"},
	{"two-operand imul does not", "480fafc6 7001 c3 c3", 3, 0, 4, PROBE_EMULATED, "jo"},
	{"cqo writes %rdx", "4899 55 c3", 3, 0, 0, PROBE_STEPPED, "cqo"},
	{"xchg writes both", "4887f8 55 c3", 1, 0, 0, PROBE_STEPPED, "xchg"},
	{"lea into an argument", "488d7f01 55 c3", 1, 0, 0, PROBE_STEPPED, "lea"},
	{"cmov into an argument", "480f44fe 55 c3", 1, 0, 0, PROBE_STEPPED, "cmove"},
	{"setcc into an argument", "400f94c7 55 c3", 1, 0, 0, PROBE_STEPPED, "sete"},
	{"stack pointer moves", "4883ec18 e800000000 c3", 1, 0, 0, PROBE_STEPPED, "sub"},
	{"lea moves the stack pointer", "488d6424f0 55 c3", 1, 0, 0, PROBE_STEPPED, "lea"},
	{"pop", "58 50 c3", 1, 0, 0, PROBE_STEPPED, "pop"},
	{"frame pointer changes", "4889e5 55 c3", 1, 0, 0, PROBE_STEPPED, "mov"},
	{"a register that the caller owns changes", "4989fc 55 c3", 1, 0, 0, PROBE_STEPPED, "mov"},
	{"store to memory", "48893d00000000 55 c3", 1, 0, 7, PROBE_EMULATED, "push"},
	{"store below the stack pointer", "48897c24f8 55 c3", 1, 0, 5, PROBE_EMULATED, "push"},
	{"vector register", "660fefc0 55 c3", 1, 0, 4, PROBE_EMULATED, "push"},
	{"segment register", "8ee7 55 c3", 1, 0, 0, PROBE_STEPPED, "mov"},

	/* control flow */
	{"jump back to the candidate", "4885ff 55 5d ebfc", 1, 0, 0, PROBE_STEPPED, "test"},
	{"jump back before the candidate", "4885f6 4885ff 55 5d ebf9", 2, 0, 0, PROBE_STEPPED,
	 "test"},
	{"jump back to the entry", "4885ff 55 5d ebf9", 1, 0, 3, PROBE_EMULATED, "push"},
	{"jump back past the candidate", "4885ff 55 5d ebfd", 1, 0, 3, PROBE_EMULATED, "push"},
	{"jump back by a near jcc", "4885ff 55 5d 0f85f8ffffff", 1, 0, 0, PROBE_STEPPED, "test"},
	{"jump back by loop", "4885ff 55 5d e2fc", 1, 0, 0, PROBE_STEPPED, "test"},
	{"jump back by jrcxz", "4885ff 55 5d e3fc", 1, 0, 0, PROBE_STEPPED, "test"},
	{"call back to the candidate", "4885ff 55 5d e8f9ffffff", 1, 0, 0, PROBE_STEPPED, "test"},
	{"jump into the middle of an instruction", "48 85ff 55 5d ebfa", 1, 0, 0, PROBE_STEPPED,
	 "test"},
	{"jump back, behind bytes that are no instruction", "4885ff 55 5d c3 06 06 06 ebf8", 1, 0,
	 0, PROBE_STEPPED, "test"},
	{"jump back behind endbr64 (a loop at the start)", "f30f1efa 4885ff 7405 48ffcf ebf6 c3", 1,
	 0, 0, PROBE_STEPPED, "endbr64"},
	{"ret before anything emulated", "31c0 c3 55", 1, 0, 0, PROBE_STEPPED, "xor"},
	{"indirect jump before anything emulated", "4885ff ffe0 55", 1, 0, 0, PROBE_STEPPED,
	 "test"},
	{"jrcxz is no jcc", "e302 55 c3 c3", 1, 0, 0, PROBE_STEPPED, "jrcxz"},
	{"indirect call", "ffd0 c3", 1, 0, 0, PROBE_STEPPED, "call"},
	{"syscall", "0f05 55 c3", 1, 0, 0, PROBE_STEPPED, "syscall"},

	/* what looks emulated and is not, or is refused */
	{"push of memory", "ff37 c3", 1, 0, 0, PROBE_STEPPED, "push"},
	{"push of a constant", "6a01 c3", 1, 0, 0, PROBE_STEPPED, "push"},
	{"push of 16 bits", "6650 c3", 1, 0, 0, PROBE_STEPPED, "push"},
	{"jcc with a branch hint cannot be probed: entry", "4885ff 3e7401 c3 c3", 1, 0, 0,
	 PROBE_STEPPED, "test"},
	{"notrack at the entry", "3e4885ff c3", 1, -ENOTSUP, 0, 0, NULL},
	{"lock at the entry", "f0480fc107 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"int3 at the entry", "cc c3", 1, -ENOTSUP, 0, 0, NULL},
	{"int at the entry", "cd80 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"hlt at the entry", "f4 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"nop10 and nothing else", "662e0f1f840000000000 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"mov to %ss", "8ed0 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"call with an operand-size prefix", "66e800000000 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"no instruction", "06 55 c3", 1, -ENOTSUP, 0, 0, NULL},
	{"cut off in the first instruction", "4885", 1, -ENOTSUP, 0, 0, NULL},
	{"cut off in the second", "4885ff 0f84", 1, 0, 0, PROBE_STEPPED, "test"},
	{"the whole function is one stepped instruction", "c3", 0, 0, 0, PROBE_STEPPED, "ret"},
};

static void test_samples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *sample = &samples[i];
		struct placement place = {.off = 77, .cost = 5};
		uint8_t code[256], *exact;
		size_t len = parse_hex(sample->code, code, sizeof(code));
		int err;

		/* A block of just that size: AddressSanitizer sees a byte too far. */
		exact = malloc(len);
		memcpy(exact, code, len);
		err = placement__choose(exact, len, sample->arg_cnt, &place);
		free(exact);
		if (err != sample->err)
			fail_msg("%s: returned %d", sample->what, err);
		if (err) {
			assert_int_equal(place.off, 77);
			continue;
		}
		if (place.off != sample->off || place.cost != sample->cost ||
		    (sample->insn && strcmp(place.insn, sample->insn) != 0))
			fail_msg("%s: +%u %s cost %d (%s)", sample->what, place.off, place.insn,
				 (int)place.cost, place.why);
		assert_non_null(place.why);
	}
}

/* Whether the kernel emulates what is at `code`, written down apart from the code under test. */
static int looks_emulated(const uint8_t *code, size_t len)
{
	if (len > 1 && code[0] == 0xf2)
		return code[1] == 0xe8 || code[1] == 0xe9 || code[1] == 0xeb || code[1] >> 4 == 7 ||
		       (len > 2 && code[1] == 0x0f && code[2] >> 4 == 8);
	if (len > 1 && code[0] == 0xf3)
		return code[1] == 0xe8 || code[1] == 0xe9 || code[1] == 0xeb || code[1] >> 4 == 7 ||
		       (len > 2 && code[1] == 0x0f && code[2] >> 4 == 8);
	if (len > 1 && (code[0] == 0x41 || code[0] == 0x40))
		return code[1] >> 3 == 10;
	if (len > 1 && code[0] == 0x66)
		return code[1] == 0x90 || code[1] == 0x66;
	return code[0] == 0x90 || code[0] >> 3 == 10 || code[0] >> 4 == 7 || code[0] == 0xe8 ||
	       code[0] == 0xe9 || code[0] == 0xeb ||
	       (len > 1 && code[0] == 0x0f && code[1] >> 4 == 8);
}

/* Any bytes at all: no crash, no reading past the end, and a result that holds together. */
static void test_noise(void **state)
{
	uint64_t seed = 88172645463325252ULL;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct placement place;
		size_t len = 1 + (size_t)round % 90;
		uint8_t *code = malloc(len);

		for (size_t i = 0; i < len; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			code[i] = (uint8_t)(seed >> 32);
		}
		if (placement__choose(code, len, (unsigned int)round % 8, &place) == 0) {
			assert_true(place.off < len && place.off < 64);
			assert_true(place.off == 0 || place.cost == PROBE_EMULATED);
			assert_true(place.cost == PROBE_STEPPED ||
				    looks_emulated(code + place.off, len - place.off));
			assert_non_null(memchr(place.insn, '\0', sizeof(place.insn)));
			assert_true(place.insn[0] != '\0');
		}
		free(code);
	}
}

static void test_empty(void **state)
{
	struct placement place;

	(void)state;
	assert_int_equal(placement__choose((const uint8_t *)"", 0, 1, &place), -ENOTSUP);
}

#else

static void test_entry_only(void **state)
{
	static const uint8_t cbz[] = {0x40, 0x00, 0x00, 0xb4}, stp[] = {0xfd, 0x7b, 0xbf, 0xa9},
			     brk[] = {0, 0, 0x20, 0xd4};
	struct placement place;

	(void)state;
	assert_int_equal(placement__choose(cbz, sizeof(cbz), 1, &place), 0);
	assert_int_equal(place.off, 0);
	assert_int_equal(place.cost, PROBE_EMULATED);
	assert_int_equal(placement__choose(stp, sizeof(stp), 1, &place), 0);
	assert_int_equal(place.cost, PROBE_STEPPED);
	assert_int_equal(placement__choose(brk, sizeof(brk), 1, &place), -ENOTSUP);
	assert_int_equal(placement__choose(cbz, 3, 1, &place), -ENOTSUP);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_empty),
#else
		cmocka_unit_test(test_entry_only),
#endif
	};

	return cmocka_run_group_tests_name("discover placement", tests, NULL, NULL);
}
