/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/unwinder.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "include/arch.h"
#include "unwind/loader.h"
#include "unwind/store.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/hashmap.h"

#define SLACK 16 /* of so many cells one is lost where a page does not fit into a chunk's rest */
#define CHUNK_BYTES (UNWIND_CHUNK_CELLS * sizeof(uint64_t))

/* What became of a file of the module table. */
struct unwound_file {
	bool is_loaded; /* `module` is valid; its table may have been evicted since */
	bool was_open;	/* when it was tried */
	uint32_t module;
};

struct unwinder {
	struct unwind_memory *memory;
	struct space_table *table;
	struct table_loader *loader;
	struct table_store *store;
	uint32_t max_chunks;
	ARRAY(struct unwound_file) files; /* beside the module table */
	struct hashmap
		by_identity; /* {inode, device << 32 | generation} -> index in the module table */
	ARRAY(struct table_request) requests; /* of the batch that is being loaded ... */
	ARRAY(uint32_t) requested;	      /* ... and whose they are */
	struct snap_unwind sums;
};

/* Adds room for `cells` more, as far as the bound allows. Returns 0 or a negative errno. */
static int add_room(struct unwinder *unwinder, uint64_t cells)
{
	struct table_store_usage usage;
	uint64_t *chunks[MAX_CHUNKS_AT_ONCE], cnt = cells / UNWIND_CHUNK_CELLS + 1, room;
	int err;

	table_store__usage(unwinder->store, &usage);
	room = unwinder->max_chunks - usage.cells / UNWIND_CHUNK_CELLS;
	if (!room)
		return -ENOSPC;
	if (cnt > room)
		cnt = room;
	if (cnt > MAX_CHUNKS_AT_ONCE)
		cnt = MAX_CHUNKS_AT_ONCE;
	err = unwind_memory__add_chunks(unwinder->memory, (uint32_t)cnt, chunks);
	for (uint64_t i = 0; i < cnt && !err; i++)
		err = table_store__add_chunk(unwinder->store, chunks[i]);
	return err;
}

static uint64_t cells_of(const struct unwind_table *table)
{
	return (uint64_t)table->row_cnt + table->page_cnt;
}

/* Adds at once what the tables of a batch will need: each addition waits 10 ms. */
static void prepare_room(struct unwinder *unwinder)
{
	struct table_store_usage usage;
	uint64_t wanted = 0, free;

	for (size_t i = 0; i < unwinder->requests.cnt; i++)
		if (!unwinder->requests.items[i].err)
			wanted += cells_of(&unwinder->requests.items[i].table);
	wanted += wanted / SLACK;
	table_store__usage(unwinder->store, &usage);
	free = usage.cells - usage.used_cells;
	/* Less than a chunk is added when it is needed, if it is. */
	if (wanted > free && wanted - free > UNWIND_CHUNK_CELLS)
		add_room(unwinder, wanted - free);
}

/* Puts a table into the kernel's memory, which grows up to its bound; then others have to go. */
static int put_table(struct unwinder *unwinder, const struct unwind_table *table, uint32_t *module)
{
	int err;

	while ((err = table_store__put(unwinder->store, table, *module, module)) == -ENOSPC)
		if (add_room(unwinder, cells_of(table)) &&
		    !table_store__evict(unwinder->store, *module))
			break;
	return err;
}

/* Code of the kernel's that every process has; where it has no table, frame pointers are tried. */
static int load_vdso(struct unwinder *unwinder)
{
	const Elf64_Ehdr *image = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	struct unwind_table table = {0};
	uint32_t module = UNWIND_MODULE_VDSO;
	uint64_t size;
	int err;

	if (image) {
		size = image->e_shoff + (uint64_t)image->e_shnum * image->e_shentsize;
		unwind_table__compile_image(image, size, &table);
	}
	err = put_table(unwinder, &table, &module);
	unwind_table__free(&table);
	return err;
}

int unwinder__new(const struct unwinder_opts *opts, struct attacher *attacher,
		  struct space_table *table, struct unwinder **ret)
{
	struct unwinder *unwinder = calloc(1, sizeof(*unwinder));
	uint64_t chunks = opts->memory_bytes / CHUNK_BYTES;
	int err = -ENOMEM;

