/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory a process, its control group and the host have, and may have: what /proc and the
 * cgroup file systems say. All sizes are bytes. The text is parsed as if it were hostile: a
 * container may mount files of its own over these.
 */
#ifndef LEAKSWEEP_UTIL_PROCFS_MEMORY_H
#define LEAKSWEEP_UTIL_PROCFS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MEMORY_UNLIMITED UINT64_MAX

/* ---- a process: /proc/PID/limits and /proc/PID/status (proc(5)) ---- */

struct proc_memory {
	uint64_t size_limit, data_limit; /* soft RLIMIT_AS and RLIMIT_DATA, or MEMORY_UNLIMITED */
	uint64_t size, size_peak, data;	 /* VmSize, VmPeak, VmData; 0 once it has ended */
};

/* Fill their part of *memory from a file's text. Return 0, or -EBADMSG (*memory is untouched). */
int proc_memory__parse_limits(struct proc_memory *memory, const char *text);
int proc_memory__parse_status(struct proc_memory *memory, const char *text);

/* Reads both; of a process that is only not reaped yet, the limits alone. Returns 0, -ESRCH or
 * another negative errno. */
int proc_memory__read(pid_t pid, struct proc_memory *ret);

/*
 * Anonymous memory of a process, page tables and the like left out. statm (resident without shared,
 * which is files and shmem: task_statm of fs/proc/task_mmu.c) leaves out what is swapped, status
 * (RssAnon and VmSwap) takes several times as long. Both may lag by a few pages a CPU.
 */
enum proc_anon_source { PROC_ANON_STATM, PROC_ANON_STATUS };

/*
 * Opens a file to read it from, again and again: of a thread of the process, 0 = the main one.
 * Returns a descriptor or an error as procfs_open_pid.
 */
int proc_anon__open(pid_t pid, pid_t thread, enum proc_anon_source source);

/* Finds a thread that tells the memory of a process whose main thread has left (pthread_exit(3)):
 * of that the kernel tells none, while the others use it. Returns 0 when there is none. */
pid_t proc_anon__find_thread(pid_t pid, enum proc_anon_source source);

/* Reads it. Returns 0, -ESRCH (that very process or thread is gone, whoever has its number now),
 * -ENODATA (it has no memory: a kernel thread, not reaped yet, or its main thread has left) or
 * another negative errno. */
int proc_anon__read(int fd, enum proc_anon_source source, uint64_t *ret_bytes);

/* Parse the text of one. Return 0, -ENODATA or -EBADMSG; *ret_bytes is then untouched. */
int proc_anon__parse(enum proc_anon_source source, const char *text, uint64_t page_bytes,
		     uint64_t *ret_bytes);

/* Counts the lines of /proc/PID/maps. Returns 0 when they cannot be read. */
uint64_t proc_map_cnt(pid_t pid);

/* ---- the host: /proc/meminfo and /proc/sys/vm ---- */

enum overcommit { OVERCOMMIT_GUESS = 0, OVERCOMMIT_ALWAYS = 1, OVERCOMMIT_STRICT = 2 };

struct host_memory {
	uint64_t ram, available;	  /* MemTotal, MemAvailable */
	uint64_t swap, swap_free;	  /* SwapTotal, SwapFree */
	uint64_t commit_limit, committed; /* CommitLimit, Committed_AS */
	uint64_t overcommit;		  /* vm.overcommit_memory, enum overcommit */
	/* vm.admin_reserve_kbytes, vm.user_reserve_kbytes: what strict overcommit holds back */
	uint64_t admin_reserve, user_reserve;
	uint64_t max_maps; /* vm.max_map_count; 0 = not known */
};

/* Fills the first six. Returns 0, or -EBADMSG (*host is untouched). */
int host_memory__parse_meminfo(struct host_memory *host, const char *text);

/* What /proc/sys does not tell is left at the kernel's defaults. Returns 0 or a negative errno. */
int host_memory__read(struct host_memory *ret);

/* ---- control groups ---- */

/* Finds the number behind a word and a space at the beginning of a line, as files of groups have
 * them. Returns false when there is none; *ret is untouched then. */
bool cgroup_text__find(const char *text, const char *word, uint64_t *ret);

/* Reads a group's file of one number, or "max", which is MEMORY_UNLIMITED. Returns 0, -ENOENT,
 * -EBADMSG or another negative errno. */
