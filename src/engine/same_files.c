/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/same_files.h"

#include <stdlib.h>
#include <sys/sysmacros.h>

#include "util/array.h"
#include "util/hashmap.h"

struct same_files {
	struct unwind_memory *memory;
	const struct module_table *modules;
	struct hashmap first;	/* {ino, device << 32 | generation} -> index */
	ARRAY(uint32_t) firsts; /* beside the module table; MODULE_NONE = not asked for yet */
};

struct same_files *same_files__new(struct unwind_memory *memory, const struct module_table *modules)
{
	struct same_files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	files->memory = memory;
	files->modules = modules;
	return files;
}

void same_files__free(struct same_files *files)
{
	if (!files)
		return;
	hashmap__free(&files->first);
	array_free(&files->firsts);
	free(files);
}

static uint32_t find_first(struct same_files *files, uint32_t module)
{
	const struct module *asked = &files->modules->modules.items[module];
	struct code_file file;
	uint64_t *slot;
	bool is_new;

	if (unwind_memory__identify(files->memory, asked->fd, &file))
		return module;
	/* All subvolumes have one device in the kernel, but a probe in one is in no other. */
	if (asked->subvolume)
		file.dev = major(asked->subvolume) << 20 | minor(asked->subvolume);
	slot = hashmap__insert(&files->first, file.ino, code_file__life(&file), &is_new);
	if (!slot)
		return module;
	if (is_new || files->modules->modules.items[*slot].fd < 0)
		*slot = module;
	return (uint32_t)*slot;
}

uint32_t same_files__first(struct same_files *files, uint32_t module)
{
	const struct module *modules = files->modules->modules.items;
	uint32_t *first;

	while (files->firsts.cnt <= module)
		if (array_push(&files->firsts, MODULE_NONE))
			return module;
	first = &files->firsts.items[module];
	/* A file that could not be opened may be later. */
	if ((*first == MODULE_NONE || modules[*first].fd < 0) && modules[module].fd >= 0)
		*first = find_first(files, module);
	return *first == MODULE_NONE ? module : *first;
}
