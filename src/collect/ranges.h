/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory that one address space maps directly: which ranges, by whom (stack), since when. Fed
 * with the system calls in the order of their events; pure otherwise. Times are CLOCK_MONOTONIC
 * nanoseconds, addresses and lengths bytes; lengths are rounded up to pages here as the kernel
 * does.
 *
 * Only what a program asked for itself is counted: not file mappings, not what an allocator mapped
 * for its heap, not reservations (PROT_NONE until mprotect makes it accessible, MAP_NORESERVE). All
 * of them are kept, so that later unmaps and overlays of any part fall on the right range.
 */
#ifndef LEAKSWEEP_COLLECT_RANGES_H
#define LEAKSWEEP_COLLECT_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/cost.h"
#include "util/array.h"

enum range_kind {
	RANGE_MEMORY = 1,    /* counted */
	RANGE_ALLOCATOR = 2, /* belongs to an allocator, whose blocks are counted instead */
	RANGE_RESERVED = 3,  /* anonymous, PROT_NONE so far */
	RANGE_FILE = 4,	     /* backed by a file */
	RANGE_ARENA = 5, /* holds pools of Python's object allocator, whose blocks are counted */
};

/* One mmap or brk as it happened. */
struct range_origin {
	uint64_t stack_id;
	uint64_t begin_ns, time_ns; /* the call's begin and end */
	enum range_kind kind;
};

/* Sums per stack. count = mappings; a mapping is freed when its last byte is unmapped. */
struct range_cost {
	uint64_t stack_id;
	struct cost cost;
	uint64_t oldest_ns,
		newest_ns; /* time_ns of the oldest and newest live range; 0 = none lives */
};

struct range_costs {
	ARRAY(struct range_cost) rows;
};

struct ranges;

/* Returns an empty set, or NULL (no memory). */
struct ranges *ranges__new(void);
void ranges__free(struct ranges *ranges);

/*
 * The copy that a forked child owns: the same ranges, counted as inherited. NULL (no memory).
 */
struct ranges *ranges__fork(const struct ranges *ranges);

/*
 * Maps [addr, addr + len). Whatever older range lies there is unmapped by it (MAP_FIXED). Returns 0
 * or -ENOMEM (the range is then unknown, nothing else is harmed).
 */
int ranges__map(struct ranges *ranges, uint64_t addr, uint64_t len,
		const struct range_origin *origin);

/*
 * Unmaps [addr, addr + len) by a call that began at `begin_ns`. Ranges whose mapping call ended
 * after that came later on another thread and stay: events of two threads may arrive in the wrong
 * order. Returns 0 or -ENOMEM (a split failed: the tail is forgotten).
 */
int ranges__unmap(struct ranges *ranges, uint64_t addr, uint64_t len, uint64_t begin_ns);

/*
 * mremap: moves, shrinks or grows. Moved parts keep stack, age and kind; the grown tail belongs to
 * the same mapping (alloc_bytes grow, alloc_count does not), with the kind of the last byte before
 * it. `keep_old` is MREMAP_DONTUNMAP: the old range stays mapped, as a reservation of kind
 * RANGE_RESERVED. old_len 0 duplicates a shared mapping: that is a new mapping of `origin`. An old
 * range that is unknown becomes a mapping of `origin`.
 */
int ranges__remap(struct ranges *ranges, uint64_t old_addr, uint64_t old_len, uint64_t addr,
		  uint64_t len, bool keep_old, const struct range_origin *origin);

/* brk moved the end of the heap: growth is a map of [old_end, new_end), shrinking an unmap. */
int ranges__brk(struct ranges *ranges, uint64_t old_end, uint64_t new_end,
		const struct range_origin *origin);

/*
 * mprotect with access: RANGE_RESERVED parts become RANGE_MEMORY with the call's stack and time (or
 * RANGE_ALLOCATOR when origin->kind says so), each connected part one mapping. PROT_NONE
 * (`accessible` false) changes nothing: the pages stay.
 */
int ranges__protect(struct ranges *ranges, uint64_t addr, uint64_t len, bool accessible,
		    const struct range_origin *origin);

/*
 * A block of an allocator lies at `addr`: the whole mapping it is in turns from RANGE_MEMORY to
 * RANGE_ALLOCATOR and leaves the sums as if it had never been in them. Cheap when it already is
 * one, or when nothing is mapped there.
 */
void ranges__mark_allocator(struct ranges *ranges, uint64_t addr);

/* The same for a block or a pool of pymalloc: RANGE_MEMORY turns to RANGE_ARENA. */
void ranges__mark_arena(struct ranges *ranges, uint64_t addr);

/* Bytes that are mapped in RANGE_ARENA. */
uint64_t ranges__arena_bytes(const struct ranges *ranges);

/* How many bytes of [start, end) were mapped while somebody looked, whatever they are. */
uint64_t ranges__known_bytes(const struct ranges *ranges, uint64_t start, uint64_t end);

/* Bytes unmapped that belonged to no known range (mapped before the trace began). */
uint64_t ranges__unknown_bytes(const struct ranges *ranges);

/* Bytes that are reserved only: address space, not memory. */
uint64_t ranges__reserved_bytes(const struct ranges *ranges);

/* Whether any RANGE_MEMORY lives: if not, blocks need not be looked up. */
bool ranges__has_memory(const struct ranges *ranges);

/* Fills sums per stack (all that ever were, also those with nothing live). Returns 0 or -ENOMEM. */
int ranges__costs(const struct ranges *ranges, struct range_costs *ret);
void range_costs__free(struct range_costs *costs);

#endif
