// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/sources.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "symbolize/debug_file.h"
#include "symbolize/debuginfod.h"
#include "util/clock.h"
#include "util/remote_mount.h"

#define MAX_VDSO_SIZE (64U << 10)
#define FETCH_WAIT_NS (2 * NS_PER_SEC) /* of the report, once */

static void close_source(struct source *source)
{
	elf_symbols__free(source->symbols);
	if (source->debug_fd >= 0)
		close(source->debug_fd);
	if (source->alt_fd >= 0)
		close(source->alt_fd);
}

void sources__free(struct sources *sources)
{
	for (size_t i = 0; i < sources->list.cnt; i++)
		close_source(&sources->list.items[i]);
	array_free(&sources->list);
	hashmap__free(&sources->index);
	debuginfod__free(sources->debuginfod);
}

int source__dwarf_fd(const struct source *source)
{
	return source->own_dwarf ? source->fd : source->debug_fd;
}

/* Takes the source over, whatever it returns: its index, or NO_SOURCE (no memory). */
static uint32_t add_source(struct sources *sources, struct source source, int err)
{
	if (err)
		source.reason = SYMBOL_UNREADABLE;
	else if (elf_symbols__empty(source.symbols))
		source.reason = SYMBOL_STRIPPED;
	if (sources->list.cnt >= NO_SOURCE || array_push(&sources->list, source)) {
		close_source(&source);
		return NO_SOURCE;
	}
	return (uint32_t)sources->list.cnt - 1;
}

static int ask_servers(struct sources *sources, const struct elf_image *image, uint32_t tag)
{
	uint8_t build_id[MAX_ELF_BUILD_ID];
	size_t len;

	if (!debuginfod__wanted())
		return 0;
	len = elf_image__build_id(image, build_id);
	if (!len)
		return 0;
	if (!sources->debuginfod)
		sources->debuginfod = debuginfod__new(FETCH_WAIT_NS);
	if (!sources->debuginfod)
		return -ENOMEM;
	return debuginfod__ask(sources->debuginfod, build_id, len, tag) == -ENOMEM ? -ENOMEM : 0;
}

/* Opens what the DWARF in `image` refers to. Returns 0 or -ENOMEM. */
static int open_alt(const struct sources *sources, struct source *source,
		    const struct elf_image *image)
{
	int err = debug_file__open_alt(image, sources->debug_root, &source->alt_fd);

	return err == -ENOMEM ? err : 0;
}

static int open_separate(const struct sources *sources, struct source *source,
			 const struct elf_image *file, const char *path)
{
	struct elf_image debug;
	int err = 0;

	if (source->debug_fd < 0)
		err = debug_file__open(file, path, sources->debug_root, &source->debug_fd);
	if (err)
		return err == -ENOMEM ? err : 0;
	if (elf_image__open(&debug, source->debug_fd, EM_NONE))
		return 0;
	if (debug_file__has_dwarf(&debug))
		err = open_alt(sources, source, &debug);
	elf_image__close(&debug);
	return err;
}

/*
 * Reads a file. `debug_fd` is a debug file that was fetched and is taken over, or -1. Returns the
 * source's index, or NO_SOURCE (no memory).
 */
static uint32_t load_source(struct sources *sources, const struct snap_module *module, int debug_fd)
{
	struct source source = {
		.fd = module->fd, .debug_fd = debug_fd, .alt_fd = -1, .next = NO_SOURCE};
	struct elf_image image;
	int err;

	err = elf_image__open(&image, module->fd, EM_NONE);
	if (err)
		return err == -ENOMEM ? NO_SOURCE : add_source(sources, source, err);
	source.own_dwarf = debug_file__has_dwarf(&image);
	if (source.own_dwarf)
		err = open_alt(sources, &source, &image);
	else
		err = open_separate(sources, &source, &image, module->path);
	if (!err && !source.own_dwarf && source.debug_fd < 0)
		err = ask_servers(sources, &image, (uint32_t)sources->list.cnt);
	elf_image__close(&image);
	if (!err)
		err = elf_symbols__load_pair(module->fd, source.debug_fd, &source.symbols);
	if (err == -ENOMEM) {
		close_source(&source);
		return NO_SOURCE;
	}
	return add_source(sources, source, err);
}

/* Whether a file can be used without waiting for its server. */
static bool answers(bool is_remote, uint64_t dev, int fd)
{
	return !is_remote || !remote_mount__try_open(dev, fd);
}

