/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/exe_places.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/build_symbols.h"
#include "util/elf_image.h"
#include "util/procfs_read.h"
#include "util/regular_file.h"
#include "util/remote_mount.h"

/* Finds where the kernel put the program's headers (getauxval(3)). */
static bool find_headers(pid_t pid, uint64_t *ret_addr)
{
	Elf64_auxv_t entry;
	bool found = false;
	char *auxv;
	size_t len;

	if (procfs_read_pid(pid, "auxv", &auxv, &len))
		return false;
	for (size_t at = 0; at + sizeof(entry) <= len && !found; at += sizeof(entry)) {
		memcpy(&entry, auxv + at, sizeof(entry));
		if (entry.a_type != AT_PHDR)
			continue;
		*ret_addr = entry.a_un.a_val;
		found = true;
	}
	free(auxv);
	return found;
}

/* /proc/PID/exe leads to the file itself, whatever its path means to others. */
static int open_exe(pid_t pid)
{
	char path[64];
	int path_fd, fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	path_fd = open(path, O_PATH | O_CLOEXEC);
	if (path_fd < 0)
		return -1;
	if (!regular_file__stat(path_fd, &st))
		fd = regular_file__reopen(path_fd);
	close(path_fd);
	return fd;
}

static void try_exe(const void *pid)
{
	open_exe(*(const pid_t *)pid);
}

static bool find_bias(const struct elf_image *image, uint64_t headers, uint64_t *ret)
{
	for (size_t i = 0; i < image->phdr_cnt; i++) {
		if (image->phdrs[i].p_type != PT_PHDR)
			continue;
		*ret = headers - image->phdrs[i].p_vaddr;
		return true;
	}
	return false;
}

void exe_places__read(pid_t pid, struct exe_places *ret)
{
	struct build_place places[] = {{.name = "_PyRuntime"}, {.name = "PyCode_Type"}};
	struct elf_image image;
	uint64_t headers, bias;
	int fd;

	if (!find_headers(pid, &headers))
		return;
	if (remote_mount__try(pid, 0, try_exe, &pid))
		return;
	fd = open_exe(pid);
	if (fd < 0)
		return;
	if (!elf_image__open(&image, fd, EM_NONE)) {
		if (find_bias(&image, headers, &bias) &&
		    !build_symbols__find(&image, true, places, 2)) {
			if (places[0].vaddr)
				ret->runtime = bias + places[0].vaddr;
			if (places[1].vaddr)
				ret->code_type = bias + places[1].vaddr;
		}
		elf_image__close(&image);
	}
	close(fd);
}
