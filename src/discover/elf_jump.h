/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions that consist of one jump, and the PLT entries that such jumps often go to. Known for
 * x86-64 only: elsewhere nothing is recognised as a jump.
 */
#ifndef LEAKSWEEP_DISCOVER_ELF_JUMP_H
#define LEAKSWEEP_DISCOVER_ELF_JUMP_H

#include "discover/elf_file.h"

/* Whether the code at address `vaddr` is a relative jump (e9, eb), and where to. */
bool elf_jump__relative(const struct elf_file *file, uint64_t vaddr, uint64_t *ret_target);

/* Whether the code at `vaddr` is a PLT entry (ff 25, jmp *slot(%rip)), and the address of the slot.
 */
bool elf_jump__through_slot(const struct elf_file *file, uint64_t vaddr, uint64_t *ret_slot);

#endif