	if (!unwinder)
		return -ENOMEM;
	unwinder->memory = attacher__unwind_memory(attacher);
	unwinder->table = table;
	unwinder->max_chunks = chunks < 1		    ? 1
			       : chunks < MAX_UNWIND_CHUNKS ? chunks
							    : MAX_UNWIND_CHUNKS;
	unwinder->loader =
		table_loader__new(opts->cache_dir, opts->cache_bytes, &unwinder->sums.cache_err);
	unwinder->store =
		table_store__new(unwind_memory__modules(unwinder->memory), unwinder->max_chunks);
	if (!unwinder->loader || !unwinder->store)
		goto cleanup;
	err = load_vdso(unwinder);
	if (err)
		goto cleanup;
	*ret = unwinder;
	return 0;
cleanup:
	unwinder__free(unwinder);
	return err;
}

void unwinder__free(struct unwinder *unwinder)
{
	if (!unwinder)
		return;
	for (size_t i = 0; i < unwinder->requests.cnt; i++)
		unwind_table__free(&unwinder->requests.items[i].table);
	array_free(&unwinder->requests);
	array_free(&unwinder->requested);
	array_free(&unwinder->files);
	hashmap__free(&unwinder->by_identity);
	table_store__free(unwinder->store);
	table_loader__free(unwinder->loader);
	free(unwinder);
}

static struct unwound_file *file_at(struct unwinder *unwinder, uint32_t index)
{
	while (unwinder->files.cnt <= index)
		if (array_push(&unwinder->files, (struct unwound_file){0}))
			return NULL;
	return &unwinder->files.items[index];
}

/* Queues a file whose table is missing. */
static int request(struct unwinder *unwinder, uint32_t index)
{
	const struct module *module = &unwinder->table->modules.modules.items[index];
	struct unwound_file *file = file_at(unwinder, index);
	struct table_request item = {
		.fd = module->fd,
		.build_id = module->build_id,
		.build_id_len = module->build_id_len,
	};
	int err;

	if (!file)
		return -ENOMEM;
	if (!module->ino || file->is_loaded || module->fd < 0)
		return 0; /* no file; done; or not to be had (it may be opened later) */
	for (size_t i = 0; i < unwinder->requested.cnt; i++)
		if (unwinder->requested.items[i] == index)
			return 0;
	file->was_open = true;
	err = array_push(&unwinder->requests, item);
	return err ? err : array_push(&unwinder->requested, index);
}

/* Returns whose file it is, a place in the module table, or NULL. */
static const uint64_t *find_identity(const struct unwinder *unwinder, const struct code_file *file)
{
	return hashmap__find(&unwinder->by_identity, file->ino, code_file__life(file));
}

/* Tells the kernel side and this one that a file's code has the table of `index`. */
static int assign(struct unwinder *unwinder, const struct code_file *file, uint32_t index)
{
	uint64_t *slot;

	unwind_memory__assign(unwinder->memory, file, unwinder->files.items[index].module);
	slot = hashmap__insert(&unwinder->by_identity, file->ino, code_file__life(file), NULL);
	if (!slot)
		return -ENOMEM;
	*slot = index;
	return 0;
}

/* Gives a file of the module table its table. Returns 0, -ENOSPC (nothing done) or another error.
 */
static int place(struct unwinder *unwinder, uint32_t index, const struct unwind_table *table)
{
	struct unwound_file *file = &unwinder->files.items[index];
	int err;

	err = put_table(unwinder, table, &file->module);
	if (!err)
		err = module_table__set_number(&unwinder->table->modules, index, file->module);
	if (!err)
		file->is_loaded = true;
	return err;
}

/* A file that was closed and is mapped again keeps its number: there are not so many. */
static void take_number(struct unwinder *unwinder, uint32_t index, const struct code_file *identity)
{
	const uint64_t *slot = find_identity(unwinder, identity);

	if (slot && *slot != index && unwinder->table->modules.modules.items[*slot].fd < 0)
		unwinder->files.items[index].module = unwinder->files.items[*slot].module;
}

