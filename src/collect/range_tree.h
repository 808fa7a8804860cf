/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pieces of an address space in the order of their addresses, never overlapping: a treap in one
 * growing pool, so that a copy is a memcpy and every operation takes O(log n) expected steps
 * without recursion. What the pieces mean is the caller's business (ranges.c); `mapping` is just
 * carried along.
 */
#ifndef LEAKSWEEP_COLLECT_RANGE_TREE_H
#define LEAKSWEEP_COLLECT_RANGE_TREE_H

#include <stddef.h>
#include <stdint.h>

struct range_piece {
	uint64_t start, end; /* never empty */
	uint64_t placed_ns;  /* end of the call that put it there */
	uint32_t mapping;
	/* private to range_tree.c */
	uint32_t left, right; /* indexes into the pool, 0 = none; `left` also links free ones */
	uint32_t priority;
};

/* Zero-initialise to make an empty tree, then set `random` to anything hard to guess. */
struct range_tree {
	struct range_piece *pool; /* [0] is never used */
	size_t cnt, cap;	  /* of the pool */
	size_t free_cnt;	  /* of them unused */
	uint32_t root, free;
	uint64_t random;
};

void range_tree__free(struct range_tree *tree);

/* Makes `*ret`, an empty tree, a copy of `tree`. Returns 0 or -ENOMEM. */
int range_tree__copy(const struct range_tree *tree, struct range_tree *ret);

/*
 * Makes room for `cnt` more pieces. Returns 0 or -ENOMEM. Pointers to pieces are valid until the
 * next call; the other functions leave them valid.
 */
int range_tree__reserve(struct range_tree *tree, size_t cnt);

/* Returns the first piece that ends after `addr` (it may hold it), or NULL. */
struct range_piece *range_tree__find(const struct range_tree *tree, uint64_t addr);

/* Adds a piece where none is. There must be room for it. */
void range_tree__insert(struct range_tree *tree, uint64_t start, uint64_t end, uint64_t placed_ns,
			uint32_t mapping);

void range_tree__erase(struct range_tree *tree, struct range_piece *piece);

/*
 * Takes the not empty [start, end) out of a piece that holds all of it. What is left keeps its
 * place; there must be room for one more piece if something is left on both sides.
 */
void range_tree__take(struct range_tree *tree, struct range_piece *piece, uint64_t start,
		      uint64_t end);

#endif
