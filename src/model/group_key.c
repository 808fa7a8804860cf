/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process is its pid and start time, a frame its module's identity (build-id, else device and
 * inode, else path) and its offset, a Python frame its function and its line. Each key has a 64-bit
 * hash, made for all nodes of the stack tree in one pass (parents come before children), and a full
 * comparison that settles equal hashes.
 */
#include "model/group_key.h"

#include <string.h>

#include "model/group.h"
#include "model/hash.h"

/* ---- identity of modules, frames, stacks, processes ---- */

static uint64_t hash_module(const struct snap_module *module)
{
	if (module->build_id_len)
		return hash_mix(1, hash_bytes(module->build_id, module->build_id_len));
	if (module->ino)
		return hash_mix(hash_mix(2, module->dev), module->ino);
	return hash_mix(3, hash_text(module->path));
}

static bool same_module(const struct snap_module *a, const struct snap_module *b)
{
	if (a->build_id_len || b->build_id_len)
		return a->build_id_len == b->build_id_len &&
		       !memcmp(a->build_id, b->build_id, a->build_id_len);
	if (a->ino || b->ino)
		return a->ino == b->ino && a->dev == b->dev;
	return !strcmp(a->path, b->path);
}

static uint64_t hash_code(const struct snap_code *code)
{
	return hash_mix(hash_mix(hash_text(code->file), hash_text(code->function)),
			code->first_line);
}

static bool same_code(const struct snap_code *a, const struct snap_code *b)
{
	return a->first_line == b->first_line && !strcmp(a->function, b->function) &&
	       !strcmp(a->file, b->file);
}

/* Of a Python frame, its function. */
static uint64_t frame_module_hash(const struct keyer *keyer, const struct snap_frame *frame)
{
	if (frame->module == SNAP_NONE)
		return 0;
	return frame->kind == FRAME_PYTHON ? keyer->code_hashes[frame->module]
					   : keyer->module_hashes[frame->module];
}

static bool same_frame_module(const struct keyer *ka, const struct snap_frame *a,
			      const struct keyer *kb, const struct snap_frame *b)
{
	if ((a->kind == FRAME_PYTHON) != (b->kind == FRAME_PYTHON))
		return false;
	if (a->module == SNAP_NONE || b->module == SNAP_NONE)
		return a->module == b->module;
	if (a->kind == FRAME_PYTHON)
		return same_code(&ka->snap->codes.items[a->module],
				 &kb->snap->codes.items[b->module]);
	return same_module(&ka->snap->modules.items[a->module],
			   &kb->snap->modules.items[b->module]);
}

static uint64_t hash_frame(const struct keyer *keyer, const struct snap_frame *frame)
{
	return hash_mix(hash_mix(frame_module_hash(keyer, frame), frame->offset), frame->kind);
}

static bool same_frame(const struct keyer *ka, const struct snap_frame *a, const struct keyer *kb,
		       const struct snap_frame *b)
{
	return a->offset == b->offset && a->kind == b->kind && same_frame_module(ka, a, kb, b);
}

/* Returns where a stack begins that is told from others: machine code that its Python frames make
 * superfluous does not count. */
static struct call stack_begin(const struct keyer *keyer, uint32_t stack)
{
	struct call begin = profile__begin(keyer->profile, stack);

	return begin.in_python ? begin : (struct call){.node = stack};
}

static uint64_t hash_stack(const struct keyer *keyer, uint32_t stack)
{
	struct call begin = stack_begin(keyer, stack);

	return begin.in_python ? keyer->python_hashes[begin.node] : keyer->node_hashes[stack];
}

static bool same_stack(const struct keyer *ka, uint32_t stack_a, const struct keyer *kb,
		       uint32_t stack_b)
{
	struct call a = stack_begin(ka, stack_a), b = stack_begin(kb, stack_b);

	while (a.node && b.node) {
		if (ka->snap == kb->snap && a.node == b.node && a.in_python == b.in_python)
			return true;
		if (!same_frame(ka, &ka->snap->frames.items[ka->snap->nodes.items[a.node].frame],
				kb, &kb->snap->frames.items[kb->snap->nodes.items[b.node].frame]))
			return false;
		a = folding__next_frame(&ka->profile->folding, a, ka->snap);
		b = folding__next_frame(&kb->profile->folding, b, kb->snap);
	}
	return !a.node && !b.node;
}

static uint64_t hash_proc(const struct keyer *keyer, uint32_t proc)
{
	const struct snap_proc *item = &keyer->snap->procs.items[proc];

	return hash_mix(hash_mix(item->pid, item->start_ns), keyer->generations[proc]);
}

