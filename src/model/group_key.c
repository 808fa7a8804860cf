/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process is its pid and start time, a frame its module's identity (build-id, else device and
 * inode, else path) and its offset. Each key has a 64-bit hash, made for all nodes of the stack
 * tree in one pass (parents come before children), and a full comparison that settles equal hashes.
 */
#include "model/group_key.h"

#include <string.h>

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

static uint64_t frame_module_hash(const struct keyer *keyer, const struct snap_frame *frame)
{
	return frame->module == SNAP_NONE ? 0 : keyer->module_hashes[frame->module];
}

static bool same_frame_module(const struct keyer *ka, const struct snap_frame *a,
			      const struct keyer *kb, const struct snap_frame *b)
{
	if (a->module == SNAP_NONE || b->module == SNAP_NONE)
		return a->module == b->module;
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

static bool same_stack(const struct keyer *ka, uint32_t a, const struct keyer *kb, uint32_t b)
{
	const struct snap_node *node_a, *node_b;

	while (a && b && !(ka->snap == kb->snap && a == b)) {
		node_a = &ka->snap->nodes.items[a];
		node_b = &kb->snap->nodes.items[b];
		if (!same_frame(ka, &ka->snap->frames.items[node_a->frame], kb,
				&kb->snap->frames.items[node_b->frame]))
			return false;
		a = node_a->parent;
		b = node_b->parent;
	}
	return (!a && !b) || (ka->snap == kb->snap && a == b);
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
	hash = hash_mix(hash_text(call.file), frame_module_hash(keyer, frame_of(keyer, &call)));
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
	return !strcmp(call_a.file, call_b.file) &&
	       (group == GROUP_FILE || call_a.line == call_b.line) &&
	       same_frame_module(ka, frame_of(ka, &call_a), kb, frame_of(kb, &call_b));
}

/* ---- the key of a row under a grouping ---- */

uint64_t hash_row(const struct keyer *keyer, const struct snap_row *row)
{
	switch (keyer->group) {
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		return hash_call(keyer, row->stack);
	case GROUP_PROCESS:
		return hash_proc(keyer, row->proc);
	case GROUP_CGROUP:
		return hash_text(keyer->snap->procs.items[row->proc].cgroup);
	case GROUP_STACK:
		break;
	}
	return hash_mix(hash_mix(hash_proc(keyer, row->proc), row->layer),
			keyer->node_hashes[row->stack]);
}

bool same_row(const struct keyer *ka, const struct snap_row *a, const struct keyer *kb,
	      const struct snap_row *b)
{
	switch (ka->group) {
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		return same_call(ka, a->stack, kb, b->stack);
	case GROUP_PROCESS:
		return same_proc(ka, a->proc, kb, b->proc);
	case GROUP_CGROUP:
		return !strcmp(ka->snap->procs.items[a->proc].cgroup,
			       kb->snap->procs.items[b->proc].cgroup);
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
	free(keyer->node_hashes);
	free(keyer->generations);
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
	keyer->node_hashes = calloc(snap->nodes.cnt + 1, sizeof(*keyer->node_hashes));
	keyer->generations = calloc(snap->procs.cnt + 1, sizeof(*keyer->generations));
	if (!keyer->module_hashes || !keyer->node_hashes || !keyer->generations)
		return -ENOMEM;
	for (size_t i = 0; i < snap->modules.cnt; i++)
		keyer->module_hashes[i] = hash_module(&snap->modules.items[i]);
	for (size_t i = 1; i < snap->nodes.cnt; i++) {
		const struct snap_node *node = &snap->nodes.items[i];

		keyer->node_hashes[i] =
			hash_mix(keyer->node_hashes[node->parent],
				 hash_frame(keyer, &snap->frames.items[node->frame]));
	}
	return number_generations(keyer);
}
