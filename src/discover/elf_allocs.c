/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a file to the places to probe, in five steps:
 *
 *   1. every function symbol whose name is known (alloc_names.c), or named by the user, is a
 *      candidate;
 *   2. candidates at one file offset are one function: glibc has malloc and __libc_malloc, tcmalloc
 *      twenty names for free;
 *   3. a function that is nothing but a jump to another candidate with the same arguments is that
 *      function under another address (jemalloc's operator delete, mimalloc's posix_memalign):
 *      probing both would take two traps and count a free twice;
 *   4. operator new and delete, and wrappers such as reallocarray, count only where they do not end
 *      in the malloc of another file;
 *   5. placement picks the instruction.
 *
 * What is left out on the way is told in `skipped`, unless it is seen through another site.
 */
#include "discover/elf_allocs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discover/elf_jump.h"
#include "discover/placement.h"
#include "discover/scan.h"
#include "util/hashmap.h"

#define MAX_CODE_BYTES (64U << 10) /* of one function to look at */
#define UNSIZED_CODE_BYTES 4096	   /* of a function whose symbol has no size */

/* ---- 3. functions that only jump to another ------------------------------------------------- */

/* `arg` maps the slots in question to the index of the symbol whose address they receive. */
static int take_reloc(void *arg, uint64_t slot, uint32_t symbol_idx)
{
	uint64_t *value = hashmap__find(arg, slot, 0);

	if (value)
		*value = symbol_idx;
	return 0;
}

/*
 * A PLT entry reaches a function by name, in this file or another: it is probed where it is
 * defined.
 */
static int resolve_slots(struct scan *scan, struct hashmap *slots)
{
	struct alloc_name found;
	int err = elf_file__each_reloc(scan->file, take_reloc, slots);

	for (size_t i = 0; i < scan->candidates.cnt && !err; i++) {
		struct candidate *candidate = &scan->candidates.items[i];
		const uint64_t *symbol_idx =
			candidate->slot ? hashmap__find(slots, candidate->slot, 0) : NULL;

		if (symbol_idx && *symbol_idx &&
		    elf_file__dynamic_name(scan->file, (uint32_t)*symbol_idx, scan->name,
					   scan->name_max + 1) &&
		    scan__find_name(scan, scan->name, &found))
			candidate->forwards = found.cookie == candidate->cookie;
	}
	return err;
}

static int find_forwards(struct scan *scan)
{
	struct hashmap slots = {0};
	uint64_t target, off, avail;
	int err = 0;

	for (size_t i = 0; i < scan->candidates.cnt && !err; i++) {
		struct candidate *candidate = &scan->candidates.items[i];
		const struct candidate *other;

		if (candidate->family == FAMILY_USER ||
		    !elf_jump__relative(scan->file, candidate->vaddr, &target) ||
		    !elf_segments__offset(&scan->file->image.segments, target, true, &off, &avail))
			continue;
		other = scan__last_until(scan, off);
		if (other && other->off == off)
			candidate->forwards =
				other != candidate && other->cookie == candidate->cookie;
		else if (elf_jump__through_slot(scan->file, target, &candidate->slot) &&
			 !hashmap__insert(&slots, candidate->slot, 0, NULL))
			err = -ENOMEM;
	}
	if (!err && slots.cnt)
		err = resolve_slots(scan, &slots);
	hashmap__free(&slots);
	return err;
}

/* ---- 4. operator new and delete ------------------------------------------------------------- */

static int judge_operators(struct scan *scan, bool *ret_wanted)
{
	uint32_t imports = 0;
	bool any = false;

	*ret_wanted = true;
	for (size_t i = 0; i < scan->candidates.cnt; i++) {
		const struct candidate *candidate = &scan->candidates.items[i];

		if (candidate->family != FAMILY_CXX)
			continue;
		any = true;
		if (ALLOC_FN_OP(candidate->cookie) == ALLOC_OP_ALLOC)
			imports |= MARK_IMPORTS_MALLOC;
	}
	/* Only delete is defined: then what it imports decides. */
	imports = imports ? imports : MARK_IMPORTS_FREE;
	if (!any || scan->markers & MARK_MALLOC || !(scan->markers & imports))
		return 0;
	*ret_wanted = false;
	return scan__skip(scan, "operator new and delete end in the malloc of another library, "
				"which is probed there");
}

