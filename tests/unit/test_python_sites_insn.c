/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lengths of instructions and where they lead, against capstone and by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <capstone/capstone.h>

#include "python/site_insn.h"
#include "util/elf_image.h"
#include "util/regular_file.h"

struct sample {
	const char *name;
	uint8_t len, bytes[MAX_X86_INSN];
};

/* What linear code of compilers has seldom, and capstone 4 not always. */
static const struct sample samples[] = {
	{"nop", 1, {0x90}},
	{"66 66 2e nopw 0x0(rax,rax)", 11, {0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
	{"endbr64", 4, {0xf3, 0x0f, 0x1e, 0xfa}},
	{"movabs", 10, {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}},
	{"mov $imm32", 5, {0xb8, 1, 2, 3, 4}},
	{"mov $imm16", 4, {0x66, 0xb8, 1, 2}},
	{"mov moffs", 9, {0xa1, 1, 2, 3, 4, 5, 6, 7, 8}},
	{"mov moffs, short address", 6, {0x67, 0xa1, 1, 2, 3, 4}},
	{"test $imm8, (rax)", 3, {0xf6, 0x00, 1}},
	{"not (rax)", 2, {0xf6, 0x10}},
	{"test $imm32, eax", 6, {0xf7, 0xc0, 1, 2, 3, 4}},
	{"test $imm16, ax", 5, {0x66, 0xf7, 0xc0, 1, 2}},
	{"mul", 2, {0xf7, 0xe0}},
	{"imul three", 6, {0x69, 0xc0, 1, 2, 3, 4}},
	{"enter", 4, {0xc8, 1, 2, 3}},
	{"ret imm16", 3, {0xc2, 1, 2}},
	{"mov rip-relative", 7, {0x48, 0x8b, 0x05, 1, 2, 3, 4}},
	{"movq imm to rip-relative", 11, {0x48, 0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8}},
	{"sib without base", 8, {0x48, 0x8b, 0x04, 0xc5, 1, 2, 3, 4}},
	{"sib disp8", 5, {0x48, 0x8b, 0x44, 0xd8, 1}},
	{"vzeroupper", 3, {0xc5, 0xf8, 0x77}},
	{"vpshufd", 5, {0xc5, 0xf9, 0x70, 0xc0, 1}},
	{"vpalignr", 6, {0xc4, 0xe3, 0x79, 0x0f, 0xc0, 1}},
	{"bzhi", 5, {0xc4, 0xe2, 0x70, 0xf5, 0xc0}},
	{"vmovdqu8 evex disp8", 7, {0x62, 0xf1, 0x7f, 0x48, 0x6f, 0x46, 1}},
	{"vpternlogd evex", 7, {0x62, 0xf3, 0x6d, 0x48, 0x25, 0xc0, 1}},
	{"pop (rax)", 2, {0x8f, 0x00}},
	{"pshufb", 4, {0x0f, 0x38, 0x00, 0xc0}},
	{"aesenc", 5, {0x66, 0x0f, 0x38, 0xdc, 0xc0}},
	{"roundsd", 6, {0x66, 0x0f, 0x3a, 0x0b, 0xc0, 1}},
	{"shld imm", 4, {0x0f, 0xa4, 0xc0, 1}},
	{"lock cmpxchg", 4, {0xf0, 0x0f, 0xb1, 0x0f}},
	{"jmp short", 2, {0xeb, 1}},
	{"jcc near", 6, {0x0f, 0x84, 1, 2, 3, 4}},
	{"data16 call", 8, {0x66, 0x66, 0x48, 0xe8, 1, 2, 3, 4}},
};

static void test_samples(void **state)
{
	struct site_insn insn;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *sample = &samples[i];

		if (!site_insn__decode(sample->bytes, sample->len, &insn) ||
		    insn.len != sample->len)
			fail_msg("%s", sample->name);
		for (size_t len = 0; len < sample->len; len++)
			if (site_insn__decode(sample->bytes, len, &insn) && insn.len > len)
				fail_msg("%s in %zu bytes", sample->name, len);
	}
}

static void test_none(void **state)
{
	static const uint8_t none[][3] = {{0x06}, {0x60},	{0x82, 0, 0},	{0xd4, 0},
					  {0xea}, {0x0f, 0x0a}, {0x0f, 0x24, 0}};
	static const uint8_t prefixes[MAX_X86_INSN + 1] = {
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90,
	};
	struct site_insn insn;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(site_insn__decode(none[i], sizeof(none[i]), &insn));
	assert_false(site_insn__decode(prefixes, sizeof(prefixes), &insn));
	assert_true(site_insn__decode(prefixes + 1, MAX_X86_INSN, &insn));
	assert_int_equal(insn.len, MAX_X86_INSN);
}

static void check_control(const uint8_t *code, enum site_control wanted, uint64_t wanted_target)
{
	uint64_t target = 0;
	struct site_insn insn;

	assert_true(site_insn__decode(code, MAX_X86_INSN, &insn));
	assert_int_equal(site_insn__control(&insn, code, 0x1000, &target), wanted);
	assert_int_equal(target, wanted_target);
}

static void test_control(void **state)
{
	static const struct {
		uint8_t code[MAX_X86_INSN];
		enum site_control control;
		uint64_t target;
	} cases[] = {
		{{0x74, 0x10}, SITE_BRANCH, 0x1012},
		{{0x75, 0xfe}, SITE_BRANCH, 0x1000},
		{{0x0f, 0x85, 0, 1, 0, 0}, SITE_BRANCH, 0x1106},
		{{0xe3, 0}, SITE_BRANCH, 0x1002},
		{{0xeb, 0x80}, SITE_JUMP, 0xf82},
		{{0xe9, 0xfb, 0xff, 0xff, 0xff}, SITE_JUMP, 0x1000},
		{{0xe8, 0, 0, 0, 0}, SITE_CALL, 0x1005},
		{{0xff, 0xd0}, SITE_CALL_INDIRECT, 0},
		{{0xff, 0x15, 1, 0, 0, 0}, SITE_CALL_INDIRECT, 0},
		{{0xff, 0xe0}, SITE_END, 0},
		{{0x3e, 0xff, 0xe0}, SITE_END, 0},
		{{0xff, 0x30}, SITE_NEXT, 0}, /* push */
		{{0xc3}, SITE_END, 0},
		{{0xf3, 0xc3}, SITE_END, 0},
		{{0x0f, 0x0b}, SITE_END, 0},
		{{0x90}, SITE_NEXT, 0},
		{{0xc5, 0xf8, 0x77}, SITE_NEXT, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_control(cases[i].code, cases[i].control, cases[i].target);
}

/* ---- real code ------------------------------------------------------------------------------- */

static void compare(csh handle, const uint8_t *code, size_t len)
{
	cs_insn *insn = cs_malloc(handle);
	size_t at = 0, cnt = 0;

	assert_non_null(insn);
	while (at < len) {
		const uint8_t *pos = code + at;
		size_t left = len - at;
		uint64_t address = at;
		struct site_insn mine;
		bool is_mine = site_insn__decode(pos, left, &mine);

		if (!cs_disasm_iter(handle, &pos, &left, &address, insn)) {
			at += is_mine ? mine.len : 1; /* capstone does not know all */
			continue;
		}
		if (!is_mine || mine.len != insn->size)
			fail_msg("%s %s at %#zx: %d bytes, not %d", insn->mnemonic, insn->op_str,
				 at, insn->size, is_mine ? mine.len : 0);
		at += insn->size;
		cnt++;
	}
	assert_true(cnt > 1000);
	cs_free(insn, 1);
}

static void compare_file(csh handle, const char *path)
{
	const Elf64_Shdr *text;
	struct elf_image image;
	char *code;
	int fd = regular_file__open(path);

	if (fd < 0) {
		printf("skipped: %s is not here\n", path);
		return;
	}
	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	assert_int_equal(elf_image__section_named(&image, ".text", &text), 0);
	assert_int_equal(elf_image__load(&image, text->sh_offset, text->sh_size, 8 << 20, &code),
			 0);
	compare(handle, (uint8_t *)code, text->sh_size);
	free(code);
	elf_image__close(&image);
	close(fd);
}

static void test_real_code(void **state)
{
	csh handle;

	(void)state;
	assert_int_equal(cs_open(CS_ARCH_X86, CS_MODE_64, &handle), CS_ERR_OK);
	compare_file(handle, "/proc/self/exe");
	compare_file(handle, "/lib/x86_64-linux-gnu/libc.so.6");
	compare_file(handle, "/bin/bash");
	cs_close(&handle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_real_code),
	};

#if !defined(__x86_64__)
	printf("skipped: the analyser knows x86-64\n");
	return 0;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