int cgroup_value__read(const char *mount, const char *path, const char *name, uint64_t *ret);

/* Reads a group's own limit. Returns 0, -ENOENT (it has none) or another negative errno. */
int cgroup_limit__read(const char *mount, bool is_v1, const char *path, uint64_t *ret_bytes);

/* The memory controller's files have other names in the two versions
 * (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). */
struct cgroup_memory {
	char *path;		/* owned: in its hierarchy */
	const char *limit_name; /* "memory.max" or "memory.limit_in_bytes" */
	uint64_t limit, usage;
	uint64_t peak;	      /* highest usage ever, where the kernel tells; else 0 */
	uint64_t reclaimable; /* of the usage: page cache of files, 0 if not known */
	/* Beside that, see cgroup_memory__find_with_swap; else 0. */
	uint64_t swap, swap_room; /* what it uses, and how much more it may use */
};

/* Returns the room that is left, page cache and the swap that is found counted as room. */
uint64_t cgroup_memory__room(const struct cgroup_memory *memory);

void cgroup_memory__free(struct cgroup_memory *memory);

/*
 * Finds the group with the least room left among `path` and the groups above it, in the hierarchy
 * mounted at `mount`. Groups without a limit do not count. Returns 0, -ENOENT (no limit) or another
 * negative errno; free with cgroup_memory__free.
 */
int cgroup_memory__find(const char *mount, bool is_v1, const char *path, struct cgroup_memory *ret);

/*
 * The same where `swap_free` bytes of the host's swap can be used: what the groups may use of it
 * counts as room. In v2 memory.swap.max limits swap alone, from each group upwards; in v1
 * memory.memsw.limit_in_bytes is a limit of both together, which may be the one that is found.
 */
int cgroup_memory__find_with_swap(const char *mount, bool is_v1, const char *path,
				  uint64_t swap_free, struct cgroup_memory *ret);

/* Returns how much of a group's memory is swapped out, 0 where the kernel does not tell. */
uint64_t cgroup_swapped(const char *mount, bool is_v1, const char *path);

/*
 * As cgroup_memory__find for a process: by /proc/PID/cgroup, or by `path` (an earlier proc_cgroup,
 * may be NULL) if that says nothing any more.
 */
int cgroup_memory__of_proc(pid_t pid, const char *path, struct cgroup_memory *ret);

/*
 * What a group's memory is made of, all groups below included: of v2 anon, file and shmem of
 * memory.stat, of v1 total_rss, total_cache and total_shmem, and the value of memory.current or
 * memory.usage_in_bytes (of v2's root, which has no such file, 0).
 */
struct cgroup_stat {
	uint64_t anon_bytes, file_bytes;
	uint64_t shmem_bytes; /* of file_bytes: shared memory and files of tmpfs, which nothing but
				 swap gives way for; 0 where the kernel does not tell */
	uint64_t usage_bytes;
};

/* Fills all but the last from the text of memory.stat. Returns 0, or -EBADMSG (*stat is untouched).
 */
int cgroup_stat__parse(struct cgroup_stat *stat, const char *text, bool is_v1);

/* Reads a group in the hierarchy mounted at `mount`. Returns 0, -ENOENT (no such group, or the
 * memory controller does not count it), -EINVAL (not a path in a hierarchy) or another negative
 * errno. */
int cgroup_stat__read(const char *mount, bool is_v1, const char *path, struct cgroup_stat *ret);

/*
 * How many processes the OOM killer has killed since the boot, or since the group was made: the
 * line "oom_kill N" of /proc/vmstat (all of the host), of a group's memory.events.local (v2; before
 * Linux 5.2 that is memory.events) or memory.oom_control (v1), which leave out the groups below.
 * All are of Linux 4.13. Returns 0, or -EBADMSG (there is no such line; *ret is untouched).
 */
int oom_kills__parse(const char *text, uint64_t *ret);

/* Reads those of a group. Returns 0, -ENOENT (no such group, or the memory controller does not
 * count it), -EINVAL (not a path in a hierarchy) or another negative errno. */
int cgroup_oom_kills(const char *mount, bool is_v1, const char *path, uint64_t *ret);

/* Reads those of the host from an open /proc/vmstat. Returns 0 or a negative errno. */
int host_oom_kills(int fd, uint64_t *ret);

/* Returns the number by which the kernel knows a group, that of its directory; 0 = there is none.
 */
uint64_t cgroup_id(const char *mount, const char *path);

#endif