/* Gives a loaded table to the kernel side. */
static int install(struct unwinder *unwinder, struct table_request *item, uint32_t index)
{
	const struct module *module = &unwinder->table->modules.modules.items[index];
	bool is_again = unwinder->files.items[index].is_loaded;
	struct code_file identity;
	bool is_known = !unwind_memory__identify(unwinder->memory, module->fd, &identity);
	int err;

	if (is_known && !unwinder->files.items[index].module)
		take_number(unwinder, index, &identity);
	if (item->err) {
		unwinder->sums.failed += ARCH_HAS_TABLES;
		memset(&item->table, 0, sizeof(item->table));
	}
	err = place(unwinder, index, &item->table);
	if (err)
		return err == -ENOMEM ? err : 0;
	if (!is_again && ARCH_HAS_TABLES) {
		unwinder->sums.tables++;
		unwinder->sums.rows += item->table.row_cnt;
		unwinder->sums.from_cache += item->from_cache;
	}
	return is_known ? assign(unwinder, &identity, index) : 0; /* else an event will tell */
}

/* Installs what the cache has: stacks wait for it. The others move to the front. */
static int load_cached(struct unwinder *unwinder)
{
	size_t missing = 0;
	int err = 0;

	for (size_t i = 0; i < unwinder->requests.cnt && !err; i++)
		err = table_loader__find(unwinder->loader, &unwinder->requests.items[i]);
	if (!err)
		prepare_room(unwinder);
	for (size_t i = 0; i < unwinder->requests.cnt; i++) {
		struct table_request *item = &unwinder->requests.items[i];
		uint32_t index = unwinder->requested.items[i];

		if (!err && item->err == -ENOENT) {
			unwinder->requests.items[missing] = *item;
			unwinder->requested.items[missing++] = index;
			continue;
		}
		if (!err)
			err = install(unwinder, item, index);
		unwind_table__free(&item->table);
	}
	unwinder->requests.cnt = missing;
	unwinder->requested.cnt = missing;
	return err;
}

static int load_missing(struct unwinder *unwinder)
{
	int err;

	if (!unwinder->requests.cnt)
		return 0;
	err = table_loader__load(unwinder->loader, unwinder->requests.items,
				 unwinder->requests.cnt);
	if (!err)
		prepare_room(unwinder);
	for (size_t i = 0; i < unwinder->requests.cnt; i++) {
		if (!err)
			err = install(unwinder, &unwinder->requests.items[i],
				      unwinder->requested.items[i]);
		unwind_table__free(&unwinder->requests.items[i].table);
	}
	unwinder->requests.cnt = 0;
	unwinder->requested.cnt = 0;
	return err;
}

static int load_requests(struct unwinder *unwinder)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	int err;

	if (!unwinder->requests.cnt)
		return 0;
	err = load_cached(unwinder);
	if (!err)
		err = load_missing(unwinder);
	unwinder->sums.load_ns += clock_ns(CLOCK_MONOTONIC) - begin;
	return err;
}

int unwinder__cover(struct unwinder *unwinder, const struct space_info *space)
{
	struct module_table *modules = &unwinder->table->modules;
	int err;

	for (size_t i = 0; i < space->code.cnt; i++) {
		uint32_t index = space->code.items[i].module;

		if (!strcmp(modules->modules.items[index].path, "[vdso]"))
			err = module_table__set_number(modules, index, UNWIND_MODULE_VDSO);
		else
			err = request(unwinder, index);
		if (err)
			return err;
	}
	return load_requests(unwinder);
}

/* Whether the module's file is the one that the kernel means. */
static bool is_file(struct unwinder *unwinder, uint32_t index, const struct code_file *wanted)
{
	const struct module *module = &unwinder->table->modules.modules.items[index];
	struct code_file file;

	return module->fd < 0 || unwind_memory__identify(unwinder->memory, module->fd, &file) ||
	       (file.ino == wanted->ino && file.dev == wanted->dev &&
		file.generation == wanted->generation);
}

/*
 * A stack has met a file under a name of the kernel's that nobody has given a table: code that was
 * mapped this moment, or a mapping whose file could not be opened.
 */
