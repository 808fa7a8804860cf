/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/exe_places.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/build_symbols.h"
#include "util/elf_image.h"
#include "util/procfs.h"
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

/* Returns the device of the file that the process runs, 0 = not known. */
static uint64_t exe_dev(pid_t pid)
{
	struct proc_maps maps = {0};
	char *path = proc_exe(pid);
	uint64_t dev = 0;

	if (path && !proc_maps__read(pid, &maps))
		for (size_t i = 0; i < maps.maps.cnt && !dev; i++)
			if (maps.maps.items[i].ino && !strcmp(maps.maps.items[i].path, path))
				dev = maps.maps.items[i].dev;
	proc_maps__free(&maps);
	free(path);
	return dev;
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

int exe_places__read(pid_t pid, struct exe_places *ret)
{
	struct build_place places[] = {{.name = "_PyRuntime"}, {.name = "PyCode_Type"}};
	struct elf_image image;
	uint64_t headers, bias;
	int fd;

	if (!find_headers(pid, &headers))
		return 0;
	if (remote_mount__try(pid, exe_dev(pid), try_exe, &pid))
		return -ETIMEDOUT;
	fd = open_exe(pid);
	if (fd < 0)
		return 0;
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
	return 0;
}
