/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libdw says about a frame, in the words of include/unwind.h. */
#ifndef LEAKSWEEP_UNWIND_CFI_ROW_H
#define LEAKSWEEP_UNWIND_CFI_ROW_H

#include <stdint.h>
#include <elfutils/libdw.h>

#include "include/unwind.h"

/*
 * Makes the row of a frame that dwarf_cfi_addrframe gave, and the addresses it holds for. Every
 * frame has one: what no rule can say is UNWIND_RULE_ODD.
 */
struct unwind_row cfi_row__make(Dwarf_Frame *frame, uint64_t *ret_start, uint64_t *ret_end);

#endif
