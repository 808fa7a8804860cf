/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The call tree of a profile: which calls hold how much, and who called them; or, from the root,
 * where memory goes below each call. Every node holds the sum of its children and of the stacks
 * that end in it, to the last byte.
 */
#ifndef LEAKSWEEP_MODEL_TREE_H
#define LEAKSWEEP_MODEL_TREE_H

#include "model/profile.h"

#define TREE_NONE UINT32_MAX
#define TREE_ROOT 0

enum tree_kind {
	TREE_ALL = 1,	 /* the root: all rows that have something live */
	TREE_PROC = 2,	 /* one process: .value = its index */
	TREE_CGROUP = 3, /* one cgroup, container or service: .value = the index of one of its
			    processes */
	TREE_CALL = 4,	 /* .call; .value = its frame */
	TREE_LAYER = 5,	 /* how memory was had if not from an allocator (malloc, Python's):
			    .value = enum layer */
	TREE_END = 6,	 /* callers are not known: .value = enum unwind_end */
	TREE_REST = 7,	 /* branches that were too small to be shown: .value = how many */
};

/* What a node stands for. Calls with the same label share a node. */
struct tree_label {
	enum tree_kind kind;
	uint32_t value;
	struct call_info call; /* text is borrowed from the profile's symbols */
};

struct tree_node {
	uint32_t label;
	uint32_t parent, first_child, next_sibling; /* TREE_NONE = none */
	int64_t live_bytes, live_count;
	int64_t delta_bytes, delta_count; /* against the previous profile, 0 without one */
};

struct call_tree {
	const struct profile *profile; /* borrowed */
	bool root_first;
	ARRAY(struct tree_node) nodes; /* parents come before their children, TREE_ROOT is first */
	ARRAY(struct tree_label) labels;
	struct hashmap node_index, label_index; /* private to tree.c */
};

/*
 * Builds the tree. The profile's group decides what is told apart: calls by their line, by their
 * function (GROUP_FUNCTION) or by their file (GROUP_FILE); below a node for each process, for each
 * cgroup (GROUP_CGROUP), container or service, or all together (GROUP_FUNCTION, GROUP_LINE,
 * GROUP_FILE). Children are sorted as the profile is. `profile` is borrowed and must outlive the
 * tree. Returns NULL when out of memory.
 */
struct call_tree *call_tree__new(const struct profile *profile, bool root_first);
void call_tree__free(struct call_tree *tree);

/*
 * Replaces branches below `permille` of the whole (of its blocks when the profile is sorted by
 * them, else of its bytes) and of all change by one node of the kind TREE_REST beside them; of the
 * calls at the top of the tree, also those behind the first `top` (0 = no limit). The biggest
 * branch at the top stays in any case. Returns 0 or -ENOMEM.
 */
int call_tree__prune(struct call_tree *tree, unsigned int permille, uint32_t top);

/* Returns a node's label. */
static inline const struct tree_label *tree_label(const struct call_tree *tree, uint32_t node)
{
	return &tree->labels.items[tree->nodes.items[node].label];
}

#endif
