/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few kernel types that bpf/ reads, field by field: CO-RE finds each field in the running
 * kernel's BTF, so only names matter here, not layout. `vmlinux/check.sh` holds this file against a
 * kernel's BTF.
 */
#ifndef LEAKSWEEP_VMLINUX_H
#define LEAKSWEEP_VMLINUX_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <asm/ptrace.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	__u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	__u32 i_generation;
	struct super_block *i_sb;
};

struct file {
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

/* kernel/events/uprobes.c: the area that holds the return trampoline */
struct xol_area {
	unsigned long vaddr;
};

struct uprobes_state {
	struct xol_area *xol_area;
};

struct return_instance {
	unsigned long stack;
	unsigned long orig_ret_vaddr;
	struct return_instance *next;
};

struct uprobe_task {
	struct return_instance *return_instances;
};

typedef struct {
	void *vdso;
} mm_context_t;

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_flags;
	unsigned long vm_pgoff;
	struct file *vm_file;
};

struct mm_struct {
	unsigned long brk;
	unsigned long start_code;
	mm_context_t context;
	struct uprobes_state uprobes_state;
};

struct address_space;

struct folio {
	struct address_space *mapping;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct sigaction {
	unsigned long sa_flags;
};

struct k_sigaction {
	struct sigaction sa;
};

#if defined(__TARGET_ARCH_x86)
#include "x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arm64.h"
#endif

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

/* What bpf/ asks the kernel for is the value that it has there. */
enum cgroup_subsys_id {
	memory_cgrp_id = 4,
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	unsigned int flags;
	int pagefault_disabled;
	char comm[16];
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct files_struct *files;
	struct uprobe_task *utask;
	struct css_set *cgroups;
	struct thread_struct thread;
};

struct trace_entry {
	int pid;
};

struct trace_event_raw_mark_victim {
	struct trace_entry ent;
	int pid;
};

struct trace_event_raw_sys_enter {
	struct trace_entry ent;
	long id;
	unsigned long args[6];
};

struct trace_event_raw_sys_exit {
	struct trace_entry ent;
	long id;
	long ret;
};

#pragma clang attribute pop

#endif
