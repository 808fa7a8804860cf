/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of elf_allocs share: reading a file, finding installed libraries, checks that
 * always hold. */
#ifndef LEAKSWEEP_TESTS_UNIT_ALLOCS_H
#define LEAKSWEEP_TESTS_UNIT_ALLOCS_H

#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>

#include "discover/elf_allocs.h"

static const struct elf_allocs_opts no_opts;

static inline struct elf_allocs read_with(const char *path, const struct elf_allocs_opts *opts)
{
	struct elf_allocs allocs;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	err = elf_allocs__read(fd, opts, &allocs);
	close(fd);
	if (err)
		fail_msg("%s: %s", path, strerror(-err));
	return allocs;
}

static inline struct elf_allocs read_allocs(const char *path)
{
	return read_with(path, &no_opts);
}

/* What must hold for every site of every file, however broken. */
static inline void check_sites(const struct elf_allocs *allocs, uint64_t file_size)
{
	assert_int_equal(!allocs->sites.cnt && !elf_allocs__loss(allocs, NULL),
			 allocs->allocator == NULL);
	assert_true(allocs->build_id_len <= sizeof(allocs->build_id));
	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *at = &allocs->sites.items[i];

		assert_true(at->probe_off >= at->entry_off && at->probe_off < file_size);
		assert_true(at->probe_off - at->entry_off < 64);
		assert_true(at->cost == PROBE_EMULATED || at->cost == PROBE_STEPPED);
		assert_true(at->cost == PROBE_EMULATED || at->probe_off == at->entry_off);
		assert_true(at->symbol[0] && at->why[0] && at->insn[0]);
		assert_non_null(memchr(at->insn, '\0', sizeof(at->insn)));
		assert_true(i == 0 || allocs->sites.items[i - 1].entry_off < at->entry_off);
	}
}

struct path_search {
	const char *name;
	char *path;
};

static inline int match_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct path_search *search = arg;

	(void)size;
	if (strstr(info->dlpi_name, search->name))
		search->path = strdup(info->dlpi_name);
	return search->path != NULL;
}

/* The owned path of a library of this process, e.g. "libc.so". */
static inline char *loaded_library(const char *name)
{
	struct path_search search = {.name = name};

	dl_iterate_phdr(match_library, &search);
	assert_non_null(search.path);
	return search.path;
}

/* Another library beside libc: NAME in the same folder or in its sibling below /usr. */
static inline char *installed(const char *name)
{
	char *libc = loaded_library("/libc.so"), *path = NULL;
	int dir_len = (int)(strrchr(libc, '/') - libc);

	assert_true(asprintf(&path, "%.*s/%s", dir_len, libc, name) > 0);
	if (access(path, R_OK) != 0) {
		free(path);
		assert_true(asprintf(&path, "/usr%.*s/%s", dir_len, libc, name) > 0);
	}
	if (access(path, R_OK) != 0)
		fail_msg("%s is not installed", name);
	free(libc);
	return path;
}

#endif
