/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that code is mapped from, each once and held open: a file that is deleted, replaced or
 * in a container that has gone can still be named at the end. Of very many, those that nobody maps
 * any more are closed (engine/open_files.h).
 */
#ifndef LEAKSWEEP_COLLECT_MODULES_H
#define LEAKSWEEP_COLLECT_MODULES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "python/build.h"
#include "util/array.h"
#include "util/hashmap.h"
#include "util/procfs.h"
#include "util/subvolumes.h"

#define MODULE_NONE UINT32_MAX

struct module {
	char *path; /* owned */
	uint64_t dev, ino;
	uint64_t subvolume; /* that dev and ino are of (util/subvolumes.h), 0 = none */
	int fd;		    /* owned; -1 = could not be opened */
	int open_err;	    /* why, negative errno */
	bool is_remote;	    /* its file may wait for a server each time (util/remote_mount.h) */
	uint8_t build_id[32];
	uint8_t build_id_len;
	bool is_probed;			/* it has to stay open; told by the engine, as are ... */
	bool is_interpreter;		/* of Python ... */
	ARRAY(struct code_range) loops; /* ... and the file offsets of its loop */
};

/* Returns the device that, with its inode number, tells the file apart from all others. */
static inline uint64_t module__device(const struct module *module)
{
	return module->subvolume ? module->subvolume : module->dev;
}

struct module_table {
	ARRAY(struct module) modules;
	size_t open_cnt;
	struct hashmap by_inode;   /* {device, ino} -> index; {dev, ino} of some in subvolumes */
	struct hashmap by_name;	   /* {hash of the name, 0} -> index, for what has no inode */
	ARRAY(uint32_t) by_number; /* the kernel side's number -> index, or MODULE_NONE */
	struct subvolumes subvolumes;
};

void module_table__free(struct module_table *table);

/* Returns the index of the module behind a mapping of process `pid`, opened at first sight;
 * MODULE_NONE: no memory. */
uint32_t module_table__add(struct module_table *table, pid_t pid, const struct proc_map *map);

/* Notes under which number the kernel side tells of the module. Returns 0 or -ENOMEM. */
int module_table__set_number(struct module_table *table, uint32_t index, uint32_t number);

/* Returns the index of the module of that number, or MODULE_NONE. */
uint32_t module_table__of_number(const struct module_table *table, uint32_t number);

/* Closes its file: mapped again, it is another module. Its name and number stay. */
void module_table__close(struct module_table *table, uint32_t index);

/* Returns the index of a module seen before, of several in subvolumes the first; or MODULE_NONE. */
uint32_t module_table__find(const struct module_table *table, uint64_t dev, uint64_t ino);

#endif
