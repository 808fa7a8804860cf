// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A batch has these passes over the frames of a snapshot:
 *
 *   open      module -> source: symbol tables are read, debug files are found at first use
 *   look up   (source, address) -> entry; new ones get the name that the symbol tables know
 *   lines     new entries of each source with DWARF, and those that an earlier batch had no time
 *             for, in one sandboxed child for each: lines, inlined calls, and the name where the
 *             symbol tables have none
 *   show      names that no earlier batch has seen are demangled, all at once
 *   answer    one struct symbol a frame, copied from its entry
 *
 * A Python frame has its name in the snapshot and takes no part in the rest.
 *
 * The symbol table's name is the name of the function: the linker kept it, and it tells clones
 * apart. Entries are kept for the next snapshot, and nothing is forgotten before symbolizer__free:
 * answers point into entries and pools.
 */
#include "symbolize/symbolizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbolize/debug_file.h"
#include "symbolize/demangle.h"
#include "symbolize/frame_cache.h"
#include "symbolize/kernel_symbols.h"
#include "symbolize/sources.h"

struct symbolizer {
	struct sources sources;
	struct frame_cache cache;
	const char *kallsyms;
	struct kernel_symbols *kernel; /* read when the first kernel frame comes */
	bool kernel_tried;
	char *debug_root_copy, *kallsyms_copy;
};

/* What a batch knows of a module of its snapshot. */
struct module_state {
	uint32_t source;
	enum symbol_reason reason;
	bool opened;
};

struct batch {
	struct symbolizer *symbolizer;
	const struct snapshot *snap;
	struct module_state *modules;
	uint32_t *entries; /* one for each frame, or NO_ENTRY: its reason is in `symbols` */
	struct symbol *symbols;
	uint64_t cpu_ns; /* for lines */
	struct late_lines late;
};

struct symbolizer *symbolizer__new(void)
{
	return symbolizer__new_at(DEBUG_ROOT, KALLSYMS);
}

struct symbolizer *symbolizer__new_at(const char *debug_root, const char *kallsyms)
{
	struct symbolizer *symbolizer = calloc(1, sizeof(*symbolizer));

	if (!symbolizer)
		return NULL;
	symbolizer->debug_root_copy = strdup(debug_root);
	symbolizer->kallsyms_copy = strdup(kallsyms);
	if (!symbolizer->debug_root_copy || !symbolizer->kallsyms_copy) {
		symbolizer__free(symbolizer);
		return NULL;
	}
	symbolizer->sources.vdso = NO_SOURCE;
	symbolizer->sources.debug_root = symbolizer->debug_root_copy;
	symbolizer->kallsyms = symbolizer->kallsyms_copy;
	return symbolizer;
}

void symbolizer__free(struct symbolizer *symbolizer)
{
	if (!symbolizer)
		return;
	sources__free(&symbolizer->sources);
	frame_cache__free(&symbolizer->cache);
	kernel_symbols__free(symbolizer->kernel);
	free(symbolizer->debug_root_copy);
	free(symbolizer->kallsyms_copy);
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
	case SYMBOL_KERNEL:
		return "hidden: kernel addresses are not shown (kernel.kptr_restrict, CAP_SYSLOG)";
	case SYMBOL_LOST:
		return "lost: there was no room to tell of this Python function";
	}
	return "unknown";
}

const char *line_reason__text(enum line_reason reason)
{
	switch (reason) {
	case LINE_FOUND:
		return "found";
	case LINE_NO_DEBUG_INFO:
		return "no debug information, neither in the file nor in a separate one";
	case LINE_GAP:
		return "the debug information has no line for this address";
	case LINE_BROKEN:
		return "the debug information is damaged or takes too long to read";
	case LINE_LATE:
		return "there was no time yet to read the debug information";
	}
	return "unknown";
}

/* ---- open ----------------------------------------------------------------------------------- */

static int open_modules(struct batch *batch)
{
	const struct snapshot *snap = batch->snap;
	const struct snap_frame *frame;
	struct module_state *module;
	int err = 0;

	for (size_t i = 0; i < snap->frames.cnt && !err; i++) {
		frame = &snap->frames.items[i];
		if (frame->kind != FRAME_NATIVE || frame->module >= snap->modules.cnt)
			continue;
		module = &batch->modules[frame->module];
		if (!module->opened)
			err = sources__open(&batch->symbolizer->sources,
					    &snap->modules.items[frame->module], &module->source,
					    &module->reason);
		module->opened = true;
	}
	return err;
}

/* What came from a server makes new sources. */
static int open_sources(struct batch *batch)
{
	bool any;
	int err;

	err = open_modules(batch);
	if (!err)
		err = sources__fetch(&batch->symbolizer->sources, &any);
	if (err || !any)
		return err;
	for (size_t i = 0; i < batch->snap->modules.cnt; i++)
		batch->modules[i].opened = false;
	return open_modules(batch);
}

/* ---- look up -------------------------------------------------------------------------------- */

static int name_kernel_entry(struct symbolizer *symbolizer, struct cached_frame *entry)
{
	const char *name;
	uint64_t start;
	int err = 0;

	if (!symbolizer->kernel_tried)
		err = kernel_symbols__read(symbolizer->kallsyms, &symbolizer->kernel);
	if (err == -ENOMEM)
		return err;
	symbolizer->kernel_tried = true;
	entry->symbol.reason = symbolizer->kernel ? SYMBOL_GAP : SYMBOL_KERNEL;
	if (!symbolizer->kernel ||
	    !kernel_symbols__find(symbolizer->kernel, entry->address, &name, &start))
		return 0;
	entry->symbol.function_offset = entry->address + 1 - start;
	return frame_cache__name(&symbolizer->cache, entry, name);
}

