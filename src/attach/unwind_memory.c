/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/unwind_memory.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MODULES_BYTES (MAX_UNWIND_MODULES * sizeof(struct unwind_module))
#define CHUNK_BYTES (UNWIND_CHUNK_CELLS * sizeof(uint64_t))

struct unwind_memory {
	struct unwind_maps maps;
	struct unwind_module *modules;
	uint64_t *chunks[MAX_UNWIND_CHUNKS];
	uint32_t chunk_cnt;
};

int unwind_memory__open(const struct unwind_maps *maps, struct unwind_memory **ret)
{
	struct unwind_memory *memory = calloc(1, sizeof(*memory));
	int err;

	if (!memory)
		return -ENOMEM;
	memory->maps = *maps;
	memory->modules = mmap(NULL, MODULES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			       maps->modules, 0);
	if (memory->modules == MAP_FAILED) {
		err = -errno;
		free(memory);
		return err;
	}
	*ret = memory;
	return 0;
}

void unwind_memory__free(struct unwind_memory *memory)
{
	if (!memory)
		return;
	for (uint32_t i = 0; i < memory->chunk_cnt; i++)
		munmap(memory->chunks[i], CHUNK_BYTES);
	munmap(memory->modules, MODULES_BYTES);
	free(memory);
}

struct unwind_module *unwind_memory__modules(struct unwind_memory *memory)
{
	return memory->modules;
}

/* Makes one chunk that is not in the map of chunks yet. Returns its descriptor or a negative errno. */
static int make_chunk(uint64_t **ret_cells)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint64_t *cells;
	int fd, err;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_chunk", sizeof(uint32_t), sizeof(uint64_t),
			    UNWIND_CHUNK_CELLS, &opts);
	if (fd < 0)
		return fd;
	cells = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cells == MAP_FAILED) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_cells = cells;
	return fd;
}

/* Each update of a map of maps waits for a grace period, 10 ms; a batch waits once. */
static int insert_chunks(struct unwind_memory *memory, const uint32_t *indexes, const int *fds,
			 uint32_t cnt)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t done = cnt;
	int err;

	if (!bpf_map_update_batch(memory->maps.cells, indexes, fds, &done, &opts))
		return 0;
	for (uint32_t i = 0; i < cnt; i++) { /* a kernel that has no batches for it */
		err = bpf_map_update_elem(memory->maps.cells, &indexes[i], &fds[i], BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

int unwind_memory__add_chunks(struct unwind_memory *memory, uint32_t cnt, uint64_t **ret_cells)
{
	uint32_t indexes[MAX_CHUNKS_AT_ONCE], made = 0;
	int fds[MAX_CHUNKS_AT_ONCE], err = 0;

	if (!cnt || cnt > MAX_CHUNKS_AT_ONCE || cnt > MAX_UNWIND_CHUNKS - memory->chunk_cnt)
		return -ENOSPC;
	for (; made < cnt; made++) {
		indexes[made] = memory->chunk_cnt + made;
		fds[made] = make_chunk(&ret_cells[made]);
		if (fds[made] < 0) {
			err = fds[made];
			break;
		}
	}
	if (!err)
		err = insert_chunks(memory, indexes, fds, cnt);
	for (uint32_t i = 0; i < made; i++) {
		close(fds[i]); /* both mappings hold it */
		if (err)
			munmap(ret_cells[i], CHUNK_BYTES);
		else
			memory->chunks[memory->chunk_cnt++] = ret_cells[i];
	}
	return err;
}

int unwind_memory__identify(struct unwind_memory *memory, int fd, struct code_file *ret_file)
{
	uint64_t args[1];
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = sizeof(args));
	void *page = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0); /* never touched */
	int err;

	if (page == MAP_FAILED)
		return -errno;
	args[0] = (uintptr_t)page;
	err = bpf_prog_test_run_opts(memory->maps.identify_prog, &run);
	munmap(page, 1);
	if (err)
		return err;
	if (!memory->maps.identified->ino)
		return -ENOENT;
	ret_file->ino = memory->maps.identified->ino;
	ret_file->dev = memory->maps.identified->dev;
	ret_file->generation = memory->maps.identified->generation;
	return 0;
}

int unwind_memory__assign(struct unwind_memory *memory, const struct code_file *file,
			  uint32_t module)
{
	return bpf_map_update_elem(memory->maps.files, file, &module, BPF_ANY);
}

int unwind_memory__forget(struct unwind_memory *memory, const struct code_file *file)
{
	int err = bpf_map_delete_elem(memory->maps.files, file);

	return err == -ENOENT ? 0 : err;
}
