/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch has three passes over the frames of a snapshot:
 *
 *   look up    module -> file (its table is read at first use) -> function -> entry of `names`
 *   demangle   the names that no earlier batch has seen, all at once
 *   answer     one struct symbol a frame
 *
 * Files are told apart by descriptor, not by path: (device, inode, size, modification time), so
 * processes and snapshots share tables and a replaced library gets its own. Nothing is forgotten
 * before symbolizer__free: the answers point into `names`.
 */
#include "symbolize/symbolizer.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "symbolize/debug_file.h"
#include "symbolize/demangle.h"
#include "symbolize/elf_symbols.h"
#include "util/array.h"
#include "util/hashmap.h"
#include "util/regular_file.h"

#define NO_INDEX UINT32_MAX
#define MAX_VDSO_SIZE (64U << 10)

struct source {
	struct file_identity identity;
	struct elf_symbols *symbols; /* NULL unless reason is SYMBOL_FOUND */
	enum symbol_reason reason;
	uint32_t next; /* an older state of the same inode, or NO_INDEX */
};

struct symbolizer {
	ARRAY(struct source) sources;
	struct hashmap source_index; /* (dev, ino) -> newest source */
	ARRAY(char *) names;	     /* as shown */
	size_t new_names;	     /* names from here on are not demangled yet */
	struct hashmap name_index;   /* (source, elf_function.name_id) -> name */
	uint32_t vdso;		     /* source, or NO_INDEX */
};

/* What the first pass leaves for the last. */
struct lookup {
	uint32_t name; /* or NO_INDEX */
	uint64_t function_offset;
	enum symbol_reason reason;
};

struct symbolizer *symbolizer__new(void)
{
	struct symbolizer *symbolizer = calloc(1, sizeof(*symbolizer));

	if (symbolizer)
		symbolizer->vdso = NO_INDEX;
	return symbolizer;
}

void symbolizer__free(struct symbolizer *symbolizer)
{
	if (!symbolizer)
		return;
	for (size_t i = 0; i < symbolizer->sources.cnt; i++)
		elf_symbols__free(symbolizer->sources.items[i].symbols);
	for (size_t i = 0; i < symbolizer->names.cnt; i++)
		free(symbolizer->names.items[i]);
	array_free(&symbolizer->sources);
	array_free(&symbolizer->names);
	hashmap__free(&symbolizer->source_index);
	hashmap__free(&symbolizer->name_index);
	free(symbolizer);
}

const char *symbol_reason__text(enum symbol_reason reason)
{
	switch (reason) {
	case SYMBOL_FOUND:
		return "found";
	case SYMBOL_NO_MODULE:
		return "unmapped: the address lay in no known mapping";
	case SYMBOL_ANONYMOUS:
		return "anonymous: code made at run time";
	case SYMBOL_UNREADABLE:
		return "unreadable: the file could not be read as a 64-bit ELF file";
	case SYMBOL_STRIPPED:
		return "stripped: no symbol table and no debug file";
	case SYMBOL_GAP:
		return "gap: no symbol covers the address";
	}
	return "unknown";
}

/* Takes `symbols` over. Returns the index of the new source, or NO_INDEX (no memory). */
static uint32_t add_source(struct symbolizer *symbolizer, struct elf_symbols *symbols, int err)
{
	struct source source = {.symbols = symbols, .next = NO_INDEX};

	if (err)
		source.reason = SYMBOL_UNREADABLE;
	else if (elf_symbols__empty(symbols))
		source.reason = SYMBOL_STRIPPED;
	if (source.reason != SYMBOL_FOUND) {
		elf_symbols__free(symbols);
		source.symbols = NULL;
	}
	if (symbolizer->sources.cnt >= NO_INDEX || array_push(&symbolizer->sources, source)) {
		elf_symbols__free(source.symbols);
		return NO_INDEX;
	}
	return (uint32_t)symbolizer->sources.cnt - 1;
}

static bool same_contents(const struct file_identity *a, const struct file_identity *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns;
}

/*
 * Finds or makes the source of a file. Returns 0 or -ENOMEM; *ret_source is NO_INDEX when it cannot
 * be read.
 */
