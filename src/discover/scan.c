/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discover/scan.h"

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/format.h"

#define MAX_CANDIDATES 4096 /* symbols; the richest library known has 170 */
#define MAX_SITES 512	    /* distinct functions */
#define MAX_VERSION_LEN 64  /* "@@GLIBC_2.2.5" and the like behind a name in .symtab */

static int add_skip(struct scan *scan, bool is_loss, const char *fmt, va_list args)
{
	struct alloc_skip skip = {.why = format_text_va(fmt, args), .is_loss = is_loss};

	if (!skip.why || array_push(&scan->allocs->skipped, skip)) {
		free(skip.why);
		return -ENOMEM;
	}
	return 0;
}

int scan__skip(struct scan *scan, const char *fmt, ...)
{
	va_list args;
	int err;

	va_start(args, fmt);
	err = add_skip(scan, false, fmt, args);
	va_end(args);
	return err;
}

int scan__lose(struct scan *scan, const char *fmt, ...)
{
	va_list args;
	int err;

	va_start(args, fmt);
	err = add_skip(scan, true, fmt, args);
	va_end(args);
	return err;
}

/* The name behind the prefix of a prefixed build, or NULL. */
static const char *strip_prefix(const struct scan *scan, const char *name)
{
	if (!scan->prefix_len || strncmp(name, scan->opts->prefix, scan->prefix_len) != 0)
		return NULL;
	return name + scan->prefix_len;
}

bool scan__find_name(const struct scan *scan, const char *name, struct alloc_name *ret)
{
	const struct alloc_name *found = NULL;
	const char *stripped;

	for (size_t i = 0; i < scan->opts->user_fn_cnt; i++) {
		if (strcmp(scan->opts->user_fns[i].name, name) != 0)
			continue;
		*ret = (struct alloc_name){name, scan->opts->user_fns[i].cookie, FAMILY_USER};
		return true;
	}
	found = alloc_names__find(name);
	if (!found) {
		stripped = strip_prefix(scan, name);
		found = stripped ? alloc_names__find(stripped) : NULL;
	}
	if (!found)
		return false;
	*ret = *found;
	if (strcmp(found->name, name) != 0)
		ret->family = FAMILY_OWN; /* je_malloc is no malloc to the rest of the process */
	return true;
}

/* A prefixed jemalloc gives itself away by its own function, e.g. _rjem_mallocx. */
static int note_prefix(struct scan *scan, const char *name)
{
	size_t len = strlen(name), own = strlen("mallocx");

	if (len <= own || scan->other_prefix || strcmp(name + len - own, "mallocx") != 0 ||
	    strncmp(name, "_Z", 2) == 0 || strcmp(name, "smallocx") == 0)
		return 0;
	scan->other_prefix = strndup(name, len - own);
	return scan->other_prefix ? 0 : -ENOMEM;
}

static int note_definition(struct scan *scan, const char *name)
{
	static const struct {
		const char *name;
		enum marker marker;
	} marks[] = {
		{"malloc", MARK_MALLOC},
		{"free", MARK_MALLOC},
		{"mallocx", MARK_JEMALLOC},
		{"tc_malloc", MARK_TCMALLOC},
		{"mi_malloc", MARK_MIMALLOC},
		{"gnu_get_libc_version", MARK_GLIBC},
		{"__libc_malloc", MARK_GLIBC},
		{"__malloc_donate", MARK_MUSL},	   /* static; musl 1.1.20 and later */
		{"__libc_malloc_impl", MARK_MUSL}, /* static; musl 1.2.1 and later */
		{"__simple_malloc", MARK_MUSL},
		{"__dls3", MARK_MUSL}, /* its dynamic linker, which is the libc */
	};
	const char *stripped = strip_prefix(scan, name);

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (strcmp(name, marks[i].name) == 0)
			scan->markers |= marks[i].marker;
	if (stripped && strcmp(stripped, "mallocx") == 0) {
		scan->markers |= MARK_JEMALLOC;
		return 0;
	}
	return note_prefix(scan, name);
}

static int add_candidate(struct scan *scan, const struct elf_symbol *symbol,
			 const struct alloc_name *found)
{
	struct candidate candidate = {
		.cookie = found->cookie,
		.family = found->family,
		.vaddr = symbol->value,
		.size = symbol->size,
		.next = UINT64_MAX,
	};

	if (symbol->type == STT_GNU_IFUNC)
		return scan__lose(scan,
				  "%s is chosen at run time by a resolver (IFUNC) and not followed",
				  scan->name);
	if (!elf_segments__offset(&scan->file->image.segments, symbol->value, true, &candidate.off,
				  &candidate.avail))
		return scan__lose(scan, "%s does not lie in the code of the file", scan->name);
	if (scan->candidates.cnt >= MAX_CANDIDATES)
		return -EBADMSG;
	candidate.symbol = strdup(scan->name);
	if (!candidate.symbol || array_push(&scan->candidates, candidate)) {
		free(candidate.symbol);
		return -ENOMEM;
	}
	return 0;
}

