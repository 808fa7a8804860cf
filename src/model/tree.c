/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stack is a path of labels; equal labels get equal numbers first, so that the tree itself only
 * compares numbers. Nothing here recurses: depth is somebody else's choice.
 */
#include "model/tree.h"

#include <string.h>

#include "model/group.h"
#include "model/hash.h"

/* The labels of one stack, from the top of the tree down. */
struct path {
	ARRAY(uint32_t) labels;
};

struct builder {
	struct call_tree *tree;
	const struct profile *profile; /* by stacks */
	const struct snapshot *snap;
	enum profile_group group;
	bool has_sections;
	struct path path;
};

/* ---- labels ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool is_named(const struct call_info *call)
{
	return call->function || call->file;
}

/* Lines of a Python function, which may be in many code objects, go by their text. */
static uint32_t module_of(const struct snap_frame *frame)
{
	return frame->kind == FRAME_PYTHON ? SNAP_NONE : frame->module;
}

static uint64_t hash_label(const struct builder *builder, const struct tree_label *label)
{
	uint64_t hash = hash_mix(label->kind, label->value);
	const struct snap_frame *frame;

	if (label->kind == TREE_CGROUP)
		return group_name__hash(group__name(builder->snap, label->value, builder->group));
	if (label->kind != TREE_CALL)
		return hash;
	frame = &builder->snap->frames.items[label->call.frame];
	hash = hash_mix(frame->kind, module_of(frame));
	if (!is_named(&label->call))
		return hash_mix(hash, frame->offset);
	if (label->call.function)
		hash = hash_mix(hash, hash_text(label->call.function));
	if (label->call.file)
		hash = hash_mix(hash, hash_text(label->call.file));
	return hash_mix(hash, label->call.line);
}

/* Whether two processes are in one section of the tree. */
static bool same_section(const struct builder *builder, uint32_t a, uint32_t b)
{
	if (!group__is_cgroups(builder->group))
		return a == b;
	return group_name__same(group__name(builder->snap, a, builder->group),
				group__name(builder->snap, b, builder->group));
}

static bool same_label(const struct builder *builder, const struct tree_label *a,
		       const struct tree_label *b)
{
	const struct snap_frame *frames = builder->snap->frames.items, *frame_a, *frame_b;

	if (a->kind != b->kind)
		return false;
	if (a->kind == TREE_CGROUP)
		return same_section(builder, a->value, b->value);
	if (a->kind != TREE_CALL)
		return a->value == b->value;
	frame_a = &frames[a->call.frame];
	frame_b = &frames[b->call.frame];
	if (frame_a->kind != frame_b->kind || module_of(frame_a) != module_of(frame_b))
		return false;
	if (!is_named(&a->call) || !is_named(&b->call))
		return !is_named(&a->call) && !is_named(&b->call) &&
		       frame_a->offset == frame_b->offset;
	return same_text(a->call.function, b->call.function) &&
	       same_text(a->call.file, b->call.file) && a->call.line == b->call.line;
}

/* Enters the newest label. */
static int insert_label(struct builder *builder, uint64_t hash)
{
	struct hashmap *index = &builder->tree->label_index;
	uint64_t probe = 0, *value;

	while (hashmap__find(index, hash, probe))
		probe++;
	value = hashmap__insert(index, hash, probe, NULL);
	if (!value)
		return -ENOMEM;
	*value = builder->tree->labels.cnt - 1;
	return array_push(&builder->path.labels, *value);
}

static int add_label(struct builder *builder, const struct tree_label *label)
{
	struct call_tree *tree = builder->tree;
	uint64_t hash = hash_label(builder, label), *found;

	for (uint64_t probe = 0;; probe++) {
		struct tree_label *known;

		found = hashmap__find(&tree->label_index, hash, probe);
		if (!found)
			break;
		known = &tree->labels.items[*found];
		if (!same_label(builder, label, known))
			continue;
		known->call.inlined &= label->call.inlined;
		return array_push(&builder->path.labels, *found);
	}
	if (array_push(&tree->labels, *label))
		return -ENOMEM;
	return insert_label(builder, hash);
}

static int add_value_label(struct builder *builder, enum tree_kind kind, uint32_t value)
{
	const struct tree_label label = {.kind = kind, .value = value};

	return add_label(builder, &label);
}

/* ---- paths ---- */

static void reverse(uint32_t *items, size_t cnt)
{
	for (size_t i = 0; i < cnt / 2; i++) {
		uint32_t item = items[i];

		items[i] = items[cnt - 1 - i];
		items[cnt - 1 - i] = item;
	}
}

