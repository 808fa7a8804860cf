/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into the tool: once the file $NO_MEMORY_FILE is there, the kernel has no memory for
 * entries that must be new, as of a process that begins to be traced.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <unistd.h>

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	int (*next)(int, const void *, const void *, __u64) =
		(int (*)(int, const void *, const void *, __u64))dlsym(RTLD_NEXT,
								       "bpf_map_update_elem");
	const char *path = getenv("NO_MEMORY_FILE");

	if (flags == BPF_NOEXIST && path && !access(path, F_OK))
		return -ENOMEM;
	return next(fd, key, value, flags);
}