static int find_source(struct symbolizer *symbolizer, const struct snap_module *module,
		       uint32_t *ret_source)
{
	struct elf_symbols *symbols = NULL;
	struct file_identity identity;
	uint32_t i, newest = NO_INDEX;
	uint64_t *slot;
	bool is_new;
	int err;

	*ret_source = NO_INDEX;
	if (module->fd < 0 || file_identity__read(module->fd, &identity))
		return 0;
	slot = hashmap__insert(&symbolizer->source_index, identity.dev, identity.ino, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new)
		*slot = NO_INDEX;
	newest = (uint32_t)*slot;
	for (i = newest; i != NO_INDEX; i = symbolizer->sources.items[i].next)
		if (same_contents(&symbolizer->sources.items[i].identity, &identity))
			break;
	if (i == NO_INDEX) {
		err = elf_symbols__load(module->fd, module->path, DEBUG_ROOT, &symbols);
		i = add_source(symbolizer, symbols, err);
		if (i == NO_INDEX)
			return -ENOMEM;
		symbolizer->sources.items[i].identity = identity;
		symbolizer->sources.items[i].next = newest;
		*slot = i;
	}
	*ret_source = i;
	return 0;
}

/* All processes share the kernel's vdso, so this process's own serves for every one. */
static int find_vdso(struct symbolizer *symbolizer, uint32_t *ret_source)
{
	const Elf64_Ehdr *image = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	struct elf_symbols *symbols = NULL;
	int err = -ENOENT;
	uint64_t size;

	if (symbolizer->vdso == NO_INDEX) {
		/* Section headers come last in it. */
		size = image ? image->e_shoff + (uint64_t)image->e_shnum * image->e_shentsize : 0;
		if (size && size <= MAX_VDSO_SIZE)
			err = elf_symbols__load_image(image, size, &symbols);
		symbolizer->vdso = add_source(symbolizer, symbols, err);
		if (symbolizer->vdso == NO_INDEX)
			return -ENOMEM;
	}
	*ret_source = symbolizer->vdso;
	return 0;
}

/*
 * Returns 0 or -ENOMEM. *ret_source is NO_INDEX when there is nothing to look into, *ret_reason
 * then says why.
 */
static int open_module(struct symbolizer *symbolizer, const struct snap_module *module,
		       uint32_t *ret_source, enum symbol_reason *ret_reason)
{
	const char *path = module->path ? module->path : "[unknown]";

	*ret_source = NO_INDEX;
	*ret_reason = SYMBOL_UNREADABLE;
	if (!strcmp(path, "[vdso]"))
		return find_vdso(symbolizer, ret_source);
	if (!strcmp(path, "[unknown]"))
		*ret_reason = SYMBOL_NO_MODULE;
	else if (path[0] == '[')
		*ret_reason = SYMBOL_ANONYMOUS;
	else
		return find_source(symbolizer, module, ret_source);
	return 0;
}

static int find_name(struct symbolizer *symbolizer, uint32_t source,
		     const struct elf_function *function, uint32_t *ret_name)
{
	uint64_t *slot;
	bool is_new;
	char *name;

	slot = hashmap__find(&symbolizer->name_index, source, function->name_id);
	if (slot) {
		*ret_name = (uint32_t)*slot;
		return 0;
	}
	name = symbol_name__copy(function->name);
	if (!name)
		return -ENOMEM;
	if (symbolizer->names.cnt >= NO_INDEX || array_push(&symbolizer->names, name)) {
		free(name);
		return -ENOMEM;
	}
	slot = hashmap__insert(&symbolizer->name_index, source, function->name_id, &is_new);
	if (!slot)
		return -ENOMEM;
	*slot = symbolizer->names.cnt - 1;
	*ret_name = (uint32_t)*slot;
	return 0;
}

static int look_up(struct symbolizer *symbolizer, uint32_t source_id, uint64_t offset,
		   struct lookup *ret_lookup)
{
	const struct source *source = &symbolizer->sources.items[source_id];
	struct elf_function function;
	uint64_t address;

