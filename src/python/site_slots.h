/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of memory that the dynamic linker fills with the address of a function
 * (R_X86_64_JUMP_SLOT and R_X86_64_GLOB_DAT, psABI for x86-64, 4.4.1): calls between the parts of
 * a shared library go through them.
 */
#ifndef LEAKSWEEP_PYTHON_SITE_SLOTS_H
#define LEAKSWEEP_PYTHON_SITE_SLOTS_H

#include <stdint.h>

#include "util/array.h"
#include "util/elf_image.h"

struct site_slots {
	ARRAY(uint64_t) vaddrs; /* of the words */
};

/*
 * Adds those of a symbol to *slots; tables above the limits are left out. Returns 0 (also when
 * there are none) or -ENOMEM.
 */
int site_slots__add(const struct elf_image *image, const char *name, struct site_slots *slots);
void site_slots__free(struct site_slots *slots);

#endif
