/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where functions begin. */
#ifndef LEAKSWEEP_UNWIND_CODE_SEEDS_H
#define LEAKSWEEP_UNWIND_CODE_SEEDS_H

#include "unwind/code_text.h"
#include "util/array.h"
#include "util/elf_image.h"

/* Why somebody thinks that a function begins there; later ones are better reasons. */
enum seed_trust {
	SEED_REVOKED, /* code goes on there from before: it is a label */
	SEED_TAKEN,   /* its address is used, or a tail call goes there */
	SEED_CALLED,
	SEED_NAMED, /* by the file */
};

struct code_seed {
	uint32_t at;
	uint8_t trust;	/* enum seed_trust */
	bool is_entry;	/* the kernel or the loader begins here */
	bool no_return; /* nothing is known to come back from there; set by others */
};

/* A word that the loader fills in with the address of a function. */
struct code_slot {
	uint64_t vaddr;
	uint64_t function; /* 0 = one like abort(), elsewhere; else it is in this file */
};

struct code_seeds {
	ARRAY(struct code_seed) list;  /* sorted by `at`, each once */
	ARRAY(struct code_slot) slots; /* sorted; only those that tell something */
};

/* Collects what the file says of the text. Returns 0, -ENOMEM, or as elf_image__read. */
int code_seeds__from_file(struct code_seeds *seeds, const struct elf_image *image,
			  const struct code_text *text);

/*
 * Adds what the instructions say, and marks the instructions where seeds are CODE_START and those
 * that are jumped to CODE_TARGET; seeds that have no instruction are dropped. Returns 0 or -ENOMEM.
 */
int code_seeds__from_text(struct code_seeds *seeds, struct code_text *text);

/*
 * Adds the SEED_TAKEN at the offsets that have an instruction and are not seeds yet, revoked ones
 * included. Returns 0 or -ENOMEM; *ret_added tells whether there was one.
 */
int code_seeds__add(struct code_seeds *seeds, struct code_text *text, const uint32_t *offsets,
		    size_t cnt, bool *ret_added);

void code_seeds__free(struct code_seeds *seeds);

/* Finds the slot at an address, or NULL. */
const struct code_slot *code_seeds__slot(const struct code_seeds *seeds, uint64_t vaddr);

/* Returns the index of the first seed at `at` or behind it. */
size_t code_seeds__lower(const struct code_seeds *seeds, uint32_t at);

#endif
