/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- Python ---- */

/* "python", "python3.11", "python3.13t" */
static bool is_launcher_name(const char *name)
{
	if (strncmp(name, "python", 6))
		return false;
	name += 6;
	name += strspn(name, "0123456789.");
	return !name[strspn(name, "dmtu")];
}

bool is_python_module(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return is_launcher_name(name) || strstr(path, "/lib-dynload/") ||
	       !strncmp(name, "libffi.so", 9) || !strncmp(name, "libffi-", 7);
}

/* What `import` runs through: tracebacks leave it out too (Python/import.c). */
static bool is_import_machinery(const char *file)
{
	return !strncmp(file, "<frozen importlib.", 18);
}

static bool works_for_python(const struct snapshot *snap, const struct snap_frame *frame)
{
	const struct snap_module *module;

	if (frame->module == SNAP_NONE)
		return false;
	if (frame->kind == FRAME_PYTHON)
		return is_import_machinery(snap->codes.items[frame->module].file);
	module = &snap->modules.items[frame->module];
	return frame->kind == FRAME_NATIVE &&
	       (module->is_interpreter || is_python_module(module->path));
}

/* ---- frames ---- */

static void read_frame(const struct snapshot *snap, const struct symbol *symbols, uint32_t frame,
		       struct frame_fold *ret)
{
	uint32_t cnt = frame_inline_cnt(symbols, frame) + 1;
	const char *function = symbols ? symbols[frame].function : NULL;
	const char *module = frame_module_path(snap, frame);
	const struct snap_frame *item = &snap->frames.items[frame];

	*ret = (struct frame_fold){
		.is_python = item->kind == FRAME_PYTHON,
		.is_interpreter = works_for_python(snap, item),
	};
	if (item->kind != FRAME_NATIVE)
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
	ret->is_main = function && !strcmp(function, "main");
}

/* ---- stacks ---- */

/* Finds where a stack begins that ends in `node`; those that end in its parents are known. */
static void find_begin(struct folding *folding, const struct snapshot *snap,
		       const struct symbol *symbols, uint32_t idx, bool *below_is_root)
{
	const struct snap_node *node = &snap->nodes.items[idx];
	const struct frame_fold *fold = &folding->frames[node->frame];
	const struct call *parent = &folding->begins[node->parent];
	struct call *begin = &folding->begins[idx];

	below_is_root[idx] = fold->is_root && below_is_root[node->parent];
	*begin = (struct call){idx, fold->runtime_cnt, fold->is_python || parent->in_python};
	if (begin->in_python) {
		if (!fold->is_python && (fold->whole || fold->is_interpreter))
			*begin = *parent;
		return;
	}
	if (!fold->whole)
		return;
	if (below_is_root[idx] || below_is_root[node->parent])
		begin->idx = frame_inline_cnt(symbols, node->frame);
	else
		*begin = *parent;
}

int fold_stacks(const struct snapshot *snap, const struct symbol *symbols, struct folding *ret)
{
	struct folding folding = {
		.frames = calloc(snap->frames.cnt + 1, sizeof(*folding.frames)),
		.begins = calloc(snap->nodes.cnt + 1, sizeof(*folding.begins)),
	};
	bool *below_is_root = calloc(snap->nodes.cnt + 1, sizeof(*below_is_root));

	if (!folding.frames || !folding.begins || !below_is_root) {
		free(below_is_root);
		folding__free(&folding);
		return -ENOMEM;
	}
	for (size_t i = 0; i < snap->frames.cnt; i++)
		read_frame(snap, symbols, i, &folding.frames[i]);
	below_is_root[0] = true;
	/* Parents come before their children. */
	for (uint32_t i = 1; i < snap->nodes.cnt; i++)
		find_begin(&folding, snap, symbols, i, below_is_root);
	free(below_is_root);
	*ret = folding;
	return 0;
}

void folding__free(struct folding *folding)
{
	free(folding->frames);
	free(folding->begins);
	*folding = (struct folding){0};
}

bool folding__leaves_out(const struct folding *folding, const struct snapshot *snap, uint32_t node)
{
	const struct frame_fold *fold = &folding->frames[snap->nodes.items[node].frame];

	if (fold->is_python)
		return false;
	return fold->is_interpreter || (!folding->begins[node].in_python &&
					(fold->whole || fold->is_root || fold->is_main));
}

/* Steps over the frames that are left out. A program of the user's that has Python in it is shown
 * down to main. */
static struct call skip_frames(const struct folding *folding, struct call call,
			       const struct snapshot *snap, bool skip_python)
{
	while (call.node && call.in_python) {
		const struct frame_fold *fold =
			&folding->frames[snap->nodes.items[call.node].frame];

		if (!folding__leaves_out(folding, snap, call.node) &&
		    !(skip_python && fold->is_python && fold->is_interpreter)) {
			call.in_python = folding->begins[call.node].in_python;
			break;
		}
		call.node = snap->nodes.items[call.node].parent;
	}
	return call;
}

struct call folding__next(const struct folding *folding, struct call call,
			  const struct snapshot *snap, const struct symbol *symbols)
{
	call = call__next(call, snap, symbols);
	/* Behind the leaf-most call of a frame, the frame is shown. */
	return call.idx ? call : skip_frames(folding, call, snap, true);
}

struct call folding__next_frame(const struct folding *folding, struct call call,
				const struct snapshot *snap)
{
	call.node = snap->nodes.items[call.node].parent;
	call.idx = 0;
	return skip_frames(folding, call, snap, false);
}
