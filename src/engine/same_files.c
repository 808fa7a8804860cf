/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/same_files.h"

#include <stdlib.h>

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
	int fd = files->modules->modules.items[module].fd;
	struct code_file file;
	uint64_t *slot;
	bool is_new;

	if (unwind_memory__identify(files->memory, fd, &file))
		return module;
	slot = hashmap__insert(&files->first, file.ino, code_file__life(&file), &is_new);
	if (!slot)
		return module;
	if (is_new)
		*slot = module;
	return (uint32_t)*slot;
}

void same_files__forget(struct same_files *files, uint32_t module)
{
	struct code_file file;
	uint64_t *slot;

	if (unwind_memory__identify(files->memory, files->modules->modules.items[module].fd, &file))
		return;
	slot = hashmap__find(&files->first, file.ino, code_file__life(&file));
	if (slot && *slot == module)
		hashmap__remove(&files->first, file.ino, code_file__life(&file));
}

uint32_t same_files__first(struct same_files *files, uint32_t module)
{
	while (files->firsts.cnt <= module)
		if (array_push(&files->firsts, MODULE_NONE))
			return module;
	/* A file that could not be opened may be later. */
	if (files->firsts.items[module] == MODULE_NONE &&
	    files->modules->modules.items[module].fd >= 0)
		files->firsts.items[module] = find_first(files, module);
	return files->firsts.items[module] == MODULE_NONE ? module : files->firsts.items[module];
}
