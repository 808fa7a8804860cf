/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What makes two rows one: rows are summed up and matched with the previous profile by what they
 * are, never by index. Private to the profile.
 */
#ifndef LEAKSWEEP_MODEL_GROUP_KEY_H
#define LEAKSWEEP_MODEL_GROUP_KEY_H

#include "model/profile.h"

/* A snapshot with the hashes of its parts. */
struct keyer {
	const struct profile *profile; /* borrowed: its snapshot, symbols, beginnings of stacks */
	const struct snapshot *snap;
	const struct symbol *symbols; /* NULL = no names */
	enum profile_group group;
	uint64_t *module_hashes, *code_hashes;
	uint64_t *node_hashes;
	uint64_t *python_hashes; /* the same of stacks with Python frames */
	uint32_t *generations;	 /* per process: which image of its pid and start time */
};

/* Returns 0 or -ENOMEM; to be destroyed in both cases. */
int keyer__init(struct keyer *keyer, const struct profile *profile, enum profile_group group);
void keyer__destroy(struct keyer *keyer);

/* What is grouped: a row, or under GROUP_TYPE its part of a type; SNAP_NONE = the rest. */
struct row_part {
	const struct snap_row *row;
	uint32_t type;
};

/* Returns the hash of a row's key under the keyer's grouping. */
uint64_t hash_row(const struct keyer *keyer, struct row_part part);

/* Whether two rows have the same key; the keyers group alike. */
bool same_row(const struct keyer *ka, struct row_part a, const struct keyer *kb, struct row_part b);

/* Returns the position of a process among the images of one pid and start time: the running one is
 * last. */
unsigned int proc_state_order(const struct snap_proc *proc);

#endif