/*
 * libbsd's reallocf, a program's own reallocarray: without malloc beside them they are built on
 * another library's. It may also be a function that merely has such a name.
 */
static bool is_wrapper(const struct scan *scan, const struct candidate *candidate)
{
	return candidate->family == FAMILY_C && !(scan->markers & MARK_MALLOC) &&
	       scan->markers & (MARK_IMPORTS_MALLOC | MARK_IMPORTS_FREE);
}

/* ---- 5. sites ------------------------------------------------------------------------------- */

static unsigned int count_args(uint64_t cookie)
{
	unsigned int args[] = {
		ALLOC_FN_SIZE_ARG(cookie),
		ALLOC_FN_COUNT_ARG(cookie),
		ALLOC_FN_OLD_ARG(cookie),
		ALLOC_FN_OUT_ARG(cookie),
	};
	unsigned int cnt = 0;

	for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
		cnt = args[i] > cnt ? args[i] : cnt;
	return cnt;
}

/* How many bytes of the function to look at. *ret_whole tells whether that is all of it. */
static size_t code_len(const struct candidate *candidate, bool *ret_whole)
{
	uint64_t len = candidate->size;

	*ret_whole = true;
	if (!len) {
		len = candidate->next - candidate->off;
		len = len < UNSIZED_CODE_BYTES ? len : UNSIZED_CODE_BYTES;
	}
	if (len > candidate->avail)
		len = candidate->avail;
	if (len > MAX_CODE_BYTES) {
		*ret_whole = false;
		len = MAX_CODE_BYTES;
	}
	return (size_t)len;
}

static int place(const struct candidate *candidate, const uint8_t *code, size_t len, bool is_whole,
		 struct placement *ret)
{
	unsigned int arg_cnt = count_args(candidate->cookie);
	int err = placement__choose(code, len, arg_cnt, ret);

	if (err || is_whole || ret->off == 0)
		return err;
	/*
	 * Branches beyond what was read may land anywhere: given one instruction only, it picks the
	 * entry.
	 */
	for (size_t first = 1; first < 16; first++) {
		err = placement__choose(code, first, arg_cnt, ret);
		if (!err)
			break;
	}
	ret->why = "entry: the function is too long to be looked at whole";
	return err;
}

static int add_site(struct scan *scan, struct candidate *candidate, uint8_t *code)
{
	struct alloc_site site = {
		.cookie = candidate->cookie,
		.entry_off = candidate->off,
	};
	struct placement placement;
	bool is_whole;
	size_t len = code_len(candidate, &is_whole);
	int err = elf_image__read(&scan->file->image, candidate->off, code, len);

	if (!err)
		err = place(candidate, code, len, is_whole, &placement);
	if (err == -ENOTSUP)
		return scan__lose(scan, "%s begins with an instruction that cannot be probed",
				  candidate->symbol);
	if (err)
		return err;
	site.probe_off = candidate->off + placement.off;
	site.cost = placement.cost;
	site.why = placement.why;
	memcpy(site.insn, placement.insn, sizeof(site.insn));
	site.symbol = candidate->symbol;
	if (array_push(&scan->allocs->sites, site))
		return -ENOMEM;
	candidate->symbol = NULL;
	return 0;
}

static int add_sites(struct scan *scan)
{
	uint8_t *code = malloc(MAX_CODE_BYTES);
	bool wants_operators;
	int err;

	if (!code)
		return -ENOMEM;
	err = judge_operators(scan, &wants_operators);
	for (size_t i = 0; i < scan->candidates.cnt && !err; i++) {
		struct candidate *candidate = &scan->candidates.items[i];

		if (candidate->forwards || (candidate->family == FAMILY_CXX && !wants_operators))
			continue;
		if (is_wrapper(scan, candidate)) {
			err = scan__skip(
				scan,
				"%s ends in the malloc of another library, which is probed there",
				candidate->symbol);
			continue;
		}
		err = add_site(scan, candidate, code);
	}
	free(code);
	return err;
}

/* ---- what else there is to say -------------------------------------------------------------- */

