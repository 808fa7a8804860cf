/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of a census share, and owners.c with them. Private to these. */
#ifndef LEAKSWEEP_PYTHON_CENSUS_STATE_H
#define LEAKSWEEP_PYTHON_CENSUS_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/pages.h"
#include "python/pools.h"
#include "python/process.h"
#include "python/type_info.h"
#include "util/array.h"
#include "util/hashmap.h"

/*
 * What a block is: nothing known, an object, or (a flag beside the object's class) a part of one,
 * counted there. 2^30 types do not fit in a process.
 */
#define CLASS_NONE 0U
#define CLASS_FIRST 1U
#define CLASS_PART (1U << 31)
#define CLASS_OF(type, is_own_dict) (CLASS_FIRST + (type)*2U + ((is_own_dict) ? 1U : 0U))
#define CLASS_TYPE(class) (((class) - CLASS_FIRST) / 2U)
#define CLASS_IS_OWN_DICT(class) (((class) - CLASS_FIRST) & 1U)
#define CLASS_IS_OBJECT(class) ((class) >= CLASS_FIRST && !((class) & CLASS_PART))

/* An object that malloc gave room to. */
struct large_object {
	uint64_t addr, bytes; /* of the object; with what lies in front of it */
	uint32_t type;
};

struct class_sum {
	uint64_t cnt, bytes, large_bytes;
};

/* `process`, `scan` (with data) and `types` are borrowed; the rest is freed by census_state__free.
 */
struct census_state {
	const struct python_process *process;
	const struct pool_scan *scan;
	struct python_types *types;
	bool no_sizes;	   /* bytes of parts need not be right */
	uint32_t *classes; /* beside scan->live_bits */
	/* private anonymous memory: where malloc's blocks can be, as far as it is in memory */
	struct page_runs memory;
	uint64_t memory_bytes;
	uint64_t least_large; /* bytes; what is smaller lies in a pool */
	ARRAY(struct large_object) large;
	struct class_sum *sums; /* by class; NULL = nobody wants them */
	struct hashmap parts;	/* those outside the pools: {address, 0} -> class of the owner */
	uint64_t max_parts;	/* 0 = as many as there can be */
	uint64_t torn;
};

/* An object, wherever it lies. */
struct object {
	uint64_t addr;
	uint32_t type;
	const struct type_info *info;
};

/* Memory that belongs to an object. */
struct object_part {
	uint64_t addr, bytes;
	bool has_refs;
};

/*
 * Takes stock of the pools and of the memory: fills in `classes`, `memory` and what follows from
 * them. Returns 0 or a negative errno.
 */
int census_classify(struct census_state *state);
void census_state__free(struct census_state *state);

/* Returns how many bits scan->live_bits has. */
uint64_t census_bit_cnt(const struct pool_scan *scan);

/* Reads memory as it was when the pools were scanned, or else as it is now. */
bool census_read(const struct census_state *state, uint64_t addr, void *buf, size_t len);
bool census_read_word(const struct census_state *state, uint64_t addr, uint64_t *ret);

/* Returns the first run of pages that ends behind `addr`; memory.list.cnt = none. */
size_t census_run_at(const struct census_state *state, uint64_t addr);
bool census_is_memory(const struct census_state *state, uint64_t addr);

/* The object of class `class` in block `i` of a pool. */
struct object census_object_in(const struct census_state *state, const struct pool *pool,
			       uint32_t i, uint32_t class);

/* Calls for every block in use; anything but 0 ends the walk and is its result. */
typedef int (*census_block_fn)(struct census_state *state, void *arg, const struct pool *pool,
			       uint32_t i, uint32_t *class);
int census_each_block(struct census_state *state, census_block_fn fn, void *arg);

/*
 * Calls for each part of an object that is a block of its own: a list's items, a dict's table ...
 * `take` returns 0, PART_KNOWN (it was there before: what it leads to is not looked at) or a
 * negative errno. Returns 0 or that errno.
 */
#define PART_KNOWN 1
typedef int (*census_part_fn)(struct census_state *state, void *arg,
			      const struct object_part *part);
int census_each_part(struct census_state *state, const struct object *object, census_part_fn take,
		     void *arg);

/* Returns the address of the dict that holds an object's attributes, 0 = none. */
uint64_t census_dict_of(const struct census_state *state, const struct object *object);

/* Finds the objects outside the pools through whatever refers to them. Returns 0 or -ENOMEM, or
 * -ESRCH. */
int census_find_large(struct census_state *state);

/* Gives attribute dicts to their classes; more types may be known then. */
void census_name_dicts(struct census_state *state);

/* Gives each part to its object. Returns 0 or -ENOMEM. */
int census_assign_parts(struct census_state *state);

#endif