static bool same_proc(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	const struct snap_proc *proc_a = &ka->snap->procs.items[a];
	const struct snap_proc *proc_b = &kb->snap->procs.items[b];

	return proc_a->pid == proc_b->pid && proc_a->start_ns == proc_b->start_ns &&
	       ka->generations[a] == kb->generations[b];
}

/* ---- the call that a stack is shown by ---- */

/* Reads the first call to be shown of a stack. Returns false when the stack was lost. */
static bool read_begin(const struct keyer *keyer, uint32_t stack, struct call_info *ret)
{
	struct call call = profile__begin(keyer->profile, stack);

	if (call.node)
		call__read(call, keyer->snap, keyer->symbols, ret);
	return call.node;
}

static const struct snap_frame *frame_of(const struct keyer *keyer, const struct call_info *call)
{
	return &keyer->snap->frames.items[call->frame];
}

static uint64_t hash_function(const struct keyer *keyer, const struct call_info *call)
{
	if (!call->function)
		return hash_frame(keyer, frame_of(keyer, call));
	return hash_mix(hash_text(call->function), frame_module_hash(keyer, frame_of(keyer, call)));
}

static bool same_function(const struct keyer *ka, const struct call_info *a, const struct keyer *kb,
			  const struct call_info *b)
{
	const struct snap_frame *frame_a = frame_of(ka, a), *frame_b = frame_of(kb, b);

	if (!a->function || !b->function)
		return !a->function && !b->function && same_frame(ka, frame_a, kb, frame_b);
	return !strcmp(a->function, b->function) && same_frame_module(ka, frame_a, kb, frame_b);
}

static uint64_t hash_call(const struct keyer *keyer, uint32_t stack)
{
	struct call_info call;
	uint64_t hash;

	if (!read_begin(keyer, stack, &call))
		return 0;
	if (keyer->group == GROUP_FUNCTION || !call__has_source(&call, keyer->group))
		return hash_function(keyer, &call);
	/* A source file of Python is whole; it has no module. */
	hash = hash_mix(hash_text(call.file),
			call.is_python ? 0 : frame_module_hash(keyer, frame_of(keyer, &call)));
	return hash_mix(hash, keyer->group == GROUP_LINE ? call.line : UINT64_MAX);
}

static bool same_call(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	struct call_info call_a, call_b;
	bool has_a = read_begin(ka, a, &call_a), has_b = read_begin(kb, b, &call_b);
	enum profile_group group = ka->group;

	if (!has_a || !has_b)
		return !has_a && !has_b;
	if (group == GROUP_FUNCTION)
		return same_function(ka, &call_a, kb, &call_b);
	has_a = call__has_source(&call_a, group);
	has_b = call__has_source(&call_b, group);
	if (!has_a || !has_b)
		return !has_a && !has_b && same_function(ka, &call_a, kb, &call_b);
	if (strcmp(call_a.file, call_b.file) || (group == GROUP_LINE && call_a.line != call_b.line))
		return false;
	if (call_a.is_python || call_b.is_python)
		return call_a.is_python && call_b.is_python;
	return same_frame_module(ka, frame_of(ka, &call_a), kb, frame_of(kb, &call_b));
}

/* ---- the type of a part ---- */

static uint64_t hash_type(const struct keyer *keyer, struct row_part part)
{
	if (part.type == SNAP_NONE)
		return hash_mix(1, part.row->layer);
	return hash_mix(2, hash_text(keyer->snap->types.items[part.type]));
}

static bool same_type(const struct keyer *ka, struct row_part a, const struct keyer *kb,
		      struct row_part b)
{
	if (a.type == SNAP_NONE || b.type == SNAP_NONE)
		return a.type == b.type && a.row->layer == b.row->layer;
	return !strcmp(ka->snap->types.items[a.type], kb->snap->types.items[b.type]);
}

/* ---- the key of a row under a grouping ---- */

uint64_t hash_row(const struct keyer *keyer, struct row_part part)
{
	const struct snap_row *row = part.row;

	switch (keyer->group) {
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		return hash_call(keyer, row->stack);
	case GROUP_PROCESS:
		return hash_proc(keyer, row->proc);
	case GROUP_CGROUP:
	case GROUP_CONTAINER:
	case GROUP_SERVICE:
		return group_name__hash(group__name(keyer->snap, row->proc, keyer->group));
	case GROUP_TYPE:
		return hash_type(keyer, part);
	case GROUP_STACK:
		break;
	}
	return hash_mix(hash_mix(hash_proc(keyer, row->proc), row->layer),
			hash_stack(keyer, row->stack));
}

