/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/call.h"

void call__read(struct call call, const struct snapshot *snap, const struct symbol *symbols,
		struct call_info *ret)
{
	uint32_t frame = snap->nodes.items[call.node].frame;
	const struct symbol *symbol = symbols ? &symbols[frame] : NULL;

	*ret = (struct call_info){.frame = frame};
	if (snap->frames.items[frame].kind == FRAME_PYTHON) {
		uint32_t code = snap->frames.items[frame].module;

		ret->is_python = true;
		ret->first_line = code == SNAP_NONE ? 0 : snap->codes.items[code].first_line;
	}
	if (!symbol)
		return;
	if (call.idx < symbol->inline_cnt) {
		ret->function = symbol->inlines[call.idx].function;
		ret->file = symbol->inlines[call.idx].file;
		ret->line = symbol->inlines[call.idx].line;
		ret->inlined = true;
	} else {
		ret->function = symbol->function;
		ret->file = symbol->file;
		ret->line = symbol->line;
	}
}

struct call call__next(struct call call, const struct snapshot *snap, const struct symbol *symbols)
{
	const struct snap_node *node = &snap->nodes.items[call.node];

	if (call.idx < frame_inline_cnt(symbols, node->frame))
		call.idx++;
	else
		call = (struct call){.node = node->parent, .in_python = call.in_python};
	return call;
}

const char *frame_module_path(const struct snapshot *snap, uint32_t frame)
{
	const struct snap_frame *item = &snap->frames.items[frame];

	if (item->kind == FRAME_PYTHON || item->module == SNAP_NONE)
		return NULL;
	return snap->modules.items[item->module].path;
}