static int name_allocator(struct scan *scan)
{
	static const struct {
		enum marker marker;
		const char *name;
	} known[] = {
		/* The replacements export __libc_malloc, too, and musl has one inside: glibc comes
		   last. */
		{MARK_MIMALLOC, "mimalloc"}, {MARK_JEMALLOC, "jemalloc"},
		{MARK_TCMALLOC, "tcmalloc"}, {MARK_MUSL, "musl"},
		{MARK_GLIBC, "glibc"},
	};
	const char *name = scan->allocs->is_dynamic ? "custom" : "static";

	if (!scan->allocs->sites.cnt && !elf_allocs__loss(scan->allocs, NULL))
		return 0;
	if (!scan->allocs->sites.cnt && scan->other_prefix)
		name = "jemalloc";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (scan->markers & known[i].marker) {
			name = known[i].name;
			break;
		}
	}
	scan->allocs->allocator = strdup(name);
	return scan->allocs->allocator ? 0 : -ENOMEM;
}

static int note_imbalance(struct scan *scan)
{
	bool allocates = false, frees = false;

	for (size_t i = 0; i < scan->allocs->sites.cnt; i++) {
		if (ALLOC_FN_OP(scan->allocs->sites.items[i].cookie) == ALLOC_OP_FREE)
			frees = true;
		else
			allocates = true;
	}
	if (allocates && !frees)
		return scan__skip(scan,
				  "the file defines functions that allocate but none that frees");
	if (frees && !allocates)
		return scan__skip(scan,
				  "the file defines functions that free but none that allocates");
	return 0;
}

static int note_unseen(struct scan *scan)
{
	char *list = NULL, *longer;
	int err;

	for (size_t i = 0; i < scan->unseen.cnt; i++) {
		if (asprintf(&longer, "%s%s%s", list ? list : "", list ? ", " : "",
			     scan->unseen.items[i]) < 0) {
			free(list);
			return -ENOMEM;
		}
		free(list);
		list = longer;
	}
	if (!list)
		return 0;
	err = scan__lose(scan, "blocks that these make or free inside the library are not seen: %s",
			 list);
	free(list);
	return err;
}

static int note_rest(struct scan *scan)
{
	int err = note_imbalance(scan);

	if (!err)
		err = note_unseen(scan);
	if (!err && scan->other_prefix && !(scan->markers & MARK_JEMALLOC))
		err = scan__lose(scan,
				 "a jemalloc with the prefix %s is in the file: not followed "
				 "without --alloc-prefix %s",
				 scan->other_prefix, scan->other_prefix);
	return err;
}

/* ---- all of it ------------------------------------------------------------------------------ */

int elf_allocs__read(int fd, const struct elf_allocs_opts *opts, struct elf_allocs *ret)
{
	static const struct elf_allocs_opts no_opts;
	struct elf_allocs allocs = {0};
	struct elf_file file;
	struct scan scan = {.file = &file, .opts = opts ? opts : &no_opts, .allocs = &allocs};
	int err;

	err = elf_file__open(fd, &file);
	if (err)
		return err;
	allocs.is_dynamic = file.is_dynamic;
	allocs.build_id_len = (uint8_t)elf_image__build_id(&file.image, allocs.build_id);
	err = scan__run(&scan);
	if (!err)
		err = find_forwards(&scan);
	if (!err)
		err = add_sites(&scan);
	if (!err)
		err = note_rest(&scan);
	if (!err)
		err = name_allocator(&scan);
	if (err)
		elf_allocs__free(&allocs);
	else
		*ret = allocs;
	scan__free(&scan);
	elf_file__close(&file);
	return err;
}

void elf_allocs__free(struct elf_allocs *allocs)
{
	if (!allocs)
		return;
	for (size_t i = 0; i < allocs->sites.cnt; i++)
		free(allocs->sites.items[i].symbol);
	for (size_t i = 0; i < allocs->skipped.cnt; i++)
		free(allocs->skipped.items[i].why);
	array_free(&allocs->sites);
	array_free(&allocs->skipped);
	free(allocs->allocator);
	*allocs = (struct elf_allocs){0};
}

const char *elf_allocs__loss(const struct elf_allocs *allocs, size_t *ret_cnt)
{
	const char *first = NULL;
	size_t cnt = 0;

	for (size_t i = 0; i < allocs->skipped.cnt; i++) {
		if (!allocs->skipped.items[i].is_loss)
			continue;
		first = first ? first : allocs->skipped.items[i].why;
		cnt++;
	}
	if (ret_cnt)
		*ret_cnt = cnt;
	return first;
}