static bool same_contents(const struct file_identity *a, const struct file_identity *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns;
}

/* *ret_source is NO_SOURCE when the file cannot be read. */
static int find_source(struct sources *sources, const struct snap_module *module,
		       uint32_t *ret_source)
{
	struct file_identity identity;
	uint32_t i, newest;
	uint64_t *slot;
	int fetched = -1;
	bool is_new;

	*ret_source = NO_SOURCE;
	if (module->fd < 0 || !answers(module->is_remote, module->dev, module->fd) ||
	    file_identity__read(module->fd, &identity))
		return 0;
	slot = hashmap__insert(&sources->index, identity.dev, identity.ino, &is_new);
	if (!slot)
		return -ENOMEM;
	if (is_new)
		*slot = NO_SOURCE;
	newest = (uint32_t)*slot;
	for (i = newest; i != NO_SOURCE; i = sources->list.items[i].next)
		if (same_contents(&sources->list.items[i].identity, &identity))
			break;
	if (i != NO_SOURCE && sources->list.items[i].replaced) {
		fetched = sources->list.items[i].debug_fd;
		sources->list.items[i].debug_fd = -1;
		i = NO_SOURCE;
	}
	if (i == NO_SOURCE) {
		i = load_source(sources, module, fetched);
		if (i == NO_SOURCE)
			return -ENOMEM;
		sources->list.items[i].identity = identity;
		sources->list.items[i].next = newest;
		*slot = i;
	}
	sources->list.items[i].fd = module->fd;
	sources->list.items[i].is_remote = module->is_remote;
	*ret_source = i;
	return 0;
}

/* All processes share the kernel's vdso, so this process's own serves for every one. */
static int find_vdso(struct sources *sources, uint32_t *ret_source)
{
	const Elf64_Ehdr *image = (const Elf64_Ehdr *)getauxval(AT_SYSINFO_EHDR);
	struct source source = {.fd = -1, .debug_fd = -1, .alt_fd = -1, .next = NO_SOURCE};
	int err = -ENOENT;
	uint64_t size;

	if (sources->vdso == NO_SOURCE) {
		/* Section headers come last in it. */
		size = image ? image->e_shoff + (uint64_t)image->e_shnum * image->e_shentsize : 0;
		if (size && size <= MAX_VDSO_SIZE)
			err = elf_symbols__load_image(image, size, &source.symbols);
		sources->vdso = add_source(sources, source, err);
		if (sources->vdso == NO_SOURCE)
			return -ENOMEM;
	}
	*ret_source = sources->vdso;
	return 0;
}

int sources__open(struct sources *sources, const struct snap_module *module, uint32_t *ret_source,
		  enum symbol_reason *ret_reason)
{
	const char *path = module->path ? module->path : "[unknown]";

	*ret_source = NO_SOURCE;
	*ret_reason = SYMBOL_UNREADABLE;
	if (!strcmp(path, "[vdso]"))
		return find_vdso(sources, ret_source);
	if (!strcmp(path, "[unknown]"))
		*ret_reason = SYMBOL_NO_MODULE;
	else if (path[0] == '[')
		*ret_reason = SYMBOL_ANONYMOUS;
	else
		return find_source(sources, module, ret_source);
	return 0;
}

/* Returns whether the file that was fetched is the one of the source. */
static bool is_wanted(const struct source *source, int debug_fd)
{
	struct file_identity identity;
	struct elf_image image;
	bool wanted;

	/* The source's descriptor was lent for one snapshot only. */
	if (source->replaced || source->fd < 0 ||
	    !answers(source->is_remote, source->identity.dev, source->fd) ||
	    file_identity__read(source->fd, &identity) || identity.ino != source->identity.ino ||
	    identity.dev != source->identity.dev || elf_image__open(&image, source->fd, EM_NONE))
		return false;
	wanted = debug_file__belongs(&image, debug_fd);
	elf_image__close(&image);
	return wanted;
}

int sources__fetch(struct sources *sources, bool *ret_any)
{
	struct source *source;
	uint32_t tag;
	int fd;

	*ret_any = false;
	if (!sources->debuginfod)
		return 0;
	while (debuginfod__next(sources->debuginfod, &tag, &fd)) {
		source = tag < sources->list.cnt ? &sources->list.items[tag] : NULL;
		if (!source || source->debug_fd >= 0 || !is_wanted(source, fd)) {
			close(fd);
			continue;
		}
		source->debug_fd = fd;
		source->replaced = true;
		*ret_any = true;
	}
	return 0;
}