static int apply_new(struct unwinder *unwinder, const struct event *event)
{
	struct space_info *space = space_table__find(unwinder->table, event->space);
	const struct code_map *code = space ? space_info__find_code(space, event->code.addr) : NULL;
	struct unwind_table none = {0};
	struct unwound_file *file;
	int err;

	/* By now something else may be mapped there. */
	if (!code || !is_file(unwinder, code->module, &event->code.file))
		return unwind_memory__forget(unwinder->memory, &event->code.file);
	err = request(unwinder, code->module);
	if (!err)
		err = load_requests(unwinder);
	if (err)
		return err;
	file = file_at(unwinder, code->module);
	if (!file)
		return -ENOMEM;
	if (!file->is_loaded) {
		/* It will never have one: frame pointers may do. */
		err = place(unwinder, code->module, &none);
		if (err)
			return err == -ENOMEM ? err : 0;
	}
	return assign(unwinder, &event->code.file, code->module);
}

static int apply_wanted(struct unwinder *unwinder, const struct event *event)
{
	uint32_t index = module_table__of_number(&unwinder->table->modules, event->code.module);

	if (index == MODULE_NONE || index >= unwinder->files.cnt)
		return 0;
	unwinder->files.items[index].is_loaded = false;
	return request(unwinder, index) ? -ENOMEM : load_requests(unwinder);
}

/* A program that was seen before has been started: it may end before its mappings are read. */
static int apply_map(struct unwinder *unwinder, const struct event *event)
{
	struct space_info *space = space_table__find(unwinder->table, event->space);
	const uint64_t *slot = find_identity(unwinder, &event->code.file);
	struct code_map code = {
		.start = event->code.start,
		.end = event->code.end,
		.off = event->code.pgoff,
	};

	if (!space || !slot || space_info__find_code(space, event->code.addr))
		return 0;
	code.module = *slot;
	return array_push(&space->code, code);
}

int unwinder__apply(struct unwinder *unwinder, const struct event *event)
{
	if (event->kind == EV_CODE_MAP)
		return apply_map(unwinder, event);
	if (event->kind == EV_CODE_NEW)
		return apply_new(unwinder, event);
	if (event->kind == EV_CODE_WANTED)
		return apply_wanted(unwinder, event);
	return 0;
}

/* Which table is for a file of the module table. */
static uint32_t table_of(const struct unwinder *unwinder, uint32_t index)
{
	const struct module *module = &unwinder->table->modules.modules.items[index];

	if (index < unwinder->files.cnt && unwinder->files.items[index].is_loaded)
		return unwinder->files.items[index].module;
	if (module->ino)
		return WALK_NOT_LOADED;
	return strcmp(module->path, "[vdso]") ? UNWIND_MODULE_NONE : UNWIND_MODULE_VDSO;
}

int unwinder__list_code(const struct unwinder *unwinder, const struct space_info *space,
			uint64_t time_ns, struct walk_code **ret_code, size_t *ret_cnt)
{
	struct walk_code *list = calloc(space->code.cnt + space->births.cnt + 1, sizeof(*list));
	size_t cnt = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < space->code.cnt; i++) {
		const struct code_map *code = &space->code.items[i];

		if (code->since_ns <= time_ns)
			list[cnt++] = (struct walk_code){
				.start = code->start,
				.end = code->end,
				.to_offset = code->off - code->start,
				.module = table_of(unwinder, code->module),
			};
	}
	/* What came later lies on top. */
	for (size_t i = 0; i < space->births.cnt; i++) {
		const struct code_birth *birth = &space->births.items[i];
		const uint64_t *index = find_identity(unwinder, &birth->file);

		if (birth->time_ns <= time_ns)
			list[cnt++] = (struct walk_code){
				.start = birth->start,
				.end = birth->end,
				.to_offset = birth->off - birth->start,
				.module = index ? table_of(unwinder, *index) : WALK_NOT_LOADED,
			};
	}
	*ret_code = list;
	*ret_cnt = cnt;
	return 0;
}

const struct table_store *unwinder__store(const struct unwinder *unwinder)
{
	return unwinder->store;
}

void unwinder__tell(const struct unwinder *unwinder, struct snapshot *snap)
{
	struct table_store_usage usage;

	table_store__usage(unwinder->store, &usage);
	snap->unwind = unwinder->sums;
	snap->unwind.evicted = usage.evictions;
	snap->unwind.bytes = usage.cells * sizeof(uint64_t);
}