	*ret_lookup = (struct lookup){.name = NO_INDEX, .reason = source->reason};
	if (source->reason != SYMBOL_FOUND)
		return 0;
	/*
	 * One byte before the return address is the call: it may be the last instruction of its
	 * function.
	 */
	if (!offset || !elf_symbols__address(source->symbols, offset - 1, &address) ||
	    !elf_symbols__find(source->symbols, address, &function)) {
		ret_lookup->reason = SYMBOL_GAP;
		return 0;
	}
	ret_lookup->function_offset = address + 1 - function.start;
	return find_name(symbolizer, source_id, &function, &ret_lookup->name);
}

/* Demangles what is new. A failure leaves the names as the file has them. */
static int demangle_new(struct symbolizer *symbolizer)
{
	size_t first = symbolizer->new_names, cnt = symbolizer->names.cnt;
	char **texts = NULL, *name;
	ARRAY(const char *) mangled = {0};
	int err = -ENOMEM;

	for (size_t i = first; i < cnt; i++)
		if (is_mangled(symbolizer->names.items[i]) &&
		    array_push(&mangled, symbolizer->names.items[i]))
			goto cleanup;
	if (mangled.cnt) {
		texts = calloc(mangled.cnt, sizeof(*texts));
		if (!texts)
			goto cleanup;
		err = demangle_names(mangled.items, mangled.cnt, texts);
		if (err == -ENOMEM)
			goto cleanup;
	}
	for (size_t i = first, k = 0; i < cnt; i++) {
		name = symbolizer->names.items[i];
		if (k < mangled.cnt && mangled.items[k] == name && texts[k++]) {
			symbolizer->names.items[i] = texts[k - 1];
			free(name);
		}
		clean_text(symbolizer->names.items[i]);
	}
	symbolizer->new_names = cnt;
	err = 0;
cleanup:
	free(texts);
	array_free(&mangled);
	return err;
}

struct module_state {
	uint32_t source;
	enum symbol_reason reason;
	bool opened;
};

static int look_up_frame(struct symbolizer *symbolizer, const struct snapshot *snap,
			 const struct snap_frame *frame, struct module_state *modules,
			 struct lookup *ret_lookup)
{
	struct module_state *module;
	int err;

	*ret_lookup = (struct lookup){.name = NO_INDEX, .reason = SYMBOL_NO_MODULE};
	if (frame->kind != FRAME_NATIVE) {
		ret_lookup->reason = SYMBOL_GAP;
		return 0;
	}
	if (frame->module >= snap->modules.cnt)
		return 0;
	module = &modules[frame->module];
	if (!module->opened) {
		err = open_module(symbolizer, &snap->modules.items[frame->module], &module->source,
				  &module->reason);
		if (err)
			return err;
		module->opened = true;
	}
	ret_lookup->reason = module->reason;
	if (module->source == NO_INDEX)
		return 0;
	return look_up(symbolizer, module->source, frame->offset, ret_lookup);
}

int symbolizer__resolve(struct symbolizer *symbolizer, const struct snapshot *snap,
			struct symbol **ret_symbols)
{
	struct module_state *modules = calloc(snap->modules.cnt + 1, sizeof(*modules));
	struct lookup *lookups = calloc(snap->frames.cnt + 1, sizeof(*lookups));
	struct symbol *symbols = calloc(snap->frames.cnt + 1, sizeof(*symbols));
	int err = -ENOMEM;

	if (!modules || !lookups || !symbols)
		goto cleanup;
	for (size_t i = 0; i < snap->frames.cnt; i++) {
		err = look_up_frame(symbolizer, snap, &snap->frames.items[i], modules, &lookups[i]);
		if (err)
			goto cleanup;
	}
	err = demangle_new(symbolizer);
	if (err)
		goto cleanup;
	for (size_t i = 0; i < snap->frames.cnt; i++) {
		symbols[i].reason = lookups[i].reason;
		symbols[i].function_offset = lookups[i].function_offset;
		if (lookups[i].name != NO_INDEX)
			symbols[i].function = symbolizer->names.items[lookups[i].name];
	}
	*ret_symbols = symbols;
	symbols = NULL;
cleanup:
	free(modules);
	free(lookups);
	free(symbols);
	return err;
}
