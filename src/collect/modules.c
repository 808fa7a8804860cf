/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/modules.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAX_PHDRS 128
#define MAX_NOTES (64 << 10)

/* Finds the build-id note in the file's PT_NOTE segments; silently none when the file is not what it should be. */
static void read_build_id(struct module *module)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	Elf64_Nhdr note;
	uint64_t pos, end;
	char name[4];

	if (pread(module->fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr) ||
	    memcmp(ehdr.e_ident, ELFMAG, SELFMAG) || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_phentsize != sizeof(phdr))
		return;
	for (unsigned int i = 0; i < ehdr.e_phnum && i < MAX_PHDRS; i++) {
		if (pread(module->fd, &phdr, sizeof(phdr), ehdr.e_phoff + i * sizeof(phdr)) != sizeof(phdr))
			return;
		if (phdr.p_type != PT_NOTE || phdr.p_filesz > MAX_NOTES)
			continue;
		end = phdr.p_offset + phdr.p_filesz;
		for (pos = phdr.p_offset; pos + sizeof(note) <= end;) {
			if (pread(module->fd, &note, sizeof(note), pos) != sizeof(note) ||
			    note.n_namesz > MAX_NOTES || note.n_descsz > MAX_NOTES)
				break;
			pos += sizeof(note);
			if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(name) &&
			    note.n_descsz <= sizeof(module->build_id) &&
			    pread(module->fd, name, sizeof(name), pos) == sizeof(name) &&
			    !memcmp(name, "GNU", sizeof(name))) {
				if (pread(module->fd, module->build_id, note.n_descsz, pos + 4) == note.n_descsz)
					module->build_id_len = note.n_descsz;
				return;
			}
			pos += (note.n_namesz + 3UL) / 4 * 4 + (note.n_descsz + 3UL) / 4 * 4;
		}
	}
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
		if (table->modules.items[i].fd >= 0)
			close(table->modules.items[i].fd);
	}
	array_free(&table->modules);
	hashmap__free(&table->by_inode);
	hashmap__free(&table->by_name);
}

uint32_t module_table__add(struct module_table *table, pid_t pid, const struct proc_map *map)
{
	struct module module = {.dev = map->dev, .ino = map->ino, .fd = -1};
	const char *path = map->path[0] ? map->path : "[anon]";
	uint64_t *slot;
	bool is_new;

	if (map->ino)
		slot = hashmap__insert(&table->by_inode, map->dev, map->ino, &is_new);
	else
		slot = hashmap__insert(&table->by_name, hash_name(path), 0, &is_new);
	if (!slot)
		return MODULE_NONE;
	if (!is_new)
		return *slot;
	*slot = table->modules.cnt;
	module.path = strdup(path);
	if (map->ino) {
		module.fd = proc_map__open(pid, map);
		if (module.fd < 0) {
			module.open_err = module.fd;
			module.fd = -1;
		} else {
			read_build_id(&module);
		}
	}
	if (!module.path || array_push(&table->modules, module)) {
		free(module.path);
		if (module.fd >= 0)
			close(module.fd);
		if (map->ino)
			hashmap__remove(&table->by_inode, map->dev, map->ino);
		else
			hashmap__remove(&table->by_name, hash_name(path), 0);
		return MODULE_NONE;
	}
	return table->modules.cnt - 1;
}

uint32_t module_table__find(const struct module_table *table, uint64_t dev, uint64_t ino)
{
	uint64_t *slot = hashmap__find(&table->by_inode, dev, ino);

	return slot ? *slot : MODULE_NONE;
}
