/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table as a file: a header, its pages, its rows, and a keyed hash (128 bits, SipHash-1-3) over
 * all of them. In the order of this machine's bytes: no other reads it.
 */
#ifndef LEAKSWEEP_UNWIND_TABLE_FILE_H
#define LEAKSWEEP_UNWIND_TABLE_FILE_H

#include <stdint.h>

#include "unwind/table.h"
#include "util/siphash.h"

/* Changes whenever include/unwind.h gives the same rows another meaning. */
#define TABLE_FILE_VERSION 1

/* Returns the size of the table's file in bytes. */
uint64_t table_file__size(const struct unwind_table *table);

/*
 * Writes at the descriptor's position. `fingerprint` says what the table was made of. Returns 0 or
 * a negative errno.
 */
int table_file__write(int fd, const uint8_t key[static SIPHASH_BYTES],
		      const uint8_t fingerprint[static SIPHASH_BYTES],
		      const struct unwind_table *table);

/*
 * Reads a file that may hold anything, from its beginning. Returns 0, -EBADMSG (not such a file,
 * damaged, of another key, fingerprint or version), -ENOMEM or another negative errno. Who wrote it
 * had the key; whether the rows are in order is unwind_table__is_valid's question. Free with
 * unwind_table__free.
 */
int table_file__read(int fd, const uint8_t key[static SIPHASH_BYTES],
		     const uint8_t fingerprint[static SIPHASH_BYTES], struct unwind_table *ret);

#endif
