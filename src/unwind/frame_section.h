/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a section with call frame information, in an ELF file of our own making that holds
 * nothing else: libelf and libdw never see the headers of the file they came from.
 */
#ifndef LEAKSWEEP_UNWIND_FRAME_SECTION_H
#define LEAKSWEEP_UNWIND_FRAME_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/elf_image.h"

struct frame_section {
	uint8_t *file; /* owned: the ELF file, whole */
	size_t file_size;
	uint8_t *data; /* the section in it; may be changed */
	size_t size;
	uint64_t vaddr; /* where the section is mapped; 0 for .debug_frame */
	bool eh;	/* .eh_frame */
	bool bounded;	/* the section is known to end here */
};

/*
 * Loads .eh_frame: by its section header, without one by PT_GNU_EH_FRAME (LSB 5, 10.6.2), which
 * does not tell where it ends. Returns 0, -ENOENT (none, or out of reach), -EFBIG, -ENOMEM or
 * another negative errno. Free with frame_section__free.
 */
int frame_section__load_eh(const struct elf_image *image, struct frame_section *ret);

/* Loads .debug_frame, also a compressed one (zlib; gABI, or .zdebug_frame). As the one above. */
int frame_section__load_debug(const struct elf_image *image, struct frame_section *ret);

void frame_section__free(struct frame_section *section);

/* Leaves only the bytes [from, to) of the section in the file. */
void frame_section__cut(struct frame_section *section, size_t from, size_t to);

#endif