static int add_unseen(struct scan *scan, const char *name)
{
	for (size_t i = 0; i < scan->unseen.cnt; i++)
		if (scan->unseen.items[i] == name)
			return 0;
	return array_push(&scan->unseen, name);
}

static void note_import(struct scan *scan, const char *name)
{
	static const char *const allocates[] = {
		"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign",
	};

	for (size_t i = 0; i < sizeof(allocates) / sizeof(allocates[0]); i++)
		if (strcmp(name, allocates[i]) == 0)
			scan->markers |= MARK_IMPORTS_MALLOC;
	if (strcmp(name, "free") == 0)
		scan->markers |= MARK_IMPORTS_FREE;
}

static int take_symbol(void *arg, const struct elf_symbol *symbol)
{
	struct scan *scan = arg;
	size_t len = strcspn(symbol->name, "@");
	struct alloc_name found;
	int err;

	if (len > scan->name_max)
		return 0;
	memcpy(scan->name, symbol->name, len);
	scan->name[len] = '\0';
	if (!symbol->is_defined) {
		note_import(scan, scan->name);
		return 0;
	}
	if (symbol->type == STT_NOTYPE)
		return 0;
	err = note_definition(scan, scan->name);
	if (err || !scan__find_name(scan, scan->name, &found))
		return err;
	if (found.family == FAMILY_UNSEEN)
		return add_unseen(scan, found.name);
	if (scan->allocs->skipped.cnt > MAX_CANDIDATES)
		return -EBADMSG;
	return add_candidate(scan, symbol, &found);
}

/* ---- one candidate per function ------------------------------------------------------------- */

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;
	size_t left_len = strlen(left->symbol), right_len = strlen(right->symbol);

	if (left->off != right->off)
		return left->off < right->off ? -1 : 1;
	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	if (left_len != right_len)
		return left_len < right_len ? -1 : 1;
	return strcmp(right->symbol, left->symbol); /* _Znwm before _Znam, _ZdlPv before _ZdaPv */
}

static int merge_aliases(struct scan *scan)
{
	size_t kept = 0;
	int err = 0;

	if (scan->candidates.cnt)
		qsort(scan->candidates.items, scan->candidates.cnt, sizeof(struct candidate),
		      compare_candidates);
	for (size_t i = 0; i < scan->candidates.cnt; i++) {
		struct candidate *candidate = &scan->candidates.items[i];
		struct candidate *first = kept ? &scan->candidates.items[kept - 1] : NULL;

		if (!first || first->off != candidate->off) {
			scan->candidates.items[kept++] = *candidate;
			continue;
		}
		if (!err && first->cookie != candidate->cookie)
			err = scan__lose(
				scan,
				"%s is the same code as %s, with other arguments: followed as %s",
				candidate->symbol, first->symbol, first->symbol);
		if (candidate->size > first->size)
			first->size = candidate->size;
		free(candidate->symbol);
	}
	scan->candidates.cnt = kept;
	if (!err && kept > MAX_SITES)
		err = -EBADMSG;
	return err;
}

struct candidate *scan__last_until(const struct scan *scan, uint64_t off)
{
	size_t low = 0, high = scan->candidates.cnt;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scan->candidates.items[middle].off <= off)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &scan->candidates.items[low - 1] : NULL;
}

/* For functions without a size: they end at the next symbol at the latest. */
static int take_next(void *arg, const struct elf_symbol *symbol)
{
	struct scan *scan = arg;
	struct candidate *before;
	uint64_t off, avail;

	if (!symbol->is_defined ||
	    !elf_segments__offset(&scan->file->image.segments, symbol->value, true, &off, &avail) ||
	    !off)
		return 0;
	before = scan__last_until(scan, off - 1);
	if (before && off < before->next)
		before->next = off;
	return 0;
}

static size_t longest_name(const struct elf_allocs_opts *opts, size_t prefix_len)
{
	size_t longest = MAX_ALLOC_NAME + prefix_len;

	for (size_t i = 0; i < opts->user_fn_cnt; i++) {
		size_t len = strlen(opts->user_fns[i].name);

		longest = len > longest ? len : longest;
	}
	return longest + MAX_VERSION_LEN;
}

int scan__run(struct scan *scan)
{
	bool any_unsized = false;
	int err;

	scan->prefix_len = scan->opts->prefix ? strlen(scan->opts->prefix) : 0;
	scan->name_max = longest_name(scan->opts, scan->prefix_len);
	scan->name = malloc(scan->name_max + 1);
	if (!scan->name)
		return -ENOMEM;
	err = elf_file__each_symbol(scan->file, scan->name_max, take_symbol, scan);
	if (!err)
		err = merge_aliases(scan);
	for (size_t i = 0; i < scan->candidates.cnt; i++)
		any_unsized |= !scan->candidates.items[i].size;
	if (!err && any_unsized)
		err = elf_file__each_symbol(scan->file, scan->name_max, take_next, scan);
	return err;
}

void scan__free(struct scan *scan)
{
	for (size_t i = 0; i < scan->candidates.cnt; i++)
		free(scan->candidates.items[i].symbol);
	array_free(&scan->candidates);
	array_free(&scan->unseen);
	free(scan->other_prefix);
	free(scan->name);
}
