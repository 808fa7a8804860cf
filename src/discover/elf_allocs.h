/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds the allocator functions that one ELF file defines and picks the instruction where each is
 * probed. The file is a stranger's: every offset and size in it is checked, a broken file is an
 * error and nothing else.
 */
#ifndef LEAKSWEEP_DISCOVER_ELF_ALLOCS_H
#define LEAKSWEEP_DISCOVER_ELF_ALLOCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/alloc_fn.h"
#include "util/array.h"

/* How the kernel executes a probed instruction (uprobes: arch/x86/kernel/uprobes.c, arm64
 * probes/decode-insn.c). */
enum probe_cost {
	PROBE_EMULATED = 1, /* one trap */
	PROBE_STEPPED = 2,  /* out of line, a second trap: six times dearer */
};

struct alloc_site {
	char *symbol;	    /* owned; the name it was found by */
	uint64_t cookie;    /* ALLOC_FN(...), site number not filled in */
	uint64_t entry_off; /* file offset of the function's first byte */
	uint64_t probe_off; /* file offset of the probed instruction, >= entry_off */
	enum probe_cost cost;
	char insn[32];	 /* mnemonic of the probed instruction */
	const char *why; /* why exactly this place, a static sentence */
};

/* What was left out, and why. */
struct alloc_skip {
	char *why;    /* owned sentence */
	bool is_loss; /* blocks or their sizes are missed: they are not seen at another site */
};

struct elf_allocs {
	char *allocator; /* owned: "glibc", "musl", "jemalloc", "tcmalloc", "mimalloc", "static",
			    "custom"; NULL = none, not even one that is lost */
	bool is_dynamic; /* has a PT_INTERP or a dynamic section */
	uint8_t build_id[32];
	uint8_t build_id_len;		/* 0 = none */
	ARRAY(struct alloc_site) sites; /* one per distinct entry_off, no aliases */
	ARRAY(struct alloc_skip) skipped;
};

/* A function that the user named. */
struct user_alloc_fn {
	const char *name;
	uint64_t cookie;
};

struct elf_allocs_opts {
	const char *prefix; /* of a prefixed build, e.g. "je_"; NULL = none */
	const struct user_alloc_fn *user_fns;
	size_t user_fn_cnt;
};

/*
 * Reads the ELF file behind `fd` (not closed, file position not used).
 * Returns 0 (also when it defines no allocator: sites.cnt == 0), -ENOEXEC (not an ELF file),
 * -ENOTSUP (32-bit or another machine), -EBADMSG (broken), or a negative errno. *ret is filled on
 * success only; free it with elf_allocs__free.
 */
int elf_allocs__read(int fd, const struct elf_allocs_opts *opts, struct elf_allocs *ret);
void elf_allocs__free(struct elf_allocs *allocs);

/* Returns why the first of what is lost is, or NULL; *ret_cnt, if not NULL, is how many are. */
const char *elf_allocs__loss(const struct elf_allocs *allocs, size_t *ret_cnt);

#endif
