/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/range_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void range_tree__free(struct range_tree *tree)
{
	free(tree->pool);
	*tree = (struct range_tree){0};
}

int range_tree__copy(const struct range_tree *tree, struct range_tree *ret)
{
	struct range_tree copy = *tree;

	copy.cap = tree->cnt;
	if (tree->cnt) {
		copy.pool = reallocarray(NULL, tree->cnt, sizeof(*tree->pool));
		if (!copy.pool)
			return -ENOMEM;
		memcpy(copy.pool, tree->pool, tree->cnt * sizeof(*tree->pool));
	}
	*ret = copy;
	return 0;
}

int range_tree__reserve(struct range_tree *tree, size_t cnt)
{
	size_t need, cap = tree->cap ? tree->cap : 16;
	struct range_piece *grown;

	if (cnt <= tree->free_cnt)
		return 0;
	need = (tree->cnt ? tree->cnt : 1) + (cnt - tree->free_cnt);
	if (need <= tree->cap)
		return 0;
	if (need < cnt || need > UINT32_MAX)
		return -ENOMEM;
	while (cap < need)
		cap *= 2;
	grown = reallocarray(tree->pool, cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	tree->pool = grown;
	tree->cap = cap;
	if (!tree->cnt)
		grown[tree->cnt++] = (struct range_piece){0};
	return 0;
}

struct range_piece *range_tree__find(const struct range_tree *tree, uint64_t addr)
{
	struct range_piece *piece, *found = NULL;

	for (uint32_t i = tree->root; i; i = piece->end > addr ? piece->left : piece->right) {
		piece = &tree->pool[i];
		if (piece->end > addr)
			found = piece;
	}
	return found;
}

static uint32_t next_random(struct range_tree *tree)
{
	uint64_t z = tree->random += 0x9e3779b97f4a7c15ULL; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (z ^ z >> 31) >> 32;
}

static uint32_t new_piece(struct range_tree *tree)
{
	uint32_t i = tree->free;

	if (!i)
		return tree->cnt++;
	tree->free = tree->pool[i].left;
	tree->free_cnt--;
	return i;
}

/* Returns the link where a piece with this start and priority belongs. */
static uint32_t *find_link(struct range_tree *tree, uint64_t start, uint32_t priority)
{
	uint32_t *link = &tree->root;

	while (*link) {
		struct range_piece *piece = &tree->pool[*link];

		if (piece->priority <= priority)
			break;
		link = start < piece->start ? &piece->left : &piece->right;
	}
	return link;
}

/* Deals the subtree `i` out into what lies left and right of `start`. */
static void split(struct range_tree *tree, uint32_t i, uint64_t start, uint32_t *left,
		  uint32_t *right)
{
	while (i) {
		struct range_piece *piece = &tree->pool[i];

		if (piece->start < start) {
			*left = i;
			left = &piece->right;
			i = piece->right;
		} else {
			*right = i;
			right = &piece->left;
			i = piece->left;
		}
	}
	*left = *right = 0;
}

void range_tree__insert(struct range_tree *tree, uint64_t start, uint64_t end, uint64_t placed_ns,
			uint32_t mapping)
{
	uint32_t i = new_piece(tree), priority = next_random(tree);
	uint32_t *link = find_link(tree, start, priority);
	struct range_piece *piece = &tree->pool[i];

	*piece = (struct range_piece){
		.start = start,
		.end = end,
		.placed_ns = placed_ns,
		.mapping = mapping,
		.priority = priority,
	};
	split(tree, *link, start, &piece->left, &piece->right);
	*link = i;
}

/* Joins two subtrees, `left` before `right`, at `link`. */
static void join(struct range_tree *tree, uint32_t left, uint32_t right, uint32_t *link)
{
	while (left && right) {
		struct range_piece *l = &tree->pool[left], *r = &tree->pool[right];

		if (l->priority > r->priority) {
			*link = left;
			link = &l->right;
			left = l->right;
		} else {
			*link = right;
			link = &r->left;
			right = r->left;
		}
	}
	*link = left ? left : right;
}

void range_tree__erase(struct range_tree *tree, struct range_piece *piece)
{
	uint32_t i = piece - tree->pool, *link = &tree->root;

	while (*link && *link != i) {
		struct range_piece *at = &tree->pool[*link];

		link = piece->start < at->start ? &at->left : &at->right;
	}
	if (!*link)
		return;
	join(tree, piece->left, piece->right, link);
	*piece = (struct range_piece){.left = tree->free};
	tree->free = i;
	tree->free_cnt++;
}

void range_tree__take(struct range_tree *tree, struct range_piece *piece, uint64_t start,
		      uint64_t end)
{
	uint64_t tail = piece->end;

	if (piece->start == start && piece->end == end) {
		range_tree__erase(tree, piece);
	} else if (piece->start == start) {
		piece->start = end; /* in front of the same neighbours as before */
	} else {
		piece->end = start;
		if (end < tail)
			range_tree__insert(tree, end, tail, piece->placed_ns, piece->mapping);
	}
}
