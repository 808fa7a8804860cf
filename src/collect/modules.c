/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/modules.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/elf_image.h"
#include "util/remote_mount.h"

/* Silently none when the file is not what it should be. */
static void read_build_id(struct module *module)
{
	struct elf_image image;

	if (elf_image__open(&image, module->fd, EM_NONE))
		return;
	module->build_id_len = (uint8_t)elf_image__build_id(&image, module->build_id);
	elf_image__close(&image);
}

/* A failure is kept in the module. */
static void open_module(struct module_table *table, struct module *module, pid_t pid,
			const struct proc_map *map)
{
	int fd = proc_map__open(pid, map);

	module->fd = fd < 0 ? -1 : fd;
	module->open_err = fd < 0 ? fd : 0;
	if (fd < 0)
		return;
	table->open_cnt++;
	module->is_remote = remote_mount__may_hold(pid, map->dev);
	if (!module->is_remote)
		module->subvolume = subvolumes__note(&table->subvolumes, map, fd);
	read_build_id(module);
}

static void close_module(struct module_table *table, struct module *module)
{
	if (module->fd < 0)
		return;
	close(module->fd);
	module->fd = -1;
	table->open_cnt--;
}

static uint64_t hash_name(const char *name)
{
	uint64_t hash = 14695981039346656037ULL; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211ULL;
	return hash;
}

void module_table__free(struct module_table *table)
{
	for (size_t i = 0; i < table->modules.cnt; i++) {
		free(table->modules.items[i].path);
		array_free(&table->modules.items[i].loops);
		close_module(table, &table->modules.items[i]);
	}
	array_free(&table->modules);
	hashmap__free(&table->by_inode);
	hashmap__free(&table->by_name);
	array_free(&table->by_number);
	subvolumes__free(&table->subvolumes);
}

/* Returns where the module's index is, or is to be; NULL: no memory. */
static uint64_t *insert_key(struct module_table *table, const struct module *module,
			    const char *path, bool *ret_is_new)
{
	if (module->ino)
		return hashmap__insert(&table->by_inode, module__device(module), module->ino,
				       ret_is_new);
	return hashmap__insert(&table->by_name, hash_name(path), 0, ret_is_new);
}

static void remove_key(struct module_table *table, uint64_t dev, uint32_t index)
{
	uint64_t ino = table->modules.items[index].ino;
	const uint64_t *slot = hashmap__find(&table->by_inode, dev, ino);

	if (slot && *slot == index)
		hashmap__remove(&table->by_inode, dev, ino);
}

/*
 * That it is in a subvolume may show only when it is open: then it is known by that, too. Returns
 * the index of the one that is already, or its own; MODULE_NONE: no memory.
 */
static uint32_t open_known(struct module_table *table, uint32_t index, pid_t pid,
			   const struct proc_map *map)
{
	struct module *module = &table->modules.items[index];
	uint64_t *slot;
	bool is_new;

	open_module(table, module, pid, map);
	slot = insert_key(table, module, module->path, &is_new);
	if (!slot)
		return MODULE_NONE;
	if (is_new)
		*slot = index;
	else if (*slot != index)
		close_module(table, module);
	return (uint32_t)*slot;
}

uint32_t module_table__add(struct module_table *table, pid_t pid, const struct proc_map *map)
{
	struct module module = {.dev = map->dev, .ino = map->ino, .fd = -1};
	const char *path = map->path[0] ? map->path : "[anon]";
	uint32_t index;
	uint64_t *slot;
	bool is_new;

	if (map->ino)
		module.subvolume = subvolumes__find(&table->subvolumes, pid, map);
	slot = insert_key(table, &module, path, &is_new);
	if (!slot)
		return MODULE_NONE;
	if (is_new) {
		*slot = table->modules.cnt;
		module.path = strdup(path);
		if (!module.path || array_push(&table->modules, module)) {
			free(module.path);
			if (map->ino)
				hashmap__remove(&table->by_inode, module__device(&module),
						map->ino);
			else
				hashmap__remove(&table->by_name, hash_name(path), 0);
			return MODULE_NONE;
		}
	}
	index = (uint32_t)*slot;
	/* The process that showed it first may have gone before it could be opened. */
	if (map->ino && table->modules.items[index].fd < 0)
		return open_known(table, index, pid, map);
	return index;
}

void module_table__close(struct module_table *table, uint32_t index)
{
	struct module *module = &table->modules.items[index];

	remove_key(table, module->dev, index);
	remove_key(table, module__device(module), index);
	close_module(table, module);
	module->open_err = -EMFILE;
}

int module_table__set_number(struct module_table *table, uint32_t index, uint32_t number)
{
	while (table->by_number.cnt <= number)
		if (array_push(&table->by_number, MODULE_NONE))
			return -ENOMEM;
	table->by_number.items[number] = index;
	return 0;
}

uint32_t module_table__of_number(const struct module_table *table, uint32_t number)
{
	return number < table->by_number.cnt ? table->by_number.items[number] : MODULE_NONE;
}

uint32_t module_table__find(const struct module_table *table, uint64_t dev, uint64_t ino)
{
	uint64_t *slot = hashmap__find(&table->by_inode, dev, ino);

	return slot ? *slot : MODULE_NONE;
}
