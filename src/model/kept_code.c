/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/kept_code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct keeping {
	struct kept_code *kept;
	const struct sweep *sweep;
	uint32_t *modules; /* of each of the sweep's modules the kept one, SNAP_NONE = none yet */
	size_t symbol_cap;
};

/* ---- names ---- */

/* Replaces a text by a copy that is kept, NULL stays. Returns 0 or -ENOMEM. */
static int keep_text(struct kept_code *kept, const char **text)
{
	char *copy;

	if (!*text)
		return 0;
	copy = strdup(*text);
	if (!copy || array_push(&kept->texts, copy)) {
		free(copy);
		return -ENOMEM;
	}
	*text = copy;
	return 0;
}

static int keep_inlines(struct kept_code *kept, struct symbol *symbol)
{
	struct symbol_inline *inlines;
	int err = 0;

	if (!symbol->inline_cnt)
		return 0;
	inlines = calloc(symbol->inline_cnt, sizeof(*inlines));
	if (!inlines || array_push(&kept->inlines, inlines)) {
		free(inlines);
		return -ENOMEM;
	}
	memcpy(inlines, symbol->inlines, symbol->inline_cnt * sizeof(*inlines));
	for (uint32_t i = 0; i < symbol->inline_cnt && !err; i++) {
		err = keep_text(kept, &inlines[i].function);
		if (!err)
			err = keep_text(kept, &inlines[i].file);
	}
	symbol->inlines = inlines;
	return err;
}

/* Names the frame that was added last. */
static int keep_symbol(struct keeping *keeping, const struct symbol *from)
{
	struct kept_code *kept = keeping->kept;
	size_t index = kept->snap->frames.cnt - 1;
	struct symbol *symbol;
	int err;

	err = array_grow((void **)&kept->symbols, index, &keeping->symbol_cap, sizeof(*symbol));
	if (err)
		return err;
	symbol = &kept->symbols[index];
	*symbol = *from;
	err = keep_text(kept, &symbol->function);
	if (!err)
		err = keep_text(kept, &symbol->file);
	return err ? err : keep_inlines(kept, symbol);
}

/* ---- stacks ---- */

/* Returns the kept module, SNAP_NONE = no memory. */
static uint32_t keep_module(struct keeping *keeping, uint32_t index)
{
	const struct snap_module *module = &keeping->sweep->snap->modules.items[index];
	struct snapshot *snap = keeping->kept->snap;
	uint32_t kept = keeping->modules[index];

	if (kept != SNAP_NONE)
		return kept;
	kept = snapshot__add_module(snap, module->path, module->dev, module->ino, module->build_id,
				    module->build_id_len, -1);
	if (kept != SNAP_NONE)
		snap->modules.items[kept].is_interpreter = module->is_interpreter;
	keeping->modules[index] = kept;
	return kept;
}

/* Returns the kept frame, SNAP_NONE = no memory. */
static uint32_t keep_frame(struct keeping *keeping, uint32_t index)
{
	const struct snapshot *from = keeping->sweep->snap;
	const struct snap_frame *frame = &from->frames.items[index];
	struct snapshot *snap = keeping->kept->snap;
	size_t known = snap->frames.cnt;
	const struct snap_code *code;
	uint32_t module = SNAP_NONE, kept;

	if (frame->kind == FRAME_PYTHON && frame->module < from->codes.cnt) {
		code = &from->codes.items[frame->module];
		module = snapshot__add_code(snap, code->file, code->function, code->first_line);
	} else if (frame->kind != FRAME_PYTHON && frame->module < from->modules.cnt) {
		module = keep_module(keeping, frame->module);
	}
	if (module == SNAP_NONE && frame->module != SNAP_NONE)
		return SNAP_NONE;
	kept = snapshot__add_frame(snap, frame->kind, module, frame->offset);
	if (kept != SNAP_NONE && snap->frames.cnt > known && keeping->sweep->symbols &&
	    keep_symbol(keeping, &keeping->sweep->symbols[index]))
		return SNAP_NONE;
	return kept;
}

static int keep_stack(struct keeping *keeping, uint32_t node, uint32_t *ret_node)
{
	const struct snapshot *from = keeping->sweep->snap;
	uint32_t frames[MAX_KEPT_FRAMES];
	size_t cnt = 0;

	for (; node && node < from->nodes.cnt && cnt < MAX_KEPT_FRAMES;
	     node = from->nodes.items[node].parent) {
		frames[cnt] = keep_frame(keeping, from->nodes.items[node].frame);
		if (frames[cnt++] == SNAP_NONE)
			return -ENOMEM;
	}
	*ret_node = snapshot__add_stack(keeping->kept->snap, frames, cnt);
	return *ret_node == SNAP_NONE ? -ENOMEM : 0;
}