/* Adds the calls of a row's stack, leaf first, with what stands at its ends. */
static int add_calls(struct builder *builder, const struct snap_row *row)
{
	const struct symbol *symbols = builder->profile->symbols;
	struct call call = profile__begin(builder->profile, row->stack);
	int err = 0;

	/* A line of Python gets small objects from the one and large ones from the other. */
	if (row->layer != LAYER_MALLOC && row->layer != LAYER_PYTHON)
		err = add_value_label(builder, TREE_LAYER, row->layer);
	for (; call.node && !err; call = profile__next(builder->profile, call)) {
		struct tree_label label = {.kind = TREE_CALL};

		call__read(call, builder->snap, symbols, &label.call);
		label.value = label.call.frame;
		call__reduce(&label.call, builder->group);
		err = add_label(builder, &label);
	}
	if (!err && (row->unwind != UNWIND_COMPLETE || !row->stack))
		err = add_value_label(builder, TREE_END,
				      row->stack ? row->unwind : (uint8_t)UNWIND_LOST);
	return err;
}

static int make_path(struct builder *builder, const struct snap_row *row)
{
	size_t sections;
	int err = 0;

	builder->path.labels.cnt = 0;
	if (builder->has_sections)
		err = group__is_cgroups(builder->group)
			      ? add_value_label(builder, TREE_CGROUP, row->proc)
			      : add_value_label(builder, TREE_PROC, row->proc);
	sections = builder->path.labels.cnt;
	if (!err)
		err = add_calls(builder, row);
	if (!err && builder->tree->root_first)
		reverse(builder->path.labels.items + sections, builder->path.labels.cnt - sections);
	return err;
}

/* ---- nodes ---- */

static int add_node(struct call_tree *tree, uint32_t parent, uint32_t label, uint32_t *ret_node)
{
	struct tree_node node = {
		.label = label,
		.parent = parent,
		.first_child = TREE_NONE,
		.next_sibling = TREE_NONE,
	};

	if (tree->nodes.cnt >= TREE_NONE)
		return -ENOMEM;
	if (parent != TREE_NONE)
		node.next_sibling = tree->nodes.items[parent].first_child;
	if (array_push(&tree->nodes, node))
		return -ENOMEM;
	*ret_node = tree->nodes.cnt - 1;
	if (parent != TREE_NONE)
		tree->nodes.items[parent].first_child = *ret_node;
	return 0;
}

static void add_weight(struct tree_node *node, const struct profile_row *row, bool has_previous)
{
	node->live_bytes += row->cost.live_bytes;
	node->live_count += row->cost.live_count;
	if (!has_previous)
		return;
	node->delta_bytes += row->delta_bytes;
	node->delta_count += row->delta_count;
}

static int add_row(struct builder *builder, const struct profile_row *row)
{
	struct call_tree *tree = builder->tree;
	bool has_previous = builder->profile->has_previous, is_new;
	uint32_t at = TREE_ROOT;
	int err;

	err = make_path(builder, row->row);
	if (err)
		return err;
	add_weight(&tree->nodes.items[at], row, has_previous);
	for (size_t i = 0; i < builder->path.labels.cnt; i++) {
		uint32_t label = builder->path.labels.items[i];
		uint64_t *node = hashmap__insert(&tree->node_index, at, label, &is_new);
		uint32_t next;

		if (!node || (is_new && add_node(tree, at, label, &next)))
			return -ENOMEM;
		if (is_new)
			*node = next;
		at = *node;
		add_weight(&tree->nodes.items[at], row, has_previous);
	}
	return 0;
}

/* Whether there is more than one process, cgroup or the like to tell apart. */
static bool needs_sections(const struct builder *builder)
{
	const struct profile *profile = builder->profile;
	uint32_t first = SNAP_NONE;

	if (builder->group == GROUP_FUNCTION || builder->group == GROUP_LINE ||
	    builder->group == GROUP_FILE)
		return false;
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		uint32_t proc = profile->rows.items[i].row->proc;

		if (!profile_row__is_live(&profile->rows.items[i]))
			continue;
		if (first == SNAP_NONE)
			first = proc;
		if (!same_section(builder, proc, first))
			return true;
	}
	return false;
}

static int add_rows(struct builder *builder)
{
	const struct profile *profile = builder->profile;
	uint32_t root;
	int err;

	builder->has_sections = needs_sections(builder);
	err = add_value_label(builder, TREE_ALL, 0);
	if (!err)
		err = add_node(builder->tree, TREE_NONE, 0, &root);
	for (size_t i = 0; i < profile->rows.cnt && !err; i++)
		if (profile_row__is_live(&profile->rows.items[i]))
			err = add_row(builder, &profile->rows.items[i]);
	return err;
}

