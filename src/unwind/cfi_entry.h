/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entries of .eh_frame and .debug_frame as bytes: lengths, identities, encoded addresses (DWARF
 * 5 section 6.4.1; LSB 5 chapters 10.5 and 10.6). What they mean for frames is libdw's to say.
 */
#ifndef LEAKSWEEP_UNWIND_CFI_ENTRY_H
#define LEAKSWEEP_UNWIND_CFI_ENTRY_H

#include <stdbool.h>
#include <elfutils/libdw.h>

#include "unwind/frame_section.h"

/*
 * Makes the section end where its last whole entry does, and not before: an end mark in the middle,
 * as stays behind where .eh_frame sections were put together, becomes padding of the entry before.
 * Only where the section's size is not known it is the end.
 */
void cfi_section__repair(struct frame_section *section);

/* Makes of a whole entry one that dwarf_next_cfi refuses and steps over. */
void cfi_entry__erase(struct frame_section *section, size_t at);

/*
 * Reads how the functions that refer to a common entry write addresses (DW_EH_PE_*). Returns false
 * for an entry that contradicts itself, or is of a kind that no compiler for x86-64 writes.
 */
bool cfi_entry__encoding(const Dwarf_CIE *cie, uint8_t *ret_encoding);

/* Reads an encoded value and moves *pos behind it. Returns whether it is one and is there. */
bool cfi_entry__read_value(const struct frame_section *section, uint8_t encoding,
			   const uint8_t **pos, const uint8_t *end, uint64_t *ret);

#endif
