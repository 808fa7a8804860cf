/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unpacks what xz packed: .gnu_debugdata of stripped files ("MiniDebugInfo" in the GDB manual). */
#ifndef LEAKSWEEP_UTIL_XZ_H
#define LEAKSWEEP_UTIL_XZ_H

#include <stddef.h>

/*
 * Unpacks one or several .xz streams (padding allowed) into new memory of at most `max` bytes; a
 * small input cannot make it take more. Returns 0, -EFBIG (more than `max` bytes), -EBADMSG
 * (damaged or cut off) or -ENOMEM (the dictionary is too big, too). The caller frees *ret_data.
 */
int xz_unpack(const void *packed, size_t size, size_t max, void **ret_data, size_t *ret_size);

#endif