/* ---- order ---- */

static int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int compare_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* The order of nodes that weigh the same, by what they show. */
static int compare_labels(const struct snapshot *snap, const struct tree_label *a,
			  const struct tree_label *b)
{
	const struct snap_frame *frame_a, *frame_b;
	int order = compare_u64(a->kind, b->kind);

	if (order || a->kind != TREE_CALL)
		return order ? order : compare_u64(a->value, b->value);
	frame_a = &snap->frames.items[a->call.frame];
	frame_b = &snap->frames.items[b->call.frame];
	order = compare_text(a->call.function, b->call.function);
	if (!order)
		order = compare_text(a->call.file, b->call.file);
	if (!order)
		order = compare_u64(a->call.line, b->call.line);
	if (!order)
		order = compare_text(frame_module_path(snap, a->call.frame),
				     frame_module_path(snap, b->call.frame));
	if (!order)
		order = compare_u64(frame_a->offset, frame_b->offset);
	return order;
}

static int compare_nodes(const void *a, const void *b, void *context)
{
	const struct call_tree *tree = context;
	uint32_t idx_a = *(const uint32_t *)a, idx_b = *(const uint32_t *)b;
	const struct tree_node *node_a = &tree->nodes.items[idx_a];
	const struct tree_node *node_b = &tree->nodes.items[idx_b];
	enum profile_sort sort = tree->profile->opts.sort;
	int order = compare_u64(node_a->parent, node_b->parent);

	if (!order && sort == SORT_GROWTH)
		order = compare_down(node_a->delta_bytes, node_b->delta_bytes);
	if (!order && sort == SORT_COUNT)
		order = compare_down(node_a->live_count, node_b->live_count);
	if (!order)
		order = compare_down(node_a->live_bytes, node_b->live_bytes);
	if (!order)
		order = compare_down(node_a->live_count, node_b->live_count);
	if (!order)
		order = compare_labels(tree->profile->snap, tree_label(tree, idx_a),
				       tree_label(tree, idx_b));
	return order ? order : compare_u64(idx_a, idx_b);
}

static int sort_children(struct call_tree *tree)
{
	size_t cnt = tree->nodes.cnt;
	uint32_t *sorted = calloc(cnt, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		sorted[i] = i;
		tree->nodes.items[i].first_child = TREE_NONE;
	}
	qsort_r(sorted, cnt, sizeof(*sorted), compare_nodes, tree);
	/* From the last to the first: each goes before what its parent has already. */
	for (size_t i = cnt; i-- > 0;) {
		struct tree_node *node = &tree->nodes.items[sorted[i]];

		if (node->parent == TREE_NONE)
			continue;
		node->next_sibling = tree->nodes.items[node->parent].first_child;
		tree->nodes.items[node->parent].first_child = sorted[i];
	}
	free(sorted);
	return 0;
}

/* ---- pruning ---- */

/* From which weight on a branch is shown. */
struct threshold {
	enum profile_sort sort;
	int64_t bytes, count, delta_bytes;
};

static int64_t magnitude(int64_t value)
{
	return value >= 0 ? value : value == INT64_MIN ? INT64_MAX : -value;
}

static int64_t permille_of(int64_t value, unsigned int permille)
{
	return magnitude(value) / 1000 * permille + magnitude(value) % 1000 * permille / 1000;
}

/* What shrank and what grew cancel out in the sum; a share of the change is one of all change. */
static int64_t all_change(const struct profile *profile)
{
	int64_t sum = 0;

	for (size_t i = 0; i < profile->rows.cnt; i++)
		if (profile_row__is_live(&profile->rows.items[i]))
			sum += magnitude(profile->rows.items[i].delta_bytes);
	return sum;
}

static bool is_big(const struct tree_node *node, const struct threshold *least)
{
	if (node->delta_bytes && magnitude(node->delta_bytes) >= least->delta_bytes)
		return true;
	if (least->sort == SORT_COUNT)
		return magnitude(node->live_count) >= least->count;
	return magnitude(node->live_bytes) >= least->bytes;
}

static bool is_section(const struct call_tree *tree, uint32_t node)
{
	enum tree_kind kind = tree_label(tree, node)->kind;

	return kind == TREE_PROC || kind == TREE_CGROUP;
}

