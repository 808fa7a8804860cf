// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/dwarf_scopes.h"

#include <dwarf.h>
#include <string.h>

#define MAX_CALL_DEPTH 256

/* Siblings that are still to be seen, and the function they lie in. */
struct level {
	Dwarf_Die next;
	const void *function; /* Dwarf_Die.addr, or NULL */
};

struct walk {
	struct scopes *scopes;
	bool deep; /* look into everything */
	ARRAY(struct level) levels;
};

/* Returns the index of the first address that is not below `address`. */
static size_t lower_bound(const struct scopes *scopes, uint64_t address)
{
	size_t low = 0, high = scopes->cnt, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (scopes->addresses[mid] < address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* One contiguous part of a DIE's code and the addresses in it. */
struct part {
	ptrdiff_t pos; /* 0 to begin */
	Dwarf_Addr base, low, high;
	size_t first, end; /* indexes of addresses */
};

/* Returns whether there was another part. Empty and discarded ones have no addresses. */
static bool next_part(const struct scopes *scopes, Dwarf_Die *die, struct part *part)
{
	part->pos = dwarf_ranges(die, part->pos, &part->base, &part->low, &part->high);
	if (part->pos <= 0)
		return false;
	part->first = part->end = 0;
	if (part->low >= scopes->min_address && part->low < part->high) {
		part->first = lower_bound(scopes, part->low);
		part->end = lower_bound(scopes, part->high);
	}
	return true;
}

size_t scopes__want(struct scopes *scopes, Dwarf_Die *die)
{
	struct part part = {0};
	size_t cnt = 0;

	while (next_part(scopes, die, &part)) {
		for (size_t i = part.first; i < part.end; i++) {
			if (scopes->items[i].found || scopes->items[i].wanted)
				continue;
			scopes->items[i].wanted = true;
			cnt++;
		}
	}
	return cnt;
}

/*
 * Functions overlap where the linker folded equal ones; the narrower one is nested in the other, or
 * as good as it. Returns whether the function is the one of some address.
 */
static bool enter_function(struct walk *walk, Dwarf_Die *die)
{
	struct part part = {0};
	struct scope *scope;
	bool hit = false;

	while (next_part(walk->scopes, die, &part)) {
		for (size_t i = part.first; i < part.end; i++) {
			scope = &walk->scopes->items[i];
			if (!scope->wanted || scope->settled ||
			    (scope->found && scope->len <= part.high - part.low))
				continue;
			scope->found = true;
			scope->function = *die;
			scope->start = part.low;
			scope->len = part.high - part.low;
			scope->innermost = NO_CALL;
			scope->depth = 0;
			hit = true;
		}
	}
	return hit;
}

static int enter_call(struct walk *walk, Dwarf_Die *die, const void *function, bool *ret_hit)
{
	struct scope_call call = {.die = *die};
	struct part part = {0};
	struct scope *scope;

	while (next_part(walk->scopes, die, &part)) {
		for (size_t i = part.first; i < part.end; i++) {
			scope = &walk->scopes->items[i];
			if (!scope->wanted || scope->settled || !scope->found ||
			    scope->function.addr != function || scope->depth >= MAX_CALL_DEPTH)
				continue;
			call.outer = scope->innermost;
			if (walk->scopes->calls.cnt >= NO_CALL ||
			    array_push(&walk->scopes->calls, call))
				return -ENOMEM;
			scope->innermost = (uint32_t)walk->scopes->calls.cnt - 1;
			scope->depth++;
			*ret_hit = true;
		}
	}
	return 0;
}

/* A block without addresses of its own may still hold calls that have some. */
static bool enter_block(struct walk *walk, Dwarf_Die *die)
{
	struct part part = {0};

	if (!dwarf_hasattr(die, DW_AT_low_pc) && !dwarf_hasattr(die, DW_AT_ranges))
		return true;
	while (next_part(walk->scopes, die, &part))
		for (size_t i = part.first; i < part.end; i++)
			if (walk->scopes->items[i].wanted)
				return true;
	return false;
}

/* Notes what the DIE says. *ret_descend tells whether to go on with its children. */
static int enter(struct walk *walk, Dwarf_Die *die, const void **function, bool *ret_descend)
{
	*ret_descend = walk->deep;
	switch (dwarf_tag(die)) {
	case DW_TAG_subprogram:
		if (enter_function(walk, die))
			*ret_descend = true;
		*function = die->addr;
		return 0;
	case DW_TAG_inlined_subroutine:
		*ret_descend = false;
		return *function ? enter_call(walk, die, *function, ret_descend) : 0;
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
	case DW_TAG_with_stmt:
		if (*function && enter_block(walk, die))
			*ret_descend = true;
		return 0;
	case DW_TAG_namespace:
	case DW_TAG_module:
		*ret_descend = true;
		return 0;
	default:
		return 0;
	}
}

static int walk_unit(struct walk *walk, Dwarf_Die *unit)
{
	struct level level = {0}, *top;
	const void *function;
	bool descend;
	Dwarf_Die die;
	int err;

	walk->levels.cnt = 0;
	if (dwarf_child(unit, &level.next))
		return 0;
	err = array_push(&walk->levels, level);
	while (!err && walk->levels.cnt) {
		top = &walk->levels.items[walk->levels.cnt - 1];
		die = top->next;
		function = top->function;
		if (dwarf_siblingof(&die, &top->next))
			walk->levels.cnt--;
		err = enter(walk, &die, &function, &descend);
		if (err || !descend || dwarf_child(&die, &level.next))
			continue;
		level.function = function;
		err = array_push(&walk->levels, level);
	}
	return err;
}

/* Leaves what is found as it is from now on. Returns whether something is not found. */
static bool settle(struct scopes *scopes)
{
	bool missing = false;

	for (size_t i = 0; i < scopes->cnt; i++) {
		scopes->items[i].settled = scopes->items[i].found;
		missing |= scopes->items[i].wanted && !scopes->items[i].found;
	}
	return missing;
}

int scopes__find(struct scopes *scopes, Dwarf_Die *unit)
{
	struct walk walk = {.scopes = scopes};
	int err;

	err = walk_unit(&walk, unit);
	/*
	 * Methods of local classes and the like lie deeper; looking there every time would mean all
	 * types of all headers.
	 */
	if (!err && settle(scopes)) {
		walk.deep = true;
		err = walk_unit(&walk, unit);
	}
	array_free(&walk.levels);
	return err;
}