static int name_entry(struct symbolizer *symbolizer, const struct source *source,
		      struct cached_frame *entry)
{
	struct elf_function function;
	char *name;
	int err;

	entry->symbol.reason = source->reason == SYMBOL_FOUND ? SYMBOL_GAP : source->reason;
	if (!elf_symbols__find(source->symbols, entry->address, &function))
		return 0;
	name = symbol_name__copy(function.name);
	if (!name)
		return -ENOMEM;
	entry->symbol.function_offset = entry->address + 1 - function.start;
	err = frame_cache__name(&symbolizer->cache, entry, name);
	free(name);
	return err;
}

/* Finds or makes the entry of a frame in a source, or in the kernel. */
static int find_entry(struct batch *batch, uint32_t source, uint64_t address, uint32_t *ret_entry)
{
	struct symbolizer *symbolizer = batch->symbolizer;
	struct cached_frame *entry;
	bool is_new;
	int err;

	err = frame_cache__find(&symbolizer->cache, source, address, ret_entry, &is_new);
	if (err || !is_new)
		return err;
	entry = &symbolizer->cache.frames.items[*ret_entry];
	if (source == KERNEL_SOURCE)
		return name_kernel_entry(symbolizer, entry);
	return name_entry(symbolizer, &symbolizer->sources.list.items[source], entry);
}

/* The interpreter has told everything. */
static void name_python_frame(const struct snapshot *snap, const struct snap_frame *frame,
			      struct symbol *symbol)
{
	const struct snap_code *code;

	symbol->line_reason = LINE_GAP;
	symbol->reason = SYMBOL_LOST;
	if (frame->module >= snap->codes.cnt)
		return;
	code = &snap->codes.items[frame->module];
	symbol->function = code->function;
	symbol->file = strcmp(code->file, "?") ? code->file : NULL; /* could not be read */
	symbol->reason = SYMBOL_FOUND;
	if (!frame->offset || frame->offset > UINT32_MAX)
		return;
	symbol->line = frame->offset;
	symbol->line_reason = LINE_FOUND;
}

static int look_up(struct batch *batch, size_t index)
{
	const struct snap_frame *frame = &batch->snap->frames.items[index];
	const struct module_state *module;
	struct symbol *symbol = &batch->symbols[index];
	const struct source *source;
	uint64_t address;

	batch->entries[index] = NO_ENTRY;
	if (frame->kind == FRAME_PYTHON) {
		name_python_frame(batch->snap, frame, symbol);
		return 0;
	}
	symbol->line_reason = LINE_NO_DEBUG_INFO;
	symbol->reason = frame->kind == FRAME_NATIVE ? SYMBOL_NO_MODULE : SYMBOL_GAP;
	/*
	 * One byte before the return address is the call: it may be the last instruction of its
	 * function.
	 */
	if (frame->kind == FRAME_KERNEL && frame->offset)
		return find_entry(batch, KERNEL_SOURCE, frame->offset - 1, &batch->entries[index]);
	if (frame->kind != FRAME_NATIVE || frame->module >= batch->snap->modules.cnt)
		return 0;
	module = &batch->modules[frame->module];
	symbol->reason = module->reason;
	if (module->source == NO_SOURCE)
		return 0;
	source = &batch->symbolizer->sources.list.items[module->source];
	symbol->reason = source->reason == SYMBOL_FOUND ? SYMBOL_GAP : source->reason;
	if (!source->symbols || !frame->offset ||
	    !elf_symbols__address(source->symbols, frame->offset - 1, &address))
		return 0;
	return find_entry(batch, module->source, address, &batch->entries[index]);
}

/* ---- the batch ------------------------------------------------------------------------------ */

static int resolve(struct batch *batch)
{
	struct frame_cache *cache = &batch->symbolizer->cache;
	int err;

	err = open_sources(batch);
	for (size_t i = 0; i < batch->snap->frames.cnt && !err; i++)
		err = look_up(batch, i);
	if (!err)
		err = frame_cache__read_lines(cache, &batch->symbolizer->sources, batch->cpu_ns,
					      &batch->late);
	if (!err)
		err = frame_cache__finish(cache);
	for (size_t i = 0; i < batch->snap->frames.cnt && !err; i++)
		if (batch->entries[i] != NO_ENTRY)
			batch->symbols[i] = cache->frames.items[batch->entries[i]].symbol;
	return err;
}

int symbolizer__resolve(struct symbolizer *symbolizer, const struct snapshot *snap,
			struct symbol **ret_symbols)
{
	struct late_lines late;

	return symbolizer__resolve_within(symbolizer, snap, UINT64_MAX, ret_symbols, &late);
}

int symbolizer__resolve_within(struct symbolizer *symbolizer, const struct snapshot *snap,
			       uint64_t cpu_ns, struct symbol **ret_symbols,
			       struct late_lines *ret_late)
{
	struct batch batch = {.symbolizer = symbolizer, .snap = snap, .cpu_ns = cpu_ns};
	int err = -ENOMEM;

	batch.modules = calloc(snap->modules.cnt + 1, sizeof(*batch.modules));
	batch.entries = calloc(snap->frames.cnt + 1, sizeof(*batch.entries));
	batch.symbols = calloc(snap->frames.cnt + 1, sizeof(*batch.symbols));
	if (!batch.modules || !batch.entries || !batch.symbols)
		goto cleanup;
	err = resolve(&batch);
	if (err)
		goto cleanup;
	*ret_symbols = batch.symbols;
	*ret_late = batch.late;
	batch.symbols = NULL;
cleanup:
	free(batch.modules);
	free(batch.entries);
	free(batch.symbols);
	return err;
}