static int append_rest(struct call_tree *tree, uint32_t parent, uint32_t last,
		       const struct tree_node *sum, uint32_t merged)
{
	const struct tree_label label = {.kind = TREE_REST, .value = merged};
	struct tree_node rest = *sum;

	if (array_push(&tree->labels, label))
		return -ENOMEM;
	rest.label = tree->labels.cnt - 1;
	rest.parent = parent;
	rest.first_child = rest.next_sibling = TREE_NONE;
	if (tree->nodes.cnt >= TREE_NONE || array_push(&tree->nodes, rest))
		return -ENOMEM;
	if (last == TREE_NONE)
		tree->nodes.items[parent].first_child = tree->nodes.cnt - 1;
	else
		tree->nodes.items[last].next_sibling = tree->nodes.cnt - 1;
	return 0;
}

/* Cuts the small ones out of the children of a node. */
static int prune_children(struct call_tree *tree, uint32_t parent, const struct threshold *least,
			  uint32_t top)
{
	bool at_top = is_section(tree, parent) || parent == TREE_ROOT;
	struct tree_node rest = {0};
	uint32_t last = TREE_NONE, kept = 0, merged = 0, next;

	for (uint32_t at = tree->nodes.items[parent].first_child; at != TREE_NONE; at = next) {
		struct tree_node *node = &tree->nodes.items[at];
		bool counts = at_top && !is_section(tree, at);
		uint32_t *link = last == TREE_NONE ? &tree->nodes.items[parent].first_child
						   : &tree->nodes.items[last].next_sibling;

		next = node->next_sibling;
		if ((is_big(node, least) && !(counts && top && kept == top)) || (at_top && !kept)) {
			*link = at;
			last = at;
			kept++;
			continue;
		}
		*link = TREE_NONE;
		rest.live_bytes += node->live_bytes;
		rest.live_count += node->live_count;
		rest.delta_bytes += node->delta_bytes;
		rest.delta_count += node->delta_count;
		merged++;
	}
	if (last != TREE_NONE)
		tree->nodes.items[last].next_sibling = TREE_NONE;
	return merged ? append_rest(tree, parent, last, &rest, merged) : 0;
}

int call_tree__prune(struct call_tree *tree, unsigned int permille, uint32_t top)
{
	const struct tree_node *root = &tree->nodes.items[TREE_ROOT];
	const struct profile *stacks =
		tree->profile->stacks ? tree->profile->stacks : tree->profile;
	const struct threshold least = {
		.sort = tree->profile->opts.sort,
		.bytes = permille_of(root->live_bytes, permille),
		.count = permille_of(root->live_count, permille),
		.delta_bytes = permille_of(all_change(stacks), permille),
	};
	uint32_t at = TREE_ROOT;
	int err = 0;

	/* Depth first, through what is left of the tree. */
	while (at != TREE_NONE && !err) {
		err = prune_children(tree, at, &least, top);
		if (!err && tree->nodes.items[at].first_child != TREE_NONE) {
			at = tree->nodes.items[at].first_child;
			continue;
		}
		while (at != TREE_NONE && tree->nodes.items[at].next_sibling == TREE_NONE)
			at = tree->nodes.items[at].parent;
		if (at != TREE_NONE)
			at = tree->nodes.items[at].next_sibling;
	}
	return err;
}

/* ---- the whole ---- */

struct call_tree *call_tree__new(const struct profile *profile, bool root_first)
{
	struct call_tree *tree = calloc(1, sizeof(*tree));
	struct profile_opts opts = profile->opts;
	struct profile *regrouped = NULL;
	struct builder builder = {
		.tree = tree,
		.profile = profile->stacks ? profile->stacks : profile,
		.snap = profile->snap,
		.group = opts.group,
	};
	int err = -ENOMEM;

	if (!tree)
		return NULL;
	tree->profile = profile;
	tree->root_first = root_first;
	if (builder.profile->opts.group != GROUP_STACK) {
		opts.group = GROUP_STACK;
		regrouped = profile__new(profile->snap, profile->symbols, &opts, NULL);
		if (!regrouped)
			goto cleanup;
		builder.profile = regrouped;
	}
	err = add_rows(&builder);
	if (!err)
		err = sort_children(tree);
cleanup:
	profile__free(regrouped);
	array_free(&builder.path.labels);
	hashmap__free(&tree->node_index);
	hashmap__free(&tree->label_index);
	if (err) {
		call_tree__free(tree);
		tree = NULL;
	}
	return tree;
}

void call_tree__free(struct call_tree *tree)
{
	if (!tree)
		return;
	array_free(&tree->nodes);
	array_free(&tree->labels);
	hashmap__free(&tree->node_index);
	hashmap__free(&tree->label_index);
	free(tree);
}
