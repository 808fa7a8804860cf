/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover/elf_jump.h"

#include <elf.h>
#include <string.h>

/* Reads the bytes at an address of the file's code. Returns how many there are, at most `len`. */
static size_t read_code(const struct elf_file *file, uint64_t vaddr, uint8_t *buf, size_t len)
{
	uint64_t off, avail;

	if (!elf_segments__offset(&file->image.segments, vaddr, true, &off, &avail))
		return 0;
	if (len > avail)
		len = (size_t)avail;
	return elf_image__read(&file->image, off, buf, len) ? 0 : len;
}

/* Skips endbr64 and the bnd prefix, which a jump of a CET or MPX build may have before it. */
static size_t skip_marks(const uint8_t *code, size_t len)
{
	size_t pos = 0;

	if (len >= 4 && memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0)
		pos = 4;
	if (pos < len && code[pos] == 0xf2)
		pos++;
	return pos;
}

bool elf_jump__relative(const struct elf_file *file, uint64_t vaddr, uint64_t *ret_target)
{
	uint8_t code[16];
	size_t len = read_code(file, vaddr, code, sizeof(code)), pos = skip_marks(code, len);
	int32_t displacement;

	if (file->image.machine != EM_X86_64)
		return false;
	if (pos + 5 <= len && code[pos] == 0xe9) {
		memcpy(&displacement, code + pos + 1, 4);
		*ret_target = vaddr + pos + 5 + (uint64_t)(int64_t)displacement;
		return true;
	}
	if (pos + 2 <= len && code[pos] == 0xeb) {
		*ret_target = vaddr + pos + 2 + (uint64_t)(int64_t)(int8_t)code[pos + 1];
		return true;
	}
	return false;
}

bool elf_jump__through_slot(const struct elf_file *file, uint64_t vaddr, uint64_t *ret_slot)
{
	uint8_t code[16];
	size_t len = read_code(file, vaddr, code, sizeof(code)), pos = skip_marks(code, len);
	int32_t displacement;

	if (file->image.machine != EM_X86_64 || pos + 6 > len || code[pos] != 0xff ||
	    code[pos + 1] != 0x25)
		return false;
	memcpy(&displacement, code + pos + 2, 4);
	*ret_slot = vaddr + pos + 6 + (uint64_t)(int64_t)displacement;
	return true;
}
