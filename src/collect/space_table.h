/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What user space knows of every address space that was traced (include/maps.h says what a space
 * is): whose it is, what code it maps, what it mapped itself, and what fork has handed down. Fed
 * with events; it secures while a process lives what a report needs after its end.
 */
#ifndef LEAKSWEEP_COLLECT_SPACE_TABLE_H
#define LEAKSWEEP_COLLECT_SPACE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "collect/modules.h"
#include "collect/ranges.h"
#include "include/events.h"
#include "include/unwind.h"
#include "model/snapshot.h"
#include "util/array.h"
#include "util/hashmap.h"

/* An executable mapping. */
struct code_map {
	uint64_t start, end, off;
	uint64_t since_ns; /* CLOCK_MONOTONIC; 0 = from the beginning, as far as is known */
	uint32_t module;
	bool replaced; /* other code was mapped there before */
};

/* Code that appeared somewhere, when, and of which file as the kernel knows it. */
struct code_birth {
	uint64_t start, end, off, time_ns;
	struct code_file file;
};

struct freed_block {
	uint64_t addr, time_ns;
	struct block block;
};

struct coverage {
	char *name, *path, *reason; /* owned */
	enum coverage_status status;
	uint32_t module;
};

struct space_info {
	uint32_t id;
	uint32_t parent; /* space whose blocks it inherited, or SPACE_NONE */
	pid_t tgid;
	pid_t ns_pid; /* in its own PID namespace; 0 = the same, or not known */
	enum proc_state state;
	int exit_code;
	bool is_root; /* named by the user, or the command started by us */
	bool forked, late;
	bool is_armed;	    /* its probes are in place, where that is for windows of time only */
	bool maps_stale;    /* /proc/PID/maps has changed since it was read */
	int read_err;	    /* of the last attempt to read it, negative errno */
	uint64_t born_ns;   /* CLOCK_MONOTONIC */
	uint64_t start_ns;  /* since boot, of the process */
	uint64_t rss_bytes; /* at the last look */
	char *comm, *exe, *cgroup;	 /* owned, "" when unknown */
	ARRAY(struct code_map) code;	 /* by address */
	ARRAY(struct code_birth) births; /* in their order; the oldest are forgotten */
	bool was_read;			 /* it has been, at all */
	ARRAY(struct coverage) coverage;
	struct ranges *ranges;
	ARRAY(struct freed_block)
	ancestor_frees; /* of its blocks, while a descendant still had them */
	/* First frees of what it may have inherited: {addr, 0} -> time_ns << 1 | whether it surely
	 * was. */
	struct hashmap unknown_frees;
	uint64_t unknown_free_cnt; /* of those that were not surely inherited, repeated ones too */
};

struct space_table {
	struct module_table modules;
	ARRAY(struct space_info *) spaces; /* all that still matter, in order of birth */
	struct hashmap by_id;		   /* {space, 0} -> pointer */
	struct hashmap by_tgid;		   /* {tgid, 0} -> space that runs there now */
	uint64_t ended_bytes, ended_count, ended_procs; /* of spaces that were dropped */
	/* Frees that are kept in all spaces together, how many may be (0 = any number), and how
	 * many had no room. */
	uint64_t free_cnt, max_frees, frees_left_out;
};

void space_table__free(struct space_table *table);

/* Adds a space that user space itself began to trace. NULL: no memory. An existing one is returned
 * as it is. */
struct space_info *space_table__add(struct space_table *table, uint32_t id, pid_t tgid,
				    uint64_t born_ns);

struct space_info *space_table__find(const struct space_table *table, uint32_t id);
struct space_info *space_table__find_tgid(const struct space_table *table, pid_t tgid);

/* Applies one event. Returns 0 or -ENOMEM. */
int space_table__apply(struct space_table *table, const struct event *event);

/*
 * Reads /proc for a space whose process lives: identity, and code mappings if they are stale. A
 * process that has gone meanwhile keeps what was known. Returns 0 or a negative errno.
 */
int space_info__refresh(struct space_table *table, struct space_info *space);

/* Adds or replaces what is known of one allocator's probes. Returns 0 or -ENOMEM. */
int space_info__set_coverage(struct space_info *space, uint32_t module, const char *name,
			     const char *path, enum coverage_status status, const char *reason);

/* Returns the code mapping that holds `pc`, or NULL. */
const struct code_map *space_info__find_code(const struct space_info *space, uint64_t pc);

/* Frees a space and forgets it. */
void space_table__drop(struct space_table *table, struct space_info *space);

#endif
