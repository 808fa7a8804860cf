/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/fold.h"

#include <stdlib.h>

#include "model/runtime_names.h"

bool is_runtime_function(const char *function, const char *file, const char *module)
{
	struct function_name name;

	if (module && is_runtime_module(module))
		return true;
	if (!function)
		return false;
	function_name__parse(function, &name);
	return is_allocator_name(function, &name) || is_library_name(&name, module) ||
	       is_cxx_runtime(&name) || is_rust_runtime(&name) ||
	       (file && is_library_source(file, &name));
}

/* What a frame is to the stacks that run through it. */
struct frame_fold {
	uint32_t runtime_cnt; /* calls at its leaf side that are runtime */
	bool whole;	      /* all of them are */
	bool is_root;
};

static void read_frame(const struct snapshot *snap, const struct symbol *symbols, uint32_t frame,
		       struct frame_fold *ret)
{
	uint32_t cnt = frame_inline_cnt(symbols, frame) + 1;
	const char *function = symbols ? symbols[frame].function : NULL;
	const char *module = frame_module_path(snap, frame);

	*ret = (struct frame_fold){0};
	if (snap->frames.items[frame].kind != FRAME_NATIVE)
		return;
	while (ret->runtime_cnt < cnt) {
		const struct symbol_inline *inlined =
			ret->runtime_cnt + 1 < cnt ? &symbols[frame].inlines[ret->runtime_cnt]
						   : NULL;
		const char *name = inlined ? inlined->function : function;
		const char *file = inlined ? inlined->file : symbols ? symbols[frame].file : NULL;

		if (!is_runtime_function(name, file, module))
			break;
		ret->runtime_cnt++;
	}
	ret->whole = ret->runtime_cnt == cnt;
	ret->is_root = ret->runtime_cnt + 1 >= cnt && is_root_function(function);
}

struct call *fold_stacks(const struct snapshot *snap, const struct symbol *symbols)
{
	struct frame_fold *frames = calloc(snap->frames.cnt + 1, sizeof(*frames));
	struct call *begins = calloc(snap->nodes.cnt + 1, sizeof(*begins));
	bool *below_is_root = calloc(snap->nodes.cnt + 1, sizeof(*below_is_root));

	if (!frames || !begins || !below_is_root) {
		free(begins);
		begins = NULL;
		goto cleanup;
	}
	for (size_t i = 0; i < snap->frames.cnt; i++)
		read_frame(snap, symbols, i, &frames[i]);
	below_is_root[0] = true;
	/* Parents come before their children. */
	for (uint32_t i = 1; i < snap->nodes.cnt; i++) {
		const struct snap_node *node = &snap->nodes.items[i];
		const struct frame_fold *fold = &frames[node->frame];

		below_is_root[i] = fold->is_root && below_is_root[node->parent];
		begins[i] = (struct call){.node = i, .idx = fold->runtime_cnt};
		if (!fold->whole)
			continue;
		if (below_is_root[i] || below_is_root[node->parent])
			begins[i].idx = frame_inline_cnt(symbols, node->frame);
		else
			begins[i] = begins[node->parent];
	}
cleanup:
	free(below_is_root);
	free(frames);
	return begins;
}
