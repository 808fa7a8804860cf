/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a report told of a process's code, kept for later ones: with names of its own, so that it
 * can be told when the process, its files and that report are gone.
 */
#ifndef LEAKSWEEP_MODEL_KEPT_CODE_H
#define LEAKSWEEP_MODEL_KEPT_CODE_H

#include <stdint.h>
#include <sys/types.h>

#include "model/snapshot.h"
#include "model/sweep.h"
#include "model/symbol.h"
#include "util/array.h"

#define MAX_KEPT_STACKS 8   /* of sites, and as many of touches */
#define MAX_KEPT_FRAMES 128 /* of a stack; those next to the root are cut */

struct kept_code {
	uint32_t refs;
	pid_t pid; /* whose code it is */
	uint64_t start_ns;
	double growth_per_hour;	 /* of that process, then */
	struct snapshot *snap;	 /* owned: nothing but the stacks of the first sites that grow */
	struct symbol *symbols;	 /* owned: of its frames */
	struct sweep_code *code; /* owned; where a stack is not kept it is 0 */
	struct kept_code *whole; /* referenced: it has the snapshot, the symbols and what they are
				    made of; NULL = they are its own */
	ARRAY(char *) texts;	 /* owned: of the symbols */
	ARRAY(struct symbol_inline *) inlines;
};

/*
 * Keeps what a sweep knows of the code of a row's process. Returns it with one reference, or NULL
 * (no memory).
 */
struct kept_code *kept_code__new(const struct sweep *sweep, const struct sweep_row *row);

/* Returns another reference to it. */
struct kept_code *kept_code__ref(struct kept_code *kept);

/* Returns one whose code can be changed, with one reference, which shares its stacks and their
 * names with the other one; NULL = no memory. */
struct kept_code *kept_code__share(struct kept_code *kept);

/* Gives a reference back, NULL is none; the last one frees it. */
void kept_code__put(struct kept_code *kept);

#endif