bool same_row(const struct keyer *ka, struct row_part part_a, const struct keyer *kb,
	      struct row_part part_b)
{
	const struct snap_row *a = part_a.row, *b = part_b.row;

	switch (ka->group) {
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		return same_call(ka, a->stack, kb, b->stack);
	case GROUP_PROCESS:
		return same_proc(ka, a->proc, kb, b->proc);
	case GROUP_CGROUP:
	case GROUP_CONTAINER:
	case GROUP_SERVICE:
		return group_name__same(group__name(ka->snap, a->proc, ka->group),
					group__name(kb->snap, b->proc, kb->group));
	case GROUP_TYPE:
		return same_type(ka, part_a, kb, part_b);
	case GROUP_STACK:
		break;
	}
	return a->layer == b->layer && same_proc(ka, a->proc, kb, b->proc) &&
	       same_stack(ka, a->stack, kb, b->stack);
}

/* ---- the keyer ---- */

unsigned int proc_state_order(const struct snap_proc *proc)
{
	return proc->state == PROC_EXECED ? 0 : proc->state == PROC_EXITED ? 1 : 2;
}

/*
 * exec keeps pid and start time, so two images of one process may stand in a snapshot. They are
 * numbered with the running one last: numbers then stay the same from snapshot to snapshot,
 * whatever the order of the list.
 */
static int number_generations(struct keyer *keyer)
{
	struct hashmap seen = {0};
	int err = 0;

	for (unsigned int order = 0; order < 3; order++) {
		for (size_t i = 0; i < keyer->snap->procs.cnt && !err; i++) {
			const struct snap_proc *proc = &keyer->snap->procs.items[i];
			uint64_t *cnt;

			if (proc_state_order(proc) != order)
				continue;
			cnt = hashmap__insert(&seen, proc->start_ns, proc->pid, NULL);
			if (cnt)
				keyer->generations[i] = (*cnt)++;
			else
				err = -ENOMEM;
		}
	}
	hashmap__free(&seen);
	return err;
}

void keyer__destroy(struct keyer *keyer)
{
	free(keyer->module_hashes);
	free(keyer->code_hashes);
	free(keyer->node_hashes);
	free(keyer->python_hashes);
	free(keyer->generations);
}

/* Of each node, the hash of the stack from there to the root. */
static void hash_nodes(struct keyer *keyer)
{
	const struct snapshot *snap = keyer->snap;
	const struct folding *folding = &keyer->profile->folding;

	for (size_t i = 1; i < snap->nodes.cnt; i++) {
		const struct snap_node *node = &snap->nodes.items[i];
		uint64_t frame = hash_frame(keyer, &snap->frames.items[node->frame]);
		uint64_t below = keyer->python_hashes[node->parent];

		keyer->node_hashes[i] = hash_mix(keyer->node_hashes[node->parent], frame);
		if (folding__leaves_out(folding, snap, i))
			keyer->python_hashes[i] = below;
		else if (folding->begins[i].in_python)
			keyer->python_hashes[i] = hash_mix(below, frame);
		else
			keyer->python_hashes[i] = keyer->node_hashes[i];
	}
}

int keyer__init(struct keyer *keyer, const struct profile *profile, enum profile_group group)
{
	const struct snapshot *snap = profile->snap;

	*keyer = (struct keyer){
		.profile = profile,
		.snap = snap,
		.symbols = profile->symbols,
		.group = group,
	};
	keyer->module_hashes = calloc(snap->modules.cnt + 1, sizeof(*keyer->module_hashes));
	keyer->code_hashes = calloc(snap->codes.cnt + 1, sizeof(*keyer->code_hashes));
	keyer->node_hashes = calloc(snap->nodes.cnt + 1, sizeof(*keyer->node_hashes));
	keyer->python_hashes = calloc(snap->nodes.cnt + 1, sizeof(*keyer->python_hashes));
	keyer->generations = calloc(snap->procs.cnt + 1, sizeof(*keyer->generations));
	if (!keyer->module_hashes || !keyer->code_hashes || !keyer->node_hashes ||
	    !keyer->python_hashes || !keyer->generations)
		return -ENOMEM;
	for (size_t i = 0; i < snap->modules.cnt; i++)
		keyer->module_hashes[i] = hash_module(&snap->modules.items[i]);
	for (size_t i = 0; i < snap->codes.cnt; i++)
		keyer->code_hashes[i] = hash_code(&snap->codes.items[i]);
	hash_nodes(keyer);
	return number_generations(keyer);
}
