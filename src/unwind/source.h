/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a file its unwind table is made of: headers, frame sections, and, where there is little
 * enough of it to look into, the code with what says where functions begin. Only that is hashed,
 * and only that is shown to the compiler, so two files of one fingerprint have one table, whatever
 * else they hold and whoever writes to them meanwhile.
 */
#ifndef LEAKSWEEP_UNWIND_SOURCE_H
#define LEAKSWEEP_UNWIND_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "util/array.h"
#include "util/siphash.h"

#define MAX_SOURCE_BYTES (256U << 20)
#define MAX_SOURCE_CODE (16U << 20) /* more code than this is not looked into */

struct source_part {
	uint64_t off, len; /* in the file */
};

struct table_source {
	int fd; /* borrowed */
	uint64_t file_size;
	uint64_t bytes;			 /* of all parts */
	ARRAY(struct source_part) parts; /* sorted, without overlaps */
};

/*
 * Reads the headers; `fd` must stay open until table_source__close. Returns 0, -EFBIG (more than
 * MAX_SOURCE_BYTES) or as elf_image__open for this machine.
 */
int table_source__open(struct table_source *ret, int fd);
void table_source__close(struct table_source *source);

/* Hashes the parts. Returns 0, -ESTALE (the file has changed) or a negative errno. */
int table_source__hash(const struct table_source *source, const uint8_t key[static SIPHASH_BYTES],
		       uint8_t ret_fingerprint[static SIPHASH_BYTES]);

/*
 * Makes an anonymous file that holds the parts where the file has them and nothing else; sections
 * that are not there are declared empty. Returns a descriptor that the caller closes, -ESTALE (the
 * contents are not those of the fingerprint any more) or a negative errno.
 */
int table_source__copy(const struct table_source *source, const uint8_t key[static SIPHASH_BYTES],
		       const uint8_t fingerprint[static SIPHASH_BYTES]);

#endif
