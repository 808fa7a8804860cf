/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/features.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attach/probe_link.h"
#include "util/procfs.h"

static const struct {
	const char *name, *purpose;
} feature_table[FEAT_MAX] = {
	[FEAT_BPF] = {"bpf", "load programs into the kernel"},
	[FEAT_BTF] = {"btf", "find the kernel's own types (CO-RE)"},
	[FEAT_PERF_LINK] = {"perf-link", "probe single functions, with a cookie each"},
	[FEAT_UPROBE_MULTI] = {"uprobe-multi", "probe all functions of a library with one link"},
	[FEAT_UPROBE_SESSION] = {"uprobe-session", "one probe for a call and its return"},
	[FEAT_TRACEFS] = {"tracefs", "follow mmap, munmap, mremap, brk and mprotect"},
};

/* The instructions `r0 = 0; exit`. */
static int load_empty_program(int attach_type)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts);

	opts.expected_attach_type = attach_type;
	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "leaksweep_try", "GPL", insns, 2, &opts);
}

/* A function of our own to try probes on. */
__attribute__((noinline)) static int probe_target(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value;
}

/* Finds the target's place in our own executable. Returns its descriptor or a negative errno. */
static int open_target(uint64_t *ret_off)
{
	uint64_t addr = (uintptr_t)probe_target;
	struct proc_maps maps = {0};
	const struct proc_map *map;
	int fd = -ENOENT, err;

	err = proc_maps__read(getpid(), &maps);
	if (err)
		return err;
	map = proc_maps__find(&maps, addr);
	if (map) {
		*ret_off = addr - map->start + map->off;
		fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	proc_maps__free(&maps);
	return fd;
}

static int try_link(int attach_type)
{
	uint64_t off = 0, cookie = 1;
	struct probe_set set = {.offsets = &off, .cookies = &cookie, .cnt = 1};
	int prog_fd, file_fd, link_fd = -EINVAL;

	prog_fd = load_empty_program(attach_type);
	if (prog_fd < 0)
		return prog_fd;
	file_fd = open_target(&off);
	if (file_fd < 0) {
		close(prog_fd);
		return file_fd;
	}
	if (attach_type)
		link_fd = probe_link__multi(prog_fd, file_fd, &set, getpid(), false, attach_type);
	else
		link_fd = probe_link__perf(prog_fd, file_fd, off, cookie, getpid(), false);
	close(file_fd);
	close(prog_fd);
	if (link_fd < 0)
		return link_fd;
	close(link_fd);
	return 0;
}

/* Mounts tracefs for this process alone, not visible anywhere, gone with the descriptor. */
static int open_tracefs(void)
{
	int fs, dir, err;

	dir = open("/sys/kernel/tracing/events", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		close(dir);
		return open("/sys/kernel/tracing", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) {
		err = -errno;
		close(fs);
		return err;
	}
	dir = fsmount(fs, FSMOUNT_CLOEXEC,
		      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	err = dir < 0 ? -errno : dir;
	close(fs);
	return err;
}

int tracepoint_id(const char *group, const char *name)
{
	char *path = NULL, text[32];
	int dir, fd, id = -ENOENT;
	ssize_t len;

	dir = open_tracefs();
	if (dir < 0)
		return dir;
	if (asprintf(&path, "events/%s/%s/id", group, name) < 0) {
		close(dir);
		return -ENOMEM;
	}
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, sizeof(text) - 1);
		if (len > 0) {
			text[len] = 0;
			id = atoi(text);
		}
		close(fd);
	} else {
		id = -errno;
	}
	free(path);
	close(dir);
	return id;
}

static void probe_rest(struct features *ret)
{
	int id = load_empty_program(0);

	ret->err[FEAT_BTF] = access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0;
	ret->err[FEAT_BPF] = id < 0 ? id : 0;
	if (id >= 0)
		close(id);
	id = tracepoint_id("syscalls", "sys_enter_mmap");
	ret->err[FEAT_TRACEFS] = id < 0 ? id : 0;
}

void features__probe(struct features *ret)
{
	ret->err[FEAT_PERF_LINK] = try_link(0);
	ret->err[FEAT_UPROBE_MULTI] = try_link(ATTACH_TRACE_UPROBE_MULTI);
	ret->err[FEAT_UPROBE_SESSION] = try_link(ATTACH_TRACE_UPROBE_SESSION);
	probe_rest(ret);
}

void features__probe_best(struct features *ret)
{
	ret->err[FEAT_PERF_LINK] = ret->err[FEAT_UPROBE_MULTI] = 0;
	ret->err[FEAT_UPROBE_SESSION] = try_link(ATTACH_TRACE_UPROBE_SESSION);
	if (ret->err[FEAT_UPROBE_SESSION])
		ret->err[FEAT_UPROBE_MULTI] = try_link(ATTACH_TRACE_UPROBE_MULTI);
	if (ret->err[FEAT_UPROBE_MULTI])
		ret->err[FEAT_PERF_LINK] = try_link(0);
	probe_rest(ret);
}

const char *feature__name(enum feature feature)
{
	return feature_table[feature].name;
}

const char *feature__purpose(enum feature feature)
{
	return feature_table[feature].purpose;
}
