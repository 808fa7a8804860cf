/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two things are kept apart: a *piece* is a stretch of addresses, which is cut, moved and unmapped
 * (range_tree.h); a *mapping* is what one call asked for, with its share in the sums
 * (range_sums.h). Here the calls are turned into changes of both.
 *
 * Whatever can fail for lack of memory is done first, so that a failed call leaves less knowledge,
 * never a wrong one.
 */
#include "collect/ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "collect/range_sums.h"
#include "collect/range_tree.h"

/* User space ends far below this on every architecture, and sums of addresses cannot overflow. */
#define MAX_ADDR (1ULL << 62)

struct ranges {
	struct range_tree tree;
	struct range_sums sums;
	uint64_t unknown_bytes;
	uint64_t page_mask;
};

struct span {
	uint64_t start, end;
};

/* A stretch of what mremap moves. */
struct part {
	uint64_t off, len, placed_ns;
	uint32_t mapping; /* MAPPING_NONE = not known before */
};

struct move {
	struct span from, to;
	uint64_t kept; /* bytes from the start that both have */
	uint64_t begin_ns, time_ns;
	bool in_place, keep_old;
	ARRAY(struct part) parts; /* cover [0, kept) without gaps */
};

/* ---- pieces ---- */

/* Whether [addr, addr + len) can be a range at all; *ret_span is what it is in whole pages. */
static bool to_span(const struct ranges *ranges, uint64_t addr, uint64_t len, struct span *ret_span)
{
	if (!len || addr > MAX_ADDR || len > MAX_ADDR - addr)
		return false;
	ret_span->start = addr & ~ranges->page_mask;
	ret_span->end = (addr + len + ranges->page_mask) & ~ranges->page_mask;
	return true;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * Adds a piece where none is; the tree has room for it. What allocators map grows by small steps
 * for ever, and what they give back comes in any order: only as one piece with its neighbours does
 * it stay small.
 */
static void add_piece(struct ranges *ranges, uint64_t start, uint64_t end, uint64_t placed_ns,
		      uint32_t mapping)
{
	struct range_tree *tree = &ranges->tree;
	struct range_piece *other;

	if (mapping == RANGE_ALLOCATOR || mapping == RANGE_RESERVED) {
		other = start ? range_tree__find(tree, start - 1) : NULL;
		if (other && other->end == start && other->mapping == mapping) {
			placed_ns = max_u64(placed_ns, other->placed_ns);
			start = other->start;
			range_tree__erase(tree, other);
		}
		other = range_tree__find(tree, end);
		if (other && other->start == end && other->mapping == mapping) {
			placed_ns = max_u64(placed_ns, other->placed_ns);
			end = other->end;
			range_tree__erase(tree, other);
		}
	}
	range_tree__insert(tree, start, end, placed_ns, mapping);
}

enum removal { REMOVE_FREED, REMOVE_MOVED };

/*
 * Removes what was placed by `begin_ns` at the latest. Returns 0 or -ENOMEM, then the tail of a
 * split piece went, too; *ret_gaps is how many bytes no piece held. The bytes of moved pieces stay
 * alive.
 */
static int remove_pieces(struct ranges *ranges, struct span span, uint64_t begin_ns,
			 enum removal removal, uint64_t *ret_gaps)
{
	uint64_t pos = span.start, gaps = 0, from, to;
	struct range_piece *piece;
	uint32_t mapping;
	int err = 0;

	while (pos < span.end) {
		piece = range_tree__find(&ranges->tree, pos);
		if (!piece || piece->start >= span.end)
			break;
		from = max_u64(piece->start, pos);
		to = min_u64(piece->end, span.end);
		gaps += from - pos;
		pos = to;
		if (piece->placed_ns > begin_ns)
			continue;
		if (from > piece->start && to < piece->end) {
			if (range_tree__reserve(&ranges->tree, 1)) {
				err = -ENOMEM;
				to = piece->end;
			}
			piece = range_tree__find(&ranges->tree, from);
		}
		mapping = piece->mapping;
		range_tree__take(&ranges->tree, piece, from, to);
		if (removal == REMOVE_FREED)
			range_sums__shrink(&ranges->sums, mapping, to - from);
	}
	if (ret_gaps)
		*ret_gaps = gaps + (pos < span.end ? span.end - pos : 0);
	return err;
}

/* ---- life ---- */

struct ranges *ranges__new(void)
{
	struct ranges *ranges = calloc(1, sizeof(*ranges));

	if (!ranges)
		return NULL;
	ranges->page_mask = sysconf(_SC_PAGESIZE) - 1;
	/* The target chooses the addresses: it must not choose the shape of the tree, too. */
	if (getrandom(&ranges->tree.random, sizeof(ranges->tree.random), GRND_NONBLOCK) < 0)
		ranges->tree.random = (uintptr_t)ranges;
	if (range_sums__init(&ranges->sums)) {
		ranges__free(ranges);
		return NULL;
	}
	return ranges;
}

void ranges__free(struct ranges *ranges)
{
	if (!ranges)
		return;
	range_tree__free(&ranges->tree);
	range_sums__free(&ranges->sums);
	free(ranges);
}

struct ranges *ranges__fork(const struct ranges *ranges)
{
	struct ranges *child = ranges__new();

	if (!child)
		return NULL;
	if (range_tree__copy(&ranges->tree, &child->tree) ||
	    range_sums__inherit(&child->sums, &ranges->sums)) {
		ranges__free(child);
		return NULL;
	}
	return child;
}

/* ---- calls ---- */

int ranges__map(struct ranges *ranges, uint64_t addr, uint64_t len,
		const struct range_origin *origin)
{
	struct span span;
	uint32_t mapping;
	int err;

	if (!to_span(ranges, addr, len, &span))
		return 0;
	err = range_tree__reserve(&ranges->tree, 2);
	if (!err)
		err = range_sums__add(&ranges->sums, origin, &mapping);
	remove_pieces(ranges, span, UINT64_MAX, REMOVE_FREED, NULL);
	if (err)
		return err;
	range_sums__grow(&ranges->sums, mapping, span.end - span.start);
	add_piece(ranges, span.start, span.end, origin->time_ns, mapping);
	return 0;
}

int ranges__unmap(struct ranges *ranges, uint64_t addr, uint64_t len, uint64_t begin_ns)
{
	struct span span;
	uint64_t gaps;
	int err;

	if (!to_span(ranges, addr, len, &span))
		return 0;
	err = remove_pieces(ranges, span, begin_ns, REMOVE_FREED, &gaps);
	ranges->unknown_bytes += gaps;
	return err;
}

int ranges__brk(struct ranges *ranges, uint64_t old_end, uint64_t new_end,
		const struct range_origin *origin)
{
	uint64_t mask = ranges->page_mask;

	if (!old_end || !new_end || old_end > MAX_ADDR || new_end > MAX_ADDR)
		return 0;
	old_end = (old_end + mask) & ~mask;
	new_end = (new_end + mask) & ~mask;
	if (new_end >= old_end)
		return ranges__map(ranges, old_end, new_end - old_end, origin);
	return ranges__unmap(ranges, new_end, old_end - new_end, origin->begin_ns);
}

int ranges__protect(struct ranges *ranges, uint64_t addr, uint64_t len, bool accessible,
		    const struct range_origin *origin)
{
	struct range_origin use = *origin;
	uint64_t from, to, placed_ns, last_end = 0;
	uint32_t mapping = MAPPING_NONE;
	struct range_piece *piece;
	struct span span;

	if (!accessible || !to_span(ranges, addr, len, &span))
		return 0;
	if (use.kind != RANGE_ALLOCATOR)
		use.kind = RANGE_MEMORY;
	for (uint64_t pos = span.start; pos < span.end; pos = to) {
		if (range_tree__reserve(&ranges->tree, 2))
			return -ENOMEM;
		piece = range_tree__find(&ranges->tree, pos);
		if (!piece || piece->start >= span.end)
			break;
		from = max_u64(piece->start, pos);
		to = min_u64(piece->end, span.end);
		placed_ns = piece->placed_ns;
		if (piece->mapping != RANGE_RESERVED)
			continue;
		if ((mapping == MAPPING_NONE || from != last_end) &&
		    range_sums__add(&ranges->sums, &use, &mapping))
			return -ENOMEM;
		range_tree__take(&ranges->tree, piece, from, to);
		range_sums__shrink(&ranges->sums, RANGE_RESERVED, to - from);
		range_sums__grow(&ranges->sums, mapping, to - from);
		add_piece(ranges, from, to, placed_ns, mapping);
		last_end = to;
	}
	return 0;
}

/* ---- mremap ---- */

static int add_part(struct move *move, const struct part *part)
{
	struct part *last = move->parts.cnt ? &move->parts.items[move->parts.cnt - 1] : NULL;

	if (!last || last->mapping != part->mapping)
		return array_push(&move->parts, *part);
	last->len += part->len;
	last->placed_ns = max_u64(last->placed_ns, part->placed_ns);
	return 0;
}

/* Lists what is moved. Pieces that another thread placed there since are not. */
static int list_parts(const struct ranges *ranges, struct move *move)
{
	uint64_t pos = move->from.start, end = pos + move->kept, to;
	const struct range_piece *piece;
	int err = 0;

	for (; pos < end && !err; pos = to) {
		struct part part = {.off = pos - move->from.start};

		piece = range_tree__find(&ranges->tree, pos);
		if (!piece || piece->start >= end) {
			to = end;
		} else if (piece->start > pos) {
			to = piece->start;
		} else {
			to = min_u64(piece->end, end);
			if (piece->placed_ns <= move->begin_ns || move->in_place) {
				part.mapping = piece->mapping;
				part.placed_ns = piece->placed_ns;
			}
		}
		part.len = to - pos;
		err = add_part(move, &part);
	}
	return err;
}

/*
 * Makes what was not known a mapping of `origin`. Since Linux 6.17 a move that keeps the size may
 * cover several mappings and the holes between them: gaps between known parts are taken for holes
 * then.
 */
static int claim_unknown(struct ranges *ranges, struct move *move,
			 const struct range_origin *origin)
{
	bool may_have_holes = !move->in_place &&
			      move->from.end - move->from.start == move->to.end - move->to.start;
	uint32_t mapping = MAPPING_NONE;

	if (may_have_holes && move->parts.cnt > 1)
		return 0;
	for (size_t i = 0; i < move->parts.cnt; i++) {
		struct part *part = &move->parts.items[i];

		if (part->mapping != MAPPING_NONE)
			continue;
		if (mapping == MAPPING_NONE && range_sums__add(&ranges->sums, origin, &mapping))
			return -ENOMEM;
		part->mapping = mapping;
		part->placed_ns = origin->time_ns;
		range_sums__grow(&ranges->sums, mapping, part->len);
	}
	return 0;
}

/* What stays mapped of the old range by MREMAP_DONTUNMAP; on -ENOMEM a part is forgotten. */
static int reserve_old(struct ranges *ranges, const struct move *move)
{
	uint64_t pos = move->from.start, end = pos + move->kept, to;
	const struct range_piece *piece;

	for (; pos < end; pos = to) {
		if (range_tree__reserve(&ranges->tree, 1))
			return -ENOMEM;
		piece = range_tree__find(&ranges->tree, pos);
		to = piece ? min_u64(piece->start, end) : end;
		if (to > pos) {
			range_sums__grow(&ranges->sums, RANGE_RESERVED, to - pos);
			add_piece(ranges, pos, to, move->begin_ns, RANGE_RESERVED);
		} else {
			to = piece->end;
		}
	}
	return 0;
}

/* Carries the move out; the tree has room for it. */
static int apply_move(struct ranges *ranges, const struct move *move)
{
	uint64_t to_kept = move->to.start + move->kept, gaps = 0;
	struct span kept = {move->from.start, move->from.start + move->kept};
	struct span cut = {kept.end, move->from.end};
	uint32_t mapping = MAPPING_NONE;

	remove_pieces(ranges, kept, move->in_place ? UINT64_MAX : move->begin_ns, REMOVE_MOVED,
		      NULL);
	remove_pieces(ranges, cut, move->begin_ns, REMOVE_FREED, &gaps);
	ranges->unknown_bytes += gaps;
	remove_pieces(ranges, move->to, UINT64_MAX, REMOVE_FREED, NULL);
	for (size_t i = 0; i < move->parts.cnt; i++) {
		const struct part *part = &move->parts.items[i];
		uint64_t start = move->to.start + part->off;

		mapping = part->mapping;
		if (mapping != MAPPING_NONE)
			add_piece(ranges, start, start + part->len,
				  move->in_place ? part->placed_ns : move->time_ns, mapping);
	}
	if (to_kept < move->to.end) {
		range_sums__grow(&ranges->sums, mapping, move->to.end - to_kept);
		add_piece(ranges, to_kept, move->to.end, move->time_ns, mapping);
	}
	return move->keep_old ? reserve_old(ranges, move) : 0;
}

/* Without memory for a move, all that it touched is forgotten, but what stays in place. */
static void forget_move(struct ranges *ranges, const struct move *move)
{
	struct span from = move->from, to = move->to;

	if (move->in_place) {
		from.start += move->kept;
		to.start += move->kept;
	}
	remove_pieces(ranges, from, move->begin_ns, REMOVE_FREED, NULL);
	remove_pieces(ranges, to, UINT64_MAX, REMOVE_FREED, NULL);
}

/* mremap(old_len = 0) maps the same pages once more: memory of the kind that lies there. */
static int duplicate(struct ranges *ranges, uint64_t old_addr, uint64_t addr, uint64_t len,
		     const struct range_origin *origin)
{
	const struct range_piece *piece = range_tree__find(&ranges->tree, old_addr);
	struct range_origin use = *origin;

	if (use.kind == RANGE_MEMORY && piece && piece->start <= old_addr)
		use.kind = range_sums__kind(&ranges->sums, piece->mapping);
	return ranges__map(ranges, addr, len, &use);
}

int ranges__remap(struct ranges *ranges, uint64_t old_addr, uint64_t old_len, uint64_t addr,
		  uint64_t len, bool keep_old, const struct range_origin *origin)
{
	struct move move = {.begin_ns = origin->begin_ns, .time_ns = origin->time_ns};
	bool overlap;
	int err;

	if (!old_len)
		return duplicate(ranges, old_addr, addr, len, origin);
	if (!to_span(ranges, old_addr, old_len, &move.from) ||
	    !to_span(ranges, addr, len, &move.to))
		return 0;
	overlap = move.from.start < move.to.end && move.to.start < move.from.end;
	move.in_place = move.from.start == move.to.start;
	move.keep_old = keep_old && !overlap; /* the kernel refuses both at once */
	move.kept = min_u64(move.from.end - move.from.start, move.to.end - move.to.start);

	err = list_parts(ranges, &move);
	/* One piece for each part and for the tail, and three for splits on the way. */
	if (!err)
		err = range_tree__reserve(&ranges->tree, move.parts.cnt + 4);
	if (!err)
		err = claim_unknown(ranges, &move, origin);
	if (err)
		forget_move(ranges, &move);
	else
		err = apply_move(ranges, &move);
	array_free(&move.parts);
	return err;
}

/* ---- questions ---- */

static void mark(struct ranges *ranges, uint64_t addr, enum range_kind kind)
{
	const struct range_piece *piece = range_tree__find(&ranges->tree, addr);

	if (piece && piece->start <= addr &&
	    range_sums__kind(&ranges->sums, piece->mapping) == RANGE_MEMORY)
		range_sums__discount(&ranges->sums, piece->mapping, kind);
}

void ranges__mark_allocator(struct ranges *ranges, uint64_t addr)
{
	mark(ranges, addr, RANGE_ALLOCATOR);
}

void ranges__mark_arena(struct ranges *ranges, uint64_t addr)
{
	mark(ranges, addr, RANGE_ARENA);
}

uint64_t ranges__arena_bytes(const struct ranges *ranges)
{
	return range_sums__bytes(&ranges->sums, RANGE_ARENA);
}

uint64_t ranges__known_bytes(const struct ranges *ranges, uint64_t start, uint64_t end)
{
	const struct range_piece *piece;
	uint64_t bytes = 0;

	for (uint64_t pos = start; pos < end; pos = piece->end) {
		piece = range_tree__find(&ranges->tree, pos);
		if (!piece || piece->start >= end)
			break;
		bytes += min_u64(piece->end, end) - max_u64(piece->start, pos);
	}
	return bytes;
}

uint64_t ranges__unknown_bytes(const struct ranges *ranges)
{
	return ranges->unknown_bytes;
}

bool ranges__has_memory(const struct ranges *ranges)
{
	return ranges->sums.live_cnt;
}

uint64_t ranges__reserved_bytes(const struct ranges *ranges)
{
	return ranges->sums.mappings.items[RANGE_RESERVED].live_bytes;
}

int ranges__costs(const struct ranges *ranges, struct range_costs *ret)
{
	return range_sums__costs(&ranges->sums, ret);
}
