/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "discover/placement_arm64.h"

#define NOP 0xd503201f
#define BTI_C 0xd503245f
#define PACIASP 0xd503233f
#define STP 0xa9bf7bfd	   /* stp x29, x30, [sp, #-16]! */
#define CBZ_X0 0xb4000040  /* cbz x0, . + 8 */
#define MOV_X9 0xaa0003e9  /* mov x9, x0 */
#define MOV_X0 0xaa0103e0  /* mov x0, x1 */
#define MOV_X19 0xaa0003f3 /* mov x19, x0 */
#define MOV_W3 0x52800023  /* mov w3, #1 */
#define CMP 0xf100001f	   /* cmp x0, #0 */
#define SUB_SP 0xd10043ff  /* sub sp, sp, #16 */
#define ADRP 0x90000008	   /* adrp x8, . */
#define LITERAL 0x58000048 /* ldr x8, . + 8 */
#define STR 0xf9000020	   /* str x0, [x1] */
#define STR_WB 0xf8008420  /* str x0, [x1], #8 */
#define SVC 0xd4000001
#define RET 0xd65f03c0
#define B_BACK_1 0x17ffffff /* b . - 4 */
#define B_BACK_2 0x17fffffe
#define CBZ_BACK_2 0xb4ffffc0 /* cbz x0, . - 8 */
#define TBZ_BACK_2 0x3607ffc0

static const struct sample {
	const char *what;
	uint32_t words[6];
	unsigned int arg_cnt;
	int err;
	uint32_t off;
	enum probe_cost cost;
	const char *insn;
} samples[] = {
	{"glibc free", {CBZ_X0, STP, RET}, 1, 0, 0, PROBE_EMULATED, "cbz"},
	{"glibc malloc", {STP, CBZ_X0, RET}, 1, 0, 0, PROBE_STEPPED, "stp"},
	{"adrp", {ADRP, STP, RET}, 1, 0, 0, PROBE_EMULATED, "adrp"},
	{"behind bti", {BTI_C, CBZ_X0, RET}, 1, 0, 4, PROBE_EMULATED, "cbz"},
	{"behind nop", {NOP, NOP, ADRP, RET}, 1, 0, 8, PROBE_EMULATED, "adrp"},
	{"x30 is signed", {PACIASP, CBZ_X0, RET}, 1, 0, 0, PROBE_STEPPED, NULL},
	{"scratch register", {MOV_X9, CBZ_X0, RET}, 1, 0, 4, PROBE_EMULATED, "cbz"},
	{"cmp, of which capstone says that it may write x0",
	 {CMP, ADRP, RET},
	 1,
	 0,
	 0,
	 PROBE_STEPPED,
	 "cmp"},
	{"unused argument", {MOV_W3, ADRP, RET}, 3, 0, 4, PROBE_EMULATED, "adrp"},
	{"used argument", {MOV_W3, ADRP, RET}, 4, 0, 0, PROBE_STEPPED, NULL},
	{"first argument", {MOV_X0, ADRP, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
	{"the caller's register", {MOV_X19, ADRP, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
	{"the stack moves", {SUB_SP, ADRP, RET}, 1, 0, 0, PROBE_STEPPED, "sub"},
	{"store", {STR, ADRP, RET}, 2, 0, 4, PROBE_EMULATED, "adrp"},
	{"store with write-back", {STR_WB, ADRP, RET}, 2, 0, 0, PROBE_STEPPED, "str"},
	{"literal", {LITERAL, RET}, 1, -ENOTSUP, 0, 0, NULL},
	{"literal before the candidate", {MOV_X9, LITERAL, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
	{"system call", {SVC, RET}, 1, -ENOTSUP, 0, 0, NULL},
	{"no instruction", {0, RET}, 1, -ENOTSUP, 0, 0, NULL},
	{"b back", {MOV_X9, ADRP, B_BACK_1, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
	{"b to the entry", {MOV_X9, ADRP, B_BACK_2, RET}, 1, 0, 4, PROBE_EMULATED, "adrp"},
	{"cbz back", {MOV_X9, ADRP, NOP, CBZ_BACK_2, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
	{"tbz back", {MOV_X9, ADRP, NOP, TBZ_BACK_2, RET}, 1, 0, 0, PROBE_STEPPED, "mov"},
};

static void test_samples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		struct placement place = {0};
		int err = placement_arm64__choose((const uint8_t *)s->words, sizeof(s->words),
						  s->arg_cnt, &place);

		if (err != s->err || place.off != s->off || place.cost != s->cost ||
		    (s->insn && strcmp(s->insn, place.insn)))
			fail_msg("%s: %d, +%u, cost %d, %s", s->what, err, place.off, place.cost,
				 place.insn);
	}
}

static void test_short(void **state)
{
	const uint32_t ret = RET;
	struct placement place;

	(void)state;
	assert_int_equal(placement_arm64__choose((const uint8_t *)&ret, 3, 1, &place), -ENOTSUP);
	assert_int_equal(placement_arm64__choose((const uint8_t *)&ret, 4, 1, &place), 0);
	assert_string_equal(place.insn, "ret");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests_name("discover placement arm64", tests, NULL, NULL);
}