/* ---- the code ---- */

static int keep_sites(struct keeping *keeping, const struct sweep_code *from)
{
	size_t stacks = 0;
	int err = 0;

	for (size_t i = 0; i < from->sites.cnt && !err; i++) {
		struct sweep_site site = from->sites.items[i];
		uint32_t node = site.stack;

		site.stack = 0;
		if (site.verdict.state == COHORT_GROWING && stacks++ < MAX_KEPT_STACKS)
			err = keep_stack(keeping, node, &site.stack);
		if (!err)
			err = array_push(&keeping->kept->code->sites, site);
	}
	return err;
}

static int keep_touches(struct keeping *keeping, const struct sweep_code *from)
{
	int err = 0;

	for (size_t i = 0; i < from->touches.cnt && i < MAX_KEPT_STACKS && !err; i++) {
		struct sweep_touch touch = from->touches.items[i];

		err = keep_stack(keeping, touch.stack, &touch.stack);
		if (!err)
			err = array_push(&keeping->kept->code->touches, touch);
	}
	return err;
}

/* Returns a copy without sites and touches, NULL = no memory. */
static struct sweep_code *copy_code(const struct sweep_code *from)
{
	struct sweep_code *code = calloc(1, sizeof(*code));

	if (!code)
		return NULL;
	*code = *from;
	memset(&code->sites, 0, sizeof(code->sites));
	memset(&code->touches, 0, sizeof(code->touches));
	code->obstacle = strdup(from->obstacle);
	if (code->obstacle)
		return code;
	free(code);
	return NULL;
}

static int keep_code(struct keeping *keeping, const struct sweep_code *from)
{
	int err;

	keeping->kept->code = copy_code(from);
	err = keeping->kept->code ? keep_sites(keeping, from) : -ENOMEM;
	return err ? err : keep_touches(keeping, from);
}

static int keep(struct keeping *keeping, const struct sweep_row *row)
{
	size_t module_cnt = keeping->sweep->snap->modules.cnt;
	int err;

	keeping->kept->snap = snapshot__new("sweep");
	if (!keeping->kept->snap)
		return -ENOMEM;
	keeping->modules = malloc((module_cnt + 1) * sizeof(*keeping->modules));
	if (!keeping->modules)
		return -ENOMEM;
	for (size_t i = 0; i < module_cnt; i++)
		keeping->modules[i] = SNAP_NONE;
	err = keep_code(keeping, row->code);
	free(keeping->modules);
	return err;
}

struct kept_code *kept_code__new(const struct sweep *sweep, const struct sweep_row *row)
{
	struct keeping keeping = {.kept = calloc(1, sizeof(*keeping.kept)), .sweep = sweep};

	if (!keeping.kept)
		return NULL;
	*keeping.kept = (struct kept_code){
		.refs = 1,
		.pid = row->pid,
		.start_ns = row->start_ns,
		.growth_per_hour = row->growth.bytes_per_hour,
	};
	if (!keep(&keeping, row))
		return keeping.kept;
	kept_code__put(keeping.kept);
	return NULL;
}

struct kept_code *kept_code__ref(struct kept_code *kept)
{
	kept->refs++;
	return kept;
}

struct kept_code *kept_code__share(struct kept_code *kept)
{
	struct kept_code *other = calloc(1, sizeof(*other));
	int err;

	if (!other)
		return NULL;
	*other = (struct kept_code){
		.refs = 1,
		.pid = kept->pid,
		.start_ns = kept->start_ns,
		.growth_per_hour = kept->growth_per_hour,
		.snap = kept->snap,
		.symbols = kept->symbols,
		.code = copy_code(kept->code),
		.whole = kept_code__ref(kept),
	};
	err = other->code ? 0 : -ENOMEM;
	for (size_t i = 0; i < kept->code->sites.cnt && !err; i++)
		err = array_push(&other->code->sites, kept->code->sites.items[i]);
	for (size_t i = 0; i < kept->code->touches.cnt && !err; i++)
		err = array_push(&other->code->touches, kept->code->touches.items[i]);
	if (!err)
		return other;
	kept_code__put(other);
	return NULL;
}

static void free_stacks(struct kept_code *kept)
{
	snapshot__free(kept->snap);
	free(kept->symbols);
	for (size_t i = 0; i < kept->texts.cnt; i++)
		free(kept->texts.items[i]);
	for (size_t i = 0; i < kept->inlines.cnt; i++)
		free(kept->inlines.items[i]);
	array_free(&kept->texts);
	array_free(&kept->inlines);
}

void kept_code__put(struct kept_code *kept)
{
	if (!kept || --kept->refs)
		return;
	if (kept->whole)
		kept_code__put(kept->whole);
	else
		free_stacks(kept);
	sweep_code__free(kept->code);
	free(kept);
}
